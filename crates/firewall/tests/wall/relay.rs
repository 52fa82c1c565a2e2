//! Private endpoints and services of Bastide's: rows 30 and 31, as far as a relay decides them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use bastide_plan::RuleName;
use bastide_plan::flow::{FlowKind, FlowVerdict};
use bastide_plan::hub_plan::{Endpoint, Target};
use bastide_plan::worker::Purpose;

use crate::client::{End, connect, exchange, hello};
use crate::internet::GOOD;
use crate::lab::Lab;
use crate::support::ENDPOINT;

/// A hub with a private endpoint for `good.example`, with this behind it.
fn with_endpoint(target: Option<Target>) -> Lab {
    let mut lab = Lab::new(&[]);
    let mut plan = lab.plan(&[]);
    plan.endpoints = vec![Endpoint {
        rule: RuleName("vault".to_owned()),
        names: vec!["good.example".parse().unwrap()],
        address: ENDPOINT,
        ports: vec![8200],
        target,
    }];
    lab.listen(Purpose::Relay { address: ENDPOINT, port: 8200 }, || {
        TcpListener::bind((ENDPOINT, 8200)).unwrap().into()
    });
    lab.apply(plan);
    lab
}

fn external(host: Ipv4Addr) -> Target {
    Target::External { host: host.to_string(), port: 443, host_allowed: false }
}

#[test]
fn a_private_endpoint_carries_bytes_to_its_target_only() {
    let mut lab = with_endpoint(Some(external(GOOD)));
    let bytes = b"any protocol";
    assert_eq!(lab.inside(|| exchange(ENDPOINT, 8200, &[bytes])).text(), format!("{GOOD}\n"));
    let flow = lab.flow(|flow| flow.kind == FlowKind::Relay);
    assert_eq!(flow.rule.map(|rule| rule.0).as_deref(), Some("vault"));
    assert_eq!((flow.port, flow.sent), (8200, bytes.len() as u64));
    // The public address of the same name stays out of reach.
    let outcome = lab.inside(|| exchange(GOOD, 443, &[&hello("good.example")]));
    assert!(outcome.alert().is_some(), "{outcome:?}");
    assert!(lab.flow(|flow| flow.kind == FlowKind::Tls).reason.unwrap().contains("private endpoint"));

    let mut stream = lab.inside(|| connect(ENDPOINT, 8200));
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut vec![0; format!("{GOOD}\n").len()]).unwrap();
    lab.approve(&[]);
    assert!(stream.read(&mut [0]).is_err(), "the endpoint was withdrawn");
    assert!(lab.inside(|| std::net::TcpStream::connect((ENDPOINT, 8200))).is_err(), "nothing listens any more");
}

#[test]
fn a_target_inside_the_host_needs_an_owner() {
    for host in ["127.0.0.1", "169.254.169.254", "0.0.0.0"] {
        let lab = with_endpoint(Some(external(host.parse().unwrap())));
        let outcome = lab.inside(|| exchange(ENDPOINT, 8200, &[b"x"]));
        assert_eq!((outcome.bytes.len(), outcome.end), (0, End::Reset), "{host}: {outcome:?}");
        assert!(outcome.took < Duration::from_secs(1), "{outcome:?}");
        assert_eq!(lab.flow(|flow| flow.kind == FlowKind::Relay).verdict, FlowVerdict::Failed);
    }
    assert!(with_endpoint(None).inside(|| exchange(ENDPOINT, 8200, &[b"x"])).bytes.is_empty());
}
