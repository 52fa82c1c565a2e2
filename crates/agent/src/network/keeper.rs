//! The thread that keeps one hub's network. It lives in the hub's namespace, so that whatever it opens or starts is there.
//!
//! Level-triggered: whatever wakes it, it compares what should be with what is and does the difference, walls first. It
//! can be killed between any two lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bastide_plan::flow::{FlowQuery, Flows};
use bastide_plan::hub_plan::{ComputeId, HubId, Leg, Stamp};
use bastide_plan::message::Answer;
use bastide_plan::report::{RuleState, WallState};
use bastide_plan::worker::{FromWorker, ToWorker};
use bastide_plan::{AddressFilter, HubPlan, HubReport};
use thiserror::Error;
use uuid::Uuid;

use super::conntrack::Admission;
use super::external::{External, externals, look_up, refusal};
use super::facts::NodeFacts;
use super::firewall::Firewall;
use super::host::{HostError, Uplink};
use super::hub::{Command, Farewell, Reply, Surroundings};
use super::interface::{Layout, settle};
use super::layout;
use super::names::{INNER, LEG, LEG_NAMESPACE, UPLINK, hub_namespace, leg_interface, leg_namespace};
use super::namespace::{self, Namespace, NamespaceError};
use super::ranges::Ranges;
use super::ruleset::Ruleset;
use super::table::{Change, Table, TableError};
use super::watcher::{self, News};
use crate::compute::walls::Wall;
use crate::state::{HubRecord, StateError};
use crate::tool::ToolError;

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
    looked_up: BTreeMap<String, BTreeSet<Ipv4Addr>>,
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
    last_full_look: Instant,
    repairs: u64,
    waiting: Vec<Waiting>,
    questions: HashMap<u64, (Instant, Reply)>,
    last_question: u64,
    published: Option<HubReport>,
}

/// What the thread has once it is inside the hub's namespace.
struct Inside {
    namespace: Namespace,
    table: Table,
}

struct Compiled {
    plan: HubPlan,
    facts: NodeFacts,
    ruleset: Ruleset,
    layout: Layout,
    /// Declared targets that cannot be let through to, by rule.
    refusals: BTreeMap<String, String>,
    admission: Admission,
    uplink: Uplink,
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

struct Waiting {
    stamp: Stamp,
    until: Instant,
    reply: Reply,
}

/// Why a hub's network does not match its plan.
#[derive(Debug, Error)]
enum Fault {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error("the rule set cannot be put in force: {0}")]
    Wall(#[from] TableError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("the host's side: {0}")]
    Host(#[from] HostError),
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

impl Keeper {
    /// For a hub that this thread is going to keep.
    pub fn new(record: HubRecord, surroundings: Surroundings, to_self: Sender<Command>) -> Self {
        let firewall = Firewall::new(surroundings.firewall.clone(), record.slot.user());
        Self {
            record,
            surroundings,
            to_self,
            inside: None,
            firewall,
            compiled: None,
            is_outdated: true,
            looked_up: BTreeMap::new(),
            is_unsaved: true,
            stirred: Stirred::Everything,
            is_quiet: false,
            verified: None,
            fault: None,
            retry_at: None,
            last_full_look: Instant::now(),
            repairs: 0,
            waiting: Vec::new(),
            questions: HashMap::new(),
            last_question: 0,
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
                let (stamp, until) = (self.record.plan.stamp, Instant::now() + SETTLING);
                self.stirred = Stirred::Everything;
                self.waiting.push(Waiting { stamp, until, reply });
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
                if self.looked_up.insert(host, addresses.clone()) != Some(addresses) {
                    self.is_outdated = true;
                }
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
        self.waiting.push(Waiting { stamp, until: Instant::now() + SETTLING, reply });
    }

    fn attach(&mut self, name: String, reply: Reply) {
        let compute = ComputeId(Uuid::new_v5(&self.record.plan.hub.0, name.as_bytes()));
        let leg = match self.record.attached.iter().find(|leg| leg.compute == compute) {
            Some(leg) => leg.clone(),
            None => {
                let Some(address) = self.free_address() else {
                    return reply(Answer::Refused {
                        reason: format!("{} has no address left", self.record.plan.subnet),
                    });
                };
                let leg = Leg { compute, name, address };
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

    /// From the end of the subnet, where planners come last.
    fn free_address(&self) -> Option<Ipv4Addr> {
        let plan = self.record.merged();
        let gateway = plan.gateway();
        let last = plan.subnet.broadcast().to_bits().checked_sub(1)?;
        let candidates = (plan.subnet.network().to_bits() + 1..=last).rev().map(Ipv4Addr::from_bits);
        candidates.into_iter().find(|address| {
            *address != gateway
                && plan.legs.iter().all(|leg| leg.address != *address)
                && plan.endpoints.iter().all(|endpoint| endpoint.address != *address)
        })
    }

    fn ask(&mut self, question: impl FnOnce(u64) -> ToWorker, reply: Reply) {
        self.last_question += 1;
        match self.firewall.say(&question(self.last_question)) {
            Ok(()) => {
                self.questions.insert(self.last_question, (Instant::now() + SETTLING, reply));
            }
            Err(error) => {
                let reason = format!("the firewall of {} cannot be asked: {error}. Try again", self.hub_name());
                reply(Answer::Refused { reason });
            }
        }
    }

    /// What the firewall has not handed over yet, behind what is on disk.
    fn tell_flows(&mut self, query: FlowQuery, reply: Reply) {
        let (flows, hub) = (Arc::clone(&self.surroundings.flows), self.record.plan.hub);
        if query.after.is_some() || query.before.is_some() {
            return flows.answer(hub, query, Flows::default(), reply);
        }
        let question = query.clone();
        let and_kept = Box::new(move |answer| match answer {
            Answer::Flows { flows: fresh } => flows.answer(hub, query, fresh, reply),
            // Without a firewall there is still what the ones before it have seen.
            _ => flows.answer(hub, query, Flows::default(), reply),
        });
        self.ask(|number| ToWorker::Flows { number, query: question }, and_kept);
    }

    /// Keeps what the firewall knows before it is ended.
    fn hear_last_words(&mut self, receiver: &Receiver<Command>) {
        if self.firewall.say(&ToWorker::Collect { is_last: true }).is_err() {
            return;
        }
        let until = Instant::now() + LAST_WORDS;
        while let Ok(command) = receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            let Command::Worker(life, message) = command else { continue };
            let Some(message) = message else { return };
            let is_last = matches!(message, FromWorker::Collected { is_last: true, .. });
            self.hear(life, message);
            if is_last {
                return;
            }
        }
    }

    fn hear(&mut self, life: u64, message: FromWorker) {
        if !self.firewall.hear(life, &message) {
            return;
        }
        match message {
            FromWorker::Confined | FromWorker::Applied { .. } => {}
            FromWorker::NeedUpstream { transport } => {
                let user = self.record.slot.user();
                let outcome = self.surroundings.host.upstream(transport, user).map_err(|error| error.to_string());
                let outcome = outcome.and_then(|socket| {
                    let message = ToWorker::Upstream { transport };
                    self.firewall.hand(&message, Some(&socket)).map_err(|error| error.to_string())
                });
                if let Err(error) = outcome {
                    tracing::warn!("{} has no socket to the host's resolver: {error}", self.hub_name());
                }
            }
            FromWorker::Explained { number, explanation } => {
                self.reply_to(number, Answer::Explained { explanation });
            }
            FromWorker::Flows { number, flows } => self.reply_to(number, Answer::Flows { flows }),
            FromWorker::Collected { records, dropped, is_last: _ } => {
                let to_self = self.to_self.clone();
                let done = move || drop(to_self.send(Command::Kept(life)));
                self.surroundings.flows.keep(self.record.plan.hub, records, dropped, done);
            }
        }
    }

    fn reply_to(&mut self, number: u64, answer: Answer) {
        if let Some((_, reply)) = self.questions.remove(&number) {
            reply(answer);
        }
    }

    /// Compares what should be with what is, and does the difference.
    fn reconcile(&mut self) {
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        if self.last_full_look.elapsed() > FULL_LOOK {
            self.stirred = Stirred::Everything;
        }
        match self.try_reconcile() {
            Ok(()) => {
                self.fault = None;
                self.retry_at = None;
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
                self.retry_at = Some(Instant::now() + RETRY);
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
            let compiled = self.compile();
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
            if lay(compiled, self.stirred)? && is_repair {
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
        let kept = self.firewall.keep(&self.record.plan, &self.record.attached, &compiled.facts.filter, deliver);
        kept.map_err(|error| Fault::System("the firewall cannot be started", error))?;
        if change != Change::None {
            let cut = compiled.admission.enforce(inside.table.netfilter());
            let cut = cut.map_err(|error| Fault::System("connections cannot be cut", error))?;
            if cut > 0 {
                tracing::info!("{cut} connections of {} were cut: no rule admits them any more", self.record.plan.name);
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
        self.inside = Some(Inside { namespace, table });
        Ok(())
    }

    fn compile(&mut self) -> Compiled {
        let plan = self.record.merged();
        let filter = self.surroundings.host.filter();
        let (externals, admitted, refusals) = self.declared(&plan, &filter);
        let facts = NodeFacts { filter, slot: self.record.slot, externals };
        Compiled {
            ruleset: Ruleset::new(&plan, &facts),
            layout: layout::hub(&plan, self.record.slot, std::process::id()),
            admission: Admission::new(&plan, &facts),
            uplink: Uplink { slot: self.record.slot, admitted },
            plan,
            facts,
            refusals,
        }
    }

    /// The addresses of declared targets, those of them that are this host's, and why others are refused.
    fn declared(&mut self, plan: &HubPlan, filter: &AddressFilter) -> (Places, Places, BTreeMap<String, String>) {
        let (mut places, mut admitted, mut refusals) = (Places::new(), Places::new(), BTreeMap::new());
        for external in externals(plan) {
            for address in self.addresses(external) {
                if let Some(reason) = refusal(external, address, filter) {
                    refusals.extend(external.rule.map(|rule| (rule.to_string(), reason)));
                    continue;
                }
                places.insert((address, external.port));
                if filter.own.iter().any(|own| own.contains(&address)) {
                    admitted.insert((address, external.port));
                }
            }
        }
        (places, admitted, refusals)
    }

    /// What is known of a declared target; a name is looked up beside, and comes back as a command.
    fn addresses(&mut self, external: External<'_>) -> BTreeSet<Ipv4Addr> {
        if external.host.parse::<Ipv4Addr>().is_ok() {
            return look_up(external.host);
        }
        if let Some(known) = self.looked_up.get(external.host) {
            return known.clone();
        }
        let (name, to_self, host) = (external.host.to_owned(), self.to_self.clone(), self.surroundings.host.clone());
        self.looked_up.insert(name.clone(), BTreeSet::new());
        let body = move || {
            if let Err(error) = host.enter() {
                return tracing::error!("{name} cannot be looked up: {error}");
            }
            while to_self.send(Command::LookedUp(name.clone(), look_up(&name))).is_ok() {
                std::thread::sleep(LOOK_UP_AGAIN);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("look-up".to_owned()).spawn(body) {
            tracing::error!("{} cannot be looked up: {error}", external.host);
        }
        BTreeSet::new()
    }

    /// Answers what can be answered, and says it to everybody when the state has changed.
    fn answer(&mut self) {
        let now = Instant::now();
        let report = self.report();
        self.surroundings.walls.set(report.hub, self.wall(&report));
        let is_settled = matches!(report.wall, WallState::Standing) || self.fault.is_some();
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| (is_settled && waiting.stamp <= self.record.plan.stamp) || waiting.until <= now);
        self.waiting = waiting;
        for waiting in ready {
            let _: &Waiting = &waiting;
            (waiting.reply)(Answer::Changed { report: Box::new(report.clone()) });
        }
        let late: Vec<_> =
            self.questions.iter().filter(|(_, (until, _))| *until <= now).map(|(number, _)| *number).collect();
        for number in late {
            let reason = format!("the firewall of {} does not answer. Try again", self.hub_name());
            self.reply_to(number, Answer::Refused { reason });
        }
        let is_same =
            self.published.as_ref().is_some_and(|published| HubReport { at: report.at, ..published.clone() } == report);
        if !is_same {
            (self.surroundings.publish)(Answer::Changed { report: Box::new(report.clone()) });
            self.published = Some(report);
        }
    }

    /// The wall that instances may run behind.
    fn wall(&self, report: &HubReport) -> Option<Wall> {
        let is_verified = report.wall == WallState::Standing && self.verified == Some(self.record.plan.stamp);
        let legs = || self.record.plan.legs.iter().chain(&self.record.attached).map(|leg| leg.compute);
        is_verified.then(|| Wall { resolver: self.record.plan.gateway(), legs: legs().collect() })
    }

    fn report(&self) -> HubReport {
        let plan = &self.record.plan;
        let wall = match &self.fault {
            Some(fault) => WallState::Shut { reason: fault.clone() },
            None if !self.firewall.runs() => {
                WallState::Shut { reason: "the firewall is being started again".to_owned() }
            }
            None if !self.firewall.stands_by(plan.stamp) => {
                WallState::Shut { reason: "the firewall has not yet taken the plan".to_owned() }
            }
            None => WallState::Standing,
        };
        let rules = match &wall {
            WallState::Standing => self.rules(),
            WallState::Shut { reason } => {
                rule_names(plan).map(|rule| (rule.clone(), RuleState::Inactive { reason: reason.clone() })).collect()
            }
            WallState::Simulated => BTreeMap::new(),
        };
        let repairs = self.repairs + self.surroundings.host.repairs();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        HubReport {
            hub: plan.hub,
            stamp: self.verified,
            wall,
            rules,
            repairs,
            at: i64::try_from(at).unwrap_or(i64::MAX),
        }
    }

    fn rules(&self) -> BTreeMap<bastide_plan::RuleName, RuleState> {
        let plan = &self.record.plan;
        let mut rules: BTreeMap<_, _> = rule_names(plan).map(|rule| (rule.clone(), RuleState::Active)).collect();
        let mut refuse = |rule: &bastide_plan::RuleName, reason: String| {
            rules.insert(rule.clone(), RuleState::Inactive { reason });
        };
        if let Some(compiled) = &self.compiled {
            let unreachable = Ranges::unreachable(&compiled.facts.filter, plan.subnet);
            for rule in &plan.prefixes {
                if rule.prefixes.iter().all(|prefix| unreachable.contains_all(*prefix)) {
                    let reason = "none of its addresses is on the internet: use a private endpoint for what is not";
                    refuse(&rule.rule, reason.to_owned());
                }
            }
            for endpoint in &plan.endpoints {
                if let Some(reason) = compiled.refusals.get(&endpoint.rule.0) {
                    refuse(&endpoint.rule, reason.clone());
                }
            }
        }
        for (rule, reason) in self.firewall.inactive() {
            refuse(rule, reason.clone());
        }
        rules
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let waits = self.waiting.iter().map(|waiting| waiting.until);
        let questions = self.questions.values().map(|(until, _)| *until);
        let next = waits.chain(questions).chain(self.retry_at).chain(self.firewall.waits_until()).min();
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

impl Compiled {
    /// Whether interfaces are the same.
    fn is_laid_like(&self, other: &Self) -> bool {
        self.layout == other.layout && self.uplink == other.uplink
    }
}

impl HubRecord {
    /// The plan with the legs of tests, as far as it leaves room for them.
    fn merged(&self) -> HubPlan {
        let mut plan = self.plan.clone();
        for leg in &self.attached {
            let is_free = leg.address != plan.gateway()
                && plan.subnet.contains(&leg.address)
                && plan.legs.iter().all(|other| other.address != leg.address && other.compute != leg.compute)
                && plan.endpoints.iter().all(|endpoint| endpoint.address != leg.address);
            if is_free {
                plan.legs.push(leg.clone());
            }
        }
        plan.legs.sort_by_key(|leg| leg.compute);
        plan
    }
}

/// Makes interfaces, routes and settings match, inside the hub and in each leg. Whether anything had to be done.
fn lay(compiled: &Compiled, stirred: Stirred) -> Result<bool, Fault> {
    let system = |error| Fault::System("the kernel's settings", error);
    let mut has_changed = settle(&layout::HUB_SETTINGS).map_err(system)?;
    if stirred == Stirred::Hub && compiled.layout.changes(&Layout::read().map_err(system)?).is_empty() {
        return Ok(has_changed);
    }
    remove_legs(&compiled.layout)?;
    let names = compiled.plan.legs.iter().map(|leg| leg_namespace(leg.compute));
    let namespaces = namespace::ensure_all(&names.collect::<Vec<_>>())?;
    for namespace in &namespaces {
        has_changed |= namespace.within(|| settle(&layout::LEG_SETTINGS))?;
    }
    has_changed |= compiled.layout.establish()?;
    for (leg, namespace) in compiled.plan.legs.iter().zip(&namespaces) {
        let wanted = layout::leg(leg, compiled.plan.gateway());
        match namespace.within(|| Ok(wanted.establish()))? {
            Ok(changed) => has_changed |= changed,
            Err(error) => {
                give_up_lost(leg, namespace)?;
                return Err(error.into());
            }
        }
    }
    Ok(has_changed)
}

/// Takes away the hub's end of a leg whose other end is in a namespace that has lost its name, so that the next attempt
/// makes both anew.
fn give_up_lost(leg: &Leg, namespace: &Namespace) -> Result<(), Fault> {
    let found = namespace.within(|| Layout::read().map_err(std::io::Error::other))?;
    if !found.interfaces.contains_key(INNER) {
        super::interface::batch(&[format!("link delete {}", leg_interface(leg.compute))])?;
    }
    Ok(())
}

/// Takes away the legs that are not wanted, each with its namespace; the name of the one tells that of the other.
fn remove_legs(wanted: &Layout) -> Result<(), Fault> {
    let found = Layout::read().map_err(|error| Fault::System("the network cannot be read", error))?;
    for name in found.interfaces.keys().filter(|name| !wanted.interfaces.contains_key(*name)) {
        let Some(id) = name.strip_prefix(LEG) else { continue };
        namespace::remove(&format!("{LEG_NAMESPACE}{id}"))?;
        // The namespace may live on with what runs in it; the leg does not.
        if let Err(error) = super::interface::batch(&[format!("link delete {name}")]) {
            tracing::debug!("{name} went with its namespace: {error}");
        }
    }
    Ok(())
}

fn rule_names(plan: &HubPlan) -> impl Iterator<Item = &bastide_plan::RuleName> {
    let names = plan.names.iter().map(|rule| &rule.rule);
    names.chain(plan.prefixes.iter().map(|rule| &rule.rule)).chain(plan.endpoints.iter().map(|rule| &rule.rule))
}

type Places = BTreeSet<(Ipv4Addr, u16)>;

/// How long an answer waits for the firewall to have taken a plan.
const SETTLING: Duration = Duration::from_secs(5);

/// How long a firewall that is to end may take to say what it knows.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often the generation of the rule sets is asked for although nobody said that it has changed.
const QUIET: Duration = Duration::from_secs(1);

/// How often everything is read although nobody said that it has changed.
const FULL_LOOK: Duration = Duration::from_mins(1);

/// How often the names of declared targets are looked up.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(30);
