//! A run, worked off: from its row in the table of operations to the end of its deployment.

use std::sync::Arc;
use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::Secret;
use bastide_identity::Principal;
use bastide_store::{Change, CommitError, Expectation, Operation, SealedSecret, Write};
use http::{Method, Uri};
use serde_json::Value;
use uuid::Uuid;

use super::course::{Course, Ended, deleted_underneath};
use super::create::{SCRIPT, Script, TEMPLATE};
use super::lookups::Lookups;
use super::record::{Record, State};
use super::redaction::{Redaction, exported};
use crate::context::Context;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::origin::Origin;

/// Kind of the operations that run deployments.
pub(crate) const RUN_DEPLOYMENT: &str = "RunDeployment";

impl Front {
    /// Runs a deployment to its end, or on from where a crash left it. An error leaves it unfinished.
    pub(crate) async fn work_deployment(&self, operation: &Operation) -> Result<(), Failure> {
        tokio::select! {
            ended = self.run_deployment(operation) => ended,
            failure = self.stay_attended(operation) => Err(failure),
        }
    }

    async fn run_deployment(&self, operation: &Operation) -> Result<(), Failure> {
        let Some((deployment, script)) = self.unfinished(operation).await? else {
            return self.finish_without_deployment(operation).await;
        };
        let context = self.context_of(&deployment, &script)?;
        let redaction = Arc::new(Redaction::of(&script.template, &script.parameters));
        let Some(deployer) = self.deployer(operation).await? else {
            let message =
                "The principal that asked for the deployment may no longer sign in; what was left to do was not done.";
            return self.fail(operation, deployment, &script, ArmError::new(403, "AuthorizationFailed", message)).await;
        };
        let lookups = Lookups::new(self, &deployer, &context, redaction);
        let planned = self.plan(&lookups, &script.setting, script.template.clone(), &script.parameters).await;
        let plan = match planned {
            Ok(plan) => Arc::new(plan),
            Err(Failure::Refused(error)) => return self.fail(operation, deployment, &script, error).await,
            Err(failure) => return Err(failure),
        };
        let course = Course::new(lookups, plan, deployment, Arc::default())?;
        let ended = course.execute().await?;
        tracing::info!(deployment = %course.id(), operation = %operation.id, state = ended.state.as_str(), "deployed");
        self.finish(&course, operation, &script, &ended).await
    }

    /// The deployment of a run with what the run needs; `None` when it is not there any more.
    async fn unfinished(&self, operation: &Operation) -> Result<Option<(Entry, Script)>, Failure> {
        let Some(row) = self.ledger.store().resource(&operation.scope).await? else { return Ok(None) };
        let deployment = Entry::read(row)?;
        let record = Record::read(&deployment.document)?;
        if record.run != operation.id || record.state != State::Running {
            return Ok(None);
        }
        let secrets = self.secrets(deployment.row.incarnation).await?;
        let script = secrets.get(SCRIPT).ok_or_else(|| Failure::internal("a run without its script"))?;
        // Revealed to be run; it goes no further than the bodies it makes.
        let script = serde_json::from_str(script.reveal()).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Some((deployment, script)))
    }

    async fn deployer(&self, operation: &Operation) -> Result<Option<Principal>, Failure> {
        let object_id: Uuid = operation
            .principal
            .parse()
            .map_err(|_| Failure::internal(format!("operation {} has no principal", operation.id)))?;
        Ok(self.identity.directory().standing_principal(object_id, operation.created).await?)
    }

    /// Touches the run's row for as long as it takes, so that no other replica takes it for abandoned.
    async fn stay_attended(&self, operation: &Operation) -> Failure {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let mut write = Write::new(self.clock.now());
            write.expect.push(still_running(operation));
            write.changes.push(Change::PutOperation(Operation { changed: self.clock.now(), ..operation.clone() }));
            if let Err(CommitError::Store(error)) = self.ledger.store().commit(write).await {
                return error.into();
            }
        }
    }

    fn context_of(&self, deployment: &Entry, script: &Script) -> Result<Context, Failure> {
        let record = Record::read(&deployment.document)?;
        let origin = Origin::parse(&script.setting.origin).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Context {
            request_id: Uuid::new_v4(),
            correlation_id: record.correlation_id,
            client_request_id: None,
            now: self.clock.now(),
            client_ip: None,
            origin,
            method: Method::PUT,
            uri: Uri::default(),
        })
    }

    /// A run that ended before it began.
    async fn fail(
        &self,
        operation: &Operation,
        deployment: Entry,
        script: &Script,
        error: ArmError,
    ) -> Result<(), Failure> {
        let ended = Ended { state: State::Failed, error: Some(error), outputs: None, resources: Vec::new() };
        let changes = self.finishing(operation, script, &ended, deployment.row.incarnation)?;
        let mut entry = deployment;
        let mut record = Record::read(&entry.document)?;
        record.state = ended.state;
        record.error = ended.error;
        record.ended = Some(self.clock.now());
        record.write(&mut entry.document)?;
        let mut write = Write::new(self.clock.now());
        write.expect = vec![entry.unchanged(), still_running(operation)];
        write.changes = changes;
        write.changes.push(entry.put_again()?);
        match self.ledger.store().commit(write).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(Failure::Raced),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    async fn finish(
        &self,
        course: &Course<'_>,
        operation: &Operation,
        script: &Script,
        ended: &Ended,
    ) -> Result<(), Failure> {
        let changes = self.finishing(operation, script, ended, course.deployment.row.incarnation)?;
        if course.close(ended, &[still_running(operation)], &changes).await? {
            return Ok(());
        }
        self.finish_without_deployment(operation).await
    }

    /// What is committed with the end: the row says so, and what the run needed goes.
    fn finishing(
        &self,
        operation: &Operation,
        script: &Script,
        ended: &Ended,
        incarnation: Uuid,
    ) -> Result<Vec<Change>, Failure> {
        let sealed = self.seal(incarnation, TEMPLATE, &Secret::new(exported(&script.template).to_string()))?;
        Ok(vec![
            Change::DeleteSecrets(incarnation),
            Change::PutSecret(SealedSecret { incarnation, field: TEMPLATE.to_owned(), sealed }),
            self.ended(operation, ended.state, ended.error.as_ref()),
        ])
    }

    async fn finish_without_deployment(&self, operation: &Operation) -> Result<(), Failure> {
        let mut write = Write::new(self.clock.now());
        write.expect.push(still_running(operation));
        write.changes.push(self.ended(operation, State::Failed, Some(&deleted_underneath())));
        match self.ledger.store().commit(write).await {
            Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    fn ended(&self, operation: &Operation, state: State, error: Option<&ArmError>) -> Change {
        let mut ended = operation.clone();
        ended.changed = self.clock.now();
        state.as_str().clone_into(&mut ended.status);
        if let (Some(body), Some(error)) = (ended.body.as_object_mut(), error) {
            body.insert("error".into(), error.to_error_value());
        }
        Change::PutOperation(ended)
    }
}

fn still_running(operation: &Operation) -> Expectation {
    Expectation::OperationStatus { id: operation.id, status: State::Running.as_str().to_owned() }
}

/// The deployment that an operation runs.
pub(super) fn deployment_of(operation: &Operation) -> Option<ResourceId> {
    ResourceId::parse(operation.body.get("deployment").and_then(Value::as_str)?).ok()
}

/// Well below the time after which an operation counts as unattended.
const HEARTBEAT: Duration = Duration::from_secs(10);
