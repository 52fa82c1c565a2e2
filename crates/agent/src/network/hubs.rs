//! The hubs of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_plan::flow::FlowCount;
use bastide_plan::hub_plan::HubId;
use bastide_plan::message::Answer;
use bastide_plan::{HubPlan, HubReport};

use super::host::{Host, HostError};
use super::hub::{Command, Farewell, Hub, Reply, Surroundings, unknown};
use crate::state::HubRecord;

/// The networks of hubs, each kept by a thread of its own.
pub struct Hubs {
    surroundings: Surroundings,
    held: Arc<Mutex<BTreeMap<HubId, Hub>>>,
}

impl Hubs {
    /// Puts every wall back that was there when the agent last ran, and only then returns.
    pub fn restore(records: Vec<HubRecord>, surroundings: Surroundings) -> Result<Self, HostError> {
        let (done, wait) = channel();
        let mut held = BTreeMap::new();
        for record in records {
            let done = done.clone();
            let ready = move || done.send(()).unwrap_or_default();
            held.insert(record.plan.hub, Hub::start(record, surroundings.clone(), ready));
        }
        drop(done);
        // Ends when the last hub is ready.
        wait.iter().for_each(drop);
        let held = Arc::new(Mutex::new(held));
        let watching = Arc::downgrade(&held);
        Arc::<Host>::clone(&surroundings.host).watch(move || {
            let Some(held) = watching.upgrade() else { return false };
            for hub in locked(&held).values() {
                hub.tell(Command::HostChanged);
            }
            true
        })?;
        Ok(Self { surroundings, held })
    }

    /// What the kernel holds, of every hub.
    pub fn reports(&self) -> Vec<HubReport> {
        let (sender, receiver) = channel();
        for hub in locked(&self.held).values() {
            let sender = sender.clone();
            hub.tell(Command::Report(Box::new(move |answer| drop(sender.send(answer)))));
        }
        drop(sender);
        let reports = receiver.into_iter().filter_map(|answer| match answer {
            Answer::Changed { report } => Some(*report),
            _ => None,
        });
        let mut reports: Vec<_> = reports.collect();
        reports.sort_by_key(|report| report.hub);
        reports
    }

    /// Makes the network of a hub match a plan.
    pub fn apply(&self, plan: Box<HubPlan>, reply: Reply) {
        if let Err(reason) = check(&plan) {
            return reply(Answer::Refused { reason });
        }
        let mut held = locked(&self.held);
        if let Some(hub) = held.get(&plan.hub) {
            hub.tell(Command::Apply(plan, reply));
            return;
        }
        let state = &self.surroundings.state;
        let taken = match state.hubs() {
            Ok(records) => records.iter().map(|record| record.slot).collect::<BTreeSet<_>>(),
            Err(error) => return reply(Answer::Refused { reason: error.to_string() }),
        };
        let Some(slot) = self.surroundings.host.free_slot(&taken) else {
            return reply(Answer::Refused { reason: "this node has no room for another hub".to_owned() });
        };
        let record = HubRecord { plan: (*plan).clone(), slot, attached: Vec::new() };
        // On disk before anything is in the kernel: nothing is made that the next start would not know of, and no other
        // hub is given the same place.
        if let Err(error) = state.keep(&record) {
            return reply(Answer::Refused { reason: error.to_string() });
        }
        let hub = Hub::start(record, self.surroundings.clone(), || {});
        let id = plan.hub;
        hub.tell(Command::Apply(plan, reply));
        held.insert(id, hub);
    }

    /// Takes down every hub but these, and gives those that are still there.
    pub fn retain(&self, wanted: &[HubId]) -> Vec<HubId> {
        let gone: Vec<_> = {
            let mut held = locked(&self.held);
            let gone: Vec<_> = held.keys().filter(|hub| !wanted.contains(hub)).copied().collect();
            gone.iter().filter_map(|hub| Some((*hub, held.remove(hub)?))).collect()
        };
        std::thread::scope(|scope| {
            for (_, hub) in gone {
                scope.spawn(|| hub.stop(Farewell::Forget));
            }
        });
        // What could not be taken down is still on disk; it is started again, so that its wall stands until it is gone.
        let records = self.surroundings.state.hubs().unwrap_or_default();
        let remaining = records.into_iter().filter(|record| !wanted.contains(&record.plan.hub));
        let remaining: Vec<_> = remaining.collect();
        let mut held = locked(&self.held);
        for record in &remaining {
            let start = || Hub::start(record.clone(), self.surroundings.clone(), || {});
            held.entry(record.plan.hub).or_insert_with(start);
        }
        remaining.iter().map(|record| record.plan.hub).collect()
    }

    /// Passes a question on to a hub.
    pub fn pass(&self, hub: HubId, reply: Reply, command: impl FnOnce(Reply) -> Command) {
        match locked(&self.held).get(&hub) {
            Some(found) => drop(found.tell(command(reply))),
            None => reply(unknown(hub)),
        }
    }

    /// How often each rule of a hub has decided something.
    pub fn flow_counts(&self, hub: HubId) -> Vec<FlowCount> {
        self.surroundings.flows.counts(hub)
    }

    /// Ends every hub.
    pub fn stop(&self, farewell: Farewell) {
        let hubs = std::mem::take(&mut *locked(&self.held));
        std::thread::scope(|scope| {
            for (_, hub) in hubs {
                scope.spawn(|| hub.stop(farewell));
            }
        });
        self.surroundings.flows.settle();
    }
}

/// Whether a plan is one that a kernel can be made to match. The server makes no other; this is where that ends being a
/// promise.
fn check(plan: &HubPlan) -> Result<(), String> {
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
