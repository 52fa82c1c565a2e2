//! SQLite, embedded: one file, many readers, one writer.

mod in_place;
mod readers;

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::driver;
use crate::engine::{Connection, Dialect, Engine, Row, Statement};
use crate::error::StoreError;
use in_place::{Finders, InPlace};
use readers::Readers;

/// A database file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    /// Of the connection that writes.
    settings: Vec<Setting>,
    finders: Finders,
    readers: Readers,
}

/// A pragma and its value.
type Setting = (&'static str, &'static str);

impl Sqlite {
    /// Opens a file, or makes it, for its owner only: it holds sealed secrets and password hashes.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::File { path: path.to_owned(), source: Arc::new(source) })?;
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY);
        let options = READING.iter().fold(options, |options, (name, value)| options.pragma(*name, *value));
        Ok(Self {
            path: path.to_owned(),
            settings: WRITING.to_vec(),
            finders: Finders::new(READING.to_vec()),
            readers: Readers::new(options, READERS, BUSY),
        })
    }
}

impl Engine for Sqlite {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn read(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let rows = self.readers.fetch(driver::query(statement)?).await;
            driver::rows(&rows.map_err(unread)?)
        })
    }

    fn find(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            match self.finders.find(&self.path, &statement)? {
                Some(rows) => Ok(rows),
                None => self.read(statement).await,
            }
        })
    }

    fn writer(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, StoreError>> {
        let connection = InPlace::open(&self.path, &self.settings, STATEMENTS);
        Box::pin(std::future::ready(connection.map(|connection| Box::new(connection) as Box<dyn Connection>)))
    }

    /// On a thread of its own: it waits for the disk where it stands.
    fn host(&self, writer: BoxFuture<'static, ()>) -> Result<(), StoreError> {
        let runtime = Handle::current();
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let started = thread.spawn(move || runtime.block_on(writer));
        started.map(drop).map_err(|error| StoreError::unavailable("starting the writer", error))
    }

    fn follow(&self, _revisions: watch::Sender<i64>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.finders.close();
        Box::pin(self.readers.close())
    }
}

fn unread(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    // The low byte is the kind of error, the rest says more.
    match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(CORRUPT | NOT_A_DATABASE) => StoreError::Corrupt(format!("reading, SQLite says: {error}")),
        _ => StoreError::unavailable("reading", error),
    }
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

/// Result codes of SQLite (its documentation, "Result and Error Codes").
const CORRUPT: u32 = 11;
const NOT_A_DATABASE: u32 = 26;

/// How long to wait for another process's lock, or for a free reader.
const BUSY: Duration = Duration::from_secs(10);

/// Connections that read lists. Each has a thread and a cache of up to 2 MiB.
const READERS: u32 = 4;

/// What connections that only read are told.
const READING: [Setting; 2] = [("foreign_keys", "ON"), ("query_only", "ON")];

/// What the connection that writes is told: what it commits is on the disk. The journals of single statements stay in
/// memory, and the log is taken into the file every 16 MiB (of 4 KiB pages), so that a page written often goes over once.
const WRITING: [Setting; 5] = [
    ("journal_mode", "WAL"),
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    ("temp_store", "MEMORY"),
    ("wal_autocheckpoint", "4096"),
];

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
    use crate::{Change, CommitError, Location, RecordQuery, Store, Write};

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
        engine.settings.push(("max_page_count", "100"));
        let store = Store::on(Arc::new(engine)).await.unwrap();
        let mut kept = Vec::new();
        let refusal = loop {
            let key = format!("{:03}", kept.len());
            match store.commit(write(&key, 20_000)).await {
                Ok(_) => kept.push(key),
                Err(error) => break error,
            }
        };
        assert!(matches!(refusal, CommitError::Store(StoreError::Full { .. })), "{refusal}");
        assert_eq!(keys(&store).await, kept);
        let delete = Change::DeleteRecordsOf { kind: "blob".into(), owner: "all".into() };
        store.commit(Write { changes: vec![delete], ..Write::new(Timestamp::UNIX_EPOCH) }).await.unwrap();
        store.commit(write("after", 20_000)).await.unwrap();
        assert_eq!(keys(&store).await, ["after"]);
        let entries = i64::try_from(kept.len()).unwrap() + 1;
        assert!(matches!(store.verify_audit().await, Ok(Ok(intact)) if intact.head.seq == entries));
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
    async fn damaged_pages_are_told_from_a_database_that_is_busy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let store = Store::open(&Location::Sqlite(path.clone())).await.unwrap();
        for key in 0..50 {
            store.commit(write(&format!("{key:02}"), 3_000)).await.unwrap();
        }
        store.close().await;
        let mut bytes = std::fs::read(&path).unwrap();
        // The first page holds the schema; without it this is no database at all.
        for page in bytes.chunks_mut(4096).skip(1) {
            page[..200].fill(0xa5);
        }
        std::fs::write(&path, bytes).unwrap();
        let damaged = async || -> Result<(), StoreError> {
            let store = Store::open(&Location::Sqlite(path.clone())).await?;
            let now = Timestamp::UNIX_EPOCH;
            let query = RecordQuery { kind: "blob".into(), owner: None, now, after: None, limit: 1000 };
            store.records(&query).await.map(drop)
        };
        let error = damaged().await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
        let raw = Sqlite::open(&path).unwrap().read(Statement::new("SELECT count(*) FROM records")).await;
        assert!(matches!(raw, Err(StoreError::Corrupt(_))), "{raw:?}");
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
