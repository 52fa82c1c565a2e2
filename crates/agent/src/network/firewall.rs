//! The firewall of a hub over its lives: what it was handed stays open here, so that the next one takes over at once.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use bastide_plan::AddressFilter;
use bastide_plan::hub_plan::{HubPlan, Leg, PLAN_VERSION, RuleName, Stamp};
use bastide_plan::name_change::NameChange;
use bastide_plan::worker::{FromWorker, Purpose, ToWorker};

use super::netlink::{endings_socket, log_socket};
use super::ruleset::{HTTP_PORT, TLS_PORT};
use super::socket;
use super::worker::Worker;

/// How a firewall is started, and where the server listens.
#[derive(Debug, Clone)]
pub struct FirewallCommand {
    /// The program and its first arguments; `--control-fd N` is added.
    pub command: Vec<String>,
    /// How many listeners of a kind share the work.
    pub listeners: usize,
    /// The path of the server's socket.
    pub server_socket: String,
}

/// The firewall of one hub.
#[derive(Debug)]
pub struct Firewall {
    how: FirewallCommand,
    user: u32,
    log: Option<OwnedFd>,
    endings: Option<OwnedFd>,
    listeners: Vec<(Purpose, OwnedFd)>,
    worker: Option<Worker>,
    /// Which of the hub's workers this is: what an earlier one said is not listened to.
    life: u64,
    filter: Option<AddressFilter>,
    /// What it was told last.
    sent: Option<(HubPlan, Vec<Leg>)>,
    applied: Option<Stamp>,
    inactive: BTreeMap<RuleName, String>,
    is_confined: bool,
    /// Deaths in a row, and when the next start may be.
    deaths: u32,
    not_before: Option<Instant>,
}

impl Firewall {
    /// For the network namespace of the calling thread; nothing is opened or started yet.
    pub fn new(how: FirewallCommand, user: u32) -> Self {
        Self {
            how,
            user,
            log: None,
            endings: None,
            listeners: Vec::new(),
            worker: None,
            life: 0,
            filter: None,
            sent: None,
            applied: None,
            inactive: BTreeMap::new(),
            is_confined: false,
            deaths: 0,
            not_before: None,
        }
    }

    /// Opens what the plan needs opened, sees to it that a firewall runs, and tells it what it does not know yet.
    pub fn keep(
        &mut self,
        plan: &HubPlan,
        attached: &[Leg],
        filter: &AddressFilter,
        deliver: impl Fn(u64, Option<FromWorker>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        self.listen(plan)?;
        if self.worker.is_none() {
            if self.not_before.is_some_and(|instant| instant > Instant::now()) {
                return Ok(());
            }
            self.start(filter, deliver)?;
        }
        if let Err(error) = self.tell_news(plan, attached, filter) {
            // It has just died, and is started again like any other that has.
            tracing::debug!("the firewall of {} does not listen: {error}", plan.name);
        }
        Ok(())
    }

    fn tell_news(&mut self, plan: &HubPlan, attached: &[Leg], filter: &AddressFilter) -> io::Result<()> {
        if self.filter.as_ref() != Some(filter) {
            self.say(&ToWorker::Filter { filter: filter.clone() })?;
            self.filter = Some(filter.clone());
        }
        // The addresses of what is declared may change under one stamp.
        let is_sent = |(sent, legs): &(HubPlan, Vec<Leg>)| {
            sent.stamp == plan.stamp
                && legs == attached
                && (&sent.endpoints, &sent.services) == (&plan.endpoints, &plan.services)
        };
        if self.sent.as_ref().is_some_and(is_sent) {
            return Ok(());
        }
        self.applied = None;
        let sent = self.sent.take().filter(|(_, legs)| legs == attached);
        match sent.and_then(|(sent, _)| NameChange::between(&sent, plan)) {
            Some(change) => self.say(&ToWorker::Change { change })?,
            None => self.say(&ToWorker::Plan { plan: Box::new(plan.clone()), attached: attached.to_vec() })?,
        }
        self.sent = Some((plan.clone(), attached.to_vec()));
        Ok(())
    }

    /// Has the plan told again, of whatever stamp: it is not what was told under it.
    pub fn forget(&mut self) {
        self.sent = None;
        self.applied = None;
    }

    /// Says something to the firewall that runs.
    pub fn say(&mut self, message: &ToWorker) -> io::Result<()> {
        self.hand(message, None)
    }

    /// Hands it a socket to the host's resolver.
    pub fn hand(&mut self, message: &ToWorker, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let worker = self.worker.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let outcome = worker.send(message, descriptor.map(|descriptor| descriptor.as_fd()));
        if outcome.is_err() {
            // It does not read, or has gone: either way the next one will.
            self.bury();
        }
        outcome
    }

    /// Takes note of what the firewall said about itself. Whether it is the one that runs.
    pub fn hear(&mut self, life: u64, message: &FromWorker) -> bool {
        if life != self.life || self.worker.is_none() {
            return false;
        }
        match message {
            FromWorker::Confined => self.is_confined = true,
            FromWorker::Applied { stamp, inactive } => {
                self.applied = Some(*stamp);
                self.inactive = inactive.iter().cloned().collect();
            }
            _ => {}
        }
        true
    }

    /// Takes note that a firewall has gone. Whether it is the one that ran.
    pub fn gone(&mut self, life: u64) -> bool {
        let is_this = life == self.life && self.worker.is_some();
        if is_this {
            self.bury();
        }
        is_this
    }

    /// Asks for the next records, when the firewall that has said the last ones still runs.
    pub fn collect(&mut self, life: u64) -> io::Result<()> {
        if life == self.life { self.say(&ToWorker::Collect { is_last: false }) } else { Ok(()) }
    }

    /// Whether it decides by the plan of a stamp.
    pub fn stands_by(&self, stamp: Stamp) -> bool {
        self.worker.is_some() && self.is_confined && self.applied == Some(stamp)
    }

    /// Rules that it cannot enforce, with the reason.
    pub fn inactive(&self) -> &BTreeMap<RuleName, String> {
        &self.inactive
    }

    /// Whether one runs.
    pub fn runs(&self) -> bool {
        self.worker.is_some()
    }

    /// When the next start may be tried; none when it need not wait.
    pub fn waits_until(&self) -> Option<Instant> {
        if self.worker.is_some() { None } else { self.not_before }
    }

    fn start(
        &mut self,
        filter: &AddressFilter,
        deliver: impl Fn(u64, Option<FromWorker>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        self.life += 1;
        self.is_confined = false;
        self.applied = None;
        self.sent = None;
        self.inactive.clear();
        let life = self.life;
        let worker = Worker::start(&self.how.command, self.user, move |message| deliver(life, message));
        let mut worker = worker.inspect_err(|_| self.delay())?;
        tracing::debug!("the firewall is process {}", worker.process());
        let outfitted = self.outfit(&mut worker, filter);
        self.worker = Some(worker);
        self.filter = Some(filter.clone());
        if let Err(error) = outfitted {
            tracing::warn!("a firewall ended as soon as it was started: {error}");
            self.bury();
        }
        Ok(())
    }

    fn outfit(&self, worker: &mut Worker, filter: &AddressFilter) -> io::Result<()> {
        let server_socket = self.how.server_socket.clone();
        worker.send(&ToWorker::Start { version: PLAN_VERSION, filter: filter.clone(), server_socket }, None)?;
        for (purpose, listener) in &self.listeners {
            worker.send(&ToWorker::Listener { purpose: *purpose }, Some(listener.as_fd()))?;
        }
        if let Some(log) = &self.log {
            worker.send(&ToWorker::KernelLog, Some(log.as_fd()))?;
        }
        if let Some(endings) = &self.endings {
            worker.send(&ToWorker::Endings, Some(endings.as_fd()))?;
        }
        worker.send(&ToWorker::Collect { is_last: false }, None)
    }

    fn bury(&mut self) {
        if let Some(worker) = self.worker.take() {
            if worker.age() > STEADY {
                self.deaths = 0;
            }
            self.delay();
        }
        self.applied = None;
        self.sent = None;
    }

    /// The first death is answered at once; those that follow soon wait longer and longer.
    fn delay(&mut self) {
        let wait = if self.deaths == 0 { Duration::ZERO } else { FIRST_WAIT * 2u32.pow(self.deaths.min(7) - 1) };
        self.deaths = self.deaths.saturating_add(1);
        self.not_before = Some(Instant::now() + wait.min(LONGEST_WAIT));
    }

    /// Opens the listeners that a plan needs and closes those that it does not.
    fn listen(&mut self, plan: &HubPlan) -> io::Result<()> {
        if self.log.is_none() {
            self.log = Some(log_socket()?);
        }
        if self.endings.is_none() {
            self.endings = Some(endings_socket()?);
        }
        let gateway = plan.gateway();
        let mut wanted = vec![(Purpose::DnsUdp, 1), (Purpose::DnsTcp, 1)];
        wanted.extend([Purpose::Tls, Purpose::Http].map(|purpose| (purpose, self.how.listeners)));
        let services = plan.services.iter().map(|service| (gateway, service.port));
        let endpoints = plan.endpoints.iter();
        let endpoints = endpoints.flat_map(|endpoint| endpoint.ports.iter().map(|port| (endpoint.address, *port)));
        let mut relays: Vec<_> = services.chain(endpoints).collect();
        relays.sort_unstable();
        relays.dedup();
        wanted.extend(relays.into_iter().map(|(address, port)| (Purpose::Relay { address, port }, 1)));
        self.listeners.retain(|(purpose, _)| wanted.iter().any(|(wanted, _)| wanted == purpose));
        for (purpose, count) in wanted {
            let open = self.listeners.iter().filter(|(open, _)| *open == purpose).count();
            for _ in open..count {
                let listener = match purpose {
                    Purpose::Tls => socket::transparent_listener(TLS_PORT),
                    Purpose::Http => socket::transparent_listener(HTTP_PORT),
                    Purpose::DnsUdp => socket::datagrams(gateway, DNS),
                    Purpose::DnsTcp => socket::listener(gateway, DNS),
                    Purpose::Relay { address, port } => socket::listener(address, port),
                }?;
                if self.worker.is_some() {
                    // One that cannot be told has died; the next one is handed everything.
                    let _ = self.hand(&ToWorker::Listener { purpose }, Some(&listener));
                }
                self.listeners.push((purpose, listener));
            }
        }
        Ok(())
    }
}

const DNS: u16 = 53;

/// One that ran for so long did not die of how it was started.
const STEADY: Duration = Duration::from_secs(10);

const FIRST_WAIT: Duration = Duration::from_millis(50);

const LONGEST_WAIT: Duration = Duration::from_secs(5);
