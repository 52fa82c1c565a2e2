//! What the agent keeps on disk: enough to put every wall back before anything else runs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bastide_plan::hub_plan::{HubId, Leg};
use bastide_plan::{ComputePlan, HubPlan};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::network::facts::Slot;

/// The directory of one agent, locked for as long as this lives.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    node: Mutex<Node>,
    _lock: File,
}

/// What is about the node as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Tells this Bastide's objects in the kernel from those of another on the same host.
    pub id: Uuid,
    /// The greatest fencing token that a server has shown.
    pub fence: i64,
    /// What `net.ipv4.ip_forward` was before the first hub; none when there is no hub.
    pub forwarding_before: Option<String>,
}

/// One hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubRecord {
    /// What it must look like.
    pub plan: HubPlan,
    /// Its place on the node.
    pub slot: Slot,
    /// Legs of tests, which are in no plan.
    pub attached: Vec<Leg>,
}

/// The agent's directory cannot be used.
#[derive(Debug, Error)]
#[error("cannot use {}: {source}", .path.display())]
pub struct StateError {
    path: PathBuf,
    source: io::Error,
}

impl State {
    /// Opens the directory, and makes it first when it is not there.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError { path, source }
        };
        for kind in [HUBS, COMPUTES, INSTANCES] {
            let path = directory.join(kind);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(fail(&path))?;
        }
        let lock = directory.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let file = file.map_err(fail(&lock))?;
        file.try_lock().map_err(|error| fail(&lock)(io::Error::other(format!("another agent has it: {error}"))))?;
        let path = directory.join(NODE);
        let node = match read(&path) {
            Ok(node) => node,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let node = Node { id: Uuid::new_v4(), fence: i64::MIN, forwarding_before: None };
                write(&path, &node).map_err(fail(&path))?;
                node
            }
            Err(error) => return Err(fail(&path)(error)),
        };
        Ok(Self { directory: directory.to_owned(), node: Mutex::new(node), _lock: file })
    }

    /// Every hub.
    pub fn hubs(&self) -> Result<Vec<HubRecord>, StateError> {
        self.all(HUBS)
    }

    /// What is to run, for every hub.
    pub fn computes(&self) -> Result<Vec<ComputePlan>, StateError> {
        self.all(COMPUTES)
    }

    /// Keeps what is to run for a hub.
    pub fn keep_computes(&self, plan: &ComputePlan) -> Result<(), StateError> {
        let path = self.path(COMPUTES, plan.hub);
        write(&path, plan).map_err(|source| StateError { path, source })
    }

    /// Forgets what was to run for a hub.
    pub fn forget_computes(&self, hub: HubId) {
        remove(&self.path(COMPUTES, hub));
    }

    /// Where what belongs to instances is kept.
    pub fn instances(&self) -> PathBuf {
        self.directory.join(INSTANCES)
    }

    /// Where what happened at the walls is kept.
    pub fn flows(&self) -> PathBuf {
        self.directory.join(FLOWS)
    }

    /// What could not be read is left out, and set aside: the server sends its plan again.
    fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, StateError> {
        let directory = self.directory.join(kind);
        let entries = fs::read_dir(&directory).map_err(|source| StateError { path: directory, source })?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort_unstable();
        Ok(paths.iter().filter_map(|path| read_or_set_aside(path)).collect())
    }

    /// Keeps a hub.
    pub fn keep(&self, record: &HubRecord) -> Result<(), StateError> {
        let path = self.path(HUBS, record.plan.hub);
        write(&path, record).map_err(|source| StateError { path, source })
    }

    /// Forgets a hub.
    pub fn forget(&self, hub: HubId) {
        remove(&self.path(HUBS, hub));
    }

    /// What is about the node.
    pub fn node(&self) -> Node {
        self.locked().clone()
    }

    /// Changes what is about the node.
    pub fn change_node(&self, change: impl FnOnce(&mut Node)) -> Result<(), StateError> {
        let mut node = self.locked();
        let before = node.clone();
        change(&mut node);
        if *node == before {
            return Ok(());
        }
        let path = self.directory.join(NODE);
        write(&path, &*node).map_err(|source| StateError { path, source })
    }

    fn path(&self, kind: &str, hub: HubId) -> PathBuf {
        self.directory.join(kind).join(format!("{hub}.json"))
    }

    fn locked(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a file. One that is no such document is renamed, so that it is neither lost nor found again.
pub fn read_or_set_aside<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let error = match read(path) {
        Ok(record) => return Some(record),
        Err(error) => error,
    };
    if error.kind() != io::ErrorKind::NotFound {
        tracing::error!("{} cannot be read, and is set aside: {error}", path.display());
        let _ = fs::rename(path, path.with_extension("unreadable"));
    }
    None
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{} stays on disk: {error}", path.display());
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)
}

/// Writes a file so that after a power cut it holds either what it held or this.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

const NODE: &str = "node.json";
const HUBS: &str = "hubs";
const COMPUTES: &str = "plans";
pub(crate) const INSTANCES: &str = "instances";
const FLOWS: &str = "flows";
