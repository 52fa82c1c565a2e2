//! What stands behind the networks of hubs: an agent, a simulation, or nothing.

use std::collections::BTreeMap;
use std::path::Path;

use bastide_plan::HubReport;
use bastide_plan::hub_plan::HubPlan;
use bastide_plan::message::{Answer, Request};
use bastide_plan::report::WallState;
use jiff::Timestamp;

use super::Enforcement;
use super::link::Link;

/// A node.
#[derive(Debug, Default)]
pub(super) enum Node {
    /// None.
    #[default]
    Absent,
    /// One that enforces nothing and says so; with an agent that runs nothing and says so.
    Simulated(Option<Link>),
    /// The agent of this machine.
    Agent(Link),
}

/// A question that got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Away {
    /// There is no agent.
    #[error("No agent has reported on the network of this hub, so nothing enforces this yet.")]
    Absent,
    /// The network is simulated.
    #[error("This Bastide runs with --network simulated: nothing is enforced.")]
    Simulated,
    /// The agent does not answer.
    #[error(
        "The agent of this node does not answer ({0}). The kernel keeps what it was told last; changes wait until the agent \
         is back."
    )]
    Silent(String),
    /// The agent cannot do it.
    #[error("{0}")]
    Refused(String),
}

impl Node {
    pub(super) fn new(enforcement: Enforcement) -> Self {
        match enforcement {
            Enforcement::None => Self::Absent,
            Enforcement::Simulated(socket) => Self::Simulated(socket.map(Link::new)),
            Enforcement::Agent(socket) => Self::Agent(Link::new(socket)),
        }
    }

    /// Where an agent listens; who has none says so.
    pub(super) fn socket(&self) -> Result<&Path, Away> {
        match self {
            Self::Absent => Err(Away::Absent),
            Self::Simulated(link) => link.as_ref().map(Link::socket).ok_or(Away::Simulated),
            Self::Agent(link) => Ok(link.socket()),
        }
    }

    /// The connection to an agent, of whichever kind.
    pub(super) fn link(&self) -> Option<&Link> {
        match self {
            Self::Absent => None,
            Self::Simulated(link) => link.as_ref(),
            Self::Agent(link) => Some(link),
        }
    }

    /// What enforces, in the word that answers carry.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Absent => "none",
            Self::Simulated(_) => "simulated",
            Self::Agent(_) => "kernel",
        }
    }

    /// Makes the node match a plan.
    pub(super) async fn apply(&self, plan: &HubPlan) -> Result<HubReport, Away> {
        match self {
            Self::Absent => Err(Away::Absent),
            Self::Simulated(_) => Ok(HubReport {
                hub: plan.hub,
                stamp: Some(plan.stamp),
                wall: WallState::Simulated,
                rules: BTreeMap::new(),
                repairs: 0,
                obstacles: Vec::new(),
                at: Timestamp::now().as_millisecond(),
            }),
            Self::Agent(link) => match link.ask(Request::Apply { plan: Box::new(plan.clone()) }).await? {
                Answer::Changed { report } => Ok(*report),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// Asks an agent; who has none says so.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, Away> {
        match self {
            Self::Absent => Err(Away::Absent),
            Self::Simulated(Some(link)) if is_about_computes(&request) => link.ask(request).await,
            Self::Simulated(_) => Err(Away::Simulated),
            Self::Agent(link) => link.ask(request).await,
        }
    }
}

/// Whether an agent without a network can be asked.
fn is_about_computes(request: &Request) -> bool {
    matches!(request, Request::Run { .. } | Request::Retain { .. } | Request::Usage { .. } | Request::Log { .. })
}

pub(super) fn unexpected(answer: &Answer) -> Away {
    tracing::error!(?answer, "an agent answered another question");
    Away::Silent("it answered another question".to_owned())
}
