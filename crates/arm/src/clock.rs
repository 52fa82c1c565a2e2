//! Where domain code gets the time from, so that a test can hold it still.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// A source of wall-clock time. The real one lives in the server; pure code only ever sees this trait.
pub trait Clock: Send + Sync + Debug {
    /// The present moment in UTC.
    fn now(&self) -> Timestamp;
}

/// A clock for tests: it stands still until told otherwise.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Moves the clock by `step` (which may be negative); it stops at the ends of representable time.
    pub fn advance(&self, step: SignedDuration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let end = if step.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
        *now = now.checked_add(step).unwrap_or(end);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_until_moved() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = ManualClock::at(start);
        assert_eq!(clock.now(), start);
        clock.advance(SignedDuration::from_secs(90));
        assert_eq!(clock.now().to_string(), "2026-01-01T00:01:30Z");
        clock.set(start);
        assert_eq!(clock.now(), start);
    }

    #[test]
    fn stops_at_the_end_of_time() {
        let clock = ManualClock::at(Timestamp::MAX);
        clock.advance(SignedDuration::from_hours(1));
        assert_eq!(clock.now(), Timestamp::MAX);
        clock.set(Timestamp::MIN);
        clock.advance(-SignedDuration::from_hours(1));
        assert_eq!(clock.now(), Timestamp::MIN);
    }
}
