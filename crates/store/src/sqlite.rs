//! SQLite, embedded: one file, many readers, one writer.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, TypeInfo as _, ValueRef as _};
use tokio::sync::watch;

use crate::engine::{Connection, Dialect, Engine, Row, Statement, Value};
use crate::error::StoreError;

/// A database file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    options: SqliteConnectOptions,
    readers: SqlitePool,
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
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            // A file does not go away the way a server does.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone().pragma("query_only", "ON"));
        Ok(Self { options: options.journal_mode(SqliteJournalMode::Wal), readers })
    }
}

impl Engine for Sqlite {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn read(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let rows = query(statement)?.fetch_all(&self.readers).await.map_err(|error| failed("reading", error))?;
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

static DIALECT: Dialect = Dialect {
    begin: "BEGIN IMMEDIATE",
    lock_schema: None,
    count_meta: "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'",
    for_update: "",
    notify: None,
    text: "TEXT",
    bytes: "BLOB",
};
