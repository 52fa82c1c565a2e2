//! Many writes inside the writer's transaction, in few statements.
//!
//! Each statement crosses to the database and back, and on SQLite the crossing costs more than the work. So writes that
//! do not look at what the others change are done as one wave: one look at everything they expect, then their changes
//! gathered into statements of many rows, then all their audit records.

mod look;
mod plan;

use crate::access_log;
use crate::audit;
use crate::engine::Connection;
use crate::error::CommitError;
use crate::meta::Meta;
use crate::write::{Change, Committed, Expectation, Write};

/// Applies writes as if one after the other, each under the next revision, and moves `meta` on. Says what became of
/// each; one that conflicts here has touched nothing.
///
/// # Errors
/// What a write failed with after it, or its neighbours, may have changed something. Which write it was is not known:
/// the caller undoes everything that has reached the connection, and forgets this `meta`.
pub(crate) async fn apply(
    connection: &mut dyn Connection,
    meta: &mut Meta,
    writes: &[&Write],
) -> Result<Vec<Result<Committed, CommitError>>, CommitError> {
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut rest = writes;
    while !rest.is_empty() {
        let (wave, later) = rest.split_at(independent(rest));
        outcomes.extend(apply_wave(connection, meta, wave).await?);
        rest = later;
    }
    let done = writes.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
    let audit: Vec<_> = done.flat_map(|(write, _)| write.audit.iter().map(|record| (write.at, record))).collect();
    audit::append(&mut meta.audit, connection, &audit).await?;
    Ok(outcomes)
}

/// Applies writes of which none expects anything that another of them may change.
async fn apply_wave(
    connection: &mut dyn Connection,
    meta: &mut Meta,
    writes: &[&Write],
) -> Result<Vec<Result<Committed, CommitError>>, CommitError> {
    let mut found = look::look(connection, writes).await?.into_iter();
    let mut plan = plan::Plan::default();
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut epochs = Vec::new();
    for (index, write) in writes.iter().enumerate() {
        // Every expectation takes its own answer, also behind one that failed.
        let answers = write.expect.iter().zip(found.by_ref().take(write.expect.len()));
        let mut failed = answers.filter(|(expectation, answer)| !look::holds(expectation, answer.as_ref(), meta));
        let first = failed.next().map(|(expectation, _)| expectation.clone());
        failed.for_each(drop);
        outcomes.push(match first {
            Some(expectation) => Err(CommitError::Conflict(expectation)),
            None => {
                meta.revision += 1;
                let before = meta.access_epoch;
                for change in &write.changes {
                    meta.access_epoch += i64::from(*change == Change::RaiseAccessEpoch);
                    plan.add(change, index, write.at, meta.revision);
                }
                if meta.access_epoch > before {
                    epochs.push(access_log::Raised::by(write, before, meta));
                }
                Ok(Committed { revision: meta.revision, resources: Vec::new() })
            }
        });
    }
    for (index, resource) in plan.run(connection).await? {
        if let Some(Ok(committed)) = outcomes.get_mut(index) {
            committed.resources.push(resource);
        }
    }
    access_log::append(connection, &epochs).await?;
    Ok(outcomes)
}

/// How many of the writes, from the first on, can be one wave; at least one.
fn independent(writes: &[&Write]) -> usize {
    let sees = |later: &Write, earlier: &Write| {
        later.expect.iter().any(|expectation| earlier.changes.iter().any(|change| may_decide(change, expectation)))
    };
    let first_that_sees = (1..writes.len()).find(|&index| {
        let (earlier, later) = writes.split_at(index);
        later.first().is_some_and(|later| earlier.iter().any(|earlier| sees(later, earlier)))
    });
    first_that_sees.unwrap_or(writes.len())
}

/// Whether a change may make an expectation hold, or no longer hold. Access epochs are counted in memory.
fn may_decide(change: &Change, expectation: &Expectation) -> bool {
    match expectation {
        Expectation::AccessEpoch(_) => false,
        Expectation::ResourceAbsent(key)
        | Expectation::ResourcePresent(key)
        | Expectation::ResourceRevision { key, .. }
        | Expectation::ResourceIncarnation { key, .. } => match change {
            Change::PutResource(put) => put.id.eq_ignore_ascii_case(key),
            Change::DeleteResource(deleted) => deleted == key,
            Change::DeleteBelow(prefix) => key.starts_with(prefix),
            _ => false,
        },
        Expectation::NoneBelow(prefix) | Expectation::CountBelow { prefix, .. } => match change {
            Change::PutResource(put) => put.id.to_ascii_lowercase().starts_with(prefix),
            Change::DeleteResource(deleted) => deleted.starts_with(prefix),
            Change::DeleteBelow(deleted) => deleted.starts_with(prefix) || prefix.starts_with(deleted),
            _ => false,
        },
        Expectation::RecordAbsent { kind, key } | Expectation::RecordRevision { kind, key, .. } => match change {
            Change::PutRecord { kind: changed, key: at, .. } | Change::DeleteRecord { kind: changed, key: at } => {
                changed == kind && at == key
            }
            Change::DeleteRecordsOf { kind: changed, .. } => changed == kind,
            _ => false,
        },
        Expectation::OperationStatus { id, .. } => {
            matches!(change, Change::PutOperation(operation) if operation.id == *id)
        }
    }
}
