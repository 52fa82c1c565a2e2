//! Long-running operations: what is left to do, and what a client asks about.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::engine::{Row, Statement};
use crate::error::StoreError;

/// An operation as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its id.
    pub id: Uuid,
    /// Which runner continues it.
    pub kind: String,
    /// The key of the resource on which reading its status is authorised.
    pub scope: String,
    /// `Succeeded`, `Failed` or `Canceled` when it is over, anything else (`Running`) before.
    pub status: String,
    /// The principal that started it.
    pub principal: String,
    /// State, result, error.
    pub body: Value,
    /// When it started, to the microsecond.
    pub created: Timestamp,
    /// When it last changed, to the microsecond.
    pub changed: Timestamp,
}

impl Operation {
    pub(crate) fn by_id(id: Uuid) -> Statement {
        let mut statement = Statement::new(SELECT);
        statement.push_bind(" WHERE id = ", id);
        statement
    }

    /// Those that are not over, oldest first.
    pub(crate) fn unfinished() -> Statement {
        let mut statement = Statement::new(SELECT);
        // Word for word the condition of the partial index.
        statement.push(" WHERE status NOT IN ('Succeeded', 'Failed', 'Canceled') ORDER BY created, id");
        statement
    }

    pub(crate) fn from_row(mut row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.uuid()?,
            kind: row.text()?,
            scope: row.text()?,
            status: row.text()?,
            principal: row.text()?,
            body: row.json()?,
            created: row.timestamp()?,
            changed: row.timestamp()?,
        })
    }
}

/// Creates or replaces operations, of which no two may have the same id.
pub(crate) fn upsert(operations: &[&Operation]) -> Statement {
    let mut statement =
        Statement::new("INSERT INTO operations (id, kind, scope, status, principal, body, created, changed) VALUES ");
    for operation in operations {
        statement.push_row([
            operation.id.into(),
            operation.kind.as_str().into(),
            operation.scope.as_str().into(),
            operation.status.as_str().into(),
            operation.principal.as_str().into(),
            (&operation.body).into(),
            operation.created.into(),
            operation.changed.into(),
        ]);
    }
    statement.push(
        " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, scope = excluded.scope, status = excluded.status, \
         principal = excluded.principal, body = excluded.body, created = excluded.created, changed = excluded.changed",
    );
    statement
}

const SELECT: &str = "SELECT id, kind, scope, status, principal, body, created, changed FROM operations";
