//! Somebody else changes the kernel.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bastide_agent::Farewell;
use bastide_agent::network::names::leg_namespace;
use bastide_agent::network::namespace::Namespace;
use bastide_plan::hub_plan::{Action, ComputeId, Protocol};
use bastide_plan::report::WallState;

use crate::support::{assert_refused, hub, leg, next, on_a_host, prefix, shell, until};

#[test]
fn a_flushed_rule_set_is_back_at_once() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.internet.serve(22);
        lab.internet.serve(23);
        let before = lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let hub = bastide_agent::network::names::hub_namespace(plan.hub);
        for deed in [
            "flush ruleset",
            "delete table inet bastide",
            "flush chain inet bastide classify",
            "add rule inet bastide forward accept",
        ] {
            let repairs = lab.report(&plan).repairs;
            shell(&format!("ip netns exec {hub} nft {deed}"));
            // Without a rule set a leg's packets would bear its own address, which the host drops.
            assert!(inside.connect("203.0.113.7:23").is_err());
            let took = until(deed, || lab.report(&plan).repairs > repairs);
            assert!(took < Duration::from_secs(2), "{deed}: {took:?}");
            assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1", "{deed}");
            assert_refused(inside.connect("203.0.113.7:23"));
        }
        assert!(lab.report(&plan).repairs >= before.repairs + 4);
    });
}

#[test]
fn a_table_of_somebody_elses_is_none_of_our_business() {
    on_a_host(|lab| {
        let plan = hub(1);
        let before = lab.apply(&plan);
        // It takes a quiet moment to look at what is ours.
        std::thread::sleep(Duration::from_millis(2500));
        let name = bastide_agent::network::names::hub_namespace(plan.hub);
        shell(&format!("ip netns exec {name} nft add table inet theirs; nft add table inet theirs"));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(lab.report(&plan).repairs, before.repairs);
        shell(&format!("ip netns exec {name} nft list table inet theirs; nft list table inet theirs"));
    });
}

#[test]
fn interfaces_routes_and_settings_come_back() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.internet.serve(22);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let name = bastide_agent::network::names::hub_namespace(plan.hub);
        let reaches = || inside.connect("203.0.113.7:22").is_ok();
        for deed in [
            format!("ip -n {name} link delete uplink"),
            format!("ip -n {name} link set uplink down"),
            format!("ip -n {name} route delete default"),
            format!("ip netns exec {name} sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'"),
            format!("ip -n {name} rule delete fwmark 1"),
            format!("ip -n {name} address delete 10.77.0.1/32 dev lo"),
            format!("ip -n {name} link delete $(ip -n {name} -o link show | grep -o 'leg[0-9a-f]*' | head -n 1)"),
            format!("umount -l /run/netns/{name}; rm -f /run/netns/{name}"),
            "ip link delete $(ip -o link show | grep -o 'bas-u-[0-9a-f]*' | head -n 1)".to_owned(),
            "nft flush ruleset".to_owned(),
            "echo 0 > /proc/sys/net/ipv4/ip_forward; nft add table inet x".to_owned(),
        ] {
            shell(&deed);
            let took = until(&deed, || {
                reaches()
                    && inside.connect("8.8.8.8:443").is_ok()
                    && inside.datagram("10.77.0.1:53").is_ok()
                    && std::fs::exists(format!("/run/netns/{name}")).unwrap()
            });
            assert!(took < Duration::from_secs(2), "{deed}: {took:?}");
        }
        assert!(lab.report(&plan).repairs >= 5);
    });
}

#[test]
fn a_leg_whose_namespace_lost_its_name_gets_it_back_and_keeps_its_connections() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| {
            plan.prefixes = vec![lake];
            plan.legs = vec![leg(1)];
        });
        lab.internet.serve(22);
        lab.apply(&plan);
        let (inside, name) = (lab.inside(&leg(1)), leg_namespace(leg(1).compute));
        let mut stream = inside.stream("203.0.113.7:22");
        for deed in ["", "ip netns add "] {
            let again = if deed.is_empty() { String::new() } else { format!("; {deed} {name}") };
            shell(&format!("ip netns delete {name}{again}"));
            // Nobody asks: it is seen all the same.
            let found = || Namespace::open(&name).ok().and_then(|namespace| namespace.inode());
            until("it has its name again", || found() == inside.namespace.inode());
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
        }
        assert!(lab.report(&plan).repairs >= 2);
    });
}

#[test]
fn a_leg_that_lost_its_name_while_no_agent_ran_is_made_anew_and_the_old_one_leads_nowhere() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.internet.serve(22);
        lab.apply(&plan);
        // It is held open, so its end of the leg stays in it.
        let lost = lab.attach(&plan, "a");
        let compute = ComputeId(uuid::Uuid::new_v5(&plan.hub.0, b"a"));
        lab.agent.stop(Farewell::Keep);
        shell(&format!("ip netns delete {}", leg_namespace(compute)));
        let lab = lab.restart(Farewell::Keep);
        until("the wall stands again", || {
            lab.report(&plan).wall == WallState::Standing && shell("ip netns list").contains("bas-c-")
        });
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
        assert!(lost.connect("203.0.113.7:22").is_err());
    });
}

#[test]
fn a_tool_that_fails_for_a_moment_shuts_a_hub_for_hardly_longer() {
    on_a_host(|lab| {
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.internet.serve(22);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let nft = shell("command -v nft").trim().to_owned();
        shell(&format!("printf '#!/bin/sh\\nexit 1\\n' > {0}/nft; chmod 755 {0}/nft", lab.directory.path().display()));
        shell(&format!("mount --bind {}/nft {nft}", lab.directory.path().display()));
        let plan = next(plan, |plan| plan.prefixes[0].ports[0].last = 23);
        assert!(matches!(lab.try_apply(&plan).wall, WallState::Shut { .. }));
        shell(&format!("umount {nft}"));
        until("it stands again", || lab.report(&plan).wall == WallState::Standing);
        assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
    });
}
