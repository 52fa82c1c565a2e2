//! What can go wrong inside the identity service, apart from refusals that belong to a protocol.

use bastide_store::{CommitError, StoreError};
use bastide_vault::SealError;
use uuid::Uuid;

/// The identity service could not do what it was asked. Never carries a secret.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another change came in between; read again and retry.
    #[error("the directory changed at the same time; try again")]
    Conflict,
    /// Whoever wanted the change may not make it any more.
    #[error("the right to change this was withdrawn in the meantime")]
    Unwarranted,
    /// A stored record cannot be read.
    #[error("the stored {kind} {key} cannot be read; restore the store from a backup")]
    Damaged {
        /// Kind of record.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// A name or id is in use already.
    #[error("{0} is taken; choose another one")]
    Taken(String),
    /// No such object.
    #[error("there is no {kind} {id} in the directory")]
    Absent {
        /// Kind of object.
        kind: &'static str,
        /// Its id.
        id: Uuid,
    },
    /// A value breaks a rule.
    #[error("{what}: {rule}")]
    Invalid {
        /// The value's name.
        what: &'static str,
        /// The rule it breaks, as a sentence.
        rule: &'static str,
    },
    /// A key could not be sealed or opened.
    #[error(transparent)]
    Sealing(#[from] SealError),
    /// Key generation, hashing or signing failed.
    #[error("the cryptographic library refused: {0}")]
    Cryptography(&'static str),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
    /// Too many passwords are being checked at once.
    #[error("too many logins at once; try again in a moment")]
    Busy,
    /// The https client for outside issuers could not be made.
    #[error("the https client for outside token issuers could not be made: {0}")]
    Client(String),
}

impl From<CommitError> for IdentityError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(_) => Self::Conflict,
            CommitError::Store(error) => Self::Store(error),
        }
    }
}
