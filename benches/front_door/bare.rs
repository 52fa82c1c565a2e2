//! The peer: SQLite by itself, with the settings of the store, called on the thread that waits for it.

use std::path::Path;
use std::time::{Duration, Instant};

use bastide_benches::Outcome;
use bastide_benches::numbers::rate;
use rusqlite::Connection;

/// A table with a key and a body, and the one connection that writes it.
pub(crate) struct BareDatabase {
    connection: Connection,
    rows: u32,
}

impl BareDatabase {
    /// A new database file.
    pub(crate) fn create(path: &Path) -> Outcome<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("CREATE TABLE bare (key TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL)", ())?;
        Ok(Self { connection, rows: 0 })
    }

    /// Commits a second, each of one row of about the size of a resource's.
    pub(crate) fn commits(&mut self, turn: Duration) -> Outcome<f64> {
        let mut insert = self.connection.prepare_cached("INSERT INTO bare (key, body) VALUES ($1, $2)")?;
        let (first, started) = (self.rows, Instant::now());
        while started.elapsed() < turn {
            let key = format!("/subscriptions/s/resourcegroups/rg/providers/microsoft.bench/things/{:08}", self.rows);
            insert.execute((key, "x".repeat(600)))?;
            self.rows += 1;
        }
        Ok(rate(self.rows - first, started.elapsed()))
    }
}
