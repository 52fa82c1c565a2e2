//! What a hub's rule set depends on besides the plan.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bastide_plan::AddressFilter;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// What the node adds to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Where names may lead.
    pub filter: AddressFilter,
    /// The hub's place on this node.
    pub slot: Slot,
    /// Addresses and ports of targets outside that an administrator declared.
    pub externals: BTreeSet<(Ipv4Addr, u16)>,
}

/// A hub's place on a node: from it follow the addresses of its way out and the user of its firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(u16);

impl Slot {
    /// The first place that `taken` does not refuse.
    pub fn free(taken: impl Fn(Self) -> bool) -> Option<Self> {
        (0..SLOTS).map(Self).find(|slot| !taken(*slot))
    }

    /// The place whose way out has an address.
    pub fn of(address: Ipv4Addr) -> Option<Self> {
        let offset = address.to_bits().checked_sub(FIRST_ADDRESS.to_bits())? / 2;
        u16::try_from(offset).ok().filter(|slot| *slot < SLOTS).map(Self)
    }

    /// The address of the host's end of the way out.
    pub fn host_address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + 2 * u32::from(self.0))
    }

    /// The address of the hub's end.
    pub fn hub_address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.host_address().to_bits() + 1)
    }

    /// The user and group of the hub's firewall; nobody else's.
    pub fn user(self) -> u32 {
        FIRST_USER + u32::from(self.0)
    }

    /// The addresses of all ways out of this node.
    pub fn all_addresses() -> Ipv4Net {
        Ipv4Net::new_assert(FIRST_ADDRESS, 16)
    }
}

/// Whether a user is that of some hub's firewall.
pub fn is_firewall_user(user: u32) -> bool {
    user.checked_sub(FIRST_USER).is_some_and(|offset| offset < u32::from(SLOTS))
}

/// 100.126.0.0/16, of the shared address space (RFC 6598): no organisation uses it inside, no provider routes it.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(100, 126, 0, 0);

/// Two addresses each (RFC 3021) in a /16.
const SLOTS: u16 = 1 << 15;

/// Above the ranges that useradd, systemd and container tools give out by themselves.
const FIRST_USER: u32 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_two_addresses_and_a_user() {
        let slot = Slot::free(|slot| slot.0 < 300).unwrap();
        assert_eq!(slot.host_address(), Ipv4Addr::new(100, 126, 2, 88));
        assert_eq!(slot.hub_address(), Ipv4Addr::new(100, 126, 2, 89));
        assert_eq!(slot.user(), 2_000_300);
        assert_eq!(Slot::of(slot.hub_address()), Some(slot));
        assert_eq!(Slot::of(Ipv4Addr::new(100, 127, 0, 0)), None);
        assert_eq!(Slot::of(Ipv4Addr::new(100, 125, 255, 255)), None);
    }
}
