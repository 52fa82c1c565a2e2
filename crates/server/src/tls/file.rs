//! Files that are either the old one or the new one, whenever the machine stops.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::TlsError;

/// Writes `content` to `path` so that a crash leaves the old file or the new one, never a part: a temporary file beside
/// it, synced, renamed over it, and the directory synced. `mode` holds from the first byte, whatever the umask.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path)?;
    // What an earlier crash left behind under this name is ours to replace; `create_new` then refuses links.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o600).open(&temporary)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// The text of a file, or `None` when there is none.
pub(super) fn read_optional(path: &Path) -> Result<Option<String>, TlsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TlsError::File { deed: "read", path: path.to_owned(), source }),
    }
}

/// Reads a private key's file, refusing one that group or others may read.
pub(super) fn read_private(path: &Path) -> Result<Option<String>, TlsError> {
    let Some(text) = read_optional(path)? else { return Ok(None) };
    let metadata =
        fs::metadata(path).map_err(|source| TlsError::File { deed: "read", path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TlsError::KeyExposed { path: path.to_owned(), mode });
    }
    Ok(Some(text))
}

/// [`write_atomically`] with the error of this module.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    write_atomically(path, content, mode).map_err(|source| TlsError::File {
        deed: "write",
        path: path.to_owned(),
        source,
    })
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_what_a_crash_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        fs::write(directory.path().join(".ca.key.new"), "half").unwrap();
        write_atomically(&path, b"one", 0o600).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_mode_does_not_depend_on_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        write_atomically(&path, b"public", 0o644).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    #[test]
    fn refuses_a_key_that_others_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        write_atomically(&path, b"key", 0o640).unwrap();
        let refusal = read_private(&path).unwrap_err().to_string();
        assert!(refusal.contains("mode 0640") && refusal.contains("chmod 600"), "{refusal}");
    }
}
