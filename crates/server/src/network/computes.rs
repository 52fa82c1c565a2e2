//! What is known of instances: what the agent has said of each, and where it stands in its hub.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_arm::resource_type::Observed;
use bastide_hub::compute::status;
use bastide_plan::ComputeReport;
use bastide_plan::compute_report::ComputeState;
use bastide_plan::hub_plan::{ComputeId, HubId};
use tokio::sync::watch;
use uuid::Uuid;

use super::Networks;
use super::node::{Away, Node};

/// Shared by the planner, which writes it, and requests, which read it.
#[derive(Debug, Default)]
pub(super) struct Computes {
    known: Mutex<Known>,
    /// Changes with everything new.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    /// What the agent said last. It forgets what is gone.
    reports: BTreeMap<ComputeId, ComputeReport>,
    places: Places,
    /// Those that nobody uses, which need no processor.
    frozen: BTreeSet<ComputeId>,
    /// Whether the agent was heard at all.
    is_heard: bool,
    /// Why it is away, while it is.
    away: Option<String>,
}

/// Where instances stand in their hubs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Their addresses.
    pub(super) addresses: BTreeMap<ComputeId, Ipv4Addr>,
    /// Those for which there was none left.
    pub(super) crowded_out: BTreeSet<ComputeId>,
}

impl Computes {
    /// The agent is there, and holds these.
    pub(super) fn greet(&self, reports: Vec<ComputeReport>) {
        self.change(|known| {
            known.reports = reports.into_iter().map(|report| (report.compute, report)).collect();
            (known.is_heard, known.away) = (true, None);
        });
    }

    /// The agent has said something of one.
    pub(super) fn hear(&self, report: ComputeReport) {
        self.change(|known| match report.state {
            ComputeState::Gone => {
                known.reports.remove(&report.compute);
                known.frozen.remove(&report.compute);
            }
            _ => drop(known.reports.insert(report.compute, report)),
        });
    }

    /// The agent is away.
    pub(super) fn lose(&self, why: &str) {
        self.change(|known| known.away = Some(Away::Silent(why.to_owned()).to_string()));
    }

    /// Where the instances of a hub stand; `before` is where they stood.
    pub(super) fn place(&self, before: Option<&Places>, places: &Places) {
        if before == Some(places) {
            return;
        }
        self.change(|known| {
            let stood = |compute: &ComputeId| before.is_some_and(|before| before.addresses.contains_key(compute));
            known.places.addresses.retain(|compute, _| !stood(compute));
            known.places.addresses.extend(&places.addresses);
            let was_out = |compute: &ComputeId| before.is_some_and(|before| before.crowded_out.contains(compute));
            known.places.crowded_out.retain(|compute| !was_out(compute));
            known.places.crowded_out.extend(&places.crowded_out);
        });
    }

    /// The instances of a hub that the node still holds.
    pub(super) fn held(&self, hub: HubId) -> Vec<ComputeId> {
        self.known().reports.values().filter(|report| report.hub == hub).map(|report| report.compute).collect()
    }

    /// Whether an instance is to have no processor's time.
    pub(super) fn is_frozen(&self, compute: ComputeId) -> bool {
        self.known().frozen.contains(&compute)
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known());
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Networks {
    /// What was last heard of an instance.
    pub(crate) fn compute(&self, compute: ComputeId) -> Option<ComputeReport> {
        self.shared.computes.known().reports.get(&compute).cloned()
    }

    /// The instances in which something runs, each with the start that it runs for.
    pub(crate) fn inhabited(&self) -> BTreeMap<ComputeId, u64> {
        let known = self.shared.computes.known();
        let runs = |report: &&ComputeReport| {
            matches!(report.state, ComputeState::SettingUp | ComputeState::Running | ComputeState::Frozen)
        };
        known.reports.values().filter(runs).map(|report| (report.compute, report.start)).collect()
    }

    /// Where an instance stands in its hub.
    pub(crate) fn address(&self, compute: ComputeId) -> Option<Ipv4Addr> {
        self.shared.computes.known().places.addresses.get(&compute).copied()
    }

    /// What is seen of the instances of one resource, each a part under its id.
    pub(crate) fn seen(&self, instances: &[Uuid]) -> Observed {
        let by = self.shared.node.word();
        let known = self.shared.computes.known();
        let why_not = match &self.shared.node {
            Node::Absent => Some(Away::Absent.to_string()),
            Node::Simulated(_) => Some(Away::Simulated.to_string()),
            Node::Agent(_) if !known.is_heard => Some(Away::Silent("it was not heard of yet".to_owned()).to_string()),
            Node::Agent(_) => known.away.clone(),
        };
        let part = |id: &Uuid| {
            let compute = ComputeId(*id);
            let address = known.places.addresses.get(&compute).map(ToString::to_string);
            let why_not = known.places.crowded_out.contains(&compute).then(|| CROWDED_OUT.to_owned());
            let seen = status::observed(by, address, known.reports.get(&compute));
            (id.to_string(), Arc::new(Observed { why_not, ..seen }))
        };
        Observed { parts: instances.iter().map(part).collect(), ..Observed::new(by, why_not) }
    }

    /// Whether nothing is left of instances, as far as the node has said.
    pub(crate) fn is_gone(&self, instances: &[Uuid]) -> bool {
        let known = self.shared.computes.known();
        known.away.is_none() && !instances.iter().any(|id| known.reports.contains_key(&ComputeId(*id)))
    }

    /// Rings with everything new that is heard of instances.
    pub(crate) fn computes_changed(&self) -> watch::Receiver<u64> {
        self.shared.computes.changes.subscribe()
    }

    /// Takes the processor's time from an instance, or gives it back; whether that is new. The hub is to be touched then.
    pub(crate) fn freeze(&self, compute: ComputeId, frozen: bool) -> bool {
        let mut known = self.shared.computes.known();
        if frozen { known.frozen.insert(compute) } else { known.frozen.remove(&compute) }
    }
}

const CROWDED_OUT: &str = "The hub's network has no address left for it. Delete computes of the hub, or have the operator \
     choose a larger subnet.";
