//! Images: the file systems that instances are made of, unpacked once and shared by all that use them.
//!
//! An image is a directory in the cache, named after what it is made of, which nobody changes: instances put a layer of
//! their own over it. Its files belong to users 0 to 65,535 of the node, as in the image; whoever mounts it shifts them
//! into the range of an instance.

mod access;
mod archive;
mod base;
mod cache;
mod child;
mod generations;
mod identity;
mod registries;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bastide_plan::compute_plan::Image;
use bastide_plan::reference::Registry;
use thiserror::Error;

use access::AccessFiles;
use archive::Archives;
use base::Recipe;
use cache::Cache;
use generations::Generations;
use registries::Registries;

/// The images of a node. Those that it has given out are not cleaned away while it lives.
#[derive(Debug)]
pub struct Images {
    cache: Arc<Cache>,
    archives: Archives,
    registries: Registries,
    /// What the base image is made of, once that is known: to ask apt takes longer than to start an instance. What is
    /// changed of the node meanwhile counts from the next start of the agent.
    base: Mutex<Option<Arc<Generations>>>,
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
    /// The images in a directory of the node, which several agents may share; none are pulled from registries.
    pub fn open(directory: &Path) -> Result<Self, ImageError> {
        let reader = ["/proc/self/exe", "image"].map(str::to_owned).to_vec();
        let archives = Archives::new(PathBuf::from(ARCHIVES), reader);
        let registries = Registries::default();
        Ok(Self { cache: Arc::new(Cache::open(directory)?), archives, registries, base: Mutex::default() })
    }

    /// Pulls images from these registries, and no others.
    pub fn admitting(self, registries: Vec<Registry>) -> Self {
        let fetcher = ["/proc/self/exe", "fetch-image"].map(str::to_owned).to_vec();
        self.with_registries(registries, fetcher)
    }

    /// Pulls images from these registries by this program.
    pub fn with_registries(self, admitted: Vec<Registry>, fetcher: Vec<String>) -> Self {
        Self { registries: Registries { admitted, fetcher, ..self.registries }, ..self }
    }

    /// Asks registries as the files in this directory say.
    pub fn with_access(self, directory: PathBuf) -> Self {
        let access = Some(AccessFiles::new(directory));
        Self { registries: Registries { access, ..self.registries }, ..self }
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
            Image::Reference(name) => self.registries.image(name, &self.cache, &self.archives, on_progress),
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
        let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_OF_A_DAY;
        self.generations()?.image(today, on_progress)
    }

    /// One asks apt, and whoever comes meanwhile waits for what it says: it gets slow when many ask it at once.
    fn generations(&self) -> Result<Arc<Generations>, ImageError> {
        let mut known = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(generations) = &*known {
            return Ok(Arc::clone(generations));
        }
        let recipe = Recipe::of_this_node()?;
        let kind = recipe.key();
        let make = Arc::new(move |directory: &Path, on_progress: &dyn Fn(String)| recipe.make(directory, on_progress));
        let generations = Generations::new(Arc::clone(&self.cache), kind, make);
        Ok(Arc::clone(known.insert(Arc::new(generations))))
    }
}

const SECONDS_OF_A_DAY: u64 = 86_400;

/// Where an administrator puts archives of images.
const ARCHIVES: &str = "/var/lib/bastide/archives";
