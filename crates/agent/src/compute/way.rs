//! A way into an instance, for as long as the connection lives that asked for it.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bastide_plan::message::{Answer, Ask, Request, Tell};
use bastide_plan::way_in::{Exit, TerminalSize};
use rustix::event::{PollFd, PollFlags, poll};

use super::runtime::{Execution, Running, RuntimeError};
use crate::wire;

/// What was opened inside an instance.
#[derive(Debug)]
pub struct Way {
    /// What whoever asked gets.
    pub ends: Vec<OwnedFd>,
    /// The process, for a way that is one.
    pub process: Option<Box<dyn Running>>,
    /// Whose other end closes when the way is no more, for one that can end without whoever asked for it.
    pub until: Option<UnixStream>,
}

impl From<OwnedFd> for Way {
    fn from(end: OwnedFd) -> Self {
        Self { ends: vec![end], process: None, until: None }
    }
}

impl From<Execution> for Way {
    fn from(Execution { ends, process }: Execution) -> Self {
        Self { ends, process: Some(process), until: None }
    }
}

impl Way {
    /// A process that could not even be started, as a shell has it: it has said why, and ended with a status.
    pub fn over(status: u8, reason: &str, has_terminal: bool) -> io::Result<Self> {
        let (ended, _) = io::pipe()?;
        let process: Box<dyn Running> = Box::new(Over { status, ended: ended.into() });
        let ends: Vec<OwnedFd> = if has_terminal {
            let (near, far) = UnixStream::pair()?;
            (&far).write_all(format!("{reason}\r\n").as_bytes())?;
            vec![near.into()]
        } else {
            let ((_, input), (output, _), (error, mut words)) = (io::pipe()?, io::pipe()?, io::pipe()?);
            // Less than a pipe takes at once.
            words.write_all(format!("{reason}\n").as_bytes())?;
            vec![input.into(), output.into(), error.into()]
        };
        Ok(Self { ends, process: Some(process), until: None })
    }

    /// Hands over the ends as the answer to a question, then does what is asked about the process and tells how it ended.
    /// When the connection ends first, so does the process. The connection of a way that can end lasts as long as that.
    pub fn carry(self, stream: &UnixStream, number: u64) -> io::Result<()> {
        let Self { ends, process, until } = self;
        let descriptors: Vec<_> = ends.iter().map(OwnedFd::as_fd).collect();
        let count = u8::try_from(descriptors.len()).map_err(io::Error::other)?;
        wire::hand(stream, &Tell { number, answer: Answer::Opened { descriptors: count } }, &descriptors)?;
        // Whoever reads at the other end waits until nobody holds this one.
        drop(ends);
        match (process, until) {
            (Some(process), _) => follow(process, stream, number),
            (None, Some(until)) => stay(stream, &until),
            (None, None) => Ok(()),
        }
    }
}

/// Until who asked hangs up, or what was opened is no more. Nothing else is said meanwhile.
fn stay(stream: &UnixStream, until: &UnixStream) -> io::Result<()> {
    poll(&mut [PollFd::new(stream, PollFlags::IN), PollFd::new(until, PollFlags::IN)], None)?;
    Ok(())
}

fn follow(mut process: Box<dyn Running>, stream: &UnixStream, number: u64) -> io::Result<()> {
    // Who sends half a message is cut off.
    stream.set_read_timeout(Some(PATIENCE))?;
    loop {
        let [has_ended, is_asked] = {
            let mut both = [PollFd::new(&process, PollFlags::IN), PollFd::new(stream, PollFlags::IN)];
            poll(&mut both, None)?;
            both.map(|one| !one.revents().is_empty())
        };
        if has_ended && let Some(exit) = process.wait(PATIENCE).map_err(io::Error::other)? {
            return wire::write(stream, &Tell { number, answer: Answer::Exited { exit, note: process.note() } });
        }
        if is_asked {
            let Ask { request, .. } = wire::read(stream)?;
            let done = match request {
                Request::Resize { size } => process.resize(size),
                Request::Signal { signal } => process.signal(signal),
                _ => {
                    Err(RuntimeError::Unable("a connection with a way into an instance is for nothing else".to_owned()))
                }
            };
            if let Err(error) = done {
                tracing::warn!("a process in an instance: {error}");
            }
        }
    }
}

/// A process that never was.
#[derive(Debug)]
struct Over {
    status: u8,
    /// At its end, so that it can be read.
    ended: OwnedFd,
}

impl AsFd for Over {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Running for Over {
    fn wait(&mut self, _: Duration) -> Result<Option<Exit>, RuntimeError> {
        Ok(Some(Exit::Status(self.status)))
    }

    fn signal(&mut self, _: u8) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn resize(&mut self, _: TerminalSize) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// For what is there but for a moment.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::thread::JoinHandle;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;
    use crate::compute::testing::Local;

    /// Carries a shell script over a connection, whose other end is given, with the script's input and output.
    fn carry(script: &str) -> (UnixStream, Vec<OwnedFd>, JoinHandle<io::Result<()>>) {
        let (asker, agent) = UnixStream::pair().unwrap();
        let way = Way::from(Local::start(&["sh", "-c", script].map(str::to_owned)));
        let carrying = std::thread::spawn(move || way.carry(&agent, 7));
        let (answer, ends) = opened(&asker);
        assert_eq!(answer, Answer::Opened { descriptors: 3 });
        (asker, ends, carrying)
    }

    fn opened(stream: &UnixStream) -> (Answer, Vec<OwnedFd>) {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(wire::MOST_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut head = [0; 4];
        recvmsg(stream, &mut [io::IoSliceMut::new(&mut head)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
        let mut json = vec![0; bastide_plan::frame::length(head).unwrap()];
        (&*stream).read_exact(&mut json).unwrap();
        let tell: Tell = bastide_plan::frame::decode(&json).unwrap();
        assert_eq!(tell.number, 7);
        let descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        (tell.answer, descriptors.collect())
    }

    fn exit(stream: &UnixStream) -> Exit {
        match wire::read::<Tell>(stream).unwrap() {
            Tell { number: 7, answer: Answer::Exited { exit, .. } } => exit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_ends_of_a_process_travel_and_its_exit_is_told() {
        let (asker, ends, carrying) = carry("read word; echo \"$word there\"; exit 3");
        let [input, mut output, _error] = <[_; 3]>::try_from(ends).unwrap().map(std::fs::File::from);
        (&input).write_all(b"hello\n").unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), exit(&asker)), ("hello there\n", Exit::Status(3)));
        carrying.join().unwrap().unwrap();
    }

    #[test]
    fn a_signal_reaches_it_and_another_question_does_not() {
        let (asker, _ends, carrying) = carry("exec sleep 60");
        wire::write(&asker, &Ask { number: 7, request: Request::Retain { hubs: Vec::new() } }).unwrap();
        wire::write(&asker, &Ask { number: 7, request: Request::Signal { signal: 15 } }).unwrap();
        assert_eq!(exit(&asker), Exit::Signal(15));
        carrying.join().unwrap().unwrap();
    }

    #[test]
    fn the_connection_of_a_way_that_can_end_lasts_as_long_as_that() {
        let (asker, agent) = UnixStream::pair().unwrap();
        let (life, until) = UnixStream::pair().unwrap();
        let way = Way { until: Some(until), ..Way::from(OwnedFd::from(UnixStream::pair().unwrap().0)) };
        let carrying = std::thread::spawn(move || way.carry(&agent, 7));
        assert_eq!(opened(&asker).0, Answer::Opened { descriptors: 1 });
        asker.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!((&asker).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock, "it is still there");
        drop(life);
        carrying.join().unwrap().unwrap();
        assert_eq!((&asker).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn one_that_could_not_be_started_says_why_and_has_a_status() {
        for has_terminal in [false, true] {
            let (asker, agent) = UnixStream::pair().unwrap();
            let way = Way::over(127, "there is no such program", has_terminal).unwrap();
            let carrying = std::thread::spawn(move || way.carry(&agent, 7));
            let (answer, mut ends) = opened(&asker);
            assert_eq!(answer, Answer::Opened { descriptors: if has_terminal { 1 } else { 3 } });
            let mut said = String::new();
            std::fs::File::from(ends.pop().unwrap()).read_to_string(&mut said).unwrap();
            assert_eq!((said.trim_end(), exit(&asker)), ("there is no such program", Exit::Status(127)));
            carrying.join().unwrap().unwrap();
        }
    }

    #[test]
    fn a_process_ends_with_the_connection_that_asked_for_it() {
        let (asker, ends, carrying) = carry("exec sleep 60");
        drop(asker);
        assert_eq!(carrying.join().unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut nothing = Vec::new();
        let [_input, mut output, _error] = <[_; 3]>::try_from(ends).unwrap().map(std::fs::File::from);
        output.read_to_end(&mut nothing).unwrap();
    }
}
