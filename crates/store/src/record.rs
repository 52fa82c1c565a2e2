//! Records: everything that is stored and is not a resource, such as principals, credentials, grants and keys.

use jiff::Timestamp;
use serde_json::Value;

use crate::engine::{Connection, Row, Statement};
use crate::error::StoreError;

/// A record as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Kind of record.
    pub kind: String,
    /// Its key, unique within the kind.
    pub key: String,
    /// Whose it is.
    pub owner: Option<String>,
    /// What it says.
    pub body: Value,
    /// From when on it is as if it were not there.
    pub expires: Option<Timestamp>,
    /// The revision of its last change.
    pub revision: i64,
}

/// Which records to list: those of one kind, in the order of their keys (byte by byte).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordQuery {
    /// Kind of record.
    pub kind: String,
    /// Only those of this owner.
    pub owner: Option<String>,
    /// The time: what has expired by then is left out.
    pub now: Timestamp,
    /// Only keys behind this one; the key of the last record of the page before.
    pub after: Option<String>,
    /// How many at most.
    pub limit: u32,
}

impl RecordQuery {
    pub(crate) fn statement(&self) -> Statement {
        let mut statement = Statement::new(SELECT).bind(self.kind.as_str()).bind(self.now);
        if let Some(owner) = &self.owner {
            statement.push_bind(" AND owner = ", owner.as_str());
        }
        if let Some(after) = &self.after {
            statement.push_bind(" AND key > ", after.as_str());
        }
        statement.push_bind(" ORDER BY key LIMIT ", i64::from(self.limit));
        statement
    }
}

impl Record {
    pub(crate) fn by_key(kind: &str, key: &str, now: Timestamp) -> Statement {
        let mut statement = Statement::new(SELECT).bind(kind).bind(now);
        statement.push_bind(" AND key = ", key);
        statement
    }

    pub(crate) fn by_keys(kind: &str, keys: &[&str], now: Timestamp) -> Statement {
        let mut statement = Statement::new(SELECT).bind(kind).bind(now);
        statement.push_list(" AND key IN ", keys.iter().copied());
        statement
    }

    pub(crate) fn from_row(mut row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            kind: row.text()?,
            key: row.text()?,
            owner: row.optional_text()?,
            body: row.json()?,
            expires: row.optional_timestamp()?,
            revision: row.integer()?,
        })
    }
}

/// A record on its way into the database.
#[derive(Debug)]
pub(crate) struct RecordRow<'a> {
    pub(crate) kind: &'a str,
    pub(crate) key: &'a str,
    pub(crate) owner: Option<&'a str>,
    pub(crate) body: &'a Value,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) revision: i64,
}

/// Creates or replaces records, of which no two may have the same kind and key.
pub(crate) fn upsert(rows: &[RecordRow<'_>]) -> Statement {
    let mut statement = Statement::new("INSERT INTO records (kind, key, owner, body, expires, revision) VALUES ");
    for RecordRow { kind, key, owner, body, expires, revision } in rows {
        statement.push_row([
            (*kind).into(),
            (*key).into(),
            (*owner).into(),
            (*body).into(),
            (*expires).into(),
            (*revision).into(),
        ]);
    }
    statement.push(
        " ON CONFLICT (kind, key) DO UPDATE SET owner = excluded.owner, body = excluded.body, \
         expires = excluded.expires, revision = excluded.revision",
    );
    statement
}

/// Deletes records by kind and key.
pub(crate) fn delete(rows: &[(&str, &str)]) -> Statement {
    let mut statement = Statement::new("DELETE FROM records WHERE (kind, key) IN (VALUES ");
    for (kind, key) in rows {
        statement.push_row([(*kind).into(), (*key).into()]);
    }
    statement.push(")");
    statement
}

/// Deletes the records of a kind that belong to an owner.
pub(crate) fn delete_of(kind: &str, owner: &str) -> Statement {
    Statement::new("DELETE FROM records WHERE kind = $1 AND owner = $2").bind(kind).bind(owner)
}

/// Everything that holds an owner, directly or through what holds that, where a record called `holder/owner` says that
/// one holds the other.
pub(crate) fn holders(kind: &str, owner: &str, now: Timestamp) -> Statement {
    Statement::new(HOLDERS).bind(kind).bind(now).bind(owner)
}

/// What is held by a holder, directly or through what it holds; see [`holders`].
pub(crate) fn held(kind: &str, holder: &str, now: Timestamp, limit: u32) -> Statement {
    Statement::new(HELD).bind(kind).bind(now).bind(holder).bind(i64::from(limit))
}

/// Deletes up to `limit` records that have expired by `now` and says how many it found.
pub(crate) async fn sweep(connection: &mut dyn Connection, now: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let text = "DELETE FROM records WHERE (kind, key) IN \
        (SELECT kind, key FROM records WHERE expires IS NOT NULL AND expires <= $1 ORDER BY expires LIMIT $2)";
    connection.run(Statement::new(text).bind(now).bind(limit)).await
}

const HOLDERS: &str = "WITH RECURSIVE holders (id) AS (\
    SELECT substr(key, 1, length(key) - length(owner) - 1) FROM records \
    WHERE kind = $1 AND (expires IS NULL OR expires > $2) AND owner = $3 \
    UNION SELECT substr(r.key, 1, length(r.key) - length(r.owner) - 1) FROM holders h JOIN records r ON r.owner = h.id \
    WHERE r.kind = $1 AND (r.expires IS NULL OR r.expires > $2)) SELECT id FROM holders ORDER BY id";

/// The keys behind `holder/` and before `holder0` are those that begin with `holder/`.
const HELD: &str = "WITH RECURSIVE held (id) AS (\
    SELECT owner FROM records \
    WHERE kind = $1 AND (expires IS NULL OR expires > $2) AND key > $3 || '/' AND key < $3 || '0' \
    UNION SELECT r.owner FROM held h JOIN records r ON r.key > h.id || '/' AND r.key < h.id || '0' \
    WHERE r.kind = $1 AND (r.expires IS NULL OR r.expires > $2)) SELECT id FROM held LIMIT $4";

const SELECT: &str = "SELECT kind, key, owner, body, expires, revision FROM records \
    WHERE kind = $1 AND (expires IS NULL OR expires > $2)";
