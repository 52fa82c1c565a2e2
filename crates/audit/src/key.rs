use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The key that signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

/// The key that checks them, with the name of the chain it belongs to.
///
/// Reads and prints as a verifier key of C2SP signed notes, `<name>+<id>+<base64>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    key: [u8; 32],
}

/// Why something is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A name that cannot stand in a signature line.
    #[error("the name of an audit key must not be empty nor hold spaces, line ends or '+'")]
    Name,
    /// The secret half is not 32 bytes that make a key.
    #[error("the audit key is not a key: it must be 32 bytes, as Bastide made it; restore it from a backup")]
    Seed,
    /// The text of a verifying key.
    #[error("the text is no audit key: it reads NAME+ID+BASE64, as 'bastide audit key' prints it")]
    Text,
    /// The id in the text does not belong to its key.
    #[error("the id in the audit key does not belong to its key: a letter was changed or lost; copy it again")]
    Id,
}

impl SigningKey {
    /// The key made of 32 random bytes, for the chain of that name.
    pub fn new(name: &str, seed: &[u8]) -> Result<Self, KeyError> {
        if name.is_empty() || name.contains(|letter: char| letter.is_whitespace() || letter == '+') {
            return Err(KeyError::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Seed)?;
        Ok(Self { pair, public: VerifyingKey { name: name.to_owned(), key } })
    }

    /// The half that everybody may know.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// A signed note: the text, an empty line, and the signature's line.
    pub(crate) fn sign(&self, text: &str) -> String {
        let mut signature = self.public.id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n{DASH}{} {}\n", self.public.name, STANDARD.encode(signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// The name of the chain it belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key has signed.
    pub(crate) fn open<'a>(&self, note: &'a str) -> Option<&'a str> {
        let (text, signatures) = note.split_at_checked(note.rfind("\n\n")? + 1)?;
        let signed = signatures.strip_prefix('\n')?.lines().any(|line| self.has_signed(text, line));
        signed.then_some(text)
    }

    fn has_signed(&self, text: &str, line: &str) -> bool {
        let Some((name, signature)) = line.strip_prefix(DASH).and_then(|line| line.split_once(' ')) else {
            return false;
        };
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let Some((id, signature)) = signature.split_at_checked(4) else { return false };
        name == self.name
            && id == self.id()
            && UnparsedPublicKey::new(&ED25519, &self.key).verify(text.as_bytes(), signature).is_ok()
    }

    /// The first four bytes of SHA-256 over name, line end, algorithm and key.
    fn id(&self) -> [u8; 4] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [self.name.as_bytes(), b"\n", &[ALGORITHM], &self.key] {
            context.update(part);
        }
        let digest = context.finish();
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ALGORITHM];
        key.extend_from_slice(&self.key);
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id()), STANDARD.encode(key))
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Text);
        };
        let key = STANDARD.decode(key).map_err(|_| KeyError::Text)?;
        let Some((&ALGORITHM, key)) = key.split_first() else { return Err(KeyError::Text) };
        let key = Self { name: name.to_owned(), key: key.try_into().map_err(|_| KeyError::Text)? };
        if u32::from_str_radix(id, 16) == Ok(u32::from_be_bytes(key.id())) { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// Ed25519, in signed notes.
const ALGORITHM: u8 = 1;

/// What a signature's line begins with.
const DASH: &str = "\u{2014} ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_prints() {
        let key = SigningKey::new("bastide/one/audit", &[7; 32]).unwrap();
        let text = key.public().to_string();
        assert_eq!(text.parse(), Ok(key.public().clone()));
        assert!(text.starts_with("bastide/one/audit+"), "{text}");
        assert_eq!(text.replace("one", "two").parse::<VerifyingKey>(), Err(KeyError::Id));
        assert_eq!("key".parse::<VerifyingKey>(), Err(KeyError::Text));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(SigningKey::new("a b", &[7; 32]).unwrap_err(), KeyError::Name);
        assert_eq!(SigningKey::new("a", &[7; 31]).unwrap_err(), KeyError::Seed);
    }

    #[test]
    fn the_secret_half_is_never_shown() {
        let key = SigningKey::new("a", &[0xAB; 32]).unwrap();
        assert!(!format!("{key:?}").contains("171"));
    }

    #[test]
    fn a_note_opens_with_its_key_alone() {
        let key = SigningKey::new("a", &[7; 32]).unwrap();
        let note = key.sign("text\n");
        assert_eq!(key.public().open(&note), Some("text\n"));
        assert_eq!(SigningKey::new("a", &[8; 32]).unwrap().public().open(&note), None);
        assert_eq!(SigningKey::new("b", &[7; 32]).unwrap().public().open(&note), None);
        assert_eq!(key.public().open(&note.replace("text", "test")), None);
        assert_eq!(key.public().open("text\n"), None);
    }
}
