//! Images: the file systems that instances are made of, unpacked once and shared by all that use them.
//!
//! An image is a directory in the cache, named after what it is made of, which nobody changes: instances put a layer of
//! their own over it. Its files belong to users 0 to 65,535 of the node, as in the image; whoever mounts it shifts them
//! into the range of an instance.

mod archive;
mod base;
mod cache;
mod child;
mod identity;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bastide_plan::compute_plan::Image;
use thiserror::Error;

use archive::Archives;
use cache::Cache;

/// The images of a node. Those that it has given out are not cleaned away while it lives.
#[derive(Debug)]
pub struct Images {
    cache: Cache,
    archives: Archives,
    /// What the base image is called, once that is known: to ask apt takes longer than to start an instance. What is
    /// changed of the node meanwhile counts from the next start of the agent.
    base: Mutex<Option<String>>,
}

/// An image that instances can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The file system: a directory that nobody changes.
    pub root: PathBuf,
    /// What it is, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Variables that the image sets.
    pub environment: Vec<(String, String)>,
}

/// Why there is no image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// Something that takes a program which is not there.
    #[error("cannot run {program}: {reason}. Install the package '{package}' on the node")]
    Missing {
        /// The program.
        program: &'static str,
        /// Its package.
        package: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A program took too long.
    #[error("{program} did not end within {} s, and was ended", .patience.as_secs())]
    Late {
        /// The program.
        program: &'static str,
        /// How long it was given.
        patience: Duration,
    },
    /// A program said no.
    #[error("{program} failed: {complaint}")]
    Failed {
        /// The program.
        program: &'static str,
        /// The last that it said.
        complaint: String,
    },
    /// The file system of the node said no.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// At what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node cannot do it as it is.
    #[error("{0}")]
    Unable(String),
}

impl Images {
    /// The images in a directory of the node, which several agents may share.
    pub fn open(directory: &Path) -> Result<Self, ImageError> {
        let reader = ["/proc/self/exe", "image"].map(str::to_owned).to_vec();
        let archives = Archives::new(PathBuf::from(ARCHIVES), reader);
        Ok(Self { cache: Cache::open(directory)?, archives, base: Mutex::default() })
    }

    /// Takes archives from this directory instead of the usual one, and has them read by this program.
    pub fn with_archives(self, directory: PathBuf, reader: Vec<String>) -> Self {
        Self { archives: Archives::new(directory, reader), ..self }
    }

    /// Finds an image, or makes it, which takes minutes; `on_progress` hears of that in words for people. Whoever asks
    /// for what somebody else is making waits for it.
    pub fn resolve(&self, image: &Image, on_progress: &dyn Fn(String)) -> Result<Unpacked, ImageError> {
        match image {
            Image::Base => self.base(on_progress),
            Image::Archive(name) => self.archives.image(name, &self.cache, on_progress),
            Image::Reference(name) => Err(ImageError::Unable(format!(
                "the image '{name}' is not fetched: this Bastide takes images from archives. Save it on another machine \
                 ('skopeo copy docker://{name} oci-archive:FILE'), and copy the file to {ARCHIVES} of the node"
            ))),
        }
    }

    /// Keeps an image from being cleaned away that something was made of before.
    pub fn hold(&self, root: &Path) -> Result<(), ImageError> {
        let key = root.parent().and_then(Path::file_name).and_then(|key| key.to_str());
        key.map_or(Ok(()), |key| self.cache.find(key).map(drop))
    }

    /// Removes what nobody has asked for since then, and what attempts have left that were cut off.
    pub fn clean(&self, unused_for: Duration) -> Result<Vec<String>, ImageError> {
        self.cache.clean(unused_for)
    }

    fn base(&self, on_progress: &dyn Fn(String)) -> Result<Unpacked, ImageError> {
        let known = self.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(found) = known.map(|key| self.cache.find(&key)).transpose()?.flatten() {
            return Ok(found);
        }
        let recipe = base::Recipe::of_this_node()?;
        let key = recipe.key();
        let found = self.cache.entry(&key, on_progress, |directory| recipe.make(directory, on_progress))?;
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        Ok(found)
    }
}

/// Where an administrator puts archives of images.
const ARCHIVES: &str = "/var/lib/bastide/archives";
