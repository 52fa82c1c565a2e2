//! Processes of instances that are children of the agent, because what started them has ended.
//!
//! Somebody must wait for each: the init of an instance only ends when nothing is left of its namespace, and what has
//! ended is left until its parent has asked how. So all are waited for, and the answer kept for who wants it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

use bastide_plan::way_in::Exit;
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, getpid, pidfd_open, set_child_subreaper, waitid,
};

use super::cgroup::Groups;
use super::failed;
use crate::compute::runtime::RuntimeError;

/// The children of this process that run in instances. There is one for the whole process, as the kernel has it.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// How those have ended that somebody will ask for.
    awaited: Mutex<HashMap<Pid, Option<Exit>>>,
    /// Held by who starts one and does not know its number yet.
    starting: RwLock<()>,
}

impl Children {
    /// Those of this process, to which the orphans of instances come from here on.
    pub(super) fn adopt() -> io::Result<&'static Self> {
        static CHILDREN: LazyLock<Children> = LazyLock::new(Children::default);
        set_child_subreaper(Some(getpid()))?;
        Ok(&CHILDREN)
    }

    /// Starts one, and takes hold of it before anybody else can have waited for it.
    pub(super) fn start(
        &self,
        start: impl FnOnce() -> Result<Pid, RuntimeError>,
    ) -> Result<(Pid, OwnedFd), RuntimeError> {
        let _starting = self.starting.read().unwrap_or_else(PoisonError::into_inner);
        let pid = start()?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(failed("cannot find the process"))?;
        self.exits().insert(pid, None);
        Ok((pid, handle))
    }

    /// How one that was started has ended, if it has.
    pub(super) fn exit(&self, pid: Pid) -> rustix::io::Result<Option<Exit>> {
        match self.exits().get_mut(&pid) {
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
        self.exits().remove(&pid);
    }

    /// Waits for all that have ended.
    pub(super) fn reap(&self) {
        let _nobody_starts = self.starting.write().unwrap_or_else(PoisonError::into_inner);
        for pid in ended_inside() {
            let mut awaited = self.exits();
            let status = waitid(WaitId::Pid(pid), ENDED).ok().flatten();
            if let (Some(status), Some(exit)) = (status, awaited.get_mut(&pid)) {
                *exit = exit_of(&status);
            }
        }
    }

    fn exits(&self) -> MutexGuard<'_, HashMap<Pid, Option<Exit>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
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

const ENDED: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG);
