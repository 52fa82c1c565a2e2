//! One hub's network, from outside the thread that keeps it.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use bastide_plan::HubPlan;
use bastide_plan::explanation::Question;
use bastide_plan::flow::FlowQuery;
use bastide_plan::hub_plan::HubId;
use bastide_plan::message::Answer;
use bastide_plan::worker::FromWorker;

use super::firewall::FirewallCommand;
use super::flow_store::FlowStore;
use super::host::Host;
use super::keeper::Keeper;
use super::watcher::News;
use crate::compute::walls::Walls;
use crate::state::{HubRecord, State};

/// A hub whose network is kept by a thread of its own, which lives in the hub's namespace.
#[derive(Debug)]
pub struct Hub {
    sender: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread of a hub is told.
pub enum Command {
    /// Make the network match a plan.
    Apply(Box<HubPlan>, Reply),
    /// Read the kernel and say what it holds.
    Report(Reply),
    /// What would happen to a connection.
    Explain(Question, Reply),
    /// What happened.
    Flows(FlowQuery, Reply),
    /// What the firewall of a life has said last of what happened is on disk.
    Kept(u64),
    /// A leg for a test.
    Attach(String, Reply),
    /// Without it again.
    Detach(String, Reply),
    /// Somebody changed something.
    News(News),
    /// The host's addresses have changed.
    HostChanged,
    /// A firewall said something, or has gone.
    Worker(u64, Option<FromWorker>),
    /// The addresses of a declared target have been looked up again.
    LookedUp(String, std::collections::BTreeSet<std::net::Ipv4Addr>),
    /// End.
    Stop(Farewell),
}

/// What a hub leaves behind when its thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// The kernel as it is: the wall stands, and nothing passes that asks the firewall.
    Keep,
    /// Nothing in the kernel. The plan stays on disk, and is put in force again at the next start.
    Clear,
    /// Nothing at all.
    Forget,
}

/// Where an answer goes.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// What a hub needs of the agent.
#[derive(Clone)]
pub struct Surroundings {
    /// The host's side.
    pub host: Arc<Host>,
    /// The agent's memory.
    pub state: Arc<State>,
    /// What happened, on disk.
    pub flows: Arc<FlowStore>,
    /// How a firewall is started.
    pub firewall: FirewallCommand,
    /// Where instances learn which walls stand.
    pub walls: Arc<Walls>,
    /// Tells an event to everybody who wants to know.
    pub publish: Arc<dyn Fn(Answer) + Send + Sync>,
}

impl Hub {
    /// Starts keeping a hub. `ready` is called once the kernel was made to match for the first time, or could not be.
    pub fn start(record: HubRecord, surroundings: Surroundings, ready: impl FnOnce() + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        let to_self = sender.clone();
        let name = format!("hub-{}", record.plan.hub);
        let body = move || Keeper::new(record, surroundings, to_self).run(&receiver, ready);
        let thread = std::thread::Builder::new().name(name).spawn(body);
        let thread = thread.inspect_err(|error| tracing::error!("no thread for a hub: {error}")).ok();
        Self { sender, thread }
    }

    /// Tells its thread something. False when the thread has gone.
    pub fn tell(&self, command: Command) -> bool {
        self.sender.send(command).is_ok()
    }

    /// Ends it, and waits until it has.
    pub fn stop(mut self, farewell: Farewell) {
        self.tell(Command::Stop(farewell));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The refusal when a hub is not known here.
pub fn unknown(hub: HubId) -> Answer {
    Answer::Refused { reason: format!("this node has no network for hub {hub}: apply a plan first") }
}
