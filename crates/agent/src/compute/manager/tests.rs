use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::panic::resume_unwind;

use bastide_plan::compute_plan::{Image, Run, Script, Size};
use bastide_plan::compute_report::{Step, Usage};
use bastide_plan::hub_plan::{PLAN_VERSION, Stamp};
use bastide_plan::way_in::{Account, Process};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::compute::fake::{Fake, Verb};
use crate::compute::image::Unpacked;
use crate::compute::permits::Permits;
use crate::compute::runtime::{Abilities, Execution, Observed, Order, Runtime};
use crate::compute::surroundings::Pace;
use crate::compute::testing::Local;
use crate::compute::walls::{Wall, Walls};

/// The fake runtime, as one that confines, whose processes are the host's own; and which may be killed at a verb.
#[derive(Debug, Default)]
struct Machine {
    fake: Fake,
    killed_at: Mutex<VecDeque<Verb>>,
}

impl Machine {
    /// The thread that asks for this is no more; the verb may have been done or not.
    fn may_be_killed(&self, verb: Verb) {
        let mut killed = locked(&self.killed_at);
        if killed.front() == Some(&verb) {
            killed.pop_front();
            drop(killed);
            resume_unwind(Box::new("killed"));
        }
    }
}

impl Runtime for Machine {
    fn abilities(&self) -> Abilities {
        Abilities { confines: true, ..self.fake.abilities() }
    }

    fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        self.fake.create(order)?;
        self.may_be_killed(Verb::Create);
        Ok(())
    }

    fn start(&self, compute: ComputeId) -> Result<(), RuntimeError> {
        self.may_be_killed(Verb::Start);
        self.fake.start(compute)
    }

    fn stop(&self, compute: ComputeId, grace: Duration) -> Result<(), RuntimeError> {
        self.fake.stop(compute, grace)?;
        self.may_be_killed(Verb::Stop);
        Ok(())
    }

    fn freeze(&self, compute: ComputeId, frozen: bool) -> Result<(), RuntimeError> {
        self.fake.freeze(compute, frozen)
    }

    fn delete(&self, compute: ComputeId) -> Result<(), RuntimeError> {
        self.fake.delete(compute)?;
        self.may_be_killed(Verb::Delete);
        Ok(())
    }

    fn observe(&self, compute: ComputeId) -> Result<Observed, RuntimeError> {
        self.fake.observe(compute)
    }

    fn usage(&self, compute: ComputeId) -> Result<Usage, RuntimeError> {
        self.fake.usage(compute)
    }

    fn exec(&self, compute: ComputeId, process: &Process) -> Result<Execution, RuntimeError> {
        match self.fake.observe(compute)? {
            Observed::Running => Ok(Local::start(&process.command)),
            _ => Err(RuntimeError::NotRunning),
        }
    }

    fn dial(&self, compute: ComputeId, target: &Target) -> Result<std::os::fd::OwnedFd, RuntimeError> {
        self.fake.dial(compute, target)
    }

    fn list(&self) -> Result<Vec<ComputeId>, RuntimeError> {
        self.fake.list()
    }
}

/// A node whose agent can be killed and started again.
struct Node {
    directory: tempfile::TempDir,
    machine: Arc<Machine>,
    walls: Arc<Walls>,
    told: Arc<Mutex<Vec<ComputeReport>>>,
    computes: Option<Computes>,
    revision: i64,
}

impl Node {
    fn new() -> Self {
        let mut node = Self {
            directory: tempfile::tempdir().unwrap(),
            machine: Arc::default(),
            walls: Arc::new(Walls::none(|_| true)),
            told: Arc::default(),
            computes: None,
            revision: 0,
        };
        node.start();
        node
    }

    /// With a wall that everybody of the hub has a leg in.
    fn walled() -> Self {
        let node = Self::new();
        node.wall(true);
        node
    }

    fn start(&mut self) {
        let image = self.directory.path().join("image");
        std::fs::create_dir_all(&image).unwrap();
        let told = Arc::clone(&self.told);
        let surroundings = Surroundings {
            runtime: Arc::<Machine>::clone(&self.machine),
            images: Box::new(move |image_wanted, say| match image_wanted {
                Image::Base => {
                    say("making the base image, 40 %".to_owned());
                    Ok(Unpacked { root: image.clone(), digest: "sha256:1".to_owned(), environment: Vec::new() })
                }
                _ => Err("there is no such image".to_owned()),
            }),
            walls: Arc::clone(&self.walls),
            starts: Permits::new(2),
            pace: Pace {
                watch: Duration::from_millis(5),
                retry: Duration::from_millis(2),
                grace: Duration::from_millis(100),
            },
            shares: self.directory.path().join("shares"),
            publish: Arc::new(move |event| match event {
                Answer::ComputeChanged { report } => locked(&told).push(*report),
                other => panic!("{other:?}"),
            }),
        };
        let state = Arc::new(State::open(&self.directory.path().join("agent")).unwrap());
        self.computes = Some(Computes::restore(state, Arc::new(surroundings)).unwrap());
    }

    fn end(&mut self, farewell: Farewell) {
        let computes = self.computes.take().unwrap();
        computes.stop(farewell);
        // The directory's lock goes with the last who holds it.
        let shared = Arc::downgrade(&computes.0);
        drop(computes);
        until("the agent has gone", || shared.strong_count() == 0);
    }

    fn restart(&mut self, farewell: Farewell) {
        self.end(farewell);
        self.start();
    }

    fn wall(&self, stands: bool) {
        let legs = (1..=9).map(id).collect();
        self.walls.set(HUB, stands.then_some(Wall { resolver: Ipv4Addr::new(100, 127, 0, 1), legs }));
    }

    fn run(&mut self, instances: &[Instance]) {
        self.revision += 1;
        let stamp = Stamp { fence: 1, revision: self.revision };
        let plan = ComputePlan { version: PLAN_VERSION, hub: HUB, stamp, instances: instances.to_vec() };
        self.computes().run(plan).unwrap();
    }

    fn computes(&self) -> &Computes {
        self.computes.as_ref().unwrap()
    }

    fn state(&self, number: u128) -> Option<ComputeState> {
        let reports = self.computes().reports();
        reports.into_iter().find(|report| report.compute == id(number)).map(|report| report.state)
    }

    fn wait_for(&self, number: u128, wanted: &ComputeState) {
        until(&format!("{wanted:?}"), || self.state(number).as_ref() == Some(wanted));
    }

    /// Every state that was told, without those of waiting.
    fn told(&self, number: u128) -> Vec<ComputeState> {
        let told = locked(&self.told);
        let mut states: Vec<_> = told
            .iter()
            .filter(|report| report.compute == id(number))
            .map(|report| report.state.clone())
            .filter(|state| !matches!(state, ComputeState::Preparing { .. }))
            .collect();
        states.dedup();
        states
    }

    /// Nothing is left: in the runtime, on disk, in what is said.
    fn assert_empty(&self) {
        until("nothing is held", || {
            self.computes().reports().is_empty() && self.computes().held().instances.is_empty()
        });
        assert_eq!(self.machine.fake.list().unwrap(), []);
        let instances = self.directory.path().join("agent/instances");
        assert_eq!(std::fs::read_dir(instances).unwrap().count(), 0);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(computes) = self.computes.take() {
            computes.stop(Farewell::Keep);
        }
    }
}

const HUB: HubId = HubId(Uuid::from_u128(1));

fn id(number: u128) -> ComputeId {
    ComputeId(Uuid::from_u128(number << 64 | number))
}

fn instance(number: u128) -> Instance {
    let size = Size { cpu_millis: 500, memory: 1 << 28, processes: 64, disk: 1 << 30, gpus: 0 };
    Instance::plain(id(number), &format!("ci-{number}"), size)
}

fn script(content: &str, seconds: u32) -> Script {
    Script { content: content.to_owned(), arguments: vec!["an argument".to_owned()], seconds }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

const RUNNING: ComputeState = ComputeState::Running;
const STOPPED: ComputeState = ComputeState::Stopped;

#[test]
fn an_instance_waits_for_its_wall_and_then_runs() {
    let mut node = Node::new();
    node.run(&[instance(1)]);
    node.wait_for(1, &ComputeState::Preparing { what: "waiting for the wall of its hub".to_owned() });
    assert_eq!(node.machine.fake.list().unwrap(), []);
    node.wall(true);
    node.wait_for(1, &RUNNING);
    let order = node.machine.fake.order(id(1)).unwrap();
    assert_eq!(order.instance, instance(1));
    assert_eq!(order.resolver, Ipv4Addr::new(100, 127, 0, 1));
    let report = node.computes().reports().remove(0);
    assert_eq!((report.start, report.image.as_deref()), (1, Some("sha256:1")));
}

#[test]
fn it_is_stopped_started_frozen_and_leaves_nothing() {
    let mut node = Node::walled();
    node.run(&[instance(1)]);
    node.wait_for(1, &RUNNING);
    node.run(&[Instance { run: Run::Stopped, ..instance(1) }]);
    node.wait_for(1, &STOPPED);
    assert_eq!(node.machine.fake.list().unwrap(), [id(1)], "its disk is kept");
    node.run(&[Instance { run: Run::Frozen, start: 2, ..instance(1) }]);
    node.wait_for(1, &ComputeState::Frozen);
    node.run(&[]);
    node.assert_empty();
    assert_eq!(node.told(1), [RUNNING, STOPPED, RUNNING, ComputeState::Frozen, ComputeState::Gone]);
}

#[test]
fn a_greater_start_is_another_start_and_another_order_waits_for_it() {
    let mut node = Node::walled();
    node.run(&[instance(1)]);
    node.wait_for(1, &RUNNING);
    let larger = Size { cpu_millis: 2000, ..instance(1).size };
    node.run(&[Instance { size: larger, ..instance(1) }]);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(node.machine.fake.order(id(1)).unwrap().instance.size, instance(1).size);
    node.run(&[Instance { size: larger, start: 2, ..instance(1) }]);
    until("the second start runs", || {
        node.computes().reports().iter().any(|report| report.start == 2 && report.state == RUNNING)
    });
    assert_eq!(node.machine.fake.order(id(1)).unwrap().instance.size, larger);
}

#[test]
fn the_creation_script_runs_once_and_the_startup_script_every_time() {
    let mut node = Node::walled();
    let created = node.directory.path().join("created").display().to_string();
    let started = node.directory.path().join("started").display().to_string();
    let order = Instance {
        creation_script: Some(script(&format!("#!/bin/sh\necho \"made by $1\"; echo x >> {created}"), 10)),
        startup_script: Some(script(&format!("echo started; echo x >> {started}"), 10)),
        ..instance(1)
    };
    node.run(std::slice::from_ref(&order));
    node.wait_for(1, &RUNNING);
    assert_eq!(node.told(1), [ComputeState::SettingUp, RUNNING]);
    node.run(&[Instance { start: 2, ..order }]);
    until("it has started twice", || std::fs::read_to_string(&started).unwrap() == "x\nx\n");
    node.wait_for(1, &RUNNING);
    assert_eq!(std::fs::read_to_string(&created).unwrap(), "x\n");
    let logged = |text: &str| Answer::Logged { text: text.to_owned() };
    assert_eq!(node.computes().log(id(1), ScriptLog::Creation), logged("made by an argument\n"));
    assert_eq!(node.computes().log(id(1), ScriptLog::Startup), logged("started\n"));
}

#[test]
fn a_script_that_fails_or_never_ends_is_not_run_again_before_somebody_asks() {
    let mut node = Node::walled();
    let bad =
        Instance { creation_script: Some(script("echo one; echo no such package >&2; exit 3", 10)), ..instance(1) };
    let endless = Instance { creation_script: Some(script("while :; do sleep 1; done", 1)), ..instance(2) };
    node.run(&[bad.clone(), endless]);
    let reason = "the creation script: it ended with status 3. Its last line: no such package".to_owned();
    let failed = ComputeState::Failed { step: Step::SetUp, reason };
    node.wait_for(1, &failed);
    let reason = "the creation script: it took longer than its 1 s, and was ended".to_owned();
    node.wait_for(2, &ComputeState::Failed { step: Step::SetUp, reason });
    until("neither runs", || {
        [1, 2].into_iter().all(|number| node.machine.fake.observe(id(number)).unwrap() == Observed::Stopped)
    });
    node.restart(Farewell::Keep);
    node.wait_for(1, &failed);
    node.run(&[Instance { start: 2, creation_script: Some(script("true", 10)), ..bad }]);
    node.wait_for(1, &RUNNING);
    assert!(node.state(2).is_none() || node.machine.fake.observe(id(2)).unwrap() == Observed::Absent);
}

#[test]
fn what_a_script_prints_and_complains_of_is_kept_in_its_order() {
    let mut node = Node::walled();
    let content = "i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done; exit 3";
    node.run(&[Instance { creation_script: Some(script(content, 60)), ..instance(1) }]);
    let reason = "the creation script: it ended with status 3. Its last line: 1999".to_owned();
    node.wait_for(1, &ComputeState::Failed { step: Step::SetUp, reason });
    let lines: Vec<String> = (0..2000).map(|number: u32| number.to_string()).collect();
    let text = lines.join("\n") + "\n";
    assert_eq!(node.computes().log(id(1), ScriptLog::Creation), Answer::Logged { text });
}

#[test]
fn what_a_script_prints_is_kept_to_its_end() {
    let mut node = Node::walled();
    let content = "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo \"line $i of many, many lines\"; done";
    node.run(&[Instance { creation_script: Some(script(content, 60)), ..instance(1) }]);
    node.wait_for(1, &RUNNING);
    let Answer::Logged { text } = node.computes().log(id(1), ScriptLog::Creation) else { panic!("no log") };
    assert_eq!(text.len(), 256 << 10);
    assert!(text.ends_with("line 39999 of many, many lines\nline 40000 of many, many lines\n"), "{text:?}");
    let file = node.directory.path().join(format!("agent/instances/{}/creation.log", id(1)));
    assert!(std::fs::metadata(file).unwrap().len() <= 2 * (256 << 10));
}

#[test]
fn what_cannot_be_made_says_so_and_is_tried_a_few_times() {
    let mut node = Node::walled();
    let fault = |reason: &str| RuntimeError::Failed { what: "the disk".to_owned(), reason: reason.to_owned() };
    node.machine.fake.fail(Verb::Create, fault("once"));
    node.run(&[instance(1)]);
    node.wait_for(1, &RUNNING);
    let confined = RuntimeError::NotConfined("no seccomp".to_owned());
    node.machine.fake.fail(Verb::Start, confined);
    node.run(&[instance(1), instance(2)]);
    let reason = RuntimeError::NotConfined("no seccomp".to_owned()).to_string();
    node.wait_for(2, &ComputeState::Failed { step: Step::Start, reason });
    node.run(&[instance(1), Instance { image: Image::Reference("none/such:1".to_owned()), ..instance(3) }]);
    node.wait_for(3, &ComputeState::Failed { step: Step::Create, reason: "there is no such image".to_owned() });
}

#[test]
fn one_that_ends_by_itself_is_started_again_until_it_is_too_much() {
    let mut node = Node::walled();
    node.run(&[instance(1)]);
    for _ in 0..4 {
        node.wait_for(1, &RUNNING);
        node.machine.fake.collapse(id(1));
        until("it was noticed", || node.state(1) != Some(RUNNING));
    }
    node.wait_for(1, &RUNNING);
    node.machine.fake.collapse(id(1));
    let reason = "it has ended 5 times by itself, lastly: its first process has ended".to_owned();
    node.wait_for(1, &ComputeState::Failed { step: Step::Run, reason });
    node.run(&[Instance { start: 2, ..instance(1) }]);
    node.wait_for(1, &RUNNING);
}

#[test]
fn what_runs_is_adopted_and_what_was_stopped_with_the_agent_comes_back() {
    let mut node = Node::walled();
    let marks = node.directory.path().join("marks").display().to_string();
    let order = Instance { startup_script: Some(script(&format!("echo x >> {marks}"), 10)), ..instance(1) };
    node.run(&[order, Instance { run: Run::Stopped, ..instance(2) }]);
    node.wait_for(1, &RUNNING);
    node.restart(Farewell::Keep);
    node.wait_for(1, &RUNNING);
    node.wait_for(2, &STOPPED);
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "x\n", "it was not started again");
    node.end(Farewell::Clear);
    assert_eq!(node.machine.fake.observe(id(1)).unwrap(), Observed::Stopped);
    node.wall(false);
    node.start();
    node.wait_for(1, &ComputeState::Preparing { what: "waiting for the wall of its hub".to_owned() });
    node.wall(true);
    node.wait_for(1, &RUNNING);
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "x\nx\n");
}

#[test]
fn scripts_that_a_killed_agent_ran_are_run_again_from_the_beginning() {
    let mut node = Node::walled();
    let marks = node.directory.path().join("marks").display().to_string();
    let gate = node.directory.path().join("gate");
    let content = format!("echo x >> {marks}; [ -e {} ] || sleep 60", gate.display());
    node.run(&[Instance { creation_script: Some(script(&content, 100)), ..instance(1) }]);
    until("the script runs", || std::fs::read_to_string(&marks).is_ok_and(|text| text == "x\n"));
    std::fs::write(&gate, "").unwrap();
    node.restart(Farewell::Keep);
    node.wait_for(1, &RUNNING);
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "x\nx\n");
}

#[test]
fn people_come_in_when_it_runs_and_wake_it_when_it_sleeps() {
    let mut node = Node::walled();
    let way = WayIn::Process(Process {
        command: vec!["true".to_owned()],
        account: Account::User,
        environment: BTreeMap::new(),
        directory: None,
        terminal: None,
    });
    assert!(node.computes().open(id(1), &way).unwrap_err().contains("there is no instance"));
    node.run(&[Instance { creation_script: Some(script("sleep 60", 100)), ..instance(1) }]);
    node.wait_for(1, &ComputeState::SettingUp);
    assert!(node.computes().open(id(1), &way).unwrap_err().contains("a script is still setting the compute up"));
    node.run(&[Instance { start: 2, run: Run::Frozen, ..instance(1) }]);
    node.wait_for(1, &ComputeState::Frozen);
    assert_eq!(node.computes().open(id(1), &way).unwrap().ends.len(), 3);
    assert_eq!(node.state(1), Some(RUNNING));
    node.run(&[Instance { start: 2, ..instance(1) }]);
    node.run(&[Instance { start: 2, run: Run::Frozen, ..instance(1) }]);
    node.wait_for(1, &ComputeState::Frozen);
    node.run(&[Instance { start: 2, run: Run::Stopped, ..instance(1) }]);
    node.wait_for(1, &STOPPED);
    assert!(node.computes().open(id(1), &way).unwrap_err().contains("Start it first"));
}

#[test]
fn plans_are_checked_and_never_go_back() {
    let mut node = Node::walled();
    node.run(&[instance(1)]);
    let plan = |hub, revision, instances: &[Instance]| ComputePlan {
        version: PLAN_VERSION,
        hub,
        stamp: Stamp { fence: 1, revision },
        instances: instances.to_vec(),
    };
    let refusal = |plan| node.computes().run(plan).unwrap_err();
    assert!(refusal(plan(HUB, 0, &[])).contains("older"));
    assert!(refusal(plan(HUB, 9, &[instance(1), instance(1)])).contains("twice"));
    assert!(refusal(plan(HubId(Uuid::from_u128(2)), 9, &[instance(1)])).contains("another hub"));
    let wild = Instance { user: "root; rm".to_owned(), ..instance(2) };
    assert!(refusal(plan(HUB, 9, &[wild])).contains("not the name of a user"));
    node.wait_for(1, &RUNNING);
}

#[test]
fn a_hub_that_goes_takes_its_instances_with_it() {
    let mut node = Node::walled();
    node.run(&[instance(1), instance(2)]);
    node.wait_for(2, &RUNNING);
    assert_eq!(node.computes().retain(&[HUB]), BTreeSet::new());
    node.wait_for(1, &RUNNING);
    assert_eq!(node.computes().retain(&[]), BTreeSet::new());
    node.assert_empty();
    node.restart(Farewell::Keep);
    node.assert_empty();
}

#[test]
fn what_nobody_remembers_is_removed() {
    let mut node = Node::walled();
    node.run(&[instance(1)]);
    node.wait_for(1, &RUNNING);
    node.end(Farewell::Keep);
    std::fs::remove_dir_all(node.directory.path().join("agent/instances")).unwrap();
    std::fs::remove_dir_all(node.directory.path().join("agent/plans")).unwrap();
    node.start();
    node.assert_empty();
}

/// What may happen to a node.
#[derive(Debug, Clone)]
enum Happening {
    Plan(Vec<(u128, Run, u64)>),
    Wall(bool),
    Fault(Verb),
    Killed(Verb),
    Collapse(u128),
    Restart(bool),
    Enter(u128),
}

fn happening() -> impl Strategy<Value = Happening> {
    let run = prop_oneof![Just(Run::Running), Just(Run::Frozen), Just(Run::Stopped)];
    let wanted = proptest::collection::vec((1..4_u128, run, 1..4_u64), 0..4);
    let verbs = prop_oneof![Just(Verb::Create), Just(Verb::Start), Just(Verb::Stop), Just(Verb::Delete)];
    prop_oneof![
        4 => wanted.prop_map(Happening::Plan),
        1 => any::<bool>().prop_map(Happening::Wall),
        2 => verbs.clone().prop_map(Happening::Fault),
        2 => verbs.prop_map(Happening::Killed),
        1 => (1..4_u128).prop_map(Happening::Collapse),
        2 => any::<bool>().prop_map(Happening::Restart),
        1 => (1..4_u128).prop_map(Happening::Enter),
    ]
}

fn orders(wanted: &[(u128, Run, u64)]) -> Vec<Instance> {
    let by_number: BTreeMap<_, _> = wanted.iter().map(|(number, run, start)| (*number, (*run, *start))).collect();
    by_number.into_iter().map(|(number, (run, start))| Instance { run, start, ..instance(number) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_ends_as_it_was_ordered_and_nothing_is_left_of_what_was_not(
        happenings in proptest::collection::vec((happening(), 0..8_u64), 1..14),
        last in proptest::collection::vec((1..4_u128, prop_oneof![Just(Run::Running), Just(Run::Stopped)], 4..6_u64), 0..4),
    ) {
        let mut node = Node::walled();
        for (happening, pause) in happenings {
            match happening {
                Happening::Plan(wanted) => node.run(&orders(&wanted)),
                Happening::Wall(stands) => node.wall(stands),
                Happening::Fault(verb) => {
                    let (what, reason) = ("a fault".to_owned(), "on order".to_owned());
                    node.machine.fake.fail(verb, RuntimeError::Failed { what, reason });
                }
                Happening::Killed(verb) => locked(&node.machine.killed_at).push_back(verb),
                Happening::Collapse(number) => node.machine.fake.collapse(id(number)),
                Happening::Restart(is_kept) => {
                    node.restart(if is_kept { Farewell::Keep } else { Farewell::Clear });
                }
                Happening::Enter(number) => {
                    let _ = node.computes().open(id(number), &WayIn::Port { port: 1 });
                }
            }
            std::thread::sleep(Duration::from_millis(pause));
        }
        // Who was killed is started again; nothing goes wrong any more.
        locked(&node.machine.killed_at).clear();
        node.restart(Farewell::Keep);
        node.wall(true);
        let last = orders(&last);
        // Faults that are still to come are met by starts of their own.
        for start in 6.. {
            node.run(&last.iter().map(|order| Instance { start, ..order.clone() }).collect::<Vec<_>>());
            let is_settled = |order: &Instance| {
                let wanted = if order.run == Run::Stopped { STOPPED } else { RUNNING };
                let reports = node.computes().reports();
                reports.iter().any(|report| {
                    report.compute == order.compute && report.state == wanted && report.start == start
                })
            };
            let until = Instant::now() + Duration::from_millis(500);
            while !last.iter().all(is_settled) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
            if last.iter().all(is_settled) {
                break;
            }
            prop_assert!(start < 20, "it never settles: {:?}", node.computes().reports());
        }
        let held: BTreeSet<_> = last.iter().map(|order| order.compute).collect();
        until("nobody else is there", || {
            node.machine.fake.list().unwrap().iter().all(|compute| held.contains(compute))
        });
        node.run(&[]);
        node.assert_empty();
    }
}
