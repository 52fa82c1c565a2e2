//! `GET {compute}/bastide/exec`: a process in a compute, over a WebSocket ([`frame`](super::frame)).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bastide_hub::compute::user::Use;
use bastide_plan::way_in::{TerminalSize, WayIn};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::end::End;
use super::frame::{CHUNK, Control, Ending, FromProcess, Order, ToProcess};
use super::socket::{self, Session, Socket};
use super::visit::Visit;
use crate::failure::Failure;
use crate::front::Front;
use crate::network::Opened;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// Opens the WebSocket; what is to run the client says there.
    pub(crate) async fn open_exec(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let headers = socket::accept(request.headers)?;
        let visit = self.visit_of(request, pass, Use::Shell).await?;
        Ok(Reply::switching(headers, Session::new(move |front, socket| serve(front, visit.clone(), socket))))
    }
}

async fn serve(front: Arc<Front>, visit: Visit, socket: Socket) {
    let (sink, mut stream) = socket.split();
    let (to_client, frames) = mpsc::channel(4);
    let sending = tokio::spawn(send(sink, frames));
    if let Some(ending) = run(&front, &visit, &mut stream, &to_client).await {
        // Who is gone need not be told.
        let _gone = to_client.send(FromProcess::End(ending)).await;
    }
    drop(to_client);
    let abort = sending.abort_handle();
    if timeout(FAREWELL, sending).await.is_err() {
        abort.abort();
    }
}

/// Runs a process until it ends, or must; nothing, when the client is gone.
async fn run(
    front: &Front,
    visit: &Visit,
    stream: &mut SplitStream<Socket>,
    to_client: &mpsc::Sender<FromProcess>,
) -> Option<Ending> {
    let order = match timeout(PATIENCE, stream.next()).await {
        Ok(Some(Ok(Message::Text(text)))) => match Order::read(&text) {
            Ok(order) => order,
            Err(error) => return Some(failed("InvalidOrder", format!("The first message is no order: {error}."))),
        },
        Ok(None | Some(Err(_) | Ok(Message::Close(_)))) => return None,
        Ok(Some(Ok(_))) | Err(_) => {
            return Some(failed(
                "InvalidOrder",
                "The first message must say as text what to run, and come soon.".into(),
            ));
        }
    };
    let has_terminal = order.terminal.is_some();
    let opened = match front.networks.open(visit.compute, WayIn::Process(order.process())).await {
        Ok(opened) => opened,
        Err(away) => return Some(failed("ComputeNotReachable", away.to_string())),
    };
    let process = match Process::new(opened, has_terminal) {
        Ok(process) => process,
        Err(error) => return Some(failed("ComputeNotReachable", error.to_string())),
    };
    let (controls, controlled) = mpsc::channel(4);
    tokio::select! {
        ending = process.outcome(controlled, to_client) => Some(ending),
        ending = process.input(stream, controls) => ending,
        // A process that reads nothing keeps us from hearing that the client is gone; that nothing can be sent tells it.
        () = to_client.closed() => None,
        error = front.revoked(visit) => Some(failed(&error.code, error.message.clone())),
    }
}

/// A process that runs, and its ends.
struct Process {
    opened: tokio::sync::Mutex<Opened>,
    input: tokio::sync::Mutex<Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>>,
    outputs: std::sync::Mutex<Vec<Output>>,
    has_terminal: bool,
}

/// What comes from a process, and how it is called on its way.
struct Output {
    end: Box<dyn AsyncRead + Send + Unpin>,
    wrap: fn(Bytes) -> FromProcess,
}

impl Process {
    fn new(mut opened: Opened, has_terminal: bool) -> std::io::Result<Self> {
        let mut ends = Vec::new();
        for end in opened.ends.drain(..) {
            ends.push(End::new(end)?);
        }
        let mut ends = ends.into_iter();
        let missing = || std::io::Error::other("the agent has not handed over the ends of the process");
        let first = ends.next().ok_or_else(missing)?;
        let (input, outputs): (Box<dyn tokio::io::AsyncWrite + Send + Unpin>, _) = if has_terminal {
            let (read, write) = tokio::io::split(first);
            (Box::new(write), vec![Output { end: Box::new(read), wrap: FromProcess::Output }])
        } else {
            let (output, error) = (ends.next().ok_or_else(missing)?, ends.next().ok_or_else(missing)?);
            let output = Output { end: Box::new(output), wrap: FromProcess::Output };
            (Box::new(first), vec![output, Output { end: Box::new(error), wrap: FromProcess::Error }])
        };
        Ok(Self { opened: opened.into(), input: Some(input).into(), outputs: outputs.into(), has_terminal })
    }

    /// Carries what the process says until it has ended and has no more to say.
    async fn outcome(&self, mut controls: mpsc::Receiver<Control>, to_client: &mpsc::Sender<FromProcess>) -> Ending {
        let moved = Arc::new(AtomicU64::new(0));
        let outputs = std::mem::take(&mut *self.outputs.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let mut pumps = JoinSet::new();
        for output in outputs {
            pumps.spawn(pump(output, to_client.clone(), Arc::clone(&moved)));
        }
        let mut opened = self.opened.lock().await;
        let ending = loop {
            let control = tokio::select! {
                exit = opened.exited() => match exit {
                    Ok(exit) => break exit.into(),
                    Err(away) => break failed("ComputeNotReachable", away.to_string()),
                },
                Some(control) = controls.recv() => control,
            };
            let told = match control {
                Control::Resize { rows, columns } => opened.resize(TerminalSize { rows, columns }).await,
                Control::Signal { signal } => opened.signal(signal).await,
                Control::Eof => Ok(()),
            };
            if let Err(away) = told {
                break failed("ComputeNotReachable", away.to_string());
            }
        };
        // Children that it has left behind may hold its ends for ever; what was said before must arrive.
        let mut seen = moved.load(Ordering::Relaxed);
        loop {
            let ended = timeout(LINGER, async { while pumps.join_next().await.is_some() {} }).await;
            let now = moved.load(Ordering::Relaxed);
            if ended.is_ok() || now == seen && to_client.capacity() == to_client.max_capacity() {
                break;
            }
            seen = now;
        }
        if let Some(note) = opened.note.take() {
            // Who is gone need not be told.
            let _gone = to_client.send(FromProcess::Error(format!("bastide: {note}\r\n").into())).await;
        }
        ending
    }

    /// Carries what the client says. Resolves when it is gone, or has said what nobody understands.
    async fn input(&self, stream: &mut SplitStream<Socket>, controls: mpsc::Sender<Control>) -> Option<Ending> {
        loop {
            let message = match timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(Message::Binary(message)))) => ToProcess::decode(message),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                Ok(Some(Ok(_) | Err(_)) | None) | Err(_) => return None,
            };
            match message {
                Ok(ToProcess::Input(bytes)) => self.write(&bytes).await,
                Ok(ToProcess::Control(Control::Eof)) => self.end_input().await,
                // When the process has ended, nobody listens.
                Ok(ToProcess::Control(control)) => drop(controls.send(control).await),
                Err(error) => return Some(failed("InvalidMessage", error.to_string())),
            }
        }
    }

    /// A process that reads no more has its reasons, and goes on.
    async fn write(&self, bytes: &[u8]) {
        let mut input = self.input.lock().await;
        if let Some(end) = input.as_mut()
            && end.write_all(bytes).await.is_err()
        {
            *input = None;
        }
    }

    /// Whoever sits at a terminal says with a key that no more comes.
    async fn end_input(&self) {
        if self.has_terminal {
            self.write(END_OF_TRANSMISSION).await;
        } else {
            *self.input.lock().await = None;
        }
    }
}

async fn pump(mut output: Output, to_client: mpsc::Sender<FromProcess>, moved: Arc<AtomicU64>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = output.end.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        moved.fetch_add(1, Ordering::Relaxed);
        if to_client.send((output.wrap)(bytes)).await.is_err() {
            return;
        }
    }
}

/// Sends what there is to be sent, and now and then a sign of life; closes when no more comes.
async fn send(mut sink: SplitSink<Socket, Message>, mut frames: mpsc::Receiver<FromProcess>) {
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    loop {
        let message = tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => Message::binary(frame.encode()),
                None => break,
            },
            _ = heartbeat.tick() => Message::Ping(Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
    // Who is gone need not be told.
    let _gone = sink.close().await;
}

fn failed(code: &str, message: String) -> Ending {
    Ending::Error { code: code.to_owned(), message }
}

/// For the first message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two signs of life.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(20);

/// After which whoever has given no sign of life is gone. Every WebSocket answers ours.
pub(super) const SILENCE: Duration = Duration::from_secs(90);

/// How long a process that has ended may be silent before nobody waits for its children.
const LINGER: Duration = Duration::from_millis(300);

/// For a client to take what was sent last.
const FAREWELL: Duration = Duration::from_secs(10);

/// Ctrl-D.
const END_OF_TRANSMISSION: &[u8] = b"\x04";
