//! The thread that keeps one instance.
//!
//! Level-triggered: whatever wakes it, it compares what should be with what is and takes the next step. It can be killed
//! between any two lines; what takes minutes is done beside it, and comes back as a command.

mod report;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bastide_plan::compute_plan::{Image, Instance, Run, Script};
use bastide_plan::compute_report::{ComputeReport, ComputeState, ScriptLog, Step};
use bastide_plan::hub_plan::ComputeId;

use super::deed::{Deed, Facts, Passing, next};
use super::image::Unpacked;
use super::record::{Base, Failure, Folder, Record};
use super::runtime::{Observed, Order, RuntimeError};
use super::script;
use super::surroundings::Surroundings;
use crate::network::hub::Farewell;
use crate::network::names::leg_namespace;
use crate::network::namespace;

/// What the thread knows.
pub struct Keeper {
    order: Option<Box<Instance>>,
    record: Record,
    folder: Folder,
    surroundings: Arc<Surroundings>,
    to_self: Sender<Command>,
    observed: Observed,
    passing: Passing,
    /// What is waited for, in words.
    what: String,
    /// Since when nothing but the wall is missing.
    awaits_wall: Option<Instant>,
    /// Tells what was done beside for this attempt from what was done for one that was given up.
    attempt: u64,
    retry_at: Option<Instant>,
    tries: u32,
    crashes: Vec<Instant>,
    /// What was last complained about.
    complaint: Option<String>,
    /// Why the runtime has ended it.
    unconfined: Option<String>,
    published: Arc<Mutex<Option<ComputeReport>>>,
}

/// What the thread is told.
pub enum Command {
    /// What should be. None: nothing of it.
    Order(Option<Box<Instance>>),
    /// Somebody wants to come in.
    Enter(Sender<Result<(), String>>),
    /// How far the image is.
    Progress(u64, String),
    /// The image.
    Resolved(u64, Image, Result<Unpacked, String>),
    /// A script has ended.
    Scripted(u64, ScriptLog, Result<(), String>),
    /// End.
    Stop(Farewell),
}

/// How the thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There is nothing of the instance any more.
    Gone,
    /// The agent stops.
    Stopped,
}

impl Keeper {
    /// For an instance that this thread is going to keep. The last report is always in `published`.
    pub fn new(
        record: Record,
        folder: Folder,
        surroundings: Arc<Surroundings>,
        to_self: Sender<Command>,
        published: Arc<Mutex<Option<ComputeReport>>>,
    ) -> Self {
        Self {
            order: None,
            record,
            folder,
            surroundings,
            to_self,
            observed: Observed::Absent,
            passing: Passing::default(),
            what: String::new(),
            awaits_wall: None,
            attempt: 0,
            retry_at: None,
            tries: 0,
            crashes: Vec::new(),
            complaint: None,
            unconfined: None,
            published,
        }
    }

    /// Keeps the instance until there is nothing of it, or the agent stops.
    pub fn run(mut self, receiver: &Receiver<Command>) -> End {
        loop {
            match receiver.recv_timeout(self.patience()) {
                Ok(first) => {
                    for command in [first].into_iter().chain(receiver.try_iter()) {
                        if let Command::Stop(farewell) = command {
                            self.stop(farewell);
                            return End::Stopped;
                        }
                        self.take(command);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return End::Stopped,
            }
            if self.reconcile() == Some(End::Gone) {
                return End::Gone;
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Order(order) => self.accept(order),
            Command::Enter(reply) => {
                let entered = self.enter();
                // Whoever asked may have gone.
                let _gone = reply.send(entered);
            }
            Command::Progress(attempt, what) if attempt == self.attempt => self.what = what,
            Command::Resolved(attempt, image, resolved) if attempt == self.attempt => {
                self.passing.is_resolving = false;
                match resolved {
                    Ok(unpacked) => self.record.base = Some(Base::new(image, unpacked)),
                    Err(reason) => self.fail(Step::Create, reason),
                }
            }
            Command::Scripted(attempt, script, outcome) if attempt == self.attempt => self.scripted(script, outcome),
            // Of an attempt that was given up; who stops does not come here.
            Command::Progress(..) | Command::Resolved(..) | Command::Scripted(..) | Command::Stop(_) => {}
        }
    }

    fn accept(&mut self, order: Option<Box<Instance>>) {
        if self.order == order {
            return;
        }
        let run = |order: &Option<Box<Instance>>| order.as_ref().map(|order| order.run);
        if run(&order) != Some(Run::Frozen) || run(&self.order) == Some(Run::Running) {
            self.passing.is_thawed = false;
        }
        if let Some(order) = &order
            && self.record.failure_of(order).is_none()
            && self.record.failure.take().is_some()
        {
            self.keep();
        }
        self.order = order;
        // What failed before may not fail now.
        (self.retry_at, self.tries) = (None, 0);
        self.crashes.clear();
    }

    fn enter(&mut self) -> Result<(), String> {
        match self.state() {
            Some(ComputeState::Running) => Ok(()),
            Some(ComputeState::Frozen) => {
                self.passing.is_thawed = true;
                self.reconcile();
                match self.observed {
                    Observed::Running => Ok(()),
                    _ => Err("the compute does not wake. Try again".to_owned()),
                }
            }
            Some(ComputeState::Preparing { what }) => Err(format!("the compute is not ready yet: {what}")),
            Some(ComputeState::SettingUp) => {
                Err("a script is still setting the compute up. Wait until it is running".to_owned())
            }
            Some(ComputeState::Failed { reason, .. }) => Err(format!("the compute does not run: {reason}")),
            Some(ComputeState::Simulated { .. }) => {
                Err("this Bastide runs with --network simulated: its computes only pretend to run".to_owned())
            }
            Some(ComputeState::Stopped | ComputeState::Gone) | None => Err(RuntimeError::NotRunning.to_string()),
        }
    }

    fn scripted(&mut self, script: ScriptLog, outcome: Result<(), String>) {
        self.passing.script = None;
        match (script, outcome) {
            (ScriptLog::Creation, Ok(())) => {
                self.record.set_up = true;
                self.keep();
            }
            (ScriptLog::Startup, Ok(())) => self.passing.has_started_up = true,
            (ScriptLog::Creation, Err(reason)) => self.fail(Step::SetUp, format!("the creation script: {reason}")),
            (ScriptLog::Startup, Err(reason)) => self.fail(Step::SetUp, format!("the startup script: {reason}")),
        }
    }

    /// Compares what should be with what is, and does the difference, as far as it can be done now.
    fn reconcile(&mut self) -> Option<End> {
        for _ in 0..MOST_DEEDS {
            self.look();
            let (hub, compute) = (self.record.hub, self.record.compute);
            let is_walled = self.surroundings.walls.behind(hub, compute).is_some();
            let (order, record) = (self.order.as_deref(), &self.record);
            let facts = Facts { order, record, observed: self.observed, is_walled, passing: &self.passing };
            let deed = next(&facts);
            let awaits_wall = next(&Facts { is_walled: true, ..facts }) == Deed::Begin && deed == Deed::Nothing;
            self.awaits_wall = awaits_wall.then(|| self.awaits_wall.unwrap_or_else(Instant::now));
            if awaits_wall {
                "waiting for the wall of its hub".clone_into(&mut self.what);
            }
            if deed == Deed::Nothing {
                self.publish();
                return None;
            }
            if let Err(error) = self.perform(deed) {
                self.stumble(deed, &error);
            } else if deed == Deed::Delete {
                return Some(End::Gone);
            }
            self.publish();
        }
        None
    }

    fn look(&mut self) {
        self.passing.is_waiting = self.retry_at.is_some_and(|at| at > Instant::now());
        self.passing.has_image = self.order.as_ref().is_some_and(|order| self.record.base_of(order).is_some());
        match self.surroundings.runtime.observe(self.record.compute) {
            Ok(observed) => self.observed = observed,
            Err(RuntimeError::NotConfined(reason)) => {
                self.unconfined = Some(RuntimeError::NotConfined(reason).to_string());
                self.observed = Observed::Stopped;
            }
            Err(error) => self.complain(error.to_string()),
        }
    }

    fn perform(&mut self, deed: Deed) -> Result<(), RuntimeError> {
        let (runtime, compute) = (Arc::clone(&self.surroundings.runtime), self.record.compute);
        match deed {
            Deed::Nothing => {}
            Deed::Delete => return self.delete(),
            Deed::Stop => {
                self.give_up();
                runtime.stop(compute, self.surroundings.pace.grace)?;
            }
            Deed::Resolve => self.resolve(),
            Deed::Begin => return self.begin(),
            Deed::SetUp(script) => self.set_up(script),
            Deed::Ready => {
                self.record.ready = self.record.begun;
                self.record.set_up = true;
                self.keep();
                self.passing.was_ready = true;
                self.tries = 0;
                tracing::info!("{} runs", self.name());
            }
            Deed::Freeze => runtime.freeze(compute, true)?,
            Deed::Thaw => runtime.freeze(compute, false)?,
            Deed::Crashed => self.crashed(),
        }
        Ok(())
    }

    fn resolve(&mut self) {
        let Some(order) = &self.order else { return };
        self.passing.is_resolving = true;
        "getting its image".clone_into(&mut self.what);
        let (image, attempt) = (order.image.clone(), self.attempt);
        let (surroundings, to_self) = (Arc::clone(&self.surroundings), self.to_self.clone());
        self.beside("image", move || {
            let last = Mutex::new(None::<Instant>);
            let resolved = (surroundings.images)(&image, &|what| {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.is_none_or(|last| last.elapsed() > PROGRESS) {
                    *last = Some(Instant::now());
                    let _gone = to_self.send(Command::Progress(attempt, what));
                }
            });
            let _gone = to_self.send(Command::Resolved(attempt, image, resolved));
        });
    }

    fn begin(&mut self) -> Result<(), RuntimeError> {
        let surroundings = Arc::clone(&self.surroundings);
        let compute = self.record.compute;
        let Some(order) = self.order.clone() else { return Ok(()) };
        let Some(base) = self.record.base_of(&order).cloned() else { return Ok(()) };
        let Some(resolver) = surroundings.walls.behind(self.record.hub, compute) else { return Ok(()) };
        let order = Order {
            namespace: namespace::path(&leg_namespace(compute)),
            resolver,
            first_user: self.record.users.first(),
            root: base.root,
            image_environment: base.environment,
            shares: order.shares.iter().map(|share| surroundings.shares.join(share.id.to_string())).collect(),
            instance: *order,
        };
        // On disk before anything is made: nothing is there that the next start would not know of.
        (self.record.begun, self.record.ready) = (Some(order.instance.start), None);
        // What was set up was on the disk.
        self.record.set_up &= self.observed != Observed::Absent;
        if !self.keep() {
            return Err(RuntimeError::Failed { what: "its record".to_owned(), reason: "cannot be kept".to_owned() });
        }
        self.passing.has_begun = true;
        "starting".clone_into(&mut self.what);
        self.publish();
        let _permit = surroundings.starts.take();
        surroundings.runtime.create(&order)?;
        surroundings.runtime.start(compute)
    }

    fn set_up(&mut self, log: ScriptLog) {
        if !self.surroundings.runtime.abilities().confines {
            // Where nothing runs no script runs either.
            return self.scripted(log, Ok(()));
        }
        let script: Option<Script> = self.order.as_ref().and_then(|order| match log {
            ScriptLog::Creation => order.creation_script.clone(),
            ScriptLog::Startup => order.startup_script.clone(),
        });
        let Some(script) = script else { return };
        self.passing.script = Some(log);
        let (attempt, path) = (self.attempt, self.folder.log(log));
        let (surroundings, to_self) = (Arc::clone(&self.surroundings), self.to_self.clone());
        let compute = self.record.compute;
        self.beside("script", move || {
            let outcome = script::run(surroundings.runtime.as_ref(), compute, &script, &path);
            let _gone = to_self.send(Command::Scripted(attempt, log, outcome));
        });
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        self.give_up();
        // What was never begun has left nothing, whatever the node can do.
        if self.record.begun.is_some() || self.observed != Observed::Absent {
            self.surroundings.runtime.delete(self.record.compute)?;
        }
        self.folder.remove().map_err(|error| RuntimeError::Failed {
            what: "its record cannot be removed".to_owned(),
            reason: error.to_string(),
        })
    }

    fn crashed(&mut self) {
        self.passing.was_ready = false;
        let now = Instant::now();
        self.crashes.retain(|at| now.duration_since(*at) < CRASHES_WITHIN);
        self.crashes.push(now);
        let reason = self.unconfined.take().unwrap_or_else(|| "its first process has ended".to_owned());
        tracing::warn!("{} has ended: {reason}", self.name());
        if self.crashes.len() >= MOST_CRASHES {
            return self.fail(Step::Run, format!("it has ended {MOST_CRASHES} times by itself, lastly: {reason}"));
        }
        self.what = format!("starting again: {reason}");
        self.retry_at = Some(
            now + self.surroundings.pace.retry
                * 2_u32.saturating_pow(self.crashes.len().try_into().unwrap_or(u32::MAX)),
        );
    }

    /// After a deed that was not done.
    fn stumble(&mut self, deed: Deed, error: &RuntimeError) {
        self.tries += 1;
        let is_final =
            self.tries >= MOST_TRIES || matches!(error, RuntimeError::Unable(_) | RuntimeError::NotConfined(_));
        tracing::warn!("{}: {deed:?} did not succeed: {error}", self.name());
        if deed == Deed::Begin && is_final {
            self.look();
            let step = if self.observed == Observed::Absent { Step::Create } else { Step::Start };
            return self.fail(step, error.to_string());
        }
        self.what = format!("trying again: {error}");
        self.retry_at = Some(Instant::now() + (self.surroundings.pace.retry * self.tries).min(LONGEST_RETRY));
    }

    fn fail(&mut self, step: Step, reason: String) {
        let Some(order) = self.order.clone() else { return };
        tracing::warn!("{} failed: {reason}", self.name());
        self.record.failure = Some(Failure { step, reason, order });
        self.keep();
    }

    /// Whatever goes on beside is for nothing.
    fn give_up(&mut self) {
        self.attempt += 1;
        let is_thawed = self.passing.is_thawed;
        self.passing = Passing { is_thawed, ..Passing::default() };
    }

    fn stop(&mut self, farewell: Farewell) {
        self.attempt += 1;
        if farewell == Farewell::Keep {
            return;
        }
        self.look();
        if self.is_up()
            && let Err(error) = self.surroundings.runtime.stop(self.record.compute, self.surroundings.pace.grace)
        {
            tracing::error!("{} does not stop: {error}", self.name());
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.observed, Observed::Running | Observed::Frozen)
    }

    fn keep(&mut self) -> bool {
        let kept = self.folder.keep(&self.record);
        if let Err(error) = &kept {
            self.complain(format!("its record cannot be kept: {error}"));
        }
        kept.is_ok()
    }

    /// Says it once.
    fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            tracing::warn!("{}: {complaint}", self.name());
            self.complaint = Some(complaint);
        }
    }

    fn beside(&mut self, name: &str, body: impl FnOnce() + Send + 'static) {
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
            self.give_up();
            self.complain(format!("no thread: {error}"));
            self.retry_at = Some(Instant::now() + LONGEST_RETRY);
        }
    }

    fn name(&self) -> String {
        match &self.order {
            Some(order) => format!("compute '{}'", order.name),
            None => format!("compute {}", self.record.compute),
        }
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Duration {
        let longest = match self.awaits_wall {
            Some(since) => (since.elapsed() / 10).max(WALL_WATCH).min(self.surroundings.pace.watch),
            None => self.surroundings.pace.watch,
        };
        self.retry_at.map_or(longest, |at| at.saturating_duration_since(Instant::now()).min(longest).max(LEAST_WATCH))
    }
}

/// Which instance a thread keeps, for its name.
pub fn thread_name(compute: ComputeId) -> String {
    format!("compute-{compute}")
}

/// More steps than lie between any two states.
const MOST_DEEDS: usize = 16;

/// How often it is looked whether the wall stands, at first.
const WALL_WATCH: Duration = Duration::from_millis(20);

const LEAST_WATCH: Duration = Duration::from_millis(1);

/// How often the progress of an image is told.
const PROGRESS: Duration = Duration::from_millis(250);

/// How late what failed is tried again, at last.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Before a start that fails is a failure.
const MOST_TRIES: u32 = 3;

/// Before an instance that ends by itself is left alone.
const MOST_CRASHES: usize = 5;

/// In this time.
const CRASHES_WITHIN: Duration = Duration::from_mins(10);
