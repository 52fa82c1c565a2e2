//! What can go wrong with a store.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use crate::write::Expectation;

/// The store could not do what it was asked.
///
/// Cloneable, because one failed group commit fails every write that was in the group.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or refused to work: I/O error, server gone, time-out.
    ///
    /// Of a write this says that it was not acknowledged; when the failure hit the commit itself (a server that died
    /// before it answered) the write may all the same be there, whole. Nothing is ever half there.
    #[error("the database is not available ({doing}): {source}")]
    Unavailable {
        /// What the store was doing.
        doing: &'static str,
        /// What the database, or the system below it, said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// There is no room for what was to be written; nothing of it is there.
    #[error("the disk of the database is full ({doing}): make room on it")]
    Full {
        /// What the store was doing.
        doing: &'static str,
    },
    /// The writer has stopped: the store was closed, or its runtime is shutting down.
    #[error("the store is closed; start the server again to write to it")]
    Closed,
    /// The database was written by a newer Bastide.
    #[error(
        "the database has schema version {found}, and this Bastide knows versions up to {supported}: \
         start the newer Bastide that wrote it, or restore a backup made before the upgrade"
    )]
    NewerSchema {
        /// The version the database says it has.
        found: i64,
        /// The newest version this program knows.
        supported: i64,
    },
    /// A row does not hold what this program writes there.
    #[error("the database is damaged: {0}; restore a backup, or have the row repaired")]
    Corrupt(String),
    /// A value that not every engine can hold, refused by all of them.
    #[error("a text to be stored contains a NUL character; remove it and try again")]
    Unstorable,
    /// The database file or the directory around it cannot be used.
    #[error("cannot use the database file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The URL of the database server does not parse. The message never repeats the URL.
    #[error("the database URL is not valid; it reads postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Location,
}

impl StoreError {
    pub(crate) fn unavailable(doing: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable { doing, source: Arc::new(source) }
    }
}

/// A write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// This expectation, the first that failed, did not hold; nothing was written.
    #[error("the store has moved on: {0} no longer holds")]
    Conflict(Expectation),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
