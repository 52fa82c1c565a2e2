//! What gets out, and what does not (egress.md, section 6).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bastide_plan::hub_plan::{Action, Mode, Protocol};

use crate::support::{assert_refused, endpoint, hub, leg, name, next, on_a_host, prefix, service, shell, until};

#[test]
fn what_goes_to_80_and_443_arrives_at_the_firewall_and_nowhere_else() {
    on_a_host(|lab| {
        let plan = next(hub(1), |plan| plan.names = vec![name("pypi", "pypi.org", &[80, 443, 8883])]);
        lab.internet.serve(443);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.connect("203.0.113.7:443").unwrap(), "Tls 203.0.113.7:443");
        assert_eq!(inside.connect("8.8.8.8:80").unwrap(), "Http 8.8.8.8:80");
        assert_eq!(inside.connect("203.0.113.7:8883").unwrap(), "Tls 203.0.113.7:8883");
        assert_refused(inside.connect("203.0.113.7:8884"));
    });
}

#[test]
fn everything_else_is_refused_at_once() {
    on_a_host(|lab| {
        let plan = hub(1);
        for port in [22, 53, 853, 8080, 8443, 3306] {
            lab.internet.serve(port);
        }
        let heard = [lab.internet.echo(53), lab.internet.echo(443), lab.internet.echo(123)];
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        // Rows 12 and 14, and 21: the ports where the firewall takes connections are none of the inside's business.
        for port in [22, 53, 853, 8080, 8443, 3306] {
            for address in ["203.0.113.7", "10.77.0.1", "198.18.0.1", "100.126.0.0", "100.126.0.1", "169.254.169.254"] {
                if (address, port) != ("10.77.0.1", 53) {
                    assert_refused(inside.connect(&format!("{address}:{port}")));
                }
            }
        }
        for port in [53, 443, 123] {
            assert_refused(inside.datagram(&format!("203.0.113.7:{port}")));
        }
        assert!(!inside.ping("203.0.113.7"));
        assert!(heard.iter().all(|count| count.load(Ordering::SeqCst) == 0));
        let log = inside.tell_firewall("log");
        assert!(log.contains("denied:"), "{log}");
    });
}

#[test]
fn the_gateway_answers_dns_and_what_the_plan_lists() {
    on_a_host(|lab| {
        let plan = next(hub(1), |plan| {
            plan.endpoints = vec![endpoint("vault", 200, 8443)];
            plan.services = vec![service("api.bastide.test", 8443)];
        });
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        assert!(inside.datagram("10.77.0.1:53").is_ok());
        assert_eq!(inside.connect("10.77.0.1:53").unwrap(), "DnsTcp 10.77.0.1:53");
        assert!(inside.connect("10.77.0.1:8443").unwrap().starts_with("Relay"));
        assert!(inside.connect("10.77.0.200:8443").unwrap().starts_with("Relay"));
        assert_refused(inside.connect("10.77.0.200:8444"));
        assert_refused(inside.connect("10.77.0.1:443"));
        lab.apply(&next(plan, |plan| plan.endpoints.clear()));
        assert_refused(inside.connect("10.77.0.200:8443"));
    });
}

#[test]
fn a_rule_by_address_lets_through_what_it_says() {
    on_a_host(|lab| {
        let plan = next(hub(1), |plan| {
            plan.prefixes = vec![
                prefix("hole", Action::Deny, Protocol::Tcp, "203.0.113.128/25", &[]),
                prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 23), (443, 443)]),
                prefix("time", Action::Allow, Protocol::Udp, "203.0.113.7/32", &[(123, 123), (53, 53)]),
                prefix("ping", Action::Allow, Protocol::Icmp, "203.0.113.7/32", &[]),
            ];
        });
        for port in [22, 24, 443] {
            lab.internet.serve(port);
        }
        lab.internet.echo(123);
        let dns = lab.internet.echo(53);
        let report = lab.apply(&plan);
        assert_eq!(report.rules.len(), 4);
        let inside = lab.attach(&plan, "a");
        // Not the leg's address: the host's.
        assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
        assert_eq!(
            inside.connect("203.0.113.7:443").unwrap(),
            "198.18.0.1",
            "an address rule comes before the firewall"
        );
        assert_refused(inside.connect("203.0.113.7:24"));
        assert_refused(inside.connect("203.0.113.200:22"));
        assert_refused(inside.connect("203.0.113.200:443"));
        assert!(inside.datagram("203.0.113.7:123").is_ok());
        assert_refused(inside.datagram("203.0.113.7:53"));
        assert_eq!(dns.load(Ordering::SeqCst), 0, "no rule opens a way to another resolver");
        assert!(inside.ping("203.0.113.7"));
        std::thread::sleep(Duration::from_millis(100));
        let log = inside.tell_firewall("log");
        for line in ["allowed:lake", "allowed:time", "denied:hole", "allowed:ping"] {
            assert!(log.contains(line), "{line}: {log}");
        }
    });
}

#[test]
fn a_rule_that_goes_cuts_what_it_had_let_through() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let time = prefix("time", Action::Allow, Protocol::Tcp, "203.0.113.7/32", &[(23, 23)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake, time.clone()]);
        lab.internet.serve(22);
        lab.internet.serve(23);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let (mut going, mut staying) = (inside.stream("203.0.113.7:22"), inside.stream("203.0.113.7:23"));
        let echo = |stream: &mut std::net::TcpStream| {
            stream.write_all(b"hello")?;
            stream.read_exact(&mut [0; 5])
        };
        echo(&mut going).unwrap();
        let begin = Instant::now();
        lab.apply(&next(plan, |plan| plan.prefixes = vec![time]));
        assert!(begin.elapsed() < Duration::from_secs(1));
        let error = echo(&mut going).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionAborted), "{error}");
        echo(&mut staying).unwrap();
        assert_refused(inside.connect("203.0.113.7:22"));
    });
}

#[test]
fn no_rule_and_no_mode_opens_what_is_not_the_internet() {
    on_a_host(|lab| {
        let everything = prefix("all", Action::Allow, Protocol::Any, "0.0.0.0/0", &[]);
        lab.internet.serve(22);
        let heard = lab.internet.echo(22);
        // A service of the host, on all its addresses.
        let host = std::net::TcpListener::bind("0.0.0.0:22").unwrap();
        std::thread::spawn(move || host.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"host\n"))));
        let other = next(hub(2), |plan| plan.legs = vec![leg(1)]);
        lab.apply(&other);
        for (number, mode) in [Mode::ApprovedOutbound, Mode::InternetOutbound, Mode::Disabled].into_iter().enumerate() {
            let plan = next(hub(10 + u128::try_from(number).unwrap()), |plan| {
                plan.mode = mode;
                plan.subnet = "10.78.0.0/24".parse().unwrap();
                plan.prefixes = vec![everything.clone()];
            });
            lab.apply(&plan);
            let inside = lab.attach(&plan, "a");
            let neighbour = lab.attach(&plan, "b");
            assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1", "{mode:?}");
            let slot = "100.126.0.0:22 100.126.0.1:22 100.126.0.2:22 100.126.0.3:22 100.126.0.4:22 100.126.0.5:22";
            let neighbour = format!("{}:22", neighbour.address);
            for target in
                ["169.254.169.254:22", "10.0.0.99:22", "198.18.0.1:22", "127.0.0.1:22", "10.77.0.11:22", &neighbour]
                    .into_iter()
                    .chain(slot.split(' '))
            {
                assert_refused(inside.connect(target));
                assert_refused(inside.datagram(target));
            }
            assert_eq!(heard.load(Ordering::SeqCst), 0);
        }
    });
}

#[test]
fn open_modes_let_the_internet_through_and_log_it() {
    on_a_host(|lab| {
        lab.internet.serve(443);
        lab.internet.serve(22);
        lab.internet.echo(53);
        let plan = next(hub(1), |plan| {
            plan.mode = Mode::InternetOutbound;
            plan.prefixes = vec![prefix("hole", Action::Deny, Protocol::Any, "203.0.113.200/32", &[])];
        });
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.connect("203.0.113.7:443").unwrap(), "198.18.0.1");
        assert!(inside.datagram("203.0.113.7:53").is_ok());
        assert_refused(inside.connect("203.0.113.200:443"));
        let mut stream = inside.stream("203.0.113.7:22");
        // And back to approved only, on the live hub.
        let plan = next(plan, |plan| plan.mode = Mode::ApprovedOutbound);
        lab.apply(&plan);
        assert!(stream.read(&mut [0]).is_err());
        assert_refused(inside.connect("203.0.113.7:22"));
        let log = inside.tell_firewall("log");
        assert!(log.contains("allowed:\n") && log.contains("denied:hole"), "{log}");
    });
}

#[test]
fn nobody_sends_with_an_address_that_is_not_his() {
    on_a_host(|lab| {
        let heard = lab.internet.echo(123);
        let time = prefix("time", Action::Allow, Protocol::Udp, "203.0.113.7/32", &[(123, 123)]);
        let plan = next(hub(1), |plan| {
            plan.prefixes = vec![time];
            plan.legs = vec![leg(1)];
        });
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let ours = inside.address;
        let send = |from: &str| {
            inside.within(|| {
                let socket = UdpSocket::bind((from, 0)).unwrap();
                let _ = socket.send_to(b"x", "203.0.113.7:123");
            });
        };
        inside.within(|| shell("ip addr add 10.77.0.11/32 dev eth0; ip addr add 198.18.0.1/32 dev eth0"));
        send("10.77.0.11");
        send("198.18.0.1");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(heard.load(Ordering::SeqCst), 0);
        send(&ours.to_string());
        until("an honest datagram arrives", || heard.load(Ordering::SeqCst) == 1);
    });
}

#[test]
fn there_is_no_ipv6_and_no_raw_protocol() {
    on_a_host(|lab| {
        let everything = prefix("all", Action::Allow, Protocol::Any, "0.0.0.0/0", &[]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![everything]);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.within(|| shell("ip -6 addr show")), "");
        let counts = [47, 50, 132].map(|protocol| (protocol, lab.internet.count(protocol)));
        for (protocol, _) in &counts {
            inside.send_raw(*protocol, "203.0.113.7", b"a tunnel");
        }
        // ICMP that nobody asked for carries data just as well.
        let icmp = lab.internet.count(1);
        inside.send_raw(1, "203.0.113.7", &[3, 1, 0xfc, 0xfe, 0, 0, 0, 0]);
        assert!(inside.ping("203.0.113.7"));
        assert!(counts.iter().all(|(_, count)| count.load(Ordering::SeqCst) == 0));
        until("the echo request is counted", || icmp.load(Ordering::SeqCst) > 0);
        assert_eq!(icmp.load(Ordering::SeqCst), 1, "and nothing else");
    });
}

#[test]
fn the_firewall_itself_gets_no_further_than_the_internet() {
    on_a_host(|lab| {
        let plan = next(hub(1), |plan| {
            plan.prefixes = vec![prefix("hole", Action::Deny, Protocol::Tcp, "203.0.113.200/32", &[])];
        });
        for port in [443, 22] {
            lab.internet.serve(port);
        }
        let resolver = lab.internet.echo(53);
        lab.internet.echo(54);
        let host = std::net::TcpListener::bind("0.0.0.0:5432").unwrap();
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.tell_firewall("connect 203.0.113.7:443"), "connected\n");
        assert_eq!(inside.tell_firewall("connect 203.0.113.7:22"), "connected\n", "ports are the firewall's business");
        for target in ["10.0.0.99:22", "169.254.169.254:22", "198.18.0.1:5432", "100.126.0.0:5432", "203.0.113.200:443"]
        {
            let outcome = inside.tell_firewall(&format!("connect {target}"));
            assert!(!outcome.contains("connected") && !outcome.contains("TimedOut"), "{target}: {outcome}");
        }
        let own = inside.tell_firewall(&format!("connect {}:443", inside.address));
        assert!(!own.contains("connected"), "{own}");
        assert!(!inside.tell_firewall("send 203.0.113.7:53").contains("sent"));
        // The socket to the host's resolver is of the host's side: it speaks to the resolver, and to nobody else.
        assert_eq!(inside.tell_firewall("upstream"), "answered\n");
        assert!(resolver.load(Ordering::SeqCst) > 0);
        for elsewhere in ["127.0.0.1:5432", "198.18.0.2:54", "203.0.113.7:53"] {
            let outcome = inside.tell_firewall(&format!("upstream {elsewhere}"));
            assert!(!outcome.contains("answered"), "{elsewhere}: {outcome}");
        }
        drop(host);
    });
}
