//! What each rise of the access epoch was about, so that whoever keeps the rights in memory reads only what has changed.
//!
//! The log is a hint with a bounded life: who finds it incomplete reads everything. Its records expire by themselves.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::Connection;
use crate::error::StoreError;
use crate::meta::Meta;
use crate::record::{self, RecordRow};
use crate::write::{Change, Write};

/// The resources that the writes between two access epochs were about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessChanges {
    /// The epoch they lead to.
    pub epoch: i64,
    /// Keys of resources that were put or deleted; each may be there or not.
    pub keys: Vec<String>,
    /// Prefixes below which everything was deleted.
    pub below: Vec<String>,
}

/// One rise of the access epoch.
#[derive(Debug)]
pub(crate) struct Raised {
    key: String,
    body: Value,
    expires: Option<Timestamp>,
    revision: i64,
}

#[derive(Serialize, Deserialize)]
struct Logged {
    from: i64,
    to: i64,
    keys: Vec<String>,
    below: Vec<String>,
}

impl Raised {
    /// What a write that raised the epoch from `before` was about.
    pub(crate) fn by(write: &Write, before: i64, meta: &Meta) -> Self {
        let (mut keys, mut below) = (Vec::new(), Vec::new());
        for change in &write.changes {
            match change {
                Change::PutResource(put) => keys.push(put.id.to_ascii_lowercase()),
                Change::DeleteResource(key) => keys.push(key.clone()),
                Change::DeleteBelow(prefix) => below.push(prefix.clone()),
                _ => {}
            }
        }
        Self {
            key: key(meta.access_epoch),
            body: json!(Logged { from: before, to: meta.access_epoch, keys, below }),
            expires: write.at.checked_add(KEPT).ok(),
            revision: meta.revision,
        }
    }
}

impl AccessChanges {
    /// Puts the records behind an epoch together; `None` when one is missing.
    pub(crate) fn gather(after: i64, epoch: i64, records: Vec<record::Record>) -> Option<Self> {
        let mut changes = Self { epoch: after, ..Self::default() };
        for record in records {
            let logged: Logged = serde_json::from_value(record.body).ok()?;
            if logged.from != changes.epoch {
                return None;
            }
            changes.epoch = logged.to;
            changes.keys.extend(logged.keys);
            changes.below.extend(logged.below);
        }
        (changes.epoch >= epoch).then_some(changes)
    }
}

/// Appends to the log.
pub(crate) async fn append(connection: &mut dyn Connection, raised: &[Raised]) -> Result<(), StoreError> {
    for raised in raised.chunks(ROWS) {
        let rows: Vec<_> = raised
            .iter()
            .map(|raised| RecordRow {
                kind: KIND,
                key: &raised.key,
                owner: None,
                body: &raised.body,
                expires: raised.expires,
                revision: raised.revision,
            })
            .collect();
        connection.run(record::upsert(&rows)).await?;
    }
    Ok(())
}

/// The key of an epoch: keys come in their order.
pub(crate) fn key(epoch: i64) -> String {
    format!("{epoch:019}")
}

/// The records of the log.
pub(crate) const KIND: &str = "access-change";

/// Longer than a process that is at work goes without looking.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// How many rows one statement writes.
const ROWS: usize = 16;
