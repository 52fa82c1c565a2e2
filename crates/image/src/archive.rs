//! Where the parts of an image are: an OCI layout, in a directory or in one tar file (`oci-archive`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;

use thiserror::Error;

use crate::digest::Digest;
use crate::tar::{Entries, Kind, TarError};

/// Parts of images by their digest. What is read is not yet known to be what the digest says.
pub trait Blobs {
    /// The index to begin with, `index.json`.
    fn index(&self) -> io::Result<Box<dyn Read + '_>>;

    /// A part.
    fn blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>>;
}

/// An OCI layout in one tar file, which is not compressed.
#[derive(Debug)]
pub struct Archive {
    file: File,
    members: BTreeMap<String, Extent>,
}

/// Why a file is no archive of images.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It is no tar file.
    #[error(
        "{0}. An OCI archive is expected, as 'skopeo copy ... oci-archive:FILE' or 'podman save --format oci-archive' writes it"
    )]
    Tar(#[from] TarError),
    /// It is one, of something else.
    #[error(
        "it has no index.json. An OCI archive is expected, as 'skopeo copy ... oci-archive:FILE' or 'podman save --format oci-archive' writes it"
    )]
    NoIndex,
    /// It has more files than any image has parts.
    #[error("it has more than {MOST_MEMBERS} files, and is no OCI archive")]
    TooMany,
}

impl Archive {
    /// Reads where in the file everything is.
    pub fn open(file: File) -> Result<Self, ArchiveError> {
        let mut members = BTreeMap::new();
        let mut entries = Entries::new(BufReader::new(&file));
        while let Some(entry) = entries.next_entry()? {
            let name = String::from_utf8_lossy(&entry.path).trim_start_matches("./").to_owned();
            if entry.kind == Kind::File {
                members.insert(name, Extent { start: entries.position(), length: entry.size });
            }
            if members.len() > MOST_MEMBERS {
                return Err(ArchiveError::TooMany);
            }
        }
        if !members.contains_key(INDEX) {
            return Err(ArchiveError::NoIndex);
        }
        Ok(Self { file, members })
    }

    fn member(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        let extent = self.members.get(name).copied();
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the archive has no '{name}'"));
        Ok(Box::new(BufReader::with_capacity(BUFFER, Part { file: &self.file, extent: extent.ok_or_else(missing)? })))
    }
}

impl Blobs for Archive {
    fn index(&self) -> io::Result<Box<dyn Read + '_>> {
        self.member(INDEX)
    }

    fn blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>> {
        self.member(&format!("blobs/sha256/{}", digest.digits()))
    }
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    start: u64,
    length: u64,
}

/// A part of a file.
struct Part<'a> {
    file: &'a File,
    extent: Extent,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.extent.length).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.extent.start)?;
        self.extent.start += length as u64;
        self.extent.length -= length as u64;
        Ok(length)
    }
}

const INDEX: &str = "index.json";
const BUFFER: usize = 256 << 10;

/// An image has a few hundred parts at most; a layout may hold several images.
const MOST_MEMBERS: usize = 10_000;
