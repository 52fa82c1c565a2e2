//! The wish that a run ends early, handed from a deployment down to those inside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether a deployment, or one around it, was canceled.
#[derive(Debug, Default)]
pub(super) struct Cancellation {
    requested: AtomicBool,
    around: Option<Arc<Cancellation>>,
}

impl Cancellation {
    /// One for a deployment inside another.
    pub(super) fn within(around: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { requested: AtomicBool::new(false), around: Some(Arc::clone(around)) })
    }

    pub(super) fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed) || self.around.as_deref().is_some_and(Self::is_requested)
    }

    /// Ends when it is requested.
    pub(super) async fn requested(&self) {
        while !self.is_requested() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Somebody who cancels waits for minutes, not for this.
const LOOK: Duration = Duration::from_millis(50);
