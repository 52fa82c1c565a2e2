//! Control groups of instances, in either layout.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::failed;
use crate::compute::runtime::RuntimeError;

/// Which controllers there are, and where.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    layout: Layout,
    hierarchies: Vec<Hierarchy>,
}

/// How control groups are laid out on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Version 2 alone.
    Unified,
    /// Version 1, perhaps with version 2 beside it.
    Legacy,
}

/// A tree of groups.
#[derive(Debug, Clone)]
struct Hierarchy {
    /// Empty for the one of version 2.
    controllers: Vec<String>,
    root: PathBuf,
}

/// The tree of version 2 beside those of version 1. It has no controllers that instances need, but whoever starts
/// services may tell by it what belongs to them.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    root: PathBuf,
    mounted_at: CString,
}

/// What the kernel holds a group to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Thousandths of a processor core.
    pub(crate) cpu_millis: Option<u64>,
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Bytes of memory and swap together; none where swap is not counted, or none is allowed.
    pub(crate) memory_and_swap: Option<u64>,
    /// Processes and threads.
    pub(crate) processes: Option<u64>,
}

/// What a group has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    /// Processor time in microseconds.
    pub(crate) cpu: u64,
    /// Bytes.
    pub(crate) memory: u64,
    /// Processes and threads.
    pub(crate) processes: u64,
}

impl Groups {
    /// Looks what this node has.
    pub(crate) fn find() -> Result<Self, RuntimeError> {
        let root = Path::new("/sys/fs/cgroup");
        let kind = statfs(root).map_err(failed("cannot look at /sys/fs/cgroup"))?.f_type;
        let (groups, missing): (_, Vec<_>) = if kind == CGROUP2_MAGIC {
            let groups = Self::unified(root);
            let there = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            let is_missing = |needed: &&str| !there.split_ascii_whitespace().any(|controller| controller == *needed);
            (groups, NEEDED_OF_VERSION_2.iter().copied().filter(is_missing).collect())
        } else {
            let mounts = fs::read_to_string("/proc/self/mounts").map_err(failed("cannot read the mounts"))?;
            let groups = Self { layout: Layout::Legacy, hierarchies: mounts.lines().filter_map(hierarchy).collect() };
            let missing = NEEDED.iter().copied().filter(|controller| groups.controller(controller).is_none()).collect();
            (groups, missing)
        };
        if missing.is_empty() {
            return Ok(groups);
        }
        let missing = missing.join(", ");
        Err(RuntimeError::Unable(format!(
            "this node cannot limit instances: it has no control groups for {missing}. Mount them, or let this process \
             have them"
        )))
    }

    fn unified(root: &Path) -> Self {
        let hierarchies = vec![Hierarchy { controllers: Vec::new(), root: root.to_owned() }];
        Self { layout: Layout::Unified, hierarchies }
    }

    /// How they are laid out.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The tree of version 2, if there are trees of version 1 too.
    pub(crate) fn beside(&self) -> Option<Beside> {
        let mut trees = self.hierarchies.iter().filter(|_| self.layout == Layout::Legacy);
        let root = trees.find(|tree| tree.controllers.is_empty())?.root.clone();
        let mounted_at = CString::new(root.as_os_str().as_bytes()).ok()?;
        Some(Beside { root, mounted_at })
    }

    /// The path of an instance's groups below the root of each tree. There is none above them that all have in common:
    /// to remove that with the last instance would be a race with the next one.
    pub(crate) fn path(id: &str) -> String {
        format!("/{PREFIX}{id}")
    }

    /// Whether a limit of swap can be ordered.
    pub(crate) fn counts_swap(&self) -> bool {
        match self.layout {
            // Where it is not counted, the runtime leaves the order out.
            Layout::Unified => true,
            Layout::Legacy => self.controller("memory").is_some_and(|root| root.join(MEMORY_AND_SWAP).exists()),
        }
    }

    /// Whether swap is counted for an instance.
    pub(crate) fn holds_swap(&self, id: &str) -> bool {
        let file = match self.layout {
            Layout::Unified => "memory.swap.max",
            Layout::Legacy => MEMORY_AND_SWAP,
        };
        self.directory(id, "memory").join(file).exists()
    }

    /// The processes of an instance. One that is still being started may be in some of its groups only.
    pub(crate) fn processes(&self, id: &str) -> Vec<Pid> {
        let groups = self.hierarchies.iter().map(|hierarchy| hierarchy.root.join(format!("{PREFIX}{id}")));
        let listed = groups.filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
        let mut numbers: Vec<i32> =
            listed.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().filter_map(Pid::from_raw).collect()
    }

    /// Ends every process of an instance. What is forked meanwhile is ended too: a frozen group forks nothing, and
    /// others are asked until nobody is left.
    pub(crate) fn kill(&self, id: &str) {
        let _ = fs::write(self.directory(id, "").join("cgroup.kill"), "1");
        for _ in 0..KILL_ROUNDS {
            let processes = self.processes(id);
            if processes.is_empty() {
                return;
            }
            for process in processes {
                let _ = kill_process(process, Signal::KILL);
            }
            self.thaw(id);
            std::thread::sleep(KILL_PAUSE);
        }
    }

    /// Takes the processor from an instance, and waits until nothing of it moves; whether that is so. Not by the runtime:
    /// `runc` that was killed meanwhile leaves a group on the way, and then will neither go on nor back.
    pub(crate) fn freeze(&self, id: &str) -> bool {
        for round in 1..=FREEZE_ROUNDS {
            self.order(id, "1", "FROZEN");
            if self.is_still(id) {
                return true;
            }
            // Version 1 does not get past some who are just starting something, unless all may go on for a moment.
            if round % FREEZE_ANEW == 0 {
                self.thaw(id);
            }
            std::thread::sleep(KILL_PAUSE);
        }
        self.thaw(id);
        false
    }

    /// Gives its processor back to an instance, and waits until it has it; whether that is so.
    pub(crate) fn wake(&self, id: &str) -> bool {
        self.thaw(id);
        (0..FREEZE_ROUNDS).any(|_| {
            let is_awake = !self.is_frozen(id);
            if !is_awake {
                std::thread::sleep(KILL_PAUSE);
            }
            is_awake
        })
    }

    /// The same, without waiting.
    pub(crate) fn thaw(&self, id: &str) {
        self.order(id, "0", "THAWED");
    }

    fn order(&self, id: &str, unified: &str, legacy: &str) {
        let (file, value) = match self.layout {
            Layout::Unified => ("cgroup.freeze", unified),
            Layout::Legacy => ("freezer.state", legacy),
        };
        let _ = fs::write(self.directory(id, "freezer").join(file), value);
    }

    fn is_still(&self, id: &str) -> bool {
        match self.layout {
            Layout::Unified => self.is_frozen(id),
            Layout::Legacy => self.read(id, "freezer", "freezer.state").is_some_and(|state| state == "FROZEN"),
        }
    }

    /// Whether an instance gets no processor, or is on the way there.
    pub(crate) fn is_frozen(&self, id: &str) -> bool {
        match self.layout {
            Layout::Unified => {
                self.read(id, "", "cgroup.events").is_some_and(|events| events.lines().any(|line| line == "frozen 1"))
            }
            Layout::Legacy => self.read(id, "freezer", "freezer.state").is_some_and(|state| state != "THAWED"),
        }
    }

    /// What an instance is held to.
    pub(crate) fn limits(&self, id: &str) -> Limits {
        let number = |controller, file| self.read(id, controller, file).and_then(|text| text.parse().ok());
        match self.layout {
            Layout::Unified => {
                let cpu = self.read(id, "cpu", "cpu.max").and_then(|text| {
                    let (quota, period) = text.split_once(' ')?;
                    millis(quota.parse().ok()?, period.parse().ok()?)
                });
                let memory: Option<u64> = number("memory", "memory.max");
                let swap: Option<u64> = number("memory", "memory.swap.max");
                Limits {
                    cpu_millis: cpu,
                    memory,
                    memory_and_swap: memory.zip(swap).map(|(memory, swap)| memory + swap),
                    processes: number("pids", "pids.max"),
                }
            }
            Layout::Legacy => Limits {
                // Without a quota it is -1, and no number here.
                cpu_millis: number("cpu", "cpu.cfs_quota_us")
                    .zip(number("cpu", "cpu.cfs_period_us"))
                    .and_then(|(quota, period)| millis(quota, period)),
                memory: number("memory", "memory.limit_in_bytes"),
                memory_and_swap: number("memory", MEMORY_AND_SWAP),
                processes: number("pids", "pids.max"),
            },
        }
    }

    /// What an instance has taken since its start.
    pub(crate) fn taken(&self, id: &str) -> Taken {
        let number = |controller, file| self.read(id, controller, file).and_then(|text| text.parse().ok()).unwrap_or(0);
        let cpu = match self.layout {
            Layout::Unified => self
                .read(id, "cpu", "cpu.stat")
                .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok()))
                .unwrap_or(0),
            Layout::Legacy => number("cpuacct", "cpuacct.usage") / 1000,
        };
        let memory = match self.layout {
            Layout::Unified => number("memory", "memory.current"),
            Layout::Legacy => number("memory", "memory.usage_in_bytes"),
        };
        Taken { cpu, memory, processes: number("pids", "pids.current") }
    }

    /// How many processes of an instance the kernel has ended because there was no more memory, since its start.
    pub(crate) fn killed_for_memory(&self, id: &str) -> u64 {
        let file = match self.layout {
            Layout::Unified => "memory.events",
            Layout::Legacy => "memory.oom_control",
        };
        let counts = self.read(id, "memory", file).unwrap_or_default();
        counts.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }

    /// What of a process's groups is not as it should be for an instance.
    pub(crate) fn stranger(&self, process: Pid, id: &str) -> Option<String> {
        let path = format!("/proc/{}/cgroup", process.as_raw_nonzero());
        let Ok(memberships) = fs::read_to_string(&path) else { return Some(format!("{path} cannot be read")) };
        let expected = Self::path(id);
        let is_member = |controller: &str| {
            memberships.lines().any(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return false };
                path == expected && controllers.split(',').any(|listed| listed == controller)
            })
        };
        let needed: &[&str] = match self.layout {
            Layout::Unified => &[""],
            Layout::Legacy => NEEDED,
        };
        let strange = needed.iter().find(|controller| !is_member(controller))?;
        Some(format!("it is not in the control group {expected} ({strange})"))
    }

    /// Removes the groups of an instance, and whoever has come into them since they were emptied.
    pub(crate) fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        for Hierarchy { root, .. } in &self.hierarchies {
            let group = root.join(format!("{PREFIX}{id}"));
            let mut rounds = 0;
            while let Err(error) = remove_tree(&group) {
                rounds += 1;
                if rounds > KILL_ROUNDS || error.raw_os_error() != Some(libc::EBUSY) {
                    return Err(failed(format!("cannot remove the control group {}", group.display()))(error));
                }
                self.kill(id);
                std::thread::sleep(KILL_PAUSE);
            }
        }
        Ok(())
    }

    fn read(&self, id: &str, controller: &str, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory(id, controller).join(file)).ok()?;
        Some(text.trim_end().to_owned())
    }

    fn directory(&self, id: &str, controller: &str) -> PathBuf {
        let root = self.controller(controller).unwrap_or(Path::new("/nonexistent"));
        root.join(format!("{PREFIX}{id}"))
    }

    fn controller(&self, controller: &str) -> Option<&Path> {
        let mut hierarchies = self.hierarchies.iter();
        let found = match self.layout {
            Layout::Unified => hierarchies.next(),
            Layout::Legacy => hierarchies.find(|found| found.controllers.iter().any(|listed| listed == controller)),
        };
        found.map(|found| found.root.as_path())
    }
}

impl Beside {
    /// The group of an instance, which is made if it is missing: a file for those to write to who go into it.
    pub(crate) fn group(&self, id: &str) -> io::Result<File> {
        let group = self.root.join(format!("{PREFIX}{id}"));
        DirBuilder::new().recursive(true).create(&group)?;
        OpenOptions::new().write(true).open(group.join("cgroup.procs"))
    }

    /// Puts a mount namespace around the calling process in which an empty directory is in the place of the tree. System
    /// calls and nothing else; the process must have no other threads.
    pub(crate) fn hide(&self) -> io::Result<()> {
        // SAFETY: descriptors are not unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        Ok(mount(c"tmpfs", &self.mounted_at, c"tmpfs", MountFlags::empty(), c"size=64k")?)
    }
}

/// A line of `/proc/self/mounts` about control groups.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let mut fields = line.split(' ');
    let (_, root, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let controllers = match kind {
        "cgroup" => options.split(',').map(str::to_owned).collect(),
        "cgroup2" => Vec::new(),
        _ => return None,
    };
    Some(Hierarchy { controllers, root: PathBuf::from(root) })
}

fn millis(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1000)?.checked_div(period)
}

/// A group and those below it; their files go with them.
fn remove_tree(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";

const PREFIX: &str = "bastide-";

const NEEDED: &[&str] = &["cpu", "memory", "pids", "freezer", "devices"];

/// Freezing and devices are not controllers there.
const NEEDED_OF_VERSION_2: &[&str] = &["cpu", "memory", "pids"];

const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;

const FREEZE_ROUNDS: usize = 2500;
const FREEZE_ANEW: usize = 50;

const KILL_ROUNDS: usize = 500;
const KILL_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

#[cfg(test)]
mod tests;
