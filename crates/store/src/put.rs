//! How resources are written: many rows at a time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::engine::{Connection, Statement, Value, stored_time};
use crate::error::CommitError;
use crate::resource::{Resource, ResourcePut, Stamp};
use crate::tag;
use crate::write::Expectation;

/// A resource on its way into the database.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    /// The id in ASCII lower case.
    pub(crate) key: String,
    etag: String,
    put: &'a ResourcePut,
    /// The index of the write that brings it.
    write: usize,
    at: Timestamp,
    revision: i64,
}

impl<'a> Put<'a> {
    pub(crate) fn new(put: &'a ResourcePut, write: usize, at: Timestamp, revision: i64) -> Self {
        let etag = Uuid::new_v4().simple().to_string();
        Self { key: put.id.to_ascii_lowercase(), etag, put, write, at, revision }
    }

    fn row(&self) -> [Value; 18] {
        let name = self.key.rsplit('/').next().unwrap_or_default();
        let put = self.put;
        [
            self.key.as_str().into(),
            put.id.as_str().into(),
            put.type_name.as_str().into(),
            put.type_name.to_ascii_lowercase().into(),
            name.into(),
            put.incarnation.into(),
            self.revision.into(),
            self.etag.as_str().into(),
            put.listed.into(),
            tag::to_json(&put.tags).into(),
            (&put.body).into(),
            self.revision.into(),
            self.at.into(),
            put.by.as_str().into(),
            put.by_type.as_str().into(),
            self.at.into(),
            put.by.as_str().into(),
            put.by_type.as_str().into(),
        ]
    }

    fn stored(self, created: Stamp) -> Resource {
        let put = self.put;
        Resource {
            id: put.id.clone(),
            key: self.key,
            type_name: put.type_name.clone(),
            incarnation: put.incarnation,
            revision: self.revision,
            etag: self.etag,
            listed: put.listed,
            tags: put.tags.clone(),
            body: put.body.clone(),
            created,
            changed: Stamp { at: stored_time(self.at), by: put.by.clone(), by_type: put.by_type.clone() },
        }
    }
}

/// Writes resources, of which no two may have the same key. Brings each as stored, with the index of its write.
///
/// # Errors
/// A conflict when a key belongs to another incarnation; the others may then have been written.
pub(crate) async fn put_all(
    connection: &mut dyn Connection,
    puts: Vec<Put<'_>>,
) -> Result<Vec<(usize, Resource)>, CommitError> {
    let mut upsert = Statement::new(INSERT);
    for put in &puts {
        upsert.push_row(put.row());
    }
    upsert.push(REPLACE);
    let mut rows = BTreeMap::new();
    for mut row in connection.fetch(upsert).await? {
        rows.insert(row.text()?, (row.integer()?, Stamp::from_row(&mut row)?));
    }
    let mut stored = Vec::with_capacity(puts.len());
    let mut replaced = Vec::new();
    for put in puts {
        let Some((created_revision, created)) = rows.remove(&put.key) else {
            let (key, incarnation) = (put.key, put.put.incarnation);
            return Err(CommitError::Conflict(Expectation::ResourceIncarnation { key, incarnation }));
        };
        if created_revision != put.revision {
            replaced.push(put.key.clone());
        }
        stored.push((put.write, put.stored(created)));
    }
    if !replaced.is_empty() {
        connection.run(tag::delete(&replaced)).await?;
    }
    for statement in tag::insert(stored.iter().map(|(_, resource)| (resource.key.as_str(), &resource.tags))) {
        connection.run(statement).await?;
    }
    Ok(stored)
}

const INSERT: &str = "INSERT INTO resources (key, id, type_name, type_key, name_key, incarnation, revision, etag, listed, \
    tags, body, created_revision, created_at, created_by, created_by_type, changed_at, changed_by, changed_by_type) \
    VALUES ";

const REPLACE: &str = " ON CONFLICT (key) DO UPDATE SET id = excluded.id, type_name = excluded.type_name, \
    type_key = excluded.type_key, name_key = excluded.name_key, revision = excluded.revision, etag = excluded.etag, \
    listed = excluded.listed, tags = excluded.tags, body = excluded.body, changed_at = excluded.changed_at, \
    changed_by = excluded.changed_by, changed_by_type = excluded.changed_by_type \
    WHERE resources.incarnation = excluded.incarnation \
    RETURNING key, created_revision, created_at, created_by, created_by_type";
