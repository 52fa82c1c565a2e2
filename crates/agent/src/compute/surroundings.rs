//! What instances need of the agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bastide_plan::compute_plan::Image;
use bastide_plan::message::Answer;

use super::image::Unpacked;
use super::permits::Permits;
use super::runtime::Runtime;
use super::walls::Walls;

/// What instances need of the agent.
pub struct Surroundings {
    /// What runs them.
    pub runtime: Arc<dyn Runtime>,
    /// Where their file systems come from.
    pub images: Resolve,
    /// What they run behind.
    pub walls: Arc<Walls>,
    /// How many are started at a time.
    pub starts: Permits,
    /// How patient the threads are.
    pub pace: Pace,
    /// Where folders are that instances share.
    pub shares: PathBuf,
    /// Tells an event to everybody who wants to know.
    pub publish: Arc<dyn Fn(Answer) + Send + Sync>,
}

/// How patient a thread is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often it is looked whether an instance still runs.
    pub watch: Duration,
    /// How soon what failed is tried again, at first.
    pub retry: Duration,
    /// For what runs in an instance to end by itself.
    pub grace: Duration,
}

/// Gets an image, which may take minutes; the second argument hears how far that is.
pub type Resolve = Box<dyn Fn(&Image, &dyn Fn(String)) -> Result<Unpacked, String> + Send + Sync>;

impl Pace {
    /// On a node.
    pub const REAL: Self =
        Self { watch: Duration::from_secs(1), retry: Duration::from_millis(500), grace: Duration::from_secs(5) };
}
