//! The head of a request.

use super::field::{self, Field, Lines};
use super::{Framing, Head, HttpRefusal, Version};
use crate::name::Name;

/// A request that means one thing to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its method; never `CONNECT`.
    pub method: &'a str,
    /// Path and query, or `*`.
    pub target: &'a [u8],
    /// Its version.
    pub version: Version,
    /// Whom it is for.
    pub host: Name,
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether the client expects the connection to go on.
    pub keeps_alive: bool,
    /// Whether it asks to become a WebSocket.
    pub is_websocket: bool,
    /// How many bytes its head took.
    pub length: usize,
    fields: Vec<Field<'a>>,
}

impl<'a> Request<'a> {
    /// Reads a head from the start of what has arrived at `port`.
    pub fn read(bytes: &'a [u8], port: u16) -> Head<Self> {
        let lines = match Lines::read(bytes, |line| FirstLine::read(line).map(|_| ())) {
            Ok(Some(lines)) => lines,
            Ok(None) => return early(bytes),
            Err(refusal) => return Head::Refuse(refusal),
        };
        match Self::understand(lines, port) {
            Ok(request) => Head::Found(request),
            Err(refusal) => Head::Refuse(refusal),
        }
    }

    /// Writes the head anew, so that the far side reads what was read here: the target without a host, the host in its
    /// canonical form, and nothing that was meant for this hop only.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target);
        out.push(b' ');
        out.extend_from_slice(self.version.as_bytes());
        out.extend_from_slice(b"\r\n");
        field::write_field(out, b"Host", self.host.as_str().as_bytes());
        for field in &self.fields {
            field.write(out);
        }
        let connection: &[u8] = match (self.is_websocket, self.keeps_alive, self.version) {
            (true, true, _) => b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
            (true, false, _) => b"Connection: close, Upgrade\r\nUpgrade: websocket\r\n",
            (false, true, Version::Http10) => b"Connection: keep-alive\r\n",
            (false, false, Version::Http11) => b"Connection: close\r\n",
            (false, true, Version::Http11) | (false, false, Version::Http10) => b"",
        };
        out.extend_from_slice(connection);
        out.extend_from_slice(b"\r\n");
    }

    fn understand(lines: Lines<'a>, port: u16) -> Result<Self, HttpRefusal> {
        let first = FirstLine::read(lines.first)?;
        let host = host(&lines.fields, port)?;
        let target = first.target(&host, port)?;
        let framing = field::framing(&lines.fields, first.version)?.unwrap_or(Framing::Empty);
        let connection = Connection::read(&lines.fields, &first)?;
        let mut fields = lines.fields;
        fields.retain(|field| !connection.is_for_this_hop(field));
        Ok(Self {
            method: first.method,
            target,
            version: first.version,
            host,
            framing,
            keeps_alive: connection.keeps_alive,
            is_websocket: connection.is_websocket,
            length: lines.length,
            fields,
        })
    }
}

/// `GET /path HTTP/1.1`.
struct FirstLine<'a> {
    method: &'a str,
    target: &'a [u8],
    version: Version,
}

impl<'a> FirstLine<'a> {
    fn read(line: &'a [u8]) -> Result<Self, HttpRefusal> {
        if line == b"PRI * HTTP/2.0" {
            return Err(HttpRefusal::Http2);
        }
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HttpRefusal::NotHttp);
        };
        let version = Version::read(version)?;
        let method = std::str::from_utf8(method).map_err(|_| HttpRefusal::NotHttp)?;
        if method.len() > MAX_METHOD || !field::is_token(method.as_bytes()) {
            return Err(HttpRefusal::NotHttp);
        }
        if method.eq_ignore_ascii_case("CONNECT") {
            return Err(HttpRefusal::Connect);
        }
        // Bytes beyond ASCII are sloppy, but mean the same to everybody; a fragment or a blank does not.
        if target.is_empty() || target.iter().any(|byte| matches!(byte, b'\t' | b'#')) {
            return Err(HttpRefusal::Target);
        }
        Ok(Self { method, target, version })
    }

    /// The target as a server has it: what an absolute address says about the host is checked and left out.
    fn target(&self, host: &Name, port: u16) -> Result<&'a [u8], HttpRefusal> {
        match self.target {
            [b'/', ..] => Ok(self.target),
            b"*" if self.method == "OPTIONS" => Ok(self.target),
            _ => {
                let (scheme, rest) = self.target.split_at_checked(HTTP.len()).ok_or(HttpRefusal::Target)?;
                if !scheme.eq_ignore_ascii_case(HTTP) {
                    return Err(HttpRefusal::Target);
                }
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
                let (authority, target) = rest.split_at(end);
                if read_authority(authority, port)? != *host {
                    return Err(HttpRefusal::OtherHost);
                }
                match target {
                    [b'/', ..] => Ok(target),
                    [] if self.method == "OPTIONS" => Ok(b"*"),
                    [] => Ok(b"/"),
                    // A query without a path would need a slash that is not there.
                    _ => Err(HttpRefusal::Target),
                }
            }
        }
    }
}

/// What the fields say about this hop.
struct Connection<'a> {
    keeps_alive: bool,
    is_websocket: bool,
    /// Fields that are named as meant for this hop.
    named: Vec<&'a [u8]>,
}

impl<'a> Connection<'a> {
    fn read(fields: &[Field<'a>], first: &FirstLine<'_>) -> Result<Self, HttpRefusal> {
        let mut connection =
            Self { keeps_alive: first.version == Version::Http11, is_websocket: false, named: Vec::new() };
        let (mut closes, mut upgrades) = (false, false);
        for member in fields.iter().filter(|field| field.is("connection")).flat_map(Field::members) {
            match member {
                _ if member.eq_ignore_ascii_case(b"close") => closes = true,
                _ if member.eq_ignore_ascii_case(b"keep-alive") => connection.keeps_alive = true,
                _ if member.eq_ignore_ascii_case(b"upgrade") => upgrades = true,
                // Whoever acted on these would lose what was decided here.
                _ if KEPT.iter().any(|kept| member.eq_ignore_ascii_case(kept.as_bytes())) => {
                    return Err(HttpRefusal::Connection);
                }
                _ => connection.named.push(member),
            }
        }
        connection.keeps_alive &= !closes;
        let mut wishes = fields.iter().filter(|field| field.is("upgrade"));
        match (wishes.next(), wishes.next()) {
            (None, _) => {}
            (Some(wish), _) if wish.has_member("h2c") || wish.has_member("h2") => return Err(HttpRefusal::Http2),
            (Some(wish), None) if wish.value.eq_ignore_ascii_case(b"websocket") => {
                // A WebSocket begins with a GET without a body (RFC 6455, section 4.1).
                let is_empty = !fields.iter().any(|field| field.is("content-length") || field.is("transfer-encoding"));
                if !upgrades || first.method != "GET" || first.version < Version::Http11 || !is_empty {
                    return Err(HttpRefusal::Connection);
                }
                connection.is_websocket = true;
            }
            _ => return Err(HttpRefusal::Connection),
        }
        Ok(connection)
    }

    fn is_for_this_hop(&self, field: &Field<'_>) -> bool {
        FOR_THIS_HOP.iter().any(|name| field.is(name))
            || self.named.iter().any(|named| field.name.eq_ignore_ascii_case(named))
    }
}

/// What can be said before the whole head is there.
fn early<'a>(bytes: &[u8]) -> Head<Request<'a>> {
    // Who does not begin with a method does not speak HTTP, and need not be waited for.
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_plausible = method.len() <= MAX_METHOD && (method.is_empty() == bytes.is_empty());
    if !is_plausible || !(method.is_empty() || field::is_token(method)) {
        return Head::Refuse(HttpRefusal::NotHttp);
    }
    Head::NeedMore
}

fn host(fields: &[Field<'_>], port: u16) -> Result<Name, HttpRefusal> {
    let mut hosts = fields.iter().filter(|field| field.is("host"));
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => read_authority(host.value, port),
        _ => Err(HttpRefusal::Host),
    }
}

/// A host with or without the port that the client is connected to. User names do not belong here.
fn read_authority(text: &[u8], port: u16) -> Result<Name, HttpRefusal> {
    let mut parts = text.split(|byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    match (parts.next(), parts.next()) {
        (None, _) => {}
        (Some(digits), None) if digits == port.to_string().as_bytes() => {}
        (Some(digits), None) if digits.iter().all(u8::is_ascii_digit) => return Err(HttpRefusal::Port),
        // An IPv6 address, or a password.
        _ => return Err(HttpRefusal::Name(crate::NameError::Character(':'))),
    }
    Name::parse_bytes(name).map_err(HttpRefusal::Name)
}

const HTTP: &[u8] = b"http://";
/// The longest registered method has 17 bytes.
const MAX_METHOD: usize = 32;
/// Fields that say what was decided here; `Connection` may not declare them meant for this hop.
const KEPT: [&str; 6] = ["host", "content-length", "transfer-encoding", "authorization", "cookie", "origin"];
/// Fields that are meant for this hop, or are written anew (RFC 9110, section 7.6.1).
const FOR_THIS_HOP: [&str; 8] =
    ["host", "connection", "upgrade", "keep-alive", "proxy-connection", "proxy-authorization", "te", "http2-settings"];
