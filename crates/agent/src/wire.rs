//! Messages on a socket that a thread waits at, and the descriptors that travel with them.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use bastide_plan::frame;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Waits for a message.
pub fn read<T: DeserializeOwned>(mut stream: &UnixStream) -> io::Result<T> {
    let mut head = [0; frame::HEAD];
    stream.read_exact(&mut head)?;
    let mut json = vec![0; frame::length(head).map_err(io::Error::other)?];
    stream.read_exact(&mut json)?;
    frame::decode(&json).map_err(io::Error::other)
}

/// Says something.
pub fn write<T: Serialize>(stream: &UnixStream, message: &T) -> io::Result<()> {
    hand(stream, message, &[])
}

/// Says something, and hands over up to [`MOST_DESCRIPTORS`] descriptors with it.
pub fn hand<T: Serialize>(mut stream: &UnixStream, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = frame::encode(message).map_err(io::Error::other)?;
    let mut sent = 0;
    if !descriptors.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        sent = sendmsg(stream, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    stream.write_all(bytes.get(sent..).unwrap_or_default())
}

/// Standard input, output and error.
pub const MOST_DESCRIPTORS: usize = 3;
