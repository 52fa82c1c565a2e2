//! The flow log: one record for each connection and each question to the resolver.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::hub_plan::RuleName;

/// What came of one connection or question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowRecord {
    /// When it began, in milliseconds since 1970.
    pub at: i64,
    /// How long it lasted, in milliseconds.
    pub duration: u64,
    /// The compute, by name. None when the address is nobody's.
    pub compute: Option<String>,
    /// Where it came from.
    pub source: Ipv4Addr,
    /// What it was.
    pub kind: FlowKind,
    /// The name asked for, as far as one was to be had.
    pub name: Option<String>,
    /// The destination. None for questions without an answer.
    pub address: Option<Ipv4Addr>,
    /// The destination port; 0 when the protocol has none.
    pub port: u16,
    /// What was decided.
    pub verdict: FlowVerdict,
    /// The rule that decided. None: the mode did.
    pub rule: Option<RuleName>,
    /// Why, and what to do, in one sentence; always there when something was denied or cut.
    pub reason: Option<String>,
    /// Bytes from the compute.
    pub sent: u64,
    /// Bytes to the compute.
    pub received: u64,
    /// How many alike it stands for, all begun within a second of it; 1 unless something was refused again and again.
    pub count: u32,
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FlowKind {
    /// A question to the resolver.
    Dns,
    /// A connection whose name was read from a TLS `ClientHello`.
    Tls,
    /// A request whose name was read from its head.
    Http,
    /// A connection to a private endpoint or to a service of Bastide's.
    Relay,
    /// TCP decided by the kernel.
    Tcp,
    /// UDP decided by the kernel.
    Udp,
    /// ICMP decided by the kernel.
    Icmp,
    /// Any other protocol; never let through.
    Other,
}

/// What was decided about a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FlowVerdict {
    /// Let through.
    Allowed,
    /// Refused.
    Denied,
    /// Let through, and ended when its rule was withdrawn.
    Cut,
    /// Let through, and failed beyond the wall: the destination did not answer.
    Failed,
}

/// Which records are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowQuery {
    /// None that began earlier, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Only what was not let through.
    pub denied: bool,
    /// Only of this compute, by name in any case.
    pub compute: Option<String>,
    /// At most so many, the latest ones.
    pub limit: u32,
}

/// The records that were kept, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flows {
    /// The records.
    pub records: Vec<FlowRecord>,
    /// How many were let go because the log was full, since the firewall started.
    pub dropped: u64,
}

impl FlowQuery {
    /// Whether a record is wanted.
    pub fn wants(&self, record: &FlowRecord) -> bool {
        self.since.is_none_or(|since| record.at >= since)
            && (!self.denied || matches!(record.verdict, FlowVerdict::Denied | FlowVerdict::Cut))
            && self.compute.as_ref().is_none_or(|wanted| {
                record.compute.as_ref().is_some_and(|compute| compute.eq_ignore_ascii_case(wanted))
            })
    }
}
