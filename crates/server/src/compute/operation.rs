//! Operations on what runs: a write is answered as soon as it is committed, and the operation that it names ends when the
//! node has said what became of it.

use std::sync::Arc;
use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Observed, Progress};
use bastide_store::{Change, CommitError, Expectation, Operation, Write};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::operations::{RUNNING, merge};
use crate::pass::Pass;
use crate::registry::Registered;
use crate::request::Request;

/// Kind of the operations that wait for a node.
pub(crate) const AWAIT_NODE: &str = "AwaitNode";

impl Front {
    /// The operation of a write, to be committed with it. `after` is what stands afterwards; nothing after a deletion.
    pub(crate) fn awaiting(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        id: &ResourceId,
        (before, after): (Option<&Entry>, Option<&Document>),
    ) -> Operation {
        let of = |incarnation: Uuid, document: &Document| {
            registered.rules.instances(incarnation, document).unwrap_or_default()
        };
        let mut gone = before.map(|before| of(before.row.incarnation, &before.document)).unwrap_or_default();
        if let (Some(before), Some(after)) = (before, after) {
            let stay = of(before.row.incarnation, after);
            gone.retain(|instance| !stay.contains(instance));
        }
        let now = request.context.now;
        Operation {
            id: Uuid::new_v4(),
            kind: AWAIT_NODE.to_owned(),
            scope: id.key().to_owned(),
            status: RUNNING.to_owned(),
            principal: pass.principal().object_id.to_string(),
            body: json!({GONE: gone, DELETED: after.is_none(), "action": pass.action(), "correlationId": request.context.correlation_id}),
            created: now,
            changed: now,
        }
    }

    /// What is seen of a resource outside of the database.
    pub(crate) fn seen(&self, registered: &Registered, entry: &Entry) -> Option<Arc<Observed>> {
        match registered.rules.instances(entry.row.incarnation, &entry.document) {
            Some(instances) => Some(Arc::new(self.networks.seen(&instances))),
            None => self.networks.observed(&entry.id),
        }
    }

    /// Waits until the node has said what became of a write, and keeps that.
    pub(crate) async fn work_awaiting(&self, operation: &Operation) -> Result<(), Failure> {
        let id = ResourceId::parse(&operation.scope)?;
        let mut changes = self.networks.computes_changed();
        loop {
            changes.borrow_and_update();
            let (progress, instances) = self.progress_of(operation, &id).await?;
            match progress {
                Progress::Running => {}
                Progress::Done => return self.end(operation, &id, None).await,
                Progress::Failed(error) => return self.end(operation, &id, Some(error)).await,
            }
            let seen = self.networks.seen(&instances);
            // What rings no bell - a write of another server - is found, too.
            let until = tokio::time::Instant::now() + LOOK_AGAIN;
            while let Ok(Ok(())) = tokio::time::timeout_at(until, changes.changed()).await {
                // Most of what rings is about others.
                if self.networks.seen(&instances) != seen {
                    break;
                }
            }
            let stands = self.ledger.store().operation(operation.id).await?;
            if stands.is_none_or(|stands| stands.status != RUNNING) {
                return Ok(());
            }
        }
    }

    /// How far a write has come, and which instances that depends on.
    async fn progress_of(&self, operation: &Operation, id: &ResourceId) -> Result<(Progress, Vec<Uuid>), Failure> {
        let gone: Vec<Uuid> =
            operation.body.get(GONE).and_then(|gone| serde_json::from_value(gone.clone()).ok()).unwrap_or_default();
        if !gone.is_empty() {
            // The node is told first; what it has never heard of is gone already.
            self.networks.settle(id).await;
            if !self.networks.is_gone(&gone) {
                return Ok((Progress::Running, gone));
            }
        }
        if operation.body.get(DELETED) == Some(&Value::Bool(true)) {
            return Ok((Progress::Done, gone));
        }
        let row = self.ledger.store().resource(id.key()).await?;
        // One of the same name that was made since is another one.
        let Some(row) = row.filter(|row| row.created.at <= operation.created) else {
            let message = format!("'{id}' was deleted before it was as asked for.");
            return Ok((Progress::Failed(ArmError::new(409, "OperationPreempted", message)), Vec::new()));
        };
        let entry = Entry::read(row)?;
        let registered = self.registry.find(&entry.row.type_name, "")?;
        let instances = registered.rules.instances(entry.row.incarnation, &entry.document).unwrap_or_default();
        let observed = self.networks.seen(&instances);
        Ok((registered.rules.progress(entry.row.incarnation, &entry.document, Some(&observed)), instances))
    }

    async fn end(&self, operation: &Operation, id: &ResourceId, error: Option<ArmError>) -> Result<(), Failure> {
        let now = self.clock.now();
        let mut ended = operation.clone();
        ended.changed = now;
        let status = if error.is_some() { "Failed" } else { "Succeeded" };
        status.clone_into(&mut ended.status);
        if let Some(error) = error {
            merge(&mut ended.body, "error", error.to_error_value());
        }
        let audit = json!({
            "objectId": operation.principal,
            "action": operation.body.get("action").cloned().unwrap_or(Value::Null),
            "scope": id.to_string(),
            "status": status,
            "operationId": operation.id,
            "correlationId": operation.body.get("correlationId"),
        });
        let write = Write {
            at: now,
            expect: vec![Expectation::OperationStatus { id: operation.id, status: RUNNING.to_owned() }],
            changes: vec![Change::PutOperation(ended)],
            audit: vec![audit],
        };
        match self.ledger.store().commit(write).await {
            // Another server may have ended it.
            Ok(_) | Err(CommitError::Conflict(_)) => {}
            Err(CommitError::Store(error)) => return Err(error.into()),
        }
        self.queue.end();
        Ok(())
    }
}

/// The field of an operation's body with the instances that are to be gone.
const GONE: &str = "gone";

/// The field that says that the resource itself is.
const DELETED: &str = "deleted";

/// How long a change may go unnoticed that rang no bell.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
