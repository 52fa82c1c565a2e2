//! What is to be done next about an instance: a comparison of what should be with what is, without a memory of how it came
//! to be so.

use bastide_plan::compute_plan::{Instance, Run};
use bastide_plan::compute_report::ScriptLog;

use super::record::Record;
use super::runtime::Observed;

/// One step. After each, everything is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nothing; or to wait for what is under way.
    Nothing,
    /// Leave nothing of it.
    Delete,
    /// End what runs.
    Stop,
    /// Get its image.
    Resolve,
    /// Make it and start it.
    Begin,
    /// Run a script in it.
    SetUp(ScriptLog),
    /// It is what it should be: people may come in.
    Ready,
    /// Take the processor from it.
    Freeze,
    /// Give it the processor back.
    Thaw,
    /// It has ended by itself; take note.
    Crashed,
}

/// What a decision is made from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What should be. None: nothing of it.
    pub order: Option<&'a Instance>,
    /// What is remembered.
    pub record: &'a Record,
    /// What is.
    pub observed: Observed,
    /// Its hub's wall stands and its leg is there.
    pub is_walled: bool,
    /// What is under way.
    pub passing: &'a Passing,
}

/// What is under way, as far as this life of the agent goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct Passing {
    /// What was done last did not succeed, and its time to be tried again has not come.
    pub is_waiting: bool,
    /// Its image is there.
    pub has_image: bool,
    /// Its image is being got.
    pub is_resolving: bool,
    /// The start of [`Record::begun`] was begun in this life.
    pub has_begun: bool,
    /// A script runs in it.
    pub script: Option<ScriptLog>,
    /// The startup script of this start has succeeded.
    pub has_started_up: bool,
    /// It was seen to run, with all that belongs to it.
    pub was_ready: bool,
    /// Somebody has come in since it was to be frozen.
    pub is_thawed: bool,
}

/// Decides.
pub fn next(facts: &Facts<'_>) -> Deed {
    let Facts { order, record, observed, passing, .. } = facts;
    if passing.is_waiting {
        return Deed::Nothing;
    }
    let Some(order) = order else { return Deed::Delete };
    let is_up = matches!(observed, Observed::Running | Observed::Frozen);
    let is_to_run = order.run != Run::Stopped && record.failure_of(order).is_none();
    match (is_to_run, is_up) {
        (false, true) => Deed::Stop,
        (false, false) => Deed::Nothing,
        (true, true) => keep_up(facts, order),
        // The one who waits for the script hears how it ended.
        (true, false) if passing.script.is_some() => Deed::Nothing,
        (true, false) if passing.was_ready => Deed::Crashed,
        (true, false) if passing.is_resolving => Deed::Nothing,
        (true, false) if !passing.has_image => Deed::Resolve,
        (true, false) if !facts.is_walled => Deed::Nothing,
        (true, false) => Deed::Begin,
    }
}

fn keep_up(facts: &Facts<'_>, order: &Instance) -> Deed {
    let Facts { record, observed, passing, .. } = facts;
    // Somebody has asked for another start.
    if record.begun != Some(order.start) {
        return Deed::Stop;
    }
    if passing.script.is_some() {
        return Deed::Nothing;
    }
    if record.ready != Some(order.start) {
        // Nobody knows how far the scripts came that a killed agent ran.
        if !passing.has_begun {
            return Deed::Stop;
        }
        if order.creation_script.is_some() && !record.set_up {
            return Deed::SetUp(ScriptLog::Creation);
        }
        if order.startup_script.is_some() && !passing.has_started_up {
            return Deed::SetUp(ScriptLog::Startup);
        }
        return Deed::Ready;
    }
    if !passing.was_ready {
        // One that was already there when the agent came back.
        return Deed::Ready;
    }
    let is_to_sleep = order.run == Run::Frozen && !passing.is_thawed;
    match (observed, is_to_sleep) {
        (Observed::Running, true) => Deed::Freeze,
        (Observed::Frozen, false) => Deed::Thaw,
        _ => Deed::Nothing,
    }
}
