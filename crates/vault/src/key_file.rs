//! The key file: 32 random bytes that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::sealer::SealError;

/// Length of the key in a key file, in bytes.
pub const KEY_LENGTH: usize = 32;

/// Reads the key, judging the file that was opened and not the name it was found under.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<[u8; KEY_LENGTH]>, SealError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SealError::Absent { path: path.into() },
        _ => SealError::Io { path: path.into(), source },
    };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        // Opening a named pipe would wait for a writer.
        return Err(SealError::NotAKey { path: path.into() });
    }
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SealError::Exposed { path: path.into(), mode });
    }
    if !metadata.is_file() || metadata.len() != KEY_LENGTH as u64 {
        return Err(SealError::NotAKey { path: path.into() });
    }
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    file.read_exact(key.as_mut_slice()).map_err(failed)?;
    Ok(key)
}

/// Makes a key file. It appears under its name whole or not at all, and never replaces one that is there.
pub(crate) fn create(path: &Path) -> Result<(), SealError> {
    let failed = |source: io::Error| SealError::Io { path: path.into(), source };
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    rand::fill(key.as_mut_slice()).map_err(|_| SealError::Randomness)?;

    let draft = Draft(path.with_extension(format!("draft-{}", Uuid::new_v4())));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.0).map_err(failed)?;
    file.write_all(key.as_slice()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    match fs::hard_link(&draft.0, path) {
        // Somebody else was first: theirs counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(failed)?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Removes the draft on every way out.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing depends on it; a draft left behind is a spare link or an unused key.
        fs::remove_file(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SealContext, Sealer};

    #[test]
    fn a_fresh_store_gets_a_private_key_file_that_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let context = SealContext { owner: Uuid::nil(), field: "x" };
        let sealed = Sealer::open_or_create(&path).unwrap().seal(&context, b"kept").unwrap();

        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (32, 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
        assert_eq!(*Sealer::open_or_create(&path).unwrap().open_sealed(&context, &sealed).unwrap(), *b"kept");
    }

    #[test]
    fn without_a_key_file_nothing_opens() {
        let folder = tempfile::tempdir().unwrap();
        let error = Sealer::open(&folder.path().join("key")).unwrap_err();
        assert!(matches!(error, SealError::Absent { .. }), "{error}");
    }

    #[test]
    fn a_key_file_others_may_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Sealer::open(&path).unwrap_err();
            assert!(matches!(error, SealError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"));
        }
    }

    #[test]
    fn a_file_of_another_length_or_kind_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 31, 33] {
            let path = folder.path().join(format!("key{length}"));
            fs::write(&path, vec![7; length]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(Sealer::open_or_create(&path), Err(SealError::NotAKey { .. })));
            assert_eq!(fs::read(&path).unwrap(), vec![7; length]);
        }
        assert!(matches!(Sealer::open(folder.path()), Err(SealError::NotAKey { .. })));
    }

    #[test]
    fn making_a_key_never_replaces_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path).unwrap();
        let before = fs::read(&path).unwrap();
        create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
