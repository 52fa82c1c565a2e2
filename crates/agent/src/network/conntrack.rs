//! Cutting connections that were let through by a rule that is there no more (egress.md row 27).

use std::io;
use std::net::Ipv4Addr;

use bastide_plan::hub_plan::{HubPlan, Mode, Protocol};
use bastide_plan::policy::AddressVerdict;
use bastide_plan::{Policy, hub_plan::Action};

use super::facts::NodeFacts;
use super::netlink::{Netfilter, address, attributes, port};
use super::ranges::Ranges;

/// A connection that the kernel forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    port: u16,
    /// The original direction as the kernel wrote it, to name the connection by.
    pub(super) tuple: Vec<u8>,
    /// Tells it from a later connection between the same ends.
    pub(super) id: Vec<u8>,
}

impl Flow {
    /// Reads the attributes of a connection (`linux/netfilter/nfnetlink_conntrack.h`).
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let find = |bytes, wanted| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let tuple = find(payload, CTA_TUPLE_ORIG)?;
        let (ip, transport) = (find(tuple, CTA_TUPLE_IP)?, find(tuple, CTA_TUPLE_PROTO)?);
        Some(Self {
            source: address(find(ip, CTA_IP_V4_SRC)?)?,
            destination: address(find(ip, CTA_IP_V4_DST)?)?,
            protocol: *find(transport, CTA_PROTO_NUM)?.first()?,
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

    /// Cuts every forwarded connection that is not let through any more, and says how many there were.
    pub fn enforce(&self, netfilter: &Netfilter) -> io::Result<usize> {
        let mut cut = 0;
        for flow in netfilter.connections(FORWARDED)?.iter().filter(|flow| !self.admits(flow)) {
            netfilter.forget(flow)?;
            cut += 1;
        }
        Ok(cut)
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

/// The mark of forwarded connections, as in the rule set.
const FORWARDED: u32 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_ID: u16 = 12;
