//! The latest connections and questions of one hub, in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::flow::{FlowQuery, FlowRecord, FlowVerdict, Flows};

/// Keeps the latest [`FlowRecord`]s, bounded by number and by bytes; the oldest are let go, and counted.
///
/// A record costs the data path one push under a lock that is never held longer than it takes to copy pointers.
#[derive(Debug)]
pub struct FlowLog {
    ring: Mutex<Ring>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<FlowRecord>>,
    /// Bytes of all records.
    weight: usize,
    dropped: u64,
}

impl FlowLog {
    /// A log that keeps at most so many records, and at most [`WEIGHT_LIMIT`] bytes.
    pub fn new(capacity: usize) -> Self {
        Self { ring: Mutex::default(), capacity: capacity.max(1) }
    }

    /// Keeps a record. One that was refused like another within the last second only raises the count of that one.
    pub fn push(&self, record: FlowRecord) {
        let mut ring = self.ring();
        if record.verdict == FlowVerdict::Denied && ring.merge(&record) {
            return;
        }
        ring.weight += weight(&record);
        ring.records.push_back(Arc::new(record));
        while ring.records.len() > self.capacity || ring.weight > WEIGHT_LIMIT {
            let Some(oldest) = ring.records.pop_front() else { break };
            ring.weight -= weight(&oldest);
            ring.dropped += u64::from(oldest.count);
        }
    }

    /// Notes that so many things happened of which nothing more is known.
    pub fn lose(&self, count: u64) {
        self.ring().dropped += count;
    }

    /// The records that are wanted, oldest first.
    pub fn query(&self, query: &FlowQuery) -> Flows {
        let (records, dropped) = {
            let ring = self.ring();
            (ring.records.iter().cloned().collect::<Vec<_>>(), ring.dropped)
        };
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let wanted = records.iter().rev().filter(|record| query.wants(record)).take(limit);
        let mut records: Vec<_> = wanted.map(|record| FlowRecord::clone(record)).collect();
        records.reverse();
        Flows { records, dropped }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FlowLog {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Ring {
    /// Counts `record` on a record that says the same, if there is one. Whatever a record says stays true of all it stands
    /// for: only when it began differs, by less than a second.
    fn merge(&mut self, record: &FlowRecord) -> bool {
        let recent = self.records.iter_mut().rev().take(MERGE_REACH);
        let mut recent = recent.take_while(|kept| record.at - kept.at < MERGE_WINDOW);
        let Some(kept) = recent.find(|kept| is_alike(kept, record)) else { return false };
        let kept = Arc::make_mut(kept);
        kept.count = kept.count.saturating_add(record.count);
        kept.sent += record.sent;
        kept.received += record.received;
        true
    }
}

fn is_alike(one: &FlowRecord, other: &FlowRecord) -> bool {
    let FlowRecord { at: _, duration: _, compute, source, kind, name, address, port, verdict, rule, reason, .. } = one;
    (source, kind, name, address) == (&other.source, &other.kind, &other.name, &other.address)
        && (port, verdict, rule, reason) == (&other.port, &other.verdict, &other.rule, &other.reason)
        && *compute == other.compute
}

fn weight(record: &FlowRecord) -> usize {
    let texts = [&record.compute, &record.name, &record.reason];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    size_of::<FlowRecord>() + texts + record.rule.as_ref().map_or(0, |rule| rule.0.len())
}

/// Records kept unless told otherwise.
pub const CAPACITY: usize = 8192;

/// Bytes of records kept at most: hostile names are long, and the whole worker is to stay within 15 MiB (egress.md 8).
pub const WEIGHT_LIMIT: usize = 4 << 20;

/// Milliseconds within which what is alike becomes one record.
const MERGE_WINDOW: i64 = 1000;

/// Records looked back at most: enough for the questions a client repeats for each of its search domains.
const MERGE_REACH: usize = 64;

#[cfg(test)]
mod tests {
    use bastide_plan::RuleName;
    use bastide_plan::flow::FlowKind;

    use super::*;

    fn record(at: i64, name: &str, verdict: FlowVerdict) -> FlowRecord {
        FlowRecord {
            at,
            duration: 0,
            compute: Some("dev".into()),
            source: [100, 127, 0, 2].into(),
            kind: FlowKind::Dns,
            name: Some(name.into()),
            address: None,
            port: 53,
            verdict,
            rule: None,
            reason: (verdict == FlowVerdict::Denied).then(|| "no rule".into()),
            sent: 10,
            received: 20,
            count: 1,
        }
    }

    fn all() -> FlowQuery {
        FlowQuery { limit: u32::MAX, ..FlowQuery::default() }
    }

    fn names(flows: &Flows) -> Vec<&str> {
        flows.records.iter().filter_map(|record| record.name.as_deref()).collect()
    }

    #[test]
    fn the_oldest_are_let_go_and_counted() {
        let log = FlowLog::new(2);
        for name in ["a.org", "b.org", "c.org"] {
            log.push(record(0, name, FlowVerdict::Allowed));
        }
        let flows = log.query(&all());
        assert_eq!(names(&flows), ["b.org", "c.org"]);
        assert_eq!(flows.dropped, 1);
    }

    #[test]
    fn long_names_do_not_make_the_log_larger() {
        let log = FlowLog::new(usize::MAX);
        for number in 0..40_000 {
            log.push(record(number * 2000, &"x".repeat(250), FlowVerdict::Denied));
        }
        let ring = log.ring();
        assert!(ring.weight <= WEIGHT_LIMIT && ring.weight > WEIGHT_LIMIT / 2);
        assert_eq!(ring.weight, ring.records.iter().map(|record| weight(record)).sum::<usize>());
        assert_eq!(ring.dropped + ring.records.len() as u64, 40_000);
    }

    #[test]
    fn what_is_refused_again_within_a_second_is_counted_not_repeated() {
        let log = FlowLog::default();
        for at in [0, 400, 999, 1000] {
            log.push(record(at, "evil.org", FlowVerdict::Denied));
            log.push(record(at, "good.org", FlowVerdict::Allowed));
        }
        let mut other_rule = record(1001, "evil.org", FlowVerdict::Denied);
        other_rule.rule = Some(RuleName("r".into()));
        log.push(other_rule);

        let denied = log.query(&FlowQuery { denied: true, ..all() });
        let counts: Vec<_> = denied.records.iter().map(|record| (record.at, record.count, record.sent)).collect();
        assert_eq!(counts, [(0, 3, 30), (1000, 1, 10), (1001, 1, 10)]);
        assert_eq!(log.query(&all()).records.len(), 7, "what was let through is never merged");
    }

    #[test]
    fn a_query_names_time_compute_verdict_and_how_many() {
        let log = FlowLog::default();
        for at in 0..5 {
            log.push(record(at, "a.org", FlowVerdict::Allowed));
        }
        let mut elsewhere = record(9, "b.org", FlowVerdict::Cut);
        elsewhere.compute = Some("Other".into());
        log.push(elsewhere);

        assert_eq!(names(&log.query(&FlowQuery { limit: 2, ..FlowQuery::default() })), ["a.org", "b.org"]);
        assert_eq!(log.query(&FlowQuery { since: Some(4), ..all() }).records.len(), 2);
        assert_eq!(names(&log.query(&FlowQuery { compute: Some("OTHER".into()), ..all() })), ["b.org"]);
        assert_eq!(names(&log.query(&FlowQuery { denied: true, ..all() })), ["b.org"]);
    }
}
