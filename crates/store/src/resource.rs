//! Resources: what they hold, how they are listed, how they are written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::engine::{Row, Statement, prefix_end};
use crate::error::StoreError;

/// A resource as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The id in its canonical spelling.
    pub id: String,
    /// The id in ASCII lower case, by which it is found.
    pub key: String,
    /// The full type, `Microsoft.X/y/z`.
    pub type_name: String,
    /// This life of the resource; a deleted and re-made one has another.
    pub incarnation: Uuid,
    /// The revision of its last change.
    pub revision: i64,
    /// Changes with every revision and says nothing else; without quotes.
    pub etag: String,
    /// Whether it appears in the list of all resources.
    pub listed: bool,
    /// Its tags, names as they were spelled.
    pub tags: BTreeMap<String, String>,
    /// Everything else, an object.
    pub body: Value,
    /// Who made it and when.
    pub created: Stamp,
    /// Who changed it last and when.
    pub changed: Stamp,
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When, to the microsecond.
    pub at: Timestamp,
    /// Which principal.
    pub by: String,
    /// What kind of principal: `User`, `Application`, `ManagedIdentity`.
    pub by_type: String,
}

/// A resource to be stored; the store adds key, revision, etag and stamps.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourcePut {
    /// The id in its canonical spelling.
    pub id: String,
    /// The full type, `Microsoft.X/y/z`.
    pub type_name: String,
    /// The incarnation: a new one for a new resource, the stored one for a change.
    pub incarnation: Uuid,
    /// Whether it appears in the list of all resources.
    pub listed: bool,
    /// Its tags. Names that differ only in case are one tag to queries.
    pub tags: BTreeMap<String, String>,
    /// Everything else, an object.
    pub body: Value,
    /// The principal that does this.
    pub by: String,
    /// What kind of principal it is.
    pub by_type: String,
}

/// Which resources to list: those to which everything given applies, in the order of their keys (byte by byte).
///
/// A page takes the same time among a thousand rows and among a hundred thousand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceQuery {
    /// Keys that start with this, `/subscriptions/s/resourcegroups/rg/`.
    ///
    /// Together with one type it lists direct children: nothing but them has that type under that prefix.
    pub prefix: Option<String>,
    /// One of these types, in any case; empty for all.
    pub types: Vec<String>,
    /// Only what appears in the list of all resources.
    pub listed_only: bool,
    /// This name (the last segment of the id), in any case.
    pub name: Option<String>,
    /// This tag: its name in any case and, when given, exactly this value.
    pub tag: Option<(String, Option<String>)>,
    /// Only keys behind this one; the key of the last resource of the page before.
    pub after: Option<String>,
    /// How many at most.
    pub limit: u32,
}

impl Default for ResourceQuery {
    /// The first hundred of all.
    fn default() -> Self {
        Self { prefix: None, types: Vec::new(), listed_only: false, name: None, tag: None, after: None, limit: 100 }
    }
}

impl ResourceQuery {
    pub(crate) fn statement(&self) -> Statement {
        match self.types.as_slice() {
            [] => self.of_type(None),
            [type_name] => self.of_type(Some(type_name)),
            several => self.of_types(several),
        }
    }

    fn of_type(&self, type_name: Option<&str>) -> Statement {
        let mut statement = Statement::new("");
        self.select(&mut statement, type_name);
        statement
    }

    /// One ordered page of each type, merged: a single scan for several types would have to sort all of them.
    fn of_types(&self, types: &[String]) -> Statement {
        let mut keys: Vec<String> = types.iter().map(|name| name.to_ascii_lowercase()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut statement = Statement::new("");
        for (index, key) in keys.iter().enumerate() {
            statement.push(if index == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
            self.select(&mut statement, Some(key));
            statement.push(") AS of_type");
        }
        statement.push_bind(" ORDER BY key LIMIT ", i64::from(self.limit));
        statement
    }

    fn select(&self, statement: &mut Statement, type_name: Option<&str>) {
        statement.push(SELECT);
        match &self.tag {
            None => statement.push(" FROM resources r WHERE 1 = 1"),
            Some((name, value)) => {
                statement.push_bind(
                    // SQLite takes the tables of a cross join in the order they are written: the index of tags leads.
                    " FROM resource_tags t CROSS JOIN resources r WHERE r.key = t.key AND t.name_key = ",
                    name.to_ascii_lowercase(),
                );
                if let Some(value) = value {
                    statement.push_bind(" AND t.value = ", value.as_str());
                }
            }
        }
        if let Some(type_name) = type_name {
            statement.push_bind(" AND r.type_key = ", type_name.to_ascii_lowercase());
        }
        if let Some(name) = &self.name {
            statement.push_bind(" AND r.name_key = ", name.to_ascii_lowercase());
        }
        if self.listed_only {
            // Literal, so that the partial index applies.
            statement.push(" AND r.listed = 1");
        }
        let key = if self.tag.is_some() {
            ["t.key > ", "t.key >= ", "t.key < "]
        } else {
            ["r.key > ", "r.key >= ", "r.key < "]
        };
        self.push_range(statement, key);
        statement.push(if self.tag.is_some() { " ORDER BY t.key" } else { " ORDER BY r.key" });
        statement.push_bind(" LIMIT ", i64::from(self.limit));
    }

    /// One lower and one upper bound, so that every planner sees a single range.
    fn push_range(&self, statement: &mut Statement, [above, from, below]: [&'static str; 3]) {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        match self.after.as_deref() {
            Some(after) if after >= prefix => {
                statement.push(" AND ");
                statement.push_bind(above, after);
            }
            _ if prefix.is_empty() => {}
            _ => {
                statement.push(" AND ");
                statement.push_bind(from, prefix);
            }
        }
        if let Some(end) = prefix_end(prefix) {
            statement.push(" AND ");
            statement.push_bind(below, end);
        }
    }
}

impl Resource {
    pub(crate) fn by_key(key: &str) -> Statement {
        let mut statement = Statement::new(SELECT);
        statement.push_bind(" FROM resources r WHERE r.key = ", key);
        statement
    }

    pub(crate) fn by_keys(keys: &[&str]) -> Statement {
        let mut statement = Statement::new(SELECT);
        statement.push_list(" FROM resources r WHERE r.key IN ", keys.iter().copied());
        statement
    }

    pub(crate) fn from_row(mut row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            key: row.text()?,
            id: row.text()?,
            type_name: row.text()?,
            incarnation: row.uuid()?,
            revision: row.integer()?,
            etag: row.text()?,
            listed: row.integer()? != 0,
            tags: row.json()?,
            body: row.json()?,
            created: Stamp::from_row(&mut row)?,
            changed: Stamp::from_row(&mut row)?,
        })
    }
}

impl Stamp {
    pub(crate) fn from_row(row: &mut Row) -> Result<Self, StoreError> {
        Ok(Self { at: row.timestamp()?, by: row.text()?, by_type: row.text()? })
    }
}

/// The resources whose keys start with `prefix`, as a condition on `column`.
pub(crate) fn push_below(statement: &mut Statement, from: &'static str, below: &'static str, prefix: &str) {
    statement.push_bind(from, prefix);
    if let Some(end) = prefix_end(prefix) {
        statement.push_bind(below, end);
    }
}

/// Deletes one resource and its secrets; the tags go by their foreign key.
pub(crate) fn delete(key: &str) -> [Statement; 2] {
    let secrets = "DELETE FROM secrets WHERE incarnation IN (SELECT incarnation FROM resources WHERE key = $1)";
    [secrets, "DELETE FROM resources WHERE key = $1"].map(|text| Statement::new(text).bind(key))
}

/// Deletes all resources below a prefix and their secrets.
pub(crate) fn delete_below(prefix: &str) -> [Statement; 2] {
    let mut secrets =
        Statement::new("DELETE FROM secrets WHERE incarnation IN (SELECT incarnation FROM resources WHERE ");
    push_below(&mut secrets, "key >= ", " AND key < ", prefix);
    secrets.push(")");
    let mut resources = Statement::new("DELETE FROM resources WHERE ");
    push_below(&mut resources, "key >= ", " AND key < ", prefix);
    [secrets, resources]
}

const SELECT: &str = "SELECT r.key AS key, r.id, r.type_name, r.incarnation, r.revision, r.etag, r.listed, r.tags, r.body, \
    r.created_at, r.created_by, r.created_by_type, r.changed_at, r.changed_by, r.changed_by_type";
