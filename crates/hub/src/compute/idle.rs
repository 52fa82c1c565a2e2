//! When nobody uses a compute any more.

use std::time::Duration;

use bastide_arm::resource_type::Document;
use jiff::{SignedDuration, Timestamp};

use super::cluster::Scale;
use super::instance::{self, Extension};
use super::schedule::{self, Schedule, StartStop};
use super::{AT, Desired, Kind, Trigger, inner};

/// What a compute wants to happen when nobody uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    /// It stops after so long.
    pub stop: Option<Duration>,
    /// It gets no processor's time after so long.
    pub freeze: Option<Duration>,
    /// Nodes beyond the fewest go after so long.
    pub shrink: Option<(Duration, u32)>,
}

/// What is to be done with a compute that nobody has asked anything of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// It is to do something else.
    Change(Desired),
    /// It is to have no processor's time.
    Freeze,
    /// Nothing.
    Nothing,
}

impl Patience {
    /// Of a compute as stored.
    pub fn of(document: &Document) -> Self {
        let (Some(kind), Some(inner)) = (Kind::of(document), inner(document)) else { return Self::default() };
        match kind {
            Kind::Instance => Self {
                stop: instance::idle_time(inner).ok().flatten(),
                freeze: Extension::read(inner).ok().and_then(|extension| extension.freeze_after),
                shrink: None,
            },
            Kind::Cluster => {
                Self { shrink: Scale::read(inner).ok().map(|scale| (scale.idle, scale.least)), ..Self::default() }
            }
        }
    }

    /// Whether anybody has to look at whether it is used.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// Whether a compute has schedules.
pub fn has_schedules(document: &Document) -> bool {
    inner(document).is_some_and(|inner| !Schedule::all(inner, AT).unwrap_or_default().is_empty())
}

/// What time and idleness want of a compute. `used` is when somebody has used it last, as far as is known; `None` while that
/// does not matter, because it does not run or is in use.
pub fn due(document: &Document, used: Option<Timestamp>, now: Timestamp) -> Due {
    let (Some(desired), Some(inner)) = (Desired::of(document), inner(document)) else { return Due::Nothing };
    let schedules = Schedule::all(inner, AT).unwrap_or_default();
    match schedule::due(&schedules, desired.at, desired.scheduled, now) {
        Some(StartStop::Start) if !desired.run => {
            return Due::Change(desired.started(super::Operation::Start, Trigger::Schedule, now));
        }
        Some(StartStop::Stop) if desired.run => return Due::Change(desired.stopped(Trigger::Schedule, now)),
        _ => {}
    }
    let Some(used) = used.filter(|_| desired.run) else { return Due::Nothing };
    let idle = now.duration_since(used.max(desired.at));
    let is_over = |patience: Duration| SignedDuration::try_from(patience).is_ok_and(|patience| idle >= patience);
    let patience = Patience::of(document);
    if patience.stop.is_some_and(is_over) {
        return Due::Change(desired.stopped(Trigger::IdleShutdown, now));
    }
    if let Some((_, least)) = patience.shrink.filter(|(idle, least)| desired.nodes > *least && is_over(*idle)) {
        return Due::Change(desired.scaled(least, Trigger::IdleShutdown, now));
    }
    if patience.freeze.is_some_and(is_over) { Due::Freeze } else { Due::Nothing }
}
