//! The addresses of computes in their hub.
//!
//! An address comes from the compute's incarnation, so nothing has to be written down for it, and it never changes. Only
//! who finds the place taken gets another one, and that is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bastide_plan::hub_plan::ComputeId;
use ipnet::Ipv4Net;

use crate::plan::leg_address;

/// The addresses of a hub's computes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where each stands. Who is missing found no address: the subnet is full.
    pub all: BTreeMap<ComputeId, Ipv4Addr>,
    /// Those that do not stand where their incarnation puts them, to be remembered.
    pub elsewhere: BTreeMap<ComputeId, Ipv4Addr>,
}

impl Addresses {
    /// Gives every compute its address, to older ones first; who has one already keeps it.
    pub fn give(subnet: Ipv4Net, computes: &[ComputeId], held: &BTreeMap<ComputeId, Ipv4Addr>) -> Self {
        let own = |compute: &ComputeId, taken: &BTreeSet<Ipv4Addr>| leg_address(subnet, compute.0.as_u128(), taken);
        // The subnet may be another one now.
        let kept = |compute: &ComputeId| held.get(compute).copied().filter(|address| subnet.contains(address));
        let mut all: BTreeMap<ComputeId, Ipv4Addr> =
            computes.iter().filter_map(|compute| Some((*compute, kept(compute)?))).collect();
        let mut taken: BTreeSet<Ipv4Addr> = all.values().copied().collect();
        for compute in computes {
            if !all.contains_key(compute)
                && let Some(address) = own(compute, &taken)
            {
                taken.insert(address);
                all.insert(*compute, address);
            }
        }
        let is_elsewhere =
            |(compute, address): &(&ComputeId, &Ipv4Addr)| own(compute, &BTreeSet::new()) != Some(**address);
        let elsewhere = all.iter().filter(is_elsewhere).map(|(compute, address)| (*compute, *address)).collect();
        Self { all, elsewhere }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn subnet() -> Ipv4Net {
        // So small that most find their place taken.
        "100.127.0.0/25".parse().unwrap()
    }

    proptest! {
        /// Whoever comes and goes, one at a time: nobody shares an address, and nobody's address changes, also when all but
        /// what is to be remembered is forgotten.
        #[test]
        fn an_address_is_for_life(
            steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u128..40), 1..60),
        ) {
            let mut computes: Vec<ComputeId> = Vec::new();
            let mut before = Addresses::default();
            for (comes, forgets, number) in steps {
                let compute = ComputeId(Uuid::from_u128(number));
                computes.retain(|other| *other != compute);
                if forgets {
                    // A planner that starts anew looks before anybody else can come.
                    before = Addresses::give(subnet(), &computes, &before.elsewhere);
                }
                if comes {
                    computes.push(compute);
                }
                let after = Addresses::give(subnet(), &computes, &before.all);
                prop_assert_eq!(after.all.len(), computes.len());
                let different: BTreeSet<_> = after.all.values().collect();
                prop_assert_eq!(different.len(), after.all.len());
                for (compute, address) in &after.all {
                    if let Some(stood) = before.all.get(compute) {
                        prop_assert_eq!(stood, address);
                    }
                }
                before = after;
            }
        }
    }

    #[test]
    fn a_full_subnet_leaves_somebody_out_and_moves_nobody() {
        let subnet: Ipv4Net = "100.127.0.0/26".parse().unwrap();
        let computes: Vec<ComputeId> = (0..20).map(|number| ComputeId(Uuid::from_u128(number))).collect();
        let given = Addresses::give(subnet, &computes, &BTreeMap::new());
        assert_eq!(given.all.len(), 16);
        assert_eq!(Addresses::give(subnet, &computes, &given.elsewhere), given);
    }

    #[test]
    fn another_subnet_means_other_addresses() {
        let computes: Vec<ComputeId> = (0..4).map(|number| ComputeId(Uuid::from_u128(number * 48))).collect();
        let given = Addresses::give(subnet(), &computes, &BTreeMap::new());
        assert!(!given.elsewhere.is_empty());
        let other = "10.9.0.0/24".parse().unwrap();
        let moved = Addresses::give(other, &computes, &given.elsewhere);
        assert!(moved.all.values().all(|address| other.contains(address)));
        assert_eq!(moved.all.len(), 4);
    }
}
