//! What runs instances on a node, and what they are made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bastide_plan::reference::Registry;

use super::fake::Fake;
use super::image::{Images, Unpacked};
use super::missing::Missing;
use super::oci::Oci;
use super::record::Folder;
use super::runtime::Runtime;
use super::surroundings::Resolve;
use crate::state::INSTANCES;

/// A runtime and its images.
pub struct Engine {
    /// What runs instances.
    pub runtime: Arc<dyn Runtime>,
    /// Where their file systems come from.
    pub images: Resolve,
}

impl Engine {
    /// The OCI runtime of this node, which keeps to a folder of the data directory, and images that several agents may
    /// share, pulled from these registries. A node that cannot run instances has walls all the same.
    pub fn of_this_node(data_directory: &Path, images: &Path, registries: Vec<Registry>) -> Self {
        let runtime = Oci::open(&data_directory.join("agent/computes")).map_err(|error| error.to_string());
        // Where the supervisor puts whom clients of this Bastide are to trust: the node's authorities, and its own.
        let runtime = runtime.map(|runtime| runtime.trusting(data_directory.join("pki/trust.pem")));
        let access = data_directory.join("registries");
        let images = Images::open(images).map(|images| images.admitting(registries).with_access(access));
        let images = images.map_err(|error| error.to_string());
        match (runtime, images) {
            (Ok(runtime), Ok(images)) => {
                tidy(&images, &data_directory.join("agent").join(INSTANCES));
                Self {
                    runtime: Arc::new(runtime),
                    images: Box::new(move |image, on_progress| {
                        images.resolve(image, on_progress).map_err(|error| error.to_string())
                    }),
                }
            }
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

/// Lets go of images that nobody has used for long; not of those that instances of this agent lie over.
fn tidy(images: &Images, instances: &Path) {
    let records = Folder::all(instances).unwrap_or_default();
    let held =
        records.iter().filter_map(|(_, record)| record.base.as_ref()).try_for_each(|base| images.hold(&base.root));
    match held.and_then(|()| images.clean(UNUSED)) {
        Ok(gone) if gone.is_empty() => {}
        Ok(gone) => tracing::info!(?gone, "removed images that nobody has used for long"),
        Err(error) => tracing::warn!("images that nobody uses are kept: {error}"),
    }
}

/// An image can be had again, but not always the same one: what a stopped agent's instances lie over is kept for long.
const UNUSED: Duration = Duration::from_hours(90 * 24);
