//! Running `ip` and `nft`, each with a deadline.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;

/// Why a tool did not do its work.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It could not be run.
    #[error("cannot run {tool}: {source}. Install iproute2 and nftables")]
    NotRun {
        /// Which.
        tool: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It took longer than [`DEADLINE`], and was killed.
    #[error("{tool} did not end within {} s", DEADLINE.as_secs())]
    Late {
        /// Which.
        tool: &'static str,
    },
    /// It said no.
    #[error("{tool} failed: {complaint}")]
    Failed {
        /// Which.
        tool: &'static str,
        /// What it printed on standard error.
        complaint: String,
    },
    /// It printed something else than it should have.
    #[error("{tool} printed something unexpected: {complaint}")]
    Unreadable {
        /// Which.
        tool: &'static str,
        /// What is wrong with it.
        complaint: String,
    },
}

/// Runs a tool in the network namespace of the calling thread, and gives what it printed.
pub fn run(tool: &'static str, arguments: &[&str], input: &str) -> Result<String, ToolError> {
    let not_run = |source| ToolError::NotRun { tool, source };
    // Files in memory instead of pipes: nobody has to feed or drain them while the tool runs.
    let mut given = memory().map_err(not_run)?;
    given.write_all(input.as_bytes()).and_then(|()| given.rewind()).map_err(not_run)?;
    let (mut printed, mut complained) = (memory().map_err(not_run)?, memory().map_err(not_run)?);
    let mut child = Command::new(tool)
        .args(arguments)
        .env_clear()
        .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")])
        .stdin(given)
        .stdout(Stdio::from(printed.try_clone().map_err(not_run)?))
        .stderr(Stdio::from(complained.try_clone().map_err(not_run)?))
        .spawn()
        .map_err(not_run)?;
    if !ends_in_time(&child).map_err(not_run)? {
        let _ = child.kill();
        let _ = child.wait();
        return Err(ToolError::Late { tool });
    }
    if child.wait().map_err(not_run)?.success() {
        return text(&mut printed).map_err(not_run);
    }
    let complaint = text(&mut complained).map_err(not_run)?;
    let complaint = complaint.lines().take(COMPLAINT_LINES).collect::<Vec<_>>().join("; ");
    Err(ToolError::Failed { tool, complaint })
}

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("bastide", MemfdFlags::CLOEXEC)?))
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn ends_in_time(child: &Child) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    Ok(readable(pidfd_open(pid, PidfdFlags::empty())?, DEADLINE)?)
}

/// Waits until there is something to read, or, of a process, until it has ended.
pub fn readable(descriptor: impl AsFd, patience: Duration) -> rustix::io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let seconds = left.as_secs().try_into().unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return Ok(outcome? > 0),
        }
    }
}

/// Far more than either tool has ever taken: 20,000 prefixes take `nft` a third of a second.
pub const DEADLINE: Duration = Duration::from_secs(20);

const COMPLAINT_LINES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_was_printed() {
        let text = "x".repeat(1 << 20);
        assert_eq!(run("cat", &[], &text).unwrap(), text);
    }

    #[test]
    fn a_failure_says_what_the_tool_said() {
        let error = run("sh", &["-c", "echo no such thing >&2; exit 3"], "").unwrap_err();
        assert_eq!(error.to_string(), "sh failed: no such thing");
        assert!(matches!(run("no-such-tool", &[], "").unwrap_err(), ToolError::NotRun { .. }));
    }
}
