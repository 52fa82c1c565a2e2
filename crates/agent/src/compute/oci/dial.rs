//! Connecting to what listens inside an instance.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fs::{FileType, OFlags, fstat};

use super::inside::Inside;

/// Connects to a Unix socket by its path inside. No link leads out, and none is followed to somewhere else between the
/// look and the connection: what is connected to is what was looked at.
pub(super) fn socket(inside: &Inside, path: &str) -> io::Result<OwnedFd> {
    if !path.starts_with('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path of a socket must be absolute"));
    }
    let socket = inside.path(path, OFlags::PATH)?;
    if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a socket"));
    }
    Ok(UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd()))?.into())
}

/// Connects to a port on the loopback interface of the calling thread's network.
pub(super) fn port(port: u16) -> io::Result<OwnedFd> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(TcpStream::connect_timeout(&address, CONNECTED_WITHIN)?.into())
}

const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
