//! The machine's wall clock, the only place that reads it.

use bastide_arm::clock::Clock;
use jiff::Timestamp;

/// The wall clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
