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
    /// The project that the compute belongs to, by name; the hub when it is the hub's own. None: nobody's, or a test's.
    pub project: Option<String>,
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
    /// Bytes from the compute; of packets, headers included, when the kernel decided.
    pub sent: u64,
    /// Bytes to the compute, alike.
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

impl FlowKind {
    /// What the kernel decides about packets of a protocol, by its number in the IP header.
    pub fn of_protocol(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            _ => Self::Other,
        }
    }
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
    /// None that began at this time or later, in milliseconds since 1970.
    pub until: Option<i64>,
    /// Only what was not let through.
    pub denied: bool,
    /// Only of this compute, by name in any case.
    pub compute: Option<String>,
    /// Only of computes of this project, or of the hub itself, by name in any case.
    pub project: Option<String>,
    /// Only about this host name and those below it, in lower case.
    pub name: Option<String>,
    /// Only what this was decided about.
    pub verdict: Option<FlowVerdict>,
    /// Only what this rule has decided, by name in any case.
    pub rule: Option<String>,
    /// Only of this kind.
    pub kind: Option<FlowKind>,
    /// Only to this port.
    pub port: Option<u16>,
    /// Only what stands before this place of the log.
    pub before: Option<Place>,
    /// Only what stands at this place of the log or after it: the oldest ones then, instead of the latest, and none that is
    /// not on disk yet.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: u32,
}

/// Where a record stands in the log of its hub: the number of records before it, from the first one ever.
pub type Place = u64;

/// The records that were kept, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flows {
    /// The records.
    pub records: Vec<FlowRecord>,
    /// How many were let go because they could not be kept as fast as they came, since the agent started.
    pub dropped: u64,
    /// There may be older ones: those before this place.
    pub older: Option<Place>,
    /// Where what comes later will stand.
    pub next: Place,
}

/// How often a rule has decided something, since the agent started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowCount {
    /// The rule. None: the mode.
    pub rule: Option<RuleName>,
    /// What was decided.
    pub verdict: FlowVerdict,
    /// Connections and questions.
    pub flows: u64,
    /// Bytes from computes.
    pub sent: u64,
    /// Bytes to computes.
    pub received: u64,
}

impl FlowQuery {
    /// Whether a record is wanted, wherever it stands.
    pub fn wants(&self, record: &FlowRecord) -> bool {
        let is_rule = |wanted: &String| record.rule.as_ref().is_some_and(|rule| rule.0.eq_ignore_ascii_case(wanted));
        let is_compute =
            |wanted: &String| record.compute.as_ref().is_some_and(|compute| compute.eq_ignore_ascii_case(wanted));
        let is_project =
            |wanted: &String| record.project.as_ref().is_some_and(|project| project.eq_ignore_ascii_case(wanted));
        let is_name = |wanted: &String| record.name.as_ref().is_some_and(|name| is_below(name, wanted));
        self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
            && (!self.denied || matches!(record.verdict, FlowVerdict::Denied | FlowVerdict::Cut))
            && self.verdict.is_none_or(|verdict| record.verdict == verdict)
            && self.kind.is_none_or(|kind| record.kind == kind)
            && self.port.is_none_or(|port| record.port == port)
            && self.compute.as_ref().is_none_or(is_compute)
            && self.project.as_ref().is_none_or(is_project)
            && self.rule.as_ref().is_none_or(is_rule)
            && self.name.as_ref().is_none_or(is_name)
    }
}

/// Whether a name is another one or stands below it.
fn is_below(name: &str, other: &str) -> bool {
    name.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> FlowRecord {
        FlowRecord {
            at: 1000,
            duration: 5,
            compute: Some("Dev".into()),
            project: Some("Churn".into()),
            source: [100, 127, 0, 2].into(),
            kind: FlowKind::Tls,
            name: Some("files.example.org".into()),
            address: None,
            port: 443,
            verdict: FlowVerdict::Failed,
            rule: Some(RuleName("Files".into())),
            reason: None,
            sent: 1,
            received: 2,
            count: 1,
        }
    }

    #[test]
    fn each_filter_lets_through_what_it_names_and_nothing_else() {
        let all = FlowQuery::default();
        assert!(all.wants(&record()));
        let name = |name: &str| FlowQuery { name: Some(name.into()), ..FlowQuery::default() };
        for (wanted, other) in [
            (FlowQuery { since: Some(1000), ..all.clone() }, FlowQuery { since: Some(1001), ..all.clone() }),
            (FlowQuery { until: Some(1001), ..all.clone() }, FlowQuery { until: Some(1000), ..all.clone() }),
            (
                FlowQuery { verdict: Some(FlowVerdict::Failed), ..all.clone() },
                FlowQuery { denied: true, ..all.clone() },
            ),
            (
                FlowQuery { kind: Some(FlowKind::Tls), ..all.clone() },
                FlowQuery { kind: Some(FlowKind::Dns), ..all.clone() },
            ),
            (FlowQuery { port: Some(443), ..all.clone() }, FlowQuery { port: Some(80), ..all.clone() }),
            (
                FlowQuery { compute: Some("dev".into()), ..all.clone() },
                FlowQuery { compute: Some("de".into()), ..all.clone() },
            ),
            (
                FlowQuery { project: Some("churn".into()), ..all.clone() },
                FlowQuery { project: Some("dev".into()), ..all.clone() },
            ),
            (FlowQuery { rule: Some("files".into()), ..all.clone() }, FlowQuery { rule: Some("file".into()), ..all }),
            (name("example.org"), name("ample.org")),
            (name("files.example.org"), name("more.files.example.org")),
        ] {
            assert!(wanted.wants(&record()), "{wanted:?}");
            assert!(!other.wants(&record()), "{other:?}");
        }
    }
}
