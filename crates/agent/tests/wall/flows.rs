//! What the kernel forwards, on record from its first packet to its end. The firewall is the real one, unconfined.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bastide_agent::Farewell;
use bastide_agent::network::names::hub_namespace;
use bastide_firewall::control::{Listener, Said, tell_now};
use bastide_firewall::worker::serve;
use bastide_plan::HubPlan;
use bastide_plan::flow::{FlowKind, FlowRecord, FlowVerdict};
use bastide_plan::hub_plan::{Action, End, Ending, Leg, Mode, PrefixRule, Protocol};
use bastide_plan::report::WallState;
use bastide_plan::worker::{FromWorker, ToWorker};

use crate::support::{Inside, Lab, assert_refused, hub, leg, next, on_a_host, prefix, shell, within};

/// How the agent starts it: this test program again, in the role of the test below.
pub fn command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let script = format!("FIREWALL_FD=$2 exec {program} flows::firewall_process --exact --ignored --nocapture");
    ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

#[test]
#[ignore = "not a test: the firewall of the others"]
fn firewall_process() {
    let Ok(number) = std::env::var("FIREWALL_FD") else { return };
    // SAFETY: the agent left it open for this process.
    let control = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number.parse().unwrap()) });
    let mut listener = Listener::default();
    let Some(Said { message: ToWorker::Start { filter, server_socket, .. }, .. }) = listener.wait(&control).unwrap()
    else {
        panic!("it is not started")
    };
    tell_now(&control, &FromWorker::Confined).unwrap();
    serve(control, listener, filter, server_socket.into(), 1, Arc::default()).unwrap();
}

fn lake() -> PrefixRule {
    prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)])
}

/// A compute of the project 'churn', and a plan that lets it through to port 22.
fn plan() -> (HubPlan, Leg) {
    let leg = Leg { project: Some("churn".to_owned()), ..leg(1) };
    let plan = next(hub(1), |plan| {
        plan.prefixes = vec![lake()];
        plan.legs = vec![leg.clone()];
    });
    (plan, leg)
}

fn about(lab: &Lab, plan: &HubPlan, port: u16) -> Vec<FlowRecord> {
    lab.flows(plan).records.into_iter().filter(|record| record.port == port).collect()
}

/// Waits until a record is there. The kernel says that a connection is over when it looks through its table, which reading
/// the table makes it do.
fn over(lab: &Lab, plan: &HubPlan, port: u16, verdict: FlowVerdict) -> FlowRecord {
    let mut found = None;
    within(Duration::from_mins(2), "the connection is over", || {
        shell(&format!("ip netns exec {} cat /proc/net/nf_conntrack > /dev/null", hub_namespace(plan.hub)));
        let records = about(lab, plan, port);
        found = records.into_iter().find(|record| record.verdict == verdict && record.received > 0);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_forwarded_connection_is_on_record_with_bytes_both_ways_and_how_long_it_lasted() {
    on_a_host(|lab| {
        let lab = lab.with_firewall(command());
        lab.internet.serve(22);
        let (plan, leg) = plan();
        lab.apply(&plan);
        let mut stream = lab.inside(&leg).stream("203.0.113.7:22");
        let begin = Instant::now();
        stream.write_all(&[7; 4000]).unwrap();
        stream.read_exact(&mut [0; 4000]).unwrap();
        // While it lasts it is seen, and that it is allowed.
        within(Duration::from_secs(30), "it is seen", || !about(&lab, &plan, 22).is_empty());
        let live = about(&lab, &plan, 22).remove(0);
        assert_eq!((live.kind, live.verdict), (FlowKind::Tcp, FlowVerdict::Allowed));
        std::thread::sleep(Duration::from_millis(500));
        drop(stream);
        let lasted = begin.elapsed();
        let record = over(&lab, &plan, 22, FlowVerdict::Allowed);
        assert!(record.sent > 4000 && record.received > 4000, "{record:?}");
        assert!(record.sent < 8000 && record.received < 8000, "{record:?}");
        let duration = Duration::from_millis(record.duration);
        assert!(duration >= Duration::from_millis(450), "{record:?}");
        assert!(
            duration <= lasted + Duration::from_secs(5),
            "what the kernel waited for more is no part of it: {record:?}"
        );
        assert_eq!((record.compute.as_deref(), record.project.as_deref()), (Some("compute-1"), Some("churn")));
        assert_eq!(record.rule.map(|rule| rule.0).as_deref(), Some("lake"));
        assert_eq!(about(&lab, &plan, 22).len(), 1, "one record a connection");
    });
}

#[test]
fn whoever_is_cut_off_learns_it_at_once_though_he_only_listens_and_it_is_on_record() {
    on_a_host(|lab| {
        let lab = lab.with_firewall(command());
        let (plan, leg) = plan();
        let cut = |plan: HubPlan, port: u16, change: &dyn Fn(&mut HubPlan)| {
            lab.internet.serve(port);
            lab.apply(&plan);
            let mut stream = lab.inside(&leg).stream(&format!("203.0.113.7:{port}"));
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let plan = next(plan, change);
            lab.apply(&plan);
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
            let record = over(&lab, &plan, port, FlowVerdict::Cut);
            assert!(record.reason.is_some() && record.sent > 0, "{record:?}");
            (plan, record.rule.map(|rule| rule.0))
        };
        let (plan, rule) = cut(plan, 22, &|plan| plan.prefixes.clear());
        assert_eq!(rule.as_deref(), Some("lake"));
        let open = next(plan, |plan| plan.mode = Mode::InternetOutbound);
        let (_, rule) = cut(open, 23, &|plan| plan.mode = Mode::ApprovedOutbound);
        assert_eq!(rule, None);
    });
}

#[test]
fn what_is_for_a_time_ends_though_nobody_plans_again() {
    on_a_host(|lab| {
        let lab = lab.with_firewall(command());
        let (plan, leg) = plan();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = i64::try_from((since + Duration::from_secs(10)).as_millis()).unwrap();
        let plan = next(plan, |plan| {
            plan.mode = Mode::InternetOutbound;
            let endings = [Ending::Mode(Mode::ApprovedOutbound), Ending::Rule(lake().rule)];
            plan.ends = endings.map(|of| End { at, of }).to_vec();
        });
        for port in [22, 23] {
            lab.internet.serve(port);
        }
        lab.apply(&plan);
        let inside = lab.inside(&leg);
        let streams = ["203.0.113.7:22", "203.0.113.7:23"].map(|address| inside.stream(address));
        for mut stream in streams {
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
        }
        let is_shut = |inside: &Inside| {
            for address in ["203.0.113.7:22", "203.0.113.7:23"] {
                assert_refused(inside.connect(address));
            }
        };
        is_shut(&inside);
        // Neither does it begin anew with the agent, nor with the same plan told once more.
        let lab = lab.restart(Farewell::Keep);
        is_shut(&inside);
        lab.apply(&plan);
        is_shut(&inside);
        within(Duration::from_secs(30), "the wall stands", || lab.report(&plan).wall == WallState::Standing);
    });
}

#[test]
fn an_open_mode_has_every_protocol_on_record() {
    on_a_host(|lab| {
        let lab = lab.with_firewall(command());
        lab.internet.echo(5353);
        let (plan, leg) = plan();
        let plan = next(plan, |plan| (plan.mode, plan.prefixes) = (Mode::InternetOutbound, Vec::new()));
        lab.apply(&plan);
        let inside = lab.inside(&leg);
        inside.within(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            socket.send_to(&[7; 500], "203.0.113.7:5353").unwrap();
            assert_eq!(socket.recv(&mut [0; 600]).unwrap(), 500);
        });
        assert!(inside.ping("203.0.113.7"));
        // A compute that goes takes its connections along, and they are on record as what they came to.
        let gone = next(plan.clone(), |plan| plan.legs.clear());
        lab.apply(&gone);
        let datagrams = over(&lab, &plan, 5353, FlowVerdict::Cut);
        assert_eq!((datagrams.kind, datagrams.sent, datagrams.received), (FlowKind::Udp, 528, 528));
        assert!(datagrams.reason.unwrap().contains("removed"));
        let ping = over(&lab, &plan, 0, FlowVerdict::Cut);
        assert_eq!((ping.kind, ping.sent, ping.received), (FlowKind::Icmp, 28, 28));
    });
}

#[test]
fn an_orderly_stop_has_on_record_what_it_cuts() {
    on_a_host(|lab| {
        let lab = lab.with_firewall(command());
        lab.internet.serve(22);
        let (plan, leg) = plan();
        lab.apply(&plan);
        let mut stream = lab.inside(&leg).stream("203.0.113.7:22");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let lab = lab.restart(Farewell::Clear);
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
        let record = about(&lab, &plan, 22).remove(0);
        assert_eq!(record.verdict, FlowVerdict::Cut);
        assert!(record.sent > 0 && record.received > 0, "{record:?}");
    });
}
