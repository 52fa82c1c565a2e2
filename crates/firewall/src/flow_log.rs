//! The latest connections and questions of one hub, in memory.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::flow::{FlowKind, FlowQuery, FlowRecord, FlowVerdict, Flows};

/// Keeps the latest [`FlowRecord`]s, bounded by number and by bytes.
///
/// When it is full, the oldest record of the compute that has the most is let go, and counted: who makes noise hides his own
/// tracks at most, not those of others. A record costs the data path one push under a lock that is never held longer than
/// it takes to copy pointers.
#[derive(Debug)]
pub struct FlowLog {
    ring: Mutex<Ring>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Ring {
    /// By the address of the compute.
    shares: HashMap<Ipv4Addr, Share>,
    /// Records of all shares, and their bytes.
    count: usize,
    weight: usize,
    /// The number of the next record.
    next: u64,
    dropped: u64,
}

/// The records of one compute, oldest first.
#[derive(Debug, Default)]
struct Share {
    records: VecDeque<(u64, Arc<FlowRecord>)>,
    weight: usize,
}

impl FlowLog {
    /// A log that keeps at most so many records, and at most [`WEIGHT_LIMIT`] bytes.
    pub fn new(capacity: usize) -> Self {
        Self { ring: Mutex::default(), capacity: capacity.max(1) }
    }

    /// Keeps a record. A question that was asked, or a connection that was refused, like another within the last second
    /// only raises the count of that one.
    pub fn push(&self, record: FlowRecord) {
        let mut ring = self.ring();
        if ring.merge(&record) {
            return;
        }
        ring.insert(record);
        while ring.count > self.capacity || ring.weight > WEIGHT_LIMIT {
            ring.drop_one();
        }
    }

    /// Notes that so many things happened of which nothing more is known.
    pub fn lose(&self, count: u64) {
        self.ring().dropped += count;
    }

    /// The records that are wanted, oldest first.
    pub fn query(&self, query: &FlowQuery) -> Flows {
        let (mut records, dropped) = {
            let ring = self.ring();
            let records = ring.shares.values().flat_map(|share| share.records.iter().cloned());
            (records.collect::<Vec<_>>(), ring.dropped)
        };
        records.retain(|(_, record)| query.wants(record));
        records.sort_unstable_by_key(|(number, _)| *number);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let latest = records.into_iter().rev().take(limit).map(|(_, record)| FlowRecord::clone(&record));
        let mut records: Vec<_> = latest.collect();
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
        if record.kind != FlowKind::Dns && record.verdict != FlowVerdict::Denied {
            return false;
        }
        let Some(share) = self.shares.get_mut(&record.source) else { return false };
        let recent = share.records.iter_mut().rev().map(|(_, kept)| kept).take(MERGE_REACH);
        let mut recent = recent.take_while(|kept| record.at - kept.at < MERGE_WINDOW);
        let Some(kept) = recent.find(|kept| is_alike(kept, record)) else { return false };
        let kept = Arc::make_mut(kept);
        kept.count = kept.count.saturating_add(record.count);
        kept.sent += record.sent;
        kept.received += record.received;
        true
    }

    fn insert(&mut self, record: FlowRecord) {
        let weight = weight(&record);
        let share = self.shares.entry(record.source).or_default();
        share.records.push_back((self.next, Arc::new(record)));
        share.weight += weight;
        (self.count, self.weight, self.next) = (self.count + 1, self.weight + weight, self.next + 1);
    }

    fn drop_one(&mut self) {
        let Some((source, share)) = self.shares.iter_mut().max_by_key(|(_, share)| share.weight) else { return };
        let source = *source;
        if let Some((_, record)) = share.records.pop_front() {
            let weight = weight(&record);
            share.weight -= weight;
            (self.count, self.weight) = (self.count - 1, self.weight - weight);
            self.dropped += u64::from(record.count);
        }
        if share.records.is_empty() {
            self.shares.remove(&source);
        }
    }
}

fn is_alike(one: &FlowRecord, other: &FlowRecord) -> bool {
    let FlowRecord { compute, kind, name, address, port, verdict, rule, reason, .. } = one;
    (kind, name, address) == (&other.kind, &other.name, &other.address)
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
        let records: Vec<_> = ring.shares.values().flat_map(|share| &share.records).collect();
        assert_eq!(ring.weight, records.iter().map(|(_, record)| weight(record)).sum::<usize>());
        assert_eq!((ring.dropped + records.len() as u64, ring.count), (40_000, records.len()));
    }

    #[test]
    fn who_makes_noise_hides_nobody_elses_tracks() {
        let log = FlowLog::new(100);
        let quiet = FlowRecord { source: [100, 127, 0, 3].into(), ..record(0, "quiet.org", FlowVerdict::Denied) };
        log.push(quiet);
        for number in 0..1000 {
            log.push(record(1, &format!("n{number}.org"), FlowVerdict::Denied));
        }
        let flows = log.query(&all());
        assert_eq!((flows.records.len(), flows.dropped), (100, 901));
        assert_eq!((names(&flows)[0], names(&flows)[99]), ("quiet.org", "n999.org"));
    }

    #[test]
    fn what_is_asked_or_refused_again_within_a_second_is_counted_not_repeated() {
        let log = FlowLog::default();
        for at in [0, 400, 999, 1000] {
            log.push(record(at, "evil.org", FlowVerdict::Denied));
            log.push(record(at, "good.org", FlowVerdict::Allowed));
            log.push(FlowRecord { kind: FlowKind::Tls, ..record(at, "good.org", FlowVerdict::Allowed) });
        }
        let rule = Some(RuleName("r".into()));
        log.push(FlowRecord { rule, ..record(1001, "evil.org", FlowVerdict::Denied) });

        let records = log.query(&all()).records;
        let counts = |wanted: &dyn Fn(&FlowRecord) -> bool| -> Vec<_> {
            let wanted = records.iter().filter(|record| wanted(record));
            wanted.map(|record| (record.at, record.count, record.sent)).collect()
        };
        let expected = [(0, 3, 30), (1000, 1, 10), (1001, 1, 10)];
        assert_eq!(counts(&|record| record.verdict == FlowVerdict::Denied), expected);
        assert_eq!(
            counts(&|record| record.name.as_deref() == Some("good.org") && record.kind == FlowKind::Dns),
            expected[..2]
        );
        assert_eq!(counts(&|record| record.kind == FlowKind::Tls).len(), 4, "connections are never merged");
    }

    #[test]
    fn a_query_names_time_compute_verdict_and_how_many() {
        let log = FlowLog::default();
        for at in 0..5 {
            log.push(FlowRecord { kind: FlowKind::Tls, ..record(at, "a.org", FlowVerdict::Allowed) });
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
