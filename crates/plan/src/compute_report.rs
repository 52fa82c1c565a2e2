//! What runs on a node, as the agent sees it.

use serde::{Deserialize, Serialize};

use crate::hub_plan::{ComputeId, HubId};

/// The state of one instance. What the wire says of a compute comes from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputeReport {
    /// Whose it is.
    pub hub: HubId,
    /// Which one.
    pub compute: ComputeId,
    /// The [`crate::compute_plan::Instance::start`] that this state is about.
    pub start: u64,
    /// What it does.
    pub state: ComputeState,
    /// Digest of the image it was made of, once that is known.
    pub image: Option<String>,
    /// When this was so, in milliseconds since 1970.
    pub at: i64,
}

/// What an instance does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ComputeState {
    /// It is being made ready: its image, its wall, its disk.
    Preparing {
        /// What is waited for, `making the base image, 40 %`.
        what: String,
    },
    /// A script runs in it; nobody else may yet.
    SettingUp,
    /// It runs, and what confines it was read back from the kernel.
    Running,
    /// It runs without a processor's time.
    Frozen,
    /// Its disk is kept, and nothing runs.
    Stopped,
    /// It does not run although it should, and is not tried again before somebody asks.
    Failed {
        /// What did not succeed.
        step: Step,
        /// Why, and what to do about it.
        reason: String,
    },
    /// There is nothing of it on this node any more. Said once, when what a plan left out has been removed; never in a
    /// greeting.
    Gone,
    /// Nothing runs and nothing is confined: the network is simulated, and so are computes.
    Simulated {
        /// What it would do.
        running: bool,
    },
}

/// What an instance failed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Its image or its disk.
    Create,
    /// Its start, or that what confines it is as ordered.
    Start,
    /// Its creation or startup script.
    SetUp,
    /// It ended by itself.
    Run,
}

/// What an instance has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Usage {
    /// Processor time since its start, in microseconds.
    pub cpu: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes written to its disk.
    pub disk: u64,
}

/// A script whose output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ScriptLog {
    /// [`crate::compute_plan::Instance::creation_script`].
    Creation,
    /// [`crate::compute_plan::Instance::startup_script`].
    Startup,
}
