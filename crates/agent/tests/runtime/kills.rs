//! Killing: the runtime, and the agent, at each of their verbs. What is left is what the next one can go on from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bastide_agent::compute::runtime::{Observed, Order, Runtime, RuntimeError};
use bastide_plan::way_in::{Account, Process};

use crate::support::{CHOSEN, PATIENCE, Stage, leftovers, oci, process, read_until, until, with_oci};

#[test]
fn the_runtime_may_be_killed_at_any_verb() {
    with_oci(|stage| {
        each_killing(stage, "$$", |order, deadly| {
            let runtime = oci(&stage.directory.path().join("agent"), deadly);
            let error = live(&runtime, order).unwrap_err();
            assert!(matches!(error, RuntimeError::Failed { .. } | RuntimeError::NotRunning), "{error}");
        });
    });
}

#[test]
fn the_agent_may_be_killed_at_any_verb() {
    with_oci(|stage| {
        each_killing(stage, "$PPID", |order, deadly| {
            assert!(!helper(stage, deadly, order, None).status().unwrap().success());
        });
    });
}

/// Has somebody killed before, while and after each verb; and the next one take up what was left of it.
fn each_killing(stage: &Stage, victim: &str, live_until_killed: impl Fn(&Order, &Path)) {
    for verb in ["run", "exec", "delete"] {
        for moment in ["before", "while", "after"] {
            let order = stage.order();
            let compute = order.instance.compute;
            let killing = Killing::new(stage, victim, verb, moment);
            live_until_killed(&order, &killing.program);
            assert!(killing.mark.exists(), "nobody was killed {moment} {verb}");
            take_up(stage, &order);
            stage.runtime.delete(compute).unwrap();
            assert_eq!(leftovers(&order), Vec::<String>::new(), "{moment} {verb}");
            assert_eq!(stage.runtime.observe(compute).unwrap(), Observed::Absent);
        }
    }
    assert_eq!(stage.runtime.list().unwrap(), []);
}

/// Goes on with what somebody has left who was killed.
fn take_up(stage: &Stage, order: &Order) {
    stage.run(order.clone());
    stage.runtime.freeze(order.instance.compute, false).unwrap();
    assert_eq!(stage.say(order, "echo fine").0, "fine\n");
}

/// Every verb once, as far as it goes.
fn live(runtime: &dyn Runtime, order: &Order) -> Result<(), RuntimeError> {
    let compute = order.instance.compute;
    runtime.create(order)?;
    runtime.start(compute)?;
    let root = Process { account: Account::Root, ..process(&["true"]) };
    runtime.exec(compute, &root)?.process.wait(PATIENCE)?;
    runtime.freeze(compute, true)?;
    runtime.freeze(compute, false)?;
    runtime.stop(compute, Duration::ZERO)?;
    runtime.delete(compute)
}

/// The runtime, but for one verb, at which it kills itself or who has run it.
struct Killing {
    program: PathBuf,
    mark: PathBuf,
}

impl Killing {
    fn new(stage: &Stage, victim: &str, verb: &str, moment: &str) -> Self {
        let program = stage.directory.path().join(format!("{verb}-{moment}"));
        let mark = program.with_extension("mark");
        let real = stage.program.display();
        let act = match moment {
            "before" => format!("kill -9 {victim}; sleep 1"),
            "while" => format!("{real} \"$@\" & sleep 0.01; kill -9 $! {victim}; sleep 1"),
            _ => format!("{real} \"$@\"; kill -9 {victim}; sleep 1"),
        };
        // Once: whoever takes up what was left may need the verb.
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *\" json {verb} \"*) ;; *) exec {real} \"$@\" ;; esac\n\
             [ -e {mark} ] && exec {real} \"$@\"\ntouch {mark}\n{act}\n",
            mark = mark.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { program, mark }
    }
}

#[test]
fn an_agent_that_is_killed_leaves_instances_running() {
    with_oci(|stage| {
        let order = stage.order();
        assert!(!helper(stage, &stage.program, &order, Some("running")).status().unwrap().success());
        assert_eq!(stage.runtime.list().unwrap(), [order.instance.compute]);
        assert_eq!(stage.runtime.observe(order.instance.compute).unwrap(), Observed::Running);
        assert_eq!(stage.say(&order, "echo still there").0, "still there\n");
        // The next agent ends what the first had started for somebody, but not what has made itself independent.
        let _next = oci(&stage.directory.path().join("agent"), &stage.program);
        until("one is left", || stage.say(&order, "ps -o args | grep -o '^sleep 10[0-9]*'").0 == "sleep 1001\n");
        stage.runtime.delete(order.instance.compute).unwrap();
        assert_eq!(leftovers(&order), Vec::<String>::new());
    });
}

#[test]
fn an_agent_may_be_killed_at_any_line() {
    with_oci(|stage| {
        let order = stage.order();
        for round in 0..12 {
            let mut agent = helper(stage, &stage.program, &order, None).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(20 + round * 23));
            agent.kill().unwrap();
            agent.wait().unwrap();
            // The next one takes up what it finds.
            match round % 3 {
                0 => stage.runtime.delete(order.instance.compute).unwrap(),
                1 => take_up(stage, &order),
                _ => {}
            }
        }
        stage.runtime.delete(order.instance.compute).unwrap();
        assert_eq!(leftovers(&order), Vec::<String>::new());
        assert_eq!(stage.runtime.list().unwrap(), []);
    });
}

/// An agent of another process, on the same directory.
fn helper(stage: &Stage, program: &Path, order: &Order, until: Option<&str>) -> Command {
    let written = stage.directory.path().join("order");
    fs::write(&written, serde_json::to_vec(order).unwrap()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kills::an_agent", "--exact", "--ignored"]).stdout(Stdio::null()).stderr(Stdio::null());
    command
        .env("BASTIDE_AGENT", stage.directory.path())
        .env(CHOSEN, program)
        .env("BASTIDE_UNTIL", until.unwrap_or_default());
    command
}

/// Does everything again and again until it is killed; or kills itself when an instance runs.
#[test]
#[ignore = "is killed by the tests above"]
fn an_agent() {
    let directory = std::env::var_os("BASTIDE_AGENT").unwrap();
    let order: Order = serde_json::from_slice(&fs::read(Path::new(&directory).join("order")).unwrap()).unwrap();
    let program = std::env::var_os(CHOSEN).unwrap();
    let runtime = oci(&Path::new(&directory).join("agent"), Path::new(&program));
    let compute = order.instance.compute;
    loop {
        if std::env::var("BASTIDE_UNTIL").unwrap() == "running" {
            runtime.create(&order).unwrap();
            runtime.start(compute).unwrap();
            let script = "setsid sleep 1001 & sh -c 'sleep 1002' & echo ready; sleep 1003";
            let execution = runtime.exec(compute, &process(&["sh", "-c", script])).unwrap();
            read_until(&execution.ends[1], "ready");
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        live(&runtime, &order).unwrap();
    }
}
