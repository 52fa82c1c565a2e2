//! TLS from the first byte: an authority of our own, certificates that renew themselves, and the port they guard.
//!
//! * [`Authority`] signs; it lives in the data directory and is made on the first start.
//! * [`Certificates`] is what the port presents: issued by the authority, or read from the operator's own files. Both are
//!   replaced while the server runs.
//! * [`Listener`] accepts connections, speaks TLS, HTTP/1.1 and HTTP/2, and bounds what a peer may hold on to.

mod activity;
mod authority;
mod certificates;
mod file;
mod listener;
mod names;
mod plain;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use authority::Authority;
pub use certificates::Certificates;
pub use file::write_atomically;
pub use listener::{Limits, Listener};
pub use names::ServerNames;

/// What keeps the port from being served over TLS. Every text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of ours, or one the operator named, cannot be read or written.
    #[error("cannot {deed} {}: {source}", .path.display())]
    File {
        /// What was tried: "read", "write".
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A private key that others on this machine can read is no longer private.
    #[error(
        "{} can be read by others (mode {mode:04o}): run 'chmod 600' on it, and replace the key if somebody may have copied it",
        .path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The authority's certificate is there, its key is not.
    #[error(
        "{} is missing, so no certificate can be issued: restore it from a backup, or remove {} to start a new authority that every client must trust anew",
        .key.display(), .certificate.display()
    )]
    AuthorityKeyMissing {
        /// The authority's certificate.
        certificate: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// A certificate and a key that are not a pair.
    #[error("the key in {} does not belong to the certificate in {}: give the two files of one certificate", .key.display(), .certificate.display())]
    KeyMismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The authority is past its last day.
    #[error("the authority in {} has expired: remove it and its key to start a new one that every client must trust anew", .path.display())]
    AuthorityExpired {
        /// The authority's certificate.
        path: PathBuf,
    },
    /// A file whose content is not what it should be.
    #[error("{} does not hold {expected}: {problem}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Making a key or a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The TLS library refuses the configuration.
    #[error("cannot set up TLS: {0}")]
    Configuration(#[from] rustls::Error),
    /// The port cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
