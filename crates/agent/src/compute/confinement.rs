//! Reads back from the kernel what confines a process, and compares it with what was ordered. A runtime may leave out
//! what it does not know: one that was built without seccomp says nothing and starts (`reference/compute.md`, traps).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bastide_plan::compute_plan::Size;
use rustix::process::Pid;

use super::oci::bundle::{MASKED, READ_ONLY};
use super::oci::cgroup::{Groups, Limits};
use super::oci::view::USERS;
use super::runtime::Order;

/// What is not as ordered about the first process of an instance, each in a few words; nothing if all is well.
pub(super) fn faults(process: Pid, order: &Order, groups: &Groups) -> Vec<String> {
    let directory = PathBuf::from(format!("/proc/{}", process.as_raw_nonzero()));
    let id = order.instance.compute.to_string();
    let mut faults = powers(process);
    faults.extend(user_map(&directory, order.first_user));
    faults.extend(namespaces(&directory, &order.namespace));
    faults.extend(mounts(&directory));
    faults.extend(groups.stranger(process, &id));
    faults.extend(limits(groups.limits(&id), &order.instance.size, groups.holds_swap(&id)));
    faults
}

/// What is not as it is for the first process of its instance.
pub(super) fn differences(process: Pid, first: Pid) -> Vec<String> {
    let mut faults = powers(process);
    let namespaces = |process: Pid| PathBuf::from(format!("/proc/{}/ns", process.as_raw_nonzero()));
    for kind in ["net", "user", "mnt", "pid", "ipc", "uts", "cgroup"] {
        let own = identity(&namespaces(process).join(kind));
        if own.is_none() || own != identity(&namespaces(first).join(kind)) {
            faults.push(format!("it is in another {kind} namespace"));
        }
    }
    faults
}

/// What a process could do that it must not be able to.
fn powers(process: Pid) -> Vec<String> {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    match fs::read_to_string(&path) {
        Ok(status) => powers_in(&status),
        Err(error) => vec![format!("{path} cannot be read: {error}")],
    }
}

fn powers_in(status: &str) -> Vec<String> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| (name, NO_CAPABILITY));
    // 2: a filter, of whatever kind; a profile that does nothing is found out by the tests of it.
    let expected = capabilities.into_iter().chain([("NoNewPrivs", "1"), ("Seccomp", "2")]);
    let faults = expected.filter(|(name, value)| field(name) != Some(value));
    faults.map(|(name, value)| format!("{name} is {}, not {value}", field(name).unwrap_or("unknown"))).collect()
}

fn user_map(process: &Path, first_user: u32) -> Vec<String> {
    let expected = ["0".to_owned(), first_user.to_string(), USERS.to_string()];
    let is_expected = |file: &&str| {
        let map = fs::read_to_string(process.join(file)).unwrap_or_default();
        map.lines().count() == 1 && map.split_ascii_whitespace().eq(expected.iter().map(String::as_str))
    };
    let others = ["uid_map", "gid_map"].into_iter().filter(|file| !is_expected(file));
    others.map(|file| format!("{file} is not {}", expected.join(" "))).collect()
}

fn namespaces(process: &Path, network: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let network = identity(network);
    if network.is_none() || identity(&process.join("ns/net")) != network {
        faults.push("it is not in its network namespace".to_owned());
    }
    for kind in ["user", "mnt", "pid", "ipc", "uts", "cgroup"] {
        let own = identity(&process.join("ns").join(kind));
        if own.is_none() || own == identity(&Path::new("/proc/self/ns").join(kind)) {
            faults.push(format!("it has no {kind} namespace of its own"));
        }
    }
    faults
}

fn identity(namespace: &Path) -> Option<(u64, u64)> {
    fs::metadata(namespace).map(|metadata| (metadata.dev(), metadata.ino())).ok()
}

fn mounts(process: &Path) -> Vec<String> {
    match fs::read_to_string(process.join("mountinfo")) {
        Ok(mounts) => mounts_in(&mounts, |path| process.join("root").join(path.trim_start_matches('/')).exists()),
        Err(error) => vec![format!("its mounts cannot be read: {error}")],
    }
}

fn mounts_in(mounts: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mounts: Vec<_> = mounts.lines().filter_map(parse_mount).collect();
    // The last one on a path is the one that is seen.
    let at = |path: &str| mounts.iter().rev().find(|mount| mount.place == path);
    let mut faults = Vec::new();
    match at("/") {
        Some(root) if root.kind == "overlay" && root.has("nosuid") && root.has("nodev") => {}
        _ => faults.push("its root directory is not mounted as ordered".to_owned()),
    }
    for path in MASKED.into_iter().filter(|path| exists(path)) {
        // An empty directory, or the null device.
        if !at(path).is_some_and(|mount| mount.kind == "tmpfs" || mount.kind == "devtmpfs") {
            faults.push(format!("{path} is not masked"));
        }
    }
    for path in READ_ONLY.into_iter().filter(|path| exists(path)) {
        if !at(path).is_some_and(|mount| mount.has("ro")) {
            faults.push(format!("{path} can be written to"));
        }
    }
    let writable =
        mounts.iter().filter(|mount| ["sysfs", "cgroup", "cgroup2"].contains(&mount.kind) && !mount.has("ro"));
    faults.extend(writable.map(|mount| format!("{} can be written to", mount.place)));
    let foreign = ["securityfs", "debugfs", "tracefs", "bpf", "efivarfs"];
    let foreign = mounts.iter().filter(|mount| foreign.contains(&mount.kind));
    faults.extend(foreign.map(|mount| format!("{} is mounted at {}", mount.kind, mount.place)));
    faults
}

/// A line of `mountinfo`, as `proc_pid_mountinfo(5)` has it.
struct MountLine<'a> {
    place: &'a str,
    options: &'a str,
    kind: &'a str,
}

impl MountLine<'_> {
    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|listed| listed == option)
    }
}

fn parse_mount(line: &str) -> Option<MountLine<'_>> {
    let (mount, system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(4);
    Some(MountLine { place: fields.next()?, options: fields.next()?, kind: system.split(' ').next()? })
}

fn limits(found: Limits, size: &Size, counts_swap: bool) -> Vec<String> {
    let expected = [
        ("processor", found.cpu_millis, u64::from(size.cpu_millis)),
        ("memory", found.memory, size.memory),
        ("processes", found.processes, u64::from(size.processes)),
    ];
    let swap = counts_swap.then_some(("memory and swap", found.memory_and_swap, size.memory));
    let faults = expected.into_iter().chain(swap).filter(|(_, found, ordered)| !is_held(*found, *ordered));
    faults
        .map(|(what, found, ordered)| match found {
            Some(found) => format!("the limit of {what} is {found}, not {ordered}"),
            None => format!("there is no limit of {what}"),
        })
        .collect()
}

/// The kernel rounds down to pages.
fn is_held(found: Option<u64>, ordered: u64) -> bool {
    found.is_some_and(|found| found <= ordered && ordered - found < PAGE)
}

const NO_CAPABILITY: &str = "0000000000000000";

const PAGE: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const CONFINED: &str = "Name:\tcatatonit\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
        CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn each_power_is_a_fault() {
        assert_eq!(powers_in(CONFINED), Vec::<String>::new());
        for (before, after, fault) in [
            ("CapBnd:\t0000000000000000", "CapBnd:\t0000000000000400", "CapBnd is 0000000000000400"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000200000", "CapEff is 0000000000200000"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "NoNewPrivs is 0"),
            ("Seccomp:\t2", "Seccomp:\t0", "Seccomp is 0"),
            ("Seccomp:\t2\n", "", "Seccomp is unknown"),
        ] {
            let faults = powers_in(&CONFINED.replace(before, after));
            assert!(faults.len() == 1 && faults[0].starts_with(fault), "{faults:?}");
        }
    }

    const MOUNTS: &str = "1 0 0:9 / / rw,nosuid,nodev - overlay overlay rw\n\
        2 1 0:1 / /proc rw - proc proc rw\n3 2 0:1 /sys /proc/sys ro - proc proc rw\n\
        4 2 0:5 /null /proc/kcore rw - devtmpfs udev rw\n";

    #[test]
    fn what_is_not_masked_is_a_fault() {
        let exists = |path: &str| ["/proc/kcore", "/proc/sys"].contains(&path);
        assert_eq!(mounts_in(MOUNTS, exists), Vec::<String>::new());
        assert_eq!(mounts_in(MOUNTS, |path| exists(path) || path == "/proc/keys"), ["/proc/keys is not masked"]);
        assert_eq!(mounts_in(&MOUNTS.replace("sys ro", "sys rw"), exists), ["/proc/sys can be written to"]);
        let setuid = mounts_in(&MOUNTS.replace("rw,nosuid,nodev", "rw,nodev"), exists);
        assert_eq!(setuid, ["its root directory is not mounted as ordered"]);
        let sysfs = format!("{MOUNTS}5 1 0:7 / /sys rw - sysfs sysfs rw\n");
        assert_eq!(mounts_in(&sysfs, exists), ["/sys can be written to"]);
    }

    #[test]
    fn a_limit_that_is_missing_or_higher_is_a_fault() {
        let size = Size { cpu_millis: 500, memory: 1 << 30, processes: 64, disk: 1 << 30, gpus: 0 };
        let held = Limits {
            cpu_millis: Some(500),
            memory: Some(1 << 30),
            memory_and_swap: Some(1 << 30),
            processes: Some(64),
        };
        assert_eq!(limits(held, &size, true), Vec::<String>::new());
        assert_eq!(limits(Limits { processes: None, ..held }, &size, true), ["there is no limit of processes"]);
        assert_eq!(limits(Limits { cpu_millis: Some(501), ..held }, &size, true).len(), 1);
        assert_eq!(limits(Limits { memory_and_swap: None, ..held }, &size, false), Vec::<String>::new());
        assert_eq!(limits(Limits { memory_and_swap: None, ..held }, &size, true).len(), 1);
    }
}
