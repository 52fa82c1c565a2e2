//! The latest connections and questions of one hub, in memory until the agent collects them.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::flow::{FlowKind, FlowQuery, FlowRecord, FlowVerdict, Flows};
use bastide_plan::worker::BATCH;
use tokio::sync::Notify;

/// Keeps the latest [`FlowRecord`]s, bounded by number and by bytes.
///
/// When it is full, the oldest record of the compute that has the most is let go, and counted: who makes noise hides his own
/// tracks at most, not those of others. What one compute is refused faster than [`REFUSALS_PER_SECOND`] is only counted, so
/// that nobody writes the disk full with names that he makes up. A record costs the data path one push under a lock that
/// is never held longer than it takes to copy pointers.
#[derive(Debug)]
pub struct FlowLog {
    ring: Mutex<Ring>,
    capacity: usize,
    half_full: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    /// By the address of the compute.
    shares: HashMap<Ipv4Addr, Share>,
    allowances: HashMap<Ipv4Addr, Allowance>,
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

/// How many refusals of one compute may still get a record of their own.
#[derive(Debug)]
struct Allowance {
    /// In thousandths.
    left: i64,
    /// When that was so.
    at: i64,
}

impl FlowLog {
    /// A log that keeps at most so many records, and at most [`WEIGHT_LIMIT`] bytes. One of no capacity keeps nothing, and
    /// shows what keeping costs.
    pub fn new(capacity: usize) -> Self {
        Self { ring: Mutex::default(), capacity, half_full: Notify::new() }
    }

    /// Keeps a record. A question that was asked, or a connection that was refused, like another within the last second
    /// only raises the count of that one.
    pub fn push(&self, record: FlowRecord) {
        if self.capacity == 0 {
            return;
        }
        let mut ring = self.ring();
        if ring.merge(&record) {
            return;
        }
        let record = ring.tame(record);
        if record.reason.as_deref() == Some(TOO_MANY) && ring.merge(&record) {
            return;
        }
        ring.insert(record);
        while ring.count > self.capacity || ring.weight > WEIGHT_LIMIT {
            ring.drop_one();
        }
        if ring.count == self.capacity.div_ceil(2) {
            self.half_full.notify_one();
        }
    }

    /// Waits until the log is half full.
    pub async fn half_full(&self) {
        self.half_full.notified().await;
    }

    /// Takes out the oldest records, [`BATCH`] at most, of those to which nothing is added any more at the time `now`; and
    /// how many were let go since the last time.
    pub fn collect(&self, now: i64) -> (Vec<FlowRecord>, u64) {
        let mut ring = self.ring();
        let mut ripe: Vec<u64> = ring.shares.values().flat_map(|share| share.ripe(now)).collect();
        ripe.sort_unstable();
        let Some(last) = ripe.get(..BATCH).unwrap_or(&ripe).last().copied() else {
            return (Vec::new(), std::mem::take(&mut ring.dropped));
        };
        let mut taken = Vec::with_capacity(ripe.len().min(BATCH));
        for share in ring.shares.values_mut() {
            let (out, rest) = std::mem::take(&mut share.records)
                .into_iter()
                .partition(|(number, record)| *number <= last && is_ripe(record, now));
            share.records = rest;
            let out: VecDeque<_> = out;
            taken.extend(out);
        }
        ring.settle(now);
        let dropped = std::mem::take(&mut ring.dropped);
        drop(ring);
        taken.sort_unstable_by_key(|(number, _)| *number);
        (taken.into_iter().map(|(_, record)| Arc::unwrap_or_clone(record)).collect(), dropped)
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
        Flows { records, dropped, ..Flows::default() }
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
        let mut recent = recent.take_while(|kept| record.at.abs_diff(kept.at) < MERGE_WINDOW);
        let Some(kept) = recent.find(|kept| is_alike(kept, record)) else { return false };
        let kept = Arc::make_mut(kept);
        kept.count = kept.count.saturating_add(record.count);
        kept.sent += record.sent;
        kept.received += record.received;
        true
    }

    /// Takes from a record what tells it from others, when its compute is refused more than is told one by one.
    fn tame(&mut self, record: FlowRecord) -> FlowRecord {
        if record.verdict != FlowVerdict::Denied {
            return record;
        }
        let full = Allowance { left: MOST_REFUSALS, at: record.at };
        let allowance = self.allowances.entry(record.source).or_insert(full);
        if allowance.take(record.at) {
            return record;
        }
        FlowRecord { name: None, address: None, port: 0, rule: None, reason: Some(TOO_MANY.to_owned()), ..record }
    }

    /// Brings what is counted in line with what is there.
    fn settle(&mut self, now: i64) {
        self.shares.retain(|_, share| {
            share.weight = share.records.iter().map(|(_, record)| weight(record)).sum();
            !share.records.is_empty()
        });
        self.count = self.shares.values().map(|share| share.records.len()).sum();
        self.weight = self.shares.values().map(|share| share.weight).sum();
        self.allowances.retain(|_, allowance| !allowance.is_full(now));
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

impl Share {
    fn ripe(&self, now: i64) -> impl Iterator<Item = u64> {
        self.records.iter().filter(move |(_, record)| is_ripe(record, now)).map(|(number, _)| *number)
    }
}

impl Allowance {
    fn take(&mut self, now: i64) -> bool {
        // A clock that was set back gives nothing.
        let passed = now.saturating_sub(self.at).max(0);
        self.left = self.left.saturating_add(passed.saturating_mul(REFUSALS_PER_SECOND)).min(MOST_REFUSALS);
        self.at = now;
        let is_given = self.left >= 1000;
        if is_given {
            self.left -= 1000;
        }
        is_given
    }

    fn is_full(&self, now: i64) -> bool {
        now.saturating_sub(self.at).saturating_mul(REFUSALS_PER_SECOND).saturating_add(self.left) >= MOST_REFUSALS
    }
}

/// Whether nothing is counted on a record any more.
fn is_ripe(record: &FlowRecord, now: i64) -> bool {
    // Of a clock that was set back as well: what seems to lie ahead is not waited for.
    now.abs_diff(record.at) >= MERGE_WINDOW || (record.kind != FlowKind::Dns && record.verdict != FlowVerdict::Denied)
}

fn is_alike(one: &FlowRecord, other: &FlowRecord) -> bool {
    let FlowRecord { compute, kind, name, address, port, verdict, rule, reason, .. } = one;
    (kind, name, address) == (&other.kind, &other.name, &other.address)
        && (port, verdict, rule, reason) == (&other.port, &other.verdict, &other.rule, &other.reason)
        && *compute == other.compute
}

fn weight(record: &FlowRecord) -> usize {
    let texts = [&record.compute, &record.project, &record.name, &record.reason];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    size_of::<FlowRecord>() + texts + record.rule.as_ref().map_or(0, |rule| rule.0.len())
}

/// Records kept unless told otherwise.
pub const CAPACITY: usize = 8192;

/// Bytes of records kept at most: hostile names are long, and the whole worker is to stay within 15 MiB (egress.md 8).
pub const WEIGHT_LIMIT: usize = 4 << 20;

/// Refusals of one compute that get a record of their own, after the first [`MOST_REFUSALS`] thousandths: as many as the
/// kernel tells of packets.
pub const REFUSALS_PER_SECOND: i64 = 10;
const MOST_REFUSALS: i64 = 100_000;

const TOO_MANY: &str =
    "Refused like the ones before it, and only counted: the log tells 10 refusals a second of one compute.";

/// Milliseconds within which what is alike becomes one record.
const MERGE_WINDOW: u64 = 1000;

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
            project: Some("churn".into()),
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
    fn one_of_no_capacity_keeps_nothing() {
        let log = FlowLog::new(0);
        log.push(record(0, "a.org", FlowVerdict::Allowed));
        assert_eq!((log.query(&all()), log.collect(0)), (Flows::default(), (Vec::new(), 0)));
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
            log.push(record(1, &format!("n{number}.org"), FlowVerdict::Allowed));
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
    fn names_that_somebody_makes_up_fill_neither_memory_nor_disk() {
        let log = FlowLog::default();
        for number in 0..50_000 {
            log.push(record(number / 50, &format!("n{number}.tunnel.org"), FlowVerdict::Denied));
        }
        let records = log.query(&all()).records;
        let (named, counted): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.name.is_some());
        assert_eq!(named.len(), 100 + 9, "a hundred at once, and ten more in the second that it took");
        assert_eq!(counted.iter().map(|record| record.count).sum::<u32>(), 50_000 - 109, "and every one is counted");
        assert_eq!((log.query(&all()).dropped, counted.len()), (0, 1));
        log.push(record(20_000, "later.org", FlowVerdict::Denied));
        assert!(log.query(&all()).records.iter().any(|record| record.name.as_deref() == Some("later.org")));
    }

    #[test]
    fn what_is_collected_is_nobody_elses_and_what_may_still_be_counted_stays() {
        let log = FlowLog::default();
        log.push(record(0, "old.org", FlowVerdict::Denied));
        log.push(record(900, "young.org", FlowVerdict::Denied));
        log.push(FlowRecord { kind: FlowKind::Tls, ..record(950, "over.org", FlowVerdict::Allowed) });
        log.lose(3);
        let (records, dropped) = log.collect(1000);
        let collected: Vec<_> = records.iter().filter_map(|record| record.name.as_deref()).collect();
        assert_eq!((collected, dropped), (vec!["old.org", "over.org"], 3));
        assert_eq!(names(&log.query(&all())), ["young.org"]);
        assert_eq!(log.query(&all()).dropped, 0);
        let ring = log.ring();
        assert_eq!((ring.count, ring.shares.len()), (1, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up_and_mixes_nothing() {
        let log = FlowLog::default();
        log.push(record(1_000_000, "evil.org", FlowVerdict::Denied));
        log.push(record(0, "evil.org", FlowVerdict::Denied));
        assert_eq!(log.query(&all()).records.len(), 2);
        let (records, _) = log.collect(1000);
        assert_eq!(records.iter().map(|record| record.at).collect::<Vec<_>>(), [1_000_000, 0]);
    }

    #[test]
    fn a_batch_is_bounded_and_the_oldest_come_first() {
        let log = FlowLog::default();
        for number in 0..5000 {
            let source = [100, 127, 0, u8::try_from(number % 7).unwrap()].into();
            let name = format!("n{number}.org");
            log.push(FlowRecord { source, kind: FlowKind::Tls, ..record(0, &name, FlowVerdict::Allowed) });
        }
        let (first, _) = log.collect(0);
        let (second, _) = log.collect(0);
        let numbers = first.iter().chain(&second).map(|record| record.name.clone().unwrap());
        assert_eq!((first.len(), second.len()), (BATCH, 5000 - BATCH));
        assert!(numbers.eq((0..5000).map(|number| format!("n{number}.org"))));
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
