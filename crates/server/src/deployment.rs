//! `Microsoft.Resources/deployments`: templates, run.
//!
//! A deployment is a resource, and so is each of its operations; both live in the ledger like everything else, so that a
//! group takes them along when it goes. A run is one row in the table of operations. What it needs to go on after a
//! crash - template, parameters, the facts it was planned with - is sealed beside the deployment until it is over: an
//! equal plan can then be made again, and the stored operations say which of its nodes are done.
//!
//! Every node is a request of the deployer's own through the front door ([`Front::ask`](crate::front::Front::ask)).

mod asked;
mod cancellation;
mod complete;
mod course;
mod create;
mod describe;
mod export;
mod foretell;
mod lookups;
mod mirror;
mod node;
mod operation;
mod planning;
mod preflight;
mod record;
mod redaction;
mod resource_type;
mod run;
mod setting;

use std::sync::Arc;

use bastide_template::Plan;
use uuid::Uuid;

use self::redaction::Redaction;
pub use mirror::Mirror;
pub(crate) use resource_type::DeploymentType;
pub(crate) use run::RUN_DEPLOYMENT;

/// A deployment inside another one, ready to be put.
#[derive(Debug)]
pub(crate) struct Nested {
    /// What it deploys.
    pub(crate) plan: Arc<Plan>,
    /// This run of it; the same after a crash.
    pub(crate) run: Uuid,
    /// The operation of the outermost deployment.
    pub(crate) operation: Uuid,
    /// What must not be shown of it.
    redaction: Arc<Redaction>,
}

/// The type in canonical spelling.
pub(crate) const TYPE_NAME: &str = "Microsoft.Resources/deployments";
