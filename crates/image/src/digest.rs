//! Digests: what says in an image what something must be.

use std::fmt::{self, Write as _};
use std::io::{self, Read};
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// A SHA-256 digest, `sha256:` and 64 hexadecimal digits in lower case. Nothing else is accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Something that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is no SHA-256 digest", .0.escape_debug().take(80).collect::<String>())]
pub struct NoDigest(String);

impl Digest {
    /// The digits alone, which are a safe name for a file.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        Self::finish(context)
    }

    /// Of all bytes that the context (of SHA-256) has been given.
    pub fn finish(context: Context) -> Self {
        let digits = context.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self(digits)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.strip_prefix("sha256:") {
            Some(digits) if digits.len() == 64 && digits.bytes().all(is_digit) => Ok(Self(digits.to_owned())),
            _ => Err(NoDigest(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.0)
    }
}

/// Bytes that are what a digest says, or the last read fails.
pub struct Verified<R> {
    source: R,
    wanted: Digest,
    context: Option<Context>,
}

impl<R: Read> Verified<R> {
    /// Reads from here.
    pub fn new(source: R, wanted: Digest) -> Self {
        Self { source, wanted, context: Some(Context::new(&SHA256)) }
    }

    /// Reads the rest; only after that is what was read before sure to be right.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        if length > 0 {
            if let Some(context) = &mut self.context {
                context.update(buffer.get(..length).unwrap_or_default());
            }
            return Ok(length);
        }
        if let Some(found) = self.context.take().filter(|_| !buffer.is_empty()).map(Digest::finish)
            && found != self.wanted
        {
            // For whoever asks again, too.
            self.context = Some(Context::new(&SHA256));
            return Err(io::Error::other(format!("it is {found}, and should be {}", self.wanted)));
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_form() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for wrong in ["", "sha256:", "sha256:../../../etc/passwd", "sha512:00", &digest.to_string().to_uppercase()] {
            wrong.parse::<Digest>().unwrap_err();
        }
    }

    #[test]
    fn other_bytes_are_found_out() {
        Verified::new(&b"abc"[..], Digest::of(b"abc")).finish().unwrap();
        let error = Verified::new(&b"abd"[..], Digest::of(b"abc")).finish().unwrap_err();
        assert!(error.to_string().contains("and should be sha256:ba7816bf"), "{error}");
    }
}
