//! Who uses which compute, as far as it passes through this server: open sessions, and the last time of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_arm::clock::Clock;
use bastide_plan::hub_plan::ComputeId;
use jiff::Timestamp;

/// What is known of the use of computes.
#[derive(Clone)]
pub(crate) struct Activity {
    clock: Arc<dyn Clock>,
    uses: Arc<Mutex<HashMap<ComputeId, Use>>>,
}

/// Somebody who uses a compute, until this is dropped.
pub(crate) struct InUse {
    activity: Activity,
    compute: ComputeId,
}

#[derive(Debug, Default, Clone, Copy)]
struct Use {
    open: usize,
    last: Option<Timestamp>,
}

impl Activity {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, uses: Arc::default() }
    }

    /// Somebody opens something that stays open: it counts as use until the end.
    pub(crate) fn enter(&self, compute: ComputeId) -> InUse {
        self.all().entry(compute).or_default().open += 1;
        InUse { activity: self.clone(), compute }
    }

    /// Somebody has done something.
    pub(crate) fn touch(&self, compute: ComputeId) {
        let now = self.clock.now();
        self.all().entry(compute).or_default().last = Some(now);
    }

    /// Whether somebody uses it now.
    pub(super) fn is_open(&self, compute: ComputeId) -> bool {
        self.all().get(&compute).is_some_and(|used| used.open > 0)
    }

    /// When somebody has used it last.
    pub(super) fn last(&self, compute: ComputeId) -> Option<Timestamp> {
        self.all().get(&compute).and_then(|used| used.last)
    }

    /// Forgets all but these, and those that somebody uses.
    pub(super) fn keep(&self, is_there: impl Fn(ComputeId) -> bool) {
        self.all().retain(|compute, used| used.open > 0 || is_there(*compute));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ComputeId, Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let now = self.activity.clock.now();
        if let Some(used) = self.activity.all().get_mut(&self.compute) {
            used.open = used.open.saturating_sub(1);
            used.last = Some(now);
        }
    }
}

impl std::fmt::Debug for Activity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Activity").field(&*self.all()).finish()
    }
}

impl std::fmt::Debug for InUse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("InUse").field(&self.compute).finish()
    }
}

#[cfg(test)]
mod tests {
    use bastide_arm::clock::ManualClock;
    use jiff::SignedDuration;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn whoever_is_in_uses_it_and_the_last_one_out_was_the_last_use() {
        let clock = Arc::new(ManualClock::at("2026-11-22T10:00:00Z".parse().unwrap()));
        let activity = Activity::new(clock.clone());
        let compute = ComputeId(Uuid::from_u128(1));
        assert!(!activity.is_open(compute) && activity.last(compute).is_none());
        let (one, two) = (activity.enter(compute), activity.enter(compute));
        drop(one);
        assert!(activity.is_open(compute));
        clock.advance(SignedDuration::from_mins(5));
        drop(two);
        assert!(!activity.is_open(compute));
        assert_eq!(activity.last(compute), Some(clock.now()));
        activity.keep(|_| false);
        assert_eq!(activity.last(compute), None);
    }
}
