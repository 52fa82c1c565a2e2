//! What the host's resolver has told, for as long as it holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_inspect::Name;
use hickory_proto::rr::RecordType;

use super::reading::{End, Known};
use super::upstream::Failure;

/// What came of asking.
pub type Outcome = Result<Arc<Known>, Failure>;

/// Remembers what came of asking for a name. Nothing is given out after its time: serving what has ended would keep an
/// address alive that its owner has taken back.
#[derive(Debug)]
pub struct Cache {
    table: Mutex<Table>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<(Name, RecordType), Entry>,
    /// Bytes of all entries.
    weight: usize,
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    until: Instant,
}

/// What is remembered, and for how much longer.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// What came of asking.
    pub outcome: Outcome,
    /// How much longer it holds.
    pub left: Duration,
}

impl Cache {
    /// Remembers at most so many answers.
    pub fn new(capacity: usize) -> Self {
        Self { table: Mutex::default(), capacity: capacity.max(1) }
    }

    /// What is remembered about a name.
    pub fn find(&self, name: &Name, kind: RecordType, now: Instant) -> Option<Remembered> {
        // Two clones of pointers, so that the lock is held for a moment only.
        let table = self.table();
        let entry = table.entries.get(&(name.clone(), kind)).filter(|entry| entry.until > now)?;
        Some(Remembered { outcome: entry.outcome.clone(), left: entry.until.saturating_duration_since(now) })
    }

    /// Remembers what came of asking.
    pub fn keep(&self, name: &Name, kind: RecordType, outcome: &Outcome, now: Instant) {
        let entry = Entry { outcome: outcome.clone(), until: now + lifetime(outcome) };
        let mut table = self.table();
        let key = (name.clone(), kind);
        table.forget(&key);
        if table.entries.len() >= self.capacity || table.weight + entry.weight() > WEIGHT_LIMIT {
            table.retain(|_, entry| entry.until > now);
        }
        while table.entries.len() >= self.capacity || table.weight + entry.weight() > WEIGHT_LIMIT {
            // A part at once, so that a flood does not have all entries looked through for each new one.
            let mut ends: Vec<_> = table.entries.values().map(|entry| entry.until).collect();
            let part = ends.len() / MADE_ROOM;
            if ends.is_empty() {
                return;
            }
            let (_, end, _) = ends.select_nth_unstable(part);
            table.retain(|_, entry| entry.until > *end);
        }
        table.weight += entry.weight();
        table.entries.insert(key, entry);
    }

    /// Forgets all names that are not to be kept.
    pub fn retain(&self, keep: impl Fn(&Name) -> bool) {
        self.table().retain(|name, _| keep(name));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self, key: &(Name, RecordType)) {
        if let Some(entry) = self.entries.remove(key) {
            self.weight -= entry.weight();
        }
    }

    fn retain(&mut self, keep: impl Fn(&Name, &Entry) -> bool) {
        self.entries.retain(|(name, _), entry| keep(name, entry));
        self.weight = self.entries.values().map(Entry::weight).sum();
    }
}

impl Entry {
    /// Bytes, about: records in memory take three times what they take in a message.
    fn weight(&self) -> usize {
        ENTRY_WEIGHT + self.outcome.as_ref().map_or(0, |known| known.size * 3)
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

/// How long an outcome holds: as its servers say, within [`LEAST`] and [`MOST`].
fn lifetime(outcome: &Outcome) -> Duration {
    let Ok(known) = outcome else { return FAILED };
    let seconds = Duration::from_secs(u64::from(known.ttl));
    match known.end {
        End::Addresses(_) | End::Records(_) => seconds.clamp(LEAST, MOST),
        End::Nothing | End::NoName | End::Cut => seconds.clamp(LEAST_NEGATIVE, MOST_NEGATIVE),
    }
}

/// Addresses hold at least so long, or a site that says 0 would be asked for at each connection (egress.md row 28).
pub const LEAST: Duration = Duration::from_secs(30);

/// Addresses hold at most so long, or an address that was given to somebody else would stay approved.
pub const MOST: Duration = Duration::from_hours(1);

/// That there is nothing holds this long at least and at most: somebody may just be setting it up.
const LEAST_NEGATIVE: Duration = Duration::from_secs(5);
const MOST_NEGATIVE: Duration = Duration::from_mins(5);

/// So long a failure is not tried again (RFC 9520, section 3.2: at least a second).
const FAILED: Duration = Duration::from_secs(2);

/// Answers remembered at once.
pub const CAPACITY: usize = 8192;

/// Bytes remembered at most: whoever owns a domain can give long answers.
pub const WEIGHT_LIMIT: usize = 4 << 20;

/// When there is no room, one entry of so many goes.
const MADE_ROOM: usize = 16;

/// Bytes of an entry without what the answer says.
const ENTRY_WEIGHT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn known(end: End, ttl: u32) -> Arc<Known> {
        Arc::new(Known { aliases: Vec::new(), end, ttl, size: 60 })
    }

    #[test]
    fn times_are_kept_within_bounds() {
        let addresses = |ttl| Ok(known(End::Addresses(vec![[198, 18, 0, 1].into()]), ttl));
        for (outcome, seconds) in [
            (addresses(0), 30),
            (addresses(60), 60),
            (addresses(u32::MAX), 3600),
            (Ok(known(End::NoName, 0)), 5),
            (Ok(known(End::Nothing, 900)), 300),
            (Err(Failure::Silent), 2),
        ] {
            assert_eq!(lifetime(&outcome), Duration::from_secs(seconds), "{outcome:?}");
        }
    }

    #[test]
    fn nothing_is_given_out_after_its_time() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.keep(&name("a.org"), RecordType::A, &Ok(known(End::NoName, 60)), now);
        let left = |seconds| cache.find(&name("a.org"), RecordType::A, now + Duration::from_secs(seconds));
        assert_eq!(left(20).map(|remembered| remembered.left), Some(Duration::from_secs(40)));
        assert!(left(60).is_none());
        assert!(cache.find(&name("a.org"), RecordType::TXT, now).is_none());
        cache.retain(|_| false);
        assert!(left(20).is_none());
    }

    #[test]
    fn a_flood_of_names_stays_within_bounds() {
        let (cache, now) = (Cache::new(2), Instant::now());
        for number in 0..50 {
            let name = name(&format!("n{number}.org"));
            cache.keep(&name, RecordType::A, &Ok(known(End::NoName, 60)), now + Duration::from_secs(number));
        }
        assert_eq!(cache.table().entries.len(), 2);
        let last = cache.find(&name("n49.org"), RecordType::A, now + Duration::from_secs(49));
        assert!(last.is_some(), "the newest stays");
    }

    #[test]
    fn a_flood_of_long_answers_stays_within_bounds() {
        let (cache, now) = (Cache::default(), Instant::now());
        let long = Arc::new(Known { aliases: Vec::new(), end: End::Nothing, ttl: 60, size: 65_535 });
        for number in 0..100 {
            let now = now + Duration::from_millis(number);
            cache.keep(&name(&format!("n{number}.org")), RecordType::TXT, &Ok(Arc::clone(&long)), now);
        }
        let table = cache.table();
        assert!(table.weight <= WEIGHT_LIMIT && table.weight > WEIGHT_LIMIT / 2, "{}", table.weight);
        drop(table);
        cache.retain(|_| false);
        assert_eq!(cache.table().weight, 0);
    }
}
