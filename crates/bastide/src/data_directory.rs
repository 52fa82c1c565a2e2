//! The directory that holds everything one Bastide keeps.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A data directory that this process alone uses, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// What people call it, where that is another path.
    called: Option<PathBuf>,
    _lock: Option<File>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirectoryError {
    /// Neither a flag nor the environment says where it is.
    #[error("there is no home directory to keep data in: give --data-dir DIR")]
    NoHome,
    /// It cannot be made or used.
    #[error("cannot use the data directory {}: {source}", .path.display())]
    Unusable {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another Bastide{holder} uses the data directory {}: stop it, or give --data-dir another directory", .path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
        /// ` (process N)`, when the other left its number.
        holder: String,
    },
}

impl DataDirectory {
    /// Makes the directory (mode 0700) when it is not there, and takes it for this process.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirectoryError> {
        let unusable = |source| DataDirectoryError::Unusable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        // Other programs are told paths in it and run in other directories.
        let path = fs::canonicalize(path).map_err(unusable)?;
        let lock = lock(&path)?;
        Ok(Self { path, called: None, _lock: Some(lock) })
    }

    /// The directory that the parent process holds for this one, at the path it has here.
    pub(crate) fn lent(path: &Path, called: &Path) -> Self {
        Self { path: path.to_owned(), called: Some(called.to_owned()), _lock: None }
    }

    /// The path that other processes know it by.
    pub(crate) fn called(&self) -> &Path {
        self.called.as_deref().unwrap_or(&self.path)
    }

    /// A short name for things of this Bastide's that stand elsewhere.
    pub(crate) fn mark(&self) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_URL, self.path.as_os_str().as_encoded_bytes()).simple().to_string()
    }

    /// Where it is when nobody says: `/var/lib/bastide` for root, else `~/.local/share/bastide`.
    pub(crate) fn default_path() -> Result<PathBuf, DataDirectoryError> {
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/bastide"));
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).ok_or(DataDirectoryError::NoHome)?;
        Ok(Path::new(&home).join(".local/share/bastide"))
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The authority and the server's certificate.
    pub(crate) fn pki(&self) -> PathBuf {
        Self::pki_of(&self.path)
    }

    /// The same, of the data directory at `path`.
    pub(crate) fn pki_of(path: &Path) -> PathBuf {
        path.join("pki")
    }

    /// Every certificate a client of this Bastide is to trust, in the data directory at `path`: see `trust`.
    pub(crate) fn trust_file(path: &Path) -> PathBuf {
        path.join("pki/trust.pem")
    }

    /// Sockets that the processes of this Bastide find each other by.
    pub(crate) fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Where the agent of this node listens for the server.
    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.run().join("agent.sock")
    }

    /// The certificate that the supervisor hands to the server, with its key.
    pub(crate) fn handed_certificate(&self) -> PathBuf {
        self.path.join(Self::HANDED_CERTIFICATE)
    }

    /// Its name.
    pub(crate) const HANDED_CERTIFICATE: &str = "serve.pem";

    /// The embedded database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("bastide.db")
    }

    /// The key that seals secrets in the database.
    pub(crate) fn sealing_key(&self) -> PathBuf {
        self.path.join("sealing.key")
    }
}

/// Takes the lock file with flock(2), which the kernel gives back whenever and however this process ends.
fn lock(directory: &Path) -> Result<File, DataDirectoryError> {
    let path = directory.join("lock");
    let unusable = |source| DataDirectoryError::Unusable { path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let holder = text.trim().parse::<u32>().map(|pid| format!(" (process {pid})")).unwrap_or_default();
            return Err(DataDirectoryError::Taken { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(unusable)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_made_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(&parent.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(directory.path().is_absolute());
    }

    #[test]
    fn two_servers_cannot_share_it() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(parent.path()).unwrap();
        let refusal = DataDirectory::open(parent.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
        drop(first);
        DataDirectory::open(parent.path()).unwrap();
    }
}
