//! The agent with the firewall that it is made for. `BASTIDE_BINARY` names the program.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bastide_agent::Leftovers;
use bastide_plan::flow::FlowQuery;
use bastide_plan::message::{Answer, Request};
use bastide_plan::report::WallState;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Inside, hub, name, next, on_a_host, until};

#[test]
fn a_name_that_a_rule_approves_is_reached_and_no_other() {
    let Some(program) = std::env::var("BASTIDE_BINARY").ok() else {
        eprintln!("\n*** SKIPPED: set BASTIDE_BINARY to the program to try the real firewall ***\n");
        return;
    };
    on_a_host(|lab| {
        let lab = lab.with_firewall(vec![program, "firewall".to_owned()]);
        lab.internet.resolve();
        lab.internet.web();
        let plan = next(hub(1), |plan| plan.names = vec![name("pypi", "pypi.org", &[80, 443])]);
        let begin = Instant::now();
        let report = lab.apply(&plan);
        eprintln!("stands after {:?}: {report:?}", begin.elapsed());
        let inside = lab.attach(&plan, "a");
        until("the resolver answers", || resolve(&inside, "pypi").is_some());
        assert_eq!(resolve(&inside, "pypi"), Some(0));
        assert_eq!(resolve(&inside, "evil"), Some(3), "NXDOMAIN");
        assert!(get(&inside, "pypi.org").starts_with("HTTP/1.1 200"), "{}", get(&inside, "pypi.org"));
        assert!(get(&inside, "evil.org").starts_with("HTTP/1.1 403"), "{}", get(&inside, "evil.org"));
        // Killed, it is back, and decides as before.
        for process in Leftovers::find().unwrap().processes {
            kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL).unwrap();
        }
        let took = until("names are reached again", || {
            resolve(&inside, "pypi") == Some(0) && get(&inside, "pypi.org").starts_with("HTTP/1.1 200")
        });
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(get(&inside, "evil.org").starts_with("HTTP/1.1 403"));
        until("the wall stands", || lab.report(&plan).wall == WallState::Standing);
        // What the kernel refused is in the flow log, with what the firewall refused.
        assert!(inside.connect("203.0.113.7:22").is_err());
        let query = FlowQuery { denied: true, limit: 100, ..FlowQuery::default() };
        until("the refusal is in the log", || {
            let Answer::Flows { flows } = lab.ask(Request::Flows { hub: plan.hub, query: query.clone() }) else {
                return false;
            };
            flows.records.iter().any(|record| record.port == 22)
        });
        // Withdrawn, it is refused.
        let begin = Instant::now();
        lab.apply(&next(plan, |plan| plan.names.clear()));
        assert!(begin.elapsed() < Duration::from_secs(1));
        assert!(get(&inside, "pypi.org").starts_with("HTTP/1.1 403"));
    });
}

/// The response code of the gateway for `NAME.org`.
fn resolve(inside: &Inside, name: &str) -> Option<u8> {
    inside.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, u8::try_from(name.len()).unwrap()];
        question.extend(name.as_bytes());
        question.extend(b"\x03org\0\0\x01\0\x01");
        socket.send_to(&question, "10.77.0.1:53").unwrap();
        let mut answer = [0; 512];
        socket.recv(&mut answer).ok().map(|_| answer[3] & 15)
    })
}

/// What a web server says to a request for a host, wherever the address leads.
fn get(inside: &Inside, host: &str) -> String {
    inside.within(|| {
        let to = "203.0.113.7:80".parse().unwrap();
        let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else { return String::new() };
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let _ = write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    })
}
