//! The networks of hubs: what was committed becomes a plan, the plan goes to the node, and what the node reports is what a
//! GET answers.
//!
//! Level-triggered: a pass over a hub compares what should be with what is, whatever woke it, and can be lost at any line.
//! A write waits for the pass over its hub, so that the PUT that is answered has also programmed the kernel; when that
//! takes too long, or cannot be done, the answer says so and the passes go on.

mod computes;
mod diagnose;
mod flow_metrics;
mod flow_stream;
mod isolation;
mod link;
mod node;
mod not_in_force;
mod observation;
mod ocsf;
mod outside;
mod placement;
mod planner;
mod query;
mod replay;
mod survey;
mod way;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Observed;
use bastide_hub::plan::Site;
use bastide_inspect::Name;
use bastide_plan::hub_plan::HubId;
use ipnet::Ipv4Net;
use tokio::sync::{Notify, watch};

use crate::origin::Origin;
use crate::pass::WORKSPACE;

pub(crate) use outside::Lookout;
pub(crate) use planner::Planner;
pub(crate) use survey::Survey;
pub(crate) use way::Opened;
pub(crate) use wire::flag;

/// What the operator decides about the networks of hubs.
#[derive(Debug, Clone, Default)]
pub struct NetworkSettings {
    /// What enforces them.
    pub enforcement: Enforcement,
    /// The addresses inside every hub; see [`DEFAULT_SUBNET`].
    pub subnet: Option<Ipv4Net>,
    /// Under which of the server's origins the inside finds it. None: nowhere.
    pub api: Option<Origin>,
    /// Private ranges that count as internet (`--internet-range`), as the agent of the node was told as well.
    pub internet: Vec<Ipv4Net>,
}

/// What enforces the networks of hubs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// Nothing: a server without a node.
    #[default]
    None,
    /// Nothing, on purpose: `--network simulated`. Behind the socket, if there is one, an agent simulates computes.
    Simulated(Option<PathBuf>),
    /// The agent of this node, behind its socket.
    Agent(PathBuf),
}

/// What is known of the networks of hubs, shared by requests and planner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    hubs: Mutex<Hubs>,
    /// Rings when a hub wants a pass.
    work: Notify,
    /// Changes with every pass that ends.
    passes: watch::Sender<u64>,
    computes: computes::Computes,
    node: node::Node,
    streams: query::Streams,
}

#[derive(Debug, Default)]
struct Hubs {
    by_key: BTreeMap<String, Hub>,
    /// Hubs that want a pass.
    wanted: BTreeSet<String>,
    /// Whether somebody wants every hub looked at.
    all_wanted: bool,
}

/// What is known of one hub's network.
#[derive(Debug, Default)]
struct Hub {
    /// Counts what wants a pass.
    wanted: u64,
    /// What the last pass has seen.
    done: u64,
    /// Its incarnation, once a pass has seen it.
    id: Option<HubId>,
    /// What was last seen of it.
    observed: Option<Arc<Observed>>,
}

impl NetworkSettings {
    /// Where hubs stand.
    pub(crate) fn site(&self, zone: &str) -> Site {
        let api = self.api.as_ref().and_then(|origin| Some((Name::parse(origin.host()).ok()?, origin.port())));
        Site { subnet: self.subnet.unwrap_or(DEFAULT_SUBNET), api, zone: zone.to_owned() }
    }
}

impl Networks {
    /// The networks of a server whose node is enforced like this.
    pub(crate) fn new(enforcement: Enforcement) -> Self {
        Self { shared: Arc::new(Shared { node: node::Node::new(enforcement), ..Shared::default() }) }
    }

    /// Something of a hub has changed: the hub itself, a rule, a compute.
    pub(crate) fn touch(&self, id: &ResourceId) {
        let Some(key) = hub_key(id).filter(|_| self.is_planned()) else { return };
        let mut hubs = self.hubs();
        hubs.by_key.entry(key.clone()).or_default().wanted += 1;
        hubs.wanted.insert(key);
        drop(hubs);
        self.shared.work.notify_one();
    }

    /// Something of a hub has changed on its node.
    fn touch_hub(&self, id: HubId) {
        let mut hubs = self.hubs();
        let Some(key) = hubs.by_key.iter().find(|(_, hub)| hub.id == Some(id)).map(|(key, _)| key.clone()) else {
            return;
        };
        hubs.by_key.entry(key.clone()).or_default().wanted += 1;
        hubs.wanted.insert(key);
        drop(hubs);
        self.shared.work.notify_one();
    }

    /// Many things have changed, such as a group that went.
    pub(crate) fn touch_all(&self) {
        self.hubs().all_wanted = true;
        self.shared.work.notify_one();
    }

    /// Waits until the node has been told of what was touched before, and has answered; not for ever.
    pub(crate) async fn settle(&self, id: &ResourceId) {
        let Some(key) = hub_key(id) else { return };
        let mut passes = self.shared.passes.subscribe();
        let Some(wanted) = self.hubs().by_key.get(&key).map(|hub| hub.wanted) else { return };
        let settled = passes.wait_for(|_| self.hubs().by_key.get(&key).is_none_or(|hub| hub.done >= wanted));
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            tracing::warn!(hub = key, "the network of a hub takes its time");
            return;
        }
        // A node that is still at it says so by an event.
        let is_in_force = |hub: &Hub| hub.observed.as_ref().is_none_or(|observed| observed.is_in_force());
        let in_force = passes.wait_for(|_| self.hubs().by_key.get(&key).is_none_or(is_in_force));
        if matches!(self.shared.node, node::Node::Agent(_)) && tokio::time::timeout(GRACE, in_force).await.is_err() {
            tracing::warn!(hub = key, "the network of a hub is not in force");
        }
    }

    /// What was last seen of a resource: of a hub's network, or of a rule of it.
    pub(crate) fn observed(&self, id: &ResourceId) -> Option<Arc<Observed>> {
        let hubs = self.hubs();
        let of_hub = hubs.by_key.get(&hub_key(id)?)?.observed.clone()?;
        if id.types().len() == 1 {
            return Some(of_hub);
        }
        of_hub.parts.get(&id.name().to_ascii_lowercase()).cloned()
    }

    /// Whether there are passes at all.
    pub(crate) fn is_planned(&self) -> bool {
        !matches!(self.shared.node, node::Node::Absent)
    }

    fn hubs(&self) -> MutexGuard<'_, Hubs> {
        self.shared.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of the hub that a resource is, or is part of.
fn hub_key(id: &ResourceId) -> Option<String> {
    let is_workspace = |id: &ResourceId| id.type_name().eq_ignore_ascii_case(WORKSPACE);
    if is_workspace(id) {
        return Some(id.key().to_owned());
    }
    let parent = id.parent()?;
    is_workspace(&parent).then(|| parent.key().to_owned())
}

/// The addresses inside every hub, unless the operator chooses others. Shared address space (RFC 6598) is what a network that
/// hubs are to reach is least likely to use. Hubs may all use the same ones: there is no route between them.
pub const DEFAULT_SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 127, 0, 0), 16);

/// What a node may still need after it has answered.
const GRACE: Duration = Duration::from_secs(2);

/// Longer than any change takes that goes well: provisioning a hub with 1,000 rules is to take less than a second.
const PATIENCE: Duration = Duration::from_secs(10);
