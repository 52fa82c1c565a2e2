//! The legs of a hub: a namespace each, with one way out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bastide_plan::HubPlan;
use bastide_plan::hub_plan::{ComputeId, Leg};

use super::Stirred;
use super::compiled::Compiled;
use super::fault::Fault;
use crate::network::interface::{Layout, batch, settle};
use crate::network::layout;
use crate::network::names::{INNER, LEG, LEG_NAMESPACE, leg_interface, leg_namespace};
use crate::network::namespace::{self, Namespace};
use crate::state::HubRecord;

impl HubRecord {
    /// The plan with the legs of tests, as far as it leaves room for them.
    pub(super) fn merged(&self) -> HubPlan {
        let mut plan = self.plan.clone();
        for leg in &self.attached {
            let is_free = leg.address != plan.gateway()
                && plan.subnet.contains(&leg.address)
                && plan.legs.iter().all(|other| other.address != leg.address && other.compute != leg.compute)
                && plan.endpoints.iter().all(|endpoint| endpoint.address != leg.address);
            if is_free {
                plan.legs.push(leg.clone());
            }
        }
        plan.legs.sort_by_key(|leg| leg.compute);
        plan
    }

    /// An address for one leg more: from the end of the subnet, where planners come last.
    pub(super) fn free_address(&self) -> Option<Ipv4Addr> {
        let plan = self.merged();
        let gateway = plan.gateway();
        let last = plan.subnet.broadcast().to_bits().checked_sub(1)?;
        let mut candidates = (plan.subnet.network().to_bits() + 1..=last).rev().map(Ipv4Addr::from_bits);
        candidates.find(|address| {
            *address != gateway
                && plan.legs.iter().all(|leg| leg.address != *address)
                && plan.endpoints.iter().all(|endpoint| endpoint.address != *address)
        })
    }
}

/// The namespaces of a hub's legs, held open: whatever becomes of a name, what runs in it keeps its network.
#[derive(Debug, Default)]
pub(super) struct Legs(BTreeMap<ComputeId, Namespace>);

impl Legs {
    /// Makes interfaces, routes and settings match, inside the hub and in each leg. Whether anything had to be done.
    pub fn lay(&mut self, compiled: &Compiled, stirred: Stirred) -> Result<bool, Fault> {
        let system = |error| Fault::System("the kernel's settings", error);
        let mut has_changed = settle(&layout::HUB_SETTINGS).map_err(system)?;
        if stirred == Stirred::Hub && compiled.layout.changes(&Layout::read().map_err(system)?).is_empty() {
            return Ok(has_changed);
        }
        remove_legs(&compiled.layout)?;
        let legs = &compiled.plan.legs;
        self.0.retain(|compute, _| legs.iter().any(|leg| leg.compute == *compute));
        has_changed |= self.name_again()?;
        let names = legs.iter().map(|leg| leg_namespace(leg.compute));
        let namespaces = namespace::ensure_all(&names.collect::<Vec<_>>())?;
        for namespace in &namespaces {
            has_changed |= namespace.within(|| settle(&layout::LEG_SETTINGS))?;
        }
        has_changed |= compiled.layout.establish()?;
        for (leg, namespace) in legs.iter().zip(&namespaces) {
            let wanted = layout::leg(leg, compiled.plan.gateway());
            match namespace.within(|| Ok(wanted.establish()))? {
                Ok(changed) => has_changed |= changed,
                Err(error) => {
                    give_up_lost(leg, namespace)?;
                    return Err(error.into());
                }
            }
        }
        self.0 = legs.iter().map(|leg| leg.compute).zip(namespaces).collect();
        Ok(has_changed)
    }

    /// Whether the names of all of them still lead to them.
    pub fn are_named(&self) -> bool {
        self.0.values().all(Namespace::is_named)
    }

    /// The namespace of a compute.
    pub fn of(&self, compute: ComputeId) -> Option<&Namespace> {
        self.0.get(&compute)
    }

    /// Gives those that have lost their name that name again. Whether there were any.
    fn name_again(&self) -> Result<bool, Fault> {
        let mut has_changed = false;
        for namespace in self.0.values().filter(|namespace| !namespace.is_named()) {
            namespace.within(|| Ok(namespace.rename()))??;
            has_changed = true;
        }
        Ok(has_changed)
    }
}

/// Takes away the hub's end of a leg whose other end is in a namespace that has lost its name, so that the next attempt
/// makes both anew.
fn give_up_lost(leg: &Leg, namespace: &Namespace) -> Result<(), Fault> {
    let found = namespace.within(|| Layout::read().map_err(std::io::Error::other))?;
    if !found.interfaces.contains_key(INNER) {
        batch(&[format!("link delete {}", leg_interface(leg.compute))])?;
    }
    Ok(())
}

/// Takes away the legs that are not wanted, each with its namespace; the name of the one tells that of the other.
pub(super) fn remove_legs(wanted: &Layout) -> Result<(), Fault> {
    let found = Layout::read().map_err(|error| Fault::System("the network cannot be read", error))?;
    for name in found.interfaces.keys().filter(|name| !wanted.interfaces.contains_key(*name)) {
        let Some(id) = name.strip_prefix(LEG) else { continue };
        namespace::remove(&format!("{LEG_NAMESPACE}{id}"))?;
        // The namespace may live on with what runs in it; the leg does not.
        if let Err(error) = batch(&[format!("link delete {name}")]) {
            tracing::debug!("{name} went with its namespace: {error}");
        }
    }
    Ok(())
}
