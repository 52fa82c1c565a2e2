//! HTTP/1.1 messages, as far as a wall has to understand them: heads, and where bodies end (RFC 9112).
//!
//! What could be read in two ways is refused (egress.md row 17): bare LF, folded lines, blanks before a colon, a second
//! `Host` or `Content-Length`, `Content-Length` beside `Transfer-Encoding`, NUL.

mod body;
mod field;
mod request;
mod response;

pub use body::{BodyError, BodyReader, Framing};
pub use request::Request;
pub use response::Response;

/// What the bytes that have arrived so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head<T> {
    /// A whole head.
    Found(T),
    /// So far it could become one.
    NeedMore,
    /// It is none, or one that could be read in two ways.
    Refuse(HttpRefusal),
}

/// The version in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpRefusal {
    /// The first line is not that of a message.
    #[error("it does not speak HTTP/1.1")]
    NotHttp,
    /// The preface of HTTP/2, or an upgrade to it.
    #[error("it speaks HTTP/2 without TLS, which does not pass. Use HTTP/1.1, or HTTPS.")]
    Http2,
    /// A request to be a tunnel.
    #[error("it asks for a tunnel (CONNECT). There is no proxy here: connect to the host itself.")]
    Connect,
    /// A version that is neither 1.0 nor 1.1.
    #[error("it is of an HTTP version that is neither 1.0 nor 1.1")]
    Version,
    /// A line ends in LF or CR alone.
    #[error("a line of its head does not end in CR LF")]
    LineEnd,
    /// A control character or a blank where none may be, a missing colon, a folded line.
    #[error("a line of its head is malformed")]
    Line,
    /// More than [`MAX_HEAD`] bytes or [`MAX_FIELDS`] fields.
    #[error("its head is longer than 16 kB or has more than 128 fields")]
    TooLong,
    /// No `Host`, and more than one, are the same to us.
    #[error("it does not have exactly one Host field")]
    Host,
    /// `Host` is not the name of a host.
    #[error("its Host field names no host: {}", .0.to_string().trim_end_matches('.'))]
    Name(crate::NameError),
    /// `Host` has a port of its own.
    #[error("its Host field names a port that it is not connected to")]
    Port,
    /// The address in the first line is of another host than `Host`.
    #[error("the host in its first line is not the one in its Host field")]
    OtherHost,
    /// The target is none that a server understands.
    #[error("the target in its first line is malformed")]
    Target,
    /// The length of its body could be read in two ways.
    #[error("the length of its body is ambiguous: one Content-Length, or Transfer-Encoding: chunked, and not both")]
    Length,
    /// `Connection` names a field that must not be lost, or `Upgrade` something that is not a WebSocket.
    #[error("its Connection or Upgrade field asks for something that does not pass")]
    Connection,
}

impl Version {
    fn read(text: &[u8]) -> Result<Self, HttpRefusal> {
        match text {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(HttpRefusal::Version),
            _ => Err(HttpRefusal::NotHttp),
        }
    }

    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Http10 => b"HTTP/1.0",
            Self::Http11 => b"HTTP/1.1",
        }
    }
}

/// The most bytes of a head that are waited for.
pub const MAX_HEAD: usize = 16 << 10;
/// The most fields of a head.
pub const MAX_FIELDS: usize = 128;

#[cfg(test)]
mod tests;
