//! What `explain` says, what a plan means and what the kernel is told are the same: random plans and probes, and no
//! disagreement. The kernel is played by an interpreter of the rule set's text; what the text does in a real one is tried by
//! the tests of the wall.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod kernel;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bastide_agent::network::facts::{NodeFacts, Slot};
use bastide_agent::network::names::leg_interface;
use bastide_agent::network::ruleset::ruleset;
use bastide_firewall::clock::SystemClock;
use bastide_firewall::explain::explain;
use bastide_firewall::resolver::Resolver;
use bastide_firewall::view::{CurrentView, View};
use bastide_inspect::Name;
use bastide_plan::explanation::{Explanation, Question};
use bastide_plan::hub_plan::{
    Action, ComputeId, Endpoint, HubId, Leg, Mode, NameRule, PLAN_VERSION, PortRange, PrefixRule, Protocol, Service,
    Stamp, Target,
};
use bastide_plan::packet::{Packet, PacketVerdict};
use bastide_plan::policy::NameVerdict;
use bastide_plan::{AddressFilter, HubPlan, Policy, RuleName};
use kernel::{Fate, Kernel};
use proptest::prelude::*;
use uuid::Uuid;

const PORTS: [u16; 9] = [22, 53, 80, 123, 443, 853, 5432, 8443, 9000];
const NAMES: [&str; 6] = ["a.org", "b.a.org", "c.b.a.org", "db.internal.net", "api.bastide.org", "y.z.net"];
const PATTERNS: [&str; 5] = ["a.org", "*.a.org", "*.b.a.org", "z.net", "*.z.net"];
const NETWORKS: [&str; 9] = [
    "0.0.0.0/0",
    "203.0.113.0/24",
    "203.0.113.128/25",
    "203.0.113.7/32",
    "10.0.0.0/8",
    "10.77.0.0/24",
    "169.254.0.0/16",
    "192.0.2.0/30",
    "198.18.0.0/15",
];
const ADDRESSES: [[u8; 4]; 14] = [
    [203, 0, 113, 7],
    [203, 0, 113, 200],
    [198, 18, 0, 1],
    [10, 1, 2, 3],
    [10, 77, 0, 1],
    [10, 77, 0, 2],
    [10, 77, 0, 3],
    [10, 77, 0, 200],
    [10, 77, 0, 201],
    [127, 0, 0, 1],
    [169, 254, 169, 254],
    [192, 0, 2, 2],
    [224, 0, 0, 1],
    [8, 8, 8, 8],
];

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(PORTS.as_slice())
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(&[Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::Any][..])
}

fn names() -> impl Strategy<Value = Vec<NameRule>> {
    let rule = (prop::sample::select(PATTERNS.as_slice()), prop::collection::btree_set(port(), 1..3));
    prop::collection::vec(rule, 0..5).prop_map(|rules| {
        let named = |(number, (pattern, ports)): (usize, (&str, BTreeSet<u16>))| NameRule {
            rule: RuleName(format!("name-{number}")),
            pattern: pattern.parse().unwrap(),
            ports: ports.into_iter().collect(),
        };
        rules.into_iter().enumerate().map(named).collect()
    })
}

fn prefixes() -> impl Strategy<Value = Vec<PrefixRule>> {
    let networks = prop::collection::btree_set(prop::sample::select(NETWORKS.as_slice()), 0..3);
    let ports = prop::collection::btree_set(port(), 0..3);
    let rule = (any::<bool>(), protocol(), networks, ports);
    prop::collection::vec(rule, 0..5).prop_map(|rules| {
        let rule =
            |(number, (allows, protocol, networks, ports)): (usize, (bool, _, BTreeSet<&str>, BTreeSet<u16>))| {
                let networks: Vec<ipnet::Ipv4Net> =
                    networks.into_iter().map(|network| network.parse().unwrap()).collect();
                PrefixRule {
                    rule: RuleName(format!("prefix-{number}")),
                    action: if allows { Action::Allow } else { Action::Deny },
                    protocol,
                    prefixes: ipnet::Ipv4Net::aggregate(&networks),
                    ports: ports.into_iter().map(|port| PortRange { first: port, last: port }).collect(),
                }
            };
        rules.into_iter().enumerate().map(rule).collect()
    })
}

fn plans() -> impl Strategy<Value = HubPlan> {
    let modes = prop::sample::select(
        &[Mode::ApprovedOutbound, Mode::ApprovedOutbound, Mode::InternetOutbound, Mode::Disabled][..],
    );
    (modes, names(), prefixes(), any::<[bool; 3]>()).prop_map(
        |(mode, names, prefixes, [has_endpoint, stands, has_api])| {
            let leg = |number: u8| Leg {
                compute: ComputeId(Uuid::from_u128(number.into())),
                name: format!("compute-{number}"),
                project: None,
                address: [10, 77, 0, number + 1].into(),
            };
            let endpoint = Endpoint {
                rule: RuleName("database".into()),
                names: vec![Name::parse("db.internal.net").unwrap()],
                address: [10, 77, 0, 200].into(),
                ports: vec![53, 5432],
                target: stands.then(|| Target::External { host: "10.0.0.9".into(), port: 5432, host_allowed: false }),
            };
            let api = Service { name: "api.bastide.org".parse().unwrap(), port: 8443, target: Target::Server };
            HubPlan {
                version: PLAN_VERSION,
                hub: HubId(Uuid::from_u128(7)),
                name: "hub".to_owned(),
                stamp: Stamp { fence: 1, revision: 1 },
                mode,
                subnet: "10.77.0.0/24".parse().unwrap(),
                legs: (1..=2).map(leg).collect(),
                names,
                prefixes,
                endpoints: has_endpoint.then_some(endpoint).into_iter().collect(),
                services: has_api.then_some(api).into_iter().collect(),
                ends: Vec::new(),
            }
        },
    )
}

struct House {
    view: Arc<View>,
    resolver: Arc<Resolver>,
    kernel: Kernel,
}

impl House {
    fn new(plan: HubPlan) -> Self {
        let own = vec!["192.0.2.2/32".parse().unwrap(), plan.subnet];
        let filter = AddressFilter { internet: Vec::new(), own };
        let facts =
            NodeFacts { filter: filter.clone(), slot: Slot::free(|_| false).unwrap(), externals: BTreeSet::new() };
        let local =
            [plan.gateway()].into_iter().chain(plan.endpoints.iter().map(|endpoint| endpoint.address)).collect();
        let leg = &plan.legs[0];
        let kernel = Kernel::new(&ruleset(&plan, &facts), leg_interface(leg.compute), leg.address, local);
        let view = Arc::new(View::new(plan, Vec::new(), filter));
        let current = Arc::<CurrentView>::default();
        current.replace(Arc::clone(&view));
        let (need, _) = tokio::sync::mpsc::unbounded_channel();
        Self { view, resolver: Resolver::new(current, Arc::default(), Arc::new(SystemClock), need), kernel }
    }

    fn policy(&self) -> &Policy {
        &self.view.policy
    }

    fn explain(&self, to: &str, port: u16) -> Explanation {
        let question = Question { compute: Some("compute-1".into()), to: to.to_owned(), port: Some(port) };
        explain(&self.view, &self.resolver, &question)
    }
}

/// What the kernel must do, when a plan says this.
fn fate(verdict: PacketVerdict<'_>) -> Fate {
    match verdict {
        PacketVerdict::Resolver | PacketVerdict::Relay(_) => Fate::Delivered,
        PacketVerdict::Rule(rule) if rule.action == Action::Allow => Fate::Forwarded,
        PacketVerdict::Open => Fate::Forwarded,
        PacketVerdict::Named => Fate::Carried,
        _ => Fate::Refused,
    }
}

fn with_cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(with_cases(10_000))]

    #[test]
    fn explain_plan_and_kernel_agree(
        plan in plans(),
        addresses in prop::collection::vec((prop::sample::select(ADDRESSES.as_slice()), port(), 0u8..4), 6),
        asked in prop::collection::vec((prop::sample::select(NAMES.as_slice()), port()), 4),
    ) {
        let house = House::new(plan);
        for (address, port, protocol) in addresses {
            let protocol = [Some(Protocol::Tcp), Some(Protocol::Udp), Some(Protocol::Icmp), None][usize::from(protocol)];
            let packet = Packet { address: address.into(), protocol, port };
            let verdict = house.policy().packet(&house.view.filter, packet);
            let done = house.kernel.send(packet);
            prop_assert_eq!(fate(verdict), done, "{:?}: {:?}", packet, verdict);
            let explained = house.explain(&Ipv4Addr::from(address).to_string(), port);
            let tcp = house.policy().packet(&house.view.filter, Packet { protocol: Some(Protocol::Tcp), ..packet });
            let passes = match tcp {
                PacketVerdict::Relay(relay) => relay.target.is_some(),
                // The connection names nobody.
                PacketVerdict::Named => false,
                other => fate(other) != Fate::Refused,
            };
            prop_assert_eq!(explained.allowed, passes, "{:?}: {:?}", packet, explained);
        }
        for (name, port) in asked {
            let explained = house.explain(name, port);
            let name = Name::parse(name).unwrap();
            let somewhere = Packet { address: [8, 8, 4, 4].into(), protocol: Some(Protocol::Tcp), port };
            let passes = match house.policy().connect(&name, port) {
                NameVerdict::Rule(_) | NameVerdict::Open => {
                    let done = house.kernel.send(somewhere);
                    // Whoever a rule by address denies is denied once it is known where the name leads.
                    let denied = matches!(
                        house.policy().packet(&house.view.filter, somewhere),
                        PacketVerdict::Rule(rule) if rule.action == Action::Deny
                    );
                    denied || done != Fate::Refused
                }
                NameVerdict::Endpoint(endpoint) => {
                    let to = Packet { address: endpoint.address, ..somewhere };
                    endpoint.target.is_some() && house.kernel.send(to) == Fate::Delivered
                }
                NameVerdict::Service(_) => {
                    let to = Packet { address: house.policy().rest().gateway(), ..somewhere };
                    house.kernel.send(to) == Fate::Delivered && port != 53
                }
                NameVerdict::Refused => false,
            };
            prop_assert_eq!(explained.allowed, passes, "{}:{}: {:?}", name, port, explained);
        }
    }
}
