//! What the runtime is told about an instance, in the words of the OCI runtime specification.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use bastide_plan::compute_plan::Size;
use bastide_plan::way_in::{self, Account};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Hook, Hooks, HooksBuilder, Linux, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxCpuBuilder,
    LinuxDeviceCgroupBuilder, LinuxIdMappingBuilder, LinuxMemoryBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder, Mount, MountBuilder, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use rustix::process::{Resource, getrlimit};

use super::account::{USER, home};
use super::cgroup::{Groups, Layout};
use super::gpu::Gift;
use super::seccomp;
use super::view::{USERS, View};
use crate::compute::runtime::Order;

/// A file of the node that an instance sees and cannot change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Where it is on the node.
    pub(super) source: PathBuf,
    /// Where it is seen.
    pub(super) place: String,
}

/// Everything about an instance.
pub(super) fn specification(
    order: &Order,
    view: &View,
    files: &[Shown],
    gift: &Gift,
    init: &Path,
    groups: &Groups,
) -> Result<Spec, OciSpecError> {
    let init = Shown { source: init.to_owned(), place: INIT.to_owned() };
    let mut mounts = system_mounts(&order.instance.size)?;
    // Programs look there how much memory they may take. Of version 1 the runtime would make a directory to write in.
    if groups.layout() == Layout::Unified {
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"])?);
    }
    for (share, source) in order.instance.shares.iter().zip(&view.shares) {
        let access = if share.read_only { "ro" } else { "rw" };
        mounts.push(mount(&share.path, "bind", source, &["bind", "nosuid", "nodev", access])?);
    }
    for node in &gift.nodes {
        // A bind mount, for nobody in a user namespace can make a device; and one that may be a device.
        mounts.push(mount(&node.shown.place, "bind", &node.shown.source, &["bind", "rw", "nosuid", "noexec"])?);
    }
    for file in files.iter().chain(&gift.files).chain([&init]) {
        mounts.push(mount(&file.place, "bind", &file.source, &["bind", "ro", "nosuid", "nodev"])?);
    }
    SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(&view.root).readonly(false).build()?)
        .mounts(mounts)
        .hostname(&order.instance.name)
        .process(first_process()?)
        .hooks(hooks(gift)?)
        .linux(linux(order, gift, groups.counts_swap())?)
        .build()
}

/// A process beside the first one, which begins in its account's home if that is there.
pub(super) fn process(
    order: &Order,
    gift: &Gift,
    asked: &way_in::Process,
    exists: impl Fn(&str) -> bool,
) -> Result<Process, OciSpecError> {
    let (number, name, home) = match asked.account {
        Account::User => (USER, order.instance.user.as_str(), home(&order.instance.user)),
        Account::Root => (0, "root", "/root".to_owned()),
    };
    let directory = asked.directory.clone().or_else(|| exists(&home).then(|| home.clone()));
    let mut variables = vec![("PATH", PATH), ("HOME", &home), ("USER", name), ("LOGNAME", name), ("LANG", "C.UTF-8")];
    if asked.terminal.is_some() {
        variables.push(("TERM", "xterm-256color"));
    }
    let threads = threads(order.instance.size.cpu_millis, available_parallelism().map_or(1, NonZero::get));
    variables.extend(threads.iter().flat_map(|threads| THREADS.map(|name| (name, threads.as_str()))));
    let mut environment: Vec<(&str, &str)> = Vec::new();
    let image =
        order.image_environment.iter().chain(&gift.environment).map(|(name, value)| (name.as_str(), value.as_str()));
    let instance = order.instance.environment.iter().chain(&asked.environment);
    let given = instance.map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in variables.into_iter().chain(image).chain(given) {
        environment.retain(|(known, _)| *known != name);
        environment.push((name, value));
    }
    let environment: Vec<String> = environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let user = UserBuilder::default().uid(number).gid(number).build()?;
    confined(ProcessBuilder::default())?
        .terminal(asked.terminal.is_some())
        .user(user)
        .args(asked.command.clone())
        .env(environment)
        .cwd(directory.unwrap_or_else(|| "/".to_owned()))
        .build()
}

/// How many threads programs shall have that make one for each core they see, when that is more than they get the time
/// of: they would be in each other's way.
fn threads(cpu_millis: u32, cores: usize) -> Option<String> {
    let own = cpu_millis.div_ceil(1000).max(1);
    (usize::try_from(own).unwrap_or(usize::MAX) < cores).then(|| own.to_string())
}

/// The init of an instance: it takes care of orphans, and waits for its end.
fn first_process() -> Result<Process, OciSpecError> {
    confined(ProcessBuilder::default())?
        .terminal(false)
        .user(UserBuilder::default().uid(0_u32).gid(0_u32).build()?)
        .args(vec![INIT.to_owned(), "-P".to_owned()])
        .env(vec![format!("PATH={PATH}")])
        .cwd("/")
        .build()
}

fn confined(process: ProcessBuilder) -> Result<ProcessBuilder, OciSpecError> {
    Ok(process
        .capabilities(no_capabilities()?)
        .no_new_privileges(true)
        .rlimits(rlimits()?)
        // When the node runs out of memory, an instance goes before what keeps it shut in.
        .oom_score_adj(OUT_OF_MEMORY_FIRST))
}

fn no_capabilities() -> Result<LinuxCapabilities, OciSpecError> {
    LinuxCapabilitiesBuilder::default().bounding([]).effective([]).inheritable([]).permitted([]).ambient([]).build()
}

/// No more than the agent has itself: without `CAP_SYS_RESOURCE` nobody can raise a limit.
fn rlimits() -> Result<Vec<PosixRlimit>, OciSpecError> {
    let hardest = getrlimit(Resource::Nofile).maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    let limit = |kind, soft, hard| PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build();
    Ok(vec![
        limit(PosixRlimitType::RlimitNofile, hardest.min(FILES), hardest)?,
        limit(PosixRlimitType::RlimitCore, 0, 0)?,
    ])
}

/// There is no `sysfs`: the network namespace belongs to the node, so none can be mounted, and nobody inside needs it
/// but for the list of processors.
fn system_mounts(size: &Size) -> Result<Vec<Mount>, OciSpecError> {
    let shared_memory = format!("size={}", size.memory / 2);
    Ok(vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"])?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shared_memory])?,
        mount("/sys", "tmpfs", "tmpfs", &["nosuid", "noexec", "nodev", "ro", "mode=755", "size=16k"])?,
        mount(PROCESSORS, "bind", PROCESSORS, &["bind", "nosuid", "noexec", "nodev", "ro"])?,
        mount("/run", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=755", "size=64m"])?,
        // Sockets of what Bastide starts for the user, on whose behalf it then connects to them.
        mount(
            "/run/bastide",
            "tmpfs",
            "tmpfs",
            &["nosuid", "nodev", "noexec", "mode=700", "uid=1000", "gid=1000", "size=1m"],
        )?,
    ])
}

fn hooks(gift: &Gift) -> Result<Hooks, OciSpecError> {
    let at = |stage: &str| -> Vec<Hook> {
        gift.hooks.iter().filter(|(known, _)| known == stage).map(|(_, hook)| hook.clone()).collect()
    };
    HooksBuilder::default()
        .create_runtime(at("createRuntime"))
        .create_container(at("createContainer"))
        .start_container(at("startContainer"))
        .build()
}

fn linux(order: &Order, gift: &Gift, counts_swap: bool) -> Result<Linux, OciSpecError> {
    let users = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(order.first_user).size(USERS).build()?;
    LinuxBuilder::default()
        .uid_mappings(vec![users])
        .gid_mappings(vec![users])
        .namespaces(namespaces()?)
        .resources(resources(&order.instance.size, gift, counts_swap)?)
        .cgroups_path(Groups::path(&order.instance.compute.to_string()))
        .devices(Vec::new())
        .rootfs_propagation("private")
        .masked_paths(MASKED.map(str::to_owned).to_vec())
        .readonly_paths(READ_ONLY.map(str::to_owned).to_vec())
        .seccomp(seccomp::profile()?)
        .build()
}

/// But for that of the network, where the runtime is already when it is run: it enters the user namespace first when it
/// starts a process beside the first one, and from there has no power over a network that belongs to the node.
fn namespaces() -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let own = [
        LinuxNamespaceType::User,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
    ];
    own.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build()).collect()
}

fn resources(size: &Size, gift: &Gift, counts_swap: bool) -> Result<LinuxResources, OciSpecError> {
    let bytes = i64::try_from(size.memory).unwrap_or(i64::MAX);
    let mut memory = LinuxMemoryBuilder::default().limit(bytes);
    if counts_swap {
        memory = memory.swap(bytes);
    }
    let cpu = LinuxCpuBuilder::default().period(PERIOD).quota(i64::from(size.cpu_millis) * PERIOD.cast_signed() / 1000);
    let nothing = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build();
    let given = gift.nodes.iter().map(|node| {
        let rule = LinuxDeviceCgroupBuilder::default().allow(true).access("rw").typ(node.kind);
        rule.major(node.major).minor(node.minor).build()
    });
    LinuxResourcesBuilder::default()
        .memory(memory.build()?)
        .cpu(cpu.build()?)
        .pids(LinuxPidsBuilder::default().limit(size.processes).build()?)
        // The runtime adds those that every program expects.
        .devices(std::iter::once(nothing).chain(given).collect::<Result<Vec<_>, _>>()?)
        .build()
}

fn mount(place: &str, kind: &str, source: impl Into<PathBuf>, options: &[&str]) -> Result<Mount, OciSpecError> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    MountBuilder::default().destination(place).typ(kind).source(source).options(options).build()
}

/// Where the init of every instance is seen.
pub(super) const INIT: &str = "/run/init";

/// What tells of the node, or lets one change it.
pub(crate) const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/vmallocinfo",
];

/// What is for looking at only.
pub(crate) const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Who reads it: the libraries of OpenMP and of linear algebra, torch and `nproc`; joblib and scikit-learn; Python from
/// 3.13 on.
const THREADS: [&str; 3] = ["OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "PYTHON_CPU_COUNT"];

/// Of the scheduler, in microseconds.
const PERIOD: u64 = 100_000;

const OUT_OF_MEMORY_FIRST: i32 = 200;

/// Open files of a process, and how far it may raise that itself.
const FILES: u64 = 65_536;
const MOST_FILES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_of_no_more_cores_than_they_get_the_time_of() {
        assert_eq!(threads(4000, 64).as_deref(), Some("4"));
        assert_eq!(threads(500, 2).as_deref(), Some("1"));
        // What there is they find out by themselves.
        assert_eq!(threads(4000, 4), None);
        assert_eq!(threads(16_000, 2), None);
    }
}
