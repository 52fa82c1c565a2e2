//! What the kernel says over netlink, as far as its logs need it: sockets that the agent has bound to something, and of
//! which this process only reads.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::netlink::SocketAddrNetlink;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Something that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A datagram of the kernel's.
    Datagram(&'a [u8]),
    /// The kernel had more to say than fits between us. How much nobody knows.
    Gap,
}

/// Hears a socket for as long as it can be read.
pub async fn hear(socket: OwnedFd, mut hear: impl FnMut(Heard<'_>)) -> io::Result<()> {
    // SAFETY: an `OwnedFd` is one open descriptor until it is dropped, and it is dropped with the `AsyncFd`.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|socket| receive(socket.get_ref(), &mut buffer)) {
            Ok(Ok(length)) => hear(Heard::Datagram(buffer.get(..length).unwrap_or_default())),
            Ok(Err(error)) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => hear(Heard::Gap),
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
}

/// A message (`struct nlmsghdr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: u16,
    /// The socket whose request made it happen. 0: the kernel's own doing.
    pub asked_by: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of a datagram.
#[derive(Debug)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*self.0.get(4..)?.first_chunk()?);
        let asked_by = u32::from_ne_bytes(*self.0.get(12..)?.first_chunk()?);
        let body = self.0.get(MESSAGE_HEAD..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind, asked_by, body })
    }
}

/// The attributes of a message of netfilter, behind its fixed part (`struct nfgenmsg`).
pub fn attributes(body: &[u8]) -> Option<Attributes<'_>> {
    body.get(FAMILY_HEAD..).map(Attributes)
}

/// Attributes: type and value (`struct nlattr`).
#[derive(Debug, Clone)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first one of a type.
    pub fn value(&self, wanted: u16) -> Option<&'a [u8]> {
        self.clone().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// The attributes inside the first one of a type.
    pub fn inside(&self, wanted: u16) -> Option<Self> {
        self.value(wanted).map(Self)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let kind = u16::from_ne_bytes(*rest.first_chunk()?) & ATTRIBUTE_TYPE;
        let value = self.0.get(ATTRIBUTE_HEAD..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (length, _, sender) = rustix::net::recvfrom(socket, buffer, RecvFlags::DONTWAIT)?;
    // Everybody in the namespace who is privileged there could write to the socket; the kernel is number 0.
    let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
    Ok(if sender.is_some_and(|sender| sender.pid() == 0) { length } else { 0 })
}

/// Everything in netlink begins at a multiple of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// What one read takes: the kernel gathers a page at most before it sends.
const BUFFER: usize = 1 << 16;

/// Bytes of `struct nlmsghdr`, `struct nlattr` and `struct nfgenmsg`.
const MESSAGE_HEAD: usize = 16;
const ATTRIBUTE_HEAD: usize = 4;
const FAMILY_HEAD: usize = 4;

/// `NLA_TYPE_MASK`.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
