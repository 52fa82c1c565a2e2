//! An agent with the runtimes of this node, and no network but an empty one for each instance: what it keeps of many, and
//! of those that do not behave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_agent::agent::Peer;
use bastide_agent::compute::image::Unpacked;
use bastide_agent::network::names::leg_namespace;
use bastide_agent::{Agent, Engine, Farewell};
use bastide_plan::ComputePlan;
use bastide_plan::compute_plan::{Instance, Script, Size};
use bastide_plan::compute_report::{ComputeState, Step};
use bastide_plan::hub_plan::{ComputeId, HubId, PLAN_VERSION, Stamp};
use bastide_plan::message::Request;
use uuid::Uuid;

use crate::support::{PATIENCE, Stage, oci, shell, until, with_oci};

#[test]
fn a_script_that_never_ends_is_ended_with_all_that_it_has_started() {
    with_oci(|stage| {
        let node = Node::new(stage, 1);
        let content = "#!/bin/sh\ntrap '' TERM HUP\nsleep 2001 & (sleep 2002) &\nwhile :; do sleep 2003; done\n";
        let script = Script { content: content.into(), arguments: Vec::new(), seconds: 1 };
        node.run(|instance| instance.creation_script = Some(script.clone()));
        until("it has failed", || node.states().iter().any(|state| matches!(state, ComputeState::Failed { .. })));
        let states = node.states();
        let [ComputeState::Failed { step: Step::SetUp, reason }] = states.as_slice() else { panic!("{states:?}") };
        assert!(reason.contains("it took longer than its 1 s, and was ended"), "{reason}");
        until("nothing of it runs", || node.processes().is_empty());
    });
}

#[test]
fn forty_come_at_once_and_are_gone_at_once() {
    with_oci(|stage| {
        let node = Node::new(stage, 40);
        let (before, began) = (resident(), Instant::now());
        node.run(|_| ());
        let running = |state: &ComputeState| *state == ComputeState::Running;
        until("all run", || node.states().iter().filter(|state| running(state)).count() == 40);
        eprintln!("40 at once: {:?}, {} KiB of memory", began.elapsed(), resident().saturating_sub(before));
        let began = Instant::now();
        node.apply(Vec::new());
        until("all are gone", || node.states().is_empty());
        eprintln!("and gone again: {:?}", began.elapsed());
        assert_eq!(node.processes(), Vec::<String>::new());
    });
}

/// An agent that keeps instances.
struct Node {
    agent: Arc<Agent>,
    computes: Vec<ComputeId>,
}

impl Node {
    fn new(stage: &Stage, count: usize) -> Self {
        let computes: Vec<_> = (0..count).map(|_| ComputeId(Uuid::new_v4())).collect();
        for compute in &computes {
            shell(&format!("ip netns add {}", leg_namespace(*compute)));
        }
        let (runtime, root) = (oci(&stage.directory.path().join("node"), &stage.program), stage.image());
        let image = Unpacked { root, digest: "sha256:00".to_owned(), environment: Vec::new() };
        let engine = Engine { runtime: Arc::new(runtime), images: Box::new(move |_, _| Ok(image.clone())) };
        Self { agent: Agent::simulated(&stage.directory.path().join("data"), engine).unwrap(), computes }
    }

    /// Has all of them run.
    fn run(&self, order: impl Fn(&mut Instance)) {
        let size = Size { cpu_millis: 500, memory: 64 << 20, processes: 16, disk: 64 << 20, gpus: 0 };
        let instances = self.computes.iter().map(|compute| {
            let mut instance = Instance::plain(*compute, "workbench", size);
            order(&mut instance);
            instance
        });
        self.apply(instances.collect());
    }

    fn apply(&self, mut instances: Vec<Instance>) {
        instances.sort_by_key(|instance| instance.compute);
        let revision = i64::from(instances.is_empty());
        let stamp = Stamp { fence: 1, revision };
        let plan = ComputePlan { version: PLAN_VERSION, hub: HubId(Uuid::from_u128(1)), stamp, instances };
        self.agent.handle(Peer { fence: 1, is_root: true }, Request::Run { plan: Box::new(plan) }, Box::new(|_| ()));
    }

    fn states(&self) -> Vec<ComputeState> {
        self.agent.compute_reports().into_iter().map(|report| report.state).collect()
    }

    /// What runs in any of them.
    fn processes(&self) -> Vec<String> {
        let files = |compute| shell(&format!("cat /sys/fs/cgroup/pids/*{compute}/cgroup.procs 2>/dev/null || true"));
        self.computes.iter().flat_map(|compute| files(compute).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.apply(Vec::new());
        let deadline = Instant::now() + PATIENCE;
        while !self.agent.compute_reports().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.agent.stop(Farewell::Clear);
        for compute in &self.computes {
            let _ = std::process::Command::new("ip").args(["netns", "delete", &leg_namespace(*compute)]).status();
        }
    }
}

/// KiB of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
