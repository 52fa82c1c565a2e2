//! Questions to the kernel that are asked too often, or by too few tools, to run a tool for them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with};

use super::ruleset::LOG_GROUP;
use crate::network::conntrack::Flow;

/// A socket to netfilter in the network namespace that it was opened in.
#[derive(Debug)]
pub struct Netfilter(OwnedFd);

impl Netfilter {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let socket = open(Some(netlink::NETFILTER), 0)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// A number that grows by one with each change of the namespace's rule sets.
    pub fn generation(&self) -> io::Result<u32> {
        let answer = self.ask(&Message::to_netfilter(NFT_GETGEN, 0, 0))?;
        let payload = answer.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        let id = attributes(payload).find(|(kind, _)| *kind == NFTA_GEN_ID).map(|(_, value)| value);
        id.and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_be_bytes)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The IPv4 connections of the namespace that carry a mark.
    pub fn connections(&self, mark: u32) -> io::Result<Vec<Flow>> {
        let mut question = Message::to_netfilter(CT_GET, NLM_F_DUMP, AF_INET);
        question.attribute(CTA_MARK, &mark.to_be_bytes());
        question.attribute(CTA_MARK_MASK, &u32::MAX.to_be_bytes());
        Ok(self.ask(&question)?.iter().filter_map(|payload| Flow::read(payload)).collect())
    }

    /// Makes the kernel forget a connection. One that is gone already is fine.
    pub fn forget(&self, flow: &Flow) -> io::Result<()> {
        let mut message = Message::to_netfilter(CT_DELETE, NLM_F_ACK, AF_INET);
        message.attribute(CTA_TUPLE_ORIG | NESTED, &flow.tuple);
        message.attribute(CTA_ID, &flow.id);
        match self.ask(&message) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Sends a message and collects the attributes of what the kernel answers.
    fn ask(&self, message: &Message) -> io::Result<Vec<Vec<u8>>> {
        let answers = ask(self.0.as_fd(), message)?;
        Ok(answers.iter().map(|answer| answer.get(NFGENMSG..).unwrap_or_default().to_vec()).collect())
    }
}

/// A socket to what knows interfaces, addresses and routes of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Routing(OwnedFd);

impl Routing {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        // Protocol 0 is rtnetlink.
        let socket = open(None, 0)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Everything of a kind: the answers, each with its fixed part.
    pub fn dump(&self, kind: u16, family: u8) -> io::Result<Vec<Vec<u8>>> {
        // The fixed part of a question: a family, and nothing to choose by.
        let fixed = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ask(self.0.as_fd(), &Message::new(kind, NLM_F_DUMP, &fixed))
    }
}

/// A socket that the kernel sends logged packets to, for whoever holds it.
pub fn log_socket() -> io::Result<OwnedFd> {
    let socket = open(Some(netlink::NETFILTER), 0)?;
    // A burst of refusals must not push out the one that somebody looks for.
    set_socket_recv_buffer_size_force(&socket, 1 << 20)?;
    let config = |kind: u16, value: &[u8]| {
        let mut message = Message::to_netfilter(ULOG_CONFIG, NLM_F_ACK, 0);
        message.resource(LOG_GROUP);
        message.attribute(kind, value);
        ask(socket.as_fd(), &message)
    };
    config(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND])?;
    let [a, b, c, d] = 96u32.to_be_bytes();
    config(NFULA_CFG_MODE, &[a, b, c, d, NFULNL_COPY_PACKET, 0])?;
    // In hundredths of a second: a line of the flow log is there within 100 ms (egress.md, section 9).
    config(NFULA_CFG_TIMEOUT, &2u32.to_be_bytes())?;
    Ok(socket)
}

/// A socket that the kernel tells the end of forwarded connections to, for whoever holds it. Of which connections it does
/// the rule set says (`ct event`).
pub fn endings_socket() -> io::Result<OwnedFd> {
    let socket = open(Some(netlink::NETFILTER), 1 << (NFNLGRP_CONNTRACK_DESTROY - 1))?;
    // A compute that is cut off loses all its connections at once.
    set_socket_recv_buffer_size_force(&socket, 8 << 20)?;
    Ok(socket)
}

/// The sockets of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Sockets(OwnedFd);

impl Sockets {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let socket = open(Some(netlink::SOCK_DIAG), 0)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Resets the TCP connection of a socket at once; both ends learn it. One that is gone already is fine.
    pub fn reset(&self, from: SocketAddrV4, to: SocketAddrV4) -> io::Result<()> {
        match ask(self.0.as_fd(), &Message::new(SOCK_DESTROY, NLM_F_ACK, &tcp_socket(from, to))) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// Names a TCP socket by its ends (`struct inet_diag_req_v2`, `linux/inet_diag.h`).
fn tcp_socket(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    // Family, protocol, nothing more to say of it, and in any state.
    let mut request = vec![AF_INET, TCP, 0, 0, 0xff, 0xff, 0xff, 0xff];
    request.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
    for address in [from.ip(), to.ip()] {
        request.extend(address.octets());
        request.extend([0; 12]);
    }
    // By whatever interface, whichever of these ends (`INET_DIAG_NOCOOKIE`).
    request.extend([0; 4]);
    request.extend([0xff; 8]);
    request
}

/// Sockets that become readable when somebody changes rule sets, interfaces, addresses or routes of the namespace.
pub fn change_sockets() -> io::Result<[OwnedFd; 2]> {
    let rules = open(Some(netlink::NETFILTER), 1 << (NFNLGRP_NFTABLES - 1))?;
    let groups = RTNL_GROUPS.iter().fold(0, |groups, group| groups | 1 << (group - 1));
    // Protocol 0 is rtnetlink.
    Ok([rules, open(None, groups)?])
}

/// Reads away what arrived. Whether anything had.
pub fn drain(socket: BorrowedFd<'_>) -> bool {
    let mut buffer = vec![0; 1 << 16];
    let mut has_arrived = false;
    loop {
        match recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            // Or the kernel had more to say than fits: that is news as well.
            Ok(_) | Err(rustix::io::Errno::NOBUFS) => has_arrived = true,
            Err(_) => return has_arrived,
        }
    }
}

fn open(protocol: Option<rustix::net::Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

fn ask(socket: BorrowedFd<'_>, message: &Message) -> io::Result<Vec<Vec<u8>>> {
    sendto(socket, &message.finished(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (length, _) = recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((header, payload, next)) = split(rest) {
            rest = next;
            match header.kind {
                NLMSG_ERROR => {
                    let code = payload.first_chunk().copied().map_or(0, i32::from_ne_bytes);
                    return if code == 0 { Ok(answers) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                NLMSG_DONE => return Ok(answers),
                _ => answers.push(payload.to_vec()),
            }
            if header.flags & NLM_F_MULTI == 0 && message.flags & NLM_F_ACK == 0 {
                return Ok(answers);
            }
        }
    }
}

struct Header {
    kind: u16,
    flags: u16,
}

/// The first message of some, its payload, and the rest.
fn split(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let flags = u16::from_ne_bytes(*bytes.get(6..)?.first_chunk()?);
    let payload = bytes.get(NLMSGHDR..length)?;
    Some((Header { kind, flags }, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes of a payload: kind, without the flags in it, and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & !NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// An address in an attribute.
pub fn address(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*value.first_chunk::<4>()?))
}

/// A number of the host's order in an attribute.
pub fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}

/// A port in an attribute.
pub fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*value.first_chunk()?))
}

/// A message to the kernel.
struct Message {
    flags: u16,
    bytes: Vec<u8>,
}

impl Message {
    /// `fixed` is what comes before the attributes.
    fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let flags = flags | NLM_F_REQUEST;
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self { flags, bytes }
    }

    fn to_netfilter(kind: u16, flags: u16, family: u8) -> Self {
        // Family, version, resource.
        Self::new(kind, flags, &[family, 0, 0, 0])
    }

    fn resource(&mut self, resource: u16) {
        if let Some(place) = self.bytes.get_mut(NLMSGHDR + 2..NLMSGHDR + 4) {
            place.copy_from_slice(&resource.to_be_bytes());
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finished(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes();
        if let Some(place) = bytes.get_mut(..4) {
            place.copy_from_slice(&length);
        }
        bytes
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

// linux/netlink.h
const NLMSGHDR: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_MULTI: u16 = 2;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NESTED: u16 = 1 << 15;
// linux/netfilter/nfnetlink.h
const NFGENMSG: usize = 4;
const NFNLGRP_CONNTRACK_DESTROY: u32 = 3;
const NFNLGRP_NFTABLES: u32 = 7;
pub(super) const AF_INET: u8 = 2;
// linux/netfilter/nf_tables.h, subsystem 10
const NFT_GETGEN: u16 = 10 << 8 | 16;
const NFTA_GEN_ID: u16 = 1;
// linux/netfilter/nfnetlink_conntrack.h, subsystem 1
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_MARK: u16 = 8;
const CTA_ID: u16 = 12;
const CTA_MARK_MASK: u16 = 21;
// linux/netfilter/nfnetlink_log.h, subsystem 4
const ULOG_CONFIG: u16 = 4 << 8 | 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
// linux/sock_diag.h, linux/in.h
const SOCK_DESTROY: u16 = 21;
const TCP: u8 = 6;
/// linux/rtnetlink.h: links, IPv4 addresses, IPv4 routes, IPv4 rules.
const RTNL_GROUPS: [u32; 4] = [1, 5, 7, 8];
