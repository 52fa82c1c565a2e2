//! The audit chain in the database: appended to by the writer, read and verified by anybody.
//!
//! What ties entries together, and what signed checkpoints prove, is in `bastide-audit`. The head (number and hash of the
//! last entry) is kept apart from the entries, so a shortened chain shows even without a checkpoint.

use std::sync::Arc;

use bastide_audit::{Broken, Entry, Fault, Head, Intact, VerifyingKey, Walk};
use jiff::Timestamp;
use serde_json::Value;

use crate::engine::{Connection, Engine, Row, Statement};
use crate::error::StoreError;
use crate::location::Location;
use crate::postgres::Postgres;
use crate::record::RecordQuery;
use crate::sqlite::Sqlite;
use crate::write::Change;

/// An entry of the audit chain, its record understood.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its number: 1, 2, 3, ...
    pub seq: i64,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// The hash of the entry before it; empty for the first.
    pub prev_hash: String,
    /// What ties it to the entry before it: see [`bastide_audit::Entry::hash`].
    pub hash: String,
    /// What was done.
    pub record: Value,
}

/// Which part of the chain to read, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only entries behind this number; 0 for the beginning.
    pub after: i64,
    /// How many at most.
    pub limit: u32,
}

/// The audit chain of a database, to be read and nothing else.
#[derive(Debug, Clone)]
pub struct AuditChain {
    engine: Arc<dyn Engine>,
}

/// A signed checkpoint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditNote {
    /// The number of the entry it was signed at.
    pub seq: i64,
    /// The signed text: see [`bastide_audit::Checkpoint`].
    pub note: String,
}

impl AuditChain {
    /// Opens the chain of a database that is there, while a server uses it or not. Nothing is written or brought up to date.
    pub fn open(location: &Location) -> Result<Self, StoreError> {
        let engine: Arc<dyn Engine> = match location {
            Location::Sqlite(path) => Arc::new(Sqlite::open(path)?),
            Location::Postgres(url) => Arc::new(Postgres::open(url)?),
        };
        Ok(Self { engine })
    }

    pub(crate) fn of(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Entries behind a number, oldest first, each with the text that was hashed.
    pub async fn entries(&self, after: i64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let rows = self.engine.read(page(after, limit)).await?;
        rows.into_iter().map(|mut row| entry(&mut row)).collect()
    }

    /// The last entry, as the writer knows it.
    pub async fn head(&self) -> Result<Head, StoreError> {
        let rows = self.engine.read(Statement::new("SELECT audit_seq, audit_hash FROM meta WHERE id = 1")).await?;
        let row = rows.into_iter().next();
        let mut row = row.ok_or_else(|| StoreError::Corrupt("the meta row is missing".to_owned()))?;
        Ok(Head { seq: row.integer()?, hash: row.text()? })
    }

    /// The signed checkpoints, oldest first.
    pub async fn notes(&self) -> Result<Vec<AuditNote>, StoreError> {
        let mut notes = Vec::new();
        let mut after = None;
        loop {
            let query = RecordQuery { kind: NOTE.to_owned(), owner: None, now: Timestamp::MIN, after, limit: PAGE };
            let rows = self.engine.read(query.statement()).await?;
            let count = rows.len();
            let mut last = None;
            for row in rows {
                let record = crate::record::Record::from_row(row)?;
                // What is no checkpoint at all is shown to whoever verifies as one that does not open.
                let seq = record.key.parse().unwrap_or_default();
                notes.push(AuditNote { seq, note: record.body.as_str().unwrap_or_default().to_owned() });
                last = Some(record.key);
            }
            if count < PAGE as usize {
                return Ok(notes);
            }
            after = last;
        }
    }

    /// Walks the chain as it was when the walk began, from its beginning or the last cut, past every checkpoint: those
    /// stored beside it and those kept elsewhere.
    pub async fn verify(
        &self,
        key: &VerifyingKey,
        elsewhere: &[AuditNote],
    ) -> Result<Result<Intact, Broken>, StoreError> {
        loop {
            let head = self.head().await?;
            let notes = self.notes().await?;
            let all = notes.iter().chain(elsewhere).map(|note| (note.seq, note.note.as_str()));
            let verdict = match Walk::begin(all, key) {
                Ok(walk) => self.walk(walk, head).await?,
                Err(broken) => Err(broken),
            };
            // A server that cuts its chain meanwhile takes the beginning away from under the walk.
            let first = |notes: &[AuditNote]| notes.first().map(|note| note.seq);
            if verdict.is_ok() || first(&self.notes().await?) == first(&notes) {
                return Ok(verdict);
            }
        }
    }

    /// Walks on from where a walk has come to.
    pub async fn walk(&self, mut walk: Walk, mut head: Head) -> Result<Result<Intact, Broken>, StoreError> {
        let begun = walk.head().seq;
        if let Some(seq) = self.number("SELECT MIN(seq) FROM audit").await?.filter(|first| *first <= 0) {
            return Ok(Err(Broken { seq, fault: Fault::Foreign }));
        }
        let mut is_settled = false;
        loop {
            while walk.head().seq < head.seq {
                let at = walk.head().seq;
                let limit = u32::try_from(head.seq - at).unwrap_or(PAGE).min(PAGE);
                let rows = self.engine.read(page(at, limit)).await?;
                if rows.is_empty() {
                    return Ok(Err(Broken { seq: at + 1, fault: Fault::Missing }));
                }
                for mut row in rows {
                    let next = walk.head().seq + 1;
                    // A row that does not even hold what it should was changed as well.
                    let stepped = match entry(&mut row) {
                        Ok(entry) => walk.step(&entry),
                        Err(_) => Err(Broken { seq: next, fault: Fault::Changed }),
                    };
                    if let Err(broken) = stepped {
                        return Ok(Err(broken));
                    }
                }
            }
            if walk.head().seq == head.seq && *walk.head() != head {
                return Ok(Err(Broken { seq: head.seq, fault: Fault::Changed }));
            }
            // A server that goes on writing may have signed a checkpoint behind the head that was read first.
            if is_settled {
                break;
            }
            is_settled = true;
            head = self.head().await?;
        }
        if walk.head().seq > head.seq {
            return Ok(Err(Broken { seq: head.seq + 1, fault: Fault::Missing }));
        }
        // Rows that the writer does not know of; those that came in meanwhile it does.
        let last = self.number("SELECT MAX(seq) FROM audit").await?.unwrap_or(begun);
        let known = self.head().await?;
        if last > known.seq {
            return Ok(Err(Broken { seq: known.seq + 1, fault: Fault::Foreign }));
        }
        Ok(walk.finish())
    }

    async fn number(&self, text: &'static str) -> Result<Option<i64>, StoreError> {
        let rows = self.engine.read(Statement::new(text)).await?;
        rows.into_iter().next().map_or(Ok(None), |mut row| row.optional_integer())
    }
}

impl AuditNote {
    /// The change that stores it.
    pub fn put(self) -> Change {
        Change::PutRecord {
            kind: NOTE.to_owned(),
            key: format!("{:019}", self.seq),
            owner: None,
            body: self.note.into(),
            expires: None,
        }
    }

    /// The change that removes it.
    pub fn delete(&self) -> Change {
        Change::DeleteRecord { kind: NOTE.to_owned(), key: format!("{:019}", self.seq) }
    }
}

impl AuditQuery {
    pub(crate) fn statement(&self) -> Statement {
        page(self.after, self.limit)
    }
}

impl AuditEntry {
    pub(crate) fn from_row(mut row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            seq: row.integer()?,
            at: row.timestamp()?,
            prev_hash: row.text()?,
            hash: row.text()?,
            record: row.json()?,
        })
    }
}

/// Appends records behind a head, each with the time of its write.
pub(crate) async fn append(
    head: &mut Head,
    connection: &mut dyn Connection,
    records: &[(Timestamp, &Value)],
) -> Result<(), StoreError> {
    for records in records.chunks(ROWS) {
        let mut statement = Statement::new("INSERT INTO audit (seq, at, prev_hash, hash, record) VALUES ");
        for (at, record) in records {
            let Entry { seq, at, prev_hash, hash, record } = head.append(*at, record);
            statement.push_row([seq.into(), at.into(), prev_hash.into(), hash.into(), record.into()]);
        }
        connection.run(statement).await?;
    }
    Ok(())
}

/// Removes the entries up to a number.
pub(crate) fn cut(through: i64) -> Statement {
    Statement::new("DELETE FROM audit WHERE seq <= $1").bind(through)
}

fn entry(row: &mut Row) -> Result<Entry, StoreError> {
    Ok(Entry {
        seq: row.integer()?,
        at: row.timestamp()?,
        prev_hash: row.text()?,
        hash: row.text()?,
        record: row.text()?,
    })
}

fn page(after: i64, limit: u32) -> Statement {
    Statement::new("SELECT seq, at, prev_hash, hash, record FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
}

/// The records that checkpoints are kept in.
const NOTE: &str = "audit-checkpoint";

/// How many entries one statement appends. Each number is a text of its own, which the engines have to keep.
const ROWS: usize = 32;

/// How many rows a walk reads at a time.
const PAGE: u32 = 1000;
