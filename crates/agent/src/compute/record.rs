//! What is remembered of an instance beside its order: enough to take up where an agent was killed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bastide_plan::compute_plan::{Image, Instance, Run};
use bastide_plan::compute_report::{ScriptLog, Step};
use bastide_plan::hub_plan::{ComputeId, HubId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::image::Unpacked;
use super::runtime::SHARE_USERS;
use crate::state::{read_or_set_aside, write};

/// What is remembered of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Whose it is.
    pub hub: HubId,
    /// Which one.
    pub compute: ComputeId,
    /// Its users on this node.
    pub users: Users,
    /// What its disk lies over, for as long as its order names the same image: it would be torn by another one.
    pub base: Option<Base>,
    /// The [`Instance::start`] that was last begun. Kept before anything runs.
    pub begun: Option<u64>,
    /// The one whose scripts have succeeded.
    pub ready: Option<u64>,
    /// Its creation script has succeeded, or there was none when it first ran.
    pub set_up: bool,
    /// Why it is not tried again.
    pub failure: Option<Failure>,
}

/// An image that an instance was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Base {
    /// What was ordered.
    pub image: Image,
    /// Where it is unpacked.
    pub root: PathBuf,
    /// What it is.
    pub digest: String,
    /// Variables that it sets.
    pub environment: Vec<(String, String)>,
}

/// The place of an instance among the node's user numbers: 65,536 of them, which nobody else on the node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Users(u32);

/// Something that will not be better when it is done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// What did not succeed.
    pub step: Step,
    /// Why, and what to do about it.
    pub reason: String,
    /// The order that it happened to: another one is tried.
    pub order: Box<Instance>,
}

/// The directory in which an instance's record and logs are.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Record {
    /// Of an instance of which there is nothing yet.
    pub fn new(hub: HubId, compute: ComputeId, users: Users) -> Self {
        Self { hub, compute, users, base: None, begun: None, ready: None, set_up: false, failure: None }
    }

    /// What an order is made of, if that is still there.
    pub fn base_of(&self, order: &Instance) -> Option<&Base> {
        self.base.as_ref().filter(|base| base.image == order.image && base.root.is_dir())
    }

    /// Why an order is not carried out.
    pub fn failure_of(&self, order: &Instance) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| failure.is_about(order))
    }
}

impl Base {
    /// Of what was ordered.
    pub fn new(image: Image, unpacked: Unpacked) -> Self {
        let Unpacked { root, digest, environment } = unpacked;
        Self { image, root, digest, environment }
    }
}

impl Failure {
    fn is_about(&self, order: &Instance) -> bool {
        // To sleep is not to be another one.
        *self.order == Instance { run: self.order.run, ..order.clone() } && order.run != Run::Stopped
    }
}

impl Users {
    /// The first place that `taken` does not refuse. Agents on one node, which do not know of each other, begin to look at
    /// different places.
    pub fn free(node: Uuid, taken: impl Fn(Self) -> bool) -> Option<Self> {
        let beginning = node.as_u64_pair().1 % u64::from(PLACES);
        let beginning = u32::try_from(beginning).unwrap_or_default();
        (0..PLACES).map(|offset| Self((beginning + offset) % PLACES)).find(|place| !taken(*place))
    }

    /// The first of them.
    pub fn first(self) -> u32 {
        FIRST_USER + self.0 * EACH
    }
}

impl Folder {
    /// Of one instance, in the directory of all; made when it is not there.
    pub fn open(instances: &Path, compute: ComputeId) -> io::Result<Self> {
        let path = instances.join(compute.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Every record that there is, with its folder.
    pub fn all(instances: &Path) -> io::Result<Vec<(Self, Record)>> {
        let folders = fs::read_dir(instances)?.flatten().map(|entry| Self(entry.path()));
        Ok(folders.filter_map(|folder| Some((folder.clone(), read_or_set_aside(&folder.record())?))).collect())
    }

    /// Keeps the record.
    pub fn keep(&self, record: &Record) -> io::Result<()> {
        write(&self.record(), record)
    }

    /// Where a script's output is.
    pub fn log(&self, script: ScriptLog) -> PathBuf {
        self.0.join(match script {
            ScriptLog::Creation => "creation.log",
            ScriptLog::Startup => "startup.log",
        })
    }

    /// Leaves nothing of it. One that is not there is fine.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }
}

/// Whether a user is of some instance.
pub fn is_instance_user(user: u32) -> bool {
    (FIRST_USER..SHARE_USERS).contains(&user)
}

/// Above what useradd, systemd and container tools give out by themselves.
const FIRST_USER: u32 = 0x1000_0000;

/// As many as an image may have.
const EACH: u32 = 1 << 16;

/// Up to the users of shared folders.
const PLACES: u32 = (SHARE_USERS - FIRST_USER) / EACH;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_of_users_never_overlap_each_other_or_those_of_shared_folders() {
        let node = Uuid::from_u128(u128::MAX);
        let mut taken = BTreeSet::new();
        while let Some(users) = Users::free(node, |users| taken.contains(&users)) {
            taken.insert(users);
            if taken.len() > 300 {
                break;
            }
        }
        let firsts: BTreeSet<_> = taken.iter().map(|users| users.first()).collect();
        assert_eq!(firsts.len(), 301);
        assert!(firsts.iter().all(|first| (FIRST_USER..=SHARE_USERS - EACH).contains(first) && first % EACH == 0));
        assert_eq!(Users(PLACES - 1).first() + EACH, SHARE_USERS);
    }

    #[test]
    fn agents_of_one_node_begin_to_look_at_different_places() {
        let [one, other] = [1, 2].map(|node| Users::free(Uuid::from_u128(node), |_| false));
        assert_ne!(one, other);
    }
}
