//! The runtime of this node beyond what every runtime keeps.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use bastide_agent::compute::oci::Oci;
use bastide_agent::compute::runtime::{Observed, Order, Runtime, RuntimeError, SHARE_USERS};
use bastide_plan::compute_plan::{File, Isolation, Share};
use bastide_plan::way_in::{Account, Exit, Process};
use uuid::Uuid;

use crate::support::{
    PATIENCE, at_a_terminal, finish, leftovers, oci, process, read_until, shell, until, with_oci, write,
};

#[test]
fn an_instance_finds_what_was_ordered() {
    with_oci(|stage| {
        let mut order = stage.order();
        order.instance.files = vec![File { path: "/etc/pip/pip.conf".into(), content: "[global]\n".into() }];
        let order = stage.run(order);
        let (said, exit) = stage
            .say(&order, "id -un; pwd; hostname; cat /etc/resolv.conf /etc/pip/pip.conf; echo $PLACE $FROM $HUB $USER");
        assert_eq!(exit, Exit::Status(0));
        assert_eq!(
            said,
            "azureuser\n/home/azureuser\nworkbench\nnameserver 10.0.0.1\n[global]\ninstance image contoso azureuser\n"
        );
        let keys = "stat -c '%a %U' ~/.ssh ~/.ssh/authorized_keys; cat ~/.ssh/authorized_keys";
        assert_eq!(stage.say(&order, keys).0, "700 azureuser\n600 azureuser\nssh-ed25519 AAAA mei@laptop\n");
        assert_eq!(stage.say(&order, "touch /run/bastide/jupyter.sock && stat -c %a /run/bastide").0, "700\n");
        // What changes while it runs is seen at once, and is not its own to change.
        let mut changed = order.clone();
        changed.instance.files[0].content = "[install]\n".into();
        stage.runtime.create(&changed).unwrap();
        assert_eq!(stage.say(&order, "cat /etc/pip/pip.conf").0, "[install]\n");
        assert_ne!(stage.say_as(&order, Account::Root, "echo > /etc/pip/pip.conf").1, Exit::Status(0));
    });
}

#[test]
fn root_inside_can_do_what_a_setup_script_does() {
    with_oci(|stage| {
        let order = stage.running();
        let script =
            "id -u; mkdir /opt && echo x > /opt/file && chmod 2750 /opt && stat -c %a /opt; rm /bin/wc; ls /bin/wc";
        assert_eq!(stage.say_as(&order, Account::Root, script).0.lines().take(2).collect::<Vec<_>>(), ["0", "2750"]);
        // It is gone from its disk, not from the image.
        assert!(stage.image().join("bin/wc").is_symlink());
    });
}

#[test]
fn shared_folders_have_the_same_owner_everywhere() {
    with_oci(|stage| {
        let folder = stage.directory.path().join("share");
        let share = |namespace, read_only| {
            let mut order = stage.order_in(namespace);
            order.instance.shares = vec![Share { id: Uuid::nil(), path: "/mnt/files".into(), read_only }];
            order.shares = vec![folder.clone()];
            stage.run(order)
        };
        let (writer, reader) = (share(0, false), share(1, true));
        assert_eq!(stage.say(&writer, "echo hello > /mnt/files/note").1, Exit::Status(0));
        assert_eq!(fs::metadata(folder.join("note")).unwrap().uid(), SHARE_USERS + 1000);
        assert_eq!(stage.say(&reader, "cat /mnt/files/note; stat -c %u /mnt/files/note").0, "hello\n1000\n");
        assert_ne!(stage.say(&reader, "echo > /mnt/files/other").1, Exit::Status(0));
        // A setuid file for everybody to find makes nobody its owner.
        stage.say(
            &writer,
            "cp /bin/busybox /mnt/files/busybox-own; chmod 4755 /mnt/files/busybox-own; chmod 755 /mnt/files",
        );
        assert_eq!(stage.say_as(&reader, Account::Root, "/mnt/files/busybox-own id -u").0, "0\n");
        for order in [&writer, &reader] {
            stage.runtime.delete(order.instance.compute).unwrap();
        }
        assert!(folder.join("note").exists());
    });
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_made() {
    with_oci(|stage| {
        let refused = |change: fn(&mut Order), word: &str| {
            let mut order = stage.order();
            change(&mut order);
            let error = stage.runtime.create(&order).unwrap_err();
            assert!(matches!(error, RuntimeError::Unable(_)) && error.to_string().contains(word), "{error}");
            assert_eq!(stage.runtime.observe(order.instance.compute).unwrap(), Observed::Absent);
        };
        refused(|order| order.instance.isolation = Isolation::Gvisor, "gVisor");
        refused(|order| order.instance.size.gpus = 1, "graphics");
        refused(|order| order.instance.user = "root".into(), "root");
        refused(|order| order.instance.user = "a:0:0".into(), "a:0:0");
        for path in ["etc/x", "/etc/../x", "/proc/sys/x", "/dev/x", "//etc/x", "/"] {
            let mut order = stage.order();
            order.instance.files = vec![File { path: path.into(), content: String::new() }];
            assert!(matches!(stage.runtime.create(&order), Err(RuntimeError::Unable(_))), "{path}");
        }
    });
}

#[test]
fn graphics_processors_are_given_to_one_instance_each() {
    with_oci(|stage| {
        let cdi = stage.directory.path().join("cdi");
        fs::create_dir(&cdi).unwrap();
        // A device that is there on every node plays the processor, and a file the driver.
        fs::write(cdi.join("driver"), "library").unwrap();
        let file = format!(
            r#"{{"cdiVersion": "0.5.0", "kind": "example.com/gpu", "devices": [{{"name": "0", "containerEdits":
                {{"deviceNodes": [{{"path": "/dev/gpu0", "hostPath": "/dev/loop-control"}}]}}}}],
                "containerEdits": {{"env": ["DRIVER=550"],
                "mounts": [{{"hostPath": "{}", "containerPath": "/usr/lib/driver.so"}}]}}}}"#,
            cdi.join("driver").display()
        );
        fs::write(cdi.join("example.json"), file).unwrap();
        let runtime = oci(&stage.directory.path().join("agent"), &stage.program).with_devices(vec![cdi]);
        assert_eq!(runtime.abilities().gpus, ["example.com/gpu=0"]);
        let mut order = stage.order();
        order.instance.size.gpus = 1;
        runtime.create(&order).unwrap();
        runtime.start(order.instance.compute).unwrap();
        let look = "echo $DRIVER; cat /usr/lib/driver.so; echo; test -c /dev/gpu0 && stat -c %t:%T /dev/gpu0";
        let execution = runtime.exec(order.instance.compute, &process(&["sh", "-c", look])).unwrap();
        assert_eq!(finish(execution).0, "550\nlibrary\na:ed\n");
        let mut second = stage.order();
        second.instance.size.gpus = 1;
        let error = runtime.create(&second).unwrap_err();
        assert!(matches!(error, RuntimeError::Unable(_)), "{error}");
        assert_eq!(runtime.observe(second.instance.compute).unwrap(), Observed::Absent);
        runtime.delete(order.instance.compute).unwrap();
        runtime.create(&second).unwrap();
    });
}

#[test]
fn what_is_not_confined_as_ordered_is_ended() {
    for (what, edit) in [
        ("Seccomp is 0", r#"s/"seccomp":{.*\]}\]}/"timeOffsets":{}/"#),
        ("CapBnd is", r#"s/"bounding":\[\]/"bounding":["CAP_NET_RAW"]/"#),
        ("/proc/sys can be written to", r#"s/"readonlyPaths":\[[^]]*\]/"readonlyPaths":[]/"#),
        ("/proc/keys is not masked", r#"s/"maskedPaths":\[[^]]*\]/"maskedPaths":[]/"#),
        ("the limit of processes", r#"s/"pids":{"limit":100}/"pids":{"limit":9999}/"#),
    ] {
        with_oci(|stage| {
            // A runtime that leaves out what it was asked for, and says nothing.
            let (negligent, program) = (stage.directory.path().join("negligent"), stage.program.display());
            let bundle = r#"bundle=$(echo "$*" | sed -n 's/.* --bundle \([^ ]*\) .*/\1/p')"#;
            let script = format!(
                "#!/bin/sh\n{bundle}\n[ -z \"$bundle\" ] || sed -i '{edit}' $bundle/config.json\nexec {program} \"$@\"\n"
            );
            fs::write(&negligent, script).unwrap();
            fs::set_permissions(&negligent, fs::Permissions::from_mode(0o755)).unwrap();
            let runtime = Oci::open_with(&stage.directory.path().join("agent"), Some(&negligent)).unwrap();
            let order = stage.order();
            runtime.create(&order).unwrap();
            let error = runtime.start(order.instance.compute).unwrap_err();
            assert!(matches!(&error, RuntimeError::NotConfined(reason) if reason.contains(what)), "{what}: {error}");
            assert_eq!(runtime.observe(order.instance.compute).unwrap(), Observed::Stopped);
            assert_eq!(leftovers(&order), Vec::<String>::new());
        });
    }
}

#[test]
fn a_disk_grows_and_does_not_shrink() {
    with_oci(|stage| {
        let mut order = stage.running();
        stage.say(&order, "echo kept > ~/note");
        stage.runtime.stop(order.instance.compute, Duration::ZERO).unwrap();
        order.instance.size.disk = 512 << 20;
        stage.run(order.clone());
        assert_eq!(
            stage.say(&order, "dd if=/dev/zero of=/tmp/large bs=1M count=300 2>/dev/null && cat ~/note").0,
            "kept\n"
        );
        order.instance.size.disk = 64 << 20;
        stage.runtime.create(&order).unwrap();
        assert_eq!(stage.say(&order, "cat ~/note").0, "kept\n");
    });
}

#[test]
fn who_has_lost_the_home_begins_elsewhere() {
    with_oci(|stage| {
        let order = stage.running();
        assert_eq!(stage.say_as(&order, Account::Root, "rmdir /root; pwd").0, "/root\n");
        assert_eq!(stage.say_as(&order, Account::Root, "pwd").0, "/\n");
        let there = Process { directory: Some("/etc".into()), ..process(&["pwd"]) };
        assert_eq!(finish(stage.runtime.exec(order.instance.compute, &there).unwrap()).0, "/etc\n");
    });
}

#[test]
fn many_come_and_go_at_once() {
    with_oci(|stage| {
        let orders: Vec<_> = (0..24).map(|number| stage.order_in(number % 2)).collect();
        std::thread::scope(|scope| {
            for order in &orders {
                scope.spawn(|| {
                    let compute = order.instance.compute;
                    stage.run(order.clone());
                    for status in [0, 3] {
                        assert_eq!(stage.say(order, &format!("exit {status}")).1, Exit::Status(status));
                    }
                    stage.runtime.stop(compute, Duration::ZERO).unwrap();
                    stage.runtime.start(compute).unwrap();
                    assert_eq!(stage.say(order, "echo again").0, "again\n");
                    stage.runtime.delete(compute).unwrap();
                });
            }
        });
        assert_eq!(stage.runtime.list().unwrap(), []);
        for order in &orders {
            assert_eq!(leftovers(order), Vec::<String>::new());
        }
    });
}

#[test]
fn what_is_ordered_anew_while_it_runs_is_for_the_next_start() {
    with_oci(|stage| {
        let mut order = stage.order();
        order.instance.files = vec![File { path: "/etc/one".into(), content: "1".into() }];
        let mut order = stage.run(order);
        let compute = order.instance.compute;
        order.instance.size.processes = 50;
        order.instance.size.disk = 512 << 20;
        order.instance.files.insert(0, File { path: "/etc/two".into(), content: "2".into() });
        order.instance.keys = vec!["ssh-ed25519 BBBB mei@phone".into()];
        stage.runtime.create(&order).unwrap();
        assert_eq!(stage.runtime.observe(compute).unwrap(), Observed::Running);
        // But who may log in is so at once, and nothing is seen in the place of something else.
        assert_eq!(stage.say(&order, "cat /etc/one ~/.ssh/authorized_keys").0, "1ssh-ed25519 BBBB mei@phone\n");
        stage.runtime.stop(compute, Duration::ZERO).unwrap();
        stage.runtime.start(compute).unwrap();
        assert_eq!(stage.say(&order, "cat /etc/one /etc/two").0, "12");
        assert_eq!(stage.runtime.observe(compute).unwrap(), Observed::Running);
        let fill = "dd if=/dev/zero of=/tmp/large bs=1M count=300 2>/dev/null";
        assert_eq!(stage.say(&order, fill).1, Exit::Status(0));
    });
}

#[test]
fn what_runs_is_asked_before_it_is_ended() {
    with_oci(|stage| {
        let order = stage.running();
        let polite = "trap 'echo asked > ~/said; exit' TERM; echo ready; while :; do sleep 0.05; done";
        let execution = stage.runtime.exec(order.instance.compute, &process(&["sh", "-c", polite])).unwrap();
        read_until(&execution.ends[1], "ready");
        let shell = stage.runtime.exec(order.instance.compute, &at_a_terminal(&["sh", "-i"])).unwrap();
        write(&shell.ends[0], "echo 'here '$((1+1))\n");
        read_until(&shell.ends[0], "here 2");
        let began = Instant::now();
        stage.runtime.stop(order.instance.compute, PATIENCE).unwrap();
        assert!(began.elapsed() < PATIENCE / 2, "nobody was waited for in vain");
        stage.runtime.start(order.instance.compute).unwrap();
        assert_eq!(stage.say(&order, "cat ~/said").0, "asked\n");
    });
}

#[test]
fn a_daemon_outlives_who_started_it_and_a_job_does_not() {
    with_oci(|stage| {
        let order = stage.running();
        let script = "setsid sleep 1001 & sh -c 'sleep 1002' & echo ready; sleep 1003";
        let execution = stage.runtime.exec(order.instance.compute, &process(&["sh", "-c", script])).unwrap();
        read_until(&execution.ends[1], "ready");
        let sleeping = || stage.say(&order, "ps -o args | grep -o '^sleep 10[0-9]*' | sort").0;
        until("all have begun", || sleeping().lines().count() == 3);
        drop(execution);
        until("one is left", || sleeping() == "sleep 1001\n");
    });
}

#[test]
fn an_instance_that_ends_by_itself_is_stopped_and_can_be_started_again() {
    with_oci(|stage| {
        let order = stage.running();
        let compute = order.instance.compute;
        // Held, and not waited for.
        let mut held = stage.runtime.exec(compute, &process(&["sleep", "60"])).unwrap();
        let procs =
            format!("find /sys/fs/cgroup -path '*{compute}/cgroup.procs' -exec cat {{}} + | sort -n | head -n 1");
        shell(&format!("kill -9 $({procs})"));
        until("it has ended", || stage.runtime.observe(compute).unwrap() == Observed::Stopped);
        assert!(matches!(stage.runtime.exec(compute, &process(&["true"])), Err(RuntimeError::NotRunning)));
        let began = Instant::now();
        stage.runtime.start(compute).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(stage.say(&order, "echo again").0, "again\n");
        assert_eq!(held.process.wait(PATIENCE).unwrap(), Some(Exit::Signal(9)));
    });
}

#[test]
#[ignore = "measures, which takes a quiet machine"]
fn is_fast() {
    with_oci(|stage| {
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        let (mut creates, mut starts) = (Vec::new(), Vec::new());
        let began = Instant::now();
        let orders: Vec<_> = (0..40)
            .map(|_| {
                let (order, began) = (stage.order(), Instant::now());
                stage.runtime.create(&order).unwrap();
                creates.push(began.elapsed());
                stage.runtime.start(order.instance.compute).unwrap();
                starts.push(began.elapsed());
                order
            })
            .collect();
        let all = began.elapsed();
        let execs = orders.iter().take(20).map(|order| {
            let began = Instant::now();
            stage.say(order, "true");
            began.elapsed()
        });
        let execs = execs.collect();
        let (create, start, exec) = (median(creates), median(starts), median(execs));
        eprintln!("create {create:?}, create and start {start:?}, 40 of them {all:?}, exec {exec:?}");
    });
}
