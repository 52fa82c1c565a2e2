//! Connections to services of the host itself that an Owner admitted. The agent opens them, for from inside a hub the host's
//! loopback is out of reach, and the host's kernel lets this process use them for nothing else.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// Asks the agent for connections.
#[derive(Debug, Clone)]
pub struct HostSide(mpsc::UnboundedSender<Wanted>);

/// A connection that somebody waits for.
#[derive(Debug)]
pub struct Wanted {
    /// Where it leads.
    pub to: SocketAddrV4,
    /// Who waits.
    pub answer: oneshot::Sender<Result<OwnedFd, String>>,
}

impl HostSide {
    /// A way to ask, and where the questions come out.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Wanted>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Connects to a service of the host.
    pub async fn connect(&self, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        tokio::time::timeout(PATIENCE, self.ask(SocketAddrV4::new(address, port))).await?
    }

    async fn ask(&self, to: SocketAddrV4) -> io::Result<TcpStream> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Wanted { to, answer }).map_err(io::Error::other)?;
        let socket = answered.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let socket = StdTcpStream::from(socket);
        socket.set_nonblocking(true)?;
        let stream = TcpStream::from_std(socket)?;
        // It may still be connecting.
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// How long the host may take.
const PATIENCE: Duration = Duration::from_secs(7);
