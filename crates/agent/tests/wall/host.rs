//! The host is left as it was.

use std::io::Write as _;
use std::net::TcpListener;

use bastide_agent::{Farewell, Leftovers};
use bastide_plan::hub_plan::{Action, Endpoint, Protocol, Target};
use bastide_plan::message::{Answer, Request};
use bastide_plan::report::RuleState;

use crate::flows;
use crate::support::{assert_refused, endpoint, hub, left, leg, next, on_a_host, prefix, shell, until};

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
    });
}

/// A database at an address of the host, for a hub.
fn database(host: &str, host_allowed: bool) -> Vec<Endpoint> {
    let target = Some(Target::External { host: host.to_owned(), port: 5432, host_allowed });
    vec![Endpoint { target, ..endpoint("database", 200, 5432) }]
}

/// Services of the host's loopback, at these ports; each says its port.
fn serve_at_loopback(ports: [u16; 2]) {
    for port in ports {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|mut stream| drop(writeln!(stream, "host {port}")));
        });
    }
}

#[test]
fn a_service_of_the_hosts_loopback_is_carried_to_when_an_owner_admits_it_and_only_then() {
    on_a_host(|lab| {
        let lab = lab.with_firewall(flows::command());
        serve_at_loopback([5432, 5433]);
        let mut plan = next(hub(1), |plan| plan.endpoints = database("127.0.0.1", true));
        let report = lab.apply(&plan);
        assert_eq!(report.rules.values().next(), Some(&RuleState::Active));
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.connect("10.77.0.200:5432").unwrap(), "host 5432");
        // By a name that the host knows; a name of the same that nobody admitted leads nowhere.
        plan = next(plan, |plan| plan.endpoints = database("localhost", true));
        lab.apply(&plan);
        until("the name is looked up", || inside.connect("10.77.0.200:5432").is_ok_and(|said| said == "host 5432"));
        for host in ["127.0.0.1", "localhost"] {
            plan = next(plan, |plan| plan.endpoints = database(host, false));
            lab.apply(&plan);
            let refused =
                |state: &RuleState| matches!(state, RuleState::Inactive { reason } if reason.contains("Owner"));
            until("it is refused", || lab.report(&plan).rules.values().any(refused));
            assert!(inside.connect("10.77.0.200:5432").is_err());
        }
    });
}

#[test]
fn what_a_firewall_is_handed_for_the_hosts_loopback_leads_nowhere_else() {
    on_a_host(|lab| {
        serve_at_loopback([5432, 5433]);
        let plan = next(hub(1), |plan| plan.endpoints = database("127.0.0.1", true));
        let other = next(hub(2), |plan| plan.endpoints = Vec::new());
        lab.apply(&plan);
        lab.apply(&other);
        let (inside, stranger) = (lab.attach(&plan, "a"), lab.attach(&other, "b"));
        assert_eq!(inside.tell_firewall("beside 127.0.0.1:5432"), "host 5432\n");
        for (who, words) in [
            (&inside, "beside 127.0.0.1:5433"),
            (&inside, "beside 127.0.0.1:5432 127.0.0.1:5433"),
            (&inside, "beside 127.0.0.1:5432 198.18.0.2:80"),
            (&stranger, "beside 127.0.0.1:5432"),
        ] {
            let said = who.tell_firewall(words);
            assert!(!said.contains("host 543") && !said.is_empty(), "{words}: {said}");
        }
    });
}

#[test]
fn rules_of_others_that_keep_hubs_from_the_internet_are_told_with_what_to_do() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.internet.serve(22);
        assert_eq!(lab.apply(&plan).obstacles, Vec::<String>::new());
        let inside = lab.attach(&plan, "a");
        assert!(inside.connect("203.0.113.7:22").is_ok());
        // As Docker leaves it.
        shell(
            "nft 'table ip filter { chain DOCKER-USER { }; \
             chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; iifname \"docker0\" accept; }; }'",
        );
        until("it is told", || lab.report(&plan).obstacles.iter().any(|told| told.contains("DOCKER-USER")));
        assert!(inside.connect("203.0.113.7:22").is_err());
        shell(
            "nft 'insert rule ip filter DOCKER-USER iifname \"bas-u-*\" accept; insert rule ip filter DOCKER-USER oifname \"bas-u-*\" accept'",
        );
        until("it is told no more", || lab.report(&plan).obstacles.is_empty());
        assert!(inside.connect("203.0.113.7:22").is_ok());
    });
}
