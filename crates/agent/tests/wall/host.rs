//! The host is left as it was.

use std::io::Write as _;
use std::net::TcpListener;

use bastide_agent::{Farewell, Leftovers};
use bastide_plan::hub_plan::{Action, Endpoint, Protocol, Target};
use bastide_plan::message::{Answer, Request};
use bastide_plan::report::RuleState;

use crate::support::{assert_refused, endpoint, hub, left, leg, next, on_a_host, prefix, shell};

#[test]
fn what_is_gone_from_the_server_is_gone_from_the_kernel() {
    on_a_host(|lab| {
        assert!(left().is_empty());
        let before = shell("ip -j link; ip -j route; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward");
        let (one, two) = (next(hub(1), |plan| plan.legs = vec![leg(1), leg(2)]), hub(2));
        lab.apply(&one);
        lab.apply(&two);
        lab.attach(&one, "a");
        let found = left();
        assert_eq!((found.namespaces.len(), found.interfaces.len(), found.tables.len()), (5, 2, 1), "{found:?}");
        assert!(found.processes.len() >= 2);
        assert_eq!(lab.ask(Request::Retain { hubs: vec![two.hub] }), Answer::Retained { remaining: vec![] });
        let found = left();
        assert_eq!((found.namespaces.len(), found.interfaces.len()), (1, 1), "{found:?}");
        assert_eq!(lab.ask(Request::Retain { hubs: vec![] }), Answer::Retained { remaining: vec![] });
        assert_eq!(left(), Leftovers::default());
        assert_eq!(shell("ip -j link; ip -j route; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward"), before);
        assert!(matches!(lab.ask(Request::Report { hub: one.hub }), Answer::Refused { .. }));
    });
}

#[test]
fn a_stop_leaves_nothing_and_a_start_brings_it_back() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.internet.serve(22);
        lab.apply(&plan);
        lab.attach(&plan, "a");
        lab.agent.stop(Farewell::Clear);
        assert_eq!(left(), Leftovers::default());
        let lab = lab.restart(Farewell::Clear);
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
    });
}

#[test]
fn other_rules_of_the_host_are_left_alone() {
    on_a_host(|lab| {
        shell(
            "nft 'table inet firewalld { chain input { type filter hook input priority 0; policy accept; tcp dport 9 drop; }; }'",
        );
        let before = shell("nft list table inet firewalld");
        lab.apply(&hub(1));
        lab.ask(Request::Retain { hubs: vec![] });
        assert_eq!(shell("nft list table inet firewalld"), before);
        assert_eq!(shell("nft list tables"), "table inet firewalld\n");
    });
}

#[test]
fn a_service_of_the_host_is_reached_when_an_owner_admits_it_and_only_then() {
    on_a_host(|lab| {
        let host = TcpListener::bind("0.0.0.0:5432").unwrap();
        std::thread::spawn(move || host.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"host\n"))));
        let target =
            |host: &str, host_allowed| Some(Target::External { host: host.to_owned(), port: 5432, host_allowed });
        let with = |target| Endpoint { target, ..endpoint("database", 200, 5432) };
        let plan = next(hub(1), |plan| plan.endpoints = vec![with(target("198.18.0.1", true))]);
        let report = lab.apply(&plan);
        assert_eq!(report.rules.values().next(), Some(&RuleState::Active));
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.tell_firewall("connect 198.18.0.1:5432"), "connected\n");
        assert_ne!(inside.tell_firewall("connect 100.126.0.0:5432"), "connected\n");
        assert_refused(inside.connect("198.18.0.1:5432"));
        // A private address is what an administrator declares; the host is what an owner must admit.
        let plan = next(plan, |plan| plan.endpoints = vec![with(target("198.18.0.1", false))]);
        let report = lab.apply(&plan);
        assert!(
            matches!(report.rules.values().next(), Some(RuleState::Inactive { reason }) if reason.contains("Owner"))
        );
        assert_ne!(inside.tell_firewall("connect 198.18.0.1:5432"), "connected\n");
        let plan = next(plan, |plan| plan.endpoints = vec![with(target("127.0.0.1", true))]);
        let report = lab.apply(&plan);
        assert!(
            matches!(report.rules.values().next(), Some(RuleState::Inactive { reason }) if reason.contains("loopback"))
        );
    });
}
