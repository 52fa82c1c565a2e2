//! The plan of one hub's network: a full document, never a difference.

use std::fmt;
use std::net::Ipv4Addr;

use bastide_inspect::{Name, NamePattern};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a node must look like for one hub.
///
/// Same resources in, same document out: everything in it is sorted, so that two plans can be compared as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubPlan {
    /// [`PLAN_VERSION`] of who wrote it.
    pub version: u32,
    /// The hub's incarnation: a hub made anew under the same name shares nothing with its namesake.
    pub hub: HubId,
    /// The hub's name, for sentences people read.
    pub name: String,
    /// Which of two plans is newer.
    pub stamp: Stamp,
    /// What may leave when no rule speaks.
    pub mode: Mode,
    /// The addresses of the hub's inside. Hubs may use the same ones: there is no route between them.
    pub subnet: Ipv4Net,
    /// One leg for each compute, ordered by id.
    pub legs: Vec<Leg>,
    /// Rules by name, ordered by rule.
    pub names: Vec<NameRule>,
    /// Rules by address, ordered by rule.
    pub prefixes: Vec<PrefixRule>,
    /// Private endpoints, ordered by rule.
    pub endpoints: Vec<Endpoint>,
    /// Bastide's own services that the inside may reach, ordered by name.
    pub services: Vec<Service>,
    /// What of it is for a time, soonest first: it ends by the clock alone, also where nobody plans again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<End>,
}

/// The end of something in a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct End {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Of what.
    pub of: Ending,
}

/// What can end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// The plan's mode; this one follows (mission.md F16).
    Mode(Mode),
    /// A rule that was made for a time.
    Rule(RuleName),
}

/// A hub, by its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HubId(pub Uuid);

/// A compute, by its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComputeId(pub Uuid);

/// The name of an outbound rule, as its resource has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleName(pub String);

/// Orders plans: first by the server that made them, then by the revision they were made from. An agent never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stamp {
    /// The fencing token of the planning server: of two servers the later started one has the greater.
    pub fence: i64,
    /// The store's revision.
    pub revision: i64,
}

/// What may leave when no rule speaks (mission.md F5-F7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// No filter; still a namespace of its own, still logged. Host, metadata and other hubs are out of reach in every mode.
    Disabled,
    /// The internet is open; private ranges are not.
    InternetOutbound,
    /// Nothing but what a rule approves.
    ApprovedOutbound,
}

/// The leg of one compute: a network namespace with one way out, which leads into the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leg {
    /// Whose it is.
    pub compute: ComputeId,
    /// The compute's name, for sentences people read.
    pub name: String,
    /// The name of the project that it belongs to, or of the hub. None: it is a test's.
    pub project: Option<String>,
    /// The one address it may send from.
    pub address: Ipv4Addr,
}

/// An FQDN rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameRule {
    /// Whose words these are.
    pub rule: RuleName,
    /// Which names.
    pub pattern: NamePattern,
    /// TCP ports, sorted; 80 and 443 unless the rule lists others (mission.md G9).
    pub ports: Vec<u16>,
}

/// A service tag rule, its tag already resolved to addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefixRule {
    /// Whose words these are.
    pub rule: RuleName,
    /// Lets through or stops. What is stopped by one rule is not let through by another.
    pub action: Action,
    /// Which protocol.
    pub protocol: Protocol,
    /// Destination addresses, aggregated and sorted. None: the rule stands for nothing.
    pub prefixes: Vec<Ipv4Net>,
    /// Destination ports, merged and sorted; ignored for ICMP. Empty: all ports.
    pub ports: Vec<PortRange>,
}

/// What a rule by address does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Lets through.
    Allow,
    /// Stops.
    Deny,
}

/// The protocols of service tag rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, echo requests and their kin.
    Icmp,
    /// TCP, UDP and ICMP. Raw IP protocols never pass (egress.md row 33).
    Any,
}

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
}

/// A private endpoint: names that mean an address of the hub's own, from where bytes are carried to one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Whose words these are.
    pub rule: RuleName,
    /// The names that lead to it, in this hub only; sorted.
    pub names: Vec<Name>,
    /// Where it listens, an address of the hub's subnet.
    pub address: Ipv4Addr,
    /// The TCP ports it listens at, sorted.
    pub ports: Vec<u16>,
    /// Where the bytes go. None: no service stands behind it, connections are refused.
    pub target: Option<Target>,
}

/// A service of Bastide's that the inside may reach by name, in every mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Its name; it resolves to the gateway.
    pub name: Name,
    /// The TCP port it listens at, on the gateway's address.
    pub port: u16,
    /// Where the bytes go.
    pub target: Target,
}

/// Where the bytes of an endpoint or service go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// The server of this node: its API, by a socket in the file system, which no network namespace hides.
    Server,
    /// An address that an administrator declared (`Bastide.Network/externalServices`).
    External {
        /// A host name, resolved on the host's side, or an address.
        host: String,
        /// A TCP port.
        port: u16,
        /// An Owner admitted loopback, host and metadata addresses.
        host_allowed: bool,
    },
}

impl HubPlan {
    /// The hub's own address inside: default route, resolver and services of every leg.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway(self.subnet)
    }

    /// Ends what is over by the clock. Whether anything was.
    pub fn end(&mut self, now: i64) -> bool {
        let over: Vec<End> = self.ends.extract_if(.., |end| end.at <= now).collect();
        for End { of, .. } in &over {
            match of {
                Ending::Mode(mode) => self.mode = *mode,
                Ending::Rule(over) => {
                    self.names.retain(|name| name.rule != *over);
                    self.prefixes.retain(|prefix| prefix.rule != *over);
                    self.endpoints.retain(|endpoint| endpoint.rule != *over);
                }
            }
        }
        !over.is_empty()
    }
}

/// The first address of a hub's subnet.
pub(crate) fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    subnet.hosts().next().unwrap_or(subnet.network())
}

impl Stamp {
    /// Older than every plan.
    pub const NONE: Self = Self { fence: i64::MIN, revision: i64::MIN };
}

impl PortRange {
    /// All ports.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// Whether a port is among them.
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl Protocol {
    /// Whether traffic of one protocol is of this kind.
    pub fn includes(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

/// The version of the documents and messages of this crate. Peers of another version are refused.
pub const PLAN_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_a_time_ends_by_the_clock_and_once() {
        let rule = |name: &str| RuleName(name.to_owned());
        let name = |rule| NameRule { rule, pattern: "host.example".parse().unwrap(), ports: vec![443] };
        let mut plan = HubPlan {
            version: PLAN_VERSION,
            hub: HubId(Uuid::nil()),
            name: "hub".to_owned(),
            stamp: Stamp::NONE,
            mode: Mode::Disabled,
            subnet: Ipv4Net::default(),
            legs: Vec::new(),
            names: vec![name(rule("for-an-hour")), name(rule("for-good"))],
            prefixes: Vec::new(),
            endpoints: Vec::new(),
            services: Vec::new(),
            ends: vec![
                End { at: 1000, of: Ending::Rule(rule("for-an-hour")) },
                End { at: 2000, of: Ending::Mode(Mode::ApprovedOutbound) },
            ],
        };
        let before = plan.clone();
        assert!(!plan.end(999));
        assert_eq!(plan, before);
        assert!(plan.end(1000));
        assert_eq!((&plan.names, plan.mode), (&vec![name(rule("for-good"))], Mode::Disabled));
        assert!(plan.end(5000));
        assert_eq!((plan.mode, plan.end(9000)), (Mode::ApprovedOutbound, false));
        let mut late = before;
        assert!(late.end(5000), "a node that was away meanwhile");
        assert_eq!(late, plan);
    }
}
