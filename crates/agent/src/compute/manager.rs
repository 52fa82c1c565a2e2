//! The instances of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bastide_plan::ComputePlan;
use bastide_plan::compute_plan::Instance;
use bastide_plan::compute_report::{ComputeReport, ComputeState, ScriptLog};
use bastide_plan::hub_plan::{ComputeId, HubId};
use bastide_plan::message::Answer;
use bastide_plan::way_in::WayIn;

use super::check::check;
use super::keeper::{Command, End, Keeper, thread_name};
use super::metadata::MetadataSockets;
use super::record::{Folder, Record, Users};
use super::runtime::{RuntimeError, Target};
use super::script;
use super::surroundings::Surroundings;
use super::way::Way;
use crate::network::hub::Farewell;
use crate::state::State;

/// Every instance of this node, each kept by a thread of its own.
#[derive(Clone)]
pub struct Computes(Arc<Shared>);

struct Shared {
    state: Arc<State>,
    surroundings: Arc<Surroundings>,
    metadata: MetadataSockets,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    plans: BTreeMap<HubId, ComputePlan>,
    instances: BTreeMap<ComputeId, Handle>,
    /// The agent ends: nothing is started any more.
    is_over: bool,
}

struct Handle {
    hub: HubId,
    users: Users,
    /// Whether its thread was told anything yet, and what last.
    is_told: bool,
    order: Option<Box<Instance>>,
    sender: Sender<Command>,
    published: Arc<Mutex<Option<ComputeReport>>>,
    thread: Option<JoinHandle<()>>,
}

impl Computes {
    /// Takes up what the agent kept when it last ran: what runs is adopted, what should run is started behind its wall, and
    /// what nobody wants any more is removed.
    pub fn restore(state: Arc<State>, surroundings: Arc<Surroundings>) -> io::Result<Self> {
        let plans = state.computes().map_err(io::Error::other)?;
        let records = Folder::all(&state.instances())?;
        let computes = Self(Arc::new(Shared {
            state,
            surroundings,
            metadata: MetadataSockets::default(),
            held: Mutex::default(),
        }));
        computes.remove_strays(&records.iter().map(|(_, record)| record.compute).collect());
        let mut held = computes.held();
        held.plans = plans.into_iter().map(|plan| (plan.hub, plan)).collect();
        for (folder, record) in records {
            computes.keep(&mut held, record, folder);
        }
        computes.order_all(&mut held);
        drop(held);
        Ok(computes)
    }

    /// Makes the instances of a hub match a plan. It is on disk when this returns; the rest is told by events.
    pub fn run(&self, plan: ComputePlan) -> Result<(), String> {
        check(&plan)?;
        let mut held = self.held();
        if held.plans.get(&plan.hub).is_some_and(|before| plan.stamp < before.stamp) {
            return Err("the plan is older than the one in force: plan again from the latest revision".to_owned());
        }
        let stranger = plan
            .instances
            .iter()
            .find(|instance| held.instances.get(&instance.compute).is_some_and(|handle| handle.hub != plan.hub));
        if let Some(stranger) = stranger {
            return Err(format!("compute '{}' belongs to another hub", stranger.name));
        }
        if held.plans.get(&plan.hub) == Some(&plan) {
            return Ok(());
        }
        self.0.state.keep_computes(&plan).map_err(|error| error.to_string())?;
        held.plans.insert(plan.hub, plan);
        self.order_all(&mut held);
        Ok(())
    }

    /// Removes the instances of all hubs but these, and gives the hubs of which some are still there after a while.
    pub fn retain(&self, hubs: &[HubId]) -> BTreeSet<HubId> {
        let mut held = self.held();
        let gone: Vec<_> = held.plans.keys().filter(|hub| !hubs.contains(hub)).copied().collect();
        for hub in gone {
            held.plans.remove(&hub);
            self.0.state.forget_computes(hub);
        }
        self.order_all(&mut held);
        drop(held);
        let until = Instant::now() + DELETION;
        loop {
            let others =
                self.held().instances.values().map(|handle| handle.hub).filter(|hub| !hubs.contains(hub)).collect();
            if BTreeSet::is_empty(&others) || Instant::now() > until {
                return others;
            }
            std::thread::sleep(DELETION_WATCH);
        }
    }

    /// What every instance does.
    pub fn reports(&self) -> Vec<ComputeReport> {
        let held = self.held();
        held.instances.values().filter_map(|handle| locked(&handle.published).clone()).collect()
    }

    /// Opens a way into an instance.
    pub fn open(&self, compute: ComputeId, way: &WayIn) -> Result<Way, String> {
        let runtime = &self.0.surroundings.runtime;
        let text = |error: RuntimeError| error.to_string();
        let hub = self.held().instances.get(&compute).map(|handle| handle.hub);
        let hub = hub.ok_or_else(|| text(RuntimeError::Unknown(compute)))?;
        let target = match way {
            WayIn::Metadata => {
                if self.0.surroundings.walls.behind(hub, compute).is_none() {
                    return Err("the compute has no network yet. Try again".to_owned());
                }
                return self.0.metadata.open(compute).map_err(|error| error.to_string());
            }
            WayIn::Process(process) => {
                self.enter(compute)?;
                return match runtime.exec(compute, process) {
                    Err(RuntimeError::NotRunnable { status, reason }) => {
                        Way::over(status, &reason, process.terminal.is_some()).map_err(|error| error.to_string())
                    }
                    outcome => outcome.map(Way::from).map_err(text),
                };
            }
            WayIn::Socket { path } => Target::Socket(path.clone()),
            WayIn::Port { port } => Target::Port(*port),
        };
        self.enter(compute)?;
        runtime.dial(compute, &target).map(Way::from).map_err(text)
    }

    /// What an instance has used.
    pub fn usage(&self, compute: ComputeId) -> Answer {
        match self.0.surroundings.runtime.usage(compute) {
            Ok(usage) => Answer::Used { usage },
            Err(error) => Answer::Refused { reason: error.to_string() },
        }
    }

    /// What a script of an instance has printed.
    pub fn log(&self, compute: ComputeId, log: ScriptLog) -> Answer {
        if !self.held().instances.contains_key(&compute) {
            return Answer::Refused { reason: RuntimeError::Unknown(compute).to_string() };
        }
        let folder = Folder::open(&self.0.state.instances(), compute);
        match folder.and_then(|folder| script::printed(&folder.log(log))) {
            Ok(text) => Answer::Logged { text },
            Err(error) => Answer::Refused { reason: format!("what the script printed cannot be read: {error}") },
        }
    }

    /// Ends every thread, and with [`Farewell::Clear`] what runs; disks stay, and what should run does again at the next
    /// start.
    pub fn stop(&self, farewell: Farewell) {
        let instances = {
            let mut held = self.held();
            held.is_over = true;
            std::mem::take(&mut held.instances)
        };
        for handle in instances.values() {
            // One whose thread has ended already needs no word.
            let _ended = handle.sender.send(Command::Stop(farewell));
        }
        for thread in instances.into_values().filter_map(|handle| handle.thread) {
            let _panicked = thread.join();
        }
    }

    fn enter(&self, compute: ComputeId) -> Result<(), String> {
        let (reply, entered) = channel();
        let sender = self.held().instances.get(&compute).map(|handle| handle.sender.clone());
        let unknown = || RuntimeError::Unknown(compute).to_string();
        sender.and_then(|sender| sender.send(Command::Enter(reply)).ok()).ok_or_else(unknown)?;
        let late = |_| "the compute is busy with something else. Try again".to_owned();
        entered.recv_timeout(PATIENCE).map_err(late)?
    }

    /// Tells each instance what should be of it, and makes those that are new.
    fn order_all(&self, held: &mut Held) {
        let orders: BTreeMap<ComputeId, (HubId, Instance)> = held
            .plans
            .values()
            .flat_map(|plan| plan.instances.iter().map(|instance| (instance.compute, (plan.hub, instance.clone()))))
            .collect();
        for (compute, (hub, order)) in &orders {
            if !held.instances.contains_key(compute)
                && let Err(reason) = self.found(held, *hub, *compute)
            {
                // The plan is on disk: the next one, or the next start, tries again.
                tracing::error!("compute '{}' cannot be begun: {reason}", order.name);
            }
        }
        for (compute, handle) in &mut held.instances {
            let order = orders.get(compute).map(|(_, order)| Box::new(order.clone()));
            if !handle.is_told || handle.order != order {
                // A thread that has ended comes by itself to see whether its instance is wanted again.
                let _ended = handle.sender.send(Command::Order(order.clone()));
                (handle.is_told, handle.order) = (true, order);
            }
        }
    }

    fn found(&self, held: &mut Held, hub: HubId, compute: ComputeId) -> Result<(), String> {
        if held.is_over {
            return Ok(());
        }
        let taken: BTreeSet<_> = held.instances.values().map(|handle| handle.users).collect();
        let users = Users::free(self.0.state.node().id, |users| taken.contains(&users));
        let users = users.ok_or("this node has no user numbers left")?;
        let record = Record::new(hub, compute, users);
        let folder = Folder::open(&self.0.state.instances(), compute).map_err(|error| error.to_string())?;
        folder.keep(&record).map_err(|error| error.to_string())?;
        self.keep(held, record, folder);
        Ok(())
    }

    /// Starts the thread of an instance.
    fn keep(&self, held: &mut Held, record: Record, folder: Folder) {
        let (sender, receiver) = channel();
        let published = Arc::default();
        let (hub, compute, users) = (record.hub, record.compute, record.users);
        let surroundings = Arc::clone(&self.0.surroundings);
        let keeper = Keeper::new(record, folder, surroundings, sender.clone(), Arc::clone(&published));
        let computes = Arc::downgrade(&self.0);
        let body = move || {
            if keeper.run(&receiver) == End::Gone
                && let Some(shared) = computes.upgrade()
            {
                Self(shared).forget(hub, compute);
            }
        };
        let thread = std::thread::Builder::new().name(thread_name(compute)).spawn(body);
        let thread = thread.inspect_err(|error| tracing::error!("no thread for a compute: {error}")).ok();
        held.instances.insert(compute, Handle { hub, users, is_told: false, order: None, sender, published, thread });
    }

    /// There is nothing of an instance any more; unless it is wanted again.
    fn forget(&self, hub: HubId, compute: ComputeId) {
        self.0.metadata.close(compute);
        let mut held = self.held();
        if let Some(handle) = held.instances.remove(&compute) {
            let start = locked(&handle.published).as_ref().map_or(0, |report| report.start);
            drop(held);
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            let report = ComputeReport { hub, compute, start, state: ComputeState::Gone, image: None, at };
            (self.0.surroundings.publish)(Answer::ComputeChanged { report: Box::new(report) });
            held = self.held();
        }
        self.order_all(&mut held);
    }

    /// What the runtime has of instances that nobody remembers.
    fn remove_strays(&self, known: &BTreeSet<ComputeId>) {
        let runtime = &self.0.surroundings.runtime;
        let strays = runtime.list().unwrap_or_else(|error| {
            tracing::warn!("cannot look for instances that nobody remembers: {error}");
            Vec::new()
        });
        for stray in strays.into_iter().filter(|compute| !known.contains(compute)) {
            tracing::warn!("instance {stray} is in no record, and is removed");
            if let Err(error) = runtime.delete(stray) {
                tracing::error!("instance {stray} cannot be removed: {error}");
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        locked(&self.0.held)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long whoever wants to come in waits for an instance that is busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a hub waits for its instances to be gone.
const DELETION: Duration = Duration::from_secs(10);

const DELETION_WATCH: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
