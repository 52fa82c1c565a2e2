//! Questions about a hub's network that only its node can answer.

use std::sync::Arc;

use bastide_arm::id::ResourceId;
use bastide_plan::compute_report::{ScriptLog, Usage};
use bastide_plan::explanation::{Explanation, Question};
use bastide_plan::flow::{FlowCount, FlowQuery, Flows};
use bastide_plan::hub_plan::{ComputeId, HubId};
use bastide_plan::message::{Answer, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::node::{Away, unexpected};
use super::{Networks, hub_key};

impl Networks {
    /// What would happen to a connection from inside a hub.
    pub(crate) async fn explain(&self, hub: &ResourceId, question: Question) -> Result<Explanation, Away> {
        let hub = self.hub_id(hub)?;
        match self.shared.node.ask(Request::Explain { hub, question }).await? {
            Answer::Explained { explanation } => Ok(*explanation),
            other => Err(unexpected(&other)),
        }
    }

    /// What happened at the wall of a hub.
    pub(crate) async fn flows(&self, hub: &ResourceId, query: FlowQuery) -> Result<Flows, Away> {
        let hub = self.hub_id(hub)?;
        match self.shared.node.ask(Request::Flows { hub, query }).await? {
            Answer::Flows { flows } => Ok(flows),
            other => Err(unexpected(&other)),
        }
    }

    /// How often each rule of a hub has decided something.
    pub(super) async fn flow_counts(&self, hub: &ResourceId) -> Result<Vec<FlowCount>, Away> {
        let hub = self.hub_id(hub)?;
        match self.shared.node.ask(Request::FlowCounts { hub }).await? {
            Answer::FlowCounts { counts } => Ok(counts),
            other => Err(unexpected(&other)),
        }
    }

    /// A place among those who may follow flow logs at once; free again when it is dropped.
    pub(super) fn stream_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.streams.0).try_acquire_owned().ok()
    }

    /// What an instance has used.
    pub(crate) async fn usage(&self, compute: ComputeId) -> Result<Usage, Away> {
        match self.shared.node.ask(Request::Usage { compute }).await? {
            Answer::Used { usage } => Ok(usage),
            other => Err(unexpected(&other)),
        }
    }

    /// What a setup script of an instance has printed.
    pub(crate) async fn script_log(&self, compute: ComputeId, script: ScriptLog) -> Result<String, Away> {
        match self.shared.node.ask(Request::Log { compute, script }).await? {
            Answer::Logged { text } => Ok(text),
            other => Err(unexpected(&other)),
        }
    }

    fn hub_id(&self, id: &ResourceId) -> Result<HubId, Away> {
        let known = hub_key(id).and_then(|key| self.hubs().by_key.get(&key)?.id);
        known.ok_or_else(|| {
            Away::Refused(format!(
                "The network of '{}' is not provisioned yet. Provision it (az ml workspace provision-network), or create a \
                 compute.",
                id.name()
            ))
        })
    }
}

/// Places for those who follow flow logs.
#[derive(Debug)]
pub(super) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_STREAMS)))
    }
}

/// Each asks the agent twice a second.
const MOST_STREAMS: usize = 64;
