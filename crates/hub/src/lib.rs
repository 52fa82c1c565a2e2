//! The domain: hubs, projects and what belongs to them, as pure rules.
//!
//! Each noun is one file that implements [`bastide_arm::resource_type::ResourceType`]; nothing in this crate knows of
//! sockets, SQL or clocks.

pub mod account_network;
pub mod compute;
pub mod connection;
pub mod external_service;
mod field;
pub mod isolation_lift;
pub mod isolation_mode;
pub mod listing;
mod managed_network;
pub mod model_endpoint;
pub mod network_dependency;
pub mod online_endpoint;
pub mod outbound_rule;
pub mod plan;
pub mod preset;
pub mod private_endpoint_connection;
pub mod quota;
mod rule_name;
pub mod rule_set;
pub mod service_tag;
pub mod shadow_cost;
pub mod suggestion;
pub mod vm_size;
pub mod vocabulary;
pub mod workspace;
