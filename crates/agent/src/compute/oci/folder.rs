//! What there is of an instance on the disk of the node: a folder below the agent's own.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bundle::Shown;
use super::{account, failed, view};
use crate::compute::runtime::{Order, RuntimeError, SHARE_USERS};

/// The folder of an instance, which may be missing.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn exists(&self) -> bool {
        self.0.exists()
    }

    pub(super) fn make(&self) -> Result<(), RuntimeError> {
        make_private(&self.0)
    }

    /// Its disk, a file.
    pub(super) fn disk(&self) -> PathBuf {
        self.0.join("disk.img")
    }

    /// What the runtime is told about it, a folder.
    pub(super) fn bundle(&self) -> Result<PathBuf, RuntimeError> {
        let bundle = self.0.join("bundle");
        make_private(&bundle).map(|()| bundle)
    }

    /// For what is needed of files while a process is started.
    pub(super) fn starts(&self) -> PathBuf {
        self.0.join("exec")
    }

    /// What was ordered when it was last created.
    pub(super) fn order(&self) -> Result<Option<Order>, RuntimeError> {
        self.read("order.json")
    }

    pub(super) fn keep_order(&self, order: &Order) -> Result<(), RuntimeError> {
        self.write("order.json", order)
    }

    /// What was ordered when it was last started.
    pub(super) fn started(&self) -> Result<Option<Order>, RuntimeError> {
        self.read("started.json")
    }

    /// Not written to the disk at once: what was started is gone when the node is.
    pub(super) fn keep_started(&self, order: &Order) -> Result<(), RuntimeError> {
        self.put("started.json", order).map(|_| ())
    }

    /// The devices that it has, from its creation to its deletion.
    pub(super) fn devices(&self) -> Result<Vec<String>, RuntimeError> {
        Ok(self.read("devices.json")?.unwrap_or_default())
    }

    pub(super) fn keep_devices(&self, devices: &[String]) -> Result<(), RuntimeError> {
        self.write("devices.json", devices)
    }

    /// Where a file is that the instance sees and cannot change.
    pub(super) fn shown(&self, place: &str) -> Shown {
        Shown { source: self.0.join("files").join(place.trim_start_matches('/')), place: place.to_owned() }
    }

    /// Writes such a file, in place: an instance that runs sees the new content.
    pub(super) fn show(&self, place: &str, content: &str, owner: u32) -> Result<(), RuntimeError> {
        let file = self.shown(place).source;
        if fs::read_to_string(&file).is_ok_and(|before| before == content) {
            return Ok(());
        }
        let written = fs::create_dir_all(file.parent().unwrap_or(&self.0))
            .and_then(|()| fs::write(&file, content))
            .and_then(|()| chown(&file, Some(owner), Some(owner)))
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o444)));
        written.map_err(failed(format!("cannot write {place} for the instance")))
    }

    pub(super) fn remove(&self) -> Result<(), RuntimeError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("cannot remove the instance")(error)),
            _ => Ok(()),
        }
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, RuntimeError> {
        let unreadable = || failed(format!("cannot read {}", self.0.join(file).display()));
        match fs::read(self.0.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => serde_json::from_slice(&text.map_err(unreadable())?)
                .map_err(failed(format!("cannot read {}", self.0.join(file).display()))),
        }
    }

    fn write(&self, file: &str, content: &(impl Serialize + ?Sized)) -> Result<(), RuntimeError> {
        let written = self.put(file, content)?;
        written.sync_all().map_err(failed(format!("cannot write {}", self.0.join(file).display())))
    }

    /// Puts a file in the place of what was there, in one step.
    fn put(&self, file: &str, content: &(impl Serialize + ?Sized)) -> Result<fs::File, RuntimeError> {
        let path = self.0.join(file);
        let unfinished = path.with_extension("new");
        let text = serde_json::to_vec(content).map_err(io::Error::other);
        let written = text.and_then(|text| {
            let mut file = fs::File::create(&unfinished)?;
            file.write_all(&text)?;
            fs::rename(&unfinished, &path)?;
            Ok(file)
        });
        written.map_err(failed(format!("cannot write {}", path.display())))
    }
}

/// Makes a folder that the users of all instances have in common.
pub(super) fn make_share(folder: &Path) -> Result<(), RuntimeError> {
    let users = SHARE_USERS..SHARE_USERS + view::USERS;
    let owner = Some(SHARE_USERS + account::USER);
    let made = fs::create_dir_all(folder).and_then(|()| fs::metadata(folder)).and_then(|metadata| {
        if users.contains(&metadata.uid()) {
            return Ok(());
        }
        chown(folder, owner, owner)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o770))
    });
    made.map_err(failed(format!("cannot make the shared folder {}", folder.display())))
}

/// Makes a directory for the agent alone.
pub(super) fn make_private(directory: &Path) -> Result<(), RuntimeError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed(format!("cannot make {}", directory.display())))
}
