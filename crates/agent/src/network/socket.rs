//! The sockets that the agent opens for a firewall, which could not open them itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};

use bastide_plan::worker::Transport;
use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with};

/// Listens for connections to any address, which the rule set sends to `port` (TPROXY). Several may share a port.
pub fn transparent_listener(port: u16) -> io::Result<OwnedFd> {
    let socket = tcp()?;
    set_socket_reuseport(&socket, true)?;
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, and is given the address and the length of one that outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            libc::IP_TRANSPARENT,
            (&raw const on).cast(),
            size_of::<libc::c_int>().try_into().unwrap_or(4),
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    open(socket, Ipv4Addr::LOCALHOST, port)
}

/// Listens at an address of the hub's own.
pub fn listener(address: Ipv4Addr, port: u16) -> io::Result<OwnedFd> {
    open(tcp()?, address, port)
}

/// Takes datagrams at an address of the hub's own.
pub fn datagrams(address: Ipv4Addr, port: u16) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(address, port))?;
    Ok(socket)
}

/// A socket of the calling thread's namespace that speaks to somebody and belongs to a user: the host's rule set knows it by
/// that (`meta skuid`), and lets it speak to nobody else. A stream may still be connecting. The thread goes on as
/// that user to the file system, so let it end.
pub fn spoken_for(to: SocketAddr, transport: Transport, user: u32) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match transport {
        Transport::Udp => SocketType::DGRAM,
        Transport::Tcp => SocketType::STREAM,
    };
    // SAFETY: no pointers. It changes this thread only, and cannot fail but silently: the second call asks.
    let is_user = unsafe {
        libc::setfsuid(user);
        libc::setfsuid(libc::uid_t::MAX) == user.cast_signed()
    };
    if !is_user {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

fn tcp() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

fn open(socket: OwnedFd, address: Ipv4Addr, port: u16) -> io::Result<OwnedFd> {
    bind(&socket, &SocketAddrV4::new(address, port))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connections that wait while a firewall is started again.
const BACKLOG: i32 = 4096;
