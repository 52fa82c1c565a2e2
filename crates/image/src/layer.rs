//! A layer put over what is there: files and directories, links, and whiteouts that take away what lower layers have.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use thiserror::Error;

use crate::tar::{Entries, Entry, Kind, TarError};
use crate::tree::{Place, RelativePath, Tree, clear};

/// How much an image may have, in all its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of unpacked layers.
    pub bytes: u64,
    /// Entries of layers.
    pub entries: u64,
}

/// Whose the unpacked files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Of whom the image says.
    OfTheImage,
    /// Of whoever unpacks it, which takes no privilege.
    Own,
}

/// What was left out of a layer on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Devices and pipes.
    pub special: u64,
}

/// Why a layer is not taken.
#[derive(Debug, Error)]
pub enum LayerError {
    /// It is no archive.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A path that no honest image has.
    #[error("the path '{0}' leads out of the image, or is too long or too deep")]
    Path(String),
    /// A link to what is not there, or to a directory.
    #[error("'{0}' is to be another name of a file that is not there")]
    Link(String),
    /// A user that instances do not have.
    #[error("'{path}' belongs to the user or group {number}: instances have the numbers 0 to 65,535")]
    Owner {
        /// What belongs to it.
        path: String,
        /// The number.
        number: u64,
    },
    /// It has more than it may.
    #[error("the image has more than {bytes} bytes or {entries} files, and is not unpacked")]
    TooMuch {
        /// What was allowed.
        bytes: u64,
        /// What was allowed.
        entries: u64,
    },
    /// The disk said no.
    #[error("cannot unpack '{path}': {source}")]
    Io {
        /// What could not be unpacked.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Puts a layer, which is an unpacked tar archive, over what is in a directory.
///
/// What is written so far when it fails is there; whoever calls throws the directory away.
pub fn apply(layer: impl Read, root: &OwnedFd, owners: Owners, budget: &mut Spent) -> Result<LeftOut, LayerError> {
    let failed = |source| LayerError::Io { path: ".".to_owned(), source };
    let tree = Tree::new(root.try_clone().map_err(failed)?);
    let mut entries = Entries::new(layer);
    let mut painter = Painter { tree, owners, own: BTreeSet::new(), left_out: LeftOut::default() };
    while let Some(entry) = entries.next_entry()? {
        budget.take(entry.size)?;
        painter.add(&entry, &mut entries)?;
    }
    Ok(painter.left_out)
}

/// A budget, and what has been spent of it.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    budget: Budget,
    left: Budget,
}

impl Spent {
    /// Nothing yet.
    pub fn nothing_of(budget: Budget) -> Self {
        Self { budget, left: budget }
    }

    fn take(&mut self, bytes: u64) -> Result<(), LayerError> {
        let Budget { bytes: most_bytes, entries: most_entries } = self.budget;
        let too_much = LayerError::TooMuch { bytes: most_bytes, entries: most_entries };
        match (self.left.bytes.checked_sub(bytes), self.left.entries.checked_sub(1)) {
            (Some(bytes), Some(entries)) => self.left = Budget { bytes, entries },
            _ => return Err(too_much),
        }
        Ok(())
    }
}

struct Painter {
    tree: Tree,
    owners: Owners,
    /// Inodes that this layer itself has made or named: an opaque directory hides what is under the layer, not these.
    own: BTreeSet<u64>,
    left_out: LeftOut,
}

impl Painter {
    fn add(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), LayerError> {
        let shown = || shown(&entry.path);
        let path = RelativePath::parse(&entry.path).ok_or_else(|| LayerError::Path(shown()))?;
        if let Some((_, name)) = path.split()
            && let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT)
        {
            return self.white_out(&path, hidden).map_err(|source| LayerError::Io { path: shown(), source });
        }
        let owner = self.owner(entry)?;
        let outcome = match &entry.kind {
            Kind::Special => {
                self.left_out.special += 1;
                return Ok(());
            }
            Kind::Link(to) => return self.link(&path, to, shown()),
            Kind::Directory => self.directory(&path, entry, owner),
            Kind::File => self.file(&path, entry, owner, content),
            Kind::Symlink(to) => self.symlink(&path, to, owner),
        };
        outcome.map_err(|source| LayerError::Io { path: shown(), source })
    }

    /// `.wh..wh..opq` takes away what is in its directory; `.wh.NAME` takes away NAME.
    fn white_out(&mut self, path: &RelativePath, hidden: &[u8]) -> io::Result<()> {
        let Some(place) = self.tree.existing(path)? else { return Ok(()) };
        if hidden == OPAQUE {
            let own = |inode| self.own.contains(&inode);
            return clear(&place.parent, &own).map(drop);
        }
        // Notes of a file system that nobody has any more; and what would be the directory itself, or the one above.
        if hidden.starts_with(WHITEOUT) || matches!(hidden, b"" | b"." | b"..") {
            return Ok(());
        }
        Place { parent: place.parent, name: OsString::from_vec(hidden.to_vec()) }.remove()
    }

    fn directory(&mut self, path: &RelativePath, entry: &Entry, owner: Owner) -> io::Result<()> {
        let opened = match self.tree.place(path)? {
            None => self.tree.root()?,
            Some(place) => {
                if !matches!(place.look()?, Some((FileType::Directory, _))) {
                    place.remove()?;
                    rustix::fs::mkdirat(&place.parent, &place.name, Mode::from_raw_mode(0o700))?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&place.parent, &place.name, flags, Mode::empty())?
            }
        };
        self.finish(&opened, entry, owner)
    }

    fn file(&mut self, path: &RelativePath, entry: &Entry, owner: Owner, content: &mut impl Read) -> io::Result<()> {
        let place = self.cleared(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&place.parent, &place.name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = std::fs::File::from(opened);
        io::copy(content, &mut file)?;
        file.flush()?;
        self.finish(&file, entry, owner)
    }

    fn symlink(&mut self, path: &RelativePath, to: &[u8], owner: Owner) -> io::Result<()> {
        let place = self.cleared(path)?;
        rustix::fs::symlinkat(OsStr::from_bytes(to), &place.parent, &place.name)?;
        if let Some((user, group)) = owner {
            let (user, group) = (Some(user), Some(group));
            rustix::fs::chownat(&place.parent, &place.name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        self.own.extend(place.look()?.map(|(_, inode)| inode));
        Ok(())
    }

    fn link(&mut self, path: &RelativePath, to: &[u8], shown: String) -> Result<(), LayerError> {
        let failed = |source| LayerError::Io { path: shown.clone(), source };
        let target = RelativePath::parse(to).ok_or_else(|| LayerError::Path(self::shown(to)))?;
        let missing = || LayerError::Link(shown.clone());
        let from = self.tree.existing(&target).map_err(failed)?.ok_or_else(missing)?;
        let (kind, inode) = from.look().map_err(failed)?.ok_or_else(missing)?;
        if kind == FileType::Directory {
            return Err(missing());
        }
        // Removed first, the name could be the last one of its own target.
        let place = self.tree.place(path).map_err(failed)?.ok_or_else(missing)?;
        if !matches!(place.look().map_err(failed)?, Some((_, there)) if there == inode) {
            place.remove().map_err(failed)?;
            rustix::fs::linkat(&from.parent, &from.name, &place.parent, &place.name, AtFlags::empty())
                .map_err(|error| failed(error.into()))?;
        }
        self.own.insert(inode);
        Ok(())
    }

    /// The place of a path, with nothing there.
    fn cleared(&self, path: &RelativePath) -> io::Result<Place> {
        let root_itself = || io::Error::new(io::ErrorKind::IsADirectory, "the root of an image is a directory");
        let place = self.tree.place(path)?.ok_or_else(root_itself)?;
        place.remove()?;
        Ok(place)
    }

    /// Owner first: changing it takes bits away from the mode.
    fn finish(&mut self, file: impl AsFd, entry: &Entry, owner: Owner) -> io::Result<()> {
        if let Some((user, group)) = owner {
            rustix::fs::fchown(&file, Some(user), Some(group))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode & KEPT_MODE))?;
        let time = Timespec { tv_sec: entry.modified, tv_nsec: 0 };
        rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        self.own.insert(rustix::fs::fstat(&file)?.st_ino);
        Ok(())
    }

    fn owner(&self, entry: &Entry) -> Result<Owner, LayerError> {
        let number = |number: u64| match u16::try_from(number) {
            Ok(number) => Ok(u32::from(number)),
            Err(_) => Err(LayerError::Owner { path: shown(&entry.path), number }),
        };
        let (user, group) = (number(entry.user)?, number(entry.group)?);
        Ok((self.owners == Owners::OfTheImage).then(|| (Uid::from_raw(user), Gid::from_raw(group))))
    }
}

type Owner = Option<(Uid, Gid)>;

/// A path, for a sentence.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().take(200).collect()
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..opq";

/// Permissions and the sticky bit: nobody becomes somebody else by a file.
const KEPT_MODE: u32 = 0o1777;

#[cfg(test)]
mod tests;
