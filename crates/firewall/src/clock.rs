//! Where the worker gets the time from, so that a test can hold it still.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A source of time.
pub trait Clock: Send + Sync + Debug {
    /// The monotonic clock: for everything that ends, whatever people do to the time of day.
    fn instant(&self) -> Instant;

    /// The time of day in milliseconds since 1970, for records that people read.
    fn millis(&self) -> i64;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock for tests: it stands still until told otherwise.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    passed: Mutex<Duration>,
    /// What somebody has set the time of day forward by.
    set: AtomicI64,
}

impl Clock for SystemClock {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn millis(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl ManualClock {
    /// A clock that shows 1970.
    pub fn new() -> Self {
        Self { start: Instant::now(), passed: Mutex::default(), set: AtomicI64::new(0) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, step: Duration) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) += step;
    }

    /// Sets the time of day, by so many milliseconds, as people and time servers do.
    pub fn set_time_of_day(&self, by: i64) {
        self.set.fetch_add(by, Ordering::SeqCst);
    }

    fn passed(&self) -> Duration {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn instant(&self) -> Instant {
        self.start + self.passed()
    }

    fn millis(&self) -> i64 {
        i64::try_from(self.passed().as_millis()).unwrap_or(i64::MAX).saturating_add(self.set.load(Ordering::SeqCst))
    }
}
