//! One write inside the writer's transaction: expectations, changes, audit.

use jiff::Timestamp;

use crate::engine::{Connection, Statement};
use crate::error::{CommitError, StoreError};
use crate::meta::Meta;
use crate::record::Record;
use crate::resource::{self, Resource, push_below};
use crate::write::{Change, Committed, Expectation, Write};

/// Applies a write under the next revision and moves `meta` on.
///
/// On an error the caller undoes whatever has reached the connection, and forgets this `meta`.
pub(crate) async fn apply(
    connection: &mut dyn Connection,
    meta: &mut Meta,
    write: &Write,
) -> Result<Committed, CommitError> {
    for expectation in &write.expect {
        if !holds(connection, meta, expectation, write.at).await? {
            return Err(CommitError::Conflict(expectation.clone()));
        }
    }
    meta.revision += 1;
    let mut resources = Vec::new();
    for change in &write.changes {
        if let Some(resource) = make(connection, meta, change, write.at).await? {
            resources.push(resource);
        }
    }
    meta.audit.append(connection, write.at, &write.audit).await?;
    Ok(Committed { revision: meta.revision, resources })
}

async fn holds(
    connection: &mut dyn Connection,
    meta: &Meta,
    expectation: &Expectation,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let resource = |text: &'static str, key: &str| Statement::new(text).bind(key);
    let (statement, found) = match expectation {
        Expectation::AccessEpoch(epoch) => return Ok(meta.access_epoch == *epoch),
        Expectation::ResourceAbsent(key) => (resource(RESOURCE, key), false),
        Expectation::ResourcePresent(key) => (resource(RESOURCE, key), true),
        Expectation::ResourceRevision { key, revision } => (resource(RESOURCE_REVISION, key).bind(*revision), true),
        Expectation::ResourceIncarnation { key, incarnation } => {
            (resource(RESOURCE_INCARNATION, key).bind(*incarnation), true)
        }
        Expectation::NoneBelow(prefix) => {
            let mut statement = Statement::new("SELECT 1 FROM resources WHERE ");
            push_below(&mut statement, "key >= ", " AND key < ", prefix);
            statement.push(" LIMIT 1");
            (statement, false)
        }
        Expectation::CountBelow { prefix, count } => {
            let mut statement = Statement::new("SELECT 1 FROM (SELECT COUNT(*) AS n FROM resources WHERE ");
            push_below(&mut statement, "key >= ", " AND key < ", prefix);
            statement.push(") AS below");
            statement.push_bind(" WHERE n = ", *count);
            (statement, true)
        }
        Expectation::RecordAbsent { kind, key } => (Record::by_key(kind, key, at), false),
        Expectation::RecordRevision { kind, key, revision } => {
            let mut statement = Record::by_key(kind, key, at);
            statement.push_bind(" AND revision = ", *revision);
            (statement, true)
        }
        Expectation::OperationStatus { id, status } => {
            (Statement::new(OPERATION_STATUS).bind(*id).bind(status.as_str()), true)
        }
    };
    Ok(connection.fetch(statement).await?.is_empty() != found)
}

async fn make(
    connection: &mut dyn Connection,
    meta: &mut Meta,
    change: &Change,
    at: Timestamp,
) -> Result<Option<Resource>, CommitError> {
    let statement = match change {
        Change::PutResource(put) => {
            let Some(stored) = put.apply(connection, at, meta.revision).await? else {
                let (key, incarnation) = (put.id.to_ascii_lowercase(), put.incarnation);
                return Err(CommitError::Conflict(Expectation::ResourceIncarnation { key, incarnation }));
            };
            return Ok(Some(stored));
        }
        Change::DeleteResource(key) => {
            resource::delete(connection, key).await?;
            return Ok(None);
        }
        Change::DeleteBelow(prefix) => {
            resource::delete_below(connection, prefix).await?;
            return Ok(None);
        }
        Change::RaiseAccessEpoch => {
            meta.access_epoch += 1;
            return Ok(None);
        }
        Change::PutRecord { kind, key, owner, body, expires } => {
            let (kind, key, owner, body) = (kind.clone(), key.clone(), owner.clone(), body.clone());
            Record { kind, key, owner, body, expires: *expires, revision: meta.revision }.upsert()
        }
        Change::DeleteRecord { kind, key } => {
            Statement::new("DELETE FROM records WHERE kind = $1 AND key = $2").bind(kind.as_str()).bind(key.as_str())
        }
        Change::DeleteRecordsOf { kind, owner } => Statement::new("DELETE FROM records WHERE kind = $1 AND owner = $2")
            .bind(kind.as_str())
            .bind(owner.as_str()),
        Change::PutOperation(operation) => operation.upsert(),
        Change::PutSecret(secret) => secret.upsert(),
        Change::DeleteSecrets(incarnation) => {
            Statement::new("DELETE FROM secrets WHERE incarnation = $1").bind(*incarnation)
        }
    };
    connection.run(statement).await?;
    Ok(None)
}

const RESOURCE: &str = "SELECT 1 FROM resources WHERE key = $1";
const RESOURCE_REVISION: &str = "SELECT 1 FROM resources WHERE key = $1 AND revision = $2";
const RESOURCE_INCARNATION: &str = "SELECT 1 FROM resources WHERE key = $1 AND incarnation = $2";
const OPERATION_STATUS: &str = "SELECT 1 FROM operations WHERE id = $1 AND status = $2";
