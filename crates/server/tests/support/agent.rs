//! An agent that notes what it is told, and does what the test says: it obeys at once, or holds still until told what to
//! report.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_plan::compute_plan::{Instance, Run};
use bastide_plan::compute_report::ComputeState;
use bastide_plan::explanation::Explanation;
use bastide_plan::flow::{FlowCount, FlowQuery, FlowRecord, FlowVerdict, Flows};
use bastide_plan::frame::{self, HEAD};
use bastide_plan::hub_plan::{ComputeId, HubId, HubPlan, PLAN_VERSION, RuleName};
use bastide_plan::message::{Answer, Ask, Request, Tell};
use bastide_plan::report::{HubReport, RuleState, WallState};
use bastide_plan::way_in::WayIn;
use bastide_plan::{ComputePlan, ComputeReport};
use bastide_server::{Enforcement, NetworkSettings};
use http::StatusCode;
use ipnet::Ipv4Net;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{House, Options};

/// What it was told, and what it makes of it.
#[derive(Default)]
pub struct Told {
    pub plans: Vec<HubPlan>,
    pub runs: Vec<ComputePlan>,
    pub retained: Option<Vec<HubId>>,
    pub fences: Vec<i64>,
    /// Why the wall is shut, while it is.
    pub shut: Option<String>,
    /// Rules that do not take.
    pub broken: BTreeMap<RuleName, String>,
    /// What has happened at the wall of its one hub.
    pub flows: Vec<FlowRecord>,
    /// What it says would become of connections to these names; those to all others are let through.
    pub explained: BTreeMap<String, Explanation>,
    /// Processor time that instances have used, in microseconds.
    pub cpu: u64,
    /// Where each instance asks who it is, as many times as that was opened: the last socket.
    metadata: BTreeMap<ComputeId, (usize, SocketAddr)>,
    /// What was opened inside of instances and no test has asked for yet.
    ways: Vec<Inside>,
    is_holding: bool,
    instances: BTreeMap<ComputeId, (HubId, Instance)>,
    reports: BTreeMap<ComputeId, ComputeReport>,
    peers: Vec<mpsc::UnboundedSender<Tell>>,
}

type Shared = Arc<Mutex<Told>>;

/// A way into an instance, seen from inside of it.
pub struct Inside {
    pub compute: ComputeId,
    pub way: WayIn,
    /// The other ends of what the server has got, in the same order.
    pub ends: Vec<UnixStream>,
}

pub struct Agent {
    pub told: Shared,
    directory: TempDir,
    listening: Mutex<JoinHandle<()>>,
}

impl Agent {
    pub fn start() -> Self {
        let (told, directory) = (Shared::default(), tempfile::tempdir().unwrap());
        let listening = Mutex::new(listen(&socket(&directory), &told));
        Self { told, directory, listening }
    }

    /// As [`Agent::house`], with an approved-only hub that has these rules; its network is not provisioned yet.
    pub async fn approved_house(&self, rules: Value) -> (House, String) {
        self.house(approved_only(rules)).await
    }

    /// As [`Agent::approved_house`], its network provisioned at once.
    pub async fn provisioned_house(&self, rules: Value) -> (House, String) {
        let mut hub = approved_only(rules);
        hub["provisionNetworkNow"] = json!(true);
        self.house(hub).await
    }

    /// A server whose node this is, with the hub `hub` in the group `rg`: the server, and the hub's path.
    pub async fn house(&self, hub: Value) -> (House, String) {
        self.house_with(hub, Vec::new()).await
    }

    /// As [`Agent::house`], with private ranges that count as internet.
    pub async fn house_with(&self, hub: Value, internet: Vec<Ipv4Net>) -> (House, String) {
        let enforcement = Enforcement::Agent(socket(&self.directory));
        let network = NetworkSettings { enforcement, internet, ..NetworkSettings::default() };
        let house = House::found_with(Options { network, ..Options::default() }).await;
        house.make_group("rg").await;
        let path = house.hub("rg", "hub");
        let made = house.put(&path, json!({"location": "westeurope", "kind": "hub", "properties": hub})).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        (house, path)
    }

    /// It hangs up, and does not answer any more.
    pub fn leave(&self) {
        self.listening.lock().unwrap().abort();
        self.told.lock().unwrap().peers.clear();
    }

    pub fn come_back(&self) {
        *self.listening.lock().unwrap() = listen(&socket(&self.directory), &self.told);
    }

    pub fn last_plan(&self) -> HubPlan {
        self.told.lock().unwrap().plans.last().unwrap().clone()
    }

    pub fn last_run(&self) -> ComputePlan {
        self.told.lock().unwrap().runs.last().unwrap().clone()
    }

    /// Waits until the metadata service of an instance was opened so many times, and says where it is.
    pub async fn wait_for_metadata(&self, compute: ComputeId, times: usize) -> SocketAddr {
        for _ in 0..400 {
            let opened = self.told.lock().unwrap().metadata.get(&compute).copied();
            if let Some((_, address)) = opened.filter(|(count, _)| *count == times) {
                return address;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("its metadata service was not opened {times} times: {:?}", self.told.lock().unwrap().metadata)
    }

    /// Waits until somebody opens a way into an instance, and says what it looks like from inside.
    pub async fn wait_for_way(&self, compute: ComputeId) -> Inside {
        for _ in 0..400 {
            if let Some(inside) = self.told.lock().unwrap().way(compute) {
                return inside;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody has opened a way into {compute}")
    }

    pub fn has_retained_nothing(&self) -> bool {
        self.told.lock().unwrap().retained.as_deref() == Some([].as_slice())
    }

    /// From now on nothing happens to instances but what the test reports.
    pub fn hold(&self) {
        self.told.lock().unwrap().is_holding = true;
    }

    /// Says what an instance does.
    pub fn report(&self, compute: ComputeId, state: ComputeState) {
        let mut told = self.told.lock().unwrap();
        let Some((hub, instance)) = told.instances.get(&compute).cloned() else { panic!("{compute} is not known") };
        told.report(hub, &instance, state);
    }

    /// Waits until it was told to run something of that name.
    pub async fn wait_for_instance(&self, name: &str) -> Instance {
        let plan = self.wait_for(|plan| plan.instances.iter().any(|instance| instance.name == name)).await;
        plan.instances.into_iter().find(|instance| instance.name == name).unwrap()
    }

    /// Waits until the last plan of what to run is as wanted.
    pub async fn wait_for(&self, wanted: impl Fn(&ComputePlan) -> bool) -> ComputePlan {
        for _ in 0..400 {
            let last = self.told.lock().unwrap().runs.last().cloned();
            if let Some(plan) = last.filter(|plan| wanted(plan)) {
                return plan;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no such plan: {:?}", self.told.lock().unwrap().runs.last())
    }
}

impl Told {
    fn report(&mut self, hub: HubId, instance: &Instance, state: ComputeState) {
        let report = ComputeReport {
            hub,
            compute: instance.compute,
            start: instance.start,
            state,
            image: Some("sha256:0".to_owned()),
            at: jiff::Timestamp::now().as_millisecond(),
        };
        match report.state {
            ComputeState::Gone => drop(self.reports.remove(&report.compute)),
            _ => drop(self.reports.insert(report.compute, report.clone())),
        }
        let tell = Tell { number: 0, answer: Answer::ComputeChanged { report: Box::new(report) } };
        self.peers.retain(|peer| peer.send(tell.clone()).is_ok());
    }

    /// Does what a plan says, at once.
    fn obey(&mut self, plan: &ComputePlan) {
        let gone: Vec<(HubId, Instance)> = self
            .instances
            .values()
            .filter(|(hub, held)| *hub == plan.hub && !plan.instances.iter().any(|kept| kept.compute == held.compute))
            .cloned()
            .collect();
        for instance in &plan.instances {
            self.instances.insert(instance.compute, (plan.hub, instance.clone()));
        }
        if self.is_holding {
            return;
        }
        for (hub, instance) in gone {
            self.instances.remove(&instance.compute);
            self.report(hub, &instance, ComputeState::Gone);
        }
        for instance in &plan.instances {
            let state = match instance.run {
                Run::Running => ComputeState::Running,
                Run::Frozen => ComputeState::Frozen,
                Run::Stopped => ComputeState::Stopped,
            };
            let held = self.reports.get(&instance.compute);
            if held.is_none_or(|held| held.state != state || held.start != instance.start) {
                self.report(plan.hub, instance, state);
            }
        }
    }

    /// Takes down what stands in other hubs than these.
    fn leave(&mut self, hubs: &[HubId]) {
        let is_gone = |(hub, _): &&(HubId, Instance)| !self.is_holding && !hubs.contains(hub);
        let gone: Vec<(HubId, Instance)> = self.instances.values().filter(is_gone).cloned().collect();
        for (hub, instance) in gone {
            self.instances.remove(&instance.compute);
            self.report(hub, &instance, ComputeState::Gone);
        }
    }

    fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Hello { version, fence } => {
                assert_eq!(version, PLAN_VERSION);
                self.fences.push(fence);
                Answer::Welcome { version, hubs: Vec::new(), computes: self.reports.values().cloned().collect() }
            }
            Request::Apply { plan } => {
                let report = self.built(&plan);
                self.plans.push(*plan);
                Answer::Changed { report: Box::new(report) }
            }
            Request::Run { plan } => {
                self.obey(&plan);
                self.runs.push(*plan);
                Answer::Planned
            }
            Request::Retain { hubs } => {
                self.leave(&hubs);
                self.retained = Some(hubs);
                Answer::Retained { remaining: Vec::new() }
            }
            Request::Usage { .. } => {
                let usage = bastide_plan::compute_report::Usage { cpu: self.cpu, memory: 0, processes: 1, disk: 0 };
                Answer::Used { usage }
            }
            Request::Explain { question, .. } => {
                let open = Explanation {
                    allowed: true,
                    rule: None,
                    reason: "It is open.".into(),
                    suggestion: None,
                    addresses: Vec::new(),
                };
                let explanation = self.explained.get(&question.to).cloned().unwrap_or(open);
                Answer::Explained { explanation: Box::new(explanation) }
            }
            Request::Flows { query, .. } => Answer::Flows { flows: self.flows(&query) },
            Request::FlowCounts { .. } => {
                let rule = Some(RuleName("pypi".into()));
                let counts = vec![FlowCount { rule, verdict: FlowVerdict::Allowed, flows: 3, sent: 10, received: 20 }];
                Answer::FlowCounts { counts }
            }
            Request::Log { script, .. } => Answer::Logged { text: format!("{script:?} was here\n") },
            other => Answer::Refused { reason: format!("not in this test: {other:?}") },
        }
    }

    fn flows(&self, query: &FlowQuery) -> Flows {
        let (first, last) = (query.after.unwrap_or(0), query.before.unwrap_or(u64::MAX));
        let placed = (0u64..).zip(&self.flows).filter(|(place, _)| (first..last).contains(place));
        let mut wanted: Vec<_> = placed.filter(|(_, record)| query.wants(record)).collect();
        let limit = usize::try_from(query.limit).unwrap();
        let (mut older, mut next) = (None, self.flows.len() as u64);
        if query.after.is_some() {
            next = wanted.get(limit).map_or(next, |(place, _)| *place);
            wanted.truncate(limit);
        } else if wanted.len() > limit {
            wanted.drain(..wanted.len() - limit);
            older = wanted.first().map(|(place, _)| *place);
        }
        Flows { records: wanted.into_iter().map(|(_, record)| record.clone()).collect(), dropped: 0, older, next }
    }

    fn way(&mut self, compute: ComputeId) -> Option<Inside> {
        let index = self.ways.iter().position(|inside| inside.compute == compute)?;
        Some(self.ways.remove(index))
    }

    fn open(&mut self, compute: ComputeId, way: WayIn) -> Vec<OwnedFd> {
        let count = match way {
            WayIn::Metadata => return vec![self.open_metadata(compute)],
            WayIn::Process(ref process) if process.terminal.is_none() => 3,
            _ => 1,
        };
        let pairs = (0..count).map(|_| std::os::unix::net::UnixStream::pair().unwrap());
        let (theirs, ends) = pairs
            .map(|(theirs, ours)| {
                ours.set_nonblocking(true).unwrap();
                (OwnedFd::from(theirs), UnixStream::from_std(ours).unwrap())
            })
            .unzip();
        self.ways.push(Inside { compute, way, ends });
        theirs
    }

    fn open_metadata(&mut self, compute: ComputeId) -> OwnedFd {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let times = self.metadata.get(&compute).map_or(0, |(times, _)| *times);
        self.metadata.insert(compute, (times + 1, socket.local_addr().unwrap()));
        socket.into()
    }

    fn built(&self, plan: &HubPlan) -> HubReport {
        let rules = plan.names.iter().map(|rule| &rule.rule).chain(plan.endpoints.iter().map(|end| &end.rule));
        let rules = rules.chain(plan.prefixes.iter().map(|rule| &rule.rule));
        let state = |rule: &RuleName| match self.broken.get(rule) {
            Some(reason) => RuleState::Inactive { reason: reason.clone() },
            None => RuleState::Active,
        };
        HubReport {
            hub: plan.hub,
            stamp: Some(plan.stamp),
            wall: match &self.shut {
                Some(reason) => WallState::Shut { reason: reason.clone() },
                None => WallState::Standing,
            },
            rules: rules.map(|rule| (rule.clone(), state(rule))).collect(),
            repairs: 0,
            obstacles: Vec::new(),
            at: 0,
        }
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("agent.sock")
}

fn listen(socket: &Path, told: &Shared) -> JoinHandle<()> {
    let _absent = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    let told = Arc::clone(told);
    tokio::spawn(async move {
        let mut peers = tokio::task::JoinSet::new();
        loop {
            let (peer, _) = listener.accept().await.unwrap();
            peers.spawn(converse(peer, Arc::clone(&told)));
        }
    })
}

async fn converse(peer: UnixStream, told: Shared) {
    let (mut reader, mut writer) = peer.into_split();
    let (tell, mut tells) = mpsc::unbounded_channel::<Tell>();
    let (open, mut opened) = mpsc::unbounded_channel::<(Tell, Vec<OwnedFd>)>();
    let writing = tokio::spawn(async move {
        loop {
            let tell = tokio::select! {
                Some((tell, descriptors)) = opened.recv() => {
                    hand_over(writer.as_ref(), &tell, &descriptors).await;
                    continue;
                }
                Some(tell) = tells.recv() => tell,
                else => return,
            };
            if writer.write_all(&frame::encode(&tell).unwrap()).await.is_err() {
                return;
            }
        }
    });
    loop {
        let mut head = [0; HEAD];
        if reader.read_exact(&mut head).await.is_err() {
            break;
        }
        let mut json = vec![0; frame::length(head).unwrap()];
        reader.read_exact(&mut json).await.unwrap();
        let Ask { number, request } = frame::decode(&json).unwrap();
        let is_greeting = matches!(request, Request::Hello { .. });
        let mut told = told.lock().unwrap();
        if let Request::Open { compute, way, .. } = request {
            let ends = told.open(compute, *way);
            let descriptors = u8::try_from(ends.len()).unwrap();
            let _gone = open.send((Tell { number, answer: Answer::Opened { descriptors } }, ends));
            continue;
        }
        let answer = told.answer(request);
        let _gone = tell.send(Tell { number, answer });
        if is_greeting {
            told.peers.push(tell.clone());
        }
    }
    writing.abort();
}

async fn hand_over(writer: &UnixStream, tell: &Tell, descriptors: &[OwnedFd]) {
    let bytes = frame::encode(tell).unwrap();
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        Ok(sendmsg(writer, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
    };
    assert_eq!(writer.async_io(Interest::WRITABLE, send).await.unwrap(), bytes.len());
}

fn approved_only(rules: Value) -> Value {
    json!({"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": rules}})
}

/// A rule, as a map of rules has it.
pub fn pypi() -> Value {
    json!({"pypi": {"type": "FQDN", "destination": "pypi.org"}})
}
