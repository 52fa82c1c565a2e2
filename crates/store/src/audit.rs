//! The audit chain: what was done, in an order nobody can quietly change.
//!
//! Each entry carries the hash of the one before it, so a changed, removed, inserted or moved entry breaks the chain at
//! its place. The head (number and hash of the last entry) is kept apart, so a shortened chain shows too. Whoever can
//! rewrite the whole database can still write a new chain; only a copy of the head kept elsewhere reveals that.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::engine::{Connection, Engine, Row, Statement};
use crate::error::StoreError;

/// An entry of the audit chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its number: 1, 2, 3, ...
    pub seq: i64,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// The hash of the entry before it; empty for the first.
    pub prev_hash: String,
    /// SHA-256, in hexadecimal, over `prev_hash`, `seq`, `at` and the canonical text of `record`, each behind its length.
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

/// What a walk along the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every entry is there, unchanged and in its place.
    Intact {
        /// How many there are; the number of the last.
        entries: i64,
        /// The hash of the last; empty when there is none. Keep a copy elsewhere to notice a rewritten chain.
        head: String,
    },
    /// Somebody, or something, has changed the chain.
    Broken {
        /// The first number at which it is not as it was written.
        seq: i64,
        /// What is wrong there.
        fault: AuditFault,
    },
}

/// What is wrong with the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFault {
    /// The entry is not there.
    Missing,
    /// The entry does not match its hash, or does not follow from the one before it.
    Changed,
    /// The entry lies outside the chain: before its first or behind its last.
    Foreign,
}

impl AuditQuery {
    pub(crate) fn statement(&self) -> Statement {
        page(self.after, i64::from(self.limit))
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

/// The end of the chain, where the next entry goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: String,
}

impl Head {
    /// Appends records, each with the time of its write.
    pub(crate) async fn append(
        &mut self,
        connection: &mut dyn Connection,
        records: &[(Timestamp, &Value)],
    ) -> Result<(), StoreError> {
        for records in records.chunks(ROWS) {
            let mut statement = Statement::new("INSERT INTO audit (seq, at, prev_hash, hash, record) VALUES ");
            for (at, record) in records {
                let text = canonical(record).to_string();
                let seq = self.seq + 1;
                let hash = link(&self.hash, seq, at.as_microsecond(), &text);
                let prev_hash = std::mem::replace(&mut self.hash, hash.clone());
                self.seq = seq;
                statement.push_row([seq.into(), (*at).into(), prev_hash.into(), hash.into(), text.into()]);
            }
            connection.run(statement).await?;
        }
        Ok(())
    }
}

/// Walks the chain as it was when the walk began.
pub(crate) async fn verify(engine: &dyn Engine) -> Result<AuditVerdict, StoreError> {
    let text = "SELECT audit_seq, audit_hash, (SELECT MIN(seq) FROM audit), (SELECT MAX(seq) FROM audit) FROM meta WHERE id = 1";
    let rows = engine.read(Statement::new(text)).await?;
    let mut row = rows.into_iter().next().ok_or_else(|| StoreError::Corrupt("the meta row is missing".to_owned()))?;
    let head = Head { seq: row.integer()?, hash: row.text()? };
    let (first, last) = (row.optional_integer()?, row.optional_integer()?);
    if let Some(seq) = first.filter(|first| *first < 1) {
        return Ok(AuditVerdict::Broken { seq, fault: AuditFault::Foreign });
    }
    let mut walked = Head { seq: 0, hash: String::new() };
    while walked.seq < head.seq {
        let rows = engine.read(page(walked.seq, PAGE.min(head.seq - walked.seq))).await?;
        if rows.is_empty() {
            return Ok(AuditVerdict::Broken { seq: walked.seq + 1, fault: AuditFault::Missing });
        }
        for row in rows {
            if let Err(verdict) = walked.step(row)? {
                return Ok(verdict);
            }
        }
    }
    if walked.hash != head.hash {
        return Ok(AuditVerdict::Broken { seq: head.seq, fault: AuditFault::Changed });
    }
    if last.is_some_and(|last| last > head.seq) {
        return Ok(AuditVerdict::Broken { seq: head.seq + 1, fault: AuditFault::Foreign });
    }
    Ok(AuditVerdict::Intact { entries: head.seq, head: head.hash })
}

impl Head {
    fn step(&mut self, mut row: Row) -> Result<Result<(), AuditVerdict>, StoreError> {
        let (seq, at) = (row.integer()?, row.integer()?);
        let (prev_hash, hash, record) = (row.text()?, row.text()?, row.text()?);
        if seq != self.seq + 1 {
            return Ok(Err(AuditVerdict::Broken { seq: self.seq + 1, fault: AuditFault::Missing }));
        }
        if prev_hash != self.hash || hash != link(&prev_hash, seq, at, &record) {
            return Ok(Err(AuditVerdict::Broken { seq, fault: AuditFault::Changed }));
        }
        *self = Self { seq, hash };
        Ok(Ok(()))
    }
}

fn page(after: i64, limit: i64) -> Statement {
    Statement::new("SELECT seq, at, prev_hash, hash, record FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2")
        .bind(after)
        .bind(limit)
}

/// The hash that ties an entry to the one before it. Each part stands behind its length: no two entries read the same.
fn link(prev_hash: &str, seq: i64, at: i64, record: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [prev_hash.as_bytes(), &seq.to_be_bytes(), &at.to_be_bytes(), record.as_bytes()] {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The same value with the names of every object in order, so that equal records have equal texts.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            Value::Object(
                members.into_iter().map(|(name, value)| (name.clone(), canonical(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// How many entries one statement appends. Each number is a text of its own, which the engines have to keep.
const ROWS: usize = 32;

/// How many entries a walk reads at a time.
const PAGE: i64 = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_records_have_equal_texts_whatever_the_order_of_their_members() {
        let one = json!({"b": [{"y": 1, "x": 2}], "a": null});
        let other = json!({"a": null, "b": [{"x": 2, "y": 1}]});
        assert_eq!(canonical(&one).to_string(), canonical(&other).to_string());
        assert_eq!(canonical(&one).to_string(), r#"{"a":null,"b":[{"x":2,"y":1}]}"#);
    }

    #[test]
    fn the_hash_depends_on_every_part_and_on_where_parts_end() {
        let reference = link("ab", 1, 2, "{}");
        assert_eq!(reference.len(), 64);
        for other in [link("a", 1, 2, "b{}"), link("ab", 2, 2, "{}"), link("ab", 1, 3, "{}"), link("ab", 1, 2, "[]")] {
            assert_ne!(other, reference);
        }
    }
}
