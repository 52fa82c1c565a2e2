//! Addresses.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Arguments, Function, pure};
use crate::data::Data;
use crate::error::Trouble;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("buildUri", 1, 1, build_uri),
    pure("dataUri", 1, 1, |args| {
        Ok(Data::text(format!("data:text/plain;charset=utf8;base64,{}", STANDARD.encode(args.scalar(0)?))))
    }),
    pure("dataUriToString", 1, 1, data_uri_to_string),
    pure("parseUri", 1, 1, parse_uri),
    pure("uri", 2, 2, |args| join(args.text(0)?, args.text(1)?).map(Data::text)),
    pure("uriComponent", 1, 1, |args| Ok(Data::text(escape(&args.scalar(0)?)))),
    pure("uriComponentToString", 1, 1, |args| unescape(args.text(0)?).map(Data::text)),
];

/// An absolute address in its parts.
struct Address<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Address<'a> {
    fn read(text: &'a str) -> Result<Self, Trouble> {
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Err("the address must be absolute, like 'https://example.org/path'.".into());
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.is_empty() {
            return Err("the address has no host.".into());
        }
        Ok(Self { scheme, authority, path, query })
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// RFC 3986, section 5.2: the last segment of the base is replaced unless it ends in a slash.
fn join(base: &str, relative: &str) -> Result<String, Trouble> {
    if relative.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        return Ok(relative.to_owned());
    }
    let base = Address::read(base)?;
    let end = relative.find(['?', '#']).unwrap_or(relative.len());
    let (path, suffix) = relative.split_at(end);
    let merged = if path.starts_with('/') {
        path.to_owned()
    } else if path.is_empty() {
        base.path.to_owned()
    } else {
        let folder = base.path.rfind('/').map_or("/", |at| base.path.get(..=at).unwrap_or("/"));
        format!("{folder}{path}")
    };
    let query = if path.is_empty() && suffix.is_empty() { base.query } else { suffix };
    Ok(format!("{}://{}{}{query}", base.scheme, base.authority, without_dots(&merged)))
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            ".." => {
                if kept.len() > 1 {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            "." if last => kept.push(""),
            "." => {}
            other => kept.push(other),
        }
    }
    kept.join("/")
}

fn parse_uri(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let address = Address::read(args.text(0)?)?;
    let host_and_port = address.authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match host_and_port.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        Some((host, port)) => (host, port.parse::<i64>().ok()),
        None => (host_and_port, None),
    };
    let default = match address.scheme.to_ascii_lowercase().as_str() {
        "http" => Data::Int(80),
        "https" => Data::Int(443),
        _ => Data::Null,
    };
    let path = if address.path.is_empty() { "/" } else { address.path };
    Ok(Data::record([
        ("scheme", Data::text(address.scheme)),
        ("host", Data::text(host)),
        ("port", port.map_or(default, Data::Int)),
        ("path", Data::text(path)),
        ("query", Data::text(address.query)),
    ]))
}

fn build_uri(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let parts = args.object(0)?;
    let part = |name: &str| parts.find(name).filter(|value| !value.is_null()).map(Data::display);
    let (Some(scheme), Some(host)) = (part("scheme"), part("host")) else {
        return Err("argument 1 needs at least 'scheme' and 'host'.".into());
    };
    let port = part("port").map(|port| format!(":{port}")).unwrap_or_default();
    let with = |prefix: char, text: String| {
        if text.starts_with(prefix) || text.is_empty() { text } else { format!("{prefix}{text}") }
    };
    let path = with('/', part("path").unwrap_or_default());
    let query = with('?', part("query").unwrap_or_default());
    Ok(Data::text(format!("{scheme}://{host}{port}{path}{query}")))
}

/// RFC 2397, Base64 or percent-encoded.
fn data_uri_to_string(args: &mut Arguments<'_>) -> Result<Data, Trouble> {
    let wrong = || Trouble::from("argument 1 must be a data URI.");
    let (head, body) = args.text(0)?.strip_prefix("data:").and_then(|rest| rest.split_once(',')).ok_or_else(wrong)?;
    if !head.ends_with(";base64") {
        return unescape(body).map(Data::text);
    }
    let bytes = STANDARD.decode(body).map_err(|_| wrong())?;
    String::from_utf8(bytes).map(Data::text).map_err(|_| "argument 1 does not decode to UTF-8 text.".into())
}

/// Everything but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            made.push(char::from(byte));
        } else {
            let _ = write!(made, "%{byte:02X}");
        }
    }
    made
}

/// Sequences that are no escapes stay as they are, as in .NET.
fn unescape(text: &str) -> Result<String, Trouble> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).filter(|_| *byte == b'%');
        if let Some(decoded) = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(decoded);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| "argument 1 does not decode to UTF-8 text.".into())
}
