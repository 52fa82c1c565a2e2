//! A user namespace whose users 0 to 65,535 are those of the node.
//!
//! Whoever makes an image in it can give files to the users of the image, and has no power over anything of the node but
//! files: not over its network, its processes, its modules or its clock.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The namespace. It lasts as long as this or a process in it.
#[derive(Debug)]
pub(super) struct Identity {
    namespace: OwnedFd,
}

impl Identity {
    pub(super) fn make() -> io::Result<Self> {
        // A process has to be the first in it; this one does nothing else.
        let mut command = Command::new("/bin/sleep");
        command.arg("60").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec it makes one system call; descriptors are not unshared.
        unsafe { command.pre_exec(|| Ok(unshare_unsafe(UnshareFlags::NEWUSER)?)) };
        let mut first = command.spawn()?;
        let namespace = Self::map(&first);
        let _ = first.kill();
        let _ = first.wait();
        Ok(Self { namespace: namespace? })
    }

    /// Has a command run in it, and end with the thread that starts it.
    pub(super) fn enclose(&self, command: &mut Command) -> io::Result<()> {
        let namespace = self.namespace.try_clone()?;
        let enter = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))?;
            // After the change of user, which would have undone it.
            Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
        };
        // SAFETY: between fork and exec it makes two system calls and nothing else.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }

    fn map(first: &Child) -> io::Result<OwnedFd> {
        let process = format!("/proc/{}", first.id());
        fs::write(format!("{process}/uid_map"), MAP)?;
        fs::write(format!("{process}/gid_map"), MAP)?;
        Ok(fs::File::open(format!("{process}/ns/user"))?.into())
    }
}

const MAP: &str = "0 0 65536";
