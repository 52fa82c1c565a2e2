//! One deployment on its way: its nodes in order, as many at once as may be, each noted as soon as it is done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_store::{Change, CommitError, Expectation, ResourceQuery, Write};
use bastide_template::{Mode, NodeKind, Output, Plan, Schedule};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::cancellation::Cancellation;
use super::lookups::Lookups;
use super::operation::{self, Operation, Target, Verb};
use super::record::{Record, State};
use crate::failure::Failure;
use crate::ledger::Entry;

/// A deployment being worked off.
pub(super) struct Course<'a> {
    pub(super) lookups: Lookups<'a>,
    pub(super) plan: Arc<Plan>,
    pub(super) deployment: Entry,
    pub(super) record: Record,
    pub(super) cancellation: Arc<Cancellation>,
    /// Nodes that are on their way, and since when.
    in_flight: Mutex<BTreeMap<usize, Timestamp>>,
    /// The deployment was deleted underneath.
    gone: AtomicBool,
}

/// How a deployment ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) state: State,
    pub(super) error: Option<ArmError>,
    pub(super) outputs: Option<Vec<Output>>,
    /// Ids of what stands, also of what deployments inside it made.
    pub(super) resources: Vec<String>,
}

/// How one node ended.
#[derive(Debug)]
pub(super) enum Step {
    /// It stands; with the front door's status and the ids that came with it.
    Done { status: u16, resources: Vec<String> },
    /// It was refused.
    Failed(ArmError),
    /// It was called off.
    Canceled,
}

/// What has been done so far.
#[derive(Default)]
struct Tally {
    errors: BTreeMap<usize, ArmError>,
    resources: BTreeMap<usize, Vec<String>>,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        lookups: Lookups<'a>,
        plan: Arc<Plan>,
        deployment: Entry,
        cancellation: Arc<Cancellation>,
    ) -> Result<Self, Failure> {
        let record = Record::read(&deployment.document)?;
        if record.cancel {
            cancellation.request();
        }
        let (in_flight, gone) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { lookups, plan, deployment, record, cancellation, in_flight, gone })
    }

    /// Runs it to its end. Boxed, because a node may be a deployment. An error leaves it unfinished.
    pub(super) fn execute(&self) -> BoxFuture<'_, Result<Ended, Failure>> {
        // Side by side, and neither inside the other: a node that holds a connection must go on while somebody looks.
        async move {
            tokio::select! {
                ended = self.drive() => ended,
                failure = self.watch() => Err(failure),
            }
        }
        .boxed()
    }

    async fn drive(&self) -> Result<Ended, Failure> {
        let mut schedule = self.plan.schedule();
        let mut tally = Tally::default();
        self.take_up(&mut schedule, &mut tally).await?;
        let mut waiting = VecDeque::new();
        let mut running = FuturesUnordered::new();
        loop {
            if !self.cancellation.is_requested() {
                waiting.extend(schedule.take_ready());
                while running.len() < WIDTH
                    && let Some(position) = waiting.pop_front()
                {
                    running.push(self.step(position));
                }
            }
            let Some(done) = running.next().await else { break };
            let (position, step) = done?;
            tally.count(position, step, &mut schedule);
        }
        self.end(&schedule, tally).await
    }

    /// One node, to its noted end.
    async fn step(&self, position: usize) -> Result<(usize, Step), Failure> {
        let Some(node) = self.plan.nodes().get(position) else {
            return Err(Failure::internal("a schedule without its node"));
        };
        if node.kind == NodeKind::Existing {
            return Ok((position, Step::Done { status: 200, resources: Vec::new() }));
        }
        let (request_id, started) = (Uuid::new_v4(), self.now());
        self.in_flight().insert(position, started);
        let step = self.deploy(node, request_id).await?;
        let (state, status_code, error) = match &step {
            Step::Done { status, .. } => (State::Succeeded, Some(*status), None),
            Step::Failed(error) => (State::Failed, Some(error.status), Some(error.clone())),
            Step::Canceled => (State::Canceled, None, None),
        };
        let operation = Operation {
            position,
            verb: Verb::Create,
            state,
            target: Target::of(node),
            status_code,
            error,
            started,
            changed: self.now(),
            request_id,
        };
        self.in_flight().remove(&position);
        self.note(&operation).await?;
        Ok((position, step))
    }

    /// Takes up what was noted before a crash: what is done is not done again.
    async fn take_up(&self, schedule: &mut Schedule, tally: &mut Tally) -> Result<(), Failure> {
        let mut by_key: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.operations().await? {
            let operation = Operation::read(&entry.document)?;
            if by_key.is_empty() {
                by_key = self.plan.nodes().iter().enumerate().map(|(at, node)| (node.key(), at)).collect();
            }
            let Some(position) = by_key.get(&operation.target.id.to_ascii_lowercase()).copied() else { continue };
            let is_deployment = self.plan.nodes().get(position).is_some_and(|node| node.kind == NodeKind::Deployment);
            match (operation.verb, operation.state) {
                // A deployment that is over is walked through again: others may want its outputs.
                (Verb::Create, State::Succeeded) if !is_deployment => {
                    let step = Step::Done { status: 200, resources: vec![operation.target.id] };
                    tally.count(position, step, schedule);
                }
                (Verb::Create, State::Failed) => {
                    let error = operation.error.unwrap_or_else(|| ArmError::internal(""));
                    tally.count(position, Step::Failed(error), schedule);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Now and then: does somebody want it to stop, is it still there, and what has been running for long?
    async fn watch(&self) -> Failure {
        loop {
            tokio::time::sleep(TICK).await;
            if let Err(failure) = self.look().await {
                return failure;
            }
        }
    }

    async fn look(&self) -> Result<(), Failure> {
        match self.lookups.front.ledger.store().resource(&self.deployment.row.key).await? {
            Some(row) if row.incarnation == self.deployment.row.incarnation => {
                if Record::read(&Entry::read(row)?.document)?.cancel {
                    self.cancellation.request();
                }
            }
            _ => self.is_gone(),
        }
        let slow = std::mem::take(&mut *self.in_flight());
        for (position, started) in slow {
            let Some(node) = self.plan.nodes().get(position) else { continue };
            let operation = Operation {
                position,
                verb: Verb::Create,
                state: State::Running,
                target: Target::of(node),
                status_code: None,
                error: None,
                started,
                changed: self.now(),
                request_id: Uuid::new_v4(),
            };
            // Its end may have been noted by now.
            let id = operation::id_of(&self.deployment.id, &operation.id(self.record.run))?;
            let expect = vec![self.deployment.stands(), Expectation::ResourceAbsent(id.key().to_owned())];
            self.write(expect, &operation).await?;
        }
        Ok(())
    }

    /// Writes an operation down, as long as its deployment stands.
    pub(super) async fn note(&self, operation: &Operation) -> Result<(), Failure> {
        if !self.write(vec![self.deployment.stands()], operation).await? {
            self.is_gone();
        }
        Ok(())
    }

    async fn write(&self, expect: Vec<Expectation>, operation: &Operation) -> Result<bool, Failure> {
        let changes = vec![operation.put(&self.deployment, self.record.run)?];
        let write = Write { at: self.now(), expect, changes, audit: Vec::new() };
        match self.lookups.front.ledger.store().commit(write).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict(_)) => Ok(false),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, BTreeMap<usize, Timestamp>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn end(&self, schedule: &Schedule, tally: Tally) -> Result<Ended, Failure> {
        let resources: Vec<String> = tally.resources.into_values().flatten().collect();
        let ended = |state, error, outputs, resources| Ok(Ended { state, error, outputs, resources });
        if self.gone.load(Ordering::Relaxed) {
            return ended(State::Failed, Some(deleted_underneath()), None, resources);
        }
        if !tally.errors.is_empty() {
            return ended(State::Failed, Some(failed(tally.errors.into_values())), None, resources);
        }
        if !schedule.all_succeeded() {
            let message = "The deployment was canceled; what it had deployed by then stays.";
            return ended(State::Canceled, Some(ArmError::new(409, "DeploymentCanceled", message)), None, resources);
        }
        let outputs = match self.lookups.evaluate(|live| self.plan.outputs(live)).await {
            Ok(outputs) => outputs,
            Err(Failure::Refused(cause)) => {
                let message = "Unable to evaluate the outputs of the template; see the details.";
                let error = ArmError::new(400, "DeploymentOutputEvaluationFailed", message).with_detail(cause);
                return ended(State::Failed, Some(error), None, resources);
            }
            Err(failure) => return Err(failure),
        };
        if self.plan.mode() == Mode::Complete {
            let errors = self.delete_undeclared(&resources).await?;
            if !errors.is_empty() {
                return ended(State::Failed, Some(failed(errors.into_iter())), Some(outputs), resources);
            }
        }
        ended(State::Succeeded, None, Some(outputs), resources)
    }

    /// Writes the end into the record, with what else is to be committed then. Does nothing when it is there already or
    /// the deployment is not.
    pub(super) async fn close(
        &self,
        ended: &Ended,
        expect: &[Expectation],
        changes: &[Change],
    ) -> Result<bool, Failure> {
        let store = self.lookups.front.ledger.store();
        loop {
            let Some(row) = store.resource(&self.deployment.row.key).await? else { return Ok(false) };
            let mut entry = Entry::read(row)?;
            let mut record = Record::read(&entry.document)?;
            if record.run != self.record.run || record.state != State::Running {
                return Ok(record.run == self.record.run);
            }
            record.state = ended.state;
            record.error.clone_from(&ended.error);
            record.ended = Some(self.now());
            record.outputs = ended.outputs.as_deref().filter(|outputs| !outputs.is_empty()).map(shown);
            record.output_resources.clone_from(&ended.resources);
            record.write(&mut entry.document)?;
            let mut write = Write::new(self.now());
            write.expect.push(entry.unchanged());
            write.expect.extend_from_slice(expect);
            write.changes.push(entry.put_again()?);
            write.changes.extend_from_slice(changes);
            write.audit.push(json!({
                "objectId": self.lookups.principal.object_id,
                "action": "Microsoft.Resources/deployments/write",
                "scope": entry.id.to_string(),
                "status": ended.state.as_str(),
                "operationId": self.record.operation,
                "correlationId": self.record.correlation_id,
            }));
            match store.commit(write).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict(Expectation::ResourceRevision { .. })) => {}
                Err(CommitError::Conflict(_)) => return Ok(false),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
    }

    pub(super) async fn operations(&self) -> Result<Vec<Entry>, Failure> {
        let mut query = ResourceQuery {
            prefix: Some(format!("{}operations/", self.deployment.id.prefix())),
            types: vec![operation::TYPE_NAME.to_owned()],
            limit: 500,
            ..ResourceQuery::default()
        };
        let mut operations = Vec::new();
        loop {
            let page = self.lookups.front.ledger.store().resources(&query).await?;
            query.after = page.last().filter(|_| page.len() == 500).map(|last| last.key.clone());
            for row in page {
                operations.push(Entry::read(row)?);
            }
            if query.after.is_none() {
                return Ok(operations);
            }
        }
    }

    pub(super) fn id(&self) -> &ResourceId {
        &self.deployment.id
    }

    pub(super) fn now(&self) -> Timestamp {
        self.lookups.front.clock.now()
    }

    fn is_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.cancellation.request();
    }
}

impl Tally {
    fn count(&mut self, position: usize, step: Step, schedule: &mut Schedule) {
        match step {
            Step::Done { resources, .. } => {
                self.resources.insert(position, resources);
                schedule.succeeded(position);
            }
            Step::Failed(error) => {
                self.errors.insert(position, error);
                schedule.failed(position);
            }
            Step::Canceled => schedule.failed(position),
        }
    }
}

/// Outputs as an answer shows them.
fn shown(outputs: &[Output]) -> Value {
    Value::Object(outputs.iter().map(|output| (output.name.clone(), output.shown())).collect::<Map<_, _>>())
}

/// What clients know a failed deployment by.
fn failed(errors: impl Iterator<Item = ArmError>) -> ArmError {
    let message = "At least one resource deployment operation failed. Please list deployment operations for details.";
    errors.fold(ArmError::new(409, "DeploymentFailed", message), ArmError::with_detail)
}

/// A deployment whose group went while it ran.
pub(super) fn deleted_underneath() -> ArmError {
    let message = "The deployment was deleted while it ran, with what it was in; what was left to do was not done.";
    ArmError::new(409, "DeploymentDeleted", message)
}

/// Nodes of one deployment that are on their way at once.
const WIDTH: usize = 8;

/// Time between looks at what may have changed underneath.
const TICK: Duration = Duration::from_millis(150);
