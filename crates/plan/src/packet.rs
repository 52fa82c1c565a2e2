//! What the kernel makes of a packet, told from the plan: the same questions in the same order as the rule set of a hub.

use std::net::Ipv4Addr;

use bastide_inspect::Name;

use crate::address::{AddressClass, AddressFilter};
use crate::flow::{FlowKind, FlowRecord};
use crate::hub_plan::{Action, Mode, PrefixRule, Protocol, RuleName};
use crate::policy::{AddressVerdict, NameVerdict, Policy, Relay};

/// The first packet of a connection that a compute opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Where it goes.
    pub address: Ipv4Addr,
    /// What it is. None: neither TCP nor UDP nor ICMP.
    pub protocol: Option<Protocol>,
    /// Its destination port; of no meaning for ICMP.
    pub port: u16,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketVerdict<'a> {
    /// It is a question to the hub's resolver.
    Resolver,
    /// It goes to a private endpoint or to a service of Bastide's.
    Relay(Relay<'a>),
    /// Its address is the hub's own, and nothing listens there.
    Inside,
    /// No hub reaches such an address.
    Unreachable(AddressClass),
    /// Only TCP, UDP and ICMP pass.
    Protocol,
    /// It is for a resolver that is not the hub's (egress.md row 14).
    ForeignResolver,
    /// A rule by address speaks about it.
    Rule(&'a PrefixRule),
    /// The firewall decides by the name that the connection shows.
    Named,
    /// The mode lets it through.
    Open,
    /// No rule approves it.
    Refused,
}

/// What a plan says about something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it would be let through.
    pub allowed: bool,
    /// By which rule. None: by the mode.
    pub rule: Option<RuleName>,
}

impl Policy {
    /// What the kernel makes of a packet.
    pub fn packet(&self, filter: &AddressFilter, packet: Packet) -> PacketVerdict<'_> {
        let Packet { address, protocol, port } = packet;
        let plan = self.rest();
        let has_port = matches!(protocol, Some(Protocol::Tcp | Protocol::Udp));
        if address == plan.gateway() && has_port && port == DNS {
            return PacketVerdict::Resolver;
        }
        if protocol == Some(Protocol::Tcp)
            && let Some(relay) = self.relay(address, port)
        {
            return PacketVerdict::Relay(relay);
        }
        if plan.subnet.contains(&address) || plan.endpoints.iter().any(|endpoint| endpoint.address == address) {
            return PacketVerdict::Inside;
        }
        if let Some(class) = filter.refuses(address.into()) {
            return PacketVerdict::Unreachable(class);
        }
        let Some(protocol) = protocol else { return PacketVerdict::Protocol };
        if has_port && self.is_foreign_resolver(port) {
            return PacketVerdict::ForeignResolver;
        }
        match self.address(address, protocol, port) {
            AddressVerdict::Rule(rule) => PacketVerdict::Rule(rule),
            AddressVerdict::Open => PacketVerdict::Open,
            AddressVerdict::Refused if protocol == Protocol::Tcp && self.is_read(port) => PacketVerdict::Named,
            AddressVerdict::Refused => PacketVerdict::Refused,
        }
    }

    /// Whether nothing passes to a port because other resolvers listen there. In approved mode only: where the internet is
    /// open there is nothing that they could give away.
    pub fn is_foreign_resolver(&self, port: u16) -> bool {
        self.rest().mode == Mode::ApprovedOutbound && matches!(port, DNS | DNS_OVER_TLS)
    }

    /// Whether connections to a TCP port are read for the name that they show.
    fn is_read(&self, port: u16) -> bool {
        WEB.contains(&port) || self.name_rules().any(|rule| rule.ports.contains(&port))
    }

    /// What this plan says about something that happened under another one. None: nothing can be said.
    pub fn judge(&self, filter: &AddressFilter, record: &FlowRecord) -> Option<Judgement> {
        let name = record.name.as_ref().and_then(|name| Name::parse(name).ok());
        let by_name = |verdict: NameVerdict<'_>| match verdict {
            NameVerdict::Rule(rule) => Judgement { allowed: true, rule: Some(rule.rule.clone()) },
            NameVerdict::Endpoint(endpoint) => Judgement { allowed: true, rule: Some(endpoint.rule.clone()) },
            NameVerdict::Service(_) | NameVerdict::Open => Judgement { allowed: true, rule: None },
            NameVerdict::Refused => Judgement { allowed: false, rule: None },
        };
        let protocol = match record.kind {
            FlowKind::Dns => return Some(by_name(self.resolve(&name?))),
            // What stands behind an endpoint is another matter than whether there is one.
            FlowKind::Relay => {
                let Some(rule) = &record.rule else { return Some(Judgement { allowed: true, rule: None }) };
                let stays = self.rest().endpoints.iter().any(|endpoint| endpoint.rule == *rule);
                return Some(Judgement { allowed: stays, rule: Some(rule.clone()) });
            }
            FlowKind::Tls | FlowKind::Http | FlowKind::Tcp => Some(Protocol::Tcp),
            FlowKind::Udp => Some(Protocol::Udp),
            FlowKind::Icmp => Some(Protocol::Icmp),
            FlowKind::Other => None,
        };
        let Some(address) = record.address else {
            return Some(by_name(self.connect(&name?, record.port)));
        };
        Some(match self.packet(filter, Packet { address, protocol, port: record.port }) {
            PacketVerdict::Rule(rule) => {
                Judgement { allowed: rule.action == Action::Allow, rule: Some(rule.rule.clone()) }
            }
            PacketVerdict::Named => {
                name.map_or(Judgement { allowed: false, rule: None }, |name| by_name(self.connect(&name, record.port)))
            }
            PacketVerdict::Relay(relay) => Judgement { allowed: relay.target.is_some(), rule: relay.rule.cloned() },
            PacketVerdict::Open | PacketVerdict::Resolver => Judgement { allowed: true, rule: None },
            _ => Judgement { allowed: false, rule: None },
        })
    }
}

const DNS: u16 = 53;
const DNS_OVER_TLS: u16 = 853;

/// Read for names whatever the rules say.
const WEB: [u16; 2] = [80, 443];
