//! What the wire says about running: made of what was asked for and of what the node reports, and of nothing else.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Observed, Progress};
use bastide_plan::compute_report::{ComputeReport, ComputeState, Step};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desired, Kind, Operation, Trigger, nodes_of};

/// How a compute stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Its state in the words of the wire.
    pub state: &'static str,
    /// `provisioningState`.
    pub provisioning: &'static str,
    /// Why it is not as it should be.
    pub error: Option<ArmError>,
    /// When the node said so.
    pub changed: Option<Timestamp>,
    /// What it runs as: itself, or the nodes of a cluster.
    pub nodes: Vec<NodeStatus>,
    /// What enforces it.
    by: &'static str,
    /// Why nothing can be said, or a word on what is waited for.
    reason: Option<String>,
    is_frozen: bool,
}

/// How one machine stands.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// Its address in the hub.
    pub address: Option<String>,
    /// Digest of its image.
    pub image: Option<String>,
    phase: Phase,
    changed: Option<Timestamp>,
}

/// Where a machine is on its way.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Not yet what was asked for; perhaps with a word on what is waited for.
    OnItsWay { what: Option<String>, is_setting_up: bool },
    /// It runs.
    Running { is_frozen: bool },
    /// It does not run, as asked for.
    Stopped,
    /// It is not what was asked for, and will not be by itself.
    Failed { step: Step, reason: String },
    /// Nothing is known of it, or nothing runs it.
    Unknown,
}

/// What an observation adds to the report of a machine.
const ADDRESS: &str = "address";
const REPORT: &str = "report";

/// The observation of a machine, in the form that [`of`] reads.
pub fn observed(by: &'static str, address: Option<String>, report: Option<&ComputeReport>) -> Observed {
    Observed { detail: json!({ADDRESS: address, REPORT: report}), ..Observed::new(by, None) }
}

/// How a compute stands, from what was asked for and what was seen.
pub fn of(kind: Kind, incarnation: Uuid, desired: &Desired, observed: Option<&Observed>) -> Status {
    let by = observed.map_or("none", |observed| observed.by);
    let why_not = observed.map_or_else(|| Some(NOBODY.to_owned()), |observed| observed.why_not.clone());
    let nodes: Vec<NodeStatus> = nodes_of(kind, incarnation, desired.nodes)
        .map(|node| {
            let part = observed.and_then(|observed| observed.parts.get(&node.to_string()));
            NodeStatus::read(desired, part.map(AsRef::as_ref), why_not.is_some())
        })
        .collect();
    let changed = nodes.iter().filter_map(|node| node.changed).max();
    let mut status = Status {
        state: "Unknown",
        provisioning: "Unknown",
        error: None,
        changed,
        nodes,
        by,
        reason: why_not,
        is_frozen: false,
    };
    match by {
        "kernel" => status.read(desired),
        // Nothing runs, so nothing is said to; what was asked for is taken note of.
        "simulated" => {
            status.provisioning = "Succeeded";
            status.state = if desired.run { "Unknown" } else { "Stopped" };
        }
        _ => {
            status.provisioning = "Failed";
            let reason = status.reason.clone().unwrap_or_default();
            status.error = Some(ArmError::new(409, "NoNode", reason));
        }
    }
    status
}

impl Status {
    fn read(&mut self, desired: &Desired) {
        let phase =
            |wanted: fn(&Phase) -> bool| self.nodes.iter().map(|node| &node.phase).find(|phase| wanted(phase)).cloned();
        if self.reason.is_some() {
            return;
        }
        if let Some(Phase::Failed { step, reason }) = phase(|phase| matches!(phase, Phase::Failed { .. })) {
            self.provisioning = "Failed";
            self.state = match (step, desired.operation) {
                (Step::SetUp, _) => "SetupFailed",
                (Step::Create | Step::Start, Operation::Create) | (Step::Create, _) => "CreateFailed",
                _ => "Unusable",
            };
            self.error = Some(ArmError::new(409, code_of(step), reason));
        } else if let Some(Phase::OnItsWay { what, is_setting_up }) =
            phase(|phase| matches!(phase, Phase::OnItsWay { .. }))
        {
            self.provisioning = if desired.operation == Operation::Create { "Creating" } else { "Updating" };
            self.state = match desired.operation {
                _ if is_setting_up => "SettingUp",
                Operation::Create => "Creating",
                Operation::Start => "Starting",
                Operation::Stop => "Stopping",
                Operation::Restart => "Restarting",
                Operation::Resize => "Resizing",
            };
            self.reason = what;
        } else if phase(|phase| *phase == Phase::Unknown).is_none() {
            self.provisioning = "Succeeded";
            self.state = if desired.run { "Running" } else { "Stopped" };
            self.is_frozen = phase(|phase| *phase == Phase::Running { is_frozen: true }).is_some();
        }
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Progress {
        match (&self.error, self.provisioning) {
            (Some(error), _) => Progress::Failed(error.clone()),
            (None, "Succeeded") => Progress::Done,
            _ => Progress::Running,
        }
    }

    /// Whether it runs, and since when.
    pub fn running_since(&self) -> Option<Timestamp> {
        self.changed.filter(|_| self.state == "Running")
    }

    /// What was asked of it last and what became of that.
    pub(super) fn last_operation(&self, desired: &Desired) -> Value {
        let name = desired.operation.as_str();
        let status = match self.progress() {
            Progress::Running => "InProgress".to_owned(),
            Progress::Done => "Succeeded".to_owned(),
            Progress::Failed(_) => format!("{name}Failed"),
        };
        let trigger = match desired.trigger {
            Trigger::User => "User",
            Trigger::Schedule => "Schedule",
            Trigger::IdleShutdown => "IdleShutdown",
        };
        json!({
            "operationName": name,
            "operationTime": desired.at.to_string(),
            "operationStatus": status,
            "operationTrigger": trigger,
        })
    }

    /// What Bastide says of itself beside it.
    pub(super) fn of_enforcement(&self) -> Value {
        let mut bastide = json!({"enforcement": self.by});
        if let Some(fields) = bastide.as_object_mut() {
            fields.extend(self.reason.iter().map(|reason| ("reason".to_owned(), reason.clone().into())));
            if self.is_frozen {
                fields.insert("frozen".to_owned(), true.into());
            }
        }
        bastide
    }
}

impl NodeStatus {
    fn read(desired: &Desired, observed: Option<&Observed>, is_unknown: bool) -> Self {
        let detail = observed.map(|observed| &observed.detail);
        let address = detail.and_then(|detail| detail.get(ADDRESS)?.as_str()).map(str::to_owned);
        let report =
            detail.and_then(|detail| serde_json::from_value::<ComputeReport>(detail.get(REPORT)?.clone()).ok());
        let waiting = Phase::OnItsWay { what: None, is_setting_up: false };
        let why_not = observed.and_then(|observed| observed.why_not.clone());
        let phase = match &report {
            _ if is_unknown => Phase::Unknown,
            None if let Some(reason) = why_not => Phase::Failed { step: Step::Create, reason },
            None => waiting,
            // What is said about an earlier start says nothing about this one.
            Some(report) if report.start < desired.start => waiting,
            Some(report) => match (&report.state, desired.run) {
                (ComputeState::Running, true) => Phase::Running { is_frozen: false },
                (ComputeState::Frozen, true) => Phase::Running { is_frozen: true },
                // What has failed does not run either.
                (ComputeState::Stopped | ComputeState::Gone | ComputeState::Failed { .. }, false) => Phase::Stopped,
                (ComputeState::Failed { step, reason }, true) => Phase::Failed { step: *step, reason: reason.clone() },
                (ComputeState::Preparing { what }, true) => {
                    Phase::OnItsWay { what: Some(what.clone()), is_setting_up: false }
                }
                (ComputeState::SettingUp, true) => Phase::OnItsWay { what: None, is_setting_up: true },
                (ComputeState::Simulated { .. }, _) => Phase::Unknown,
                _ => waiting,
            },
        };
        let changed = report.as_ref().and_then(|report| Timestamp::from_millisecond(report.at).ok());
        Self { address, image: report.and_then(|report| report.image), phase, changed }
    }

    /// Its state among the nodes of a cluster. Nothing hands out work to nodes, so one that runs is idle.
    pub(super) fn node_state(&self) -> &'static str {
        match self.phase {
            Phase::Running { .. } => "idle",
            Phase::OnItsWay { .. } => "preparing",
            Phase::Stopped => "leaving",
            Phase::Failed { .. } | Phase::Unknown => "unusable",
        }
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Whether it is where it is to stay.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.phase, Phase::OnItsWay { .. })
    }
}

fn code_of(step: Step) -> &'static str {
    match step {
        Step::Create => "ComputeCreateFailed",
        Step::Start => "ComputeStartFailed",
        Step::SetUp => "ComputeSetupFailed",
        Step::Run => "ComputeEnded",
    }
}

const NOBODY: &str = "No agent has reported on this compute, so nothing runs.";
