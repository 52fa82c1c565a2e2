//! An agent without a network and without privilege: it keeps computes as any other does, runs none, and says so of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may stop, and read better so")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bastide_agent::{Agent, Engine, Farewell, listen};
use bastide_plan::compute_plan::{Instance, Run, Size};
use bastide_plan::compute_report::{ComputeReport, ComputeState};
use bastide_plan::hub_plan::{ComputeId, HubId, PLAN_VERSION, Stamp};
use bastide_plan::message::{Answer, Ask, Request, Tell};
use bastide_plan::way_in::WayIn;
use bastide_plan::{ComputePlan, frame};
use uuid::Uuid;

#[test]
fn it_simulates_what_is_ordered_and_forgets_what_is_not() {
    let house = House::new();
    let mut server = house.greet(1);
    assert_eq!(server.ask(run(&[instance(Run::Running)])), Answer::Planned);
    assert_eq!(server.hear_until(&simulated(true)).start, 1);
    assert_eq!(server.ask(run(&[instance(Run::Stopped)])), Answer::Planned);
    server.hear_until(&simulated(false));
    assert_eq!(server.ask(Request::Retain { hubs: Vec::new() }), Answer::Retained { remaining: Vec::new() });
    assert_eq!(house.greet(1).greeted, []);
}

#[test]
fn whoever_comes_later_hears_what_is_so_and_what_comes() {
    let house = House::new();
    let mut server = house.greet(1);
    server.ask(run(&[instance(Run::Running)]));
    server.hear_until(&simulated(true));
    let mut later = house.greet(2);
    assert_eq!(later.greeted.iter().map(|report| &report.state).collect::<Vec<_>>(), [&simulated(true)]);
    assert!(refused(server.ask(run(&[]))).contains("started later"));
    assert_eq!(later.ask(run(&[])), Answer::Planned);
    later.hear_until(&ComputeState::Gone);
    server.hear_until(&ComputeState::Gone);
}

#[test]
fn nobody_comes_in_and_there_is_no_network() {
    let house = House::new();
    let mut server = house.greet(1);
    server.ask(run(&[instance(Run::Running)]));
    server.hear_until(&simulated(true));
    let open = |version| Request::Open { version, compute: COMPUTE, way: Box::new(WayIn::Port { port: 80 }) };
    assert!(refused(house.connect().ask(open(PLAN_VERSION))).contains("only pretend to run"));
    assert!(refused(house.connect().ask(open(PLAN_VERSION + 1))).contains("run the same Bastide on both sides"));
    assert!(refused(server.ask(open(PLAN_VERSION))).contains("come first on a connection"));
    assert!(refused(house.connect().ask(run(&[]))).contains("say Hello first"));
    assert!(refused(server.ask(Request::Report { hub: HUB })).contains("no network"));
}

#[test]
fn it_is_so_again_after_a_start() {
    let mut house = House::new();
    let mut server = house.greet(1);
    server.ask(run(&[instance(Run::Running)]));
    server.hear_until(&simulated(true));
    drop(server);
    house = house.restart();
    let mut server = house.greet(2);
    if !server.greeted.iter().any(|report| report.state == simulated(true)) {
        server.hear_until(&simulated(true));
    }
}

struct House {
    directory: tempfile::TempDir,
    agent: Arc<Agent>,
    socket: PathBuf,
}

impl House {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(directory: tempfile::TempDir) -> Self {
        let start = || Agent::simulated(directory.path(), Engine::simulated());
        // Threads of an agent that was here before hold its directory for a moment longer.
        let mut started = start();
        for _ in 0..500 {
            if started.is_ok() {
                break;
            }
            std::thread::sleep(BEAT);
            started = start();
        }
        let agent = started.expect("the directory is free");
        let socket = directory.path().join("run/agent.sock");
        listen(&agent, &socket, Some(rustix::process::getuid().as_raw())).unwrap();
        Self { directory, agent, socket }
    }

    fn restart(self) -> Self {
        let Self { directory, agent, .. } = self;
        agent.stop(Farewell::Clear);
        drop(agent);
        Self::open(directory)
    }

    fn connect(&self) -> Server {
        Server::connect(&self.socket)
    }

    fn greet(&self, fence: i64) -> Server {
        let mut server = self.connect();
        match server.ask(Request::Hello { version: PLAN_VERSION, fence }) {
            Answer::Welcome { computes, .. } => server.greeted = computes,
            other => panic!("{other:?}"),
        }
        server
    }
}

/// A server's end of a connection.
struct Server {
    stream: UnixStream,
    number: u64,
    greeted: Vec<ComputeReport>,
    events: Vec<ComputeReport>,
}

impl Server {
    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, number: 0, greeted: Vec::new(), events: Vec::new() }
    }

    fn ask(&mut self, request: Request) -> Answer {
        self.number += 1;
        self.stream.write_all(&frame::encode(&Ask { number: self.number, request }).unwrap()).unwrap();
        loop {
            let tell = self.hear();
            if tell.number == self.number {
                return tell.answer;
            }
        }
    }

    fn hear(&mut self) -> Tell {
        let mut head = [0; frame::HEAD];
        self.stream.read_exact(&mut head).unwrap();
        let mut json = vec![0; frame::length(head).unwrap()];
        self.stream.read_exact(&mut json).unwrap();
        let tell: Tell = frame::decode(&json).unwrap();
        if let Answer::ComputeChanged { report } = &tell.answer {
            self.events.push(report.as_ref().clone());
        }
        tell
    }

    /// The first report of a state that was not heard of yet.
    fn hear_until(&mut self, state: &ComputeState) -> ComputeReport {
        loop {
            if let Some(position) = self.events.iter().position(|report| report.state == *state) {
                return self.events.drain(..=position).next_back().unwrap();
            }
            self.hear();
        }
    }
}

fn run(instances: &[Instance]) -> Request {
    static REVISION: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let revision = REVISION.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let stamp = Stamp { fence: 1, revision };
    let plan = ComputePlan { version: PLAN_VERSION, hub: HUB, stamp, instances: instances.to_vec() };
    Request::Run { plan: Box::new(plan) }
}

fn instance(run: Run) -> Instance {
    let size = Size { cpu_millis: 500, memory: 1 << 28, processes: 64, disk: 1 << 30, gpus: 0 };
    Instance { run, ..Instance::plain(COMPUTE, "ci", size) }
}

fn simulated(running: bool) -> ComputeState {
    ComputeState::Simulated { running }
}

fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

const HUB: HubId = HubId(Uuid::from_u128(1));
const COMPUTE: ComputeId = ComputeId(Uuid::from_u128(2));
const BEAT: Duration = Duration::from_millis(10);
