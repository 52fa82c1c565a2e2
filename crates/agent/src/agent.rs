//! The agent: the hubs of a node with their instances, and what is asked about them.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::hub_plan::{ComputeId, HubId, PLAN_VERSION};
use bastide_plan::message::{Answer, Request};
use bastide_plan::way_in::WayIn;
use bastide_plan::{ComputePlan, ComputeReport, HubReport};
use ipnet::Ipv4Net;
use thiserror::Error;

use crate::compute::engine::Engine;
use crate::compute::manager::Computes;
use crate::compute::permits::Permits;
use crate::compute::surroundings::{Pace, Surroundings as ComputeSurroundings};
use crate::compute::walls::Walls;
use crate::compute::way::Way;
use crate::network::firewall::FirewallCommand;
use crate::network::flow_store::{FlowStore, Retention};
use crate::network::host::{Host, HostError};
use crate::network::hub::{Command, Farewell, Reply, Surroundings};
use crate::network::hubs::Hubs;
use crate::network::names::leg_namespace;
use crate::network::namespace;
use crate::state::{State, StateError};

/// What an agent is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory; the agent keeps to `agent/` in it.
    pub data_directory: PathBuf,
    /// The resolver behind the hubs' resolvers. None: the host's.
    pub upstream_dns: Option<SocketAddr>,
    /// Private ranges that count as internet.
    pub internet_ranges: Vec<Ipv4Net>,
    /// How much of what happens at the wall is kept.
    pub flow_retention: Retention,
    /// The program of a hub's firewall and its first arguments; `--control-fd N` is added.
    pub firewall: Vec<String>,
    /// The path of the server's socket, which firewalls carry Bastide's own services to.
    pub server_socket: String,
}

/// The hubs of a node, with their instances.
pub struct Agent {
    state: Arc<State>,
    /// None: the network is simulated, by whoever asks.
    hubs: Option<Hubs>,
    computes: Computes,
    listeners: Arc<Mutex<Vec<Listener>>>,
}

/// Gets every event, [`Answer::Changed`] or [`Answer::ComputeChanged`]; false ends that.
pub type Listener = Box<dyn Fn(&Answer) -> bool + Send>;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The fencing token it showed.
    pub fence: i64,
    /// Whether it is root on this node.
    pub is_root: bool,
}

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Its directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The host's side.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What it remembers of instances, and of what happened.
    #[error("cannot take up what this node has kept: {0}")]
    Kept(#[from] io::Error),
}

impl Agent {
    /// Puts every wall back that was there when the agent last ran, then has run what should, and returns.
    pub fn start(settings: &Settings, engine: Engine) -> Result<Arc<Self>, AgentError> {
        let state = Arc::new(State::open(&settings.data_directory.join("agent"))?);
        let records = state.hubs()?;
        let internet = settings.internet_ranges.clone();
        let host = Arc::new(Host::open(Arc::clone(&state), settings.upstream_dns, internet)?);
        let firewall = FirewallCommand {
            command: settings.firewall.clone(),
            listeners: std::thread::available_parallelism().map_or(1, usize::from).min(MOST_LISTENERS),
            server_socket: settings.server_socket.clone(),
        };
        let walls = Arc::new(Walls::none(|compute| namespace::path(&leg_namespace(compute)).exists()));
        let (listeners, publish) = listeners();
        let surroundings = Surroundings {
            host,
            state: Arc::clone(&state),
            flows: FlowStore::open(&state.flows(), settings.flow_retention)?,
            firewall,
            walls: Arc::clone(&walls),
            publish: Arc::clone(&publish),
        };
        let hubs = Hubs::restore(records, surroundings)?;
        let computes = computes(&state, engine, walls, &settings.data_directory, publish)?;
        Ok(Arc::new(Self { state, hubs: Some(hubs), computes, listeners }))
    }

    /// An agent without a network and without privilege, for a Bastide that only shows how things would be: whoever asks
    /// simulates the networks of hubs, and instances are run by an engine that does not run them.
    pub fn simulated(data_directory: &Path, engine: Engine) -> Result<Arc<Self>, AgentError> {
        let state = Arc::new(State::open(&data_directory.join("simulated"))?);
        let (listeners, publish) = listeners();
        let computes = computes(&state, engine, Arc::new(Walls::Simulated), data_directory, publish)?;
        Ok(Arc::new(Self { state, hubs: None, computes, listeners }))
    }

    /// Whether a server may ask, and what the kernel holds.
    pub fn greet(&self, version: u32, fence: i64) -> Result<Vec<HubReport>, String> {
        same_version(version)?;
        self.state.change_node(|node| node.fence = node.fence.max(fence)).map_err(|error| error.to_string())?;
        Ok(self.hubs.as_ref().map(Hubs::reports).unwrap_or_default())
    }

    /// What every instance does.
    pub fn compute_reports(&self) -> Vec<ComputeReport> {
        self.computes.reports()
    }

    /// Does what is asked, and replies when it is done.
    pub fn handle(&self, peer: Peer, request: Request, reply: Reply) {
        if let Request::Apply { .. } | Request::Run { .. } | Request::Retain { .. } = request
            && let Err(reason) = self.listens_to(peer)
        {
            return reply(Answer::Refused { reason });
        }
        match request {
            Request::Apply { plan } => match (same_version(plan.version), &self.hubs) {
                (Err(reason), _) => reply(Answer::Refused { reason }),
                (Ok(()), Some(hubs)) => hubs.apply(plan, reply),
                (Ok(()), None) => reply(simulated()),
            },
            Request::Run { plan } => reply(self.run(*plan)),
            Request::Retain { hubs } => reply(self.retain(&hubs)),
            Request::Usage { compute } => reply(self.computes.usage(compute)),
            Request::Log { compute, script } => reply(self.computes.log(compute, script)),
            Request::Hello { .. } | Request::Open { .. } | Request::Resize { .. } | Request::Signal { .. } => {
                let reason = "a greeting, and a way into an instance, come first on a connection";
                reply(Answer::Refused { reason: reason.to_owned() });
            }
            Request::Report { hub } => self.pass(hub, reply, Command::Report),
            Request::Explain { hub, question } => self.pass(hub, reply, |reply| Command::Explain(question, reply)),
            Request::Flows { hub, query } => self.pass(hub, reply, |reply| Command::Flows(query, reply)),
            Request::FlowCounts { hub } => reply(match &self.hubs {
                Some(hubs) => Answer::FlowCounts { counts: hubs.flow_counts(hub) },
                None => simulated(),
            }),
            Request::Attach { .. } | Request::Detach { .. } if !peer.is_root => {
                reply(Answer::Refused { reason: "only root on this node may attach and detach legs".to_owned() });
            }
            Request::Attach { hub, name } => self.pass(hub, reply, |reply| Command::Attach(name, reply)),
            Request::Detach { hub, name } => self.pass(hub, reply, |reply| Command::Detach(name, reply)),
        }
    }

    /// Opens a way into an instance, or says why not.
    pub fn open(&self, version: u32, compute: ComputeId, way: &WayIn) -> Result<Way, String> {
        same_version(version)?;
        self.computes.open(compute, way)
    }

    /// Has a listener told of everything that changes from now on.
    pub fn subscribe(&self, listener: Listener) {
        locked(&self.listeners).push(listener);
    }

    /// Ends every instance, then every hub.
    pub fn stop(&self, farewell: Farewell) {
        self.computes.stop(farewell);
        if let Some(hubs) = &self.hubs {
            hubs.stop(farewell);
        }
    }

    fn listens_to(&self, peer: Peer) -> Result<(), String> {
        if peer.fence < self.state.node().fence {
            return Err("another server was started later, and this agent listens to that one".to_owned());
        }
        Ok(())
    }

    fn run(&self, plan: ComputePlan) -> Answer {
        match same_version(plan.version).and_then(|()| self.computes.run(plan)) {
            Ok(()) => Answer::Planned,
            Err(reason) => Answer::Refused { reason },
        }
    }

    /// Instances first: nothing runs where there is no wall.
    fn retain(&self, wanted: &[HubId]) -> Answer {
        let mut remaining = self.computes.retain(wanted);
        if let Some(hubs) = &self.hubs {
            let held: Vec<_> = wanted.iter().chain(&remaining).copied().collect();
            remaining.extend(hubs.retain(&held));
        }
        Answer::Retained { remaining: BTreeSet::into_iter(remaining).collect() }
    }

    fn pass(&self, hub: HubId, reply: Reply, command: impl FnOnce(Reply) -> Command) {
        match &self.hubs {
            Some(hubs) => hubs.pass(hub, reply, command),
            None => reply(simulated()),
        }
    }
}

type Publish = Arc<dyn Fn(Answer) + Send + Sync>;

/// Nobody listens yet.
fn listeners() -> (Arc<Mutex<Vec<Listener>>>, Publish) {
    let listeners: Arc<Mutex<Vec<Listener>>> = Arc::default();
    let told = Arc::clone(&listeners);
    (listeners, Arc::new(move |event| locked(&told).retain(|listener| listener(&event))))
}

fn computes(
    state: &Arc<State>,
    engine: Engine,
    walls: Arc<Walls>,
    data_directory: &Path,
    publish: Publish,
) -> Result<Computes, AgentError> {
    let Engine { runtime, images } = engine;
    let shares = data_directory.join("shares");
    let (starts, pace) = (Permits::new(MOST_STARTS), Pace::REAL);
    let surroundings = ComputeSurroundings { runtime, images, walls, starts, pace, shares, publish };
    Ok(Computes::restore(Arc::clone(state), Arc::new(surroundings))?)
}

fn simulated() -> Answer {
    Answer::Refused { reason: "this agent has no network: it only simulates computes".to_owned() }
}

fn same_version(version: u32) -> Result<(), String> {
    if version == PLAN_VERSION {
        return Ok(());
    }
    Err(format!("this agent speaks version {PLAN_VERSION}, not {version}: run the same Bastide on both sides"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More than this does not make a firewall faster.
const MOST_LISTENERS: usize = 8;

/// How many instances are started at a time: more take longer altogether.
const MOST_STARTS: usize = 8;
