//! How a process in a compute travels over a WebSocket; server and clients share it (docs/computes.md has it in words).
//!
//! The first message is the client's: an [`Order`] as JSON text. Every later one is binary, its first byte the channel:
//! 0 standard input, 1 standard output, 2 standard error, 3 [`Control`] as JSON, 4 the [`Ending`] as JSON, which comes last.
//! A message is at most [`LONGEST`] bytes.

use std::collections::BTreeMap;

use bastide_plan::way_in::{Account, Exit, Process, TerminalSize};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client wants to run: its first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Program and arguments; the program is looked for along PATH. None: the login shell.
    #[serde(default)]
    pub command: Vec<String>,
    /// As whom; the compute's user if none.
    #[serde(default)]
    pub account: Option<Account>,
    /// Where; the account's home if none.
    #[serde(default)]
    pub directory: Option<String>,
    /// Variables beside those of the compute.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The size of its terminal, if it is to have one.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
}

/// What a client sends after its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToProcess {
    /// For standard input.
    Input(Bytes),
    /// About the process.
    Control(Control),
}

/// What is not for the process to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Control {
    /// The terminal has another size now.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
    /// Send it a signal.
    Signal {
        /// Its number.
        signal: u8,
    },
    /// Nothing more comes for standard input.
    Eof,
}

/// What a client receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromProcess {
    /// From standard output, or from the terminal.
    Output(Bytes),
    /// From standard error.
    Error(Bytes),
    /// It is over. Nothing comes after it.
    End(Ending),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Ending {
    /// By itself.
    Status {
        /// Its exit status.
        status: u8,
    },
    /// By a signal.
    Signal {
        /// Its number.
        signal: u8,
    },
    /// It could not be started, or was cut off.
    Error {
        /// A word for programs.
        code: String,
        /// A sentence for people.
        message: String,
    },
}

/// A message that is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No channel.
    #[error("a message is empty; its first byte is its channel")]
    Empty,
    /// A channel that is not for this direction.
    #[error("channel {0} is not for this direction")]
    Channel(u8),
    /// JSON that is none, or not what is expected.
    #[error("{0}")]
    Json(String),
}

impl Order {
    /// Reads the first message.
    pub fn read(text: &str) -> Result<Self, FrameError> {
        // A list would be taken for the fields in their order.
        let fields: serde_json::Map<String, Value> = parse(text.as_bytes())?;
        serde_json::from_value(Value::Object(fields)).map_err(|error| FrameError::Json(error.to_string()))
    }

    /// The process that it asks for.
    pub fn process(self) -> Process {
        let shell = || vec!["/bin/sh".to_owned(), "-c".to_owned(), LOGIN_SHELL.to_owned()];
        Process {
            command: if self.command.is_empty() { shell() } else { self.command },
            account: self.account.unwrap_or(Account::User),
            environment: self.environment,
            directory: self.directory,
            terminal: self.terminal,
        }
    }
}

impl ToProcess {
    /// As it travels.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Input(bytes) => with_channel(INPUT, bytes),
            Self::Control(control) => with_channel(CONTROL, &json(control)),
        }
    }

    /// Reads a binary message of a client.
    pub fn decode(message: Bytes) -> Result<Self, FrameError> {
        match split(message)? {
            (INPUT, bytes) => Ok(Self::Input(bytes)),
            (CONTROL, bytes) => parse(&bytes).map(Self::Control),
            (channel, _) => Err(FrameError::Channel(channel)),
        }
    }
}

impl FromProcess {
    /// As it travels.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Output(bytes) => with_channel(OUTPUT, bytes),
            Self::Error(bytes) => with_channel(ERROR, bytes),
            Self::End(ending) => with_channel(END, &json(ending)),
        }
    }

    /// Reads a binary message of the server.
    pub fn decode(message: Bytes) -> Result<Self, FrameError> {
        match split(message)? {
            (OUTPUT, bytes) => Ok(Self::Output(bytes)),
            (ERROR, bytes) => Ok(Self::Error(bytes)),
            (END, bytes) => parse(&bytes).map(Self::End),
            (channel, _) => Err(FrameError::Channel(channel)),
        }
    }
}

impl From<Exit> for Ending {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Status(status) => Self::Status { status },
            Exit::Signal(signal) => Self::Signal { signal },
        }
    }
}

fn with_channel(channel: u8, payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(payload.len() + 1);
    message.put_u8(channel);
    message.put_slice(payload);
    message.freeze()
}

fn split(mut message: Bytes) -> Result<(u8, Bytes), FrameError> {
    let channel = *message.first().ok_or(FrameError::Empty)?;
    Ok((channel, message.split_off(1)))
}

/// None of these types has a map with keys that are not text, which is all that could fail.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(bytes).map_err(|error| FrameError::Json(error.to_string()))
}

/// Bytes of the longest message, its channel included.
pub const LONGEST: usize = 1 << 20;

/// Bytes of a stream that are sent at once.
pub const CHUNK: usize = 32 * 1024;

const INPUT: u8 = 0;
const OUTPUT: u8 = 1;
const ERROR: u8 = 2;
const CONTROL: u8 = 3;
const END: u8 = 4;

/// The account's own shell, as a login shell.
const LOGIN_SHELL: &str = "exec \"$(getent passwd \"$(id -u)\" | cut -d: -f7 | grep . || echo /bin/sh)\" -l";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = Bytes::from_static(&[0, 255, 3, 10]);
        for message in [
            ToProcess::Input(bytes.clone()),
            ToProcess::Input(Bytes::new()),
            ToProcess::Control(Control::Resize { rows: 24, columns: 80 }),
            ToProcess::Control(Control::Signal { signal: 15 }),
            ToProcess::Control(Control::Eof),
        ] {
            assert_eq!(ToProcess::decode(message.encode()), Ok(message));
        }
        let error = Ending::Error { code: "AccessRevoked".to_owned(), message: "No more.".to_owned() };
        for ending in [Ending::Status { status: 7 }, Ending::Signal { signal: 9 }, error] {
            let message = FromProcess::End(ending);
            assert_eq!(FromProcess::decode(message.encode()), Ok(message));
        }
        for message in [FromProcess::Output(bytes.clone()), FromProcess::Error(bytes)] {
            assert_eq!(FromProcess::decode(message.encode()), Ok(message));
        }
    }

    #[test]
    fn the_words_on_the_wire_are_the_documented_ones() {
        assert_eq!(ToProcess::Control(Control::Eof).encode().as_ref(), b"\x03{\"type\":\"eof\"}");
        let ending = FromProcess::End(Ending::Status { status: 3 });
        assert_eq!(ending.encode().as_ref(), b"\x04{\"type\":\"status\",\"status\":3}");
        let order = Order::read(r#"{"command":["id"],"account":"root","terminal":{"rows":1,"columns":2}}"#).unwrap();
        assert_eq!(order.account, Some(Account::Root));
        assert_eq!(order.terminal, Some(TerminalSize { rows: 1, columns: 2 }));
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        assert_eq!(ToProcess::decode(Bytes::new()), Err(FrameError::Empty));
        assert_eq!(ToProcess::decode(Bytes::from_static(b"\x01x")), Err(FrameError::Channel(1)));
        assert_eq!(FromProcess::decode(Bytes::from_static(b"\x00x")), Err(FrameError::Channel(0)));
        assert!(ToProcess::decode(Bytes::from_static(b"\x03{\"type\":\"resize\"}")).is_err());
        for wrong in ["", "[]", r#"{"command":"id"}"#, r#"{"command":["id"],"more":1}"#] {
            assert!(Order::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_command_a_login_shell_is_meant() {
        let process = Order::read("{}").unwrap().process();
        assert_eq!(process.account, Account::User);
        assert!(process.command.last().unwrap().ends_with("-l"), "{process:?}");
    }
}
