//! Ways into a running instance. None of them is a port on an address: the agent opens them inside and hands them over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is to be opened inside an instance. Each brings descriptors with its answer, in the order given here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum WayIn {
    /// A process. With a terminal: the terminal's other end. Without: its standard input, output and error.
    ///
    /// It ends with the connection that asked for it, and that connection hears [`crate::message::Answer::Exited`].
    Process(Process),
    /// A Unix socket that something inside listens at: a connection to it.
    Socket {
        /// An absolute path.
        path: String,
    },
    /// A TCP port that something inside listens at on 127.0.0.1: a connection to it.
    Port {
        /// Which port.
        port: u16,
    },
    /// A socket listening inside at 169.254.169.254:80, which whoever runs inside cannot bind. What arrives at it
    /// comes from this instance and from nowhere else.
    Metadata,
}

/// A process inside an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Process {
    /// Program and arguments; the program is looked for along PATH.
    pub command: Vec<String>,
    /// As whom.
    pub account: Account,
    /// Variables beside those of the instance.
    pub environment: BTreeMap<String, String>,
    /// Where; the account's home if none.
    pub directory: Option<String>,
    /// Whether it gets a terminal, and of which size.
    pub terminal: Option<TerminalSize>,
}

/// As whom a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Account {
    /// The instance's user.
    User,
    /// The instance's root user, who is nobody outside of it and has no capability inside of it.
    Root,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Exit {
    /// By itself.
    Status(u8),
    /// By a signal.
    Signal(u8),
}

impl Exit {
    /// As a shell says it: 128 and the signal's number for what a signal has ended.
    pub fn code(self) -> u8 {
        match self {
            Self::Status(status) => status,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}
