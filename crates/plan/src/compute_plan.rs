//! What a node must run for one hub: a full document, never a difference.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::hub_plan::{ComputeId, HubId, Stamp};

/// The instances of a hub and of its projects. What is not in it is to be gone without a trace.
///
/// Each instance has its leg in the [`crate::HubPlan`] of the same hub, and runs only behind a wall that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputePlan {
    /// [`crate::hub_plan::PLAN_VERSION`] of who wrote it.
    pub version: u32,
    /// Whose instances these are.
    pub hub: HubId,
    /// Which of two plans is newer.
    pub stamp: Stamp,
    /// The instances, ordered by id.
    pub instances: Vec<Instance>,
}

/// One sandbox: a compute instance, or a node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    /// Its incarnation, which its leg has too.
    pub compute: ComputeId,
    /// Its name, for its host name and for sentences people read.
    pub name: String,
    /// What it is to do.
    pub run: Run,
    /// Counts how often somebody asked for a start. An instance that runs for a smaller number is started again.
    pub start: u64,
    /// What its file system is made of.
    pub image: Image,
    /// What stands between it and the kernel.
    pub isolation: Isolation,
    /// What it may take of the node.
    pub size: Size,
    /// Name of the user who works in it; user number 1000.
    pub user: String,
    /// Who may log in by SSH: lines of `authorized_keys`.
    pub keys: Vec<String>,
    /// Variables of every process in it.
    pub environment: BTreeMap<String, String>,
    /// Files that it finds, which are not its own to change.
    pub files: Vec<File>,
    /// Folders of the node that outlive it.
    pub shares: Vec<Share>,
    /// Runs once, before the first start has succeeded.
    pub creation_script: Option<Script>,
    /// Runs at every start.
    pub startup_script: Option<Script>,
}

impl Instance {
    /// One of the base image that runs, as user `azureuser`, and of which nothing else is said.
    pub fn plain(compute: ComputeId, name: &str, size: Size) -> Self {
        Self {
            compute,
            name: name.to_owned(),
            run: Run::Running,
            start: 1,
            image: Image::Base,
            isolation: Isolation::Container,
            size,
            user: "azureuser".to_owned(),
            keys: Vec::new(),
            environment: BTreeMap::new(),
            files: Vec::new(),
            shares: Vec::new(),
            creation_script: None,
            startup_script: None,
        }
    }
}

/// What an instance is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Run {
    /// Run.
    Running,
    /// Run, but get no time of a processor until somebody connects.
    Frozen,
    /// Keep its disk, and nothing else.
    Stopped,
}

/// What a file system is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Image {
    /// The image that Bastide makes itself.
    Base,
    /// An OCI image in a registry, `host/name:tag` or with a digest.
    Reference(String),
    /// An OCI archive in a file of this node, in a directory that its administrator admits.
    Archive(String),
}

/// What stands between an instance and the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Isolation {
    /// Namespaces, seccomp and control groups of the node's kernel.
    Container,
    /// A kernel of its own in user space, gVisor.
    Gvisor,
}

/// What an instance may take of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Size {
    /// Thousandths of a processor core.
    pub cpu_millis: u32,
    /// Bytes of memory, swap included.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Bytes on the disk that it may write beside its image.
    pub disk: u64,
    /// Graphics processors.
    pub gpus: u32,
}

/// A file in an instance that belongs to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    /// An absolute path.
    pub path: String,
    /// What is in it.
    pub content: String,
}

/// A folder of the node that several instances may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Share {
    /// Which: the incarnation of the hub or project whose folder it is.
    pub id: Uuid,
    /// Where it is seen, an absolute path.
    pub path: String,
    /// Nobody may write to it.
    pub read_only: bool,
}

/// A script that runs in an instance as its root user, who is nobody outside of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// The script.
    pub content: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub seconds: u32,
}

impl fmt::Display for ComputeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
