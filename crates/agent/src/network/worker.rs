//! The firewall process of a hub, as the agent sees it: started without any privilege, fed with what it cannot open.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bastide_plan::worker::{FromWorker, ToWorker};

use crate::privilege::become_user;
use crate::wire;

/// A running firewall.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    control: UnixStream,
    since: Instant,
}

impl Worker {
    /// Starts one in the network namespace of the calling thread, which it does not outlive. `deliver` gets what it says,
    /// and `None` when it has gone; false ends the delivery.
    pub fn start(
        command: &[String],
        user: u32,
        deliver: impl Fn(Option<FromWorker>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        // One that does not read is killed, and started again.
        control.set_write_timeout(Some(PATIENCE))?;
        let number = theirs.as_raw_fd();
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).arg("--control-fd").arg(number.to_string());
        command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: after fork, only system calls are made; nothing is allocated and no lock is taken.
        unsafe { command.pre_exec(move || confine(user, number)) };
        let child = command.spawn()?;
        drop(theirs);
        let reader = control.try_clone()?;
        std::thread::Builder::new().name("worker-reader".to_owned()).spawn(move || read(reader, deliver))?;
        Ok(Self { child, control, since: Instant::now() })
    }

    /// Says something to it, and hands it a descriptor.
    pub fn send(&mut self, message: &ToWorker, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        wire::hand(&self.control, message, descriptor.as_slice())
    }

    /// Its process number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// How long it has been running.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

/// A firewall goes with its owner.
impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(control: UnixStream, deliver: impl Fn(Option<FromWorker>) -> bool) {
    loop {
        let message = wire::read(&control);
        if let Err(error) = &message
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            tracing::warn!("a firewall says what it should not: {error}");
        }
        let message = message.ok();
        let is_last = message.is_none();
        if !deliver(message) || is_last {
            return;
        }
    }
}

/// In the new process: gives up every privilege, and keeps the one descriptor that is for it.
fn confine(user: u32, control: RawFd) -> io::Result<()> {
    become_user(user)?;
    // SAFETY: no pointers.
    let outcome = unsafe { libc::fcntl(control, libc::F_SETFD, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const PATIENCE: Duration = Duration::from_secs(10);
