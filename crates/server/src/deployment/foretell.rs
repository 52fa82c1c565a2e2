//! What-if: what a deployment would change, without changing it.

use bastide_arm::error::ArmError;
use bastide_template::what_if::{Change, ChangeKind};
use bastide_template::{Evaluated, Mode, Node, NodeKind, Plan};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};

use super::complete::undeclared;
use super::create::Draft;
use super::lookups::{Lookups, NOT_FORESEEABLE};
use super::redaction::blot;
use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// POST of whatIf. Answered at once: nothing in it waits for anything.
    pub(crate) async fn foretell_deployment(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let draft = self.draft(request, pass).await?;
        self.ask_policies(request, pass, &draft).await?;
        let lookups = Lookups::new(self, pass.principal(), request.context, draft.redaction.clone());
        let mut told = Told::default();
        let foretold = Foretold { lookups, ids_only: draft.asked.ids_only };
        foretold.plan(&draft.plan, &mut told).await?;
        foretold.rest(&draft, &mut told).await?;
        let changes: Vec<Value> = told.changes.iter().map(Change::to_value).collect();
        Ok(Reply::ok(json!({
            "status": "Succeeded",
            "properties": {"correlationId": request.context.correlation_id, "changes": changes},
        })))
    }
}

struct Foretold<'a> {
    lookups: Lookups<'a>,
    ids_only: bool,
}

/// What has been found out.
#[derive(Default)]
struct Told {
    changes: Vec<Change>,
    /// Lower-cased ids of everything the template names.
    declared: Vec<String>,
}

impl Foretold<'_> {
    /// The changes of a plan, those of deployments inside it included. Boxed, because it calls itself.
    fn plan<'b>(&'b self, plan: &'b Plan, told: &'b mut Told) -> BoxFuture<'b, Result<(), Failure>> {
        async move {
            for node in plan.order().iter().filter_map(|position| plan.nodes().get(*position)) {
                told.declared.push(node.id.to_ascii_lowercase());
                match node.kind {
                    NodeKind::Existing => {}
                    NodeKind::Resource => told.changes.push(self.node(node).await?),
                    NodeKind::Deployment => match self.lookups.foresee(node).await {
                        Ok(Some(nested)) => self.plan(&nested, told).await?,
                        Ok(None) => {}
                        Err(Failure::Refused(error)) => {
                            told.changes.push(Change::unsupported(&node.id, error.message.clone()));
                        }
                        Err(failure) => return Err(failure),
                    },
                }
            }
            Ok(())
        }
        .boxed()
    }

    /// What is in the group and not in the template.
    async fn rest(&self, draft: &Draft, told: &mut Told) -> Result<(), Failure> {
        let Some(group) = draft.id.resource_group_id() else { return Ok(()) };
        let kind = if draft.asked.mode == Mode::Complete { ChangeKind::Delete } else { ChangeKind::Ignore };
        for target in undeclared(&self.lookups, &group.to_string(), &told.declared).await? {
            let before = if self.ids_only { None } else { self.read(&target.id, None).await?.ok().flatten() };
            told.changes.push(Change::of(target.id, kind, before));
        }
        Ok(())
    }

    async fn node(&self, node: &Node) -> Result<Change, Failure> {
        let before = match self.read(&node.id, node.api_version.as_deref()).await? {
            Ok(before) => before,
            Err(error) => return Ok(Change::unsupported(&node.id, error.message.clone())),
        };
        if self.ids_only {
            let kind = if before.is_some() { ChangeKind::Deploy } else { ChangeKind::Create };
            return Ok(Change::of(&node.id, kind, None));
        }
        let body = match self.lookups.evaluate(|live| node.body(live)).await {
            Ok(body) => body,
            // It waits for something that the deployment would make.
            Err(Failure::Refused(error)) => {
                return Ok(match before {
                    None => Change::compare(&node.id, None, head(node), &|_| false),
                    Some(_) => Change::unsupported(&node.id, error.message.clone()),
                });
            }
            Err(failure) => return Err(failure),
        };
        self.lookups.redaction.learn_evaluated(&body);
        match before {
            None => {
                let mut after = head(node);
                if let (Some(after), Value::Object(body)) = (after.as_object_mut(), body.redacted()) {
                    after.extend(body);
                }
                Ok(Change::compare(&node.id, None, after, &|_| false))
            }
            Some(before) => self.change(node, before, &body).await,
        }
    }

    /// The change of what stands: a rehearsal shows it with the defaults its type fills in.
    async fn change(&self, node: &Node, mut before: Value, body: &Evaluated) -> Result<Change, Failure> {
        let uri = self.lookups.uri(&node.id, None, node.api_version.as_deref())?;
        let context = self.lookups.context.step(Method::PUT, uri, self.lookups.context.now);
        let front = self.lookups.front;
        let rehearsed = front.rehearse(self.lookups.principal, &context, body.value.clone()).boxed().await;
        blot(&mut before, &body.secrets);
        match rehearsed {
            Ok(reply) => {
                let mut after = reply.into_body().unwrap_or_default();
                blot(&mut after, &body.secrets);
                let registered = front.registry.find(&node.type_name, "").ok();
                let read_only = registered.map(|found| found.rules.descriptor().read_only).unwrap_or_default();
                let is_read_only = |path: &str| {
                    let name = path.strip_prefix("properties.").unwrap_or_default();
                    read_only.iter().any(|own| own.eq_ignore_ascii_case(name))
                };
                Ok(Change::compare(&node.id, Some(before), after, &is_read_only))
            }
            // It points at something that the deployment would make: what the template does not say is left alone.
            Err(Failure::Refused(error)) if waits_for_others(&error) => {
                let after = body.redacted();
                let is_unsaid = |path: &str| is_unsaid(&after, path);
                Ok(Change::compare(&node.id, Some(before), after.clone(), &is_unsaid))
            }
            Err(Failure::Refused(error)) => {
                Ok(Change::unsupported(&node.id, self.lookups.redaction.error(&error).message.clone()))
            }
            Err(failure) => Err(failure),
        }
    }

    /// The resource as it stands, `None` when it does not, or why it cannot be said.
    async fn read(&self, id: &str, api_version: Option<&str>) -> Result<Result<Option<Value>, ArmError>, Failure> {
        let uri = self.lookups.uri(id, None, api_version)?;
        match self.lookups.ask(Method::GET, uri, None).await {
            Ok(reply) => Ok(Ok(reply.into_body())),
            Err(Failure::Refused(error)) if error.status == 404 => Ok(Ok(None)),
            Err(Failure::Refused(error)) => Ok(Err(error)),
            Err(failure) => Err(failure),
        }
    }
}

/// What is known of a resource before its body is.
fn head(node: &Node) -> Value {
    json!({
        "apiVersion": node.api_version,
        "id": node.id,
        "name": node.name.rsplit('/').next(),
        "type": node.type_name,
    })
}

fn waits_for_others(error: &ArmError) -> bool {
    [NOT_FORESEEABLE, "LinkedResourceNotFound", "ParentResourceNotFound", "ResourceGroupNotFound"]
        .contains(&&*error.code)
}

/// Whether a path leads to nothing in a body.
fn is_unsaid(body: &Value, path: &str) -> bool {
    let found = path.split('.').try_fold(body, |value, name| {
        value.as_object()?.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    });
    found.is_none()
}
