//! Carries bytes both ways between a compute and what it was let through to.
//!
//! Short reads are copied through one buffer of the thread; who sends a lot is spliced (egress.md 7). An idle flow holds
//! two sockets and no buffer.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bastide_inspect::retry::{RetryWatch, SecondHello, Watched};
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWriteExt, Interest, ReadBuf};
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
        let (watch, has_ended) = (RefCell::new(watch), Cell::new(false));
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let one_way =
            |way, held| OneWay { carrier: self, way, flow, watch: &watch, held, carried: 0, has_ended: &has_ended };
        let (out, back) = (one_way(Way::Out, held), one_way(Way::In, Vec::new()));
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
    /// Bytes that have gone this way.
    carried: usize,
    /// Whether one of the two ways has.
    has_ended: &'a Cell<bool>,
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
        // With the second end both sockets are closed, which says the same.
        if !self.has_ended.replace(true) {
            to.shutdown().await?;
        }
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
            ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Step { read: 0, left: Vec::new() }));
            }
            let read = bytes.len();
            self.count(read);
            let inspected;
            let bytes = if self.watch.borrow().is_some() || !self.held.is_empty() {
                inspected = self.inspect(bytes)?;
                inspected.as_slice()
            } else {
                bytes
            };
            // Looking costs something, and makes a difference to short answers only.
            let is_last = self.carried < BULK && has_hung_up(context, from);
            let gone = if bytes.is_empty() { 0 } else { write_now(to, bytes, is_last)? };
            let left = bytes.get(gone..).unwrap_or_default().to_vec();
            Poll::Ready(Ok(Step { read, left }))
        })
    }

    async fn splice(&mut self, from: &ReadHalf<'_>, to: &WriteHalf<'_>) -> io::Result<()> {
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

    fn count(&mut self, bytes: usize) {
        self.carried = self.carried.saturating_add(bytes);
        match self.way {
            Way::Out => self.flow.sent(bytes),
            Way::In => self.flow.received(bytes),
        }
    }
}

/// Whether the far side has said its last, as the runtime knows; what was read is then the last of it.
fn has_hung_up(context: &mut Context<'_>, from: &ReadHalf<'_>) -> bool {
    let ready = pin!(from.ready(Interest::READABLE)).poll(context);
    matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Writes what goes without waiting. What is the last leaves together with the end.
fn write_now(to: &WriteHalf<'_>, bytes: &[u8], is_last: bool) -> io::Result<usize> {
    let flags = if is_last { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    let stream: &TcpStream = to.as_ref();
    match stream.try_io(Interest::WRITABLE, || Ok(send(stream, bytes, flags | SendFlags::DONTWAIT)?)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

/// A read of so much means that more follows (egress.md 7).
pub const BULK: usize = 16 << 10;
const SCRATCH: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::rc::Rc;
    use std::sync::Arc;

    use bastide_inspect::Name;
    use bastide_plan::flow::FlowKind;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::live::{LiveFlows, Origin};

    /// A connection, ours and theirs.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, theirs)
    }

    /// Carries between a client and a server that do what `script` says, until both have ended.
    async fn carried<T>(
        watch: Option<RetryWatch>,
        script: impl AsyncFnOnce(TcpStream, TcpStream, &LiveFlows) -> T,
    ) -> T {
        let clock = Arc::new(ManualClock::new());
        let live = Rc::new(LiveFlows::new(Arc::default(), Arc::<ManualClock>::clone(&clock)));
        let (source, address) = ([100, 127, 0, 2].into(), Ipv4Addr::LOCALHOST);
        let (at, start) = (clock.millis(), clock.instant());
        let origin = Origin { at, start, compute: None, project: None, source, address, port: 443 };
        let flow = live.begin(origin, FlowKind::Tls, None, None, Rc::default());
        let ((mut client, inside), (mut server, outside)) = (connection().await, connection().await);
        let carrier = Carrier::default();
        let carrying = async {
            let outcome = carrier.carry(&mut client, &mut server, &flow, watch, Vec::new()).await;
            drop((client, server));
            outcome.unwrap();
        };
        tokio::join!(carrying, script(inside, outside, &live)).1
    }

    async fn everything(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn what_the_watch_has_held_back_goes_on_in_its_place() {
        let watch = RetryWatch::new(Name::parse("a.org").unwrap());
        let (part, rest) = ([22, 3, 1, 0, 200, 1], b"rest");
        let arrived = carried(Some(watch), async |mut client, mut server, live| {
            client.write_all(&part).await.unwrap();
            while live.records()[0].sent < part.len() as u64 {
                tokio::task::yield_now().await;
            }
            // No server that speaks so takes another hello.
            server.write_all(b"no").await.unwrap();
            client.read_exact(&mut [0; 2]).await.unwrap();
            client.write_all(rest).await.unwrap();
            client.shutdown().await.unwrap();
            let arrived = everything(&mut server).await;
            drop(server);
            assert!(everything(&mut client).await.is_empty());
            arrived
        });
        assert_eq!(arrived.await, [part.as_slice(), rest].concat());
    }

    #[tokio::test]
    async fn who_has_said_all_still_hears_the_other_side() {
        carried(None, async |mut client, mut server, _| {
            server.write_all(b"answer").await.unwrap();
            server.shutdown().await.unwrap();
            assert_eq!(everything(&mut client).await, b"answer");
            client.write_all(b"and").await.unwrap();
            client.write_all(b"more").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(everything(&mut server).await, b"andmore");
        })
        .await;
    }

    #[tokio::test]
    async fn an_answer_of_several_reads_arrives_whole_with_its_end() {
        let answer = vec![7; 5 * SCRATCH + 1];
        let arrived = carried(None, async |mut client, mut server, _| {
            let ((), arrived) = tokio::join!(
                async {
                    server.write_all(&answer).await.unwrap();
                    server.shutdown().await.unwrap();
                },
                everything(&mut client)
            );
            client.shutdown().await.unwrap();
            assert!(everything(&mut server).await.is_empty());
            arrived
        });
        assert!(arrived.await == answer);
    }
}
