//! The process: what the agent says becomes what the threads do.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::{io, net};

use bastide_plan::AddressFilter;
use bastide_plan::explanation::{Explanation, Question};
use bastide_plan::flow::{FlowQuery, Flows};
use bastide_plan::hub_plan::PLAN_VERSION;
use bastide_plan::worker::{FromWorker, Purpose, ToWorker};
use tokio::net::{TcpListener, UdpSocket, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::admission::Limits;
use crate::clock::SystemClock;
use crate::confine::{ConfineError, confine};
use crate::context::Context;
use crate::control::{ControlError, Listener, Said, tell, tell_now};
use crate::explain::explain;
use crate::flow_log::FlowLog;
use crate::host::{HostSide, Wanted};
use crate::kernel_log::KernelLog;
use crate::resolver::Resolver;
use crate::thread::ThreadHandle;
use crate::view::{CurrentView, View};

/// Why a firewall ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The agent.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It cannot be confined, and reads nothing then.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// Something else.
    #[error("the firewall cannot run: {0}")]
    Io(#[from] io::Error),
}

/// Serves one hub until the agent goes away. `control` is the socket to the agent; the process must have no other thread.
pub fn run(control: OwnedFd) -> Result<(), RunError> {
    // Half a firewall is none: the agent starts another at once, and until then nothing passes.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("the firewall has a defect and ends: {panic}");
        std::process::abort();
    }));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let control = StdUnixStream::from(control);
    let mut listener = Listener::default();
    let (filter, server_socket) = match listener.wait(&control)? {
        None => return Ok(()),
        Some(Said { message: ToWorker::Start { version: PLAN_VERSION, filter, server_socket }, .. }) => {
            (filter, server_socket)
        }
        Some(Said { message: ToWorker::Start { version, .. }, .. }) => {
            return Err(ControlError::Version(version).into());
        }
        Some(_) => return Err(ControlError::NotStarted.into()),
    };
    confine()?;
    tell_now(&control, &FromWorker::Confined)?;
    serve(control, listener, filter, server_socket.into(), threads, Arc::default())
}

/// Serves one hub with so many threads, unconfined: what [`run`] does after it has confined itself. What happens is kept in
/// `log`.
pub fn serve(
    control: StdUnixStream,
    listener: Listener,
    filter: AddressFilter,
    server_socket: std::path::PathBuf,
    threads: usize,
    log: Arc<FlowLog>,
) -> Result<(), RunError> {
    control.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let (need, needed) = mpsc::unbounded_channel();
        let view = Arc::<CurrentView>::default();
        let clock = Arc::new(SystemClock);
        let resolver = Resolver::new(Arc::clone(&view), Arc::clone(&log), Arc::<SystemClock>::clone(&clock), need);
        let kernel = KernelLog::new(
            Arc::clone(&view),
            Arc::clone(&resolver),
            Arc::clone(&log),
            Arc::<SystemClock>::clone(&clock),
        );
        let (host, wanted) = HostSide::new();
        let context = Context { view, resolver, log, clock, host, server_socket };
        let limits = Limits::default().share(threads);
        let threads: Result<Vec<_>, _> =
            (0..threads).map(|number| ThreadHandle::start(number, context.clone(), limits)).collect();
        let kernel = Arc::new(kernel);
        let worker = Worker {
            context,
            kernel,
            threads: threads?,
            listeners: 0,
            filter,
            is_collecting: false,
            waiting: HashMap::new(),
            asked: 0,
        };
        worker.listen(UnixStream::from_std(control)?, listener, needed, wanted).await
    })
}

struct Worker {
    context: Context,
    kernel: Arc<KernelLog>,
    threads: Vec<ThreadHandle>,
    /// How many listeners have come, so that each thread gets its share of each kind.
    listeners: usize,
    filter: AddressFilter,
    /// The agent waits for records.
    is_collecting: bool,
    /// Who waits for a connection to a service of the host.
    waiting: HashMap<u64, oneshot::Sender<Result<OwnedFd, String>>>,
    asked: u64,
}

impl Worker {
    async fn listen(
        mut self,
        control: UnixStream,
        mut listener: Listener,
        mut needed: mpsc::UnboundedReceiver<bastide_plan::worker::Transport>,
        mut wanted: mpsc::UnboundedReceiver<Wanted>,
    ) -> Result<(), RunError> {
        let mut tick = tokio::time::interval(PAUSE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let log = Arc::clone(&self.context.log);
        loop {
            let mut was_plan = false;
            let answer = tokio::select! {
                said = listener.next(&control) => match said? {
                    Some(said) => {
                        was_plan = matches!(said.message, ToWorker::Plan { .. });
                        self.hear(said).await?
                    }
                    None => return Ok(()),
                },
                Some(transport) = needed.recv() => Some(FromWorker::NeedUpstream { transport }),
                Some(wanted) = wanted.recv() => Some(self.need_host(wanted)),
                _ = tick.tick(), if self.is_collecting => self.collected(),
                () = log.half_full(), if self.is_collecting => self.collected(),
            };
            if let Some(answer) = answer {
                tell(&control, &answer).await?;
            }
            if was_plan {
                give_back_memory();
            }
        }
    }

    async fn hear(&mut self, said: Said) -> Result<Option<FromWorker>, RunError> {
        match (said.message, said.descriptor) {
            (ToWorker::Start { .. }, _) => return Err(ControlError::NotStarted.into()),
            (ToWorker::Listener { purpose }, Some(descriptor)) => self.open(purpose, descriptor)?,
            (ToWorker::Upstream { transport }, Some(descriptor)) => {
                self.context.resolver.add_upstream(transport, descriptor)?;
            }
            (ToWorker::Plan { plan, attached }, _) => {
                let stamp = plan.stamp;
                self.decide_by(View::new(*plan, attached, self.filter.clone()), true).await;
                return Ok(Some(FromWorker::Applied { stamp, inactive: Vec::new() }));
            }
            (ToWorker::Change { change }, _) => {
                // Beside a rule more, everything that was known stays worth knowing.
                let (stamp, takes_away) = (change.to, !change.removed.is_empty());
                let next = self.context.view.load().and_then(|view| view.changed(change));
                self.decide_by(next.ok_or(ControlError::WrongChange)?, takes_away).await;
                return Ok(Some(FromWorker::Applied { stamp, inactive: Vec::new() }));
            }
            (ToWorker::Filter { filter }, _) => {
                self.filter = filter;
                if let Some(view) = self.context.view.load() {
                    self.decide_by(view.with_filter(self.filter.clone()), true).await;
                }
            }
            (ToWorker::Explain { number, question }, _) => {
                let explanation = Box::new(self.explain(&question));
                return Ok(Some(FromWorker::Explained { number, explanation }));
            }
            (ToWorker::Flows { number, query }, _) => {
                let flows = self.flows(&query).await;
                return Ok(Some(FromWorker::Flows { number, flows }));
            }
            (ToWorker::Collect { is_last: false }, _) => self.is_collecting = true,
            (ToWorker::Collect { is_last: true }, _) => return Ok(Some(self.last().await)),
            (ToWorker::KernelLog, Some(descriptor)) => {
                tokio::spawn(Arc::clone(&self.kernel).read_packets(descriptor));
            }
            (ToWorker::Host { number }, Some(descriptor)) => self.hand_host(number, Ok(descriptor)),
            (ToWorker::NoHost { number, reason }, _) => self.hand_host(number, Err(reason)),
            (ToWorker::Endings, Some(descriptor)) => {
                tokio::spawn(Arc::clone(&self.kernel).read_endings(descriptor));
            }
            (
                ToWorker::Listener { .. }
                | ToWorker::Upstream { .. }
                | ToWorker::KernelLog
                | ToWorker::Endings
                | ToWorker::Host { .. },
                None,
            ) => {
                return Err(ControlError::NoDescriptor.into());
            }
        }
        Ok(None)
    }

    fn need_host(&mut self, wanted: Wanted) -> FromWorker {
        self.asked += 1;
        self.waiting.insert(self.asked, wanted.answer);
        FromWorker::NeedHost { number: self.asked, address: *wanted.to.ip(), port: wanted.to.port() }
    }

    /// Whoever has waited too long is not there any more.
    fn hand_host(&mut self, number: u64, outcome: Result<OwnedFd, String>) {
        if let Some(answer) = self.waiting.remove(&number) {
            let _ = answer.send(outcome);
        }
    }

    /// Takes what arrives at a listener: DNS here, connections by the threads in turn.
    fn open(&mut self, purpose: Purpose, descriptor: OwnedFd) -> io::Result<()> {
        match purpose {
            Purpose::DnsUdp => {
                let socket = net::UdpSocket::from(descriptor);
                socket.set_nonblocking(true)?;
                tokio::spawn(Arc::clone(&self.context.resolver).serve_datagrams(UdpSocket::from_std(socket)?));
            }
            Purpose::DnsTcp => {
                let listener = net::TcpListener::from(descriptor);
                listener.set_nonblocking(true)?;
                tokio::spawn(Arc::clone(&self.context.resolver).serve_streams(TcpListener::from_std(listener)?));
            }
            Purpose::Tls | Purpose::Http | Purpose::Relay { .. } => {
                let place = self.listeners % self.threads.len().max(1);
                self.listeners += 1;
                if let Some(thread) = self.threads.get(place) {
                    thread.listen(purpose, descriptor.into());
                }
            }
        }
        Ok(())
    }

    /// Decides by another view from now on, and ends what it does not let through any more. `takes_away` says whether there
    /// may be such a thing.
    async fn decide_by(&self, view: View, takes_away: bool) {
        let view = Arc::new(view);
        self.context.view.replace(Arc::clone(&view));
        let ended: Vec<_> = self.threads.iter().map(|thread| thread.enforce(Arc::clone(&view))).collect();
        if !takes_away {
            return;
        }
        self.context.resolver.forget();
        for thread in ended {
            // A thread that has gone carries nothing.
            let _ = thread.await;
        }
    }

    fn explain(&self, question: &Question) -> Explanation {
        match self.context.view.load() {
            Some(view) => explain(&view, &self.context.resolver, question),
            None => Explanation {
                allowed: false,
                rule: None,
                reason: "The firewall has no plan yet, and lets nothing through until it has one.".to_owned(),
                suggestion: None,
                addresses: Vec::new(),
            },
        }
    }

    /// The records that are ripe, if there are any.
    fn collected(&mut self) -> Option<FromWorker> {
        let (records, dropped) = self.context.log.collect(self.context.clock.millis());
        let is_any = !records.is_empty() || dropped > 0;
        self.is_collecting = !is_any;
        is_any.then_some(FromWorker::Collected { records, dropped, is_last: false })
    }

    /// Everything that is known: nobody asks again.
    async fn last(&self) -> FromWorker {
        // What the kernel has said of what was cut a moment ago is still on its way.
        tokio::time::sleep(LAST_NEWS).await;
        let asked: Vec<_> = self.threads.iter().map(ThreadHandle::records).collect();
        let (mut records, mut dropped) = self.context.log.collect(i64::MAX);
        loop {
            let (more, lost) = self.context.log.collect(i64::MAX);
            dropped += lost;
            if more.is_empty() {
                break;
            }
            records.extend(more);
        }
        for thread in asked {
            records.extend(thread.await.unwrap_or_default());
        }
        FromWorker::Collected { records, dropped, is_last: true }
    }

    /// What is over, and what is being carried, oldest first.
    async fn flows(&self, query: &FlowQuery) -> Flows {
        let asked: Vec<_> = self.threads.iter().map(ThreadHandle::records).collect();
        let mut flows = self.context.log.query(query);
        for thread in asked {
            let records = thread.await.unwrap_or_default();
            flows.records.extend(records.into_iter().filter(|record| query.wants(record)));
        }
        flows.records.extend(self.kernel.records().into_iter().filter(|record| query.wants(record)));
        flows.records.sort_by_key(|record| record.at);
        let surplus = flows.records.len().saturating_sub(usize::try_from(query.limit).unwrap_or(usize::MAX));
        flows.records.drain(..surplus);
        flows
    }
}

/// Reading a plan takes more memory than holding it, and the allocator would keep the difference.
fn give_back_memory() {
    // SAFETY: glibc may be asked at any time, from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// More would not make a hub faster: the kernel does most of the work.
const MOST_THREADS: usize = 4;

/// The kernel gathers what it logs for 20 ms.
const LAST_NEWS: std::time::Duration = std::time::Duration::from_millis(50);

/// Between two looks for records that the agent may have.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(250);
