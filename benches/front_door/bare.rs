//! The peer: SQLite by itself, with the settings of the store.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _};

use crate::Outcome;
use crate::numbers::rate;

/// A table with a key and a body, and the one connection that writes it.
pub(crate) struct BareDatabase {
    connection: SqliteConnection,
    rows: u32,
}

impl BareDatabase {
    /// A new database file.
    pub(crate) async fn create(path: &Path) -> Outcome<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        connection.execute("CREATE TABLE bare (key TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL)").await?;
        Ok(Self { connection, rows: 0 })
    }

    /// Commits a second, each of one row of about the size of a resource's.
    pub(crate) async fn commits(&mut self, turn: Duration) -> Outcome<f64> {
        let (first, started) = (self.rows, Instant::now());
        while started.elapsed() < turn {
            sqlx::query("INSERT INTO bare (key, body) VALUES ($1, $2)")
                .bind(format!("/subscriptions/s/resourcegroups/rg/providers/microsoft.bench/things/{:08}", self.rows))
                .bind("x".repeat(600))
                .execute(&mut self.connection)
                .await?;
            self.rows += 1;
        }
        Ok(rate(self.rows - first, started.elapsed()))
    }
}
