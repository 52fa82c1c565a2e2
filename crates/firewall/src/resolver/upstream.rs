//! Asks the host's resolver, over sockets that the agent opened on the host's side.
//!
//! One question at a time goes through a socket, and a socket serves few of them: who wants to answer in the resolver's
//! place must guess the number, the port and the cases of the letters at once, and has one attempt (RFC 5452).

use std::io;
use std::net::{TcpStream as StdTcpStream, UdpSocket as StdUdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_inspect::Name;
use bastide_plan::worker::Transport;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::question::spell;
use super::reading::{Asked, Known, Lie, Reading, read};

/// The host's resolver.
#[derive(Debug)]
pub struct Upstream {
    sockets: Mutex<Sockets>,
    arrived: Notify,
    /// Where the agent is told that a socket is needed.
    need: mpsc::UnboundedSender<Transport>,
    slots: Semaphore,
}

#[derive(Debug, Default)]
struct Sockets {
    udp: Vec<Socket>,
    tcp: Vec<TcpStream>,
    /// When sockets were asked for that have not come yet.
    expected: Vec<(Transport, Instant)>,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    /// How often it may still be used.
    uses: u32,
    until: Instant,
}

/// Why the host's resolver has not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Failure {
    /// Nothing came in time.
    #[error("the host's resolver did not answer within {} s", DEADLINE.as_secs())]
    Silent,
    /// The agent has not handed in a socket in time.
    #[error("there is no socket to the host's resolver; the log of the agent says why")]
    NoSocket,
    /// It said that it could not find out.
    #[error("the host's resolver answered {0}")]
    Code(ResponseCode),
    /// Its answers cannot be.
    #[error("the answer of the host's resolver does not count: {0}")]
    Lie(#[from] Lie),
}

impl Upstream {
    /// Nothing to ask yet. Sockets are asked for through `need`, and come by [`Upstream::add`].
    pub fn new(need: mpsc::UnboundedSender<Transport>) -> Self {
        Self { sockets: Mutex::default(), arrived: Notify::new(), need, slots: Semaphore::new(SLOTS) }
    }

    /// Takes a connected socket.
    pub fn add(&self, transport: Transport, descriptor: OwnedFd) -> io::Result<()> {
        let mut sockets = self.sockets();
        if let Some(place) = sockets.expected.iter().position(|(expected, _)| *expected == transport) {
            sockets.expected.swap_remove(place);
        }
        match transport {
            Transport::Udp if sockets.udp.len() < MAX_IDLE => {
                let socket = StdUdpSocket::from(descriptor);
                socket.set_nonblocking(true)?;
                let socket = UdpSocket::from_std(socket)?;
                sockets.udp.push(Socket { socket, uses: USES, until: Instant::now() + AGE });
            }
            Transport::Tcp if sockets.tcp.len() < MAX_IDLE => {
                let stream = StdTcpStream::from(descriptor);
                stream.set_nonblocking(true)?;
                sockets.tcp.push(TcpStream::from_std(stream)?);
            }
            Transport::Udp | Transport::Tcp => {}
        }
        drop(sockets);
        self.arrived.notify_waiters();
        Ok(())
    }

    /// Asks one question.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Result<Known, Failure> {
        match timeout(DEADLINE, self.attempts(name, kind)).await {
            Ok(result) => result,
            Err(_) => Err(if self.sockets().is_wanting() { Failure::NoSocket } else { Failure::Silent }),
        }
    }

    async fn attempts(&self, name: &Name, kind: RecordType) -> Result<Known, Failure> {
        let _slot = self.slots.acquire().await.map_err(|_| Failure::Silent)?;
        for patience in PATIENCE {
            match self.by_udp(name, kind, patience).await {
                Ok(Reading::Known(known)) => return Ok(known),
                Ok(Reading::Failed(code)) => return Err(Failure::Code(code)),
                // The answer is too long, somebody guesses, or something on the way changes the cases of letters.
                Ok(Reading::Truncated) | Err(Attempt::Flooded) => return self.by_tcp(name, kind).await,
                Err(Attempt::Lie(lie)) => return Err(lie.into()),
                Err(Attempt::Silent) => {}
            }
        }
        Err(Failure::Silent)
    }

    async fn by_udp(&self, name: &Name, kind: RecordType, patience: Duration) -> Result<Reading, Attempt> {
        let mut socket = self.udp().await;
        let asked = question(name, kind, true);
        let Some(message) = write(&asked) else { return Err(Attempt::Silent) };
        let result = match timeout(patience, exchange(&socket.socket, &message, &asked)).await {
            Ok(result) => result,
            Err(_) => Err(Attempt::Silent),
        };
        // A late answer would meet the next question: only a socket that has given what was asked is used again.
        if result.is_ok() {
            socket.uses = socket.uses.saturating_sub(1);
            self.give_back(socket);
        }
        result
    }

    async fn by_tcp(&self, name: &Name, kind: RecordType) -> Result<Known, Failure> {
        let asked = question(name, kind, false);
        let message = write(&asked).ok_or(Failure::Silent)?;
        for _ in 0..STREAMS {
            let Ok(answer) = exchange_stream(&mut self.tcp().await, &message).await else { continue };
            return match read(&answer, &asked)? {
                Reading::Known(known) => Ok(known),
                Reading::Failed(code) => Err(Failure::Code(code)),
                Reading::Truncated => Err(Lie::Contradiction.into()),
            };
        }
        Err(Failure::Silent)
    }

    /// A socket to ask through, whichever; waits for one to come.
    async fn udp(&self) -> Socket {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut sockets = self.sockets();
                let now = Instant::now();
                sockets.udp.retain(|socket| socket.until > now && is_quiet(&socket.socket));
                let count = sockets.udp.len();
                self.expect(&mut sockets, Transport::Udp, if count == 0 { LOW + 1 } else { LOW });
                if count > 0 {
                    return sockets.udp.swap_remove(rand::random_range(0..count));
                }
            }
            // Not for ever: what was asked for may never come, and is then asked for again.
            let _ = timeout(PATIENCE_OF_AGENT, arrived).await;
        }
    }

    /// A stream of one's own; waits for it to come.
    async fn tcp(&self) -> TcpStream {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut sockets = self.sockets();
                if let Some(stream) = sockets.tcp.pop() {
                    return stream;
                }
                // None is kept ready, the far side would close it.
                self.expect(&mut sockets, Transport::Tcp, 1);
            }
            let _ = timeout(PATIENCE_OF_AGENT, arrived).await;
        }
    }

    fn give_back(&self, socket: Socket) {
        let mut sockets = self.sockets();
        if socket.uses > 0 && sockets.udp.len() < MAX_IDLE {
            sockets.udp.push(socket);
            drop(sockets);
            self.arrived.notify_waiters();
        }
    }

    /// Asks the agent for sockets, until there are or will be `wanted`.
    fn expect(&self, sockets: &mut Sockets, transport: Transport, wanted: usize) {
        let now = Instant::now();
        sockets.expected.retain(|(_, since)| now.saturating_duration_since(*since) < PATIENCE_OF_AGENT);
        let at_hand = match transport {
            Transport::Udp => sockets.udp.len(),
            Transport::Tcp => sockets.tcp.len(),
        };
        let expected = sockets.expected.iter().filter(|(expected, _)| *expected == transport).count();
        for _ in at_hand + expected..wanted {
            sockets.expected.push((transport, now));
            // A closed channel means that the worker is ending.
            let _ = self.need.send(transport);
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sockets {
    /// Whether the agent owes a socket, and there is none.
    fn is_wanting(&self) -> bool {
        self.udp.is_empty() && self.tcp.is_empty() && !self.expected.is_empty()
    }
}

/// Why one attempt came to nothing.
enum Attempt {
    Silent,
    Flooded,
    Lie(Lie),
}

fn question(name: &Name, kind: RecordType, is_case_strict: bool) -> Asked {
    let mut spelled = spell(name);
    if is_case_strict {
        spelled.randomize_label_case();
    }
    Asked { id: rand::random(), spelled, kind, is_case_strict }
}

fn write(asked: &Asked) -> Option<Vec<u8>> {
    let mut message = Message::query();
    message.metadata.id = asked.id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(asked.spelled.clone(), asked.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    message.set_edns(edns);
    message.to_vec().ok()
}

async fn exchange(socket: &UdpSocket, message: &[u8], asked: &Asked) -> Result<Reading, Attempt> {
    socket.send(message).await.map_err(|_| Attempt::Silent)?;
    let mut buffer = [0; BUFFER];
    for _ in 0..MAX_MISFITS {
        let Ok(length) = socket.recv(&mut buffer).await else {
            // Nobody listens: a resolver that is being restarted is back in a moment.
            sleep(RESTART).await;
            return Err(Attempt::Silent);
        };
        match read(buffer.get(..length).unwrap_or_default(), asked) {
            Ok(reading) => return Ok(reading),
            Err(Lie::Misfit) => {}
            Err(lie) => return Err(Attempt::Lie(lie)),
        }
    }
    Err(Attempt::Flooded)
}

/// One question and its answer over a stream (RFC 7766).
async fn exchange_stream(stream: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Whether nothing waits in a socket that nothing was asked through.
fn is_quiet(socket: &UdpSocket) -> bool {
    socket.try_recv(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// What an asking client waits for at most; stubs give up after 5 s and more.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// How long each attempt over UDP waits, each on a socket of its own.
const PATIENCE: [Duration; 3] = [Duration::from_millis(500), Duration::from_millis(700), DEADLINE];

/// How long a resolver that does not listen is given.
const RESTART: Duration = Duration::from_millis(200);

/// After so long a socket that was asked for is asked for again.
const PATIENCE_OF_AGENT: Duration = Duration::from_millis(500);

/// Streams tried: one that was left over may have been closed by the far side.
const STREAMS: usize = 2;

/// Questions under way at once.
const SLOTS: usize = 64;

/// Sockets kept ready.
const LOW: usize = 4;

/// Sockets kept at most.
const MAX_IDLE: usize = 16;

/// Questions through one socket, and its age at most: ports change.
const USES: u32 = 32;
const AGE: Duration = Duration::from_mins(1);

/// Messages that fit no question, after which somebody is guessing.
const MAX_MISFITS: usize = 8;

/// What the host's resolver may send over UDP (RFC 9715, section 3).
const PAYLOAD: u16 = 1232;

/// A byte more would be no answer to us.
const BUFFER: usize = 4096;
