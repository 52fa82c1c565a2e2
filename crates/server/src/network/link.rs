//! The server's end of the socket to the agent. One task owns the connection; requests and answers cross on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bastide_plan::frame::{self, HEAD};
use bastide_plan::hub_plan::PLAN_VERSION;
use bastide_plan::message::{Answer, Ask, Request, Tell};
use bastide_plan::{ComputeReport, HubReport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::node::{Away, unexpected};

/// A connection that is made anew whenever it is lost.
#[derive(Debug)]
pub(super) struct Link {
    socket: PathBuf,
    requests: mpsc::Sender<Pending>,
    /// For the one task that runs the link.
    accepted: Arc<Mutex<mpsc::Receiver<Pending>>>,
}

/// What an agent says unasked.
#[derive(Debug)]
pub(super) enum Event {
    /// It is there, and holds these instances.
    Connected(Vec<ComputeReport>),
    /// The kernel's state has changed.
    Changed(Box<HubReport>),
    /// An instance does something else.
    ComputeChanged(Box<ComputeReport>),
    /// It is gone.
    Lost(String),
}

#[derive(Debug)]
struct Pending {
    request: Request,
    answer: oneshot::Sender<Result<Answer, Away>>,
}

impl Link {
    pub(super) fn new(socket: PathBuf) -> Self {
        let (requests, accepted) = mpsc::channel(256);
        Self { socket, requests, accepted: Arc::new(Mutex::new(accepted)) }
    }

    /// Where the agent listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks, and waits for the answer; not for ever.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, Away> {
        let (answer, answered) = oneshot::channel();
        let silent = |why: &str| Away::Silent(why.to_owned());
        let asked = async {
            let pending = Pending { request, answer };
            self.requests.send(pending).await.map_err(|_| silent("the server is stopping"))?;
            answered.await.map_err(|_| silent("the connection was lost"))?
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Answer::Refused { reason })) => Err(Away::Refused(reason)),
            Ok(answered) => answered,
            Err(_) => Err(silent(&format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Keeps a connection for ever, introducing itself with a fencing token. Events go to `events`.
    pub(super) async fn run(&self, fence: i64, events: mpsc::Sender<Event>) {
        let mut accepted = self.accepted.lock().await;
        let mut last_error = String::new();
        loop {
            let error = match connect(&self.socket, fence).await {
                Ok((reader, writer, computes)) => {
                    tracing::info!(socket = %self.socket.display(), "connected to the agent");
                    if events.send(Event::Connected(computes)).await.is_err() {
                        return;
                    }
                    converse(reader, writer, &mut accepted, &events).await
                }
                Err(error) => error,
            };
            if error != last_error {
                tracing::warn!(socket = %self.socket.display(), error, "no connection to the agent");
                last_error.clone_from(&error);
            }
            if events.send(Event::Lost(error.clone())).await.is_err() {
                return;
            }
            // Who asks meanwhile is told at once rather than left to wait.
            let until = tokio::time::Instant::now() + PAUSE;
            while let Ok(Some(pending)) = tokio::time::timeout_at(until, accepted.recv()).await {
                // Whoever asked may have gone.
                let _gone = pending.answer.send(Err(Away::Silent(error.clone())));
            }
        }
    }
}

async fn connect(socket: &Path, fence: i64) -> Result<(OwnedReadHalf, OwnedWriteHalf, Vec<ComputeReport>), String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let (mut reader, mut writer) = stream.into_split();
    write(&mut writer, 1, Request::Hello { version: PLAN_VERSION, fence }).await?;
    let greeting = tokio::time::timeout(PATIENCE, read(&mut reader)).await;
    match greeting.map_err(|_| "it does not greet".to_owned())??.answer {
        Answer::Welcome { version: PLAN_VERSION, computes, .. } => Ok((reader, writer, computes)),
        Answer::Welcome { version, .. } => Err(format!(
            "it speaks version {version} of the plan and this server version {PLAN_VERSION}: start both from one release"
        )),
        Answer::Refused { reason } => Err(reason),
        other => Err(unexpected(&other).to_string()),
    }
}

/// Carries requests and answers until the connection ends, which is what it returns.
async fn converse(
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    accepted: &mut mpsc::Receiver<Pending>,
    events: &mpsc::Sender<Event>,
) -> String {
    // Reading is not cancel-safe, so it has a task of its own.
    let (tells, mut told) = mpsc::channel(64);
    let reading = tokio::spawn(async move {
        loop {
            let tell = read(&mut reader).await;
            let is_over = tell.is_err();
            if tells.send(tell).await.is_err() || is_over {
                return;
            }
        }
    });
    let mut waiting: BTreeMap<u64, oneshot::Sender<Result<Answer, Away>>> = BTreeMap::new();
    let mut number = 1;
    let error = loop {
        tokio::select! {
            tell = told.recv() => match tell {
                Some(Ok(Tell { number: 0, answer })) => {
                    let event = match answer {
                        Answer::Changed { report } => Event::Changed(report),
                        Answer::ComputeChanged { report } => Event::ComputeChanged(report),
                        other => break unexpected(&other).to_string(),
                    };
                    if events.send(event).await.is_err() {
                        break "the server is stopping".to_owned();
                    }
                }
                Some(Ok(Tell { number, answer })) => {
                    if let Some(asker) = waiting.remove(&number) {
                        // Whoever asked may have gone.
                        let _gone = asker.send(Ok(answer));
                    }
                }
                Some(Err(error)) => break error,
                None => break "the connection was lost".to_owned(),
            },
            pending = accepted.recv() => {
                let Some(Pending { request, answer }) = pending else { break "the server is stopping".to_owned() };
                number += 1;
                waiting.retain(|_, asker| !asker.is_closed());
                waiting.insert(number, answer);
                if let Err(error) = write(&mut writer, number, request).await {
                    break error;
                }
            }
        }
    };
    reading.abort();
    for asker in waiting.into_values() {
        // Whoever asked may have gone.
        let _gone = asker.send(Err(Away::Silent(error.clone())));
    }
    error
}

async fn write(writer: &mut OwnedWriteHalf, number: u64, request: Request) -> Result<(), String> {
    let bytes = frame::encode(&Ask { number, request }).map_err(|error| error.to_string())?;
    writer.write_all(&bytes).await.map_err(|error| error.to_string())
}

async fn read(reader: &mut OwnedReadHalf) -> Result<Tell, String> {
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).await.map_err(|error| error.to_string())?;
    let mut json = vec![0; frame::length(head).map_err(|error| error.to_string())?];
    reader.read_exact(&mut json).await.map_err(|error| error.to_string())?;
    frame::decode(&json).map_err(|error| error.to_string())
}

/// Longer than an agent takes for the largest plan.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);
