//! Everything about deployments but their PUT: read, list, delete, cancel, validate, export, and their operations.

use bastide_arm::error::ArmError;
use bastide_arm::filter::{Expr, Property};
use bastide_arm::paging::PageRequest;
use bastide_arm::resource_type::Document;
use bastide_store::{Change, ResourceQuery};
use bastide_template::{NodeKind, Plan};
use http::{StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::create::{TEMPLATE, deployment_not_found, refuse_running};
use super::operation;
use super::record::{Record, Run, State, envelope, ids, wire_form};
use super::run::{RUN_DEPLOYMENT, deployment_of};
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::list::{list_name, paged};
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of a deployment.
    pub(crate) async fn read_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        Ok(Reply::ok(wire_form(&self.deployment_or_404(request, pass).await?)?))
    }

    /// HEAD of a deployment: 204 or 404.
    pub(crate) async fn check_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        self.deployment_or_404(request, pass).await?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    /// GET of the deployments at a group, a subscription or the tenant.
    pub(crate) async fn list_deployments(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let target = &request.matched.target;
        if target.is_resource_group() && self.ledger.resource(pass, target).await?.is_none() {
            return Err(crate::ledger::group_not_found(target).into());
        }
        let filter = request.context.query_value("$filter").filter(|text| !text.trim().is_empty());
        let filter = filter.map(|text| Expr::parse(&text, FILTERED)).transpose()?;
        let prefix = format!("{}providers/microsoft.resources/deployments/", target.prefix());
        let fits = |entry: &Entry| -> Result<bool, Failure> {
            let Some(filter) = &filter else { return Ok(true) };
            let state = Record::read(&entry.document)?.state;
            Ok(filter.matches(&|property| (property.name == "provisioningState").then(|| state.as_str())))
        };
        self.list_below(request, pass, prefix, super::TYPE_NAME, fits, wire_form).await
    }

    /// DELETE of a deployment: its record goes, what it deployed stays.
    pub(crate) async fn delete_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let Some(entry) = self.ledger.resource(pass, id).await? else {
            self.ground(pass, id).await?;
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        };
        refuse_running(Some(&entry), id)?;
        let changes = vec![Change::DeleteBelow(id.prefix()), Change::DeleteResource(entry.row.key.clone())];
        self.ledger.commit(request.context, pass, Entries { expect: vec![entry.unchanged()], changes }).await?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    /// POST of cancel: the run stops handing out nodes.
    pub(crate) async fn cancel_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let mut entry = self.deployment_or_404(request, pass).await?;
        let mut record = Record::read(&entry.document)?;
        if record.state != State::Running {
            let message = format!(
                "Deployment '{}' is {}; only one that is running can be canceled.",
                entry.id.name(),
                record.state.as_str()
            );
            return Err(ArmError::new(409, "DeploymentCannotBeCanceled", message).into());
        }
        record.cancel = true;
        record.write(&mut entry.document)?;
        let entries = Entries { expect: vec![entry.unchanged()], changes: vec![entry.put_again()?] };
        self.ledger.commit(request.context, pass, entries).await?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    /// POST of validate: everything a PUT checks, and nothing of what it writes.
    pub(crate) async fn validate_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let draft = self.draft(request, pass).await?;
        self.ask_policies(request, pass, &draft).await?;
        let (correlation_id, now) = (request.context.correlation_id, request.context.now);
        let run = Run { id: Uuid::nil(), operation: Uuid::nil(), correlation_id, now };
        let record = Record::begin(&draft.plan, run, &draft.redaction);
        let mut properties = record.properties();
        properties.insert("provisioningState".into(), State::Succeeded.as_str().into());
        properties.insert("validatedResources".into(), ids(&validated(&draft.plan)));
        let document = Document { location: draft.asked.location, tags: draft.asked.tags, ..Document::default() };
        Ok(Reply::ok(envelope(&draft.id, &document, properties)))
    }

    /// POST of exportTemplate.
    pub(crate) async fn export_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let entry = self.deployment_or_404(request, pass).await?;
        let secrets = self.secrets(entry.row.incarnation).await?;
        let template = secrets.get(TEMPLATE).ok_or_else(|| Failure::internal("a deployment without its template"))?;
        // Revealed to be exported; secure defaults were taken out before it was stored.
        let template: Value =
            serde_json::from_str(template.reveal()).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Reply::ok(json!({"template": template})))
    }

    /// GET of the status document of a run.
    pub(crate) async fn read_deployment_status(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let text = request.matched.value(0);
        let missing = || {
            let message = format!("There is no operation '{text}'. Use the URL from the answer that accepted it.");
            Failure::from(ArmError::not_found(message))
        };
        let id: Uuid = text.parse().map_err(|_| missing())?;
        let operation = self.ledger.store().operation(id).await?.ok_or_else(missing)?;
        let deployment = deployment_of(&operation).filter(|_| operation.kind == RUN_DEPLOYMENT);
        if deployment.is_none_or(|deployment| deployment != request.matched.target) {
            return Err(missing());
        }
        let mut status = json!({
            "id": request.context.uri.path(),
            "name": operation.id,
            "status": operation.status,
            "startTime": operation.created.to_string(),
        });
        if operation.status == State::Running.as_str() {
            return Ok(Reply::ok(status).header(header::RETRY_AFTER, "1"));
        }
        if let Some(fields) = status.as_object_mut() {
            fields.insert("endTime".into(), operation.changed.to_string().into());
            fields.extend(operation.body.get("error").map(|error| ("error".to_owned(), error.clone())));
        }
        Ok(Reply::ok(status))
    }

    /// GET of a deployment's operations.
    pub(crate) async fn list_deployment_operations(
        &self,
        request: &Request<'_>,
        pass: &Pass,
    ) -> Result<Reply, Failure> {
        let entry = self.deployment_or_404(request, pass).await?;
        let prefix = format!("{}operations/", entry.id.prefix());
        self.list_below(request, pass, prefix, operation::TYPE_NAME, |_| Ok(true), operation::wire_form).await
    }

    /// GET of one of them.
    pub(crate) async fn read_deployment_operation(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let deployment = self.deployment_or_404(request, pass).await?;
        let name = request.matched.value(0);
        let id = operation::id_of(&deployment.id, name)?;
        if let Some(entry) = self.ledger.resource(pass, &id).await? {
            return Ok(Reply::ok(operation::wire_form(&entry)?));
        }
        let message = format!("Deployment '{}' has no operation '{name}'.", deployment.id.name());
        Err(ArmError::new(404, "DeploymentOperationNotFound", message).into())
    }

    async fn deployment_or_404(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        if let Some(entry) = self.ledger.resource(pass, id).await? {
            return Ok(entry);
        }
        if let Some(group) = id.resource_group_id()
            && self.ledger.surrounding(pass, &group).await?.is_none()
        {
            return Err(crate::ledger::group_not_found(id).into());
        }
        Err(deployment_not_found(id).into())
    }

    /// One page of what fits.
    async fn list_below(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        prefix: String,
        type_name: &str,
        fits: impl Fn(&Entry) -> Result<bool, Failure>,
        show: fn(&Entry) -> Result<Value, Failure>,
    ) -> Result<Reply, Failure> {
        let pairs = request.context.query();
        let parameters = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = PageRequest::from_query(parameters, &list_name(request))?;
        let size = asked.top.unwrap_or(PAGE) as usize;
        let mut query = ResourceQuery {
            prefix: Some(prefix),
            types: vec![type_name.to_owned()],
            after: asked.after,
            limit: PAGE,
            ..ResourceQuery::default()
        };
        let mut values = Vec::new();
        let mut last = None;
        loop {
            let page = self.ledger.resources(pass, &query).await?;
            let is_full = page.len() == PAGE as usize;
            for entry in page {
                query.after = Some(entry.row.key.clone());
                if !fits(&entry)? {
                    continue;
                }
                if values.len() == size {
                    return Ok(paged(request, values, last.as_deref()));
                }
                values.push(show(&entry)?);
                last = Some(entry.row.key);
            }
            if !is_full {
                return Ok(paged(request, values, None));
            }
        }
    }
}

/// Ids of everything a plan would put, as far as that is known.
fn validated(plan: &Plan) -> Vec<String> {
    let mut ids = Vec::new();
    for node in plan.nodes() {
        match (node.kind, node.nested()) {
            (NodeKind::Deployment, Some(nested)) => ids.extend(validated(nested)),
            (NodeKind::Resource, _) => ids.push(node.id.clone()),
            _ => {}
        }
    }
    ids
}

/// What deployments can be filtered by.
const FILTERED: &[Property] = &[Property::any_case("provisioningState")];

/// Items on a page when the client does not say: a whole deployment's operations.
const PAGE: u32 = 1000;
