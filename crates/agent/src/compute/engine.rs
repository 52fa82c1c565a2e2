//! What runs instances on a node, and what they are made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fake::Fake;
use super::image::{Images, Unpacked};
use super::missing::Missing;
use super::oci::Oci;
use super::runtime::Runtime;
use super::surroundings::Resolve;

/// A runtime and its images.
pub struct Engine {
    /// What runs instances.
    pub runtime: Arc<dyn Runtime>,
    /// Where their file systems come from.
    pub images: Resolve,
}

impl Engine {
    /// The OCI runtime of this node, which keeps to a folder of the data directory, and images that several agents may
    /// share. A node that cannot run instances has walls all the same.
    pub fn of_this_node(data_directory: &Path, images: &Path) -> Self {
        let runtime = Oci::open(&data_directory.join("agent/computes")).map_err(|error| error.to_string());
        // Where the supervisor puts whom clients of this Bastide are to trust: the node's authorities, and its own.
        let runtime = runtime.map(|runtime| runtime.trusting(data_directory.join("pki/trust.pem")));
        let images = Images::open(images).map_err(|error| error.to_string());
        match (runtime, images) {
            (Ok(runtime), Ok(images)) => Self {
                runtime: Arc::new(runtime),
                images: Box::new(move |image, on_progress| {
                    images.resolve(image, on_progress).map_err(|error| error.to_string())
                }),
            },
            (Err(reason), _) | (_, Err(reason)) => {
                tracing::warn!("this node runs no computes: {reason}");
                Self::none(reason)
            }
        }
    }

    /// For a simulation: what it says it runs, it only remembers.
    pub fn simulated() -> Self {
        Self {
            runtime: Arc::new(Fake::new()),
            images: Box::new(|image, _| {
                let (root, digest) = (PathBuf::from("/"), format!("simulated:{image:?}"));
                Ok(Unpacked { root, digest, environment: Vec::new() })
            }),
        }
    }

    /// For a node that runs none, and says why.
    pub fn none(reason: String) -> Self {
        let why = reason.clone();
        Self { runtime: Arc::new(Missing { reason }), images: Box::new(move |_, _| Err(why.clone())) }
    }
}
