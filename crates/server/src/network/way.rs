//! Ways into instances, from the server's side: a connection to the agent for each, which brings descriptors. What passes
//! over those is carried, and never authorised here: who asks for a way has done that.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bastide_plan::frame::{self, HEAD};
use bastide_plan::hub_plan::{ComputeId, PLAN_VERSION};
use bastide_plan::message::{Answer, Ask, Request, Tell};
use bastide_plan::way_in::{Exit, TerminalSize, WayIn};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::Networks;
use super::node::{Away, unexpected};

/// A way into an instance that is open. A process ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What the way in says, in its order. They do not block.
    pub(crate) ends: Vec<OwnedFd>,
    /// What there is to say about the end of the process, once it has ended.
    pub(crate) note: Option<String>,
    wire: Wire,
}

impl Networks {
    /// Opens a way into an instance.
    pub(crate) async fn open(&self, compute: ComputeId, way: WayIn) -> Result<Opened, Away> {
        let opening = Opened::ask(self.shared.node.socket()?, compute, way);
        let late = |_| Away::Silent(format!("no answer within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, opening).await.map_err(late)?
    }
}

impl Opened {
    /// Waits until the process has ended. May be given up and asked again: nothing is lost.
    pub(crate) async fn exited(&mut self) -> Result<Exit, Away> {
        match self.wire.hear().await? {
            Answer::Exited { exit, note } => {
                self.note = note;
                Ok(exit)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the process that its terminal has another size.
    pub(crate) async fn resize(&mut self, size: TerminalSize) -> Result<(), Away> {
        self.wire.say(Request::Resize { size }).await
    }

    /// Sends the process a signal.
    pub(crate) async fn signal(&mut self, signal: u8) -> Result<(), Away> {
        self.wire.say(Request::Signal { signal }).await
    }

    async fn ask(socket: &Path, compute: ComputeId, way: WayIn) -> Result<Self, Away> {
        let stream = connect(socket).await.map_err(silent)?;
        let mut wire = Wire { stream, received: Vec::new(), descriptors: Vec::new() };
        wire.say(Request::Open { version: PLAN_VERSION, compute, way: Box::new(way) }).await?;
        let descriptors = match wire.hear().await? {
            Answer::Opened { descriptors } => usize::from(descriptors),
            Answer::Refused { reason } => return Err(Away::Refused(reason)),
            other => return Err(unexpected(&other)),
        };
        let ends = std::mem::take(&mut wire.descriptors);
        if ends.len() != descriptors {
            return Err(Away::Silent(format!("{descriptors} descriptors were to come, and {} did", ends.len())));
        }
        for end in &ends {
            rustix::io::ioctl_fionbio(end, true).map_err(|error| silent(error.into()))?;
        }
        Ok(Self { ends, note: None, wire })
    }
}

/// The connection of one way.
struct Wire {
    stream: UnixStream,
    /// The beginning of what has not wholly come yet.
    received: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wire").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Wire {
    async fn say(&mut self, request: Request) -> Result<(), Away> {
        let bytes = frame::encode(&Ask { number: ONLY, request }).map_err(|error| silent(io::Error::other(error)))?;
        self.stream.write_all(&bytes).await.map_err(silent)
    }

    async fn hear(&mut self) -> Result<Answer, Away> {
        loop {
            if let Some(tell) = self.take().map_err(silent)? {
                return Ok(tell.answer);
            }
            let Self { stream, received, descriptors } = self;
            let count = stream.async_io(Interest::READABLE, || receive(stream, received, descriptors)).await;
            if count.map_err(silent)? == 0 {
                return Err(Away::Silent("the connection was lost".to_owned()));
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Tell>> {
        let Some((head, rest)) = self.received.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = frame::length(*head).map_err(io::Error::other)?;
        let Some(json) = rest.get(..length) else { return Ok(None) };
        let tell = frame::decode(json).map_err(io::Error::other)?;
        self.received.drain(..HEAD + length);
        Ok(Some(tell))
    }
}

fn receive(stream: &UnixStream, bytes: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut portion = [0; PORTION];
    let mut slices = [IoSliceMut::new(&mut portion)];
    let received = recvmsg(stream, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    bytes.extend_from_slice(portion.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}

/// Connects to the agent. One that was killed a moment ago is started anew at once, and what runs in its instances goes on
/// meanwhile: nobody who comes to one needs to know.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + RESTART;
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if is_nobody(&error) && Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
            connected => return connected,
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn silent(error: io::Error) -> Away {
    Away::Silent(error.to_string())
}

/// The number of the one question of such a connection.
const ONLY: u64 = 1;

/// A frozen instance is thawed first, and a busy node takes its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an agent takes to be back at most, most of the time.
const RESTART: Duration = Duration::from_secs(2);

const AGAIN: Duration = Duration::from_millis(20);

/// Answers here are small, but for a refusal's sentence.
const PORTION: usize = 4096;

/// More than any way has.
const MOST_DESCRIPTORS: usize = 4;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::{AsFd as _, BorrowedFd};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use uuid::Uuid;

    use super::*;
    use crate::network::Enforcement;

    /// The agent's end of one connection, byte for byte.
    struct Agent(std::os::unix::net::UnixStream);

    impl Agent {
        fn listen(serve: impl FnOnce(&mut Self) + Send + 'static) -> (tempfile::TempDir, Networks) {
            let directory = tempfile::tempdir().unwrap();
            let socket: PathBuf = directory.path().join("agent.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            std::thread::spawn(move || serve(&mut Self(listener.accept().unwrap().0)));
            (directory, Networks::new(Enforcement::Agent(socket)))
        }

        fn asked(&mut self) -> Request {
            let mut head = [0; HEAD];
            self.0.read_exact(&mut head).unwrap();
            let mut json = vec![0; frame::length(head).unwrap()];
            self.0.read_exact(&mut json).unwrap();
            frame::decode::<Ask>(&json).unwrap().request
        }

        fn tell(&mut self, answer: Answer, descriptors: &[BorrowedFd<'_>]) {
            let bytes = frame::encode(&Tell { number: 1, answer }).unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(descriptors.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
            // In two parts: a message need not come in one.
            let (first, rest) = bytes.split_at(2);
            sendmsg(&self.0, &[io::IoSlice::new(first)], &mut ancillary, SendFlags::empty()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            self.0.write_all(rest).unwrap();
        }
    }

    fn compute() -> ComputeId {
        ComputeId(Uuid::from_u128(7))
    }

    #[tokio::test]
    async fn a_way_brings_descriptors_and_later_tells_the_exit() {
        let (_directory, networks) = Agent::listen(|agent| {
            let way = Box::new(WayIn::Port { port: 8080 });
            assert_eq!(agent.asked(), Request::Open { version: PLAN_VERSION, compute: compute(), way });
            let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            agent.tell(Answer::Opened { descriptors: 1 }, &[theirs.as_fd()]);
            ours.write_all(b"from inside").unwrap();
            assert_eq!(agent.asked(), Request::Signal { signal: 2 });
            agent.tell(Answer::Exited { exit: Exit::Signal(2), note: Some("out of memory".to_owned()) }, &[]);
        });
        let mut opened = networks.open(compute(), WayIn::Port { port: 8080 }).await.unwrap();
        let mut end = std::os::unix::net::UnixStream::from(opened.ends.pop().unwrap());
        // To be asked and given up loses nothing.
        tokio::time::timeout(Duration::from_millis(5), opened.exited()).await.unwrap_err();
        opened.signal(2).await.unwrap();
        assert_eq!(opened.exited().await.unwrap(), Exit::Signal(2));
        assert_eq!(opened.note.as_deref(), Some("out of memory"));
        end.set_nonblocking(false).unwrap();
        let mut text = [0; 11];
        end.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"from inside");
    }

    #[tokio::test]
    async fn what_cannot_be_opened_says_why() {
        let (_directory, networks) = Agent::listen(|agent| {
            agent.asked();
            agent.tell(Answer::Refused { reason: "the instance does not run. Start it first".to_owned() }, &[]);
        });
        let refused = networks.open(compute(), WayIn::Metadata).await.unwrap_err();
        assert_eq!(refused.to_string(), "the instance does not run. Start it first");

        let (_directory, networks) = Agent::listen(|agent| {
            agent.asked();
            agent.tell(Answer::Opened { descriptors: 3 }, &[]);
        });
        let short = networks.open(compute(), WayIn::Metadata).await.unwrap_err();
        assert!(short.to_string().contains("3 descriptors were to come, and 0 did"), "{short}");
        assert!(Networks::new(Enforcement::Simulated(None)).open(compute(), WayIn::Metadata).await.is_err());
    }

    #[tokio::test]
    async fn an_agent_that_goes_ends_the_wait() {
        let (_directory, networks) = Agent::listen(|agent| {
            agent.asked();
            agent.tell(Answer::Opened { descriptors: 0 }, &[]);
        });
        let mut opened = networks.open(compute(), WayIn::Metadata).await.unwrap();
        assert!(matches!(opened.exited().await, Err(Away::Silent(_))));
    }
}
