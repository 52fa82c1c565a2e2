//! The connections that read. Each is lent to one statement at a time, the one used last first.
//!
//! The driver's own pool asks a connection whether it is alive each time it comes back, which on SQLite costs as much
//! as the statement did. A file does not go away the way a server does, so nobody is asked here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Connection as _, query::Query};
use tokio::sync::Semaphore;

/// Up to so many connections, opened when they are first needed.
#[derive(Debug)]
pub(super) struct Readers {
    options: SqliteConnectOptions,
    permits: Semaphore,
    size: u32,
    /// How long to wait for a connection to come free.
    patience: Duration,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions, size: u32, patience: Duration) -> Self {
        let permits = Semaphore::new(usize::try_from(size).unwrap_or(1));
        Self { options, permits, size, patience, idle: Mutex::default() }
    }

    /// Runs a statement and brings its rows.
    ///
    /// A connection whose statement fails or is not waited for is given up: the next one who needs it opens another.
    pub(super) async fn fetch(
        &self,
        query: Query<'static, sqlx::Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let permit = tokio::time::timeout(self.patience, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        let rows = query.fetch_all(&mut connection).await?;
        self.idle().push(connection);
        Ok(rows)
    }

    /// Waits for the statements that run, then closes every connection; nobody reads any more.
    pub(super) async fn close(&self) {
        // Closed already is closed.
        let Ok(_all) = self.permits.acquire_many(self.size).await else { return };
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "a reading connection did not close in good order");
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
