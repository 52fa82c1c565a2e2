//! One node of a deployment: its body computed, put through the front door as the deployer, waited for.

use std::sync::Arc;
use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_template::{Node, NodeKind};
use futures_util::FutureExt;
use http::{HeaderName, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Nested;
use super::cancellation::Cancellation;
use super::course::{Course, Ended, Step};
use super::record::{State, envelope};
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::reply::Reply;

impl Course<'_> {
    /// Deploys a node. An error is trouble of ours; the node is tried again when the run is taken up.
    pub(super) async fn deploy(&self, node: &Node, request_id: Uuid) -> Result<Step, Failure> {
        let outcome = if node.kind == NodeKind::Deployment {
            // It ends by itself when it is called off, and leaves a record of that; all else is let go.
            self.deploy_nested(node).await
        } else {
            tokio::select! {
                outcome = self.put(node) => outcome,
                () = self.cancellation.requested() => return Ok(Step::Canceled),
            }
        };
        match outcome {
            Ok(step) => Ok(step),
            Err(Failure::Refused(error)) => Ok(Step::Failed(self.lookups.redaction.error(&error))),
            Err(Failure::Internal(cause)) => {
                tracing::error!(%request_id, cause, "a step of a deployment failed through our own fault");
                Ok(Step::Failed(ArmError::internal(&request_id.to_string())))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn put(&self, node: &Node) -> Result<Step, Failure> {
        let evaluated = self.lookups.evaluate(|live| node.body(live)).await?;
        self.lookups.redaction.learn_evaluated(&evaluated);
        let uri = self.lookups.uri(&node.id, None, node.api_version.as_deref())?;
        let reply = self.patiently(&Method::PUT, &uri, Some(evaluated.value)).await?;
        let status = reply.status().as_u16();
        self.finished(reply, &uri).await?;
        Ok(Step::Done { status, resources: vec![node.id.clone()] })
    }

    async fn deploy_nested(&self, node: &Node) -> Result<Step, Failure> {
        let plan = self.lookups.evaluate(|live| node.expand(live)).await?;
        let plan = Arc::new(plan.ok_or_else(|| Failure::internal("a deployment without a plan"))?);
        self.lookups.front.check_types(&plan)?;
        let run = Uuid::new_v5(&self.record.run, node.key().as_bytes());
        let nested = Arc::new(Nested {
            plan: Arc::clone(&plan),
            run,
            operation: self.record.operation,
            redaction: Arc::clone(&self.lookups.redaction),
        });
        let uri = self.lookups.uri(&node.id, None, node.api_version.as_deref())?;
        let context = self.lookups.context.step(Method::PUT, uri, self.now());
        // Boxed, because answering leads here again.
        let reply = self.lookups.front.ask_nested(self.lookups.principal, &context, nested).boxed().await?;
        let row = self.lookups.front.ledger.store().resource(&node.key()).await?;
        let Some(row) = row else { return Err(super::course::deleted_underneath().into()) };
        let cancellation = Cancellation::within(&self.cancellation);
        let course = Course::new(self.lookups.within(), plan, Entry::read(row)?, cancellation)?;
        let ended = course.execute().await?;
        course.close(&ended, &[], &[]).await?;
        self.remember(node, &course, &ended);
        match (ended.state, ended.error) {
            (State::Succeeded, _) => Ok(Step::Done { status: reply.status().as_u16(), resources: ended.resources }),
            (State::Failed, Some(error)) => Err(error.with_target(node.id.clone()).into()),
            _ => Ok(Step::Canceled),
        }
    }

    /// The store does not show secret outputs; the deployment around may use them all the same.
    fn remember(&self, node: &Node, inside: &Course<'_>, ended: &Ended) {
        let outputs = ended.outputs.as_deref().unwrap_or_default();
        if !outputs.iter().any(|output| output.secret) {
            return;
        }
        let whole = outputs
            .iter()
            .map(|output| (output.name.clone(), json!({"type": output.type_name, "value": output.value})))
            .collect();
        let mut properties = inside.record.properties();
        properties.insert("provisioningState".into(), ended.state.as_str().into());
        properties.insert("outputs".into(), Value::Object(whole));
        let value = envelope(&inside.deployment.id, &inside.deployment.document, properties);
        let shown = outputs.iter().filter(|output| !output.secret).map(|output| output.name.to_ascii_lowercase());
        self.lookups.remember_deployment(&node.id, value, shown.collect());
    }

    /// A request that is repeated while somebody else is at the same resource.
    pub(super) async fn patiently(&self, method: &Method, uri: &Uri, body: Option<Value>) -> Result<Reply, Failure> {
        for pause in [50, 200, 800, 3200] {
            match self.lookups.ask(method.clone(), uri.clone(), body.clone()).await {
                Err(Failure::Refused(error)) if error.code == "AnotherOperationInProgress" || error.status == 429 => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                answered => return answered,
            }
        }
        self.lookups.ask(method.clone(), uri.clone(), body).await
    }

    /// Waits until what was accepted is done.
    pub(super) async fn finished(&self, reply: Reply, resource: &Uri) -> Result<(), Failure> {
        let url = |name: &HeaderName| self.own_url(reply.header_text(name)?);
        if let Some(status_url) = url(&AZURE_ASYNC_OPERATION) {
            return self.until(&status_url, |reply| outcome(&reply.into_body().unwrap_or_default(), "/status")).await;
        }
        if let (StatusCode::ACCEPTED, Some(result_url)) = (reply.status(), url(&header::LOCATION)) {
            let is_done = |reply: Reply| if reply.status() == StatusCode::ACCEPTED { None } else { Some(Ok(())) };
            return self.until(&result_url, is_done).await;
        }
        let state = |reply: Reply| outcome(&reply.into_body().unwrap_or_default(), "/properties/provisioningState");
        match state(reply) {
            Some(outcome) => Ok(outcome?),
            None => self.until(resource, state).await,
        }
    }

    async fn until(
        &self,
        url: &Uri,
        outcome: impl Fn(Reply) -> Option<Result<(), ArmError>> + Send,
    ) -> Result<(), Failure> {
        let mut pause = Duration::from_millis(20);
        loop {
            tokio::time::sleep(pause).await;
            if let Some(outcome) = outcome(self.lookups.ask(Method::GET, url.clone(), None).await?) {
                return Ok(outcome?);
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Our own URLs only, without the origin.
    fn own_url(&self, url: &str) -> Option<Uri> {
        url.strip_prefix(self.lookups.context.origin.as_str())?.parse().ok()
    }
}

/// What a body says about how something stands; `None` while it is under way.
fn outcome(body: &Value, pointer: &str) -> Option<Result<(), ArmError>> {
    let state = body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    match state.as_str() {
        "accepted" | "creating" | "inprogress" | "pending" | "provisioning" | "running" | "updating" => None,
        "failed" | "canceled" => {
            let text = |name: &str, otherwise: &str| {
                let found = body.pointer(&format!("/error/{name}")).and_then(Value::as_str);
                found.unwrap_or(otherwise).to_owned()
            };
            let message = text("message", "The resource came to a state of failure; read it to learn more.");
            Some(Err(ArmError::new(409, text("code", "ResourceDeploymentFailure"), message)))
        }
        _ => Some(Ok(())),
    }
}

const AZURE_ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");
