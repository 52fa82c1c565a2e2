//! Counts failures, so that guessing is slow.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Failures by name in windows of time; a bounded table.
#[derive(Debug)]
pub(crate) struct Attempts {
    limit: u32,
    window: SignedDuration,
    capacity: usize,
    counts: Mutex<HashMap<String, Count>>,
}

impl Attempts {
    /// At most `limit` failures of a name within `window`.
    pub(crate) fn new(limit: u32, window: SignedDuration) -> Self {
        Self { limit, window, capacity: CAPACITY, counts: Mutex::default() }
    }

    /// Begins an attempt, which counts as a failure until it [`succeeded`](Self::succeeded): attempts that run at the
    /// same time cannot all slip in before the first of them fails. Answers the seconds to wait when there were too
    /// many.
    pub(crate) fn begin(&self, name: &str, now: Timestamp) -> Result<(), u16> {
        let mut counts = self.counts();
        self.make_room(&mut counts, name, now);
        let fresh = Count { since: now, failures: 0 };
        let count = counts.entry(name.to_owned()).or_insert(fresh);
        if self.is_over(*count, now) {
            *count = fresh;
        }
        if count.failures >= self.limit {
            let wait = self.window.saturating_sub(now.duration_since(count.since));
            return Err(u16::try_from(wait.as_secs()).unwrap_or(u16::MAX).max(1));
        }
        count.failures += 1;
        Ok(())
    }

    /// Takes back what [`Attempts::begin`] counted.
    pub(crate) fn succeeded(&self, name: &str) {
        if let Some(count) = self.counts().get_mut(name) {
            count.failures = count.failures.saturating_sub(1);
        }
    }

    /// Drops what is over when the table is full, and if nothing is, the oldest entry.
    fn make_room(&self, counts: &mut HashMap<String, Count>, name: &str, now: Timestamp) {
        if counts.len() < self.capacity || counts.contains_key(name) {
            return;
        }
        counts.retain(|_, count| !self.is_over(*count, now) && count.failures > 0);
        if counts.len() >= self.capacity {
            let oldest = counts.iter().min_by_key(|(_, count)| count.since).map(|(name, _)| name.clone());
            oldest.and_then(|name| counts.remove(&name));
        }
    }

    fn is_over(&self, count: Count, now: Timestamp) -> bool {
        // A clock that was set back must not lock anybody out for longer than a window.
        now.duration_since(count.since).abs() >= self.window
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Timestamp,
    failures: u32,
}

const CAPACITY: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_limit_one_waits_for_the_end_of_the_window() {
        let attempts = Attempts::new(2, SignedDuration::from_secs(60));
        assert_eq!(attempts.begin("a", at(0)), Ok(()));
        assert_eq!(attempts.begin("a", at(10)), Ok(()));
        assert_eq!(attempts.begin("a", at(20)), Err(40));
        assert_eq!(attempts.begin("b", at(20)), Ok(()), "another name is not concerned");
        assert_eq!(attempts.begin("a", at(60)), Ok(()));
    }

    #[test]
    fn success_takes_the_attempt_back_but_not_the_failures_before() {
        let attempts = Attempts::new(2, SignedDuration::from_secs(60));
        attempts.begin("a", at(0)).unwrap();
        for _ in 0..10 {
            attempts.begin("a", at(1)).unwrap();
            attempts.succeeded("a");
        }
        attempts.begin("a", at(2)).unwrap();
        assert!(attempts.begin("a", at(3)).is_err());
    }

    #[test]
    fn attempts_at_the_same_time_count_before_they_end() {
        let attempts = Attempts::new(1, SignedDuration::from_secs(60));
        attempts.begin("a", at(0)).unwrap();
        assert!(attempts.begin("a", at(0)).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest_first() {
        let attempts = Attempts { capacity: 3, ..Attempts::new(1, SignedDuration::from_secs(60)) };
        for (name, second) in ["a", "b", "c", "d"].into_iter().zip(0..) {
            attempts.begin(name, at(second)).unwrap();
        }
        assert_eq!(attempts.counts().len(), 3);
        assert!(attempts.begin("d", at(5)).is_err());
        assert!(attempts.begin("a", at(5)).is_ok());
    }

    #[test]
    fn a_clock_set_back_does_not_lock_out() {
        let attempts = Attempts::new(1, SignedDuration::from_secs(60));
        attempts.begin("a", at(1_000)).unwrap();
        assert!(attempts.begin("a", at(0)).is_ok());
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
}
