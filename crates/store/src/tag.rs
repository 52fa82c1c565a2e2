//! Tags: names match in any case and keep their spelling, values match exactly.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Row, Statement};
use crate::error::StoreError;
use crate::resource::push_below;

/// How often a tag is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagCount {
    /// Its name, in one of the spellings in use.
    pub name: String,
    /// How many resources have it.
    pub count: i64,
    /// How many have it with which value.
    pub values: Vec<TagValueCount>,
}

/// How often a value of a tag is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagValueCount {
    /// The value.
    pub value: String,
    /// How many resources have it.
    pub count: i64,
}

/// Counts the tags of everything below a prefix; ordered by name, then value.
pub(crate) fn count(prefix: &str) -> Statement {
    let mut statement = Statement::new("SELECT name_key, MIN(name), value, COUNT(*) FROM resource_tags WHERE ");
    push_below(&mut statement, "key >= ", " AND key < ", prefix);
    statement.push(" GROUP BY name_key, value ORDER BY name_key, value");
    statement
}

/// Gathers the rows of [`count`].
pub(crate) fn counts(rows: Vec<Row>) -> Result<Vec<TagCount>, StoreError> {
    let mut counts: BTreeMap<String, TagCount> = BTreeMap::new();
    for mut row in rows {
        let (key, name, value, count) = (row.text()?, row.text()?, row.text()?, row.integer()?);
        let tag = counts.entry(key).or_insert_with(|| TagCount { name, count: 0, values: Vec::new() });
        tag.count += count;
        tag.values.push(TagValueCount { value, count });
    }
    Ok(counts.into_values().collect())
}

/// Inserts the tags of resources, one row for each name.
pub(crate) fn insert<'a>(tagged: impl Iterator<Item = (&'a str, &'a BTreeMap<String, String>)>) -> Vec<Statement> {
    let mut rows = Vec::new();
    for (key, tags) in tagged {
        let mut seen = BTreeSet::new();
        for (name, value) in tags {
            let name_key = name.to_ascii_lowercase();
            if seen.insert(name_key.clone()) {
                rows.push((key, name_key, name, value));
            }
        }
    }
    let statement = |rows: &[(&str, String, &String, &String)]| {
        let mut statement = Statement::new("INSERT INTO resource_tags (key, name_key, name, value) VALUES ");
        for (key, name_key, name, value) in rows {
            statement.push_row([(*key).into(), name_key.as_str().into(), name.as_str().into(), value.as_str().into()]);
        }
        statement
    };
    rows.chunks(ROWS).map(statement).collect()
}

/// Deletes all tags of resources.
pub(crate) fn delete(keys: &[String]) -> Statement {
    let mut statement = Statement::new("DELETE FROM resource_tags WHERE key IN (VALUES ");
    for key in keys {
        statement.push_row([key.as_str().into()]);
    }
    statement.push(")");
    statement
}

/// The tags as they are kept beside the body.
pub(crate) fn to_json(tags: &BTreeMap<String, String>) -> String {
    let object = tags.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    serde_json::Value::Object(object).to_string()
}

/// How many tags one statement inserts. Each number is a text of its own, which the engines have to keep.
const ROWS: usize = 32;
