//! The agent: the hubs of a node, and what is asked about them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::HubPlan;
use bastide_plan::hub_plan::{ComputeId, HubId, PLAN_VERSION};
use bastide_plan::message::{Answer, Request};
use bastide_plan::way_in::WayIn;
use ipnet::Ipv4Net;
use thiserror::Error;

use crate::compute::runtime::RuntimeError;
use crate::compute::way::Way;
use crate::network::firewall::FirewallCommand;
use crate::network::host::{Host, HostError, obstacles};
use crate::network::hub::{Command, Farewell, Hub, Reply, Surroundings, unknown};
use crate::state::{HubRecord, State, StateError};

/// What an agent is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory; the agent keeps to `agent/` in it.
    pub data_directory: PathBuf,
    /// The resolver behind the hubs' resolvers. None: the host's.
    pub upstream_dns: Option<SocketAddr>,
    /// Private ranges that count as internet.
    pub internet_ranges: Vec<Ipv4Net>,
    /// The program of a hub's firewall and its first arguments; `--control-fd N` is added.
    pub firewall: Vec<String>,
    /// The path of the server's socket, which firewalls carry Bastide's own services to.
    pub server_socket: String,
}

/// The hubs of a node.
pub struct Agent {
    state: Arc<State>,
    host: Arc<Host>,
    surroundings: Surroundings,
    hubs: Mutex<BTreeMap<HubId, Hub>>,
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
}

impl Agent {
    /// Puts every wall back that was there when the agent last ran, and only then returns.
    pub fn start(settings: &Settings) -> Result<Arc<Self>, AgentError> {
        let state = Arc::new(State::open(&settings.data_directory.join("agent"))?);
        let records = state.hubs()?;
        let internet = settings.internet_ranges.clone();
        let host = Arc::new(Host::open(Arc::clone(&state), settings.upstream_dns, internet)?);
        let listeners: Arc<Mutex<Vec<Listener>>> = Arc::default();
        let publish = {
            let listeners = Arc::clone(&listeners);
            move |event: Answer| locked(&listeners).retain(|listener| listener(&event))
        };
        let firewall = FirewallCommand {
            command: settings.firewall.clone(),
            listeners: std::thread::available_parallelism().map_or(1, usize::from).min(MOST_LISTENERS),
            server_socket: settings.server_socket.clone(),
        };
        let surroundings =
            Surroundings { host: Arc::clone(&host), state: Arc::clone(&state), firewall, publish: Arc::new(publish) };
        let agent = Arc::new(Self { state, host, surroundings, hubs: Mutex::default(), listeners });
        agent.restore(records);
        for obstacle in obstacles() {
            tracing::warn!("{obstacle}");
        }
        let watching = Arc::downgrade(&agent);
        Arc::clone(&agent.host).watch(move || {
            let Some(agent) = watching.upgrade() else { return false };
            for hub in locked(&agent.hubs).values() {
                hub.tell(Command::HostChanged);
            }
            true
        })?;
        Ok(agent)
    }

    /// Does what is asked, and replies when it is done.
    pub fn handle(&self, peer: Peer, request: Request, reply: Reply) {
        match request {
            Request::Hello { version, fence } => reply(self.hello(version, fence)),
            Request::Apply { plan } => match self.listens_to(peer) {
                Ok(()) => self.apply(plan, reply),
                Err(reason) => reply(Answer::Refused { reason }),
            },
            Request::Retain { hubs } => match self.listens_to(peer) {
                Ok(()) => reply(self.retain(&hubs)),
                Err(reason) => reply(Answer::Refused { reason }),
            },
            Request::Run { .. } | Request::Usage { .. } | Request::Log { .. } => {
                reply(Answer::Refused { reason: "this agent runs no instances".to_owned() });
            }
            Request::Open { .. } | Request::Resize { .. } | Request::Signal { .. } => {
                let reason = "a way into an instance has a connection to itself, on which it comes first";
                reply(Answer::Refused { reason: reason.to_owned() });
            }
            Request::Report { hub } => self.pass(hub, reply, Command::Report),
            Request::Explain { hub, question } => self.pass(hub, reply, |reply| Command::Explain(question, reply)),
            Request::Flows { hub, query } => self.pass(hub, reply, |reply| Command::Flows(query, reply)),
            Request::Attach { .. } | Request::Detach { .. } if !peer.is_root => {
                reply(Answer::Refused { reason: "only root on this node may attach and detach legs".to_owned() });
            }
            Request::Attach { hub, name } => self.pass(hub, reply, |reply| Command::Attach(name, reply)),
            Request::Detach { hub, name } => self.pass(hub, reply, |reply| Command::Detach(name, reply)),
        }
    }

    /// Opens a way into an instance, or says why not.
    pub fn open(&self, version: u32, compute: ComputeId, _way: &WayIn) -> Result<Way, String> {
        same_version(version)?;
        Err(RuntimeError::Unknown(compute).to_string())
    }

    /// Has a listener told of everything that changes from now on.
    pub fn subscribe(&self, listener: Listener) {
        locked(&self.listeners).push(listener);
    }

    /// Ends every hub.
    pub fn stop(&self, farewell: Farewell) {
        let hubs = std::mem::take(&mut *locked(&self.hubs));
        std::thread::scope(|scope| {
            for (_, hub) in hubs {
                scope.spawn(|| hub.stop(farewell));
            }
        });
    }

    fn restore(&self, records: Vec<HubRecord>) {
        let (done, wait) = channel();
        let mut hubs = locked(&self.hubs);
        for record in records {
            let done = done.clone();
            let ready = move || done.send(()).unwrap_or_default();
            hubs.insert(record.plan.hub, Hub::start(record, self.surroundings.clone(), ready));
        }
        drop(done);
        // Ends when the last hub is ready.
        wait.iter().for_each(drop);
    }

    fn hello(&self, version: u32, fence: i64) -> Answer {
        if let Err(reason) = same_version(version) {
            return Answer::Refused { reason };
        }
        if let Err(error) = self.state.change_node(|node| node.fence = node.fence.max(fence)) {
            return Answer::Refused { reason: error.to_string() };
        }
        let (sender, receiver) = channel();
        for hub in locked(&self.hubs).values() {
            let sender = sender.clone();
            hub.tell(Command::Report(Box::new(move |answer| drop(sender.send(answer)))));
        }
        drop(sender);
        let reports = receiver.into_iter().filter_map(|answer| match answer {
            Answer::Changed { report } => Some(*report),
            _ => None,
        });
        let mut hubs: Vec<_> = reports.collect();
        hubs.sort_by_key(|report| report.hub);
        Answer::Welcome { version: PLAN_VERSION, hubs, computes: Vec::new() }
    }

    fn listens_to(&self, peer: Peer) -> Result<(), String> {
        if peer.fence < self.state.node().fence {
            return Err("another server was started later, and this agent listens to that one".to_owned());
        }
        Ok(())
    }

    fn apply(&self, plan: Box<HubPlan>, reply: Reply) {
        if let Err(reason) = check(&plan) {
            return reply(Answer::Refused { reason });
        }
        let mut hubs = locked(&self.hubs);
        if let Some(hub) = hubs.get(&plan.hub) {
            hub.tell(Command::Apply(plan, reply));
            return;
        }
        let taken = match self.state.hubs() {
            Ok(records) => records.iter().map(|record| record.slot).collect::<BTreeSet<_>>(),
            Err(error) => return reply(Answer::Refused { reason: error.to_string() }),
        };
        let Some(slot) = self.host.free_slot(&taken) else {
            return reply(Answer::Refused { reason: "this node has no room for another hub".to_owned() });
        };
        let record = HubRecord { plan: (*plan).clone(), slot, attached: Vec::new() };
        // On disk before anything is in the kernel: nothing is made that the next start would not know of, and no other
        // hub is given the same place.
        if let Err(error) = self.state.keep(&record) {
            return reply(Answer::Refused { reason: error.to_string() });
        }
        let hub = Hub::start(record, self.surroundings.clone(), || {});
        let id = plan.hub;
        hub.tell(Command::Apply(plan, reply));
        hubs.insert(id, hub);
    }

    fn retain(&self, wanted: &[HubId]) -> Answer {
        let gone: Vec<_> = {
            let mut hubs = locked(&self.hubs);
            let gone: Vec<_> = hubs.keys().filter(|hub| !wanted.contains(hub)).copied().collect();
            gone.iter().filter_map(|hub| Some((*hub, hubs.remove(hub)?))).collect()
        };
        std::thread::scope(|scope| {
            for (_, hub) in gone {
                scope.spawn(|| hub.stop(Farewell::Forget));
            }
        });
        // What could not be taken down is still on disk; it is started again, so that its wall stands until it is gone.
        let records = self.state.hubs().unwrap_or_default();
        let remaining = records.into_iter().filter(|record| !wanted.contains(&record.plan.hub));
        let remaining: Vec<_> = remaining.collect();
        let mut hubs = locked(&self.hubs);
        for record in &remaining {
            let start = || Hub::start(record.clone(), self.surroundings.clone(), || {});
            hubs.entry(record.plan.hub).or_insert_with(start);
        }
        Answer::Retained { remaining: remaining.iter().map(|record| record.plan.hub).collect() }
    }

    fn pass(&self, hub: HubId, reply: Reply, command: impl FnOnce(Reply) -> Command) {
        match locked(&self.hubs).get(&hub) {
            Some(found) => drop(found.tell(command(reply))),
            None => reply(unknown(hub)),
        }
    }
}

fn same_version(version: u32) -> Result<(), String> {
    if version == PLAN_VERSION {
        return Ok(());
    }
    Err(format!("this agent speaks version {PLAN_VERSION}, not {version}: run the same Bastide on both sides"))
}

/// Whether a plan is one that a kernel can be made to match. The server makes no other; this is where that ends being a
/// promise.
fn check(plan: &HubPlan) -> Result<(), String> {
    same_version(plan.version)?;
    if plan.subnet.prefix_len() > SMALLEST_SUBNET {
        return Err(format!("the subnet {} is smaller than a /{SMALLEST_SUBNET}", plan.subnet));
    }
    let mut addresses = BTreeSet::from([plan.gateway()]);
    let mut computes = BTreeSet::new();
    let mut claim = |what: String, address: Ipv4Addr| {
        let is_host =
            plan.subnet.contains(&address) && address != plan.subnet.network() && address != plan.subnet.broadcast();
        if !is_host {
            return Err(format!("{what} has the address {address}, which is not one of {}", plan.subnet));
        }
        if addresses.insert(address) { Ok(()) } else { Err(format!("{what} has an address that is taken: {address}")) }
    };
    for leg in &plan.legs {
        claim(format!("compute '{}'", leg.name), leg.address)?;
        if !computes.insert(leg.compute) {
            return Err(format!("compute '{}' has two legs", leg.name));
        }
    }
    for endpoint in &plan.endpoints {
        claim(format!("endpoint '{}'", endpoint.rule), endpoint.address)?;
    }
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gateway, one leg, network and broadcast.
const SMALLEST_SUBNET: u8 = 30;

/// More than this does not make a firewall faster.
const MOST_LISTENERS: usize = 8;
