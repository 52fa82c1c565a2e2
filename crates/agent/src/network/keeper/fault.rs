//! Why a hub's network does not match its plan.

use std::io;

use thiserror::Error;

use crate::network::host::HostError;
use crate::network::namespace::NamespaceError;
use crate::network::table::TableError;
use crate::state::StateError;
use crate::tool::ToolError;

/// Why a hub's network does not match its plan.
#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error("the rule set cannot be put in force: {0}")]
    Wall(#[from] TableError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("the host's side: {0}")]
    Host(#[from] HostError),
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}
