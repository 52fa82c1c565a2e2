//! Long-running operations: durable before they are acknowledged, resumed after a crash, polled by their URLs.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::operation::{OperationDocument, Outcome};
use bastide_arm::resource_type::{Descriptor, Dismissal, Linked, Placement};
use bastide_store::{Change, CommitError, Expectation, Operation, Resource, ResourceQuery, Write};
use futures_util::FutureExt;
use http::{HeaderName, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::compute::caretaker::Caretaker;
use crate::compute::metadata::Metadata;
use crate::compute::operation::AWAIT_NODE;
use crate::deployment::RUN_DEPLOYMENT;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry, group_not_found};
use crate::lock::Intent;
use crate::pass::{Identified, Pass};
use crate::preconditions::check_preconditions;
use crate::providers::resource_group::{DELETING, TYPE_NAME};
use crate::reply::Reply;
use crate::request::Request;

/// Where accepted operations wait for the runner.
#[derive(Debug, Clone)]
pub struct Queue {
    accepted: mpsc::UnboundedSender<Uuid>,
    /// Changes with every operation that ends.
    ended: watch::Sender<u64>,
}

/// Works the accepted operations off.
pub struct Runner {
    front: Arc<Front>,
    accepted: mpsc::UnboundedReceiver<Uuid>,
}

/// A queue and what it leads to.
pub fn queue() -> (Queue, mpsc::UnboundedReceiver<Uuid>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Queue { accepted: sender, ended: watch::Sender::default() }, receiver)
}

impl Queue {
    /// Tells the runner of an operation that has been committed. If the runner is gone the server is stopping, and the
    /// next start finds the operation in the store.
    pub fn accept(&self, operation: Uuid) {
        let _ = self.accepted.send(operation);
    }

    /// Tells those who wait that an operation has ended.
    pub(crate) fn end(&self) {
        self.ended.send_modify(|ended| *ended += 1);
    }
}

impl Runner {
    /// A runner for a front door.
    pub fn new(front: Arc<Front>, accepted: mpsc::UnboundedReceiver<Uuid>) -> Self {
        Self { front, accepted }
    }

    /// Resumes what a crash left unfinished, then works off what is accepted, until dropped.
    ///
    /// The queue is a hint, the store is the truth: now and then the runner looks for operations that nobody has worked on
    /// for a while. Operations run beside each other; dropping the runner stops them all where they are.
    pub async fn run(self) {
        let caretaker = Caretaker::new(Arc::clone(&self.front));
        let metadata = Metadata::new(Arc::clone(&self.front));
        tokio::select! {
            () = self.work_off() => {}
            () = caretaker.run() => {}
            () = metadata.run() => {}
        }
    }

    async fn work_off(mut self) {
        let mut active = HashSet::new();
        let mut tasks = JoinSet::new();
        let mut rounds = tokio::time::interval(ROUND);
        let mut purges = tokio::time::interval(PURGE_ROUND);
        let mut idle = SignedDuration::ZERO;
        loop {
            tokio::select! {
                accepted = self.accepted.recv() => match accepted {
                    // One that was accepted while the unfinished ones were read is there already.
                    Some(id) if active.insert(id) => {
                        tasks.spawn(work(Arc::clone(&self.front), id));
                    }
                    Some(_) => {}
                    None => return,
                },
                Some(done) = tasks.join_next() => {
                    if let Ok(id) = done {
                        active.remove(&id);
                    }
                }
                _ = purges.tick() => {
                    if let Err(error) = self.front.purge_expired().await {
                        tracing::error!(%error, "what nobody has restored could not be purged");
                    }
                }
                // The first round is at once and takes all: nothing from before this start is being worked on here.
                _ = rounds.tick() => {
                    for id in self.unattended(idle).await {
                        if active.insert(id) {
                            tracing::info!(operation = %id, "resumed");
                            tasks.spawn(work(Arc::clone(&self.front), id));
                        }
                    }
                    idle = UNATTENDED;
                }
            }
        }
    }

    /// Unfinished operations that have not changed for that long.
    async fn unattended(&self, idle: SignedDuration) -> Vec<Uuid> {
        let now = self.front.clock.now();
        match self.front.ledger.store().unfinished_operations().await {
            Ok(unfinished) => {
                let waits = |operation: &Operation| now.duration_since(operation.changed) >= idle;
                unfinished.into_iter().filter(waits).map(|operation| operation.id).collect()
            }
            Err(error) => {
                tracing::error!(%error, "unfinished operations cannot be read");
                Vec::new()
            }
        }
    }
}

/// One operation to its end. Trouble with the store leaves it unfinished and is tried again.
async fn work(front: Arc<Front>, id: Uuid) -> Uuid {
    for pause in [0, 100, 400, 1600, 6400] {
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        // An operation that panics must not be taken for one that is still at work.
        match AssertUnwindSafe(front.work(id))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Failure::internal("a panic")))
        {
            Ok(()) => return id,
            Err(error) => tracing::warn!(operation = %id, %error, "an operation could not go on"),
        }
    }
    tracing::error!(operation = %id, "an operation is left unfinished; the next start resumes it");
    id
}

impl Front {
    /// DELETE of a group: accepted at once, then everything in it goes.
    pub(crate) async fn delete_resource_group(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let Some(group) = self.ledger.resource(pass, id).await? else { return Err(group_not_found(id).into()) };
        check_preconditions(request, Some(&group))?;
        let deleting = group.document.properties.get(OPERATION).and_then(Value::as_str);
        if let Some(running) = deleting.and_then(|text| text.parse().ok()) {
            // Asked for again: the same operation answers.
            self.queue.accept(running);
            return Ok(accepted(request, &group.id, running));
        }
        // Said now rather than half way through.
        for id in self.elsewhere(request.context.now, &group.id).await? {
            self.gatekeeper.authorise_linked(pass, &delete_of(&id), &id).await?;
        }
        let operation = Operation {
            id: Uuid::new_v4(),
            kind: DELETE_GROUP.to_owned(),
            scope: group.row.key.clone(),
            status: RUNNING.to_owned(),
            principal: pass.principal().object_id.to_string(),
            body: json!({"group": group.id.to_string(), "correlationId": request.context.correlation_id}),
            created: request.context.now,
            changed: request.context.now,
        };
        let mut document = group.document.clone();
        document.properties.insert("provisioningState".into(), DELETING.into());
        document.properties.insert(OPERATION.into(), operation.id.to_string().into());
        let put = Entry::put(&group.id, TYPE_NAME, group.row.incarnation, false, document, pass)?;
        let entries =
            Entries { expect: vec![group.unchanged()], changes: vec![put, Change::PutOperation(operation.clone())] };
        self.ledger.commit(request.context, pass, entries).await?;
        self.queue.accept(operation.id);
        Ok(accepted(request, &group.id, operation.id))
    }

    /// GET of an operation's status document.
    pub(crate) async fn read_operation_status(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let operation = self.attended(request, pass).await?;
        let document = OperationDocument {
            id: request.context.uri.path().to_owned(),
            name: operation.id.to_string(),
            outcome: outcome(&operation),
            started: operation.created,
            ended: Some(operation.changed).filter(|_| operation.status != RUNNING),
        };
        let reply = Reply::ok(document.to_body());
        Ok(if operation.status == RUNNING { reply.header(header::RETRY_AFTER, "1") } else { reply })
    }

    /// GET of an operation's result: 202 while it runs.
    pub(crate) async fn read_operation_result(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let operation = self.attended(request, pass).await?;
        match outcome(&operation) {
            Outcome::Running { .. } => {
                let here = format!("{}{}", request.context.origin, request.context.uri);
                let reply = Reply::empty(StatusCode::ACCEPTED).header(header::LOCATION, &here);
                Ok(reply.header(header::RETRY_AFTER, "1"))
            }
            Outcome::Succeeded { properties: Some(result) } => Ok(Reply::ok(result)),
            Outcome::Succeeded { properties: None } => Ok(Reply::empty(StatusCode::OK)),
            Outcome::Failed(error) | Outcome::Canceled(error) => Err(error.into()),
        }
    }

    /// The operation a status URL names. One that waits for a node is about to end, so it is waited for a moment: clients
    /// that are told to come back do so after a second or more.
    async fn attended(&self, request: &Request<'_>, pass: &Pass) -> Result<Operation, Failure> {
        let mut ended = self.queue.ended.subscribe();
        let deadline = tokio::time::Instant::now() + ATTENTION;
        loop {
            ended.borrow_and_update();
            let operation = self.polled(request, pass).await?;
            let is_over = operation.status != RUNNING || operation.kind != AWAIT_NODE;
            if is_over || tokio::time::timeout_at(deadline, ended.changed()).await.is_err() {
                return Ok(operation);
            }
        }
    }

    /// The operation a status URL names, for those who may read what it works on or who started it.
    async fn polled(&self, request: &Request<'_>, pass: &Pass) -> Result<Operation, Failure> {
        let text = request.matched.values.last().map(String::as_str).unwrap_or_default();
        let missing = || {
            let message = format!("There is no operation '{text}'. Use the URL from the answer that accepted it.");
            Failure::from(ArmError::not_found(message))
        };
        let id: Uuid = text.parse().map_err(|_| missing())?;
        let operation = self.ledger.store().operation(id).await?.ok_or_else(missing)?;
        let scope = ResourceId::parse(&operation.scope)?;
        let principal = pass.principal();
        let started_it = operation.principal == principal.object_id.to_string();
        // An operation belongs to one subscription; its id under another one's URL is nothing.
        let is_here = scope.is_within(&request.matched.target);
        if is_here && (started_it || self.gatekeeper.may(pass.caller(), READ_GROUP, &scope).await?) {
            return Ok(operation);
        }
        Err(missing())
    }

    /// Does an operation's work. An error leaves it unfinished.
    async fn work(&self, id: Uuid) -> Result<(), Failure> {
        let Some(operation) = self.ledger.store().operation(id).await? else { return Ok(()) };
        if operation.status != RUNNING {
            return Ok(());
        }
        match operation.kind.as_str() {
            DELETE_GROUP => self.work_group_deletion(&operation).await,
            RUN_DEPLOYMENT => self.work_deployment(&operation).await,
            AWAIT_NODE => self.work_awaiting(&operation).await,
            other => Err(Failure::internal(format!("an operation of unknown kind '{other}'"))),
        }
    }

    /// Removes what is in a group, batch by batch, and the group with the last one. Each batch is one transaction, so a
    /// crash between two leaves a smaller group that is still being deleted.
    async fn work_group_deletion(&self, operation: &Operation) -> Result<(), Failure> {
        let group = ResourceId::parse(&operation.scope)?;
        loop {
            // Another replica may have finished it meanwhile.
            let stands = self.ledger.store().operation(operation.id).await?;
            if stands.is_none_or(|stands| stands.status != RUNNING) {
                return Ok(());
            }
            // Rights can be taken away while an operation runs.
            let delete = "Microsoft.Resources/subscriptions/resourceGroups/delete";
            let Some(pass) = self.standing_pass(operation, delete, &group).await? else {
                return self.fail_group_deletion(operation, &group, &group).await;
            };
            let still_may = Expectation::AccessEpoch(pass.epoch());
            let query = ResourceQuery { prefix: Some(group.prefix()), limit: BATCH, ..ResourceQuery::default() };
            let below = self.ledger.store().resources(&query).await?;
            if let Some(row) = below.iter().find(|row| self.outlives_its_group(row)) {
                match self.keep_of_group(operation, &group, &pass, row.clone()).await {
                    Ok(None) | Err(Failure::Raced) => continue,
                    Ok(Some(refused)) => return self.fail_group_deletion(operation, &group, &refused).await,
                    Err(failure) => return Err(failure),
                }
            }
            let is_last = below.len() < BATCH as usize;
            let mut entries = Entries { expect: vec![still_may], changes: Vec::new() };
            if is_last {
                // A write that was on its way when the deletion was accepted may have come in since the list was read.
                let count = i64::try_from(below.len()).unwrap_or(i64::MAX);
                entries.expect.push(Expectation::CountBelow { prefix: group.prefix(), count });
            }
            for row in below {
                let entry = Entry::read(row)?;
                entries.expect.push(entry.stands());
                if let Some(id) = self.remove_dependants(operation, &group, &entry, &mut entries).await? {
                    return self.fail_group_deletion(operation, &group, &id).await;
                }
                self.remove(&entry, &mut entries)?;
            }
            if is_last && let Some(row) = self.ledger.store().resource(group.key()).await? {
                self.remove(&Entry::read(row)?, &mut entries)?;
            }
            let mut done = operation.clone();
            done.changed = self.clock.now();
            if is_last {
                "Succeeded".clone_into(&mut done.status);
            }
            entries.changes.push(Change::PutOperation(done));
            entries.expect.push(Expectation::OperationStatus { id: operation.id, status: RUNNING.to_owned() });
            match self.commit_for(operation, &group, "Succeeded", entries).await {
                Ok(()) if is_last => return Ok(()),
                // Something came into the group in the last moment: once more.
                Ok(()) | Err(Failure::Raced) => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Whether the deletion of a resource can be taken back also when its group goes: a vault's.
    fn outlives_its_group(&self, row: &Resource) -> bool {
        let soft = self.registry.find(&row.type_name, "").ok().and_then(|found| found.rules.soft_delete());
        soft.is_some_and(|soft| soft.placement == Placement::Subscription)
    }

    /// Removes such a resource, with what is below it, and keeps it. The id of what may not be removed with it.
    async fn keep_of_group(
        &self,
        operation: &Operation,
        group: &ResourceId,
        pass: &Pass,
        row: Resource,
    ) -> Result<Option<ResourceId>, Failure> {
        let entry = Entry::read(row)?;
        let is_running = Expectation::OperationStatus { id: operation.id, status: RUNNING.to_owned() };
        let expect = vec![Expectation::AccessEpoch(pass.epoch()), entry.unchanged(), is_running];
        let mut entries = Entries { expect, changes: Vec::new() };
        if let Some(refused) = self.remove_dependants(operation, group, &entry, &mut entries).await? {
            return Ok(Some(refused));
        }
        let below = self.remove_below(pass, &entry.id, &mut entries).await?;
        self.remove(&entry, &mut entries)?;
        let gone: Vec<Entry> = [entry].into_iter().chain(below).collect();
        self.keep(pass, self.clock.now(), &gone, &mut entries).await?;
        self.commit_for(operation, group, "Succeeded", entries).await?;
        Ok(None)
    }

    /// What goes with the resources of a group although it stands in other groups: projects go with their hub (mission.md
    /// P2).
    async fn elsewhere(&self, now: Timestamp, group: &ResourceId) -> Result<Vec<ResourceId>, Failure> {
        let types = self.registry.namespaces().flat_map(|namespace| self.registry.types_of(namespace));
        let types = types.filter(|descriptor| descriptor.surroundings.referrers).map(Descriptor::type_name).collect();
        let prefix = Some(group.prefix());
        let mut query = ResourceQuery { prefix, types, limit: BATCH, ..ResourceQuery::default() };
        let mut elsewhere = Vec::new();
        loop {
            let page = self.ledger.store().resources(&query).await?;
            let rest_after = page.last().filter(|_| page.len() == BATCH as usize).map(|row| row.key.clone());
            for row in page {
                let (dependants, _) = self.dependants(now, &Entry::read(row)?).await?;
                elsewhere.extend(dependants.into_iter().map(|entry| entry.id).filter(|id| !id.is_within(group)));
            }
            match rest_after {
                Some(after) => query.after = Some(after),
                None => return Ok(elsewhere),
            }
        }
    }

    /// What goes with a resource, and what must hold for that to be all.
    async fn dependants(&self, now: Timestamp, entry: &Entry) -> Result<(Vec<Entry>, Option<Expectation>), Failure> {
        let Ok(registered) = self.registry.find(&entry.row.type_name, "") else { return Ok((Vec::new(), None)) };
        if !registered.rules.descriptor().surroundings.referrers {
            return Ok((Vec::new(), None));
        }
        let nobody_new = self.nobody_new_links(now, &entry.id).await?;
        let referrers = self.referrers(now, &entry.id).await?;
        let linked: Vec<Linked> = referrers.iter().map(Entry::linked).collect();
        let dismissal = Dismissal { id: &entry.id, existing: entry.existing(), referrers: &linked, query: &[] };
        // A group takes with it what nobody could delete alone.
        let also = registered.rules.dismiss(&dismissal).unwrap_or_default().also;
        Ok((referrers.into_iter().filter(|entry| also.contains(&entry.id)).collect(), Some(nobody_new)))
    }

    /// The removal of what goes with a resource of a group that is being deleted; the id of what may not be removed.
    async fn remove_dependants(
        &self,
        operation: &Operation,
        group: &ResourceId,
        entry: &Entry,
        entries: &mut Entries,
    ) -> Result<Option<ResourceId>, Failure> {
        let (dependants, nobody_new) = self.dependants(self.clock.now(), entry).await?;
        entries.expect.extend(nobody_new);
        for dependant in dependants.iter().filter(|dependant| !dependant.id.is_within(group)) {
            let id = &dependant.id;
            let Some(pass) = self.standing_pass(operation, &delete_of(id), id).await? else {
                return Ok(Some(id.clone()));
            };
            entries.expect.push(Expectation::AccessEpoch(pass.epoch()));
            entries.expect.push(dependant.unchanged());
            self.remove_below(&pass, id, entries).await?;
            self.remove(dependant, entries)?;
        }
        Ok(None)
    }

    /// Whoever started an operation has no right to a part of it: the group stays, with what is left in it.
    async fn fail_group_deletion(
        &self,
        operation: &Operation,
        group: &ResourceId,
        refused: &ResourceId,
    ) -> Result<(), Failure> {
        let mut entries = Entries::default();
        if let Some(row) = self.ledger.store().resource(group.key()).await? {
            let mut entry = Entry::read(row)?;
            entries.expect.push(entry.unchanged());
            entry.document.properties.clear();
            entries.changes.push(entry.put_again()?);
        }
        let mut failed = operation.clone();
        failed.changed = self.clock.now();
        "Failed".clone_into(&mut failed.status);
        let message = format!(
            "The principal that asked for the deletion has no right to delete '{refused}', or a lock is on it; what was \
             left stays."
        );
        merge(&mut failed.body, "error", ArmError::new(403, "AuthorizationFailed", message).to_error_value());
        entries.changes.push(Change::PutOperation(failed));
        self.commit_for(operation, group, "Failed", entries).await
    }

    /// The right to a part of an operation, asked for anew so that nothing is done after a revocation; locks count, too.
    /// `None` when the right is gone.
    async fn standing_pass(
        &self,
        operation: &Operation,
        action: &str,
        scope: &ResourceId,
    ) -> Result<Option<Pass>, Failure> {
        let object_id: Uuid = operation
            .principal
            .parse()
            .map_err(|_| Failure::internal(format!("operation {} has no principal", operation.id)))?;
        let epoch = self.gatekeeper.epoch().await?;
        let standing = self.identity.directory().standing_principal(object_id, operation.created).await?;
        let Some(principal) = standing else { return Ok(None) };
        let asked = async {
            let pass = self.gatekeeper.authorise(&Identified { principal, epoch }, action, scope).await?;
            self.gatekeeper.check_locks(&pass, Intent::Delete, scope).await?;
            Ok(pass)
        };
        match asked.await {
            Ok(pass) => Ok(Some(pass)),
            Err(Failure::Refused(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn commit_for(
        &self,
        operation: &Operation,
        scope: &ResourceId,
        status: &str,
        entries: Entries,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let audit = json!({
            "objectId": operation.principal,
            "action": format!("{TYPE_NAME}/delete"),
            "scope": scope.to_string(),
            "status": status,
            "operationId": operation.id,
            "correlationId": operation.body.get("correlationId"),
        });
        let Entries { expect, changes } = entries;
        match self.ledger.store().commit(Write { at: now, expect, changes, audit: vec![audit] }).await {
            Ok(_) => {
                // What goes with a group may be a hub.
                self.networks.touch_all();
                Ok(())
            }
            Err(CommitError::Conflict(_)) => Err(Failure::Raced),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

impl Entry {
    /// The write of the same resource with a changed document, by whoever changed it last.
    pub(crate) fn put_again(&self) -> Result<Change, Failure> {
        let body = serde_json::to_value(&self.document).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Change::PutResource(bastide_store::ResourcePut {
            id: self.row.id.clone(),
            type_name: self.row.type_name.clone(),
            incarnation: self.row.incarnation,
            listed: self.row.listed,
            tags: self.document.tags.clone(),
            body,
            by: self.row.changed.by.clone(),
            by_type: self.row.changed.by_type.clone(),
        }))
    }
}

/// 202 with both URLs to poll.
pub(crate) fn accepted(request: &Request<'_>, scope: &ResourceId, operation: Uuid) -> Reply {
    let reply = following(Reply::empty(StatusCode::ACCEPTED), request, scope, operation);
    reply.header(header::LOCATION, &url_of("operationResults", request, scope, operation))
}

/// An answer that names the operation which goes on after it.
pub(crate) fn following(reply: Reply, request: &Request<'_>, scope: &ResourceId, operation: Uuid) -> Reply {
    let reply = reply.header(AZURE_ASYNC_OPERATION, &url_of("operationStatuses", request, scope, operation));
    reply.header(header::RETRY_AFTER, "1")
}

fn url_of(word: &str, request: &Request<'_>, scope: &ResourceId, operation: Uuid) -> String {
    let subscription = scope.subscription_id().unwrap_or_default();
    format!(
        "{}/subscriptions/{subscription}/providers/Microsoft.Resources/locations/local/{word}/{operation}?api-version={}",
        request.context.origin, request.api_version
    )
}

fn outcome(operation: &Operation) -> Outcome {
    let error = || {
        let text = |name: &str, otherwise: &str| {
            let found = operation.body.pointer(&format!("/error/{name}")).and_then(Value::as_str);
            found.unwrap_or(otherwise).to_owned()
        };
        ArmError::new(409, text("code", "OperationFailed"), text("message", "The operation failed; try it again."))
    };
    match operation.status.as_str() {
        "Succeeded" => Outcome::Succeeded { properties: operation.body.get("result").cloned() },
        "Failed" => Outcome::Failed(error()),
        "Canceled" => Outcome::Canceled(error()),
        _ => Outcome::Running { percent: None },
    }
}

/// The action of deleting a resource.
fn delete_of(id: &ResourceId) -> String {
    format!("{}/delete", id.type_name())
}

pub(crate) fn merge(body: &mut Value, name: &str, value: Value) {
    if let Some(fields) = body.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// How long an answer may wait for an operation to end.
const ATTENTION: Duration = Duration::from_secs(1);

/// Time between two looks for operations that nobody works on.
const ROUND: Duration = Duration::from_secs(5);

/// Time between two looks for deleted resources whose time is over.
const PURGE_ROUND: Duration = Duration::from_hours(1);

/// An operation that has not changed for this long is not being worked on by another replica either.
const UNATTENDED: SignedDuration = SignedDuration::from_secs(60);

const DELETE_GROUP: &str = "DeleteResourceGroup";
pub(crate) const RUNNING: &str = "Running";
const READ_GROUP: &str = "Microsoft.Resources/subscriptions/resourceGroups/read";

/// Property of a group that names the operation deleting it.
const OPERATION: &str = "operation";

/// Resources removed in one transaction.
const BATCH: u32 = 200;

pub(crate) const AZURE_ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");
