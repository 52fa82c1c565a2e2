//! PUT of a deployment: planned before anything is written, then one commit that holds the deployment, its run and what
//! the run needs to be taken up again.

use std::sync::Arc;
use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Secret};
use bastide_store::{Change, Expectation, Operation, SealedSecret};
use bastide_template::Plan;
use http::{HeaderName, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::asked::Asked;
use super::lookups::Lookups;
use super::record::{Record, Run, State, wire_form};
use super::redaction::{Redaction, exported};
use super::resource_type::DESCRIPTOR;
use super::run::RUN_DEPLOYMENT;
use super::setting::{Facts, Ground, Setting};
use super::{Nested, TYPE_NAME};
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry, group_not_found};
use crate::pass::Pass;
use crate::providers::resource_group;
use crate::reply::Reply;
use crate::request::Request;

/// What a run needs beside its record, sealed until it is over.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Script {
    pub(super) template: Value,
    pub(super) parameters: Value,
    pub(super) setting: Setting,
}

/// A deployment that has been planned and not yet begun.
pub(super) struct Draft {
    pub(super) id: ResourceId,
    pub(super) ground: Ground,
    pub(super) asked: Asked,
    pub(super) script: Script,
    pub(super) plan: Plan,
    pub(super) redaction: Arc<Redaction>,
}

impl Front {
    /// PUT of a deployment.
    pub(crate) async fn put_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        if let Some(nested) = request.nested {
            return self.put_nested(request, pass, nested).await;
        }
        let target = &request.matched.target;
        let existing = self.ledger.resource(pass, target).await?;
        refuse_running(existing.as_ref(), target)?;
        let draft = self.draft(request, pass).await?;
        refuse_moved(existing.as_ref(), &draft.asked)?;
        self.ask_policies(request, pass, &draft).await?;
        let run = Uuid::new_v4();
        let (correlation_id, now) = (request.context.correlation_id, request.context.now);
        let record = Record::begin(&draft.plan, Run { id: run, operation: run, correlation_id, now }, &draft.redaction);
        let document =
            Document { location: draft.asked.location.clone(), tags: draft.asked.tags.clone(), ..Document::default() };
        let (mut entries, entry) = begin(&draft.id, existing.as_ref(), &draft.ground, document, &record, pass)?;
        let script = serde_json::to_string(&draft.script).map_err(|error| Failure::internal(error.to_string()))?;
        let template = exported(&draft.script.template).to_string();
        for (field, text) in [(SCRIPT, script), (TEMPLATE, template)] {
            let sealed = self.seal(entry, field, &Secret::new(text))?;
            entries.changes.push(Change::PutSecret(SealedSecret {
                incarnation: entry,
                field: field.to_owned(),
                sealed,
            }));
        }
        entries.changes.push(Change::PutOperation(Operation {
            id: run,
            kind: RUN_DEPLOYMENT.to_owned(),
            scope: draft.id.key().to_owned(),
            status: State::Running.as_str().to_owned(),
            principal: pass.principal().object_id.to_string(),
            body: json!({
                "deployment": draft.id.to_string(),
                "incarnation": entry,
                "correlationId": request.context.correlation_id,
            }),
            created: request.context.now,
            changed: request.context.now,
        }));
        self.ledger.commit(request.context, pass, entries).await?;
        self.queue.accept(run);
        self.begun(request, pass, &draft.id, run, existing.is_some()).await
    }

    /// Checks and plans what a body asks for, for PUT, validate and what-if alike.
    pub(super) async fn draft(&self, request: &Request<'_>, pass: &Pass) -> Result<Draft, Failure> {
        let target = &request.matched.target;
        let ground = self.ground(pass, target).await?;
        let id = placed(target, &ground)?;
        let asked = Asked::read(request.object()?, &id)?;
        let facts = Facts { now: request.context.now, origin: &request.context.origin };
        let setting = Setting::new(&id, &asked, &ground, pass.principal(), facts);
        let template = self.document(&asked.template).await?;
        let parameters = self.parameters(&asked.parameters).await?;
        let redaction = Arc::new(Redaction::of(&template, &parameters));
        let lookups = Lookups::new(self, pass.principal(), request.context, Arc::clone(&redaction));
        let plan = self.plan(&lookups, &setting, template.clone(), &parameters).await?;
        Ok(Draft { id, ground, asked, script: Script { template, parameters, setting }, plan, redaction })
    }

    /// A deployment inside another one: it has no run of its own, so all there is to write is its record.
    async fn put_nested(&self, request: &Request<'_>, pass: &Pass, nested: &Nested) -> Result<Reply, Failure> {
        let target = &request.matched.target;
        let existing = self.ledger.resource(pass, target).await?;
        if let Some(entry) = &existing
            && Record::read(&entry.document)?.run == nested.run
        {
            // Taken up again after a crash.
            return Ok(Reply::ok(wire_form(entry)?));
        }
        refuse_running(existing.as_ref(), target)?;
        let ground = self.ground(pass, target).await?;
        let id = placed(target, &ground)?;
        let context = request.context;
        let run = Run {
            id: nested.run,
            operation: nested.operation,
            correlation_id: context.correlation_id,
            now: context.now,
        };
        let record = Record::begin(&nested.plan, run, &nested.redaction);
        let document = Document { location: nested.plan.context().deployment.location.clone(), ..Document::default() };
        let (mut entries, incarnation) = begin(&id, existing.as_ref(), &ground, document, &record, pass)?;
        // A template that was computed may hold what it was computed from.
        let template = nested.redaction.value(&exported(nested.plan.template().source())).to_string();
        let sealed = self.seal(incarnation, TEMPLATE, &Secret::new(template))?;
        entries.changes.push(Change::PutSecret(SealedSecret { incarnation, field: TEMPLATE.to_owned(), sealed }));
        self.ledger.commit(context, pass, entries).await?;
        Ok(Reply::json(if existing.is_some() { 200 } else { 201 }, json!({"id": id.to_string()})))
    }

    /// What a deployment stands on must be there, and not on its way out.
    pub(super) async fn ground(&self, pass: &Pass, id: &ResourceId) -> Result<Ground, Failure> {
        let subscription = match id.subscription_id() {
            Some(subscription) => self.ledger.subscription(subscription).await?,
            None => None,
        };
        let group = match id.resource_group_id() {
            Some(group) => {
                let entry = self.ledger.surrounding(pass, &group).await?;
                let entry = entry.ok_or_else(|| group_not_found(id))?;
                if resource_group::is_deleting(&entry.document.properties) {
                    return Err(ArmError::resource_group_being_deleted(entry.id.name()).into());
                }
                Some(entry)
            }
            None => None,
        };
        Ok(Ground { subscription, group })
    }

    /// The answer to a PUT: after a moment, because most deployments are over by then and their clients need not poll.
    async fn begun(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        id: &ResourceId,
        run: Uuid,
        is_replaced: bool,
    ) -> Result<Reply, Failure> {
        for pause in PAUSES {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let operation = self.ledger.store().operation(run).await?;
            if operation.is_none_or(|operation| operation.status != State::Running.as_str()) {
                break;
            }
        }
        let Some(entry) = self.ledger.resource(pass, id).await? else {
            return Err(deployment_not_found(id).into());
        };
        let state = Record::read(&entry.document)?.state;
        let reply = Reply::json(if is_replaced { 200 } else { 201 }, wire_form(&entry)?);
        if state == State::Succeeded {
            return Ok(reply);
        }
        // A failure is told by the status document: clients read its details there.
        let url = format!("{}{id}/operationStatuses/{run}?api-version={}", request.context.origin, request.api_version);
        Ok(reply.header(AZURE_ASYNC_OPERATION, &url).header(header::RETRY_AFTER, "1"))
    }
}

/// The writes that every new run begins with: what was before it goes, its record comes. With them comes the
/// deployment's incarnation.
fn begin(
    id: &ResourceId,
    existing: Option<&Entry>,
    ground: &Ground,
    mut document: Document,
    record: &Record,
    pass: &Pass,
) -> Result<(Entries, Uuid), Failure> {
    let incarnation = existing.map_or_else(Uuid::new_v4, |entry| entry.row.incarnation);
    record.write(&mut document)?;
    let mut entries = Entries::default();
    entries.expect.push(match existing {
        Some(entry) => entry.unchanged(),
        None => Expectation::ResourceAbsent(id.key().to_owned()),
    });
    entries.expect.extend(ground.group.iter().map(Entry::unchanged));
    if existing.is_some() {
        entries.changes.push(Change::DeleteBelow(id.prefix()));
        entries.changes.push(Change::DeleteSecrets(incarnation));
    }
    entries.changes.push(Entry::put(id, TYPE_NAME, incarnation, false, document, pass)?);
    Ok((entries, incarnation))
}

/// The id in canonical spelling, with a name that a deployment may have.
fn placed(target: &ResourceId, ground: &Ground) -> Result<ResourceId, ArmError> {
    if !(DESCRIPTOR.name.accepts)(target.name()) {
        let rule = format!("Use {}.", DESCRIPTOR.name.explanation);
        return Err(ArmError::invalid_resource_name(target.name(), TYPE_NAME, &rule));
    }
    let id = target.with_spelling(DESCRIPTOR.namespace, DESCRIPTOR.types);
    Ok(ground.group.as_ref().map_or_else(|| id.clone(), |group| id.with_spelling_of(&group.id)))
}

/// One run at a time.
pub(super) fn refuse_running(existing: Option<&Entry>, id: &ResourceId) -> Result<(), Failure> {
    let Some(entry) = existing else { return Ok(()) };
    let record = Record::read(&entry.document)?;
    if record.state != State::Running {
        return Ok(());
    }
    let message = format!(
        "The deployment '{}' at '{}' is active since {}; wait for its end or cancel it, then send the request again.",
        entry.id.name(),
        id.scope(),
        record.started
    );
    Err(ArmError::new(409, "DeploymentActive", message).into())
}

/// A deployment above resource groups stays where its record is.
fn refuse_moved(existing: Option<&Entry>, asked: &Asked) -> Result<(), ArmError> {
    let stands = existing.and_then(|entry| entry.document.location.as_deref());
    match (stands, asked.location.as_deref()) {
        (Some(stands), Some(asked)) if stands != asked => {
            let message = format!(
                "The deployment exists in location '{stands}'; one of the same name cannot be made in '{asked}'. \
                 Use another name."
            );
            Err(ArmError::new(409, "InvalidDeploymentLocation", message).with_target("location"))
        }
        _ => Ok(()),
    }
}

/// 404 for a deployment.
pub(super) fn deployment_not_found(id: &ResourceId) -> ArmError {
    ArmError::new(404, "DeploymentNotFound", format!("Deployment '{}' could not be found.", id.name()))
}

/// Field of the secret that a run is taken up with.
pub(super) const SCRIPT: &str = "script";

/// Field of the template as it is exported.
pub(super) const TEMPLATE: &str = "template";

/// Milliseconds between looks at a run that has just begun; a third of a second in all.
const PAUSES: [u64; 7] = [5, 10, 20, 40, 60, 80, 100];

const AZURE_ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");
