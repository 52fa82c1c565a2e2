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

    pub(crate) fn upsert(&self) -> Statement {
        Statement::new(
            "INSERT INTO secrets (incarnation, field, sealed) VALUES ($1, $2, $3) \
             ON CONFLICT (incarnation, field) DO UPDATE SET sealed = excluded.sealed",
        )
        .bind(self.incarnation)
        .bind(self.field.as_str())
        .bind(self.sealed.clone())
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
