//! The sockets at 169.254.169.254 inside of instances: what arrives at one comes from that instance and from nowhere else
//! (compute.md 2.3).

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use bastide_plan::hub_plan::ComputeId;

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
}

impl MetadataSockets {
    /// The socket in the namespace that the instance has now.
    pub fn open(&self, compute: ComputeId) -> Result<OwnedFd, NamespaceError> {
        let namespace = Namespace::open(&leg_namespace(compute))?;
        let copied = |socket: &TcpListener| namespace.within(|| socket.try_clone()).map(OwnedFd::from);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inode = namespace.inode().unwrap_or_default();
        if let Some(held) = held.get(&compute).filter(|held| held.namespace == inode) {
            return copied(&held.socket);
        }
        // The other one keeps its namespace, which nobody is in any more.
        held.remove(&compute);
        let socket = namespace.within(listen)?;
        let copy = copied(&socket)?;
        held.insert(compute, Held { namespace: inode, socket });
        Ok(copy)
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
