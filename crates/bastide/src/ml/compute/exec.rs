//! `bastide ml compute exec`: a command in a compute, as if it ran here.

use std::io;
use std::process::ExitCode;

use bastide_plan::way_in::{Account, TerminalSize};
use bastide_server::exec_frame::{CHUNK, Control, Ending, FromProcess, Order, ToProcess};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Named;
use super::session::{SessionError, connect};
use crate::Outcome;
use crate::ml::place::Workspace;
use crate::terminal::{self, Raw};

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    named: Named,
    /// Give it a terminal [default: when this command has one at both ends].
    #[arg(long, short, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", require_equals = true)]
    tty: Option<bool>,
    /// As whom.
    #[arg(long, short, value_enum, default_value_t, value_name = "USER")]
    user: User,
    /// In which directory [default: the user's home].
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
    /// Variables for it, as NAME=VALUE.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The command and its arguments [default: a login shell].
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum User {
    /// The compute's own user.
    #[default]
    Azureuser,
    /// Its root user, who is nobody outside of it.
    Root,
}

impl Exec {
    /// The exit code is the command's; 255 when it could not be run to its end.
    pub(super) async fn run(&self) -> Outcome {
        let terminal = self.tty.unwrap_or_else(terminal::is_at_both_ends).then(terminal::size);
        let workspace = self.named.place.open().await?;
        let (mut sink, stream) =
            connect(&workspace, &self.named.name, "exec", HeaderMap::new()).await.map_err(SessionError::told)?;
        let order = serde_json::to_string(&self.order(terminal))?;
        sink.send(Message::text(order)).await?;
        let raw = terminal.map(|_| Raw::enter()).transpose()?;
        let ending = converse(sink, stream, terminal.is_some()).await;
        drop(raw);
        Ok(match ending? {
            Ending::Status { status } => ExitCode::from(status),
            Ending::Signal { signal } => ExitCode::from(signal.saturating_add(128)),
            Ending::Error { message, .. } => {
                eprintln!("bastide: {message}");
                ExitCode::from(NOT_RUN)
            }
        })
    }

    fn order(&self, terminal: Option<TerminalSize>) -> Order {
        let mut environment: std::collections::BTreeMap<_, _> = self.env.iter().cloned().collect();
        if let (Some(_), Ok(kind)) = (terminal, std::env::var("TERM")) {
            environment.entry("TERM".to_owned()).or_insert(kind);
        }
        let account = match self.user {
            User::Azureuser => Account::User,
            User::Root => Account::Root,
        };
        Order {
            command: self.command.clone(),
            account: Some(account),
            directory: self.directory.clone(),
            environment,
            terminal,
        }
    }
}

/// Runs something without input, and returns how it ended and what it said.
pub(crate) async fn capture(
    workspace: &Workspace,
    compute: &str,
    order: &Order,
) -> Result<(Ending, String), SessionError> {
    let (mut sink, mut stream) = connect(workspace, compute, "exec", HeaderMap::new()).await?;
    let order = serde_json::to_string(order).map_err(io::Error::from)?;
    sink.send(Message::text(order)).await?;
    sink.send(Message::binary(ToProcess::Control(Control::Eof).encode())).await?;
    let mut said = Vec::new();
    while let Some(message) = stream.next().await {
        let Message::Binary(message) = message? else { continue };
        match FromProcess::decode(message)? {
            FromProcess::Output(bytes) | FromProcess::Error(bytes) => said.extend_from_slice(&bytes),
            FromProcess::End(ending) => return Ok((ending, String::from_utf8_lossy(&said).into_owned())),
        }
    }
    Err(SessionError::Ended)
}

/// Carries both ways at once: to wait for the other side on one of them must not keep the other waiting.
async fn converse(
    sink: impl Sink<Message, Error = Error> + Unpin,
    stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    has_terminal: bool,
) -> Result<Ending, SessionError> {
    let (inputs, input) = mpsc::channel(2);
    // Of its own: a signal must not wait until there is room for more input.
    let (controls, controlled) = mpsc::channel(8);
    tokio::spawn(read_input(inputs));
    tokio::select! {
        ending = receive(stream) => ending,
        error = send(sink, controlled, input) => Err(error),
        error = heed_signals(controls, has_terminal) => Err(error.into()),
    }
}

/// Resolves when nothing can be sent any more.
async fn send(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut controls: mpsc::Receiver<Control>,
    mut input: mpsc::Receiver<ToProcess>,
) -> SessionError {
    loop {
        let message = tokio::select! {
            biased;
            Some(control) = controls.recv() => ToProcess::Control(control),
            Some(message) = input.recv() => message,
            else => break,
        };
        if sink.send(Message::binary(message.encode())).await.is_err() {
            break;
        }
    }
    // Why, the receiving half knows better, and says it.
    std::future::pending().await
}

async fn receive(mut stream: impl Stream<Item = Result<Message, Error>> + Unpin) -> Result<Ending, SessionError> {
    let (mut output, mut errors) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(message) = stream.next().await {
        let Message::Binary(message) = message? else { continue };
        match FromProcess::decode(message)? {
            FromProcess::Output(bytes) => match say(&mut output, &bytes).await {
                // Nobody reads any more. What ran here would have ended of it without a word, and what runs there ends
                // with this connection.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ending::Signal { signal: PIPE }),
                said => said?,
            },
            FromProcess::Error(bytes) => {
                say(&mut errors, &bytes).await?;
            }
            FromProcess::End(ending) => return Ok(ending),
        }
    }
    Err(SessionError::Ended)
}

async fn say(output: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    output.write_all(bytes).await?;
    output.flush().await
}

async fn read_input(messages: mpsc::Sender<ToProcess>) {
    let mut input = tokio::io::stdin();
    let mut buffer = vec![0; CHUNK];
    loop {
        let message = match input.read(&mut buffer).await {
            Ok(0) | Err(_) => ToProcess::Control(Control::Eof),
            Ok(length) => ToProcess::Input(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())),
        };
        let is_last = matches!(message, ToProcess::Control(_));
        if messages.send(message).await.is_err() || is_last {
            return;
        }
    }
}

/// Hands signals on. The second that is to end something is for this command itself: a process that reads nothing does not
/// hear of the first while its input waits before it.
async fn heed_signals(controls: mpsc::Sender<Control>, has_terminal: bool) -> io::Error {
    let heeded = async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut resized = signal(SignalKind::window_change())?;
        let mut asked_to_end = 0;
        loop {
            let control = tokio::select! {
                _ = interrupt.recv() => Control::Signal { signal: 2 },
                _ = terminate.recv() => Control::Signal { signal: 15 },
                _ = resized.recv() => {
                    if !has_terminal {
                        continue;
                    }
                    let TerminalSize { rows, columns } = terminal::size();
                    Control::Resize { rows, columns }
                }
            };
            asked_to_end += u32::from(matches!(control, Control::Signal { .. }));
            if asked_to_end > 1 {
                return Err(io::Error::other("interrupted"));
            }
            // When the other end is gone the receiving half says so.
            let _gone = controls.try_send(control);
        }
    };
    let ended: Result<std::convert::Infallible, io::Error> = heeded.await;
    match ended {
        Err(error) => error,
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or_else(|| format!("'{text}' is no variable: write NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The signal of a pipe that nobody reads.
const PIPE: u8 = 13;

/// As ssh has it.
const NOT_RUN: u8 = 255;
