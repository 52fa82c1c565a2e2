//! Cutting connections that were let through by a rule that is there no more (egress.md row 27).

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use bastide_plan::hub_plan::{HubPlan, Mode, Protocol};
use bastide_plan::policy::AddressVerdict;
use bastide_plan::{Policy, hub_plan::Action};

use super::facts::NodeFacts;
use super::namespace::Namespace;
use super::netlink::{Netfilter, Sockets, address, attributes, port};
use super::ranges::Ranges;

/// A connection that the kernel forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    source_port: u16,
    port: u16,
    /// The original direction as the kernel wrote it, to name the connection by.
    pub(super) tuple: Vec<u8>,
    /// Tells it from a later connection between the same ends.
    pub(super) id: Vec<u8>,
}

impl Flow {
    fn from(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.source, self.source_port)
    }

    fn to(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.destination, self.port)
    }

    /// Reads the attributes of a connection (`linux/netfilter/nfnetlink_conntrack.h`).
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let find = |bytes, wanted| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let tuple = find(payload, CTA_TUPLE_ORIG)?;
        let (ip, transport) = (find(tuple, CTA_TUPLE_IP)?, find(tuple, CTA_TUPLE_PROTO)?);
        Some(Self {
            source: address(find(ip, CTA_IP_V4_SRC)?)?,
            destination: address(find(ip, CTA_IP_V4_DST)?)?,
            protocol: *find(transport, CTA_PROTO_NUM)?.first()?,
            source_port: find(transport, CTA_PROTO_SRC_PORT).and_then(port).unwrap_or(0),
            port: find(transport, CTA_PROTO_DST_PORT).and_then(port).unwrap_or(0),
            tuple: tuple.to_vec(),
            id: find(payload, CTA_ID)?.to_vec(),
        })
    }
}

/// Tells which forwarded connections a plan still lets through.
#[derive(Debug)]
pub struct Admission {
    policy: Policy,
    unreachable: Ranges,
}

impl Admission {
    /// For the rules by address of a plan.
    pub fn new(plan: &HubPlan, facts: &NodeFacts) -> Self {
        let unreachable = Ranges::unreachable(&facts.filter, plan.subnet);
        // Names do not decide here, and there may be ten thousand of them.
        let policy = Policy::new(HubPlan { names: Vec::new(), ..plan.clone() });
        Self { policy, unreachable }
    }

    /// The forwarded connections that are not let through any more.
    pub fn refused(&self, netfilter: &Netfilter) -> io::Result<Vec<Flow>> {
        Ok(forwarded(netfilter)?.into_iter().filter(|flow| !self.admits(flow)).collect())
    }

    fn admits(&self, flow: &Flow) -> bool {
        let protocol = match i32::from(flow.protocol) {
            libc::IPPROTO_TCP => Protocol::Tcp,
            libc::IPPROTO_UDP => Protocol::Udp,
            libc::IPPROTO_ICMP => Protocol::Icmp,
            _ => return false,
        };
        if self.policy.leg(flow.source).is_none() || self.unreachable.contains(flow.destination) {
            return false;
        }
        let is_dns = protocol != Protocol::Icmp && matches!(flow.port, 53 | 853);
        if is_dns && self.policy.rest().mode == Mode::ApprovedOutbound {
            return false;
        }
        match self.policy.address(flow.destination, protocol, flow.port) {
            AddressVerdict::Rule(rule) => rule.action == Action::Allow,
            AddressVerdict::Open => true,
            AddressVerdict::Refused => false,
        }
    }
}

/// Every connection that the kernel forwards.
pub fn forwarded(netfilter: &Netfilter) -> io::Result<Vec<Flow>> {
    netfilter.connections(FORWARDED)
}

/// Ends connections. Who opened them learns it at once: the sockets in the legs are reset while the way out is still known,
/// so that the far side hears of it too. Where there is no such socket - another kernel stands in between, or it is not TCP -
/// the next packet is refused.
pub fn cut<'a>(
    netfilter: &Netfilter,
    flows: &[Flow],
    leg: impl Fn(Ipv4Addr) -> Option<&'a Namespace>,
) -> io::Result<()> {
    let mut by_leg: BTreeMap<Ipv4Addr, Vec<&Flow>> = BTreeMap::new();
    for flow in flows.iter().filter(|flow| i32::from(flow.protocol) == libc::IPPROTO_TCP) {
        by_leg.entry(flow.source).or_default().push(flow);
    }
    for (source, flows) in by_leg {
        let Some(namespace) = leg(source) else { continue };
        let reset = namespace.within(|| {
            let sockets = Sockets::open()?;
            flows.iter().try_for_each(|flow| sockets.reset(flow.from(), flow.to()))
        });
        if let Err(error) = reset {
            tracing::debug!("connections of {source} cannot be reset, and are refused their next packet: {error}");
        }
    }
    flows.iter().try_for_each(|flow| netfilter.forget(flow))
}

/// The mark of forwarded connections, as in the rule set.
const FORWARDED: u32 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_ID: u16 = 12;
