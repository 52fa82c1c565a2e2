//! Why an operation did not answer: the caller's mistake, a race to be run again, or our own trouble.

use bastide_arm::error::ArmError;
use bastide_identity::IdentityError;
use bastide_store::{CommitError, StoreError};

/// Why an operation did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The caller is told.
    #[error("{}", .0.message)]
    Refused(ArmError),
    /// Somebody else's write came first; the operation is run again on the new state.
    #[error("the state changed underneath")]
    Raced,
    /// The store cannot answer now.
    #[error("{0}")]
    Unavailable(String),
    /// There is no room for what was to be written.
    #[error("{0}")]
    Full(String),
    /// Our own fault: logged under the request's id, which is all the caller is told.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// A fault of ours, with what the log should say.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal(what.into())
    }
}

impl From<ArmError> for Failure {
    fn from(error: ArmError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // Text with a NUL in it; nothing stored has one.
            StoreError::Unstorable => ArmError::invalid_request_content(format!("{error}.")).into(),
            StoreError::Corrupt(_) => Self::Internal(error.to_string()),
            StoreError::Full { .. } => Self::Full(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Store(error) => error.into(),
            IdentityError::Conflict => Self::Raced,
            IdentityError::Damaged { .. } => Self::Internal(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(_) => Self::Raced,
            CommitError::Store(error) => error.into(),
        }
    }
}
