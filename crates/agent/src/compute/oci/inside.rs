//! Reading and writing files below a root directory that somebody else has filled: no link leads out of it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fchmod, fchown, fstat, mkdirat, openat,
    openat2, renameat, unlinkat,
};
use rustix::io::Errno;

/// A root directory that is open.
#[derive(Debug)]
pub(super) struct Inside {
    root: OwnedFd,
    first_user: u32,
}

impl Inside {
    /// Opens a root directory, whose user 0 is `first_user` on the node.
    pub(super) fn open(root: &Path, first_user: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: openat(CWD, root, flags, Mode::empty())?, first_user })
    }

    /// Opens a path as from inside; `path` is absolute.
    pub(super) fn path(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // One that is opened for reading may be a pipe without a writer.
        let careful = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY | OFlags::NONBLOCK };
        let flags = flags | careful | OFlags::CLOEXEC;
        let open = || openat2(&self.root, path, flags, Mode::empty(), resolve);
        // The kernel could not tell whether `..` led out, because something was renamed or mounted meanwhile, anywhere
        // (openat2(2)): it wants to be asked again.
        let tried = std::iter::repeat_with(open).take(TRIES).find(|tried| !matches!(tried, Err(Errno::AGAIN)));
        Ok(tried.unwrap_or(Err(Errno::AGAIN))?)
    }

    /// What is in a file, which may be missing; no more than a mebibyte of it.
    pub(super) fn read(&self, path: &str) -> io::Result<Option<String>> {
        let file = match self.path(path, OFlags::RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let mut text = Vec::new();
        File::from(file).take(LARGEST).read_to_end(&mut text)?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// What is at a path, links followed.
    pub(super) fn look(&self, path: &str) -> io::Result<Stat> {
        Ok(fstat(self.path(path, OFlags::PATH)?)?)
    }

    /// Whether there is something.
    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path, OFlags::PATH).is_ok()
    }

    /// Makes a directory that is missing, for a user of the inside; whether it was.
    pub(super) fn make_directory(&self, path: &str, user: u32, mode: u32) -> io::Result<bool> {
        let (parent, name) = self.parent(path)?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => return Ok(false),
            outcome => outcome?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&parent, name, flags, Mode::empty())?;
        self.give(&directory, user, mode)?;
        Ok(true)
    }

    /// Makes sure that a directory is one, and no link to one.
    pub(super) fn insist_on_directory(&self, path: &str) -> io::Result<()> {
        self.make_directory(path, 0, 0o755)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)?;
        Ok(())
    }

    /// Puts a file in the place of what was there, in one step.
    pub(super) fn write(&self, path: &str, content: &str, user: u32, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let unfinished = format!("{name}.bastide");
        match unlinkat(&parent, &unfinished, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, &unfinished, flags, Mode::from_raw_mode(0o600))?;
        self.give(&file, user, mode)?;
        File::from(file).write_all(content.as_bytes())?;
        Ok(renameat(&parent, &unfinished, &parent, name)?)
    }

    fn give(&self, descriptor: &OwnedFd, user: u32, mode: u32) -> io::Result<()> {
        let number = self.first_user + user;
        fchown(descriptor, Some(Uid::from_raw(number)), Some(Gid::from_raw(number)))?;
        Ok(fchmod(descriptor, Mode::from_raw_mode(mode))?)
    }

    fn parent<'a>(&self, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        let (parent, name) = path.rsplit_once('/').ok_or(io::ErrorKind::InvalidInput)?;
        let parent = if parent.is_empty() { "/" } else { parent };
        Ok((self.path(parent, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }
}

const LARGEST: u64 = 1 << 20;

const TRIES: usize = 100;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(host.path().join("secret"), "of the host").unwrap();
        symlink("../../../../../../../../etc", root.join("up")).unwrap();
        symlink(host.path().join("secret"), root.join("absolute")).unwrap();
        symlink("../secret", root.join("relative")).unwrap();
        let inside = Inside::open(&root, 0).unwrap();
        for path in ["/up/passwd", "/absolute", "/relative", "/../secret"] {
            assert_eq!(inside.read(path).unwrap(), None, "{path}");
        }
        assert!(inside.write("/up/hostname", "x", 0, 0o644).is_err());
    }

    #[test]
    fn what_is_in_the_place_of_a_file_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        symlink("/nowhere", root.path().join("keys")).unwrap();
        let owner = rustix::process::getuid().as_raw();
        let inside = Inside::open(root.path(), owner).unwrap();
        inside.write("/keys", "mine", 0, 0o600).unwrap();
        assert_eq!(inside.read("/keys").unwrap().as_deref(), Some("mine"));
        assert!(std::fs::symlink_metadata(root.path().join("keys")).unwrap().is_file());
    }
}
