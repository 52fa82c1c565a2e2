//! How often each rule has decided something.

use std::collections::HashMap;

use bastide_plan::RuleName;
use bastide_plan::flow::{FlowCount, FlowRecord, FlowVerdict};

/// Counts by rule and verdict, of a bounded number of rules.
#[derive(Debug, Default)]
pub struct Counters(HashMap<(Option<RuleName>, FlowVerdict), (u64, u64, u64)>);

impl Counters {
    /// Counts what a record stands for.
    pub fn count(&mut self, record: &FlowRecord) {
        let mut key = (record.rule.clone(), record.verdict);
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            key.0 = Some(RuleName(OTHERS.to_owned()));
        }
        let (flows, sent, received) = self.0.entry(key).or_default();
        *flows += u64::from(record.count);
        *sent += record.sent;
        *received += record.received;
    }

    /// All counts, ordered by rule.
    pub fn list(&self) -> Vec<FlowCount> {
        let line = |((rule, verdict), (flows, sent, received)): (&(_, _), &(_, _, _))| {
            let rule: &Option<RuleName> = rule;
            FlowCount { rule: rule.clone(), verdict: *verdict, flows: *flows, sent: *sent, received: *received }
        };
        let mut counts: Vec<FlowCount> = self.0.iter().map(line).collect();
        counts.sort_by(|one, other| (&one.rule, one.verdict as u8).cmp(&(&other.rule, other.verdict as u8)));
        counts
    }
}

/// Lines at most. Rules come and go while counts stay, and every line is a time series somewhere.
const MOST: usize = 4096;

/// Not the name of a rule: those have no spaces.
const OTHERS: &str = "all others";
