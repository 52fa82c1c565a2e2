//! Many rules, many legs, many connections.

use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bastide_plan::hub_plan::{Action, Protocol};
use ipnet::Ipv4Net;

use crate::support::{hub, leg, name, next, on_a_host, prefix, shell, until};

#[test]
fn twenty_thousand_prefixes_are_in_force_soon_and_not_sent_twice() {
    on_a_host(|lab| {
        let mut cloud = prefix("cloud", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(443, 443)]);
        cloud.prefixes =
            (0..20_000u32).map(|each| Ipv4Net::new((0x0b00_0000 + each * 512).into(), 24).unwrap()).collect();
        cloud.prefixes.push("203.0.113.0/24".parse().unwrap());
        lab.internet.serve(443);
        let plan = hub(1);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let begin = Instant::now();
        let plan = next(plan, |plan| plan.prefixes = vec![cloud]);
        lab.apply(&plan);
        let first = begin.elapsed();
        assert_eq!(inside.connect("203.0.113.7:443").unwrap(), "198.18.0.1");
        let begin = Instant::now();
        let small = prefix("small", Action::Allow, Protocol::Tcp, "203.0.113.7/32", &[(22, 22)]);
        lab.apply(&next(plan, |plan| plan.prefixes.push(small)));
        let second = begin.elapsed();
        eprintln!("20,000 prefixes: {first:?}; one rule more: {second:?}");
        // A third of a second on a quiet machine; tests run on others.
        assert!(first < Duration::from_secs(10), "{first:?}");
    });
}

#[test]
fn a_name_more_among_ten_thousand_does_not_touch_the_kernel() {
    on_a_host(|lab| {
        let many = |plan: &mut bastide_plan::HubPlan| {
            plan.names = (0..10_000)
                .map(|each| name(&format!("rule-{each}"), &format!("host-{each}.example.org"), &[80, 443]))
                .collect();
        };
        let plan = next(hub(1), many);
        lab.apply(&plan);
        let namespace = bastide_agent::network::names::hub_namespace(plan.hub);
        let generation = || {
            shell(&format!(
                "ip netns exec {namespace} nft -j list tables | head -c 300; ip netns exec {namespace} nft monitor & sleep 0.1; kill $!"
            ))
        };
        let before = generation();
        let mut slowest = Duration::ZERO;
        let mut plan = plan;
        for each in 0..5 {
            plan = next(plan, |plan| {
                plan.names.push(name(&format!("new-{each}"), &format!("new-{each}.example.org"), &[443]));
            });
            let begin = Instant::now();
            lab.apply(&plan);
            slowest = slowest.max(begin.elapsed());
        }
        assert_eq!(generation(), before);
        eprintln!("one name among 10,000: at most {slowest:?}");
        assert!(slowest < Duration::from_secs(1));
    });
}

#[test]
fn a_thousand_rules_and_a_hundred_legs() {
    on_a_host(|lab| {
        lab.internet.serve(22);
        let rule = |each: u32| {
            let net = Ipv4Net::new((0xcb00_7107u32 - each * 256).into(), 32).unwrap();
            prefix(&format!("rule-{each}"), Action::Allow, Protocol::Tcp, &net.to_string(), &[(22, 22)])
        };
        let plan = next(hub(1), |plan| plan.prefixes = (0..1000).map(rule).collect());
        let begin = Instant::now();
        lab.apply(&plan);
        let rules = begin.elapsed();
        let begin = Instant::now();
        let plan = next(plan, |plan| plan.legs = (0..100).map(leg).collect());
        lab.apply(&plan);
        eprintln!("1,000 rules: {rules:?}; 100 legs: {:?}", begin.elapsed());
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
        let report = lab.report(&plan);
        assert_eq!(report.rules.len(), 1000);
        assert_eq!(report.repairs, 0);
    });
}

#[test]
fn the_flood_of_one_hub_is_not_felt_in_another() {
    on_a_host(|lab| {
        lab.internet.serve(22);
        let everything = prefix("all", Action::Allow, Protocol::Any, "203.0.113.0/24", &[]);
        let (one, two) = (
            next(hub(1), |plan| plan.prefixes = vec![everything.clone()]),
            next(hub(2), |plan| plan.prefixes = vec![everything.clone()]),
        );
        lab.apply(&one);
        lab.apply(&two);
        let (flooder, other) = (lab.attach(&one, "a"), lab.attach(&two, "a"));
        flooder.within(|| {
            // A datagram from each port to many ports: a connection each in the kernel's table.
            for port in 0..12_000u32 {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                let _ = socket.send_to(b"x", ("203.0.113.7", u16::try_from(1024 + port % 60_000).unwrap()));
            }
        });
        let hub = bastide_agent::network::names::hub_namespace(one.hub);
        let count: usize = shell(&format!("ip netns exec {hub} cat /proc/sys/net/netfilter/nf_conntrack_count"))
            .trim()
            .parse()
            .unwrap();
        assert!(count <= 8300, "{count}");
        let begin = Instant::now();
        assert_eq!(other.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
        assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    });
}

#[test]
fn idle_connections_to_the_firewall_are_counted() {
    on_a_host(|lab| {
        let plan = hub(1);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let held: Vec<TcpStream> = inside.within(|| {
            let connect = |_| TcpStream::connect_timeout(&"203.0.113.7:443".parse().unwrap(), Duration::from_secs(2));
            (0..1000).map_while(|each| connect(each).ok()).collect()
        });
        assert_eq!(held.len(), 1000);
        let mut one = inside.stream("203.0.113.7:443");
        one.write_all(b"x\n").unwrap();
        drop(held);
        until("others are served", || inside.connect("203.0.113.7:443").is_ok());
    });
}
