//! What a plan lets through: the one matcher that the data path, `explain` and the tests share.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bastide_inspect::{Name, NamePattern, NameTable};
use ipnet::Ipv4Net;
use uuid::Uuid;

use crate::hub_plan::{
    Action, Endpoint, HubId, HubPlan, Leg, Mode, NameRule, PLAN_VERSION, PrefixRule, Protocol, RuleName, Service,
    Stamp, Target, gateway,
};
use crate::name_change::NameChange;

/// A plan made ready for questions. Immutable: a change makes a new one, and readers swap. A clone is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    stamp: Stamp,
    /// Rules by name, by pattern; those of one pattern ordered by rule.
    names: NameTable<Vec<NameRule>>,
    rest: Arc<Rest>,
}

/// What a plan says beside its rules by name. Policies that differ in those alone share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    /// The hub's name, for sentences people read.
    pub name: String,
    /// What may leave when no rule speaks.
    pub mode: Mode,
    /// The addresses of the hub's inside.
    pub subnet: Ipv4Net,
    /// One leg for each compute, ordered by id.
    pub legs: Vec<Leg>,
    /// Rules by address, ordered by rule.
    pub prefixes: Vec<PrefixRule>,
    /// Private endpoints, ordered by rule.
    pub endpoints: Vec<Endpoint>,
    /// Bastide's own services that the inside may reach, ordered by name.
    pub services: Vec<Service>,
    /// Places in `endpoints`, by name.
    endpoint_places: HashMap<Name, usize>,
    /// Places in `services`, by name.
    service_places: HashMap<Name, usize>,
    /// Places in `legs`, by address.
    leg_places: HashMap<Ipv4Addr, usize>,
}

/// What a name means to the inside of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameVerdict<'a> {
    /// A private endpoint of this hub: its address is the answer, whatever the name means elsewhere.
    Endpoint(&'a Endpoint),
    /// A service of Bastide's: the gateway is the answer.
    Service(&'a Service),
    /// Approved by a rule.
    Rule(&'a NameRule),
    /// Let through by the mode, as any other name.
    Open,
    /// No rule approves it.
    Refused,
}

/// What a connection to an address means, where no name decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressVerdict<'a> {
    /// A rule speaks about it.
    Rule(&'a PrefixRule),
    /// Let through by the mode, if it is on the internet.
    Open,
    /// No rule approves it.
    Refused,
}

/// Somewhere inside the hub where bytes are carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay<'a> {
    /// Whose words these are. None: a service of Bastide's.
    pub rule: Option<&'a RuleName>,
    /// Where the bytes go. None: nowhere, connections are refused.
    pub target: Option<&'a Target>,
}

impl Policy {
    /// Makes a plan ready.
    pub fn new(plan: HubPlan) -> Self {
        let mut names: NameTable<Vec<NameRule>> = NameTable::new();
        for rule in plan.names {
            let rules = names.entry(&rule.pattern);
            // Nearly always the only one, of ten thousand.
            rules.reserve_exact(1);
            rules.push(rule);
        }
        let HubPlan { stamp, name, mode, subnet, legs, prefixes, endpoints, services, .. } = plan;
        let named = endpoints.iter().enumerate();
        let endpoint_places =
            named.flat_map(|(place, endpoint)| endpoint.names.iter().map(move |name| (name.clone(), place))).collect();
        let service_places =
            services.iter().enumerate().map(|(place, service)| (service.name.clone(), place)).collect();
        let leg_places = legs.iter().enumerate().map(|(place, leg)| (leg.address, place)).collect();
        let rest = Rest {
            name,
            mode,
            subnet,
            legs,
            prefixes,
            endpoints,
            services,
            endpoint_places,
            service_places,
            leg_places,
        };
        Self { stamp, names, rest: Arc::new(rest) }
    }

    /// What is decided by before there is a plan: nobody is known and nothing passes.
    pub fn closed() -> Self {
        Self::new(HubPlan {
            version: PLAN_VERSION,
            hub: HubId(Uuid::nil()),
            name: String::new(),
            stamp: Stamp::NONE,
            mode: Mode::ApprovedOutbound,
            subnet: Ipv4Net::default(),
            legs: Vec::new(),
            names: Vec::new(),
            prefixes: Vec::new(),
            endpoints: Vec::new(),
            services: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// The policy that a change leads to; none when it leads from another plan. It costs what is changed.
    pub fn changed(&self, change: NameChange) -> Option<Self> {
        if self.stamp != change.from {
            return None;
        }
        let mut names = self.names.clone();
        for rule in change.removed {
            let rules = names.entry(&rule.pattern);
            let place = rules.iter().position(|kept| *kept == rule)?;
            rules.remove(place);
            if rules.is_empty() {
                names.remove(&rule.pattern);
            }
        }
        for rule in change.added {
            let rules = names.entry(&rule.pattern);
            let place = rules.partition_point(|kept| kept.rule < rule.rule);
            rules.reserve_exact(1);
            rules.insert(place, rule);
        }
        Some(Self { stamp: change.to, names, rest: Arc::clone(&self.rest) })
    }

    /// What the plan says beside its rules by name.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The rule that approves the names below one, whatever is said about that name itself.
    pub fn rule_below(&self, apex: &Name) -> Option<&NameRule> {
        self.names.find(&NamePattern::Below(apex.clone()))?.first()
    }

    /// All rules by name, in no order.
    pub fn name_rules(&self) -> impl Iterator<Item = &NameRule> {
        self.names.values().flatten()
    }

    /// What the resolver makes of a name. The port of the rule is not asked about yet.
    pub fn resolve(&self, name: &Name) -> NameVerdict<'_> {
        self.verdict(name, None)
    }

    /// What the firewall makes of a connection to a port that says it wants a name.
    pub fn connect(&self, name: &Name, port: u16) -> NameVerdict<'_> {
        self.verdict(name, Some(port))
    }

    /// What the kernel makes of a destination. A rule that denies outweighs every rule that allows.
    pub fn address(&self, address: Ipv4Addr, protocol: Protocol, port: u16) -> AddressVerdict<'_> {
        let speaks = |rule: &&PrefixRule| {
            rule.protocol.includes(protocol)
                && (protocol == Protocol::Icmp
                    || rule.ports.is_empty()
                    || rule.ports.iter().any(|range| range.contains(port)))
                && rule.prefixes.iter().any(|prefix| prefix.contains(&address))
        };
        let found = self.rules(Action::Deny).find(speaks).or_else(|| self.rules(Action::Allow).find(speaks));
        match (found, self.rest.mode) {
            (Some(rule), _) => AddressVerdict::Rule(rule),
            (None, Mode::Disabled | Mode::InternetOutbound) => AddressVerdict::Open,
            (None, Mode::ApprovedOutbound) => AddressVerdict::Refused,
        }
    }

    /// What listens at an address of the hub's own.
    pub fn relay(&self, address: Ipv4Addr, port: u16) -> Option<Relay<'_>> {
        if address == self.rest.gateway() {
            let service = self.rest.services.iter().find(|service| service.port == port)?;
            return Some(Relay { rule: None, target: Some(&service.target) });
        }
        let mut endpoints = self.rest.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.address == address && endpoint.ports.contains(&port))?;
        Some(Relay { rule: Some(&endpoint.rule), target: endpoint.target.as_ref() })
    }

    /// Whose address this is.
    pub fn leg(&self, address: Ipv4Addr) -> Option<&Leg> {
        self.rest.legs.get(*self.rest.leg_places.get(&address)?)
    }

    fn verdict(&self, name: &Name, port: Option<u16>) -> NameVerdict<'_> {
        if let Some(endpoint) = self.rest.endpoint_places.get(name).and_then(|place| self.rest.endpoints.get(*place)) {
            return NameVerdict::Endpoint(endpoint);
        }
        if let Some(service) = self.rest.service_places.get(name).and_then(|place| self.rest.services.get(*place)) {
            return NameVerdict::Service(service);
        }
        let mut rules = self.names.matches(name).flatten();
        match rules.find(|rule| port.is_none_or(|port| rule.ports.contains(&port))) {
            Some(rule) => NameVerdict::Rule(rule),
            None if self.rest.mode == Mode::ApprovedOutbound => NameVerdict::Refused,
            None => NameVerdict::Open,
        }
    }

    fn rules(&self, action: Action) -> impl Iterator<Item = &PrefixRule> {
        self.rest.prefixes.iter().filter(move |rule| rule.action == action)
    }
}

impl Rest {
    /// The hub's own address inside.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway(self.subnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub_plan::{HubId, PLAN_VERSION, PortRange, Stamp};

    fn plan(mode: Mode) -> HubPlan {
        HubPlan {
            version: PLAN_VERSION,
            hub: HubId(uuid::Uuid::nil()),
            name: "hub".into(),
            stamp: Stamp { fence: 1, revision: 1 },
            mode,
            subnet: "100.127.0.0/16".parse().unwrap(),
            legs: Vec::new(),
            names: vec![named("exact", "example.org", &[80, 443]), named("wild", "*.example.org", &[443, 8443])],
            prefixes: vec![
                addressed("tag", Action::Allow, "203.0.113.0/24"),
                addressed("hole", Action::Deny, "203.0.113.128/25"),
            ],
            endpoints: vec![Endpoint {
                rule: RuleName("vault".into()),
                names: vec![Name::parse("v.vault.example.org").unwrap()],
                address: Ipv4Addr::new(100, 127, 255, 1),
                ports: vec![443],
                target: None,
            }],
            services: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn named(rule: &str, pattern: &str, ports: &[u16]) -> NameRule {
        NameRule { rule: RuleName(rule.into()), pattern: pattern.parse().unwrap(), ports: ports.to_vec() }
    }

    fn addressed(rule: &str, action: Action, prefix: &str) -> PrefixRule {
        PrefixRule {
            rule: RuleName(rule.into()),
            action,
            protocol: Protocol::Tcp,
            prefixes: vec![prefix.parse().unwrap()],
            ports: vec![PortRange { first: 22, last: 23 }],
        }
    }

    fn rule(policy: &Policy, name: &str, port: u16) -> String {
        match policy.connect(&Name::parse(name).unwrap(), port) {
            NameVerdict::Rule(rule) => rule.rule.to_string(),
            other => format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn the_most_specific_rule_that_lists_the_port_decides() {
        let policy = Policy::new(plan(Mode::ApprovedOutbound));
        assert_eq!(rule(&policy, "example.org", 443), "exact");
        assert_eq!(rule(&policy, "a.b.example.org", 8443), "wild");
        assert_eq!(rule(&policy, "example.org", 8443), "Refused", "the apex is not below itself");
        assert_eq!(rule(&policy, "evilexample.org", 443), "Refused");
        assert_eq!(rule(&policy, "v.vault.example.org", 443), "Endpoint", "an endpoint outweighs a rule");
        assert_eq!(rule(&Policy::new(plan(Mode::InternetOutbound)), "evilexample.org", 443), "Open");
    }

    #[test]
    fn rules_of_one_pattern_decide_in_the_order_of_their_names_however_they_came() {
        let before = plan(Mode::ApprovedOutbound);
        let mut after = HubPlan { stamp: Stamp { fence: 1, revision: 2 }, ..before.clone() };
        after.names.insert(0, named("another", "example.org", &[443, 8443]));
        let change = NameChange::between(&before, &after).unwrap();
        let policy = Policy::new(before).changed(change).unwrap();
        assert_eq!(rule(&policy, "example.org", 443), "another");
        assert_eq!(rule(&policy, "example.org", 80), "exact");
        assert_eq!(policy, Policy::new(after));
    }

    #[test]
    fn nothing_passes_before_there_is_a_plan() {
        let policy = Policy::closed();
        assert_eq!(rule(&policy, "example.org", 443), "Refused");
        assert_eq!(policy.address([203, 0, 113, 1].into(), Protocol::Tcp, 443), AddressVerdict::Refused);
        assert_eq!(policy.leg([100, 127, 0, 2].into()), None);
    }

    #[test]
    fn what_is_not_there_cannot_be_taken_away() {
        let before = plan(Mode::ApprovedOutbound);
        let to = Stamp { fence: 1, revision: 2 };
        for other in [named("exact", "example.org", &[443]), named("exact", "example.net", &[80, 443])] {
            let change = NameChange { from: before.stamp, to, removed: vec![other], added: Vec::new() };
            assert_eq!(Policy::new(before.clone()).changed(change), None);
        }
    }

    #[test]
    fn a_rule_that_denies_outweighs_one_that_allows() {
        let policy = Policy::new(plan(Mode::ApprovedOutbound));
        let decided = |last: u8, port| match policy.address([203, 0, 113, last].into(), Protocol::Tcp, port) {
            AddressVerdict::Rule(rule) => rule.rule.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(decided(1, 22), "tag");
        assert_eq!(decided(200, 22), "hole");
        assert_eq!(decided(1, 24), "Refused");
        let udp = policy.address([203, 0, 113, 1].into(), Protocol::Udp, 22);
        assert_eq!(udp, AddressVerdict::Refused);
    }
}
