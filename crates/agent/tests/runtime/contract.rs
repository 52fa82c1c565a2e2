//! What every runtime keeps.

use std::time::Duration;

use bastide_agent::compute::runtime::{Observed, RuntimeError, Target};
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::{Account, Exit, Process, TerminalSize};
use uuid::Uuid;

use crate::support::{PATIENCE, Stage, at_a_terminal, finish, process, read_until, until, with_fake, with_oci, write};

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod fake {
            $(#[test] fn $name() { super::with_fake(super::$name); })+
        }
        mod oci {
            $(#[test] fn $name() { super::with_oci(super::$name); })+
        }
    };
}

contract! {
    an_instance_lives_and_leaves_nothing,
    every_verb_may_be_repeated,
    what_was_written_outlives_a_stop_but_not_a_deletion,
    a_process_ends_as_it_ends,
    input_goes_in_and_output_comes_out,
    a_terminal_has_a_size,
    a_signal_reaches_a_process,
    a_process_that_nobody_holds_is_gone,
    a_frozen_instance_stands_still,
    nothing_is_started_where_nothing_runs,
    nobody_listens,
}

fn an_instance_lives_and_leaves_nothing(stage: &Stage) {
    let order = stage.order();
    let compute = order.instance.compute;
    let observed = || stage.runtime.observe(compute).unwrap();
    assert_eq!(observed(), Observed::Absent);
    stage.runtime.create(&order).unwrap();
    assert_eq!(observed(), Observed::Stopped);
    assert_eq!(stage.runtime.list().unwrap(), [compute]);
    stage.runtime.start(compute).unwrap();
    assert_eq!(observed(), Observed::Running);
    assert!(stage.runtime.usage(compute).unwrap().processes >= 1);
    stage.runtime.stop(compute, Duration::ZERO).unwrap();
    assert_eq!(observed(), Observed::Stopped);
    stage.runtime.delete(compute).unwrap();
    assert_eq!(observed(), Observed::Absent);
    assert_eq!(stage.runtime.list().unwrap(), []);
}

fn every_verb_may_be_repeated(stage: &Stage) {
    let order = stage.order();
    let compute = order.instance.compute;
    for _ in 0..2 {
        stage.runtime.create(&order).unwrap();
    }
    for _ in 0..2 {
        stage.runtime.start(compute).unwrap();
    }
    let (first, _) = stage.say(&order, "echo still the same");
    assert_eq!(first, "still the same\n");
    // It is described anew while it runs, and goes on.
    stage.runtime.create(&order).unwrap();
    assert_eq!(stage.runtime.observe(compute).unwrap(), Observed::Running);
    for _ in 0..2 {
        stage.runtime.freeze(compute, true).unwrap();
    }
    for _ in 0..2 {
        stage.runtime.freeze(compute, false).unwrap();
    }
    for _ in 0..2 {
        stage.runtime.stop(compute, Duration::ZERO).unwrap();
    }
    stage.runtime.start(compute).unwrap();
    for _ in 0..2 {
        stage.runtime.delete(compute).unwrap();
    }
}

fn what_was_written_outlives_a_stop_but_not_a_deletion(stage: &Stage) {
    let order = stage.running();
    let compute = order.instance.compute;
    assert_eq!(stage.say(&order, "echo kept > ~/note").1, Exit::Status(0));
    stage.runtime.stop(compute, Duration::ZERO).unwrap();
    stage.runtime.create(&order).unwrap();
    stage.runtime.start(compute).unwrap();
    assert_eq!(stage.say(&order, "cat ~/note"), ("kept\n".into(), Exit::Status(0)));
    stage.runtime.delete(compute).unwrap();
    stage.run(order.clone());
    assert_ne!(stage.say(&order, "cat ~/note").1, Exit::Status(0));
}

fn a_process_ends_as_it_ends(stage: &Stage) {
    let order = stage.running();
    for status in [0, 1, 7, 255] {
        assert_eq!(stage.say(&order, &format!("exit {status}")).1, Exit::Status(status));
    }
    let nobody = stage.runtime.exec(order.instance.compute, &process(&["no-such-program"])).unwrap_err();
    assert!(nobody.to_string().contains("no-such-program"), "{nobody}");
}

fn input_goes_in_and_output_comes_out(stage: &Stage) {
    let order = stage.running();
    let mut execution = stage.runtime.exec(order.instance.compute, &process(&["cat"])).unwrap();
    assert_eq!(execution.ends.len(), 3);
    write(&execution.ends[0], "there and back\n");
    read_until(&execution.ends[1], "there and back\n");
    assert_eq!(execution.process.wait(Duration::from_millis(20)).unwrap(), None);
    // The end of its input is its end.
    execution.ends.remove(0);
    assert_eq!(execution.process.wait(PATIENCE).unwrap(), Some(Exit::Status(0)));
    // What is asked again is answered again.
    assert_eq!(execution.process.wait(PATIENCE).unwrap(), Some(Exit::Status(0)));
}

fn a_terminal_has_a_size(stage: &Stage) {
    let order = stage.running();
    let mut execution = stage.runtime.exec(order.instance.compute, &at_a_terminal(&["sh"])).unwrap();
    assert_eq!(execution.ends.len(), 1);
    write(&execution.ends[0], "stty size\n");
    read_until(&execution.ends[0], "30 90");
    execution.process.resize(TerminalSize { rows: 50, columns: 120 }).unwrap();
    write(&execution.ends[0], "stty size\n");
    read_until(&execution.ends[0], "50 120");
    write(&execution.ends[0], "exit 3\n");
    assert_eq!(execution.process.wait(PATIENCE).unwrap(), Some(Exit::Status(3)));
    let mut without = stage.runtime.exec(order.instance.compute, &process(&["cat"])).unwrap();
    without.process.resize(TerminalSize { rows: 1, columns: 1 }).unwrap_err();
}

fn a_signal_reaches_a_process(stage: &Stage) {
    let order = stage.running();
    let mut execution = stage.runtime.exec(order.instance.compute, &process(&["sleep", "60"])).unwrap();
    execution.process.signal(15).unwrap();
    assert_eq!(execution.process.wait(PATIENCE).unwrap(), Some(Exit::Signal(15)));
    assert_eq!(Exit::Signal(15).code(), 143);
    // One that is too late does no harm.
    execution.process.signal(15).unwrap();
}

fn a_process_that_nobody_holds_is_gone(stage: &Stage) {
    let order = stage.running();
    let usage = || stage.runtime.usage(order.instance.compute).unwrap().processes;
    let before = usage();
    let execution = stage.runtime.exec(order.instance.compute, &process(&["sleep", "60"])).unwrap();
    assert!(usage() > before);
    drop(execution);
    until("it is gone", || usage() == before);
}

fn a_frozen_instance_stands_still(stage: &Stage) {
    let order = stage.running();
    let compute = order.instance.compute;
    stage.runtime.freeze(compute, true).unwrap();
    assert_eq!(stage.runtime.observe(compute).unwrap(), Observed::Frozen);
    stage.runtime.exec(compute, &process(&["true"])).unwrap_err();
    stage.runtime.freeze(compute, false).unwrap();
    assert_eq!(stage.say(&order, "echo awake").0, "awake\n");
    stage.runtime.freeze(compute, true).unwrap();
    // Standing still does not keep it from ending.
    stage.runtime.stop(compute, Duration::ZERO).unwrap();
    assert_eq!(stage.runtime.observe(compute).unwrap(), Observed::Stopped);
}

fn nothing_is_started_where_nothing_runs(stage: &Stage) {
    let absent = ComputeId(Uuid::new_v4());
    assert!(matches!(stage.runtime.start(absent), Err(RuntimeError::Unknown(id)) if id == absent));
    assert!(matches!(stage.runtime.stop(absent, Duration::ZERO), Err(RuntimeError::Unknown(_))));
    assert!(matches!(stage.runtime.usage(absent), Err(RuntimeError::Unknown(_))));
    assert!(matches!(stage.runtime.exec(absent, &process(&["true"])), Err(RuntimeError::Unknown(_))));
    stage.runtime.delete(absent).unwrap();
    let order = stage.order();
    stage.runtime.create(&order).unwrap();
    let compute = order.instance.compute;
    assert!(matches!(stage.runtime.exec(compute, &process(&["true"])), Err(RuntimeError::NotRunning)));
    assert!(matches!(stage.runtime.freeze(compute, true), Err(RuntimeError::NotRunning)));
    assert!(matches!(stage.runtime.dial(compute, &Target::Port(80)), Err(RuntimeError::NotRunning)));
}

fn nobody_listens(stage: &Stage) {
    let order = stage.running();
    for target in [Target::Port(8888), Target::Socket("/run/nobody.sock".into())] {
        let error = stage.runtime.dial(order.instance.compute, &target).unwrap_err();
        assert!(matches!(error, RuntimeError::Failed { .. }), "{error}");
    }
    // It is all the same to the instance.
    let root = Process { account: Account::Root, ..process(&["echo", "here"]) };
    let (printed, exit) = finish(stage.runtime.exec(order.instance.compute, &root).unwrap());
    assert_eq!((printed.as_str(), exit), ("here\n", Exit::Status(0)));
}
