//! The sockets at 169.254.169.254 inside of instances: what arrives at one comes from that instance and from nowhere else
//! (compute.md 2.3).

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use bastide_plan::hub_plan::ComputeId;

use super::way::Way;
use crate::network::layout::METADATA;
use crate::network::names::leg_namespace;
use crate::network::namespace::{Namespace, NamespaceError};

/// One socket for each instance, which stays when the server goes: what asks meanwhile waits, and is not refused.
#[derive(Debug, Default)]
pub struct MetadataSockets(Mutex<BTreeMap<ComputeId, Held>>);

#[derive(Debug)]
struct Held {
    namespace: u64,
    socket: TcpListener,
    /// Closes with this: so does whoever serves the socket hear that it is no more.
    _life: UnixStream,
    until: UnixStream,
}

impl MetadataSockets {
    /// The socket in the namespace that the instance has now, for as long as it has that.
    pub fn open(&self, compute: ComputeId) -> Result<Way, NamespaceError> {
        let namespace = Namespace::open(&leg_namespace(compute))?;
        let way = |held: &Held| {
            let (socket, until) = namespace.within(|| Ok((held.socket.try_clone()?, held.until.try_clone()?)))?;
            Ok(Way { until: Some(until), ..Way::from(OwnedFd::from(socket)) })
        };
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inode = namespace.inode().unwrap_or_default();
        if let Some(held) = held.get(&compute).filter(|held| held.namespace == inode) {
            return way(held);
        }
        // The other one keeps its namespace, which nobody is in any more.
        held.remove(&compute);
        let (socket, (life, until)) = namespace.within(|| Ok((listen()?, UnixStream::pair()?)))?;
        let new = Held { namespace: inode, socket, _life: life, until };
        let way = way(&new)?;
        held.insert(compute, new);
        Ok(way)
    }

    /// Lets go of one: a namespace lives as long as its sockets.
    pub fn close(&self, compute: ComputeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&compute);
    }
}

fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((METADATA, PORT))
}

const PORT: u16 = 80;
