//! Waking up when somebody else changes the network.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::netlink::{change_sockets, drain};

/// What woke the watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Rule sets may have changed.
    Rules,
    /// Interfaces, addresses or routes have changed.
    Interfaces,
    /// Nothing, for a second.
    Quiet,
}

/// Watches the network namespace of the calling thread, in a thread of its own, until `tell` says false.
pub fn watch(tell: impl Fn(News) -> bool + Send + 'static) -> io::Result<()> {
    let [rules, interfaces] = change_sockets()?;
    let quiet = Timespec { tv_sec: QUIET.as_secs().cast_signed(), tv_nsec: 0 };
    std::thread::Builder::new().name("watcher".to_owned()).stack_size(1 << 17).spawn(move || {
        loop {
            let mut ready = [PollFd::new(&rules, PollFlags::IN), PollFd::new(&interfaces, PollFlags::IN)];
            let _ = poll(&mut ready, Some(&quiet));
            let news = [(drain(rules.as_fd()), News::Rules), (drain(interfaces.as_fd()), News::Interfaces)];
            let mut told = news.iter().filter(|(has_changed, _)| *has_changed).map(|(_, news)| *news).peekable();
            let goes_on = if told.peek().is_none() { tell(News::Quiet) } else { told.all(&tell) };
            if !goes_on {
                return;
            }
        }
    })?;
    Ok(())
}

const QUIET: Duration = Duration::from_secs(1);
