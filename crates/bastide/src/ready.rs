//! `--ready-fd`: telling whoever started us that requests are answered.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// The descriptor to write to, taken over from the parent process.
#[derive(Debug)]
pub(crate) struct Ready(Option<File>);

/// The descriptor is not one the parent left open.
#[derive(Debug, thiserror::Error)]
#[error("file descriptor {fd}: no open file has this number: {source}")]
pub(crate) struct ReadyError {
    fd: RawFd,
    source: io::Error,
}

impl Ready {
    /// Takes the descriptor. Must come before this process opens anything, lest the number be one of its own.
    pub(crate) fn claim(fd: Option<RawFd>) -> Result<Self, ReadyError> {
        Ok(Self(fd.map(claim).transpose()?.map(File::from)))
    }

    /// Writes `READY=1` and closes the descriptor. A parent that has gone does not matter.
    pub(crate) fn signal(self) {
        if let Some(mut file) = self.0
            && let Err(error) = file.write_all(b"READY=1\n")
        {
            tracing::debug!("nobody waits on --ready-fd: {error}");
        }
    }
}

/// Takes a descriptor over from the parent process. Must come before this process opens anything, lest the number be one of
/// its own.
pub(crate) fn claim(fd: RawFd) -> Result<OwnedFd, ReadyError> {
    let refuse = |source: io::Error| ReadyError { fd, source };
    if fd < 0 {
        return Err(refuse(io::Error::from(rustix::io::Errno::BADF)));
    }
    // SAFETY: a borrow that is only used to ask whether the number is open; nothing else in this process runs yet.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = rustix::io::fcntl_getfd(borrowed).map_err(|error| refuse(error.into()))?;
    rustix::io::fcntl_setfd(borrowed, flags | rustix::io::FdFlags::CLOEXEC).map_err(|error| refuse(error.into()))?;
    if fd <= 2 {
        // Standard streams have owners already: write to a copy.
        return borrowed.try_clone_to_owned().map_err(refuse);
    }
    // SAFETY: it is open (asked above), the parent made it for us, and nothing else in this process knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
