//! The one row that every write moves on: revision, access epoch, head of the audit chain.

use bastide_audit::Head;

use crate::engine::{Connection, Dialect, Statement};
use crate::error::StoreError;

/// Where the store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The revision of the last write.
    pub(crate) revision: i64,
    /// Counts the changes of roles, assignments and revocations.
    pub(crate) access_epoch: i64,
    /// The end of the audit chain.
    pub(crate) audit: Head,
}

impl Meta {
    /// Reads it inside the writing transaction. On a server this takes the lock that puts the writers of all processes
    /// in one line, which is what makes revisions commit-ordered.
    pub(crate) async fn lock(connection: &mut dyn Connection, dialect: &Dialect) -> Result<Self, StoreError> {
        let mut statement =
            Statement::new("SELECT revision, access_epoch, audit_seq, audit_hash FROM meta WHERE id = 1");
        statement.push(dialect.for_update);
        let rows = connection.fetch(statement).await?;
        let mut row =
            rows.into_iter().next().ok_or_else(|| StoreError::Corrupt("the meta row is missing".to_owned()))?;
        Ok(Self {
            revision: row.integer()?,
            access_epoch: row.integer()?,
            audit: Head { seq: row.integer()?, hash: row.text()? },
        })
    }

    /// Writes it back, and tells other processes when the transaction commits.
    pub(crate) async fn save(&self, connection: &mut dyn Connection, dialect: &Dialect) -> Result<(), StoreError> {
        let text = "UPDATE meta SET revision = $1, access_epoch = $2, audit_seq = $3, audit_hash = $4 WHERE id = 1";
        let statement = Statement::new(text)
            .bind(self.revision)
            .bind(self.access_epoch)
            .bind(self.audit.seq)
            .bind(self.audit.hash.as_str());
        connection.run(statement).await?;
        if let Some(notify) = dialect.notify {
            connection.fetch(Statement::new(notify).bind(self.revision.to_string())).await?;
        }
        Ok(())
    }
}
