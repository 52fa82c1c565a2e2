//! SQLite, embedded: one file, many readers, one writer.

mod readers;

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, TypeInfo as _, ValueRef as _};
use tokio::sync::watch;

use crate::engine::{Connection, Dialect, Engine, Row, Statement, Value};
use crate::error::StoreError;
use readers::Readers;

/// A database file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    options: SqliteConnectOptions,
    readers: Readers,
}

impl Sqlite {
    /// Opens a file, or makes it, for its owner only: it holds sealed secrets and password hashes.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::File { path: path.to_owned(), source: Arc::new(source) })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .synchronous(SqliteSynchronous::Full);
        let readers = Readers::new(options.clone().pragma("query_only", "ON"), READERS, BUSY);
        let options = options.journal_mode(SqliteJournalMode::Wal).statement_cache_capacity(STATEMENTS);
        Ok(Self { options, readers })
    }
}

impl Engine for Sqlite {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn read(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let rows = self.readers.fetch(query(statement)?).await.map_err(|error| failed("reading", error))?;
            rows.iter().map(decode).collect()
        })
    }

    fn writer(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, StoreError>> {
        Box::pin(async move {
            let connection =
                SqliteConnection::connect_with(&self.options).await.map_err(|error| failed("opening", error))?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }

    fn follow(&self, _revisions: watch::Sender<i64>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.readers.close())
    }
}

impl Connection for SqliteConnection {
    fn run(&mut self, statement: Statement) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let done = query(statement)?.execute(self).await.map_err(|error| failed("writing", error))?;
            Ok(done.rows_affected())
        })
    }

    fn fetch(&mut self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let rows = query(statement)?.fetch_all(self).await.map_err(|error| failed("writing", error))?;
            rows.iter().map(decode).collect()
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = sqlx::Connection::close(*self).await {
                tracing::warn!(%error, "the database connection did not close in good order");
            }
        })
    }
}

fn query(statement: Statement) -> Result<sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>, StoreError> {
    statement.check()?;
    // `Statement` puts every value into an argument.
    let query = sqlx::query(AssertSqlSafe(statement.text));
    Ok(statement.arguments.into_iter().fold(query, |query, argument| match argument {
        Value::Integer(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    }))
}

fn decode(row: &SqliteRow) -> Result<Row, StoreError> {
    let value = |index| -> Result<Value, sqlx::Error> {
        let raw = row.try_get_raw(index)?;
        let kind = raw.type_info().into_owned();
        Ok(match kind.name() {
            _ if raw.is_null() => Value::Text(None),
            "INTEGER" => Value::Integer(row.try_get_unchecked(index)?),
            "BLOB" => Value::Bytes(row.try_get_unchecked(index)?),
            _ => Value::Text(row.try_get_unchecked(index)?),
        })
    };
    let values = (0..row.len()).map(value).collect::<Result<_, _>>();
    values.map(Row::new).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn failed(doing: &'static str, error: sqlx::Error) -> StoreError {
    StoreError::unavailable(doing, error)
}

/// Makes the file before SQLite does, which would leave the mode to the umask; its companions (`-wal`, `-shm`) inherit it.
fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the database file was open to others; it no longer is");
        file.set_permissions(Permissions::from_mode(mode & 0o700))?;
    }
    Ok(())
}

/// How long to wait for another process's lock, or for a free reader.
const BUSY: Duration = Duration::from_secs(10);

/// Connections that read. Each has a thread and a cache of up to 2 MiB.
const READERS: u32 = 4;

/// How many statements the writer keeps prepared: each number of rows is a text of its own.
const STATEMENTS: usize = 256;

static DIALECT: Dialect = Dialect {
    begin: "BEGIN IMMEDIATE",
    lock_schema: None,
    count_meta: "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'",
    for_update: "",
    notify: None,
    text: "TEXT",
    bytes: "BLOB",
};

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{AuditVerdict, Change, CommitError, Location, RecordQuery, Store, Write};

    fn write(key: &str, size: usize) -> Write {
        let record = Change::PutRecord {
            kind: "blob".into(),
            key: key.into(),
            owner: Some("all".into()),
            body: json!("x".repeat(size)),
            expires: None,
        };
        Write { changes: vec![record], audit: vec![json!(key)], ..Write::new(Timestamp::UNIX_EPOCH) }
    }

    async fn keys(store: &Store) -> Vec<String> {
        let now = Timestamp::UNIX_EPOCH;
        let query = RecordQuery { kind: "blob".into(), owner: None, now, after: None, limit: 1000 };
        store.records(&query).await.unwrap().into_iter().map(|record| record.key).collect()
    }

    #[tokio::test]
    async fn a_full_disk_refuses_writes_and_keeps_what_it_has_until_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let mut engine = Sqlite::open(&directory.path().join("store.db")).unwrap();
        engine.options = engine.options.pragma("max_page_count", "100");
        let store = Store::on(Arc::new(engine)).await.unwrap();
        let mut kept = Vec::new();
        let refusal = loop {
            let key = format!("{:03}", kept.len());
            match store.commit(write(&key, 20_000)).await {
                Ok(_) => kept.push(key),
                Err(error) => break error,
            }
        };
        assert!(matches!(refusal, CommitError::Store(StoreError::Unavailable { .. })), "{refusal}");
        assert_eq!(keys(&store).await, kept);
        let delete = Change::DeleteRecordsOf { kind: "blob".into(), owner: "all".into() };
        store.commit(Write { changes: vec![delete], ..Write::new(Timestamp::UNIX_EPOCH) }).await.unwrap();
        store.commit(write("after", 20_000)).await.unwrap();
        assert_eq!(keys(&store).await, ["after"]);
        let entries = i64::try_from(kept.len()).unwrap() + 1;
        assert!(
            matches!(store.verify_audit().await, Ok(AuditVerdict::Intact { entries: found, .. }) if found == entries)
        );
    }

    #[tokio::test]
    async fn the_file_and_its_companions_are_for_their_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let store = Store::open(&Location::Sqlite(path)).await.unwrap();
        store.commit(write("a", 1)).await.unwrap();
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", file.path().display());
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        std::fs::write(&path, "a letter to a friend, long enough to be looked at".repeat(100)).unwrap();
        let error = Store::open(&Location::Sqlite(path)).await.unwrap_err();
        assert!(error.to_string().contains("not a database"), "{error}");
        let error = Store::open(&Location::Sqlite(directory.path().join("no/such/place.db"))).await.unwrap_err();
        assert!(matches!(error, StoreError::File { .. }));
    }

    #[tokio::test]
    async fn every_connection_flushes_fully_and_keeps_foreign_keys() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Sqlite::open(&directory.path().join("store.db")).unwrap();
        let mut writer = engine.writer().await.unwrap();
        for (pragma, expected) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1)] {
            let rows = writer.fetch(Statement::new(pragma)).await.unwrap();
            assert_eq!(rows.into_iter().next().unwrap().integer().unwrap(), expected, "{pragma}");
        }
        let rows = writer.fetch(Statement::new("PRAGMA journal_mode")).await.unwrap();
        assert_eq!(rows.into_iter().next().unwrap().text().unwrap(), "wal");
        assert!(engine.read(Statement::new("CREATE TABLE t (a BIGINT)")).await.is_err(), "readers only read");
    }
}
