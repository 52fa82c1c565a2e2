//! A hub in three network namespaces: a compute's leg, the hub with its firewall, and an internet that is not to be trusted.
//!
//! ```text
//! leg 100.127.0.2 -- veth -- 100.127.0.1 hub 198.18.0.1 -- veth -- 198.18.0.2, 198.18.1.0/24 internet
//! ```

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bastide_firewall::control::Listener;
use bastide_firewall::worker;
use bastide_plan::AddressFilter;
use bastide_plan::flow::{FlowQuery, FlowRecord};
use bastide_plan::hub_plan::HubPlan;
use bastide_plan::worker::{FromWorker, Purpose, ToWorker};

use crate::internet::Internet;
use crate::support::{Control, inside, make, shell};

/// The namespaces, and what runs in them.
pub struct Lab {
    tag: String,
    pub internet: Internet,
    control: Control,
    worker: Option<JoinHandle<()>>,
}

impl Lab {
    /// A hub that approves these names, by rules of the same names.
    pub fn new(names: &[&str]) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "the tests of the wall make network namespaces: run them as root, or leave them out with -E 'not binary(wall)'"
        );
        let tag = format!("fw{}", std::process::id());
        shell(&make(&tag));
        let internet = inside(&format!("{tag}s"), Internet::start);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let hub = format!("{tag}r");
        let control = Control::new(ours, hub.clone());
        inside(&hub, || control.hand_over_listeners());
        let worker = thread::spawn(move || inside(&hub, move || run(theirs)));
        let mut lab = Self { tag, internet, control, worker: Some(worker) };
        lab.approve(names);
        lab
    }

    /// Replaces all rules; done when the firewall has applied them.
    pub fn approve(&mut self, names: &[&str]) {
        let plan = self.plan(names);
        self.apply(plan);
    }

    /// A plan that approves these names.
    pub fn plan(&mut self, names: &[&str]) -> HubPlan {
        self.control.plan(names)
    }

    /// Decides by a plan; done when the firewall says so.
    pub fn apply(&mut self, plan: HubPlan) {
        self.control.apply(plan);
    }

    /// Hands over another listener, made in the hub.
    pub fn listen(&self, purpose: Purpose, make: impl FnOnce() -> OwnedFd + Send) {
        let listener = inside(&format!("{}r", self.tag), make);
        self.control.hand_over(purpose, &listener);
    }

    /// Runs `work` in the compute.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&format!("{}c", self.tag), work)
    }

    /// All flow records so far.
    pub fn flows(&self) -> Vec<FlowRecord> {
        let query = FlowQuery { limit: u32::MAX, ..FlowQuery::default() };
        self.control.send(&ToWorker::Flows { number: 1, query });
        match self.control.answer() {
            FromWorker::Flows { flows, .. } => flows.records,
            other => panic!("{other:?}"),
        }
    }

    /// The first record that is wanted; waits for it for 100 ms, which is what is promised of refusals.
    pub fn flow(&self, wanted: impl Fn(&FlowRecord) -> bool) -> FlowRecord {
        for _ in 0..10 {
            if let Some(found) = self.flows().into_iter().find(&wanted) {
                return found;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no such flow in {:#?}", self.flows());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.control.end();
        if let Some(worker) = self.worker.take() {
            let ended = worker.join();
            assert!(ended.is_ok() || thread::panicking(), "the firewall ended badly");
        }
        shell(&format!("for n in c r s; do ip netns delete {}$n; done", self.tag));
    }
}

/// The firewall, on this thread and those that it starts.
fn run(control: UnixStream) {
    worker::serve(control, Listener::default(), AddressFilter::default(), "/nonexistent".into(), 2, Arc::default())
        .unwrap();
}
