//! Databases to test on, and short ways to say what the tests write.

pub(crate) mod cluster;

use bastide_store::{
    Change, Committed, Location, Record, RecordQuery, Resource, ResourcePut, ResourceQuery, Store, StoreError, Write,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// A database of the test's own, gone when it is.
pub(crate) struct Database {
    pub(crate) location: Location,
    directory: Option<TempDir>,
}

impl Database {
    /// A file in a directory of its own.
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { location: Location::Sqlite(directory.path().join("store.db")), directory: Some(directory) }
    }

    /// A database on a server that somebody else owns.
    pub(crate) fn postgres(url: String) -> Self {
        Self { location: Location::Postgres(url), directory: None }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.directory.is_some()
    }

    pub(crate) async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Store, StoreError> {
        Store::open(&self.location).await
    }

    /// Does something to the rows behind the store's back.
    pub(crate) async fn tamper(&self, sql: &str) {
        match &self.location {
            Location::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Location::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

/// A moment, `seconds` after the tests' beginning of time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A resource of a type, with a body that says `value`.
pub(crate) fn put(id: &str, type_name: &str, value: i64) -> ResourcePut {
    ResourcePut {
        id: id.to_owned(),
        type_name: type_name.to_owned(),
        incarnation: incarnation_of(id),
        listed: true,
        tags: [].into(),
        body: json!({ "properties": { "value": value } }),
        by: "ada".to_owned(),
        by_type: "User".to_owned(),
    }
}

/// The same resource with tags.
pub(crate) fn tagged(id: &str, tags: &[(&str, &str)]) -> ResourcePut {
    let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ResourcePut { tags, ..put(id, DISK, 0) }
}

/// The incarnation that [`put`] gives: one for each key.
pub(crate) fn incarnation_of(id: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, id.to_ascii_lowercase().as_bytes())
}

/// A record that says `value`.
pub(crate) fn record(kind: &str, key: &str, owner: Option<&str>, value: i64) -> Change {
    Change::PutRecord {
        kind: kind.to_owned(),
        key: key.to_owned(),
        owner: owner.map(ToOwned::to_owned),
        body: json!(value),
        expires: None,
    }
}

/// A write that only changes.
pub(crate) fn write(changes: impl IntoIterator<Item = Change>) -> Write {
    Write { changes: changes.into_iter().collect(), ..Write::new(at(0)) }
}

/// A write that only appends to the audit chain.
pub(crate) fn note(record: Value) -> Write {
    Write { audit: vec![record], ..Write::new(at(0)) }
}

pub(crate) async fn put_all(store: &Store, resources: impl IntoIterator<Item = ResourcePut>) -> Committed {
    store.commit(write(resources.into_iter().map(Change::PutResource))).await.unwrap()
}

/// The keys a query finds.
pub(crate) async fn keys(store: &Store, query: ResourceQuery) -> Vec<String> {
    store.resources(&query).await.unwrap().into_iter().map(|resource| resource.key).collect()
}

/// All records of a kind.
pub(crate) async fn records(store: &Store, kind: &str) -> Vec<Record> {
    let query = RecordQuery { kind: kind.to_owned(), owner: None, now: at(0), after: None, limit: 10_000 };
    store.records(&query).await.unwrap()
}

/// What a body made by [`put`] says.
pub(crate) fn value(resource: &Resource) -> i64 {
    resource.body["properties"]["value"].as_i64().unwrap()
}

/// A group's prefix, for ids that read like ids.
pub(crate) const GROUP: &str = "/subscriptions/s/resourceGroups/rg/";
pub(crate) const DISK: &str = "Microsoft.Compute/disks";
