//! Network namespaces, under the names that `ip netns` knows.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

use super::interface::batch;
use crate::tool::{self, ToolError};

/// A network namespace that is held open: it stays while this lives, whatever becomes of its name.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

/// Why a namespace could not be made or entered.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// `ip` could not make it.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It could not be opened or entered.
    #[error("cannot enter the network namespace {name}: {source}")]
    Closed {
        /// Which.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Namespace {
    /// Opens a namespace that is there.
    pub fn open(name: &str) -> Result<Self, NamespaceError> {
        let closed = |source| NamespaceError::Closed { name: name.to_owned(), source };
        let file = File::open(path(name)).map_err(closed)?;
        let namespace = Self { name: name.to_owned(), file };
        // A file that is not a namespace can be opened, but not entered.
        namespace.within(|| Ok(()))?;
        Ok(namespace)
    }

    /// The one that the calling thread is in.
    pub fn current() -> io::Result<Self> {
        Ok(Self { name: "of the host".to_owned(), file: File::open("/proc/thread-self/ns/net")? })
    }

    /// Moves the calling thread into it, for good.
    pub fn enter(&self) -> Result<(), NamespaceError> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| self.closed(error.into()))
    }

    /// Does something inside it, in a thread of its own.
    pub fn within<T: Send>(&self, deed: impl FnOnce() -> io::Result<T> + Send) -> Result<T, NamespaceError> {
        let outcome = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                deed().map_err(|error| self.closed(error))
            });
            thread.join()
        });
        outcome.unwrap_or_else(|_| Err(self.closed(io::Error::other("a thread panicked"))))
    }

    /// Whether its name still leads to it.
    pub fn is_named(&self) -> bool {
        fs::metadata(path(&self.name)).is_ok_and(|named| Some(named.ino()) == self.inode())
    }

    /// Gives it its name again, from a thread inside it.
    pub fn rename(&self) -> Result<(), NamespaceError> {
        if path(&self.name).exists() {
            tool::run("ip", &["netns", "delete", &self.name], "")?;
        }
        let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
        tool::run("ip", &["netns", "attach", &self.name, &thread], "")?;
        Ok(())
    }

    /// The processes inside, but for this one.
    pub fn processes(&self) -> Vec<Pid> {
        let Some(inode) = self.inode() else { return Vec::new() };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let inside = numbers.filter(|number| {
            fs::metadata(format!("/proc/{number}/ns/net")).is_ok_and(|namespace| namespace.ino() == inode)
        });
        inside.filter(|number| number.unsigned_abs() != std::process::id()).filter_map(Pid::from_raw).collect()
    }

    /// Ends the processes inside. What a killed agent has left would go on with the plan of then.
    pub fn clear(&self) {
        for process in self.processes() {
            if let Err(error) = kill_process(process, Signal::KILL) {
                tracing::debug!("process {process:?} in {}: {error}", self.name);
            }
        }
    }

    /// Tells it from every other.
    pub fn inode(&self) -> Option<u64> {
        self.file.metadata().ok().map(|metadata| metadata.ino())
    }

    fn closed(&self, source: io::Error) -> NamespaceError {
        NamespaceError::Closed { name: self.name.clone(), source }
    }
}

/// Opens namespaces, and makes those that are not there, all in one go.
pub fn ensure_all(names: &[String]) -> Result<Vec<Namespace>, NamespaceError> {
    let missing = names.iter().filter(|name| Namespace::open(name).is_err());
    let mut commands = Vec::new();
    for name in missing {
        // A name without a namespace behind it is what a reboot or a crash in `ip` leaves.
        if path(name).exists() {
            commands.push(format!("netns delete {name}"));
        }
        commands.push(format!("netns add {name}"));
    }
    if !commands.is_empty() {
        batch(&commands)?;
    }
    names.iter().map(|name| Namespace::open(name)).collect()
}

/// Takes a name away; the namespace goes with the last process in it. One that is not there is fine.
pub fn remove(name: &str) -> Result<(), ToolError> {
    if path(name).exists() {
        tool::run("ip", &["netns", "delete", name], "")?;
    }
    Ok(())
}

/// The names that begin in some way, sorted.
pub fn named(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort_unstable();
    names
}

/// The file that holds a namespace.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

const DIRECTORY: &str = "/run/netns";
