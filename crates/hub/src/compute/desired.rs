//! What somebody has asked of a compute: stored with it, never shown as it is. What the node makes of it is in
//! [`super::status`].

use bastide_arm::resource_type::Document;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a compute is to do, and who wanted that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// Whether it is to run.
    pub run: bool,
    /// Counts how often somebody asked for a start.
    pub start: u64,
    /// How many machines it is: nodes of a cluster, 1 for an instance.
    pub nodes: u32,
    /// What was asked for last.
    pub operation: Operation,
    /// What asked.
    pub trigger: Trigger,
    /// When.
    pub at: Timestamp,
    /// Since when its schedules are as they are.
    pub scheduled: Timestamp,
}

/// What can be asked of a compute, in the words of `lastOperation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// To come into being.
    Create,
    /// To start.
    Start,
    /// To stop.
    Stop,
    /// To stop and start.
    Restart,
    /// To have another size.
    Resize,
}

/// What asks something of a compute, in the words of `lastOperation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Trigger {
    /// Somebody.
    User,
    /// One of its schedules.
    Schedule,
    /// Nobody has used it for long enough.
    IdleShutdown,
}

impl Desired {
    /// Of a compute that is new.
    pub fn new(nodes: u32, now: Timestamp) -> Self {
        Self {
            run: true,
            start: 1,
            nodes,
            operation: Operation::Create,
            trigger: Trigger::User,
            at: now,
            scheduled: now,
        }
    }

    /// Of a compute as stored.
    pub fn of(document: &Document) -> Option<Self> {
        serde_json::from_value(document.properties.get(FIELD)?.clone()).ok()
    }

    /// Puts it where [`Desired::of`] finds it.
    pub fn store(&self, properties: &mut Map<String, Value>) {
        properties.insert(FIELD.to_owned(), json!(self));
    }

    /// The same compute, started by somebody. One that should run is started again, in case it does not.
    #[must_use]
    pub fn started(&self, operation: Operation, trigger: Trigger, now: Timestamp) -> Self {
        Self { run: true, start: self.start.saturating_add(1), operation, trigger, at: now, ..self.clone() }
    }

    /// The same compute, stopped.
    #[must_use]
    pub fn stopped(&self, trigger: Trigger, now: Timestamp) -> Self {
        Self { run: false, operation: Operation::Stop, trigger, at: now, ..self.clone() }
    }

    /// The same cluster with another number of nodes.
    #[must_use]
    pub fn scaled(&self, nodes: u32, trigger: Trigger, now: Timestamp) -> Self {
        Self { nodes, operation: Operation::Resize, trigger, at: now, ..self.clone() }
    }
}

impl Operation {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Start => "Start",
            Self::Stop => "Stop",
            Self::Restart => "Restart",
            Self::Resize => "Resize",
        }
    }
}

/// The property that holds it.
pub(crate) const FIELD: &str = "desired";
