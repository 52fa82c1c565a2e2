use super::*;

#[test]
fn hierarchies_are_found_among_mounts() {
    let found = hierarchy("cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0").unwrap();
    assert!(found.controllers.contains(&"cpuacct".to_owned()));
    assert_eq!(found.root, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    assert!(hierarchy("cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0").unwrap().controllers.is_empty());
    assert!(hierarchy("tmpfs /sys/fs/cgroup tmpfs rw 0 0").is_none());
}

#[test]
fn a_quota_is_of_a_period() {
    assert_eq!(millis(50_000, 100_000), Some(500));
    assert_eq!(millis(50_000, 0), None);
}

/// A tree of version 2 as the kernel shows it, with the group of one instance.
fn unified() -> (tempfile::TempDir, Groups) {
    let root = tempfile::tempdir().unwrap();
    let group = root.path().join(format!("{PREFIX}one"));
    fs::create_dir(&group).unwrap();
    for (file, content) in [
        ("cgroup.procs", "41\n42\n"),
        ("cgroup.events", "populated 1\nfrozen 1\n"),
        ("cpu.max", "50000 100000\n"),
        ("cpu.stat", "usage_usec 1234\nuser_usec 1000\n"),
        ("memory.max", "1073741824\n"),
        ("memory.swap.max", "0\n"),
        ("memory.current", "4096\n"),
        ("memory.events", "low 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"),
        ("pids.max", "64\n"),
        ("pids.current", "2\n"),
    ] {
        fs::write(group.join(file), content).unwrap();
    }
    let groups = Groups::unified(root.path());
    (root, groups)
}

/// Runs a test where the groups of version 2 are in the place of all others, as on a node that has no others. Which
/// controllers they have is up to the node: beside version 1 they have what is left.
fn on_version_2(test: impl FnOnce(&Path) + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "\n*** SKIPPED, and nothing is known about version 2 of control groups: only root can mount it ***\n"
        );
        return;
    }
    let root = Path::new("/sys/fs/cgroup");
    let enter = || {
        // SAFETY: descriptors are not unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        mount("none", root, "cgroup2", MountFlags::empty(), None).unwrap();
        test(root);
    };
    std::thread::scope(|scope| scope.spawn(enter).join()).unwrap();
}

#[test]
fn a_node_that_cannot_limit_is_refused() {
    on_version_2(|root| {
        let there = fs::read_to_string(root.join("cgroup.controllers")).unwrap();
        let has_all = NEEDED_OF_VERSION_2.iter().all(|needed| there.split_whitespace().any(|one| one == *needed));
        match Groups::find() {
            Ok(groups) => assert!(has_all && groups.layout() == Layout::Unified),
            Err(error) => assert!(!has_all && error.to_string().contains("no control groups for cpu"), "{error}"),
        }
    });
}

#[test]
fn on_version_2_a_group_is_frozen_thawed_ended_and_removed() {
    on_version_2(|root| {
        let (groups, id) = (Groups::unified(root), uuid::Uuid::new_v4().to_string());
        let group = root.join(format!("{PREFIX}{id}"));
        fs::create_dir(&group).unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Pid::from_child(&child);
        assert!(groups.stranger(process, &id).is_some());
        fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        assert_eq!(groups.stranger(process, &id), None);
        assert_eq!(groups.processes(&id), [process]);
        assert!(!groups.is_frozen(&id));
        assert!(groups.freeze(&id) && groups.is_frozen(&id));
        assert!(groups.wake(&id) && !groups.is_frozen(&id));
        // Frozen or not, it ends.
        assert!(groups.freeze(&id));
        groups.kill(&id);
        assert!(!child.wait().unwrap().success());
        assert_eq!(groups.processes(&id), []);
        fs::create_dir(group.join("below")).unwrap();
        groups.remove(&id).unwrap();
        assert!(!group.exists());
    });
}

#[test]
fn version_2_is_read_as_the_kernel_writes_it() {
    let (root, groups) = unified();
    let limits =
        Limits { cpu_millis: Some(500), memory: Some(1 << 30), memory_and_swap: Some(1 << 30), processes: Some(64) };
    assert_eq!(groups.limits("one"), limits);
    assert_eq!(groups.taken("one"), Taken { cpu: 1234, memory: 4096, processes: 2 });
    assert_eq!(groups.killed_for_memory("one"), 2);
    assert!(groups.is_frozen("one") && groups.holds_swap("one"));
    assert_eq!(groups.processes("one").len(), 2);
    // Without a limit it says so in a word.
    let group = root.path().join(format!("{PREFIX}one"));
    for file in ["memory.max", "pids.max"] {
        fs::write(group.join(file), "max\n").unwrap();
    }
    fs::write(group.join("cpu.max"), "max 100000\n").unwrap();
    let none = Limits { cpu_millis: None, memory: None, memory_and_swap: None, processes: None };
    assert_eq!(groups.limits("one"), none);
    assert_eq!(groups.limits("another"), none);
    assert_eq!(groups.taken("another"), Taken::default());
}
