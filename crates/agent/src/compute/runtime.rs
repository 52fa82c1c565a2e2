//! What runs instances. The one place that knows how is behind this trait: an OCI runtime on this node, or nothing but a
//! memory of what was asked, for tests and simulated networks.
//!
//! Every verb is idempotent, has a deadline, and may be cut off at any line: whoever calls it looks with
//! [`Runtime::observe`] what is so, and calls again. The network is not its business: it is given a namespace.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use bastide_plan::compute_plan::{Instance, Isolation};
use bastide_plan::compute_report::Usage;
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::{Exit, Process, TerminalSize};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Runs instances.
pub trait Runtime: fmt::Debug + Send + Sync {
    /// What it can do on this node, found out by trying.
    fn abilities(&self) -> Abilities;

    /// Makes the disk and the description of an instance, or makes the description anew. Nothing runs after it. What is
    /// on the disk stays.
    fn create(&self, order: &Order) -> Result<(), RuntimeError>;

    /// Starts what was created, reads back what confines it, and ends it at once when that is not as ordered.
    fn start(&self, compute: ComputeId) -> Result<(), RuntimeError>;

    /// Ends what runs in it, asking first; the disk stays.
    fn stop(&self, compute: ComputeId, grace: Duration) -> Result<(), RuntimeError>;

    /// Takes the processor from it, or gives it back.
    fn freeze(&self, compute: ComputeId, frozen: bool) -> Result<(), RuntimeError>;

    /// Leaves nothing of it, disk included. One that is not there is fine.
    fn delete(&self, compute: ComputeId) -> Result<(), RuntimeError>;

    /// What is so.
    fn observe(&self, compute: ComputeId) -> Result<Observed, RuntimeError>;

    /// What it has used.
    fn usage(&self, compute: ComputeId) -> Result<Usage, RuntimeError>;

    /// Starts a process in an instance that runs.
    fn exec(&self, compute: ComputeId, process: &Process) -> Result<Execution, RuntimeError>;

    /// Connects to something that listens inside.
    fn dial(&self, compute: ComputeId, target: &Target) -> Result<OwnedFd, RuntimeError>;

    /// Every instance of which there is anything on this node.
    fn list(&self) -> Result<Vec<ComputeId>, RuntimeError>;
}

/// What is needed to make an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What it must be like.
    pub instance: Instance,
    /// Its network namespace, which exists and has its leg.
    pub namespace: PathBuf,
    /// The resolver of its hub, the only one that it knows.
    pub resolver: Ipv4Addr,
    /// The first of the 65,536 user numbers of the node that are its own, for as long as its disk is kept.
    pub first_user: u32,
    /// The unpacked image: a directory that nobody changes, owned by the users of the image.
    pub root: PathBuf,
    /// Variables that the image itself sets.
    pub image_environment: Vec<(String, String)>,
    /// The folders of the node behind [`Instance::shares`], in the same order. The runtime makes what is missing.
    /// Whoever is user N inside owns files as user [`SHARE_USERS`] + N on the node, in all instances the same.
    pub shares: Vec<PathBuf>,
}

/// What a runtime can do on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Its name and version, `runc 1.1.5`.
    pub name: String,
    /// What it can put between an instance and the kernel.
    pub isolations: Vec<Isolation>,
    /// Whether it really confines: one that only remembers does not.
    pub confines: bool,
    /// Devices of the container device interface that there are, `nvidia.com/gpu=0`.
    pub gpus: Vec<String>,
}

/// What is so about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// There is nothing of it.
    Absent,
    /// It was created, and does not run.
    Stopped,
    /// It runs. What confines it was read back from the kernel just now.
    Running,
    /// It runs, without a processor's time.
    Frozen,
}

/// Where to connect inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket, by its absolute path inside.
    Socket(String),
    /// A TCP port on 127.0.0.1 inside.
    Port(u16),
}

/// A process that was started in an instance.
#[derive(Debug)]
pub struct Execution {
    /// With a terminal its other end; without one the other ends of standard input, output and error.
    pub ends: Vec<OwnedFd>,
    /// The process itself.
    pub process: Box<dyn Running>,
}

/// A process that runs in an instance. Dropping it ends the process. Its descriptor, that of a process or of a pipe, can be
/// read once it has ended, so that one thread waits for this and for who asked.
pub trait Running: fmt::Debug + Send + AsFd {
    /// Waits until it has ended; not longer than `patience`, after which there is no exit.
    fn wait(&mut self, patience: Duration) -> Result<Option<Exit>, RuntimeError>;

    /// Sends it a signal.
    fn signal(&mut self, signal: u8) -> Result<(), RuntimeError>;

    /// Its terminal has another size now.
    fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError>;

    /// What there is to say about its end that the end itself does not tell.
    fn note(&self) -> Option<String> {
        None
    }
}

/// A verb that was not carried out.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// There is no such instance.
    #[error("there is no instance {0} on this node")]
    Unknown(ComputeId),
    /// It does not run, and must for this.
    #[error("the instance does not run. Start it first")]
    NotRunning,
    /// What was to be started beside the first process is no program there, or has nowhere to start.
    #[error("{reason}")]
    NotRunnable {
        /// The status that a shell would end with.
        status: u8,
        /// What is wrong with it.
        reason: String,
    },
    /// This node or this runtime cannot do it.
    #[error("{0}")]
    Unable(String),
    /// What confines it is not as ordered; it was ended.
    #[error("the instance was ended at once, because it was not confined as ordered: {0}")]
    NotConfined(String),
    /// It took too long.
    #[error("{verb} took longer than {} s, and was ended", .patience.as_secs())]
    Late {
        /// What took too long.
        verb: &'static str,
        /// How long it was given.
        patience: Duration,
    },
    /// Something failed.
    #[error("{what}: {reason}")]
    Failed {
        /// What was attempted.
        what: String,
        /// What the runtime or the system said.
        reason: String,
    },
}

/// The first of the 65,536 user numbers of the node that own what is in folders that instances share.
pub const SHARE_USERS: u32 = 0x7000_0000;
