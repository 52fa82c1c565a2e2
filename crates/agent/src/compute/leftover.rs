//! What instances leave in the kernel while they are there. Their mounts are in namespaces that go with them.

use std::fs;
use std::path::{Path, PathBuf};

use super::oci::cgroup::Groups;

/// Control groups of instances, whosever they are.
pub fn groups() -> Vec<String> {
    let root = Path::new("/sys/fs/cgroup");
    let beginning = Groups::path("");
    let beginning = beginning.trim_start_matches('/').as_bytes();
    let trees = [root.to_owned()].into_iter().chain(folders(root));
    let mut groups: Vec<_> = trees
        .flat_map(|tree| folders(&tree))
        .filter(|folder| folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(beginning)))
        .map(|folder| folder.display().to_string())
        .collect();
    groups.sort_unstable();
    groups
}

/// Disks of instances that a loop device is attached to.
pub fn disks() -> Vec<String> {
    let devices = folders(Path::new("/sys/block"));
    let files = devices.filter_map(|device| fs::read_to_string(device.join("loop/backing_file")).ok());
    let mut disks: Vec<_> =
        files.map(|file| file.trim().to_owned()).filter(|file| file.contains("/agent/computes/instances/")).collect();
    disks.sort_unstable();
    disks
}

fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
}
