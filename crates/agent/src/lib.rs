//! The privileged half of Bastide: makes the kernel of a node match the plan, and reports what the kernel holds.
//!
//! It reads a closed set of messages from peers that the kernel vouches for, and never a byte of a hub's traffic: what is
//! hostile is read by a hub's firewall, which has no privilege. Whatever the agent is killed at, the wall stands: rules
//! live in the kernel, plans on disk, and the next start puts back what is missing before it answers anybody.

pub mod agent;
pub mod compute;
pub mod link;
pub mod network;
pub mod privilege;
mod state;
mod tool;
mod wire;

pub use agent::{Agent, AgentError, Settings};
pub use compute::engine::Engine;
pub use compute::probe::probe as probe_computes;
pub use link::{Client, ClientError, listen};
pub use network::flow_store::Retention;
pub use network::hub::Farewell;
pub use network::leftover::Leftovers;
pub use network::obstacle::obstacles;
pub use network::probe::probe;
