//! Processes die.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bastide_agent::{Client, Farewell, Leftovers, listen};
use bastide_plan::hub_plan::{Action, Protocol};
use bastide_plan::message::{Answer, Request};
use bastide_plan::report::WallState;

use crate::support::{Inside, assert_refused, hub, left, next, on_a_host, prefix, settings, start, until};

#[test]
fn a_firewall_has_no_privilege() {
    on_a_host(|lab| {
        let plan = hub(1);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let status = inside.tell_firewall("status");
        for line in [
            "Uid:\t2000000\t2000000\t2000000\t2000000",
            "Gid:\t2000000\t2000000\t2000000\t2000000",
            "Groups:\t ",
            "NoNewPrivs:\t1",
            "CapInh:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "CapAmb:\t0000000000000000",
        ] {
            assert!(status.contains(line), "{line}: {status}");
        }
        let other = hub(2);
        lab.apply(&other);
        assert!(lab.attach(&other, "a").tell_firewall("status").contains("Uid:\t2000001"));
    });
}

#[test]
fn a_killed_firewall_is_back_and_its_ports_were_never_gone() {
    on_a_host(|lab| {
        let plan = hub(1);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        for _ in 0..5 {
            let mut going = inside.stream("203.0.113.7:443");
            let before = left().processes;
            for process in &before {
                let _ = rustix::process::kill_process(
                    rustix::process::Pid::from_raw(process.cast_signed()).unwrap(),
                    rustix::process::Signal::KILL,
                );
            }
            until("it is dead", || lab.report(&plan).wall != WallState::Standing || left().processes != before);
            // The connection waits in the listener that the agent holds.
            let begin = Instant::now();
            assert_eq!(inside.connect("203.0.113.7:443").unwrap(), "Tls 203.0.113.7:443");
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
            let _ = going.write_all(b"x");
            assert!(!matches!(going.read(&mut [0]), Ok(1..)), "what it carried is cut");
        }
        until("the wall stands again", || lab.report(&plan).wall == WallState::Standing);
    });
}

#[test]
fn an_agent_started_again_adopts_what_it_left() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.internet.serve(22);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let mut stream = inside.stream("203.0.113.7:22");
        let lab = lab.restart(Farewell::Keep);
        stream.write_all(b"still here").unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
        assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
        assert_refused(inside.connect("203.0.113.7:23"));
        until("the wall stands", || lab.report(&plan).wall == WallState::Standing);
        // It does not go back, either.
        let older = bastide_plan::HubPlan { stamp: hub(1).stamp, ..plan };
        assert!(matches!(lab.ask(Request::Apply { plan: Box::new(older) }), Answer::Refused { .. }));
    });
}

#[test]
#[ignore = "not a test: the agent that the test below kills"]
fn agent_process() {
    let Some(directory) = std::env::var_os("AGENT_DIRECTORY") else { return };
    let directory = std::path::PathBuf::from(directory);
    bastide_agent::privilege::drop_unneeded().unwrap();
    let agent = start(&settings(&directory)).unwrap();
    listen(&agent, &directory.join("run/agent.sock"), None).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn the_wall_never_opens_while_the_agent_is_killed_again_and_again() {
    on_a_host(|lab| {
        lab.internet.serve(22);
        lab.internet.serve(23);
        let directory = tempfile::tempdir().unwrap();
        let launch = || {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["life::agent_process", "--exact", "--ignored", "--nocapture"])
                .env("AGENT_DIRECTORY", directory.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        let socket = directory.path().join("run/agent.sock");
        let connect = || {
            let mut client = Client::connect(&socket, 1);
            until("the agent answers", || {
                client.is_ok() || {
                    client = Client::connect(&socket, 1);
                    client.is_ok()
                }
            });
            client.unwrap()
        };
        let mut agent = launch();
        let mut client = connect();
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.7/32", &[(22, 22)]);
        let mut plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        client.ask(Request::Apply { plan: Box::new(plan.clone()) }).unwrap();
        let Answer::Attached { namespace, leg } =
            client.ask(Request::Attach { hub: plan.hub, name: "prober".to_owned() }).unwrap()
        else {
            panic!("no leg")
        };
        let inside = Inside {
            namespace: bastide_agent::network::namespace::Namespace::open(&namespace).unwrap(),
            address: leg.address,
        };
        let (stop, opened, tried) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    for target in ["203.0.113.7:23", "198.18.0.2:22", "169.254.169.254:22"] {
                        opened.fetch_add(usize::from(inside.connect(target).is_ok()), Ordering::SeqCst);
                        tried.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            for round in 0..kills() {
                let mut rest = client;
                plan = next(plan, |plan| {
                    plan.prefixes[0].ports[0].last = if round % 2 == 0 { 24 } else { 22 };
                    plan.prefixes[0].ports[0].first = if round % 2 == 0 { 24 } else { 22 };
                });
                let doomed = plan.clone();
                let asking = std::thread::spawn(move || drop(rest.ask(Request::Apply { plan: Box::new(doomed) })));
                std::thread::sleep(Duration::from_millis(u64::from(round) * 7 % 60));
                agent.kill().unwrap();
                agent.wait().unwrap();
                asking.join().unwrap();
                agent = launch();
                client = connect();
                let report = client.ask(Request::Apply { plan: Box::new(plan.clone()) }).unwrap();
                let Answer::Changed { report } = report else { panic!("{report:?}") };
                assert_eq!((report.stamp, report.wall), (Some(plan.stamp), WallState::Standing));
                assert_eq!(inside.connect("203.0.113.7:22").is_ok(), round % 2 == 1);
            }
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(opened.load(Ordering::SeqCst), 0);
        assert!(tried.load(Ordering::SeqCst) > 100);
        connect().ask(Request::Retain { hubs: vec![] }).unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
        assert_eq!(left(), Leftovers::default());
    });
}

/// `make soak` kills more.
fn kills() -> u32 {
    std::env::var("BASTIDE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}
