//! A directory tree that is filled by paths nobody trusts. No path leads out of it, whatever links are in it: the kernel
//! resolves each under the root (`openat2` with `RESOLVE_IN_ROOT`), and the last name of a path is never followed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The root of a tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

/// A place in a tree: a directory of it, and a name in that.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) parent: OwnedFd,
    pub(crate) name: OsString,
}

/// A path relative to the root, without dots. It may lead over links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelativePath(Vec<OsString>);

impl RelativePath {
    /// None for a path that would leave the root, or that no file system takes.
    pub(crate) fn parse(path: &[u8]) -> Option<Self> {
        if path.len() > LONGEST_PATH || path.contains(&0) {
            return None;
        }
        let mut names = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => return None,
                name if name.len() > LONGEST_NAME => return None,
                name => names.push(OsString::from_vec(name.to_vec())),
            }
        }
        (names.len() <= DEEPEST).then_some(Self(names))
    }

    /// The directories, and the last name; none for the root itself.
    pub(crate) fn split(&self) -> Option<(&[OsString], &OsStr)> {
        self.0.split_last().map(|(last, parents)| (parents, last.as_os_str()))
    }
}

impl Tree {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// The place of a path, with its directories made if they are not there.
    pub(crate) fn place(&self, path: &RelativePath) -> io::Result<Option<Place>> {
        let Some((parents, name)) = path.split() else { return Ok(None) };
        let parent = match self.directory(parents) {
            Err(Errno::NOENT) => self.make_directories(parents)?,
            found => found?,
        };
        Ok(Some(Place { parent, name: name.to_owned() }))
    }

    /// The place of a path whose directories are there.
    pub(crate) fn existing(&self, path: &RelativePath) -> io::Result<Option<Place>> {
        let Some((parents, name)) = path.split() else { return Ok(None) };
        match self.directory(parents) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => Ok(Some(Place { parent: found?, name: name.to_owned() })),
        }
    }

    /// The root itself.
    pub(crate) fn root(&self) -> io::Result<OwnedFd> {
        self.root.try_clone()
    }

    fn make_directories(&self, names: &[OsString]) -> io::Result<OwnedFd> {
        for depth in 1..=names.len() {
            let (Some(above), Some(name)) = (names.get(..depth - 1), names.get(depth - 1)) else { continue };
            let parent = self.directory(above)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.directory(names)?)
    }

    /// A directory, along links that stay inside.
    fn directory(&self, names: &[OsString]) -> rustix::io::Result<OwnedFd> {
        let path = names.join(OsStr::new("/"));
        let path = if path.is_empty() { OsString::from(".") } else { path };
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.root, path, DIRECTORY, Mode::empty(), how)
    }
}

impl Place {
    /// Removes what is here, with all that is in it. Nothing being here is fine.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove(&self.parent, &self.name, &|_| false).map(drop)
    }

    /// Kind and inode of what is here, links not followed.
    pub(crate) fn look(&self) -> io::Result<Option<(FileType, u64)>> {
        look(&self.parent, &self.name)
    }
}

/// Removes what is in a directory, but for what `keep` says of inodes. Tells whether anything was kept.
pub(crate) fn clear(directory: impl AsFd, keep: &dyn Fn(u64) -> bool) -> io::Result<bool> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    let mut kept = false;
    for name in names {
        kept |= remove(&directory, &name, keep)?;
    }
    Ok(kept)
}

/// Depth is bounded by that of paths: nothing is made deeper.
fn remove(parent: impl AsFd, name: &OsStr, keep: &dyn Fn(u64) -> bool) -> io::Result<bool> {
    let Some((kind, inode)) = look(&parent, name)? else { return Ok(false) };
    if kind != FileType::Directory {
        if keep(inode) {
            return Ok(true);
        }
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
        return Ok(false);
    }
    let directory = rustix::fs::openat(&parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    if clear(&directory, keep)? || keep(inode) {
        return Ok(true);
    }
    rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
    Ok(false)
}

fn look(parent: impl AsFd, name: &OsStr) -> io::Result<Option<(FileType, u64)>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some((FileType::from_raw_mode(found.st_mode), found.st_ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// `PATH_MAX` and `NAME_MAX` of Linux.
const LONGEST_PATH: usize = 4096;
const LONGEST_NAME: usize = 255;

/// Deeper than any real image, and shallow enough to be walked with one descriptor for each step.
const DEEPEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_under_its_root_or_is_none() {
        assert_eq!(RelativePath::parse(b"/a//./b/"), RelativePath::parse(b"a/b"));
        for wrong in [&b"../a"[..], b"a/../../b", b"a\0b", &[b'a'; 256], "a/".repeat(201).as_bytes()] {
            assert_eq!(RelativePath::parse(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
        assert!(RelativePath::parse(b"./").unwrap().split().is_none());
    }
}
