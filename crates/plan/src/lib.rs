//! What a node must look like, and the messages by which server, agent and firewall agree on it.
//!
//! The server compiles a hub's resources into a [`HubPlan`]; the agent makes the kernel match it and answers with a
//! [`HubReport`]; the firewall of the hub decides by the same document. What runs behind the wall is a [`ComputePlan`], and is
//! answered with [`ComputeReport`]s. [`Policy`] is the one place that knows what a plan
//! lets through: the data path, `explain` and the tests ask it, so that they cannot disagree.
//!
//! Nothing here does I/O. Every type is closed and versioned: what a peer of another version sends is refused, not guessed.

pub mod address;
pub mod compute_plan;
pub mod compute_report;
pub mod explanation;
pub mod flow;
pub mod frame;
pub mod hub_plan;
pub mod log_prefix;
pub mod message;
pub mod name_change;
pub mod packet;
pub mod policy;
pub mod reference;
pub mod registry_access;
pub mod report;
pub mod way_in;
pub mod worker;

pub use address::AddressFilter;
pub use compute_plan::ComputePlan;
pub use compute_report::ComputeReport;
pub use hub_plan::{HubId, HubPlan, RuleName};
pub use policy::Policy;
pub use report::HubReport;
