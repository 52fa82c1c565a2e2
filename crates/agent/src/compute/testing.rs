//! What tests of instances have in common.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bastide_plan::way_in::{Exit, TerminalSize};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::runtime::{Execution, Running, RuntimeError};

/// A process of the host's, in place of one in an instance.
#[derive(Debug)]
pub struct Local {
    child: Child,
    pidfd: OwnedFd,
}

impl Local {
    pub fn start(command: &[String]) -> Execution {
        let (program, arguments) = command.split_first().unwrap();
        let piped = Stdio::piped;
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let [input, output, error] = [
            child.stdin.take().unwrap().into(),
            child.stdout.take().unwrap().into(),
            child.stderr.take().unwrap().into(),
        ];
        Execution { ends: vec![input, output, error], process: Box::new(Self { child, pidfd }) }
    }
}

impl AsFd for Local {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Running for Local {
    fn wait(&mut self, _: Duration) -> Result<Option<Exit>, RuntimeError> {
        let status = self.child.wait().unwrap();
        let signal = status.signal().map(|signal| Exit::Signal(u8::try_from(signal).unwrap()));
        Ok(signal.or(status.code().map(|code| Exit::Status(u8::try_from(code).unwrap()))))
    }

    fn signal(&mut self, signal: u8) -> Result<(), RuntimeError> {
        pidfd_send_signal(&self.pidfd, Signal::from_named_raw(signal.into()).unwrap()).unwrap();
        Ok(())
    }

    fn resize(&mut self, _: TerminalSize) -> Result<(), RuntimeError> {
        Err(RuntimeError::Unable("it has no terminal".to_owned()))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
