//! What Bastide remembers: resources with one growing revision, records, operations, sealed secrets and the audit chain,
//! in an embedded SQLite file or in PostgreSQL.
//!
//! Everything is read through a [`Store`] and changed by [`Store::commit`]: a [`Write`] says what must still be true
//! (its expectations), what changes, and what the auditor will read about it. All of it happens in one transaction,
//! under one new revision, or nothing of it does; when `commit` has answered, the write is on the disk.
//!
//! ```no_run
//! # use bastide_store::{Change, Expectation, Location, Store, StoreError, Write, CommitError};
//! # async fn example(now: jiff::Timestamp) -> Result<(), CommitError> {
//! let store = Store::open(&Location::Sqlite("bastide.db".into())).await?;
//! let committed = store
//!     .commit(Write {
//!         expect: vec![Expectation::RecordAbsent { kind: "group".into(), key: "reviewers".into() }],
//!         changes: vec![Change::PutRecord {
//!             kind: "group".into(),
//!             key: "reviewers".into(),
//!             owner: None,
//!             body: serde_json::json!({"members": []}),
//!             expires: None,
//!         }],
//!         audit: vec![serde_json::json!({"action": "group/write", "key": "reviewers"})],
//!         ..Write::new(now)
//!     })
//!     .await?;
//! assert!(committed.revision > 0);
//! # Ok(())
//! # }
//! ```
//!
//! Inside, `engine` is the narrow waist: two dialects (`sqlite`, `postgres`) know how to run a statement, and everything
//! else is written once on top of them. `writer` is the only place that writes.

mod access_log;
mod apply;
mod audit;
mod driver;
mod engine;
mod error;
mod location;
mod meta;
mod operation;
mod postgres;
mod put;
mod record;
mod resource;
mod schema;
mod secret;
mod sqlite;
mod store;
mod tag;
mod write;
mod writer;

pub use access_log::AccessChanges;
pub use audit::{AuditChain, AuditEntry, AuditNote, AuditQuery};
pub use error::{CommitError, StoreError};
pub use location::Location;
pub use operation::Operation;
pub use record::{Record, RecordQuery};
pub use resource::{Resource, ResourcePut, ResourceQuery, Stamp};
pub use secret::SealedSecret;
pub use store::Store;
pub use tag::{TagCount, TagValueCount};
pub use write::{Change, Committed, Expectation, Write};
