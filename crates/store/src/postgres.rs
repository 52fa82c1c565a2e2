//! PostgreSQL, when one machine is not enough: any number of processes on one database.

use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use tokio::sync::watch;

use crate::driver;
use crate::engine::{Connection, Dialect, Engine, Row, Statement};
use crate::error::StoreError;

/// A database on a server.
#[derive(Debug)]
pub(crate) struct Postgres {
    options: PgConnectOptions,
    readers: PgPool,
}

impl Postgres {
    /// Prepares to use the database behind a URL; nothing is connected yet.
    pub(crate) fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::Location)?
            .application_name("bastide")
            // A server set to answer before it has written would break the promise of `commit`.
            .options([("synchronous_commit", "on")])
            .options(PLANS);
        let readers =
            PgPoolOptions::new().max_connections(READERS).acquire_timeout(PATIENCE).connect_lazy_with(options.clone());
        Ok(Self { options, readers })
    }
}

impl Engine for Postgres {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn read(&self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let rows = driver::query(statement)?.fetch_all(&self.readers).await;
            driver::rows(&rows.map_err(|error| failed("reading", error))?)
        })
    }

    fn writer(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, StoreError>> {
        Box::pin(async move {
            let options = self.options.clone().statement_cache_capacity(STATEMENTS);
            let connection = PgConnection::connect_with(&options).await.map_err(|error| failed("connecting", error))?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }

    fn follow(&self, revisions: watch::Sender<i64>) -> BoxFuture<'static, ()> {
        let readers = self.readers.clone();
        Box::pin(async move {
            while !readers.is_closed() {
                if let Err(error) = listen(&readers, &revisions).await
                    && !readers.is_closed()
                {
                    tracing::warn!(%error, "lost the notifications of the database server; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.readers.close())
    }
}

/// Passes on the revisions that other processes commit. What was committed while nobody listened is caught up with.
async fn listen(readers: &PgPool, revisions: &watch::Sender<i64>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(readers).await?;
    listener.listen("bastide_revision").await?;
    loop {
        let stored: i64 = sqlx::query_scalar("SELECT revision FROM meta WHERE id = 1").fetch_one(readers).await?;
        announce(revisions, stored);
        while let Some(notification) = listener.try_recv().await? {
            if let Ok(revision) = notification.payload().parse() {
                announce(revisions, revision);
            }
        }
    }
}

fn announce(revisions: &watch::Sender<i64>, revision: i64) {
    revisions.send_if_modified(|known| {
        let is_news = revision > *known;
        *known = revision.max(*known);
        is_news
    });
}

impl Connection for PgConnection {
    fn run(&mut self, statement: Statement) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let done = driver::query(statement)?.execute(self).await.map_err(|error| failed("writing", error))?;
            Ok(done.rows_affected())
        })
    }

    fn fetch(&mut self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let rows = driver::query(statement)?.fetch_all(self).await;
            driver::rows(&rows.map_err(|error| failed("writing", error))?)
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

fn failed(doing: &'static str, error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match code.as_deref() {
        Some(DISK_FULL) => StoreError::Full { doing },
        Some(DATA_CORRUPTED | INDEX_CORRUPTED) => StoreError::Corrupt(format!("{doing}, PostgreSQL says: {error}")),
        _ => StoreError::unavailable(doing, error),
    }
}

/// Codes of the appendix "PostgreSQL Error Codes" of its manual.
const DISK_FULL: &str = "53100";
const DATA_CORRUPTED: &str = "XX001";
const INDEX_CORRUPTED: &str = "XX002";

/// Every statement of this crate follows an index and reads no further than its page. Left alone, the planner sorts all
/// rows of a type to find a hundred of them for as long as it has no statistics, or once it has stopped looking at
/// the arguments. These switches do not forbid the other ways, they only price them: what needs them still runs.
const PLANS: [(&str, &str); 7] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_sort", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_custom_plan"),
];

/// How long to wait for the server, or for a free connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before listening again.
const RETRY: Duration = Duration::from_secs(1);

/// Connections that read, one of which listens.
const READERS: u32 = 9;

/// How many statements the writer keeps prepared: each number of rows is a text of its own.
const STATEMENTS: usize = 256;

static DIALECT: Dialect = Dialect {
    begin: "BEGIN",
    // Any number that is ours; two processes that start at once migrate one after the other.
    lock_schema: Some("SELECT pg_advisory_xact_lock(7309940852012917)"),
    count_meta: "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'meta'",
    for_update: " FOR UPDATE",
    notify: Some("SELECT pg_notify('bastide_revision', $1)"),
    text: "TEXT COLLATE \"C\"",
    bytes: "BYTEA",
};
