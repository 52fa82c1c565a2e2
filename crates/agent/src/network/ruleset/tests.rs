use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bastide_plan::hub_plan::{ComputeId, Endpoint, HubId, Leg, NameRule, PLAN_VERSION, Service, Stamp, Target};
use bastide_plan::{AddressFilter, RuleName};
use ipnet::Ipv4Net;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::network::facts::Slot;

fn facts() -> NodeFacts {
    NodeFacts {
        filter: AddressFilter { internet: Vec::new(), own: vec!["192.0.2.2/32".parse().unwrap()] },
        slot: Slot::free(|_| false).unwrap(),
        externals: BTreeSet::new(),
    }
}

fn plan(mode: Mode) -> HubPlan {
    HubPlan {
        version: PLAN_VERSION,
        hub: HubId(Uuid::from_u128(7)),
        name: "hub".to_owned(),
        stamp: Stamp { fence: 1, revision: 1 },
        mode,
        subnet: "10.77.0.0/24".parse().unwrap(),
        legs: (1..=2).map(leg).collect(),
        names: Vec::new(),
        prefixes: Vec::new(),
        endpoints: Vec::new(),
        services: Vec::new(),
        ends: Vec::new(),
    }
}

fn leg(number: u8) -> Leg {
    let compute = ComputeId(Uuid::from_u128(number.into()));
    Leg { compute, name: format!("compute-{number}"), project: None, address: Ipv4Addr::new(10, 77, 0, number + 1) }
}

fn prefix(rule: &str, action: Action, protocol: Protocol, prefixes: &[&str], ports: &[(u16, u16)]) -> PrefixRule {
    PrefixRule {
        rule: RuleName(rule.to_owned()),
        action,
        protocol,
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        ports: ports.iter().map(|&(first, last)| PortRange { first, last }).collect(),
    }
}

/// One of everything.
fn full(mode: Mode) -> HubPlan {
    HubPlan {
        names: vec![NameRule {
            rule: RuleName("mail".to_owned()),
            pattern: "*.example.org".parse().unwrap(),
            ports: vec![443, 8443],
        }],
        prefixes: vec![
            prefix("any", Action::Allow, Protocol::Any, &["203.0.113.0/26"], &[]),
            prefix("any-ports", Action::Allow, Protocol::Any, &["203.0.113.0/26"], &[(1000, 2000)]),
            prefix("hole", Action::Deny, Protocol::Any, &["203.0.113.32/28", "203.0.113.48/28"], &[(22, 22)]),
            prefix("hole-all", Action::Deny, Protocol::Tcp, &["203.0.113.1/32"], &[]),
            prefix("nothing", Action::Allow, Protocol::Tcp, &[], &[(1, 1)]),
            prefix("ping", Action::Allow, Protocol::Icmp, &["203.0.113.64/26"], &[]),
            prefix("tcp", Action::Allow, Protocol::Tcp, &["203.0.113.64/26"], &[(22, 23), (443, 443)]),
            prefix("udp", Action::Allow, Protocol::Udp, &["203.0.113.64/26"], &[(123, 123)]),
            prefix("udp-all", Action::Allow, Protocol::Udp, &["203.0.113.128/26"], &[]),
        ],
        endpoints: vec![Endpoint {
            rule: RuleName("vault".to_owned()),
            names: Vec::new(),
            address: Ipv4Addr::new(10, 77, 0, 200),
            ports: vec![443, 8443],
            target: None,
        }],
        services: vec![Service { name: "api.bastide.test".parse().unwrap(), port: 8443, target: Target::Server }],
        ..plan(mode)
    }
}

/// Whether nft takes a text, in a network namespace of its own. Nothing is said when this is not root.
fn assert_taken(transaction: &str) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("\n*** SKIPPED: only root can ask nft ***\n");
        return;
    }
    crate::tool::run("unshare", &["--net", "nft", "-f", "-"], transaction).unwrap();
}

#[test]
fn an_empty_hub_in_every_mode() {
    for (name, mode) in
        [("approved", Mode::ApprovedOutbound), ("internet", Mode::InternetOutbound), ("disabled", Mode::Disabled)]
    {
        let text = ruleset(&plan(mode), &facts());
        insta::assert_snapshot!(format!("empty_{name}"), text);
        assert_taken(&text);
    }
}

#[test]
fn every_rule_type_in_every_mode() {
    for (name, mode) in
        [("approved", Mode::ApprovedOutbound), ("internet", Mode::InternetOutbound), ("disabled", Mode::Disabled)]
    {
        let text = ruleset(&full(mode), &facts());
        insta::assert_snapshot!(format!("full_{name}"), text);
        assert_taken(&text);
    }
}

#[test]
fn internet_ranges_and_declared_targets() {
    let filter = AddressFilter { internet: vec!["10.0.0.0/8".parse().unwrap()], ..facts().filter };
    let externals = BTreeSet::from([(Ipv4Addr::new(10, 9, 9, 9), 5432), (Ipv4Addr::new(192, 0, 2, 2), 5432)]);
    let text = ruleset(&plan(Mode::ApprovedOutbound), &NodeFacts { filter, externals, ..facts() });
    insta::assert_snapshot!(text);
    assert_taken(&text);
}

#[test]
fn a_shut_rule_set_is_taken_too() {
    insta::assert_snapshot!(Ruleset::shut());
    assert_taken(&Ruleset::shut().transaction());
}

#[test]
fn a_change_sends_only_what_is_new() {
    let before = Ruleset::new(&full(Mode::ApprovedOutbound), &facts());
    let mut plan = full(Mode::ApprovedOutbound);
    plan.prefixes.retain(|rule| rule.rule.0 != "udp-all");
    plan.prefixes.push(prefix("more", Action::Allow, Protocol::Tcp, &["198.51.100.0/24"], &[]));
    let after = Ruleset::new(&plan, &facts());
    let change = after.transaction_from(&before);
    assert_eq!(change.matches("\tset ").count(), 1, "{change}");
    assert_eq!(change.matches("delete set ").count(), 1, "{change}");
    assert!(change.contains("198.51.100.0-198.51.100.255") && !change.contains("203.0.113.64-"), "{change}");
    assert_taken(&format!("{}{change}", before.transaction()));
}

#[test]
fn a_name_more_changes_nothing() {
    let mut plan = full(Mode::ApprovedOutbound);
    let before = ruleset(&plan, &facts());
    plan.names.push(NameRule {
        rule: RuleName("pypi".to_owned()),
        pattern: "pypi.org".parse().unwrap(),
        ports: vec![80, 443],
    });
    plan.stamp.revision += 1;
    assert_eq!(ruleset(&plan, &facts()), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever a rule is called, nft reads it as a name and as nothing else.
    #[test]
    fn no_rule_name_is_read_as_a_rule(name in "[ -~\\PC]{1,140}", bits: u32, length in 0u8..=32) {
        let mut plan = plan(Mode::ApprovedOutbound);
        let net = Ipv4Net::new(bits.into(), length).unwrap().trunc().to_string();
        plan.prefixes = vec![prefix(&name, Action::Allow, Protocol::Any, &[&net], &[])];
        let text = ruleset(&plan, &facts());
        prop_assert_eq!(&text, &ruleset(&plan, &facts()));
        assert_taken(&text);
    }
}
