//! What is said of an instance.

use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use bastide_plan::compute_plan::Run;
use bastide_plan::compute_report::{ComputeReport, ComputeState};
use bastide_plan::message::Answer;

use super::Keeper;
use crate::compute::record::Failure;
use crate::compute::runtime::Observed;

impl Keeper {
    /// Says it to everybody when it is something else than before.
    pub(super) fn publish(&mut self) {
        let Some(state) = self.state() else { return };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let report = ComputeReport {
            hub: self.record.hub,
            compute: self.record.compute,
            start: self.order.as_ref().map_or(0, |order| order.start),
            state,
            image: self.record.base.as_ref().map(|base| base.digest.clone()),
            at: i64::try_from(at).unwrap_or(i64::MAX),
        };
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.as_ref().is_some_and(|before| ComputeReport { at: report.at, ..before.clone() } == report) {
            return;
        }
        *published = Some(report.clone());
        drop(published);
        (self.surroundings.publish)(Answer::ComputeChanged { report: Box::new(report) });
    }

    /// What is said of it. None while it is being deleted: what was said last stays said.
    pub(super) fn state(&self) -> Option<ComputeState> {
        let order = self.order.as_ref()?;
        let is_wanted = order.run != Run::Stopped;
        if !self.surroundings.runtime.abilities().confines {
            return Some(ComputeState::Simulated { running: is_wanted && self.is_up() });
        }
        if let Some(Failure { step, reason, .. }) = self.record.failure_of(order) {
            return Some(ComputeState::Failed { step: *step, reason: reason.clone() });
        }
        Some(match (is_wanted, self.observed) {
            (false, Observed::Absent | Observed::Stopped) => ComputeState::Stopped,
            (true, Observed::Frozen) if self.passing.was_ready => ComputeState::Frozen,
            (_, Observed::Running | Observed::Frozen) if self.passing.was_ready => ComputeState::Running,
            (true, _) if self.passing.script.is_some() => ComputeState::SettingUp,
            _ => ComputeState::Preparing { what: self.what.clone() },
        })
    }
}
