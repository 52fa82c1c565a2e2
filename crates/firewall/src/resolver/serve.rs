//! Takes questions from the hub's computes, over UDP and TCP.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Resolver;
use super::answer::{datagram_limit, header};
use super::question::{Question, Unreadable, read};
use super::reply::{Exchange, Pending, Reply, Step};

/// A message as it came in.
struct Arrival<'a> {
    message: &'a [u8],
    source: Ipv4Addr,
    /// Bytes that the answer may have; by the question, when it came over UDP.
    limit: Option<usize>,
    at: i64,
    since: Instant,
}

impl Resolver {
    /// Answers the questions that arrive at a socket, for ever.
    pub async fn serve_datagrams(self: Arc<Self>, socket: UdpSocket) -> io::Result<()> {
        let socket = Arc::new(socket);
        let waiting = Arc::new(Semaphore::new(MAX_WAITING));
        let mut buffer = vec![0; MAX_QUESTION];
        loop {
            let (length, source) = match socket.recv_from(&mut buffer).await {
                Ok((length, SocketAddr::V4(source))) => (length, source),
                Ok((_, SocketAddr::V6(_))) => continue,
                Err(error) => {
                    tracing::debug!(%error, "a question could not be received");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let message = buffer.get(..length).unwrap_or_default();
            let arrival = self.arrival(message, *source.ip(), None);
            match self.receive(arrival) {
                Received::Ignored => {}
                Received::Answer(answer) => drop(socket.try_send_to(&answer, source.into())),
                Received::Wait(waiter) => match Arc::clone(&waiting).try_acquire_owned() {
                    Ok(place) => {
                        let (resolver, socket) = (Arc::clone(&self), Arc::clone(&socket));
                        tokio::spawn(async move {
                            let answer = resolver.wait(waiter).await;
                            // An answer that cannot be sent is asked for again.
                            let _ = socket.send_to(&answer, SocketAddr::from(source)).await;
                            drop(place);
                        });
                    }
                    Err(_) => self.log.lose(1),
                },
            }
        }
    }

    /// Answers the questions that arrive at connections, for ever (RFC 7766).
    pub async fn serve_streams(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let open = Arc::new(Mutex::new(HashMap::<Ipv4Addr, usize>::new()));
        loop {
            let (stream, source) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a connection to the resolver could not be accepted");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let IpAddr::V4(source) = source.ip() else { continue };
            let Some(place) = Place::take(&open, source) else { continue };
            let resolver = Arc::clone(&self);
            tokio::spawn(async move {
                // How a client ends its connection is its own affair.
                let _ = resolver.serve_stream(stream, source).await;
                drop(place);
            });
        }
    }

    async fn serve_stream(self: &Arc<Self>, mut stream: TcpStream, source: Ipv4Addr) -> io::Result<()> {
        let mut buffer = vec![0; MAX_QUESTION];
        loop {
            let length = usize::from(timeout(IDLE, stream.read_u16()).await??);
            let Some(message) = buffer.get_mut(..length) else { return Ok(()) };
            timeout(IDLE, stream.read_exact(message)).await??;
            let arrival = self.arrival(message, source, Some(usize::from(u16::MAX)));
            let answer = match self.receive(arrival) {
                Received::Ignored => return Ok(()),
                Received::Answer(answer) => answer,
                Received::Wait(waiter) => self.wait(waiter).await,
            };
            let mut framed = u16::try_from(answer.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
            framed.extend_from_slice(&answer);
            timeout(IDLE, stream.write_all(&framed)).await??;
        }
    }

    fn arrival<'a>(&self, message: &'a [u8], source: Ipv4Addr, limit: Option<usize>) -> Arrival<'a> {
        Arrival { message, source, limit, at: self.clock.millis(), since: self.clock.instant() }
    }

    fn receive(&self, arrival: Arrival<'_>) -> Received {
        // Before the first plan nobody is known, and nobody is answered.
        let Some(view) = self.view.load() else { return Received::Ignored };
        let sent = u64::try_from(arrival.message.len()).unwrap_or(u64::MAX);
        let mut exchange = Exchange {
            at: arrival.at,
            duration: Duration::ZERO,
            leg: view.leg(arrival.source),
            source: arrival.source,
            name: None,
            sent,
            received: 0,
        };
        if exchange.leg.is_none() {
            self.note(Reply::turned_down("No compute of the hub has this address."), &exchange);
            return Received::Ignored;
        }
        if !self.budgets.question(arrival.source, arrival.since) {
            self.note(
                Reply::turned_down("The compute asks too many questions a second; some go unanswered."),
                &exchange,
            );
            return Received::Ignored;
        }
        let question = match read(arrival.message) {
            Ok(question) => question,
            Err(Unreadable::Ignored) => return Received::Ignored,
            Err(Unreadable::Refused { id, op_code, code }) => {
                let answer = header(id, op_code, code);
                exchange.received = u64::try_from(answer.len()).unwrap_or(u64::MAX);
                self.note(Reply::turned_down("The message is not one question."), &exchange);
                return Received::Answer(answer);
            }
        };
        let limit = arrival.limit.unwrap_or_else(|| datagram_limit(&question));
        match self.begin(&view, &question) {
            Step::Done(reply) => Received::Answer(self.close(reply, &question, limit, exchange)),
            Step::Wait(pending) => {
                let (at, since, source) = (arrival.at, arrival.since, arrival.source);
                Received::Wait(Box::new(Waiter { pending, limit, at, since, source, sent }))
            }
        }
    }

    async fn wait(self: &Arc<Self>, waiter: Box<Waiter>) -> Vec<u8> {
        let reply = self.finish(&waiter.pending, waiter.source).await;
        let exchange = Exchange {
            at: waiter.at,
            duration: self.clock.instant().saturating_duration_since(waiter.since),
            leg: waiter.pending.view.leg(waiter.source),
            source: waiter.source,
            name: None,
            sent: waiter.sent,
            received: 0,
        };
        self.close(reply, &waiter.pending.question, waiter.limit, exchange)
    }

    fn close(&self, reply: Reply, question: &Question, limit: usize, mut exchange: Exchange<'_>) -> Vec<u8> {
        let answer = reply.answer.write(question, limit);
        exchange.received = u64::try_from(answer.len()).unwrap_or(u64::MAX);
        exchange.name = Some(match &question.name {
            Some(name) => name.to_string(),
            None => question.spelled.to_ascii(),
        });
        self.note(reply, &exchange);
        answer
    }
}

/// What becomes of a message.
enum Received {
    Ignored,
    Answer(Vec<u8>),
    Wait(Box<Waiter>),
}

/// A question whose answer takes time.
struct Waiter {
    pending: Pending,
    limit: usize,
    at: i64,
    since: Instant,
    source: Ipv4Addr,
    sent: u64,
}

/// One of the connections that a compute may have open; given back when dropped.
struct Place {
    open: Arc<Mutex<HashMap<Ipv4Addr, usize>>>,
    source: Ipv4Addr,
}

impl Place {
    fn take(open: &Arc<Mutex<HashMap<Ipv4Addr, usize>>>, source: Ipv4Addr) -> Option<Self> {
        let mut counts = open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= MAX_STREAMS {
            return None;
        }
        *count += 1;
        Some(Self { open: Arc::clone(open), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

/// Bytes of a question at most: a name, and options that clients pad with (RFC 8467, section 4.1).
const MAX_QUESTION: usize = 1024;

/// Questions over UDP that wait for the host's resolver at once.
const MAX_WAITING: usize = 512;

/// Connections of one compute at once.
const MAX_STREAMS: usize = 16;

/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(10);

/// How long to wait after an error that may come again at once.
const PAUSE: Duration = Duration::from_millis(20);
