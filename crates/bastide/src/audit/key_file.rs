//! The file that holds the key of the audit chain: its name and 32 bytes, for its owner only.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use bastide_audit::{KeyError, SigningKey};

/// `audit.key` in a data directory.
pub(super) struct KeyFile {
    path: PathBuf,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFileError {
    #[error("cannot use the audit key {}: {source}", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("the audit key {} is damaged: restore it from a backup", .0.display())]
    Damaged(PathBuf),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("there is no audit key {}: it is made by the first 'bastide up'", .0.display())]
    Missing(PathBuf),
    #[error("the audit key {} is gone, and checkpoints were signed with it: restore it from a backup", .0.display())]
    Lost(PathBuf),
    #[error("the system gave no random bytes for an audit key")]
    Random,
}

impl KeyFile {
    pub(super) fn of(data_directory: &Path) -> Self {
        Self { path: data_directory.join("audit.key") }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key; `None` when there is no file.
    pub(super) fn read(&self) -> Result<Option<SigningKey>, KeyFileError> {
        let unusable = |source| KeyFileError::Unusable { path: self.path.clone(), source };
        let mut text = String::new();
        match OpenOptions::new().read(true).open(&self.path) {
            Ok(mut file) => file.read_to_string(&mut text).map_err(unusable)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error)),
        };
        let damaged = || KeyFileError::Damaged(self.path.clone());
        let (name, digits) = text.trim_end().split_once(' ').ok_or_else(damaged)?;
        let seed = bytes(digits).ok_or_else(damaged)?;
        Ok(Some(SigningKey::new(name, &seed)?))
    }

    /// Makes a key for the chain of that name.
    pub(super) fn create(&self, name: &str) -> Result<SigningKey, KeyFileError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyFileError::Random)?;
        let key = SigningKey::new(name, &seed)?;
        let mut digits = String::with_capacity(2 * seed.len());
        for byte in seed {
            let _never_fails = write!(digits, "{byte:02x}");
        }
        let write = || {
            // Whole or not at all: a half key would be a lost one.
            let half = self.path.with_extension("key.new");
            let mut file = private().create(true).truncate(true).open(&half)?;
            writeln!(file, "{name} {digits}")?;
            file.sync_all()?;
            std::fs::rename(&half, &self.path)
        };
        write().map_err(|source| KeyFileError::Unusable { path: self.path.clone(), source })?;
        Ok(key)
    }
}

/// Opens files for their owner only.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_read_back_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::of(directory.path());
        assert!(file.read().unwrap().is_none());
        let made = file.create("bastide/t/audit").unwrap();
        assert_eq!(file.read().unwrap().unwrap().public(), made.public());
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        for damage in ["", "bastide/t/audit", "bastide/t/audit xyz", "bastide/t/audit 00ff"] {
            std::fs::write(file.path(), damage).unwrap();
            assert!(file.read().is_err(), "{damage:?}");
        }
    }
}
