//! The thread that keeps one hub's network. It lives in the hub's namespace, so that whatever it opens or starts is there.
//!
//! Level-triggered: whatever wakes it, it compares what should be with what is and does the difference, walls first. It
//! can be killed between any two lines.

mod compiled;
mod conversation;
mod declared;
mod fault;
mod legs;
mod questions;
mod report;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use bastide_plan::hub_plan::{ComputeId, HubId, Leg, Stamp};
use bastide_plan::message::Answer;
use bastide_plan::worker::ToWorker;
use bastide_plan::{HubPlan, HubReport};
use uuid::Uuid;

use self::compiled::Compiled;
use self::declared::Declared;
use self::fault::Fault;
use self::legs::{Legs, remove_legs};
use self::questions::Questions;
use super::conntrack::{Flow, cut, forwarded};
use super::firewall::Firewall;
use super::flow_store::now;
use super::hub::{Command, Farewell, Reply, Surroundings};
use super::interface::{Layout, Setting};
use super::layout::HUB_SETTINGS;
use super::names::{UPLINK, hub_namespace, leg_namespace};
use super::namespace::{self, Namespace};
use super::ruleset::Ruleset;
use super::table::{Change, Table};
use super::watcher::{self, News};
use crate::state::HubRecord;

/// What the thread knows.
pub struct Keeper {
    record: HubRecord,
    surroundings: Surroundings,
    to_self: Sender<Command>,
    inside: Option<Inside>,
    firewall: Firewall,
    /// What follows from the record and the facts of the node.
    compiled: Option<Compiled>,
    /// Either has changed since.
    is_outdated: bool,
    declared: Declared,
    /// The record on disk is older.
    is_unsaved: bool,
    /// What may have changed since it was last read.
    stirred: Stirred,
    /// Nothing has happened for a while.
    is_quiet: bool,
    /// The plan that the kernel was last read back to hold.
    verified: Option<Stamp>,
    fault: Option<String>,
    retry_at: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    last_full_look: Instant,
    /// At what the kernel tells nobody about.
    last_look: Instant,
    repairs: u64,
    questions: Questions,
    published: Option<HubReport>,
}

/// What the thread has once it is inside the hub's namespace.
struct Inside {
    namespace: Namespace,
    table: Table,
    legs: Legs,
}

/// What may have changed since it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stirred {
    Nothing,
    /// What the hub's namespace tells by itself.
    Hub,
    /// The namespaces of the legs as well.
    Everything,
}

impl Inside {
    fn cut(&self, compiled: &Compiled, flows: &[Flow]) -> io::Result<()> {
        let leg = |address| compiled.plan.legs.iter().find(|leg| leg.address == address);
        cut(self.table.netfilter(), flows, |address| self.legs.of(leg(address)?.compute))
    }
}

impl Keeper {
    /// For a hub that this thread is going to keep.
    pub fn new(record: HubRecord, surroundings: Surroundings, to_self: Sender<Command>) -> Self {
        let firewall = Firewall::new(surroundings.firewall.clone(), record.slot.user());
        let declared = Declared::new(Arc::clone(&surroundings.host), to_self.clone());
        Self {
            record,
            surroundings,
            to_self,
            inside: None,
            firewall,
            compiled: None,
            is_outdated: true,
            declared,
            is_unsaved: true,
            stirred: Stirred::Everything,
            is_quiet: false,
            verified: None,
            fault: None,
            retry_at: None,
            failures: 0,
            last_full_look: Instant::now(),
            last_look: Instant::now(),
            repairs: 0,
            questions: Questions::default(),
            published: None,
        }
    }

    /// Keeps the hub until it is told to stop.
    pub fn run(mut self, receiver: &Receiver<Command>, ready: impl FnOnce()) {
        self.reconcile();
        ready();
        loop {
            self.answer();
            let mut commands = Vec::new();
            match receiver.recv_timeout(self.patience()) {
                // Whatever else has come meanwhile is done in the same go: of ten plans only the last is compiled.
                Ok(first) => commands.extend([first].into_iter().chain(receiver.try_iter())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for command in commands {
                if let Command::Stop(farewell) = command {
                    if farewell != Farewell::Keep {
                        self.cut_all();
                    }
                    self.hear_last_words(receiver);
                    return self.stop(farewell);
                }
                self.take(command);
            }
            self.reconcile();
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Apply(plan, reply) => self.accept(*plan, reply),
            Command::Report(reply) => {
                self.stirred = Stirred::Everything;
                self.questions.wait(self.record.plan.stamp, reply);
            }
            Command::Explain(question, reply) => {
                self.ask(|number| ToWorker::Explain { number, question }, reply);
            }
            Command::Flows(query, reply) => self.tell_flows(query, reply),
            // One that does not hear it has died, and the next one is asked at its start.
            Command::Kept(life) => drop(self.firewall.collect(life)),
            Command::Attach(name, reply) => self.attach(name, reply),
            Command::Detach(name, reply) => self.detach(&name, reply),
            Command::News(News::Interfaces) => self.stirred = self.stirred.max(Stirred::Hub),
            Command::HostChanged => {
                self.is_outdated = true;
                self.stirred = self.stirred.max(Stirred::Hub);
            }
            Command::Worker(life, Some(message)) => self.hear(life, message),
            Command::Worker(life, None) => {
                if self.firewall.gone(life) {
                    tracing::warn!("the firewall of {} has ended; its connections are cut", self.hub_name());
                }
            }
            Command::LookedUp(host, addresses) => {
                self.is_outdated |= self.declared.note(host, addresses);
            }
            Command::News(News::Quiet) => self.is_quiet = true,
            // To be awake is enough, for rules; who stops does not come here.
            Command::News(News::Rules) | Command::Stop(_) => {}
        }
    }

    fn accept(&mut self, plan: HubPlan, reply: Reply) {
        if plan.stamp < self.record.plan.stamp {
            let reason = "the plan is older than the one in force: plan again from the latest revision".to_owned();
            return reply(Answer::Refused { reason });
        }
        let stamp = plan.stamp;
        if self.record.plan != plan {
            self.record.plan = plan;
            self.change();
        }
        self.questions.wait(stamp, reply);
    }

    fn attach(&mut self, name: String, reply: Reply) {
        let compute = ComputeId(Uuid::new_v5(&self.record.plan.hub.0, name.as_bytes()));
        let leg = match self.record.attached.iter().find(|leg| leg.compute == compute) {
            Some(leg) => leg.clone(),
            None => {
                let Some(address) = self.record.free_address() else {
                    return reply(Answer::Refused {
                        reason: format!("{} has no address left", self.record.plan.subnet),
                    });
                };
                let leg = Leg { compute, name, project: None, address };
                self.record.attached.push(leg.clone());
                self.change();
                leg
            }
        };
        self.reconcile();
        reply(match &self.fault {
            Some(reason) => Answer::Refused { reason: reason.clone() },
            None => Answer::Attached { namespace: leg_namespace(leg.compute), leg },
        });
    }

    fn detach(&mut self, name: &str, reply: Reply) {
        let before = self.record.attached.len();
        self.record.attached.retain(|leg| leg.name != name);
        if self.record.attached.len() == before {
            return reply(Answer::Refused { reason: format!("no leg '{name}' has been attached") });
        }
        self.change();
        self.reconcile();
        reply(match &self.fault {
            Some(reason) => Answer::Refused { reason: reason.clone() },
            None => Answer::Detached,
        });
    }

    fn change(&mut self) {
        self.is_unsaved = true;
        self.is_outdated = true;
        // What failed before may not fail now.
        self.retry_at = None;
    }

    /// Ends what the kernel forwards before nothing passes any more, so that everybody learns it and it is on record.
    fn cut_all(&self) {
        let (Some(compiled), Some(inside)) = (&self.compiled, &self.inside) else { return };
        let flows = forwarded(inside.table.netfilter());
        if let Err(error) = flows.and_then(|flows| inside.cut(compiled, &flows)) {
            tracing::warn!("connections of {} cannot be cut: {error}", self.hub_name());
        }
    }

    /// Compares what should be with what is, and does the difference.
    fn reconcile(&mut self) {
        if self.record.plan.end(now()) {
            tracing::info!("something in the plan of {} was for a time, which is over", self.hub_name());
            self.firewall.forget();
            self.change();
        }
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        if self.last_full_look.elapsed() > FULL_LOOK {
            self.stirred = Stirred::Everything;
        }
        // Nobody tells when a setting is changed, or a name taken away.
        if self.last_look.elapsed() >= QUIET {
            self.last_look = Instant::now();
            let is_as_left = |inside: &Inside| inside.legs.are_named() && HUB_SETTINGS.iter().all(Setting::holds);
            if !self.inside.as_ref().is_none_or(is_as_left) {
                self.stirred = Stirred::Everything;
            }
        }
        match self.try_reconcile() {
            Ok(()) => {
                self.fault = None;
                self.retry_at = None;
                self.failures = 0;
                self.verified = Some(self.record.plan.stamp);
            }
            Err(fault) => {
                tracing::error!("{}: {fault}", self.hub_name());
                if let (Fault::Wall(_), Some(inside)) = (&fault, &mut self.inside) {
                    // What the kernel holds is not what it should: better nothing at all.
                    match inside.table.hold(&Ruleset::shut()) {
                        Ok(change) => self.repairs += u64::from(change == Change::Repaired),
                        Err(error) => tracing::error!("{}: not even a shut rule set: {error}", self.record.plan.name),
                    }
                }
                self.fault = Some(fault.to_string());
                self.verified = None;
                self.stirred = Stirred::Everything;
                let wait = (FIRST_RETRY * 2u32.pow(self.failures.min(8))).min(LAST_RETRY);
                self.retry_at = Some(Instant::now() + wait);
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    fn try_reconcile(&mut self) -> Result<(), Fault> {
        if self.is_unsaved {
            self.surroundings.state.keep(&self.record)?;
            self.is_unsaved = false;
        }
        self.enter()?;
        if self.is_outdated {
            let filter = self.surroundings.host.filter();
            let compiled = Compiled::new(&self.record, filter, &mut self.declared);
            let is_laid = self.compiled.as_ref().is_some_and(|before| before.is_laid_like(&compiled));
            if !is_laid {
                self.stirred = Stirred::Everything;
            }
            self.compiled = Some(compiled);
            self.is_outdated = false;
        }
        let (Some(compiled), Some(inside)) = (&self.compiled, &mut self.inside) else { return Ok(()) };
        let hub = compiled.plan.hub;
        // The wall, before there is anything to pass it.
        let change = inside.table.hold(&compiled.ruleset)?;
        if change == Change::Repaired {
            self.repairs += 1;
            tracing::warn!(
                "the rule set of {} had been changed by somebody else; it is as it was",
                self.record.plan.name
            );
        }
        if std::mem::take(&mut self.is_quiet) && change == Change::None {
            inside.table.memorise()?;
        }
        if self.stirred != Stirred::Nothing {
            let is_repair = self.verified == Some(compiled.plan.stamp) && change == Change::None;
            self.surroundings.host.expect(hub, compiled.uplink.clone())?;
            if inside.legs.lay(compiled, self.stirred)? && is_repair {
                self.repairs += 1;
                tracing::warn!("interfaces of {} had been changed by somebody else", self.record.plan.name);
            }
            self.surroundings.host.connect(hub)?;
            if self.stirred == Stirred::Everything {
                self.last_full_look = Instant::now();
            }
            self.stirred = Stirred::Nothing;
        }
        let to_self = self.to_self.clone();
        let deliver = move |life, message| to_self.send(Command::Worker(life, message)).is_ok();
        let plan = compiled.told.as_ref().unwrap_or(&self.record.plan);
        let kept = self.firewall.keep(plan, &self.record.attached, &compiled.facts.filter, deliver);
        kept.map_err(|error| Fault::System("the firewall cannot be started", error))?;
        if change != Change::None {
            let uncut = |error| Fault::System("connections cannot be cut", error);
            let refused = compiled.admission.refused(inside.table.netfilter()).map_err(uncut)?;
            inside.cut(compiled, &refused).map_err(uncut)?;
            if !refused.is_empty() {
                let (count, hub) = (refused.len(), &self.record.plan.name);
                tracing::info!("{count} connections of {hub} were cut: no rule admits them any more");
            }
        }
        Ok(())
    }

    /// Moves this thread into the hub's namespace, once, and sees to it that the namespace has its name.
    fn enter(&mut self) -> Result<(), Fault> {
        if let Some(inside) = &self.inside {
            if !inside.namespace.is_named() {
                self.repairs += 1;
                inside.namespace.rename()?;
            }
            return Ok(());
        }
        let name = hub_namespace(self.record.plan.hub);
        namespace::ensure_all(std::slice::from_ref(&name))?;
        let namespace = Namespace::open(&name)?;
        namespace.enter()?;
        // Firewalls of an agent that was killed.
        namespace.clear();
        let system = |what| move |error| Fault::System(what, error);
        let table = Table::open().map_err(system("netfilter cannot be asked"))?;
        let to_self = self.to_self.clone();
        watcher::watch(move |news| to_self.send(Command::News(news)).is_ok()).map_err(system("cannot watch"))?;
        self.inside = Some(Inside { namespace, table, legs: Legs::default() });
        Ok(())
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        // What has failed is looked at when it is tried again.
        let look = if self.retry_at.is_none() { Some(self.last_look + QUIET) } else { None };
        let next =
            [self.questions.until(), self.retry_at, self.firewall.waits_until(), look].into_iter().flatten().min();
        next.map_or(QUIET, |next| next.saturating_duration_since(now).min(QUIET))
    }

    fn stop(mut self, farewell: Farewell) {
        let hub = self.record.plan.hub;
        self.surroundings.walls.set(hub, None);
        let Surroundings { host, state, flows, .. } = self.surroundings.clone();
        // Its firewall first: it is the one that could still carry something.
        drop(std::mem::replace(
            &mut self.firewall,
            Firewall::new(self.surroundings.firewall.clone(), self.record.slot.user()),
        ));
        if farewell == Farewell::Keep {
            return;
        }
        if let Err(error) = self.clear(hub) {
            tracing::error!("{} is not wholly gone from the kernel: {error}", self.hub_name());
            return;
        }
        // The namespace ends with its last descriptor.
        drop(self);
        if let Err(error) = host.release(hub) {
            tracing::error!("the host's side of hub {hub} is not wholly gone: {error}");
        } else if farewell == Farewell::Forget {
            state.forget(hub);
            flows.forget(hub);
        }
    }

    fn clear(&mut self, hub: HubId) -> Result<(), Fault> {
        if let Some(inside) = &mut self.inside {
            if let Err(error) = inside.table.hold(&Ruleset::shut()) {
                tracing::warn!("{}: {error}", self.record.plan.name);
            }
            remove_legs(&Layout::default())?;
            let rest = Layout::read().map_err(|error| Fault::System("the network cannot be read", error))?;
            if rest.interfaces.contains_key(UPLINK) {
                super::interface::batch(&[format!("link delete {UPLINK}")])?;
            }
            inside.namespace.clear();
        }
        Ok(namespace::remove(&hub_namespace(hub))?)
    }

    fn hub_name(&self) -> String {
        format!("hub '{}'", self.record.plan.name)
    }
}

/// How soon what failed is tried again: what was in the way for a moment shuts no hub for longer than that.
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// And how soon when it fails again and again.
const LAST_RETRY: Duration = Duration::from_secs(1);

/// How often the generation of the rule sets is asked for although nobody said that it has changed.
const QUIET: Duration = Duration::from_secs(1);

/// How often everything is read although nobody said that it has changed.
const FULL_LOOK: Duration = Duration::from_mins(1);
