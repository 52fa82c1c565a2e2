//! What all threads of the worker share.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::flow_log::FlowLog;
use crate::host::HostSide;
use crate::resolver::Resolver;
use crate::view::CurrentView;

/// What all threads of the worker share.
#[derive(Debug, Clone)]
pub struct Context {
    /// What is decided by.
    pub view: Arc<CurrentView>,
    /// Knows which addresses were given for which names.
    pub resolver: Arc<Resolver>,
    /// Where what happened is kept.
    pub log: Arc<FlowLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way to services of the host.
    pub host: HostSide,
    /// The server's socket, for Bastide's own services.
    pub server_socket: PathBuf,
}
