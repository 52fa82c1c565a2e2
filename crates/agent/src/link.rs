//! The socket in the file system on which the agent is asked; the kernel says who asks.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bastide_plan::HubReport;
use bastide_plan::hub_plan::PLAN_VERSION;
use bastide_plan::message::{Answer, Ask, Request, Tell};
use rustix::net::sockopt::socket_peercred;
use thiserror::Error;

use crate::agent::{Agent, Peer};
use crate::wire;

/// Listens until the agent has gone. Root may ask, and the user of the server.
pub fn listen(agent: &Arc<Agent>, path: &Path, server_user: Option<u32>) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    if let Some(user) = server_user {
        std::os::unix::fs::chown(path, Some(user), None)?;
    }
    let agent = Arc::downgrade(agent);
    std::thread::Builder::new().name("link".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            if agent.strong_count() == 0 {
                return;
            }
            let started = stream.and_then(|stream| start(agent.clone(), stream, server_user));
            if let Err(error) = started {
                tracing::warn!("somebody asked and was not answered: {error}");
            }
        }
    })?;
    Ok(())
}

/// One who asks the agent, and waits for each answer. For the command line and for tests.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    last: u64,
    hubs: Vec<HubReport>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The agent is not there.
    #[error("no agent answers at {path}: {source}. Is 'bastide up' running with this data directory?")]
    Absent {
        /// Its socket.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It went away, or says something else than it should.
    #[error("the agent does not answer: {0}")]
    Silent(#[from] io::Error),
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Connects to an agent, as one that changes no plan unless `fence` is at least the greatest one shown so far.
    pub fn connect(path: &Path, fence: i64) -> Result<Self, ClientError> {
        let absent = |source| ClientError::Absent { path: path.display().to_string(), source };
        let stream = UnixStream::connect(path).map_err(absent)?;
        let mut client = Self { stream, last: 0, hubs: Vec::new() };
        if let Answer::Welcome { hubs, .. } = client.ask(Request::Hello { version: PLAN_VERSION, fence })? {
            client.hubs = hubs;
        }
        Ok(client)
    }

    /// The hubs that the agent held when it was connected to.
    pub fn hubs(&self) -> &[HubReport] {
        &self.hubs
    }

    /// Asks, and waits for the answer. A refusal is an error.
    pub fn ask(&mut self, request: Request) -> Result<Answer, ClientError> {
        self.last += 1;
        wire::write(&self.stream, &Ask { number: self.last, request })?;
        loop {
            let tell: Tell = wire::read(&self.stream)?;
            match tell.answer {
                _ if tell.number != self.last => {}
                Answer::Refused { reason } => return Err(ClientError::Refused(reason)),
                answer => return Ok(answer),
            }
        }
    }
}

fn start(agent: Weak<Agent>, stream: UnixStream, server_user: Option<u32>) -> io::Result<()> {
    let user = socket_peercred(&stream)?.uid.as_raw();
    if user != 0 && Some(user) != server_user {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {user} may not ask the agent")));
    }
    // One that does not read its answers is cut off.
    stream.set_write_timeout(Some(PATIENCE))?;
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    let body = move || {
        if let Err(error) = serve(&agent, &stream, &writer, user == 0)
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            tracing::warn!("a server of the agent's is cut off: {error}");
        }
    };
    std::thread::Builder::new().name("link-peer".to_owned()).spawn(body)?;
    Ok(())
}

fn serve(agent: &Weak<Agent>, stream: &UnixStream, writer: &Arc<Mutex<UnixStream>>, is_root: bool) -> io::Result<()> {
    let mut peer: Option<Peer> = None;
    loop {
        let Ask { number, request } = wire::read(stream)?;
        let Some(agent) = agent.upgrade() else { return Ok(()) };
        let back = Arc::clone(writer);
        let reply = move |answer| send(&back, &Tell { number, answer });
        match (&request, peer) {
            (Request::Hello { version, fence }, _) => match agent.greet(*version, *fence) {
                Ok(hubs) => {
                    let is_first = peer.replace(Peer { fence: *fence, is_root }).is_none();
                    // Events wait until the answer is written: whatever is not in it comes after it.
                    let stream = lock(writer);
                    if is_first {
                        let back = Arc::clone(writer);
                        agent.subscribe(Box::new(move |answer| {
                            wire::write(&lock(&back), &Tell { number: 0, answer: answer.clone() }).is_ok()
                        }));
                    }
                    let computes = agent.compute_reports();
                    wire::write(
                        &stream,
                        &Tell { number, answer: Answer::Welcome { version: PLAN_VERSION, hubs, computes } },
                    )?;
                }
                Err(reason) => reply(Answer::Refused { reason }),
            },
            (Request::Open { version, compute, way }, None) => match agent.open(*version, *compute, way) {
                Ok(way) => {
                    // It may last for days, and the agent is not kept from stopping.
                    drop(agent);
                    return way.carry(stream, number);
                }
                Err(reason) => reply(Answer::Refused { reason }),
            },
            (_, Some(peer)) => agent.handle(peer, request, Box::new(reply)),
            (_, None) => reply(Answer::Refused { reason: "say Hello first".to_owned() }),
        }
    }
}

fn send(writer: &Mutex<UnixStream>, tell: &Tell) {
    let stream = lock(writer);
    if let Err(error) = wire::write(&stream, tell) {
        // Half a message cannot be taken back.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        tracing::debug!("an answer was not read: {error}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PATIENCE: Duration = Duration::from_secs(10);
