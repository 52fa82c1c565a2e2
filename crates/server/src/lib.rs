//! The front door: ARM, login and cloud discovery on one TLS port.
//!
//! A request's whole way is [`front::Front::answer`]; everything else in this crate is called from there or serves the
//! unauthenticated neighbours (cloud discovery, the token service).

mod action;
mod activity_log;
mod associated_resources;
mod authorization;
mod batch;
mod bearer;
mod body;
mod capacity;
mod clock;
mod companion;
mod compute;
mod connection_test;
mod context;
mod deployment;
pub mod discovery;
mod door;
mod failure;
mod founding;
pub mod front;
pub mod graph;
mod host_name;
mod identities;
mod ledger;
mod lent;
mod list;
mod lock;
pub mod login;
mod metrics;
mod need;
mod network;
mod operations;
pub mod origin;
mod pass;
mod policy;
mod preconditions;
mod presets;
mod private_endpoints;
mod provider;
mod providers;
mod quota;
mod registry;
mod reply;
mod request;
mod resource;
mod routes;
mod rule_history;
mod rule_requests;
mod server;
mod service_tags;
mod soft_delete;
mod subscription;
mod suggestions;
mod surroundings;
mod tags;
mod throttle;
pub mod tls;

pub use activity_log::{AuditKeeper, AuditSettings, KeeperError};
pub use clock::SystemClock;
pub use compute::frame as exec_frame;
pub use failure::Failure;
pub use founding::{Founding, found};
pub use network::{DEFAULT_SUBNET, Enforcement, NetworkSettings};
pub use server::{Server, Settings};
