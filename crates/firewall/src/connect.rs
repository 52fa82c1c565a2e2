//! Connects to a name: to addresses that the hub's resolver gave for it, and to no others.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bastide_inspect::Name;
use bastide_plan::RuleName;
use bastide_plan::address::AddressClass;
use bastide_plan::hub_plan::{Action, Protocol};
use bastide_plan::policy::AddressVerdict;
use rustix::net::sockopt::set_tcp_quickack;
use tokio::net::{TcpSocket, TcpStream};

use crate::context::Context;
use crate::live::Origin;
use crate::resolver::Unresolved;
use crate::view::View;

/// Why nothing could be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The resolver has no address for it.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// The address is of a kind that no hub reaches.
    #[error("{0} is {1}; no hub reaches it")]
    Class(Ipv4Addr, AddressClass),
    /// A rule denies the address.
    #[error("{0} is denied by rule '{1}'")]
    Denied(Ipv4Addr, RuleName),
    /// There is no plan to decide by.
    #[error("the firewall has no plan yet")]
    NoPlan,
    /// The destination.
    #[error("{0} did not answer: {1}")]
    Failed(SocketAddrV4, io::Error),
}

/// What follows a connection that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Something is said at once. That acknowledges the server's answer as well, which spares a packet each time.
    Words,
    /// The server may be the one who speaks first.
    Silence,
}

/// Connects to `name`. The address that the client was going to only chooses among those that the resolver gave; one that
/// it did not give means nothing (egress.md row 1).
pub async fn to_name(context: &Context, name: &Name, origin: &Origin) -> Result<(TcpStream, Ipv4Addr), ConnectError> {
    let mut addresses = context.resolver.addresses(name, origin.source).await?;
    if let Some(place) = addresses.iter().position(|address| *address == origin.address) {
        addresses.swap(0, place);
    }
    let mut failure = ConnectError::Unresolved(Unresolved::Nowhere(name.clone()));
    for address in addresses.into_iter().take(MOST_TRIED) {
        match to_address(context, address, origin.port, Opening::Words).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Connects to an address, if a hub may reach it at this moment: names are rebound between an answer and its use
/// (egress.md row 15).
pub async fn to_address(
    context: &Context,
    address: Ipv4Addr,
    port: u16,
    opening: Opening,
) -> Result<TcpStream, ConnectError> {
    check(&*context.view.load().ok_or(ConnectError::NoPlan)?, address, port)?;
    let to = SocketAddrV4::new(address, port);
    connect(to, opening).await.map_err(|error| ConnectError::Failed(to, error))
}

/// Connects to a target that an administrator declared.
pub async fn to_declared(address: Ipv4Addr, port: u16) -> Result<TcpStream, ConnectError> {
    let to = SocketAddrV4::new(address, port);
    connect(to, Opening::Silence).await.map_err(|error| ConnectError::Failed(to, error))
}

/// Connects to a target that an administrator declared at a loopback address, which is the host's and not the hub's.
pub async fn to_host(context: &Context, address: Ipv4Addr, port: u16) -> Result<TcpStream, ConnectError> {
    let connected = context.host.connect(address, port).await;
    connected.map_err(|error| ConnectError::Failed(SocketAddrV4::new(address, port), error))
}

/// Whether an address may be connected to by the view of this moment.
pub fn check(view: &View, address: Ipv4Addr, port: u16) -> Result<(), ConnectError> {
    if let Some(class) = view.filter.refuses(address.into()) {
        return Err(ConnectError::Class(address, class));
    }
    match view.policy.address(address, Protocol::Tcp, port) {
        AddressVerdict::Rule(rule) if rule.action == Action::Deny => {
            Err(ConnectError::Denied(address, rule.rule.clone()))
        }
        _ => Ok(()),
    }
}

async fn connect(to: SocketAddrV4, opening: Opening) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if opening == Opening::Words {
        // A packet more is slower, not wrong.
        let _ = set_tcp_quickack(&socket, false);
    }
    let stream = tokio::time::timeout(PATIENCE, socket.connect(to.into())).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Addresses of one name that are tried.
const MOST_TRIED: usize = 3;
/// How long an address may take to answer: three SYNs.
const PATIENCE: Duration = Duration::from_secs(7);
