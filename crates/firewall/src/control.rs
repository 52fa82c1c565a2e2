//! The socket to the agent: frames of JSON, some of which bring a descriptor.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use bastide_plan::frame::{self, FrameError};
use bastide_plan::worker::{FromWorker, ToWorker};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// What the agent says, and what it hands over with it.
#[derive(Debug)]
pub struct Said {
    /// The message.
    pub message: ToWorker,
    /// The descriptor that it brings, if it is of a kind that brings one.
    pub descriptor: Option<OwnedFd>,
}

/// Reads what the agent says.
#[derive(Debug, Default)]
pub struct Listener {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

/// The agent has gone, or says what this version does not understand.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket.
    #[error("the agent cannot be heard: {0}")]
    Io(#[from] io::Error),
    /// The message.
    #[error("the agent says what this version does not understand: {0}")]
    Frame(#[from] FrameError),
    /// A message without the descriptor that it should bring.
    #[error("a message of the agent came without its descriptor")]
    NoDescriptor,
    /// Another version.
    #[error("the agent is of version {0} of the plan, the firewall of version {ours}", ours = bastide_plan::hub_plan::PLAN_VERSION)]
    Version(u32),
    /// A change of a plan that the firewall does not have.
    #[error("the agent changes a plan that this firewall does not have")]
    WrongChange,
    /// Not [`ToWorker::Start`].
    #[error("the first message of the agent is not Start")]
    NotStarted,
}

impl Listener {
    /// Waits for the next message, holding up the thread; `None` when the agent has gone.
    pub fn wait(&mut self, control: &StdUnixStream) -> Result<Option<Said>, ControlError> {
        loop {
            if let Some(said) = self.take()? {
                return Ok(Some(said));
            }
            if self.receive(control)? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message; `None` when the agent has gone. May be dropped and asked again: nothing is lost.
    pub async fn next(&mut self, control: &UnixStream) -> Result<Option<Said>, ControlError> {
        loop {
            if let Some(said) = self.take()? {
                return Ok(Some(said));
            }
            if control.async_io(Interest::READABLE, || self.receive(control)).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Takes a whole message from what has arrived.
    fn take(&mut self) -> Result<Option<Said>, ControlError> {
        let Some((head, rest)) = self.bytes.split_first_chunk() else { return Ok(None) };
        let length = frame::length(*head)?;
        let Some(json) = rest.get(..length) else { return Ok(None) };
        let message: ToWorker = frame::decode(json)?;
        let descriptor = match message {
            ToWorker::Listener { .. }
            | ToWorker::Upstream { .. }
            | ToWorker::KernelLog
            | ToWorker::Endings
            | ToWorker::Host { .. } => Some(self.descriptors.pop_front().ok_or(ControlError::NoDescriptor)?),
            _ => None,
        };
        self.bytes.drain(..frame::HEAD + length);
        // A plan of ten thousand rules is over; its room is not kept.
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(Said { message, descriptor }))
    }

    fn receive(&mut self, control: impl AsFd) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut portion = [0; PORTION];
        let mut slices = [IoSliceMut::new(&mut portion)];
        let received = recvmsg(control, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.bytes.extend_from_slice(portion.get(..received.bytes).unwrap_or_default());
        Ok(received.bytes)
    }
}

/// Says something to the agent, holding up the thread.
pub fn tell_now(mut control: &StdUnixStream, message: &FromWorker) -> Result<(), ControlError> {
    Ok(io::Write::write_all(&mut control, &frame::encode(message)?)?)
}

/// Says something to the agent.
pub async fn tell(control: &UnixStream, message: &FromWorker) -> Result<(), ControlError> {
    let bytes = frame::encode(message)?;
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        control.writable().await?;
        match control.try_write(left) {
            Ok(count) => left = left.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

const PORTION: usize = 16 << 10;
/// The kernel delivers the descriptors of one message at a time, and the agent sends one with each.
const MOST_DESCRIPTORS: usize = 4;
