//! What the kernel's objects of a hub are called.

use bastide_plan::hub_plan::{ComputeId, HubId};
use uuid::Uuid;

/// The network namespace of a hub, as `ip netns` knows it.
pub fn hub_namespace(HubId(hub): HubId) -> String {
    format!("{HUB_NAMESPACE}{}", tail(hub, 12))
}

/// The network namespace of a compute.
pub fn leg_namespace(ComputeId(compute): ComputeId) -> String {
    format!("{LEG_NAMESPACE}{}", tail(compute, 12))
}

/// The hub's end of a compute's leg. The rule set knows legs by [`LEG`].
pub fn leg_interface(ComputeId(compute): ComputeId) -> String {
    format!("{LEG}{}", tail(compute, 12))
}

/// The host's end of a hub's way out.
pub fn host_interface(HubId(hub): HubId) -> String {
    format!("{HOST_INTERFACE}{}", tail(hub, 9))
}

/// The end of an incarnation: in every version of UUIDs that is its random part.
fn tail(id: Uuid, digits: usize) -> String {
    let hex = id.simple().to_string();
    hex.get(hex.len() - digits..).unwrap_or_default().to_owned()
}

/// How namespaces of hubs begin.
pub const HUB_NAMESPACE: &str = "bas-h-";
/// How namespaces of computes begin.
pub const LEG_NAMESPACE: &str = "bas-c-";
/// How the host's ends of hubs' ways out begin.
pub const HOST_INTERFACE: &str = "bas-u-";
/// How a hub's ends of legs begin.
pub const LEG: &str = "leg";
/// A hub's end of its way out.
pub const UPLINK: &str = "uplink";
/// A compute's end of its leg.
pub const INNER: &str = "eth0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_fit_the_kernel() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(hub_namespace(HubId(id)), "bas-h-456789abcdef");
        assert_eq!(leg_namespace(ComputeId(id)), "bas-c-456789abcdef");
        assert_eq!(leg_interface(ComputeId(id)), "leg456789abcdef");
        assert_eq!(host_interface(HubId(id)), "bas-u-789abcdef");
        // IFNAMSIZ, with the final zero, is 16.
        assert!(leg_interface(ComputeId(id)).len() < 16 && host_interface(HubId(id)).len() < 16);
    }
}
