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
    entries: Mutex<HashMap<(Name, RecordType), Entry>>,
    capacity: usize,
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
        Self { entries: Mutex::default(), capacity: capacity.max(1) }
    }

    /// What is remembered about a name.
    pub fn find(&self, name: &Name, kind: RecordType, now: Instant) -> Option<Remembered> {
        // Two clones of pointers, so that the lock is held for a moment only.
        let entries = self.entries();
        let entry = entries.get(&(name.clone(), kind)).filter(|entry| entry.until > now)?;
        Some(Remembered { outcome: entry.outcome.clone(), left: entry.until.saturating_duration_since(now) })
    }

    /// Remembers what came of asking, and says for how long.
    pub fn keep(&self, name: &Name, kind: RecordType, outcome: &Outcome, now: Instant) -> Duration {
        let time = lifetime(outcome);
        let mut entries = self.entries();
        let key = (name.clone(), kind);
        if entries.len() >= self.capacity && !entries.contains_key(&key) {
            make_room(&mut entries, now);
        }
        entries.insert(key, Entry { outcome: outcome.clone(), until: now + time });
        time
    }

    /// Forgets all names that are not to be kept.
    pub fn retain(&self, keep: impl Fn(&Name) -> bool) {
        self.entries().retain(|(name, _), _| keep(name));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<(Name, RecordType), Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
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

fn make_room(entries: &mut HashMap<(Name, RecordType), Entry>, now: Instant) {
    let before = entries.len();
    entries.retain(|_, entry| entry.until > now);
    if entries.len() == before {
        let first = entries.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone());
        first.and_then(|key| entries.remove(&key));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn known(end: End, ttl: u32) -> Arc<Known> {
        Arc::new(Known { aliases: Vec::new(), end, ttl })
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
        assert_eq!(cache.entries().len(), 2);
        let last = cache.find(&name("n49.org"), RecordType::A, now + Duration::from_secs(49));
        assert!(last.is_some(), "the newest stays");
    }
}
