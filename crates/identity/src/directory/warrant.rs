//! Whether somebody may still change the directory at the moment of the change.

use std::pin::Pin;

/// What a caller was allowed to do when it asked, asked again when it is done.
pub trait Warrant: Send + Sync {
    /// The access epoch as of which the caller may do it; `None` when it may not any more. The change that follows is
    /// made only while that is still the epoch, so that nothing is done with a right that was withdrawn before.
    fn epoch(&self) -> Pin<Box<dyn Future<Output = Option<i64>> + Send + '_>>;
}
