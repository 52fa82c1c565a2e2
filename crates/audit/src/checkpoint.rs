use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::entry::Head;
use crate::key::{SigningKey, VerifyingKey};

/// How far a chain had come, signed.
///
/// Its text is a checkpoint of C2SP's tlog-checkpoint - name, number, hash - with two lines of ours behind: when it was
/// signed and, for a cut, that the chain begins here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number and the hash of the last entry.
    pub head: Head,
    /// When it was signed.
    pub at: Timestamp,
    /// Whether the entries up to this one were removed on purpose, because they had been kept for long enough.
    pub is_cut: bool,
}

/// Why a note is no checkpoint of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not signed by the key, or was changed since.
    #[error("the checkpoint is not signed by the audit key")]
    Signature,
    /// It is signed, but says something else.
    #[error("the signed note is no checkpoint of this chain")]
    Text,
}

impl Checkpoint {
    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> String {
        let mut text =
            format!("{}\n{}\n{}\n", key.public().name(), self.head.seq, STANDARD.encode(bytes(&self.head.hash)));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "at {}", self.at);
        if self.is_cut {
            text.push_str(CUT);
        }
        key.sign(&text)
    }

    /// Reads a note.
    pub fn open(note: &str, key: &VerifyingKey) -> Result<Self, NoteError> {
        let text = key.open(note).ok_or(NoteError::Signature)?;
        Self::read(text, key.name()).ok_or(NoteError::Text)
    }

    fn read(text: &str, name: &str) -> Option<Self> {
        let mut lines = text.split_inclusive('\n');
        let mut line = || lines.next()?.strip_suffix('\n');
        if line()? != name {
            return None;
        }
        let seq = line()?.parse().ok()?;
        let hash = hex(&STANDARD.decode(line()?).ok()?);
        let at = line()?.strip_prefix("at ")?.parse().ok()?;
        let is_cut = match lines.next() {
            None => false,
            Some(CUT) => true,
            Some(_) => return None,
        };
        Some(Self { head: Head { seq, hash }, at, is_cut })
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The last line of a checkpoint at which the chain was cut.
const CUT: &str = "cut\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_no_other_key_opens_it() {
        let key = SigningKey::new("bastide/t/audit", &[7; 32]).unwrap();
        let other = SigningKey::new("bastide/t/audit", &[8; 32]).unwrap();
        for is_cut in [false, true] {
            let head = Head { seq: 17, hash: "00ff".repeat(16) };
            let checkpoint = Checkpoint { head, at: Timestamp::from_second(1_800_000_000).unwrap(), is_cut };
            let note = checkpoint.sign(&key);
            assert_eq!(Checkpoint::open(&note, key.public()), Ok(checkpoint));
            assert_eq!(Checkpoint::open(&note, other.public()), Err(NoteError::Signature));
            for at in 0..note.len() {
                let mut flipped = note.clone().into_bytes();
                flipped[at] ^= 1;
                let flipped = String::from_utf8_lossy(&flipped).into_owned();
                assert!(Checkpoint::open(&flipped, key.public()).is_err(), "byte {at} of {note}");
            }
        }
        assert_eq!(Checkpoint::open(&key.sign("bastide/t/audit\n1\n"), key.public()), Err(NoteError::Text));
    }
}
