//! Sealed secrets, apart from the bodies they belong to. The store never sees one open.

use std::fmt;

use uuid::Uuid;

use crate::engine::{Row, Statement};
use crate::error::StoreError;

/// A secret, sealed by the vault.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Whose secret it is: the incarnation of a resource, or the UUID of a record.
    pub incarnation: Uuid,
    /// Which of its secrets.
    pub field: String,
    /// What the vault made of it.
    pub sealed: Vec<u8>,
}

impl SealedSecret {
    /// All of an owner, in the order of their fields.
    pub(crate) fn of(incarnation: Uuid) -> Statement {
        Statement::new("SELECT incarnation, field, sealed FROM secrets WHERE incarnation = $1 ORDER BY field")
            .bind(incarnation)
    }

    pub(crate) fn from_row(mut row: Row) -> Result<Self, StoreError> {
        Ok(Self { incarnation: row.uuid()?, field: row.text()?, sealed: row.bytes()? })
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecret")
            .field("incarnation", &self.incarnation)
            .field("field", &self.field)
            .field("sealed", &format_args!("{} bytes", self.sealed.len()))
            .finish()
    }
}

/// Creates or replaces secrets, of which no two may have the same owner and field.
pub(crate) fn upsert(secrets: &[&SealedSecret]) -> Statement {
    let mut statement = Statement::new("INSERT INTO secrets (incarnation, field, sealed) VALUES ");
    for secret in secrets {
        statement.push_row([secret.incarnation.into(), secret.field.as_str().into(), secret.sealed.clone().into()]);
    }
    statement.push(" ON CONFLICT (incarnation, field) DO UPDATE SET sealed = excluded.sealed");
    statement
}

/// Deletes all of an owner.
pub(crate) fn delete(incarnation: Uuid) -> Statement {
    Statement::new("DELETE FROM secrets WHERE incarnation = $1").bind(incarnation)
}
