//! Processes of instances that are children of the agent, because what started them has ended.
//!
//! Somebody must wait for each: the init of an instance only ends when nothing is left of its namespace, and what has
//! ended is left until its parent has asked how. So all are waited for, and the answer kept for who wants it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use bastide_plan::way_in::Exit;
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, getpid, pidfd_open, set_child_subreaper, waitid,
};

use super::cgroup::Groups;

/// The children of this process that run in instances. There is one for the whole process, as the kernel has it.
#[derive(Debug, Default)]
pub(super) struct Children(Mutex<Exits>);

/// How they have ended.
#[derive(Debug, Default)]
struct Exits {
    /// Those that somebody will ask for.
    awaited: HashMap<Pid, Option<Exit>>,
    /// Those that nobody has asked for: orphans, and processes whose starter has not heard their number yet.
    unknown: HashMap<Pid, Exit>,
    /// Runs of a runtime, which may be in a group of an instance as well, and are waited for by whoever has begun them.
    runs: HashSet<Pid>,
}

/// A run of a runtime. Whoever has it waits for its end.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) child: Child,
    pid: Pid,
    children: &'a Children,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.children.exits().runs.remove(&self.pid);
    }
}

impl Children {
    /// Those of this process, to which the orphans of instances come from here on.
    pub(super) fn adopt() -> io::Result<&'static Self> {
        static CHILDREN: LazyLock<Children> = LazyLock::new(Children::default);
        set_child_subreaper(Some(getpid()))?;
        Ok(&CHILDREN)
    }

    /// Begins a run of a runtime. Nobody waits for what has ended until it is known which process that is.
    pub(super) fn begin(&self, command: &mut Command) -> io::Result<Run<'_>> {
        let mut exits = self.exits();
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        exits.runs.insert(pid);
        Ok(Run { child, pid, children: self })
    }

    /// Takes hold of one that was just started. What comes back can be read once it has ended.
    pub(super) fn hold(&self, pid: Pid) -> io::Result<OwnedFd> {
        let mut exits = self.exits();
        match (pidfd_open(pid, PidfdFlags::empty()), exits.unknown.remove(&pid)) {
            (Ok(handle), _) => {
                exits.awaited.insert(pid, None);
                Ok(handle)
            }
            // It was so short that it has been waited for already.
            (Err(_), Some(exit)) => {
                let (ended, _) = io::pipe()?;
                exits.awaited.insert(pid, Some(exit));
                Ok(ended.into())
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// How one that is held has ended, if it has.
    pub(super) fn exit(&self, pid: Pid) -> rustix::io::Result<Option<Exit>> {
        match self.exits().awaited.get_mut(&pid) {
            Some(exit @ None) => {
                *exit = waitid(WaitId::Pid(pid), ENDED)?.and_then(|status| exit_of(&status));
                Ok(*exit)
            }
            Some(exit) => Ok(*exit),
            None => Ok(None),
        }
    }

    /// Nobody will ask for it any more.
    pub(super) fn forget(&self, pid: Pid) {
        self.exits().awaited.remove(&pid);
    }

    /// Waits for all that have ended.
    pub(super) fn reap(&self) {
        for pid in ended_inside() {
            let mut exits = self.exits();
            if exits.runs.contains(&pid) {
                continue;
            }
            let Some(exit) = waitid(WaitId::Pid(pid), ENDED).ok().flatten().as_ref().and_then(exit_of) else {
                continue;
            };
            if let Some(awaited) = exits.awaited.get_mut(&pid) {
                *awaited = Some(exit);
                continue;
            }
            // Who starts one asks at once; the others are of no use to anybody.
            if exits.unknown.len() >= MOST_UNKNOWN {
                exits.unknown.clear();
            }
            exits.unknown.insert(pid, exit);
        }
    }

    fn exits(&self) -> MutexGuard<'_, Exits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exit_of(status: &WaitIdStatus) -> Option<Exit> {
    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    let by_signal = status.terminating_signal().map(|signal| Exit::Signal(number(signal)));
    by_signal.or_else(|| status.exit_status().map(|status| Exit::Status(number(status))))
}

/// Children that have ended in an instance, or on the way into one; others are other people's.
fn ended_inside() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ended = processes.filter(|process: &i32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        field("PPid:") == own
            && field("State:").starts_with('Z')
            && (field("NSpid:").split_ascii_whitespace().count() > 1 || is_in_group(*process))
    });
    ended.filter_map(Pid::from_raw).collect()
}

fn is_in_group(process: i32) -> bool {
    fs::read_to_string(format!("/proc/{process}/cgroup")).is_ok_and(|groups| groups.contains(&Groups::path("")))
}

const MOST_UNKNOWN: usize = 4096;

const ENDED: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG);
