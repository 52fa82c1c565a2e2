//! The first process of an instance, its init.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::bundle::INIT;
use super::failed;
use super::inside::Inside;
use crate::compute::runtime::RuntimeError;
use crate::tool::readable;

/// The first process of an instance. Its number stays its own while this lives, or the handle says that it has ended.
#[derive(Debug)]
pub(super) struct First {
    pid: Pid,
    handle: OwnedFd,
}

impl First {
    /// Finds it among the processes of an instance: it is number 1 in its namespace.
    pub(super) fn find(processes: &[Pid]) -> Option<Self> {
        processes.iter().find_map(|process| {
            let handle = pidfd_open(*process, PidfdFlags::empty()).ok()?;
            // After the handle is there, so that it is the same process.
            let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            let mut numbers = numbers.split_ascii_whitespace();
            let is_first = numbers.next_back() == Some("1") && numbers.next().is_some();
            is_first.then_some(Self { pid: *process, handle })
        })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Its files, as it sees them; its user 0 is `first_user` on the node.
    pub(super) fn inside(&self, first_user: u32) -> io::Result<Inside> {
        Inside::open(Path::new(&format!("/proc/{}/root", self.pid.as_raw_nonzero())), first_user)
    }

    /// Does something in a thread that is in its network.
    pub(super) fn in_network<T: Send>(
        &self,
        deed: impl FnOnce() -> Result<T, RuntimeError> + Send,
    ) -> Result<T, RuntimeError> {
        let enter = || move_into_thread_name_spaces(self.handle.as_fd(), ThreadNameSpaceType::NETWORK);
        let deed = || enter().map_err(failed("cannot enter the network of the instance")).and_then(|()| deed());
        std::thread::scope(|scope| scope.spawn(deed).join())
            .unwrap_or_else(|_| Err(failed("cannot enter the network of the instance")("a thread panicked")))
    }

    /// Whether it is the init already, and no longer the runtime that makes one.
    pub(super) fn is_ready(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid.as_raw_nonzero())).unwrap_or_default();
        line.split(|byte| *byte == 0).next() == Some(INIT.as_bytes())
    }

    /// Waits for that.
    pub(super) fn becomes_ready(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.is_ready() {
            if Instant::now() >= deadline || self.has_ended(Duration::from_millis(1)) {
                return false;
            }
        }
        true
    }

    /// Asks every other process to end, and waits until they have, or for as long as it may take.
    pub(super) fn ask_others(&self, processes: impl Fn() -> Vec<Pid>, grace: Duration) {
        let others = || processes().into_iter().filter(|process| *process != self.pid).collect::<Vec<_>>();
        for process in others() {
            let _ = kill_process(process, Signal::TERM);
            // A shell at a terminal takes no notice of anything less than that being gone.
            if has_terminal(process) {
                let _ = kill_process(process, Signal::HUP);
            }
        }
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline && !others().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended, after no more than `patience`.
    pub(super) fn has_ended(&self, patience: Duration) -> bool {
        readable(&self.handle, patience).unwrap_or(true)
    }
}

fn has_terminal(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    let terminal = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(4));
    terminal.is_some_and(|terminal| terminal != "0")
}
