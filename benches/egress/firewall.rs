//! The firewall in a process of its own, and the part of an agent that it needs.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use bastide_agent::network::facts::{NodeFacts, Slot};
use bastide_agent::network::flow_store::FlowStore;
use bastide_agent::network::socket;
use bastide_firewall::control::{ControlError, Listener};
use bastide_firewall::flow_log::FlowLog;
use bastide_firewall::worker::{self, RunError};
use bastide_plan::hub_plan::{Endpoint, HubPlan, Target};
use bastide_plan::worker::Purpose;
use bastide_plan::{AddressFilter, RuleName};

use crate::load::endpoint;
use crate::server::HOSTS;
use crate::support::{Control, inside};

/// What becomes of what the firewall sees.
#[derive(Clone)]
pub enum Log {
    /// It is collected and kept on disk, as an agent does.
    Kept(Arc<FlowStore>),
    /// Nobody writes it down.
    None,
}

/// A firewall that serves the hub. Dropping it ends it.
pub struct Firewall {
    pub control: Control,
    life: Life,
}

enum Life {
    Process(Child),
    Thread(Option<thread::JoinHandle<()>>),
}

impl Firewall {
    /// A process, as the user that the rule set knows it by.
    pub fn start(lab: &str, log: &Log) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let number = theirs.as_raw_fd();
        // Wherever this program is, that user may start it.
        let mut command = Command::new("/proc/self/exe");
        command.args(["--firewall", &number.to_string()]);
        if matches!(log, Log::None) {
            command.arg("--forget");
        }
        command.uid(user()).gid(user());
        // SAFETY: fcntl is a system call without pointers.
        unsafe {
            command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let process = inside(&format!("{lab}r"), || command.spawn().unwrap());
        Self::serve(lab, ours, Life::Process(process), log)
    }

    /// A thread of this process, which fills the log besides.
    pub fn in_this_process(lab: &str, log: &Log, flow_log: Arc<FlowLog>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let hub = format!("{lab}r");
        let life = thread::spawn(move || inside(&hub, move || run(theirs, flow_log)));
        Self::serve(lab, ours, Life::Thread(Some(life)), log)
    }

    /// Processor time so far, in seconds.
    pub fn seconds(&self) -> f64 {
        match &self.life {
            Life::Process(process) => crate::lab::seconds(process.id()),
            Life::Thread(_) => 0.0,
        }
    }

    /// Resident memory, in MiB.
    pub fn memory(&self) -> f64 {
        let Life::Process(process) = &self.life else { return 0.0 };
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    fn serve(lab: &str, ours: UnixStream, life: Life, log: &Log) -> Self {
        // The host's resolver is asked from outside the hub, as by an agent.
        let control = Control::new(ours, format!("{lab}s"));
        inside(&format!("{lab}r"), || {
            control.hand_over_listeners();
            for relay in relays() {
                let listener = socket::listener(relay.0, relay.1).unwrap();
                control.hand_over(Purpose::Relay { address: relay.0, port: relay.1 }, &listener);
            }
        });
        if let Log::Kept(store) = log {
            let store = Arc::clone(store);
            control.collect(move |records, dropped, done| store.keep(HUB, records, dropped, done));
        }
        Self { control, life }
    }

    /// A plan that approves these names, with the private endpoints of the bench.
    pub fn plan(&mut self, names: &[String]) -> HubPlan {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        HubPlan { endpoints: endpoints(), ..self.control.plan(&names) }
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.control.end();
        match &mut self.life {
            Life::Process(process) => drop(process.wait()),
            Life::Thread(thread) => drop(thread.take().map(thread::JoinHandle::join)),
        }
    }
}

/// The firewall's process.
pub fn run_process(control: RawFd, keeps_log: bool) {
    // SAFETY: who started the process handed it this descriptor, and nobody else here knows it.
    let control = unsafe { OwnedFd::from_raw_fd(control) };
    run(control.into(), if keeps_log { Arc::default() } else { Arc::new(FlowLog::new(0)) });
}

/// What the rule set needs to know besides a plan.
pub fn facts() -> NodeFacts {
    let externals = HOSTS.iter().map(|host| (host.address, host.port)).collect();
    NodeFacts { filter: AddressFilter::default(), slot: slot(), externals }
}

/// The hub of every plan of [`Control`].
pub const HUB: bastide_plan::hub_plan::HubId = bastide_plan::hub_plan::HubId(uuid::Uuid::nil());

fn run(control: UnixStream, log: Arc<FlowLog>) {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
    match worker::serve(control, Listener::default(), AddressFilter::default(), "/nonexistent".into(), threads, log) {
        // The bench has gone in the middle of a word.
        Ok(()) | Err(RunError::Control(ControlError::Io(_))) => {}
        Err(error) => panic!("{error}"),
    }
}

fn user() -> u32 {
    slot().user()
}

fn slot() -> Slot {
    Slot::free(|_| false).unwrap()
}

/// A private endpoint for each host.
fn endpoints() -> Vec<Endpoint> {
    let endpoints = HOSTS.iter().map(|host| Endpoint {
        rule: RuleName(format!("endpoint-{}", host.name)),
        names: Vec::new(),
        address: endpoint(host.address),
        ports: vec![host.port],
        target: Some(Target::External { host: host.address.to_string(), port: host.port, host_allowed: false }),
    });
    let mut endpoints: Vec<_> = endpoints.collect();
    endpoints.sort_by(|one, other| one.rule.cmp(&other.rule));
    endpoints
}

fn relays() -> impl Iterator<Item = (Ipv4Addr, u16)> {
    HOSTS.iter().map(|host| (endpoint(host.address), host.port))
}
