//! An image, from its index to its last layer.

use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::archive::{ArchiveError, Blobs};
use crate::description::{Configuration, Descriptor, Index, Manifest, Platform};
use crate::digest::{Digest, Verified};
use crate::layer::{Budget, LayerError, Owners, Spent, apply};

/// What is known of an image that has been unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unpacked {
    /// The digest of its manifest.
    pub digest: String,
    /// Variables that it sets.
    pub environment: Vec<(String, String)>,
    /// Devices and pipes in it, which instances do not get.
    pub left_out: u64,
}

/// Why an image is not unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// It is no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A part is missing, or is not what its digest says.
    #[error("{part} of the image cannot be read: {source}")]
    Unreadable {
        /// Which.
        part: &'static str,
        /// What is wrong.
        source: io::Error,
    },
    /// A part says something else than it should.
    #[error("{part} of the image makes no sense: {source}")]
    Malformed {
        /// Which.
        part: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A description is longer than any real one.
    #[error("{0} of the image has more than {LONGEST_DESCRIPTION} bytes")]
    TooLong(&'static str),
    /// There is none for this node, or more than one.
    #[error("there are {0} images for {1} in it, and one is needed")]
    Choice(usize, String),
    /// It has too many layers, or says so of others than it has.
    #[error("the image has {0} layers, and describes {1} (at most {MOST_LAYERS} are taken)")]
    Layers(usize, usize),
    /// A layer.
    #[error("layer {number} of the image: {source}")]
    Layer {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        source: LayerError,
    },
}

/// Unpacks the image for this platform into an empty directory.
pub fn unpack(blobs: &dyn Blobs, platform: &Platform, root: &OwnedFd, owners: Owners) -> Result<Unpacked, UnpackError> {
    let descriptor = choose(blobs, platform)?;
    let manifest: Manifest = described(blobs, &descriptor, "the manifest")?;
    let configuration: Configuration = described(blobs, &manifest.config, "the configuration")?;
    let unpacked = &configuration.layers.diff_ids;
    if unpacked.len() != manifest.layers.len() || unpacked.len() > MOST_LAYERS {
        return Err(UnpackError::Layers(manifest.layers.len(), unpacked.len()));
    }
    let mut spent = Spent::nothing_of(BUDGET);
    let mut left_out = 0;
    for (place, (layer, unpacked)) in manifest.layers.iter().zip(unpacked).enumerate() {
        let broken = |source| UnpackError::Unreadable { part: "a layer", source };
        let mut packed =
            Verified::new(blobs.blob(&layer.digest).map_err(broken)?.take(layer.size), layer.digest.clone());
        let mut tar = Verified::new(decoder(&mut packed).map_err(broken)?, unpacked.clone());
        let outcome = apply(&mut tar, root, owners, &mut spent);
        left_out += outcome.map_err(|source| UnpackError::Layer { number: place + 1, source })?.special;
        // To the end of both: until then nothing is verified.
        tar.finish().and_then(|()| packed.finish()).map_err(broken)?;
    }
    Ok(Unpacked { digest: descriptor.digest.to_string(), environment: configuration.environment(), left_out })
}

/// The manifest for a platform, over indexes of indexes.
fn choose(blobs: &dyn Blobs, platform: &Platform) -> Result<Descriptor, UnpackError> {
    let part = "the index";
    let unreadable = |source| UnpackError::Unreadable { part, source };
    let mut index: Index = parse(&bounded(blobs.index().map_err(unreadable)?, part)?, part)?;
    for _ in 0..DEEPEST_INDEX {
        match index.for_platform(platform).as_slice() {
            [one] if one.is_index() => index = described(blobs, one, part)?,
            [one] => return Ok((*one).clone()),
            several => return Err(UnpackError::Choice(several.len(), platform.to_string())),
        }
    }
    Err(UnpackError::Choice(0, platform.to_string()))
}

/// A description that is what its digest says.
fn described<T: DeserializeOwned>(blobs: &dyn Blobs, at: &Descriptor, part: &'static str) -> Result<T, UnpackError> {
    let unreadable = |source| UnpackError::Unreadable { part, source };
    let bytes = bounded(blobs.blob(&at.digest).map_err(unreadable)?, part)?;
    let found = Digest::of(&bytes);
    if found != at.digest {
        return Err(unreadable(io::Error::other(format!("it is {found}, and should be {}", at.digest))));
    }
    parse(&bytes, part)
}

fn bounded(from: impl Read, part: &'static str) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    let read = from.take(LONGEST_DESCRIPTION + 1).read_to_end(&mut bytes);
    read.map_err(|source| UnpackError::Unreadable { part, source })?;
    if bytes.len() as u64 > LONGEST_DESCRIPTION {
        return Err(UnpackError::TooLong(part));
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8], part: &'static str) -> Result<T, UnpackError> {
    serde_json::from_slice(bytes).map_err(|source| UnpackError::Malformed { part, source })
}

/// What a layer is packed with shows in its first bytes; what a manifest says of it may be wrong.
fn decoder<'a>(packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    let mut packed = packed;
    packed.by_ref().take(4).read_to_end(&mut start)?;
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(start.clone()).chain(packed));
    match start.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] => Ok(Box::new(StreamingDecoder::new(whole).map_err(io::Error::other)?)),
        _ => Ok(Box::new(whole)),
    }
}

/// Twice what the largest images of notebooks have.
const BUDGET: Budget = Budget { bytes: 64 << 30, entries: 2_000_000 };

const LONGEST_DESCRIPTION: u64 = 4 << 20;
const MOST_LAYERS: usize = 256;
const DEEPEST_INDEX: usize = 4;
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests;
