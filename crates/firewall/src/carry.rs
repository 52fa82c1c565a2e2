//! Carries bytes both ways between a compute and what it was let through to.
//!
//! Short reads are copied through one buffer of the thread; who sends a lot is spliced (egress.md 7). An idle flow holds
//! two sockets and no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bastide_inspect::retry::{RetryWatch, SecondHello, Watched};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::live::Flow;
use crate::splice::Pipes;

/// What a thread needs to carry bytes.
#[derive(Debug, Default)]
pub struct Carrier {
    scratch: RefCell<Vec<u8>>,
    /// The pipes, for who carries bytes in portions.
    pub pipes: Pipes,
}

/// What ended a flow before both sides did.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// One of the sockets.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client's second hello.
    #[error(transparent)]
    SecondHello(#[from] SecondHello),
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

impl Carrier {
    /// Carries bytes both ways until both sides have ended; `watch` sees them as long as it wants to. `held` came behind
    /// the client's hello, and has not been sent.
    pub async fn carry(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        flow: &Flow,
        watch: Option<RetryWatch>,
        held: Vec<u8>,
    ) -> Result<(), CarryError> {
        let watch = RefCell::new(watch);
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let out = OneWay { carrier: self, way: Way::Out, flow, watch: &watch, held };
        let back = OneWay { carrier: self, way: Way::In, flow, watch: &watch, held: Vec::new() };
        tokio::try_join!(out.run(client_read, server_write), back.run(server_read, client_write))?;
        Ok(())
    }

    /// Runs `work` with the buffer of the thread, which nobody else has at that moment: `work` does not wait.
    fn with_scratch<T>(&self, work: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut scratch = self.scratch.borrow_mut();
        if scratch.is_empty() {
            scratch.resize(SCRATCH, 0);
        }
        work(&mut scratch)
    }
}

struct OneWay<'a> {
    carrier: &'a Carrier,
    way: Way,
    flow: &'a Flow,
    watch: &'a RefCell<Option<RetryWatch>>,
    /// What the client has sent and the watch wants to see the end of.
    held: Vec<u8>,
}

/// What came of one read.
struct Step {
    /// Bytes read; 0 at the end.
    read: usize,
    /// What is to be written and did not go at once.
    left: Vec<u8>,
}

impl OneWay<'_> {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), CarryError> {
        if !self.held.is_empty() {
            let early = std::mem::take(&mut self.held);
            let early = self.inspect(&early)?;
            to.write_all(&early).await?;
        }
        loop {
            let step = std::future::poll_fn(|context| self.step(context, &mut from, &mut to)).await?;
            if step.read == 0 {
                break;
            }
            if !step.left.is_empty() {
                to.write_all(&step.left).await?;
            }
            if step.read >= BULK && self.watch.borrow().is_none() {
                self.splice(&from, &to).await?;
                break;
            }
        }
        to.shutdown().await?;
        Ok(())
    }

    /// Reads once and writes what was read, as far as that goes without waiting.
    fn step(
        &mut self,
        context: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<Step, CarryError>> {
        let carrier = self.carrier;
        carrier.with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(context, &mut buffer))?;
            let bytes = buffer.filled();
            self.count(bytes.len());
            if self.watch.borrow().is_some() {
                let left = self.inspect(bytes)?;
                return Poll::Ready(Ok(Step { read: bytes.len(), left }));
            }
            let gone = match to.try_write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Poll::Ready(Err(error.into())),
            };
            let left = bytes.get(gone..).unwrap_or_default().to_vec();
            Poll::Ready(Ok(Step { read: bytes.len(), left }))
        })
    }

    async fn splice(&self, from: &ReadHalf<'_>, to: &WriteHalf<'_>) -> io::Result<()> {
        loop {
            match self.carrier.pipes.carry(from.as_ref(), to.as_ref(), u64::MAX).await? {
                0 => return Ok(()),
                count => self.count(count),
            }
        }
    }

    /// Shows bytes to the watch, and says what may be sent on.
    fn inspect(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SecondHello> {
        let mut place = self.watch.borrow_mut();
        let Some(watch) = place.as_mut() else {
            return Ok([std::mem::take(&mut self.held).as_slice(), bytes].concat());
        };
        let mut shown = std::mem::take(&mut self.held);
        shown.extend_from_slice(bytes);
        match self.way {
            Way::In => watch.server(bytes),
            Way::Out => match watch.client(&shown) {
                Watched::Pass => {}
                Watched::Hold(passes) => self.held = shown.split_off(passes),
                Watched::Refuse(refusal) => return Err(refusal),
            },
        }
        if watch.is_over() {
            *place = None;
        }
        Ok(shown)
    }

    fn count(&self, bytes: usize) {
        match self.way {
            Way::Out => self.flow.sent(bytes),
            Way::In => self.flow.received(bytes),
        }
    }
}

/// A read of so much means that more follows (egress.md 7).
pub const BULK: usize = 16 << 10;
const SCRATCH: usize = 64 << 10;
