//! The changes of many writes, gathered into statements of many rows.
//!
//! A change may pass those on other tables, and joins one of its own kind when nothing between them touches what it
//! touches. So the rows end as they would, had every change been made alone and in its turn.

use jiff::Timestamp;
use uuid::Uuid;

use crate::audit;
use crate::engine::{Connection, Statement};
use crate::error::CommitError;
use crate::operation;
use crate::operation::Operation;
use crate::put::{self, Put};
use crate::record::{self, RecordRow};
use crate::resource::{self, Resource};
use crate::secret::{self, SealedSecret};
use crate::write::Change;

/// Changes in the order in which they will be made.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    batches: Vec<Batch<'a>>,
}

/// Changes of one kind, made together.
#[derive(Debug)]
enum Batch<'a> {
    PutResources(Vec<Put<'a>>),
    DeleteResource(&'a str),
    DeleteBelow(&'a str),
    PutRecords(Vec<RecordRow<'a>>),
    DeleteRecords(Vec<(&'a str, &'a str)>),
    DeleteRecordsOf(&'a str, &'a str),
    PutOperations(Vec<&'a Operation>),
    PutSecrets(Vec<&'a SealedSecret>),
    DeleteSecrets(Uuid),
    CutAudit(i64),
}

impl<'a> Plan<'a> {
    /// Adds a change of the write with this index.
    pub(super) fn add(&mut self, change: &'a Change, write: usize, at: Timestamp, revision: i64) {
        let Some(mut new) = Batch::of(change, write, at, revision) else { return };
        for batch in self.batches.iter_mut().rev() {
            match batch.join(new) {
                None => return,
                Some(apart) => new = apart,
            }
            if batch.tables() & new.tables() != 0 {
                break;
            }
        }
        self.batches.push(new);
    }

    /// Makes the changes. Brings the resources as stored, each with the index of its write.
    pub(super) async fn run(self, connection: &mut dyn Connection) -> Result<Vec<(usize, Resource)>, CommitError> {
        let mut stored = Vec::new();
        for batch in self.batches {
            if let Batch::PutResources(puts) = batch {
                stored.extend(put::put_all(connection, puts).await?);
                continue;
            }
            for statement in batch.statements() {
                connection.run(statement).await?;
            }
        }
        Ok(stored)
    }
}

impl<'a> Batch<'a> {
    fn of(change: &'a Change, write: usize, at: Timestamp, revision: i64) -> Option<Self> {
        Some(match change {
            Change::PutResource(put) => Self::PutResources(vec![Put::new(put, write, at, revision)]),
            Change::DeleteResource(key) => Self::DeleteResource(key),
            Change::DeleteBelow(prefix) => Self::DeleteBelow(prefix),
            Change::PutRecord { kind, key, owner, body, expires } => {
                let owner = owner.as_deref();
                Self::PutRecords(vec![RecordRow { kind, key, owner, body, expires: *expires, revision }])
            }
            Change::DeleteRecord { kind, key } => Self::DeleteRecords(vec![(kind, key)]),
            Change::DeleteRecordsOf { kind, owner } => Self::DeleteRecordsOf(kind, owner),
            Change::PutOperation(operation) => Self::PutOperations(vec![operation]),
            Change::PutSecret(secret) => Self::PutSecrets(vec![secret]),
            Change::DeleteSecrets(incarnation) => Self::DeleteSecrets(*incarnation),
            Change::CutAudit(through) => Self::CutAudit(*through),
            // No row of its own: it is counted in the row that every write moves on.
            Change::RaiseAccessEpoch => return None,
        })
    }

    /// Takes the other in, or gives it back.
    fn join(&mut self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::PutResources(rows), Self::PutResources(new)) => {
                join(rows, new, |one, other| one.key == other.key).map(Self::PutResources)
            }
            (Self::PutRecords(rows), Self::PutRecords(new)) => {
                join(rows, new, |one, other| (one.kind, one.key) == (other.kind, other.key)).map(Self::PutRecords)
            }
            (Self::DeleteRecords(rows), Self::DeleteRecords(new)) => {
                join(rows, new, |_, _| false).map(Self::DeleteRecords)
            }
            (Self::PutOperations(rows), Self::PutOperations(new)) => {
                join(rows, new, |one, other| one.id == other.id).map(Self::PutOperations)
            }
            (Self::PutSecrets(rows), Self::PutSecrets(new)) => {
                join(rows, new, |one, other| (one.incarnation, &one.field) == (other.incarnation, &other.field))
                    .map(Self::PutSecrets)
            }
            (_, other) => Some(other),
        }
    }

    /// Which tables it reads or changes, a bit for each.
    fn tables(&self) -> u8 {
        match self {
            Self::PutResources(_) => RESOURCES,
            Self::DeleteResource(_) | Self::DeleteBelow(_) => RESOURCES | SECRETS,
            Self::PutRecords(_) | Self::DeleteRecords(_) | Self::DeleteRecordsOf(..) => RECORDS,
            Self::PutOperations(_) => OPERATIONS,
            Self::PutSecrets(_) | Self::DeleteSecrets(_) => SECRETS,
            Self::CutAudit(_) => AUDIT,
        }
    }

    fn statements(self) -> Vec<Statement> {
        match self {
            // Its statements depend on what the first of them finds.
            Self::PutResources(_) => Vec::new(),
            Self::DeleteResource(key) => resource::delete(key).into(),
            Self::DeleteBelow(prefix) => resource::delete_below(prefix).into(),
            Self::PutRecords(rows) => vec![record::upsert(&rows)],
            Self::DeleteRecords(rows) => vec![record::delete(&rows)],
            Self::DeleteRecordsOf(kind, owner) => vec![record::delete_of(kind, owner)],
            Self::PutOperations(operations) => vec![operation::upsert(&operations)],
            Self::PutSecrets(secrets) => vec![secret::upsert(&secrets)],
            Self::DeleteSecrets(incarnation) => vec![secret::delete(incarnation)],
            Self::CutAudit(through) => vec![audit::cut(through)],
        }
    }
}

/// Puts `new` behind `rows`, or gives it back when they are full or hold the same row already: a statement that inserts
/// or updates may meet a row only once.
fn join<T>(rows: &mut Vec<T>, new: Vec<T>, is_same: impl Fn(&T, &T) -> bool) -> Option<Vec<T>> {
    if rows.len() + new.len() > ROWS || rows.iter().any(|row| new.iter().any(|new| is_same(row, new))) {
        return Some(new);
    }
    rows.extend(new);
    None
}

const RESOURCES: u8 = 1;
const SECRETS: u8 = 2;
const RECORDS: u8 = 4;
const OPERATIONS: u8 = 8;
const AUDIT: u8 = 16;

/// How many rows one statement writes. Each number of rows is a text of its own, which the engines have to keep.
const ROWS: usize = 16;
