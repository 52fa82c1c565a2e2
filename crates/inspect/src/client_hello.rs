//! The first words of a TLS client (RFC 8446, section 4.1.2), and the host they name (RFC 6066, section 3).
//!
//! The bytes that were read here are the bytes to send on: reading them again from a socket would let somebody who shares
//! the pages change them in between (egress.md 5.1).

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::name::{Name, NameError};

/// What the bytes that have arrived so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A whole hello with exactly one host name.
    Found(ClientHello),
    /// A whole hello without a server name.
    Absent,
    /// So far it could become a hello.
    NeedMore,
    /// It is none, or one that could be read in two ways.
    Refuse(HelloRefusal),
}

/// A hello with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// Whom the client wants to talk to.
    pub name: Name,
    /// How many of the bytes it took, with the headers of its records. More may have arrived behind it.
    pub length: usize,
}

/// Why bytes are not a hello that can be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloRefusal {
    /// The first bytes are no handshake record.
    #[error("it does not speak TLS")]
    NotTls,
    /// A handshake, but not one that begins with a ClientHello.
    #[error("its TLS handshake does not begin with a ClientHello")]
    NotHello,
    /// More than [`MAX_HANDSHAKE`] bytes, or more than [`MAX_FLIGHT`] with the headers of its records.
    #[error("its ClientHello is longer than 16 kB")]
    TooLong,
    /// Lengths that do not fit, or something behind the hello in its last record.
    #[error("its ClientHello is malformed")]
    Malformed,
    /// The same extension twice: two programs could go by different ones.
    #[error("its ClientHello has an extension twice")]
    DuplicateExtension,
    /// Not exactly one entry, and that of type `host_name`.
    #[error("its ClientHello does not name exactly one host")]
    NotOneName,
    /// A name that none is.
    #[error("its ClientHello names no host: {}", .0.to_string().trim_end_matches('.'))]
    Name(NameError),
}

impl Hello {
    /// Reads what has arrived since the connection began. The answer does not depend on how it was cut into segments or
    /// records, and once it is not [`Hello::NeedMore`], further bytes do not change it.
    pub fn read(flight: &[u8]) -> Self {
        match gather(flight.get(..MAX_FLIGHT).unwrap_or(flight)) {
            Ok(Some((handshake, length))) => match read_body(&handshake) {
                Ok(Some(name)) => Self::Found(ClientHello { name, length }),
                Ok(None) => Self::Absent,
                Err(refusal) => Self::Refuse(refusal),
            },
            Ok(None) if flight.len() >= MAX_FLIGHT => Self::Refuse(HelloRefusal::TooLong),
            Ok(None) => Self::NeedMore,
            Err(refusal) => Self::Refuse(refusal),
        }
    }
}

/// A handshake message put together from the fragments in its records, and how many bytes of the flight it took.
type Gathered<'a> = (Cow<'a, [u8]>, usize);

/// Puts the first handshake message together; `None` when it has not all arrived.
fn gather(flight: &[u8]) -> Result<Option<Gathered<'_>>, HelloRefusal> {
    let mut message: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut rest = flight;
    loop {
        let Some(length) = record_length(rest)? else { return Ok(None) };
        let record = rest.get(RECORD_HEAD..).unwrap_or_default();
        let fragment = record.get(..length).unwrap_or(record);
        let whole = message.len() + length;
        match &mut message {
            Cow::Borrowed([]) => message = Cow::Borrowed(fragment),
            _ => message.to_mut().extend_from_slice(fragment),
        }
        if let Some(end) = message_end(&message)? {
            // Nothing may come behind a ClientHello in its record: the client has to wait for the answer.
            if whole > end {
                return Err(HelloRefusal::Malformed);
            }
            if message.len() == end {
                let taken = flight.len() - record.len() + length;
                return Ok(Some((message, taken)));
            }
        }
        if fragment.len() < length {
            return Ok(None);
        }
        rest = record.get(length..).unwrap_or_default();
    }
}

/// The length of the fragment in the record that `bytes` begin with; `None` when its head has not all arrived.
fn record_length(bytes: &[u8]) -> Result<Option<usize>, HelloRefusal> {
    let mut head = Cursor::new(bytes);
    // Refused at the first byte that is wrong: who does not speak TLS learns it at once.
    match head.u8() {
        Some(HANDSHAKE) => {}
        Some(_) => return Err(HelloRefusal::NotTls),
        None => return Ok(None),
    }
    // The minor version says nothing (RFC 8446, section 5.1).
    match head.u8() {
        Some(3) => {}
        Some(_) => return Err(HelloRefusal::NotTls),
        None => return Ok(None),
    }
    let (Some(_), Some(length)) = (head.u8(), head.u16()) else { return Ok(None) };
    match usize::from(length) {
        // "Implementations MUST NOT send zero-length fragments of Handshake types" (section 5.1).
        0 => Err(HelloRefusal::Malformed),
        length if length > MAX_FRAGMENT => Err(HelloRefusal::Malformed),
        length => Ok(Some(length)),
    }
}

/// Where the handshake message ends; `None` while its head has not all arrived.
fn message_end(message: &[u8]) -> Result<Option<usize>, HelloRefusal> {
    let mut head = Cursor::new(message);
    match head.u8() {
        Some(CLIENT_HELLO) => {}
        Some(_) => return Err(HelloRefusal::NotHello),
        None => return Ok(None),
    }
    let (Some(high), Some(low)) = (head.u8(), head.u16()) else { return Ok(None) };
    let end = HANDSHAKE_HEAD + (usize::from(high) << 16) + usize::from(low);
    if end > MAX_HANDSHAKE { Err(HelloRefusal::TooLong) } else { Ok(Some(end)) }
}

/// The name in a whole handshake message, if it has one.
fn read_body(message: &[u8]) -> Result<Option<Name>, HelloRefusal> {
    let mut hello = Cursor::new(message);
    let extensions = skip_to_extensions(&mut hello).ok_or(HelloRefusal::Malformed)?;
    let mut extensions = Cursor::new(extensions);
    let mut kinds = Vec::with_capacity(32);
    let mut name = None;
    while !extensions.is_empty() {
        let (kind, body) = extensions.u16().zip(extensions.vector16()).ok_or(HelloRefusal::Malformed)?;
        kinds.push(kind);
        if kind == SERVER_NAME {
            name = Some(read_server_name(body)?);
        }
    }
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| matches!(pair, [one, two] if one == two)) {
        return Err(HelloRefusal::DuplicateExtension);
    }
    Ok(name)
}

/// Steps over what comes before the extensions. A hello without any is one of TLS 1.2 (RFC 5246, section 7.4.1.2).
fn skip_to_extensions<'a>(hello: &mut Cursor<'a>) -> Option<&'a [u8]> {
    hello.take(HANDSHAKE_HEAD)?;
    let version = hello.u16()?;
    hello.take(RANDOM)?;
    let session = hello.vector8()?;
    let suites = hello.vector16()?;
    let compressions = hello.vector8()?;
    let is_sound = version >> 8 == 3
        && session.len() <= 32
        && !suites.is_empty()
        && suites.len() % 2 == 0
        && !compressions.is_empty();
    let extensions = if hello.is_empty() { &[] } else { hello.vector16()? };
    (is_sound && hello.is_empty()).then_some(extensions)
}

/// The list may hold one name of each type, and there is only one type (RFC 6066, section 3).
fn read_server_name(body: &[u8]) -> Result<Name, HelloRefusal> {
    let mut body = Cursor::new(body);
    let list = body.vector16().filter(|_| body.is_empty()).ok_or(HelloRefusal::Malformed)?;
    let mut list = Cursor::new(list);
    let (kind, name) = list.u8().zip(list.vector16()).ok_or(HelloRefusal::NotOneName)?;
    if kind != HOST_NAME || !list.is_empty() {
        return Err(HelloRefusal::NotOneName);
    }
    Name::parse_bytes(name).map_err(HelloRefusal::Name)
}

/// The most bytes of a handshake message that are looked at, with its head. Post-quantum hellos are about 2 kB.
pub const MAX_HANDSHAKE: usize = 16 << 10;
/// The most bytes of a flight that are waited for: a hello in records of 20 bytes still fits.
pub const MAX_FLIGHT: usize = MAX_HANDSHAKE + MAX_HANDSHAKE / 4;
pub(crate) const RECORD_HEAD: usize = 5;
pub(crate) const HANDSHAKE: u8 = 22;
/// RFC 8446, section 5.1.
const MAX_FRAGMENT: usize = 1 << 14;
const HANDSHAKE_HEAD: usize = 4;
const CLIENT_HELLO: u8 = 1;
const RANDOM: usize = 32;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

#[cfg(test)]
mod tests;
