//! What happens to computes without anybody asking: schedules start and stop them, and those that nobody uses are stopped,
//! made smaller or frozen.
//!
//! Everything is found out anew at each look, from what is stored and what is seen. So nothing is missed while no server
//! runs, and two servers that look at once come to the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bastide_arm::resource_type::Document;
use bastide_hub::compute::idle::{self, Due, Patience};
use bastide_hub::compute::{self, Desired, Kind, status};
use bastide_plan::hub_plan::ComputeId;
use bastide_store::{CommitError, ResourceQuery, Write};
use http::{Method, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::context::Context;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;

/// Looks after computes.
pub(crate) struct Caretaker {
    front: Arc<Front>,
    /// Since when it looks; what was before it does not know.
    since: Timestamp,
    /// The revision that `watched` is as of.
    revision: i64,
    watched: BTreeMap<String, Watched>,
}

/// A compute that something may be due for.
struct Watched {
    entry: Entry,
    /// Processor time of each of its machines, and when that was read.
    cpu: BTreeMap<ComputeId, (Timestamp, u64)>,
    /// When a processor was last busy for it.
    busy: Option<Timestamp>,
    /// When its schedule was last refused a start.
    refused: Option<Timestamp>,
}

impl Caretaker {
    pub(crate) fn new(front: Arc<Front>) -> Self {
        let since = front.clock.now();
        Self { front, since, revision: i64::MIN, watched: BTreeMap::new() }
    }

    /// Looks for ever; not at all where nothing runs.
    pub(crate) async fn run(mut self) {
        if !self.front.networks.is_planned() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(ROUND).await;
            if let Err(error) = self.look().await {
                tracing::error!(%error, "computes could not be looked after; trying again");
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let revision = *self.front.ledger.store().revisions().borrow();
        if revision != self.revision {
            self.read().await?;
            self.revision = revision;
        }
        let now = self.front.clock.now();
        for watched in self.watched.values_mut() {
            let used = watched.used(&self.front, self.since, now).await;
            let due = idle::due(&watched.entry.document, used, now);
            if watched.refused.is_some_and(|refused| now.duration_since(refused) < REST) {
                continue;
            }
            let is_done = self.front.do_due(&watched.entry, due, now).await?;
            watched.refused = (!is_done).then_some(now);
        }
        Ok(())
    }

    /// Reads what there is to look after, and keeps what was learnt about those that are still there.
    async fn read(&mut self) -> Result<(), Failure> {
        let query = ResourceQuery { types: vec![compute::TYPE_NAME.to_owned()], ..ResourceQuery::default() };
        let mut watched = BTreeMap::new();
        for row in self.front.ledger.store().every_resource(query).await? {
            let entry = Entry::read(row)?;
            if !Patience::of(&entry.document).is_any() && !idle::has_schedules(&entry.document) {
                continue;
            }
            let stood = self.watched.remove(&entry.row.key);
            let stood = stood.filter(|stood| stood.entry.row.incarnation == entry.row.incarnation);
            let key = entry.row.key.clone();
            let new = match stood {
                Some(stood) => Watched { entry, ..stood },
                None => Watched { entry, cpu: BTreeMap::new(), busy: None, refused: None },
            };
            watched.insert(key, new);
        }
        self.watched = watched;
        let networks = &self.front.networks;
        self.front.activity.keep(|compute| networks.compute(compute).is_some());
        Ok(())
    }
}

impl Watched {
    /// When it was last used; none while it does not run, is in use, or nobody can tell.
    async fn used(&mut self, front: &Front, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let document = &self.entry.document;
        if !Patience::of(document).is_any() {
            return None;
        }
        let machines = machines(self.entry.row.incarnation, document);
        if machines.is_empty() || machines.iter().any(|machine| front.activity.is_open(*machine)) {
            return None;
        }
        let running = running_since(front, &self.entry, &machines)?;
        for machine in &machines {
            let last = self.cpu.get(machine).copied();
            if last.is_some_and(|(at, _)| now.duration_since(at) < SAMPLE) {
                continue;
            }
            let usage = front.networks.usage(*machine).await.ok()?;
            self.cpu.insert(*machine, (now, usage.cpu));
            if last.is_some_and(|(at, cpu)| is_busy(usage.cpu.saturating_sub(cpu), now.duration_since(at))) {
                self.busy = Some(now);
            }
        }
        let touched = machines.iter().filter_map(|machine| front.activity.last(*machine)).max();
        [Some(since), Some(running), touched, self.busy].into_iter().flatten().max()
    }
}

impl Front {
    /// Does what is due; whether nothing was refused.
    async fn do_due(&self, entry: &Entry, due: Due, now: Timestamp) -> Result<bool, Failure> {
        let (compute, is_idle) = (ComputeId(entry.row.incarnation), due == Due::Freeze);
        // The node itself wakes what somebody connects to; this is so that it stays awake.
        if self.networks.freeze(compute, is_idle) {
            tracing::info!(compute = %entry.id, frozen = is_idle, "nobody used it, or somebody does again");
            self.networks.touch(&entry.id);
        }
        match due {
            Due::Nothing | Due::Freeze => Ok(true),
            // It may need a quota again that it gave back, so it asks like everybody, in the name of who made it.
            Due::Change(desired) if desired.run && Desired::of(&entry.document).is_some_and(|stood| !stood.run) => {
                self.start_by_schedule(entry, now).await
            }
            Due::Change(desired) => self.change_by_itself(entry, &desired, now).await.map(|()| true),
        }
    }

    async fn change_by_itself(&self, entry: &Entry, desired: &Desired, now: Timestamp) -> Result<(), Failure> {
        let mut changed = entry.clone();
        desired.store(&mut changed.document.properties);
        let audit = json!({
            "objectId": Uuid::nil(),
            "action": format!("{}/{}", compute::TYPE_NAME, if desired.run { "scale/action" } else { "stop/action" }),
            "scope": entry.id.to_string(),
            "status": "Succeeded",
            "trigger": desired.trigger,
        });
        let write =
            Write { at: now, expect: vec![entry.unchanged()], changes: vec![changed.put_again()?], audit: vec![audit] };
        match self.ledger.store().commit(write).await {
            Ok(_) => {
                tracing::info!(compute = %entry.id, operation = desired.operation.as_str(), trigger = ?desired.trigger, "by itself");
                self.networks.touch(&entry.id);
                Ok(())
            }
            // Somebody has asked something of it in this moment; the next look sees what.
            Err(CommitError::Conflict(_)) => Ok(()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    async fn start_by_schedule(&self, entry: &Entry, now: Timestamp) -> Result<bool, Failure> {
        let Some(creator) = compute::creator(&entry.document) else { return Ok(false) };
        let directory = self.identity.directory();
        let Some(principal) = directory.standing_principal(creator.object_id, now).await? else {
            tracing::warn!(compute = %entry.id, "not started by its schedule: who made it is gone");
            return Ok(false);
        };
        let uri: Uri = format!("{}/start?api-version=2024-10-01", entry.id)
            .parse()
            .map_err(|error| Failure::internal(format!("the address of {}: {error}", entry.id)))?;
        let context = Context {
            request_id: Uuid::new_v4(),
            correlation_id: Uuid::new_v4(),
            client_request_id: None,
            now,
            client_ip: None,
            origin: self.origins.public().clone(),
            method: Method::POST,
            uri,
        };
        match self.ask(&principal, &context, Some(json!({"operationTrigger": "Schedule"}))).await {
            Ok(_) => Ok(true),
            Err(Failure::Refused(error)) => {
                tracing::warn!(compute = %entry.id, reason = error.message, "not started by its schedule");
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }
}

pub(super) fn machines(incarnation: Uuid, document: &Document) -> Vec<ComputeId> {
    match (Kind::of(document), Desired::of(document)) {
        (Some(Kind::Instance), Some(_)) => vec![ComputeId(incarnation)],
        (Some(Kind::Cluster), Some(desired)) => {
            (0..desired.nodes).map(|number| compute::node_id(incarnation, number)).collect()
        }
        _ => Vec::new(),
    }
}

/// Since when all of it runs.
fn running_since(front: &Front, entry: &Entry, machines: &[ComputeId]) -> Option<Timestamp> {
    let (kind, desired) = (Kind::of(&entry.document)?, Desired::of(&entry.document)?);
    let ids: Vec<Uuid> = machines.iter().map(|machine| machine.0).collect();
    let seen = front.networks.seen(&ids);
    status::of(kind, entry.row.incarnation, &desired, Some(&seen)).running_since()
}

/// Whether so many microseconds of a processor within a time are more than a machine takes that only stands there.
fn is_busy(cpu: u64, within: SignedDuration) -> bool {
    let within = u64::try_from(within.as_micros()).unwrap_or(1).max(1);
    cpu.saturating_mul(100) / within >= BUSY_PERCENT
}

/// Between two looks.
const ROUND: Duration = Duration::from_secs(1);

/// After a schedule was refused a start.
const REST: SignedDuration = SignedDuration::from_secs(60);

/// Between two looks at the processor time of a machine.
const SAMPLE: SignedDuration = SignedDuration::from_secs(60);

/// Percent of one core from which on a machine does something: an idle `JupyterLab` takes less than one.
const BUSY_PERCENT: u64 = 5;
