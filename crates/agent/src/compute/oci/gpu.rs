//! Graphics processors, by the container device interface (CDI): files in which the vendor's tool says what a container
//! needs of each device. Bastide reads those in JSON, `nvidia-ctk cdi generate --format json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use bastide_plan::hub_plan::ComputeId;
use oci_spec::runtime::{Hook, LinuxDeviceType};
use serde::Deserialize;

use super::bundle::Shown;
use super::failed;
use crate::compute::runtime::RuntimeError;

/// Where device files are looked for; a later one overrides an earlier one.
#[derive(Debug)]
pub(super) struct Directories(pub(super) Vec<PathBuf>);

/// What an instance gets with its devices.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gift {
    /// Variables of every process.
    pub(super) environment: Vec<(String, String)>,
    /// Devices of the node.
    pub(super) nodes: Vec<DeviceNode>,
    /// Libraries and programs of the node's driver.
    pub(super) files: Vec<Shown>,
    /// What the vendor's tool does in the container, by its stage.
    pub(super) hooks: Vec<(String, Hook)>,
}

/// A device of the node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeviceNode {
    /// Where it is on the node, and where it is seen.
    pub(super) shown: Shown,
    /// Of which kind it is.
    pub(super) kind: LinuxDeviceType,
    /// Its number.
    pub(super) major: i64,
    /// Its number among those of its driver.
    pub(super) minor: i64,
}

impl Default for Directories {
    fn default() -> Self {
        Self(["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).to_vec())
    }
}

impl Directories {
    /// The names of the graphics processors of this node, `nvidia.com/gpu=0`.
    pub(super) fn names(&self) -> Vec<String> {
        self.devices().into_keys().collect()
    }

    /// Chooses devices that nobody has; those that an instance has already stay its own.
    pub(super) fn choose(
        &self,
        count: u32,
        own: &[String],
        taken: &BTreeMap<ComputeId, Vec<String>>,
    ) -> Result<Vec<String>, RuntimeError> {
        let names = self.names();
        let taken: BTreeSet<_> = taken.values().flatten().collect();
        let (kept, free): (Vec<_>, Vec<_>) =
            names.iter().filter(|name| !taken.contains(name)).partition(|name| own.contains(name));
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        if kept.len() + free.len() < wanted {
            let (all, left) = (names.len(), kept.len() + free.len());
            return Err(RuntimeError::Unable(format!(
                "{count} graphics processors were asked for, and of the {all} of this node {left} are free"
            )));
        }
        Ok(kept.into_iter().chain(free).take(wanted).cloned().collect())
    }

    /// What comes with devices.
    pub(super) fn gift(&self, names: &[String]) -> Result<Gift, RuntimeError> {
        let devices = self.devices();
        let mut gift = Gift::default();
        for name in names {
            let gone = || RuntimeError::Unable(format!("the graphics processor {name} has gone from this node"));
            for edits in devices.get(name).ok_or_else(gone)? {
                gift.add(edits)?;
            }
        }
        Ok(gift)
    }

    fn devices(&self) -> BTreeMap<String, Vec<Edits>> {
        let entries = self.0.iter().flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten());
        let mut devices = BTreeMap::new();
        for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        {
            let read = fs::read(&path).map_err(|error| error.to_string());
            match read.and_then(|text| serde_json::from_slice::<File>(&text).map_err(|error| error.to_string())) {
                Ok(file) => devices.extend(file.devices()),
                Err(error) => tracing::warn!("{} tells of no devices: {error}", path.display()),
            }
        }
        devices
    }
}

impl Gift {
    fn add(&mut self, edits: &Edits) -> Result<(), RuntimeError> {
        for variable in edits.env.iter().filter_map(|variable| variable.split_once('=')) {
            self.environment.push((variable.0.to_owned(), variable.1.to_owned()));
        }
        for node in &edits.device_nodes {
            let source = node.host_path.clone().unwrap_or_else(|| PathBuf::from(&node.path));
            let metadata = fs::metadata(&source).map_err(failed(format!("cannot find {}", source.display())))?;
            let kind = if metadata.file_type().is_block_device() { LinuxDeviceType::B } else { LinuxDeviceType::C };
            let (major, minor) = (libc::major(metadata.rdev()).into(), libc::minor(metadata.rdev()).into());
            let node = DeviceNode { shown: Shown { source, place: node.path.clone() }, kind, major, minor };
            if !self.nodes.contains(&node) {
                self.nodes.push(node);
            }
        }
        for mount in &edits.mounts {
            let file = Shown { source: mount.host_path.clone(), place: mount.container_path.clone() };
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
        for hook in &edits.hooks {
            let mut described = Hook::default();
            described.set_path(hook.path.clone()).set_args(Some(hook.args.clone())).set_env(Some(hook.env.clone()));
            if !self.hooks.iter().any(|(_, known)| *known == described) {
                self.hooks.push((hook.hook_name.clone(), described));
            }
        }
        Ok(())
    }
}

/// A file of the container device interface, version 0.6 and older.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    kind: String,
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What is done to a container. One that asks for more than this is not understood, and its devices are not offered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Edits {
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    device_nodes: Vec<Node>,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    hooks: Vec<HookEdit>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    host_path: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: PathBuf,
    container_path: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HookEdit {
    hook_name: String,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
}

impl File {
    /// Those that are graphics processors, each by itself: `all` is not one more.
    fn devices(self) -> Vec<(String, Vec<Edits>)> {
        let Self { kind, devices, container_edits } = self;
        let is_gpu = kind.rsplit('/').next() == Some("gpu");
        let devices = devices.into_iter().filter(|device| is_gpu && device.name != "all");
        devices
            .map(|device| (format!("{kind}={}", device.name), vec![container_edits.clone(), device.container_edits]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"cdiVersion": "0.5.0", "kind": "example.com/gpu",
        "devices": [
            {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/zero"}]}},
            {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}]}},
            {"name": "all", "containerEdits": {}}],
        "containerEdits": {"env": ["DRIVER=550"],
            "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/usr/lib/driver.so", "options": ["ro"]}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}]}}"#;

    fn directories() -> (tempfile::TempDir, Directories) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("example.json"), FILE).unwrap();
        let other = FILE.replace("/gpu\"", "/net\"").replace("example", "other");
        fs::write(directory.path().join("other.json"), other).unwrap();
        let strange = FILE.replace("example", "strange").replace("env", "rdt");
        fs::write(directory.path().join("strange.json"), strange).unwrap();
        let directories = Directories(vec!["/nonexistent".into(), directory.path().to_owned()]);
        (directory, directories)
    }

    #[test]
    fn each_graphics_processor_is_listed_once() {
        let (_directory, directories) = directories();
        assert_eq!(directories.names(), ["example.com/gpu=0", "example.com/gpu=1"]);
    }

    #[test]
    fn nobody_gets_what_another_has() {
        let (_directory, directories) = directories();
        let taken = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            BTreeMap::from([(ComputeId(uuid::Uuid::nil()), names)])
        };
        assert_eq!(directories.choose(1, &[], &taken(&["example.com/gpu=0"])).unwrap(), ["example.com/gpu=1"]);
        let own = ["example.com/gpu=1".to_owned()];
        assert_eq!(directories.choose(1, &own, &taken(&[])).unwrap(), own);
        let error = directories.choose(2, &own, &taken(&["example.com/gpu=0"])).unwrap_err();
        assert!(error.to_string().contains("of the 2 of this node 1 are free"), "{error}");
        assert_eq!(directories.choose(0, &own, &taken(&[])).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_device_brings_what_all_of_its_kind_need() {
        let (_directory, directories) = directories();
        let gift = directories.gift(&directories.names()).unwrap();
        assert_eq!(gift.environment[0], ("DRIVER".to_owned(), "550".to_owned()));
        let places: Vec<_> =
            gift.nodes.iter().map(|node| (node.shown.place.as_str(), node.major, node.minor)).collect();
        assert_eq!(places, [("/dev/gpu0", 1, 5), ("/dev/null", 1, 3)]);
        assert_eq!((gift.files.len(), gift.hooks.len()), (1, 1));
        assert!(matches!(directories.gift(&["example.com/gpu=7".into()]), Err(RuntimeError::Unable(_))));
    }
}
