//! The head of a response: where it ends, and where its body does.

use super::field::{self, Lines};
use super::{Framing, Head, HttpRefusal, Version};

/// What a response means for the connection it came over. The bytes themselves are for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Its status code.
    pub status: u16,
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether the server expects the connection to go on.
    pub keeps_alive: bool,
    /// How many bytes its head took.
    pub length: usize,
}

impl Response {
    /// Reads a head from the start of what has arrived, as the answer to a request of `method`.
    pub fn read(bytes: &[u8], method: &str) -> Head<Self> {
        let lines = match Lines::read(bytes, |line| first_line(line).map(|_| ())) {
            Ok(Some(lines)) => lines,
            Ok(None) if BEGINNING.starts_with(bytes.get(..BEGINNING.len()).unwrap_or(bytes)) => return Head::NeedMore,
            Ok(None) => return Head::Refuse(HttpRefusal::NotHttp),
            Err(refusal) => return Head::Refuse(refusal),
        };
        match Self::understand(&lines, method) {
            Ok(response) => Head::Found(response),
            Err(refusal) => Head::Refuse(refusal),
        }
    }

    /// Whether another response to the same request follows (RFC 9110, section 15.2).
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && !self.switches()
    }

    /// Whether what follows is no longer HTTP.
    pub fn switches(&self) -> bool {
        self.status == 101
    }

    fn understand(lines: &Lines<'_>, method: &str) -> Result<Self, HttpRefusal> {
        let (version, status) = first_line(lines.first)?;
        let said = field::framing(&lines.fields, version)?;
        let has_none = method == "HEAD" || matches!(status, 100..200 | 204 | 304);
        let framing = if has_none { Framing::Empty } else { said.unwrap_or(Framing::UntilClose) };
        let says = |word| lines.fields.iter().any(|field| field.is("connection") && field.has_member(word));
        let goes_on = match version {
            Version::Http11 => !says("close"),
            Version::Http10 => says("keep-alive"),
        };
        let keeps_alive = goes_on && framing != Framing::UntilClose;
        Ok(Self { status, framing, keeps_alive, length: lines.length })
    }
}

/// `HTTP/1.1 200 OK`; the words at the end may be anything, or missing.
fn first_line(line: &[u8]) -> Result<(Version, u16), HttpRefusal> {
    let (version, rest) = line.split_at_checked(BEGINNING.len() + 1).ok_or(HttpRefusal::NotHttp)?;
    let version = Version::read(version)?;
    match rest {
        [b' ', digits @ ..] => {
            let (status, rest) = digits.split_at_checked(3).ok_or(HttpRefusal::NotHttp)?;
            let is_status = matches!(status, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
            if !is_status || !matches!(rest, [] | [b' ', ..]) {
                return Err(HttpRefusal::NotHttp);
            }
            Ok((version, status.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))))
        }
        _ => Err(HttpRefusal::NotHttp),
    }
}

/// How every response begins, up to the minor version.
const BEGINNING: &[u8] = b"HTTP/1.";
