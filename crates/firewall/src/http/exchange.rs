//! One request and its response.

use std::io;

use bastide_inspect::http::{BodyError, BodyReader, Framing, Head, HttpRefusal, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::page::Page;
use super::{Asked, Session, Upstream};
use crate::carry::BULK;
use crate::live::Flow;
use crate::splice::Pipes;

/// How an exchange ended.
pub(super) enum Ended {
    /// Both sides go on.
    KeepsAlive,
    /// It is complete, and one side wants no more.
    Closes,
    /// Nothing of a response has been sent; this is to be said instead.
    Page(Page),
    /// It is not complete.
    Broken,
}

/// What ended an exchange early.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the body of the request: {0}")]
    Body(#[from] BodyError),
    #[error("the response: {0}")]
    Response(HttpRefusal),
    #[error("the body of the response: {0}")]
    ResponseBody(BodyError),
    #[error("the server left HTTP although it was not asked to")]
    Switched,
}

/// What a response left the connection as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Responded {
    KeepsAlive,
    Closes,
    Switched,
}

impl Session<'_> {
    /// Sends the request, and carries the response. The two overlap: servers answer before the body has ended.
    pub(super) async fn exchange(&mut self, asked: &Asked, upstream: &mut Upstream) -> Ended {
        let pipes = &self.arrival.thread.carrier.pipes;
        let flow = &*upstream.flow;
        let (mut client_read, mut client_write) = self.arrival.client.split();
        let (mut server_read, mut server_write) = upstream.socket.split();

        let mut body = BodyReader::new(asked.framing);
        let early = match body.read(&self.received) {
            Ok(early) => early,
            Err(error) => return Ended::Page(Page::bad_request(&format!("Refused: {error}."))),
        };
        self.head.extend(self.received.drain(..early));
        flow.sent(self.head.len());
        if server_write.write_all(&self.head).await.is_err() {
            return Ended::Closes;
        }

        let mut response = Incoming { received: &mut upstream.received, flow, pipes, asked, has_begun: false };
        let responded = if body.is_done() {
            response.carry(&mut server_read, &mut client_write).await
        } else {
            let mut request = Outgoing { received: &mut self.received, flow, pipes };
            let sending = request.carry(&mut body, &mut client_read, &mut server_write);
            let responding = response.carry(&mut server_read, &mut client_write);
            overlap(sending, responding).await
        };
        let has_begun = response.has_begun;
        match responded {
            Ok(Responded::KeepsAlive) if body.is_done() && upstream.received.is_empty() => Ended::KeepsAlive,
            Ok(Responded::KeepsAlive | Responded::Closes) => Ended::Closes,
            Ok(Responded::Switched) => self.tunnel(upstream).await,
            Err(error) => {
                upstream.flow.failed(format!("Ended: {error}."));
                match error {
                    ExchangeError::Body(_) if !has_begun => {
                        Ended::Page(Page::bad_request(&format!("Refused: {error}.")))
                    }
                    // As without us: a server that hangs up in place of an answer looks to the client like that.
                    ExchangeError::Io(_) if !has_begun => Ended::Closes,
                    ExchangeError::Response(_) | ExchangeError::Switched if !has_begun => {
                        Ended::Page(Page::bad_gateway(&format!("Refused: {error}.")))
                    }
                    _ => Ended::Broken,
                }
            }
        }
    }

    /// What follows is a WebSocket's, and nobody's to read.
    async fn tunnel(&mut self, upstream: &mut Upstream) -> Ended {
        let early = std::mem::take(&mut upstream.received);
        upstream.flow.received(early.len());
        if self.arrival.client.write_all(&early).await.is_err() {
            return Ended::Broken;
        }
        let held = std::mem::take(&mut self.received);
        upstream.flow.sent(held.len());
        let carrier = &self.arrival.thread.carrier;
        match carrier.carry(&mut self.arrival.client, &mut upstream.socket, &upstream.flow, None, held).await {
            Ok(()) => Ended::Closes,
            Err(_) => Ended::Broken,
        }
    }
}

/// Runs both until the response has ended; what is then left of the request nobody waits for.
async fn overlap(
    sending: impl Future<Output = Result<(), ExchangeError>>,
    responding: impl Future<Output = Result<Responded, ExchangeError>>,
) -> Result<Responded, ExchangeError> {
    let (mut sending, mut responding) = (std::pin::pin!(sending), std::pin::pin!(responding));
    tokio::select! {
        biased;
        responded = &mut responding => return responded,
        // A server that takes no more may have said why.
        sent = &mut sending => match sent {
            Err(ExchangeError::Io(_)) | Ok(()) => {}
            Err(error) => return Err(error),
        },
    }
    responding.await
}

/// The body of a request.
struct Outgoing<'a> {
    received: &'a mut Vec<u8>,
    flow: &'a Flow,
    pipes: &'a Pipes,
}

impl Outgoing<'_> {
    async fn carry(
        &mut self,
        body: &mut BodyReader,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), ExchangeError> {
        while !body.is_done() {
            if self.received.is_empty() && body.opaque() >= BULK as u64 {
                let count = self.pipes.carry(from.as_ref(), to.as_ref(), body.opaque()).await?;
                hang_up_unless(count)?;
                body.skip(count as u64);
                self.flow.sent(count);
                continue;
            }
            if self.received.is_empty() {
                self.received.reserve(PORTION);
                hang_up_unless(from.read_buf(self.received).await?)?;
            }
            let count = body.read(self.received)?;
            to.write_all(self.received.get(..count).unwrap_or_default()).await?;
            self.received.drain(..count);
            self.flow.sent(count);
        }
        Ok(())
    }
}

/// A response, with those before it that say "wait".
struct Incoming<'a> {
    received: &'a mut Vec<u8>,
    flow: &'a Flow,
    pipes: &'a Pipes,
    asked: &'a Asked,
    /// Whether something of it was sent to the client.
    has_begun: bool,
}

impl Incoming<'_> {
    async fn carry(&mut self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<Responded, ExchangeError> {
        loop {
            let response = self.head(from).await?;
            if response.switches() && !self.asked.is_websocket {
                return Err(ExchangeError::Switched);
            }
            let mut body = BodyReader::new(response.framing);
            let behind = self.received.get(response.length..).unwrap_or_default();
            let count = response.length + body.read(behind).map_err(ExchangeError::ResponseBody)?;
            self.send(count, to).await?;
            if response.is_interim() {
                continue;
            }
            if response.switches() {
                return Ok(Responded::Switched);
            }
            self.body(&mut body, response.framing, from, to).await?;
            let goes_on = response.keeps_alive && self.asked.keeps_alive;
            return Ok(if goes_on { Responded::KeepsAlive } else { Responded::Closes });
        }
    }

    async fn head(&mut self, from: &mut ReadHalf<'_>) -> Result<Response, ExchangeError> {
        let method = if self.asked.is_head { "HEAD" } else { "GET" };
        loop {
            match Response::read(self.received, method) {
                Head::Found(response) => return Ok(response),
                Head::Refuse(refusal) => return Err(ExchangeError::Response(refusal)),
                Head::NeedMore => {
                    self.received.reserve(PORTION);
                    hang_up_unless(from.read_buf(self.received).await?)?;
                }
            }
        }
    }

    async fn body(
        &mut self,
        body: &mut BodyReader,
        framing: Framing,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), ExchangeError> {
        while !body.is_done() {
            let count = if self.received.is_empty() && body.opaque() >= BULK as u64 {
                let count = self.pipes.carry(from.as_ref(), to.as_ref(), body.opaque()).await?;
                body.skip(count as u64);
                self.flow.received(count);
                count
            } else if self.received.is_empty() {
                self.received.reserve(PORTION);
                from.read_buf(self.received).await?
            } else {
                let count = body.read(self.received).map_err(ExchangeError::ResponseBody)?;
                self.send(count, to).await?;
                count
            };
            if count == 0 && framing == Framing::UntilClose {
                return Ok(());
            }
            hang_up_unless(count)?;
        }
        Ok(())
    }

    async fn send(&mut self, count: usize, to: &mut WriteHalf<'_>) -> io::Result<()> {
        self.has_begun = true;
        to.write_all(self.received.get(..count).unwrap_or_default()).await?;
        self.received.drain(..count);
        self.flow.received(count);
        Ok(())
    }
}

/// A read of nothing where something was to come.
fn hang_up_unless(count: usize) -> io::Result<()> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Bytes read at once, where they are not spliced.
const PORTION: usize = 16 << 10;
