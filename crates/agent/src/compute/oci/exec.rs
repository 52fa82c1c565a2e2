//! Processes beside the first one of an instance.

use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bastide_plan::way_in::{Exit, TerminalSize};
use oci_spec::runtime::Process;
use rustix::fs::{Gid, Uid, fchown};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process, pidfd_send_signal};
use rustix::termios::{Winsize, tcsetwinsize};

use super::cgroup::Groups;
use super::children::Children;
use super::command::{Tool, no_streams};
use super::failed;
use super::first::First;
use crate::compute::confinement;
use crate::compute::runtime::{Execution, Running, RuntimeError};
use crate::tool::readable;

/// Where a process is to run.
pub(super) struct Place<'a> {
    pub(super) tool: &'a Tool,
    pub(super) id: &'a str,
    /// A directory for what the runtime reads and writes.
    pub(super) directory: &'a Path,
    /// The number on the node of the user whose process it is.
    pub(super) owner: u32,
    pub(super) groups: &'a Groups,
    pub(super) children: &'static Children,
}

/// Starts a process beside the first one. The calling thread is in the network of that.
pub(super) fn start(
    place: Place<'_>,
    first: Pid,
    process: &Process,
    size: Option<TerminalSize>,
) -> Result<Execution, RuntimeError> {
    let files = Files::new(place.directory)?;
    let text = serde_json::to_string(process).map_err(failed("cannot describe the process"))?;
    fs::write(&files.process, text).map_err(failed("cannot describe the process"))?;
    let killed = place.groups.killed_for_memory(place.id);
    let opened = match size {
        Some(size) => with_terminal(&place, &files, size),
        None => with_pipes(&place, &files).map(|ends| (ends, None)),
    };
    // What a run that has failed had begun inside is waited for by nobody else.
    let (ends, terminal) = opened.inspect_err(|_| place.children.reap())?;
    let pid = fs::read_to_string(&files.pid).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
    let pid = pid.ok_or_else(|| failed("cannot find the process")("the runtime did not say its number"))?;
    let handle = place.children.hold(pid).map_err(failed("cannot find the process"))?;
    let (id, groups) = (place.id.to_owned(), place.groups.clone());
    let mut running = Started { pid, handle, terminal, id, groups, killed, children: place.children };
    let faults = confinement::differences(pid, first);
    // Of one that is ending there is nothing left to look at.
    if !faults.is_empty() && running.wait(ENDING_WITHIN)?.is_none() {
        return Err(RuntimeError::NotConfined(faults.join(", ")));
    }
    Ok(Execution { ends, process: Box::new(running) })
}

/// The ends of a process, and its terminal.
type Opened = (Vec<OwnedFd>, Option<OwnedFd>);

fn with_pipes(place: &Place<'_>, files: &Files) -> Result<Vec<OwnedFd>, RuntimeError> {
    let (input, writer) = io::pipe().map_err(no_pipe)?;
    let (reader, output) = io::pipe().map_err(no_pipe)?;
    let (error_reader, error) = io::pipe().map_err(no_pipe)?;
    // Programs open /dev/stdout and its like anew, which takes their permission.
    for end in [input.as_fd(), output.as_fd(), error.as_fd()] {
        fchown(end, Some(Uid::from_raw(place.owner)), Some(Gid::from_raw(place.owner))).map_err(no_pipe)?;
    }
    let streams = [Stdio::from(input), Stdio::from(output), Stdio::from(error)];
    let pid = ["--detach".as_ref(), "--pid-file".as_ref(), files.pid.as_os_str()];
    let arguments = [pid.as_slice(), &["--process".as_ref(), files.process.as_os_str()]].concat();
    place.tool.run("exec", &arguments, place.id, place.directory, streams)?;
    Ok(vec![writer.into(), reader.into(), error_reader.into()])
}

fn with_terminal(place: &Place<'_>, files: &Files, size: TerminalSize) -> Result<Opened, RuntimeError> {
    // By a name without its directory, because the whole one may be longer than the address of a socket can be.
    let listener = short_listener(&files.console).map_err(no_terminal)?;
    let name = files.console.file_name().unwrap_or_default();
    let pid = ["--detach".as_ref(), "--pid-file".as_ref(), files.pid.as_os_str()];
    let terminal = ["--console-socket".as_ref(), name, "--process".as_ref(), files.process.as_os_str()];
    let arguments = [pid.as_slice(), &terminal].concat();
    place.tool.run("exec", &arguments, place.id, place.directory, no_streams())?;
    if !readable(&listener, TERMINAL_WITHIN).map_err(no_terminal)? {
        return Err(no_terminal("the runtime did not hand one over"));
    }
    let (socket, _) = listener.accept().map_err(no_terminal)?;
    if !readable(&socket, TERMINAL_WITHIN).map_err(no_terminal)? {
        return Err(no_terminal("the runtime did not hand one over"));
    }
    let terminal = receive(socket.as_fd()).map_err(no_terminal)?;
    resize(&terminal, size).map_err(no_terminal)?;
    Ok((vec![terminal.try_clone().map_err(no_terminal)?], Some(terminal)))
}

fn no_pipe(error: impl Display) -> RuntimeError {
    failed("cannot make a pipe")(error)
}

fn no_terminal(error: impl Display) -> RuntimeError {
    failed("cannot open a terminal")(error)
}

fn short_listener(path: &Path) -> io::Result<UnixListener> {
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let name = path.file_name().unwrap_or_default();
    UnixListener::bind(Path::new(&format!("/proc/self/fd/{number}")).join(name))
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // The runtime sends the name of the terminal along with it.
    let mut name = [0; 4096];
    recvmsg(socket, &mut [io::IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    descriptors.flatten().next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn resize(terminal: &OwnedFd, size: TerminalSize) -> rustix::io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size)
}

/// What one start needs of files, removed when it is done.
struct Files {
    process: PathBuf,
    pid: PathBuf,
    console: PathBuf,
}

impl Files {
    fn new(directory: &Path) -> Result<Self, RuntimeError> {
        fs::create_dir_all(directory).map_err(failed("cannot describe the process"))?;
        let number = STARTS.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| directory.join(format!("{number}.{kind}"));
        let files = Self { process: file("process"), pid: file("pid"), console: file("socket") };
        // Of an agent that was killed.
        files.remove();
        Ok(files)
    }

    fn remove(&self) {
        for path in [&self.process, &self.pid, &self.console] {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A process that was started.
struct Started {
    pid: Pid,
    handle: OwnedFd,
    terminal: Option<OwnedFd>,
    id: String,
    groups: Groups,
    /// What [`Groups::killed_for_memory`] said when it was started.
    killed: u64,
    children: &'static Children,
}

impl Started {
    /// Ends the process and what it has started in its session, or, when it has none of its own, in its group. Daemons
    /// have made one for themselves, and stay.
    fn end(&mut self) {
        // No number of these is anybody else's until the process has been waited for.
        end_kin(self.pid, &self.groups.processes(&self.id));
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        if let Err(error) = self.wait(ENDED_WITHIN) {
            tracing::debug!("process {:?}: {error}", self.pid);
        }
    }
}

impl Running for Started {
    fn wait(&mut self, patience: Duration) -> Result<Option<Exit>, RuntimeError> {
        if !readable(&self.handle, patience).map_err(failed("cannot wait for the process"))? {
            return Ok(None);
        }
        self.children.exit(self.pid).map_err(failed("cannot wait for the process"))
    }

    fn signal(&mut self, signal: u8) -> Result<(), RuntimeError> {
        let signal = Signal::from_named_raw(signal.into());
        let signal = signal.ok_or_else(|| failed("cannot signal the process")("there is no such signal"))?;
        // When it has ended, that is as much as any signal can do.
        if self.wait(Duration::ZERO)?.is_some() {
            return Ok(());
        }
        match pidfd_send_signal(&self.handle, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            outcome => outcome.map_err(failed("cannot signal the process")),
        }
    }

    fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError> {
        let terminal = self.terminal.as_ref().ok_or_else(|| failed("cannot resize it")("it has no terminal"))?;
        resize(terminal, size).map_err(failed("cannot resize the terminal"))
    }

    fn note(&self) -> Option<String> {
        let is_out_of_memory = self.groups.killed_for_memory(&self.id) > self.killed;
        is_out_of_memory.then(|| out_of_memory(self.groups.limits(&self.id).memory))
    }
}

impl AsFd for Started {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !matches!(self.wait(Duration::ZERO), Ok(Some(_))) {
            self.end();
        }
        self.children.forget(self.pid);
    }
}

impl std::fmt::Debug for Started {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Started").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// The kernel says nothing to whom it kills.
fn out_of_memory(limit: Option<u64>) -> String {
    let has = limit.map_or(String::new(), |bytes| format!(" of its {} MiB", bytes >> 20));
    format!(
        "the compute ran out{has} of memory while this ran, and the kernel ended a process in it. Use less at a time, or \
         give the compute a larger size (bastide ml compute resize)"
    )
}

/// Ends what an agent that was killed had started in an instance for somebody, who has gone with it: processes whose
/// parent is outside. Daemons are children of the init.
pub(super) fn end_abandoned(processes: &[Pid]) {
    let init = First::find(processes).map(|first| first.pid());
    let has_parent_outside = |process: &&Pid| {
        let parent = kin(**process).and_then(|kin| Pid::from_raw(kin.parent));
        Some(**process) != init && parent.is_none_or(|parent| !processes.contains(&parent))
    };
    for process in processes.iter().filter(has_parent_outside) {
        end_kin(*process, processes);
    }
}

fn end_kin(process: Pid, processes: &[Pid]) {
    let Some(own) = kin(process) else { return };
    let leads = own.session == process.as_raw_nonzero().get();
    let is_kin = |other: &Kin| other.session == own.session && (leads || other.group == own.group);
    for other in processes.iter().filter(|other| kin(**other).as_ref().is_some_and(is_kin)) {
        let _ = kill_process(*other, Signal::KILL);
    }
}

/// To whom a process belongs.
struct Kin {
    parent: i32,
    group: i32,
    session: i32,
}

/// Out of `/proc/<pid>/stat`; the name in it may contain anything.
fn kin(process: Pid) -> Option<Kin> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1).map(str::parse);
    let mut next = || fields.next()?.ok();
    Some(Kin { parent: next()?, group: next()?, session: next()? })
}

static STARTS: AtomicU64 = AtomicU64::new(0);

const TERMINAL_WITHIN: Duration = Duration::from_secs(5);

const ENDING_WITHIN: Duration = Duration::from_millis(200);

const ENDED_WITHIN: Duration = Duration::from_secs(5);
