//! Rules that come and go under traffic: row 27.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bastide_plan::flow::FlowVerdict;
use bastide_plan::hub_plan::Mode;

use crate::client::{connect, exchange, hello};
use crate::internet::{GOOD, OTHER};
use crate::lab::Lab;

/// A connection that has been let through, and answers.
fn established(lab: &Lab, name: &str, to: std::net::Ipv4Addr) -> TcpStream {
    lab.inside(|| {
        let mut stream = connect(to, 443);
        stream.write_all(&hello(name)).unwrap();
        stream.read_exact(&mut vec![0; format!("{to}\n").len()]).unwrap();
        stream
    })
}

fn echoes(stream: &mut TcpStream) -> bool {
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
}

#[test]
fn row_27_withdrawing_a_rule_cuts_its_flows_and_no_others() {
    let mut lab = Lab::new(&["good.example", "other.example"]);
    let mut good: Vec<_> = (0..20).map(|_| established(&lab, "good.example", GOOD)).collect();
    let mut other = established(&lab, "other.example", OTHER);
    let mut web = lab.inside(|| connect(GOOD, 80));
    let mut answer = [0; 200];
    web.write_all(b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n").unwrap();
    assert!(web.read(&mut answer).unwrap() > 0);

    let start = Instant::now();
    lab.approve(&["other.example"]);
    for stream in good.iter_mut().chain([&mut web]) {
        let end = stream.read(&mut answer);
        assert!(end.is_err(), "a flow was not reset: {end:?}");
    }
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    assert!(echoes(&mut other));
    let refused = lab.inside(|| exchange(GOOD, 443, &[&hello("good.example")]));
    assert!(refused.alert().is_some(), "{refused:?}");
    let cut = lab.flows().into_iter().filter(|flow| flow.verdict == FlowVerdict::Cut);
    let cut: Vec<_> = cut.map(|flow| (flow.name, flow.reason.unwrap_or_default())).collect();
    assert_eq!(cut.len(), 21);
    assert!(
        cut.iter().all(|(name, why)| name.as_deref() == Some("good.example") && why.contains("No rule of hub")),
        "{cut:?}"
    );
}

#[test]
fn another_rule_for_the_same_name_keeps_a_flow() {
    let mut lab = Lab::new(&["good.example"]);
    let mut stream = established(&lab, "good.example", GOOD);
    lab.approve(&["good.example", "other.example"]);
    assert!(echoes(&mut stream), "another rule came");
    lab.approve(&[]);
    assert!(!echoes(&mut stream), "all rules went");
    lab.approve(&["good.example"]);
    assert!(echoes(&mut established(&lab, "good.example", GOOD)), "it came back");
}

#[test]
fn a_compute_that_leaves_the_hub_is_cut_off() {
    let mut lab = Lab::new(&["good.example"]);
    let mut stream = established(&lab, "good.example", GOOD);
    let mut plan = lab.plan(&["good.example"]);
    plan.legs.clear();
    lab.apply(plan);
    assert!(!echoes(&mut stream));
}

#[test]
fn a_connection_that_waits_is_judged_by_the_rules_of_the_moment_it_speaks() {
    let mut lab = Lab::new(&["good.example"]);
    let mut stream = lab.inside(|| connect(GOOD, 443));
    stream.write_all(&hello("good.example")[..30]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    lab.approve(&[]);
    stream.write_all(&hello("good.example")[30..]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 49]);
    assert!(lab.internet.heard_at(GOOD).is_empty());
}

#[test]
fn a_mode_that_opens_the_internet_lets_names_and_addresses_through() {
    let mut lab = Lab::new(&[]);
    let mut plan = lab.plan(&[]);
    plan.mode = Mode::InternetOutbound;
    lab.apply(plan);
    for bytes in [hello("good.example"), crate::client::hello_with(&[], 0), b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()] {
        let outcome = lab.inside(|| exchange(GOOD, 443, &[&bytes]));
        assert_eq!(outcome.text(), format!("{GOOD}\n"), "{outcome:?}");
    }
    let mut stream = established(&lab, "good.example", GOOD);
    lab.approve(&[]);
    assert!(!echoes(&mut stream), "the hub was locked down");
}
