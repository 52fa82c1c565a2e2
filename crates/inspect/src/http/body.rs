//! Where a body ends.

use super::field::{Field, is_token};

/// How a body is delimited (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// In chunks, the last of which is empty.
    Chunked,
    /// Everything until the connection ends; responses only.
    UntilClose,
}

/// Counts a body as it passes.
#[derive(Debug, Clone)]
pub struct BodyReader {
    place: Place,
    /// The part of a line that has passed already; lines of chunked bodies are short.
    line: Vec<u8>,
    /// Bytes of trailer lines so far.
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So many bytes of a body with a length.
    Bytes(u64),
    /// In the line with a chunk's size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// In the line end behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk.
    Trailer,
    /// There is no end but that of the connection.
    UntilClose,
    /// Behind the end.
    Done,
}

/// A chunked body that could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The size of a chunk is not hexadecimal digits and CR LF. Extensions are not let through: nobody needs them, and
    /// programs disagree about where they end.
    #[error("the size of a chunk of its body is malformed")]
    Size,
    /// A chunk is not followed by CR LF.
    #[error("a chunk of its body is longer or shorter than it says")]
    ChunkEnd,
    /// A trailer is malformed, says something about framing or host, or there are too many.
    #[error("the trailers of its body are malformed")]
    Trailer,
}

impl BodyReader {
    /// Begins behind a head.
    pub fn new(framing: Framing) -> Self {
        let place = match framing {
            Framing::Empty | Framing::Length(0) => Place::Done,
            Framing::Length(length) => Place::Bytes(length),
            Framing::Chunked => Place::Size,
            Framing::UntilClose => Place::UntilClose,
        };
        Self { place, line: Vec::new(), trailers: 0 }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.place == Place::Done
    }

    /// How many of the next bytes belong to the body whatever they are: they may pass unseen.
    pub fn opaque(&self) -> u64 {
        match self.place {
            Place::Bytes(left) | Place::Chunk(left) => left,
            Place::UntilClose => u64::MAX,
            Place::Size | Place::ChunkEnd | Place::Trailer | Place::Done => 0,
        }
    }

    /// Notes that so many bytes passed unseen, at most [`BodyReader::opaque`].
    pub fn skip(&mut self, count: u64) {
        self.place = match self.place {
            Place::Bytes(left) if left > count => Place::Bytes(left - count),
            Place::Bytes(_) => Place::Done,
            Place::Chunk(left) if left > count => Place::Chunk(left - count),
            Place::Chunk(_) => Place::ChunkEnd,
            other => other,
        };
    }

    /// Looks at what has arrived, and says how many of the bytes belong to the body.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let mut place = 0;
        while let Some(rest) = bytes.get(place..).filter(|rest| !rest.is_empty() && !self.is_done()) {
            let opaque = usize::try_from(self.opaque()).unwrap_or(usize::MAX);
            if opaque > 0 {
                let step = opaque.min(rest.len());
                self.skip(step as u64);
                place += step;
                continue;
            }
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            self.line.extend_from_slice(rest.get(..end).unwrap_or_default());
            place += end;
            self.check_line_so_far()?;
            if self.line.ends_with(b"\n") {
                self.line()?;
                self.line.clear();
            }
        }
        Ok(place)
    }

    /// A line that has not ended may not be longer than it can become.
    fn check_line_so_far(&mut self) -> Result<(), BodyError> {
        let (limit, error) = match self.place {
            Place::ChunkEnd => (2, BodyError::ChunkEnd),
            Place::Trailer => (MAX_TRAILERS.saturating_sub(self.trailers), BodyError::Trailer),
            _ => (MAX_SIZE_LINE, BodyError::Size),
        };
        if self.line.len() > limit { Err(error) } else { Ok(()) }
    }

    fn line(&mut self) -> Result<(), BodyError> {
        let line = self.line.strip_suffix(b"\r\n");
        self.place = match self.place {
            Place::Size => match read_size(line.ok_or(BodyError::Size)?)? {
                0 => Place::Trailer,
                size => Place::Chunk(size),
            },
            Place::ChunkEnd => match line {
                Some([]) => Place::Size,
                _ => return Err(BodyError::ChunkEnd),
            },
            Place::Trailer => {
                self.trailers += self.line.len();
                match line.ok_or(BodyError::Trailer)? {
                    [] => Place::Done,
                    line if is_harmless(line) => Place::Trailer,
                    _ => return Err(BodyError::Trailer),
                }
            }
            other => other,
        };
        Ok(())
    }
}

/// Digits and nothing else: no sign, no `0x`, no blank.
fn read_size(line: &[u8]) -> Result<u64, BodyError> {
    let digits = std::str::from_utf8(line).map_err(|_| BodyError::Size)?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(BodyError::Size);
    }
    u64::from_str_radix(digits, 16).map_err(|_| BodyError::Size)
}

/// A trailer that a careless server could merge into the head must not be able to change what was decided there
/// (RFC 9110, section 6.5.1).
fn is_harmless(line: &[u8]) -> bool {
    let is_clean = line.iter().all(|byte| *byte >= b' ' && *byte != 0x7f || *byte == b'\t');
    is_clean
        && Field::read(line).is_ok_and(|field| {
            let decides = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];
            is_token(field.name) && !field.is_framing_in_disguise() && !decides.iter().any(|name| field.is(name))
        })
}

/// Sixteen digits and CR LF.
const MAX_SIZE_LINE: usize = 18;
const MAX_TRAILERS: usize = 8 << 10;
