//! `workspaces/outboundRules`: what the computes of a hub may reach (mission.md groups G and H).
//!
//! A rule is a resource of its own; the workspace's body shows the same rules as a map.

mod extension;
mod fqdn;
pub mod implied;
mod private_endpoint;
mod resource;
mod rule;
mod service_tag;
mod stored;
mod wish;

pub use extension::Extension;
pub(crate) use extension::MOST_PORTS;
pub use fqdn::Fqdn;
pub use private_endpoint::PrivateEndpointDestination;
pub(crate) use private_endpoint::subresources_of;
pub use resource::OutboundRule;
pub(crate) use resource::{
    KIND, NOT_REPORTED, RuleBody, admit_rule, answer_rule, is_removable, is_required, target_of,
};
pub(crate) use rule::Terms;
pub use rule::{Category, Destination, Rule};
pub(crate) use service_tag::{NAME_PORTS, NAME_PORTS_CLOSED, is_prefix};
pub use service_tag::{PortRanges, ServiceTagDestination};
pub use wish::Wish;
