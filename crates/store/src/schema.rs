//! The schema and its history. A database says which version it has; what is missing is applied in one transaction.

use crate::engine::{Connection, Dialect, Statement};
use crate::error::StoreError;

/// Brings a database to the newest version, from nothing or from any older version.
///
/// # Errors
/// [`StoreError::NewerSchema`] when a newer program wrote it; it is left as it was.
pub(crate) async fn migrate(connection: &mut dyn Connection, dialect: &Dialect) -> Result<(), StoreError> {
    migrate_to(connection, dialect, MIGRATIONS).await
}

async fn migrate_to(
    connection: &mut dyn Connection,
    dialect: &Dialect,
    migrations: &[&'static str],
) -> Result<(), StoreError> {
    connection.run(Statement::new(dialect.begin)).await?;
    if let Some(lock) = dialect.lock_schema {
        connection.fetch(Statement::new(lock)).await?;
    }
    let found = version(connection, dialect).await?;
    let supported = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > supported {
        return Err(StoreError::NewerSchema { found, supported });
    }
    for (number, migration) in (1i64..).zip(migrations) {
        if number > found {
            tracing::info!(version = number, "bringing the database to a new schema version");
            apply(connection, dialect, migration).await?;
            connection.run(Statement::new("UPDATE meta SET schema_version = $1 WHERE id = 1").bind(number)).await?;
        }
    }
    connection.run(Statement::new("COMMIT")).await?;
    Ok(())
}

/// The version the database has; 0 when it is empty.
async fn version(connection: &mut dyn Connection, dialect: &Dialect) -> Result<i64, StoreError> {
    if first_integer(connection, dialect.count_meta).await? == 0 {
        return Ok(0);
    }
    first_integer(connection, "SELECT schema_version FROM meta WHERE id = 1").await
}

async fn first_integer(connection: &mut dyn Connection, text: &'static str) -> Result<i64, StoreError> {
    let rows = connection.fetch(Statement::new(text)).await?;
    rows.into_iter().next().ok_or_else(|| StoreError::Corrupt("the meta row is missing".to_owned()))?.integer()
}

async fn apply(connection: &mut dyn Connection, dialect: &Dialect, migration: &str) -> Result<(), StoreError> {
    let lines: Vec<&str> = migration.lines().filter(|line| !line.starts_with("--")).collect();
    let text = lines.join("\n").replace("{text}", dialect.text).replace("{bytes}", dialect.bytes);
    for statement in text.split(";\n").map(|text| text.trim().trim_end_matches(';')) {
        if !statement.is_empty() {
            connection.run(Statement::new(statement.to_owned())).await?;
        }
    }
    Ok(())
}

/// Every version from the first; what has been released never changes, new versions are added at the end.
const MIGRATIONS: &[&str] =
    &[include_str!("../migrations/0001_foundation.sql"), include_str!("../migrations/0002_listing.sql")];
