//! A write: what must hold, what changes, what the auditor reads about it.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::operation::Operation;
use crate::resource::{Resource, ResourcePut};
use crate::secret::SealedSecret;

/// One transaction: expectations are checked, changes applied in order, audit records appended, one revision given out.
/// All of it happens or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// When it happens. Kept to the microsecond, rounded down.
    pub at: Timestamp,
    /// What must be true for the write to happen.
    pub expect: Vec<Expectation>,
    /// What changes, in this order.
    pub changes: Vec<Change>,
    /// What goes into the audit chain, in this order.
    pub audit: Vec<Value>,
}

impl Write {
    /// A write that does nothing yet.
    pub fn new(at: Timestamp) -> Self {
        Self { at, expect: Vec::new(), changes: Vec::new(), audit: Vec::new() }
    }
}

/// Something the caller has seen and relies on; checked inside the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// No resource has this key.
    ResourceAbsent(String),
    /// A resource has this key.
    ResourcePresent(String),
    /// The resource is there and its last change was this revision.
    ResourceRevision {
        /// Lower-cased id.
        key: String,
        /// The revision the caller read.
        revision: i64,
    },
    /// The resource is there and is still this one, not a successor of the same name.
    ResourceIncarnation {
        /// Lower-cased id.
        key: String,
        /// The incarnation the caller read.
        incarnation: Uuid,
    },
    /// No resource has a key that starts with this.
    NoneBelow(String),
    /// Exactly this many resources have a key that begins with this prefix: together with their incarnations, that the
    /// set somebody read is still the set.
    CountBelow {
        /// Prefix of the keys.
        prefix: String,
        /// How many.
        count: i64,
    },
    /// No record of this kind has this key, or the one that had it has expired by [`Write::at`].
    RecordAbsent {
        /// Kind of record.
        kind: String,
        /// Key of the record.
        key: String,
    },
    /// The record is there, has not expired, and its last change was this revision.
    RecordRevision {
        /// Kind of record.
        kind: String,
        /// Key of the record.
        key: String,
        /// The revision the caller read.
        revision: i64,
    },
    /// No role, assignment or revocation has changed since this epoch.
    AccessEpoch(i64),
    /// The operation is there and has this status.
    OperationStatus {
        /// Id of the operation.
        id: Uuid,
        /// The status the caller read.
        status: String,
    },
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResourceAbsent(key) => write!(f, "\"no resource {key}\""),
            Self::ResourcePresent(key) => write!(f, "\"resource {key} exists\""),
            Self::ResourceRevision { key, revision } => write!(f, "\"resource {key} is at revision {revision}\""),
            Self::ResourceIncarnation { key, incarnation } => write!(f, "\"resource {key} is {incarnation}\""),
            Self::NoneBelow(prefix) => write!(f, "\"no resource below {prefix}\""),
            Self::CountBelow { prefix, count } => write!(f, "\"{count} resources below {prefix}\""),
            Self::RecordAbsent { kind, .. } => write!(f, "\"no such {kind} record\""),
            Self::RecordRevision { kind, revision, .. } => write!(f, "\"the {kind} record is at revision {revision}\""),
            Self::AccessEpoch(epoch) => write!(f, "\"the access epoch is {epoch}\""),
            Self::OperationStatus { id, status } => write!(f, "\"operation {id} is {status}\""),
        }
    }
}

/// One change of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Creates a resource, or replaces everything of it but its creation stamp.
    ///
    /// A resource that is there under another incarnation is not replaced: the write conflicts with
    /// [`Expectation::ResourceIncarnation`]. Delete it first, in the same write if need be.
    PutResource(ResourcePut),
    /// Deletes the resource with this key, its tags and its secrets. Nothing happens when there is none.
    DeleteResource(String),
    /// Deletes all resources whose keys start with this, their tags and their secrets.
    DeleteBelow(String),
    /// Creates or replaces a record.
    PutRecord {
        /// Kind of record.
        kind: String,
        /// Key of the record, unique within the kind.
        key: String,
        /// Whose it is, for lists and for [`Change::DeleteRecordsOf`].
        owner: Option<String>,
        /// What it says.
        body: Value,
        /// From when on it is as if it were not there.
        expires: Option<Timestamp>,
    },
    /// Deletes a record. Nothing happens when there is none.
    DeleteRecord {
        /// Kind of record.
        kind: String,
        /// Key of the record.
        key: String,
    },
    /// Deletes all records of a kind that belong to an owner.
    DeleteRecordsOf {
        /// Kind of record.
        kind: String,
        /// Whose records.
        owner: String,
    },
    /// Creates or replaces an operation.
    PutOperation(Operation),
    /// Creates or replaces a sealed secret.
    PutSecret(SealedSecret),
    /// Deletes all secrets of an incarnation.
    DeleteSecrets(Uuid),
    /// Removes the entries of the audit chain up to this number. Put the signed checkpoint that proves it in the same write.
    CutAudit(i64),
    /// Says that roles, assignments or revocations have changed.
    RaiseAccessEpoch,
}

/// What a write became.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The revision of the write.
    pub revision: i64,
    /// The resources as stored, in the order of the [`Change::PutResource`] changes.
    pub resources: Vec<Resource>,
}
