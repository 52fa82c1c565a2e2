//! The lines of a head.

use super::{Framing, HttpRefusal, MAX_FIELDS, MAX_HEAD, Version};

/// A field of a head: a token, and a value without blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// The lines of a head: the first one, and the fields.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pub first: &'a [u8],
    pub fields: Vec<Field<'a>>,
    /// How many bytes the head took, with the empty line.
    pub length: usize,
}

impl<'a> Lines<'a> {
    /// Reads a head from the start of `bytes`; `None` when it has not all arrived. `check_first` looks at the first line,
    /// as soon as that is there.
    pub fn read(
        bytes: &'a [u8],
        check_first: impl Fn(&[u8]) -> Result<(), HttpRefusal>,
    ) -> Result<Option<Self>, HttpRefusal> {
        let Some((first, mut place)) = line(bytes, 0)? else { return Ok(None) };
        check_first(first)?;
        let mut fields = Vec::with_capacity(16);
        loop {
            let Some((text, next)) = line(bytes, place)? else { return Ok(None) };
            place = next;
            if text.is_empty() {
                return Ok(Some(Self { first, fields, length: place }));
            }
            if fields.len() == MAX_FIELDS {
                return Err(HttpRefusal::TooLong);
            }
            fields.push(Field::read(text)?);
        }
    }
}

impl<'a> Field<'a> {
    /// Reads `name: value`. A blank at the beginning would be a folded line, one before the colon is a trick.
    pub fn read(line: &'a [u8]) -> Result<Self, HttpRefusal> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(HttpRefusal::Line)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if !is_token(name) {
            return Err(HttpRefusal::Line);
        }
        Ok(Self { name, value })
    }

    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// A gateway that makes variables of fields (RFC 3875, section 4.1.18) takes `Content_Length` for `Content-Length`.
    pub fn is_framing_in_disguise(&self) -> bool {
        self.name.contains(&b'_')
            && ["content-length", "transfer-encoding"].iter().any(|framing| {
                self.name.len() == framing.len()
                    && self.name.iter().zip(framing.bytes()).all(|(byte, expected)| {
                        byte.eq_ignore_ascii_case(&expected) || *byte == b'_' && expected == b'-'
                    })
            })
    }

    /// The members of a list.
    pub fn members(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
    }

    pub fn has_member(&self, member: &str) -> bool {
        self.members().any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        write_field(out, self.name, self.value);
    }
}

/// How the body is delimited by these fields; `None` when they do not say.
pub(super) fn framing(fields: &[Field<'_>], version: Version) -> Result<Option<Framing>, HttpRefusal> {
    let mut found = None;
    for field in fields {
        let framing = if field.is("content-length") {
            Framing::Length(read_length(field.value)?)
        } else if field.is("transfer-encoding") {
            // Other codings would be hop by hop, and nobody uses them; HTTP/1.0 does not know any.
            if version < Version::Http11 || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpRefusal::Length);
            }
            Framing::Chunked
        } else if field.is_framing_in_disguise() {
            return Err(HttpRefusal::Length);
        } else {
            continue;
        };
        if found.replace(framing).is_some() {
            return Err(HttpRefusal::Length);
        }
    }
    Ok(found)
}

pub(super) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The line that begins at `start`, without its CR LF, and where the next one begins; `None` when it has not all arrived.
/// What has arrived of it is checked all the same.
fn line(bytes: &[u8], start: usize) -> Result<Option<(&[u8], usize)>, HttpRefusal> {
    let rest = bytes.get(start..MAX_HEAD.min(bytes.len())).unwrap_or_default();
    let Some(end) = rest.iter().position(|byte| is_forbidden(*byte)) else {
        return if bytes.len() >= MAX_HEAD { Err(HttpRefusal::TooLong) } else { Ok(None) };
    };
    match (rest.get(end), rest.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(Some((rest.get(..end).unwrap_or_default(), start + end + 2))),
        (Some(b'\r'), None) if bytes.len() < MAX_HEAD => Ok(None),
        (Some(b'\r' | b'\n'), _) => Err(HttpRefusal::LineEnd),
        _ => Err(HttpRefusal::Line),
    }
}

/// What may not stand inside a line.
fn is_forbidden(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}

/// Digits and nothing else; a list of equal lengths is one that somebody made.
fn read_length(value: &[u8]) -> Result<u64, HttpRefusal> {
    if value.is_empty() || value.len() > MAX_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpRefusal::Length);
    }
    Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Of a length: as many as surely fit into 64 bits.
const MAX_DIGITS: usize = 19;
