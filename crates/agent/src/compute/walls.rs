//! Which instances have a wall to run behind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use bastide_plan::hub_plan::{ComputeId, HubId};

/// The walls that stand, as the hubs have read them back from the kernel.
#[derive(Debug)]
pub enum Walls {
    /// Those of this node.
    Kernel {
        /// By hub.
        standing: Mutex<BTreeMap<HubId, Wall>>,
        /// Whether the network namespace of an instance is where it should be: somebody may have taken it away since the
        /// hub looked.
        has_namespace: fn(ComputeId) -> bool,
    },
    /// The network is simulated: nothing runs, so there is nothing to wait for.
    Simulated,
}

/// A wall that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// The hub's resolver.
    pub resolver: Ipv4Addr,
    /// Who has a leg inside.
    pub legs: BTreeSet<ComputeId>,
}

impl Walls {
    /// None stands yet.
    pub fn none(has_namespace: fn(ComputeId) -> bool) -> Self {
        Self::Kernel { standing: Mutex::default(), has_namespace }
    }

    /// A hub's wall stands, or does not any more.
    pub fn set(&self, hub: HubId, wall: Option<Wall>) {
        let Self::Kernel { standing, .. } = self else { return };
        let mut standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
        match wall {
            Some(wall) => standing.insert(hub, wall),
            None => standing.remove(&hub),
        };
    }

    /// The resolver of an instance whose leg is there and whose hub's wall stands.
    pub fn behind(&self, hub: HubId, compute: ComputeId) -> Option<Ipv4Addr> {
        let Self::Kernel { standing, has_namespace } = self else { return Some(Ipv4Addr::UNSPECIFIED) };
        let standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
        let wall = standing.get(&hub).filter(|wall| wall.legs.contains(&compute) && has_namespace(compute))?;
        Some(wall.resolver)
    }
}
