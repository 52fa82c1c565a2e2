//! Statements that run on the thread that asks.
//!
//! The driver gives every connection a thread of its own, and each statement crosses to it and back. That is right for a
//! long list, and costs several times the work of a statement that an index answers at once. The library is the same one,
//! linked once: only the way to it is shorter.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, ErrorCode, OpenFlags, ToSql};

use super::{BUSY, Setting};
use crate::engine::{Connection, Row, Statement, Value};
use crate::error::StoreError;

/// A connection without a thread.
pub(super) struct InPlace(rusqlite::Connection);

/// Connections that look up a few rows, the one used last first. There are as many as threads ask at the same time.
#[derive(Debug)]
pub(super) struct Finders {
    settings: Vec<Setting>,
    /// None when they are closed for good.
    idle: Mutex<Option<Vec<InPlace>>>,
}

impl InPlace {
    /// Opens a file that is there.
    pub(super) fn open(path: &Path, settings: &[Setting], statements: usize) -> Result<Self, StoreError> {
        let connect = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = rusqlite::Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY)?;
            // Otherwise some statements are planned anew whenever an argument changes.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            for (name, value) in settings {
                connection.pragma_update(None, name, value)?;
            }
            connection.set_prepared_statement_cache_capacity(statements);
            Ok(Self(connection))
        };
        connect().map_err(|error| failed("opening", error))
    }

    /// The rows of a statement, or none when there are more than `limit`.
    fn rows(&self, statement: &Statement, limit: usize) -> Result<Option<Vec<Row>>, StoreError> {
        let fetch = || {
            let mut prepared = self.prepare(statement)?;
            let columns = prepared.column_count();
            let mut found = prepared.raw_query();
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                if rows.len() == limit {
                    return Ok(None);
                }
                let values = (0..columns).map(|index| row.get_ref(index).map(value));
                rows.push(values.collect::<Result<Result<Vec<_>, _>, _>>()?);
            }
            Ok(Some(rows))
        };
        statement.check()?;
        let rows: Option<Vec<_>> = fetch().map_err(|error| failed("reading", error))?;
        rows.map(|rows| rows.into_iter().map(|values| values.map(Row::new)).collect()).transpose()
    }

    fn execute(&self, statement: &Statement) -> Result<u64, StoreError> {
        statement.check()?;
        let touched = self.prepare(statement).and_then(|mut prepared| prepared.raw_execute());
        touched.map(|touched| u64::try_from(touched).unwrap_or(u64::MAX)).map_err(|error| failed("writing", error))
    }

    /// Every `$n` of the text gets the value with that number.
    fn prepare(&self, statement: &Statement) -> rusqlite::Result<CachedStatement<'_>> {
        let mut prepared = self.0.prepare_cached(&statement.text)?;
        for index in 1..=prepared.parameter_count() {
            let number = prepared.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
            let argument = number.and_then(|number| statement.arguments.get(number.checked_sub(1)?));
            let argument = argument.ok_or(rusqlite::Error::InvalidParameterCount(index, statement.arguments.len()))?;
            prepared.raw_bind_parameter(index, argument)?;
        }
        Ok(prepared)
    }
}

impl std::fmt::Debug for InPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InPlace(..)")
    }
}

impl Connection for InPlace {
    fn run(&mut self, statement: Statement) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(std::future::ready(self.execute(&statement)))
    }

    fn fetch(&mut self, statement: Statement) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(std::future::ready(self.rows(&statement, usize::MAX).map(Option::unwrap_or_default)))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        if let Err((_, error)) = self.0.close() {
            tracing::warn!(%error, "the database connection did not close in good order");
        }
        Box::pin(std::future::ready(()))
    }
}

impl Finders {
    pub(super) fn new(settings: Vec<Setting>) -> Self {
        Self { settings, idle: Mutex::new(Some(Vec::new())) }
    }

    /// The rows of a statement, or none when they are too many to be found in passing.
    ///
    /// A connection whose statement fails is given up.
    pub(super) fn find(&self, path: &Path, statement: &Statement) -> Result<Option<Vec<Row>>, StoreError> {
        let idle = self.idle().as_mut().ok_or(StoreError::Closed)?.pop();
        let connection = match idle {
            Some(connection) => connection,
            None => InPlace::open(path, &self.settings, STATEMENTS)?,
        };
        let rows = connection.rows(statement, FEW)?;
        // Closed meanwhile, it goes.
        if let Some(idle) = self.idle().as_mut() {
            idle.push(connection);
        }
        Ok(rows)
    }

    pub(super) fn close(&self) {
        *self.idle() = None;
    }

    fn idle(&self) -> MutexGuard<'_, Option<Vec<InPlace>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(Some(value)) => ValueRef::Integer(*value),
            Self::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(Some(value)) => ValueRef::Blob(value),
            Self::Integer(None) | Self::Text(None) | Self::Bytes(None) => ValueRef::Null,
        }))
    }
}

fn value(raw: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match raw {
        ValueRef::Null => Value::Text(None),
        ValueRef::Integer(value) => Value::Integer(Some(value)),
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            Value::Text(Some(text.to_owned()))
        }
        ValueRef::Blob(bytes) => Value::Bytes(Some(bytes.to_vec())),
        ValueRef::Real(_) => return Err(StoreError::Corrupt("a column holds a fraction".to_owned())),
    })
}

fn failed(doing: &'static str, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { doing },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt(format!("{doing}, SQLite says: {error}"))
        }
        _ => StoreError::unavailable(doing, error),
    }
}

/// How many rows are read in passing. Whoever asks shares the thread with other requests.
const FEW: usize = 64;

/// How many statements a connection keeps prepared.
const STATEMENTS: usize = 32;
