//! AES-256-GCM records bound to their owner and field (`reference/security.md` section 3.2).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, rand};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::key_file::{self, KEY_LENGTH};

/// Seals and opens small secrets with one key. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<Key>);

impl Sealer {
    /// Reads an existing key file: exactly 32 bytes, a regular file that nobody but its owner may touch.
    pub fn open(key_file: &Path) -> Result<Self, SealError> {
        let key = key_file::read(key_file)?;
        Self::from_key(&key)
    }

    /// As [`Sealer::open`], but makes the key file (mode 0600, random) when there is none.
    ///
    /// Only for a store that is known to be fresh: beside an old store a new key would make every secret in it
    /// unreadable, and saying that the key is gone is the better answer.
    pub fn open_or_create(key_file: &Path) -> Result<Self, SealError> {
        match Self::open(key_file) {
            Err(SealError::Absent { .. }) => {
                key_file::create(key_file)?;
                Self::open(key_file)
            }
            other => other,
        }
    }

    /// Seals `plain` so that it opens only with the same key and the same context.
    pub fn seal(&self, context: &SealContext<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let mut body = Zeroizing::new(plain.to_vec());
        let tag = self
            .0
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.additional_data(context)),
                &mut body,
            )
            .map_err(|_| SealError::TooLong)?;

        let mut sealed = Vec::with_capacity(HEADER_LENGTH + body.len() + tag.as_ref().len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.0.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] made. The plain bytes are wiped from memory when dropped.
    pub fn open_sealed(&self, context: &SealContext<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&version, rest) = sealed.split_first().ok_or(SealError::Damaged)?;
        if version != VERSION {
            return Err(SealError::UnknownVersion(version));
        }
        let (id, rest) = rest.split_first_chunk::<KEY_ID_LENGTH>().ok_or(SealError::Damaged)?;
        if *id != self.0.id {
            return Err(SealError::OtherKey);
        }
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Damaged)?;

        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .0
            .cipher
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.additional_data(context)),
                body.as_mut_slice(),
            )
            .map_err(|_| SealError::Damaged)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// A secret that need not be stored, because it can be made again: the same for the same purpose and owner, and of no
    /// use to guess another one.
    pub fn derive(&self, purpose: &str, owner: Uuid) -> Result<Zeroizing<[u8; KEY_LENGTH]>, SealError> {
        let mut secret = Zeroizing::new([0; KEY_LENGTH]);
        // Every part has a fixed length or an end of its own: no two purposes share a secret.
        let named = [&b"bastide/v1/derived/"[..], purpose.as_bytes(), b"\0", owner.as_bytes()];
        let made = self.0.root.expand(&named, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(secret.as_mut_slice()));
        made.map_err(|_| SealError::Randomness)?;
        Ok(secret)
    }

    fn from_key(key: &[u8; KEY_LENGTH]) -> Result<Self, SealError> {
        // A subkey per purpose, so that the same key file may serve others later without sharing nonces.
        let mut subkey = Zeroizing::new([0; KEY_LENGTH]);
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
        root.expand(&[b"bastide/v1/secrets"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(subkey.as_mut_slice()))
            .map_err(|_| SealError::Randomness)?;
        let cipher = UnboundKey::new(&AES_256_GCM, subkey.as_slice()).map_err(|_| SealError::Randomness)?;

        let mut id = [0; KEY_ID_LENGTH];
        let mut naming = digest::Context::new(&digest::SHA256);
        naming.update(b"bastide/v1/key-id");
        naming.update(subkey.as_slice());
        for (to, from) in id.iter_mut().zip(naming.finish().as_ref()) {
            *to = *from;
        }
        Ok(Self(Arc::new(Key { id, cipher: LessSafeKey::new(cipher), root })))
    }

    /// Every part carries its length, so that no two contexts share an encoding.
    fn additional_data(&self, context: &SealContext<'_>) -> Vec<u8> {
        let parts: [&[u8]; 4] = [b"bastide/1", &self.0.id, context.owner.as_bytes(), context.field.as_bytes()];
        parts
            .iter()
            .flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied()))
            .collect()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer(***)")
    }
}

/// What a sealed record belongs to. Opening it for anything else fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// The incarnation (or key, or principal) that owns the secret.
    pub owner: Uuid,
    /// Which of the owner's secrets this is.
    pub field: &'a str,
}

/// Why a key file or a sealed record was refused. Never carries a secret.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no key file.
    #[error("the key file {} does not exist; restore it from a backup, without it the stored secrets stay sealed", path.display())]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The key file can be touched by others than its owner.
    #[error("the key file {} has mode {mode:03o}; others must not touch it: chmod 600 it", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is not a regular file of 32 bytes.
    #[error("{} is not a key file: it must be a regular file of {KEY_LENGTH} bytes; restore it from a backup", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The key file could not be read or written.
    #[error("the key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record was sealed by a newer version of Bastide.
    #[error("the record was sealed in format {0}, which this version does not know; use the newer version")]
    UnknownVersion(u8),
    /// The record was sealed with another key file.
    #[error("the record was sealed with another key file; restore the one that belongs to this store")]
    OtherKey,
    /// The record was cut, changed, or belongs to another owner or field.
    #[error("the sealed record is damaged or does not belong here")]
    Damaged,
    /// More than AES-GCM can seal at once (64 GiB).
    #[error("the secret is too long to seal")]
    TooLong,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
}

struct Key {
    id: [u8; KEY_ID_LENGTH],
    cipher: LessSafeKey,
    /// What subkeys come from.
    root: hkdf::Prk,
}

const VERSION: u8 = 1;
const KEY_ID_LENGTH: usize = 8;
const HEADER_LENGTH: usize = 1 + KEY_ID_LENGTH + NONCE_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_again() {
        let sealed = sealer(1).seal(&context(), b"secret").unwrap();
        assert_eq!(*sealer(1).open_sealed(&context(), &sealed).unwrap(), *b"secret");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
    }

    #[test]
    fn what_is_derived_is_the_same_again_and_nobody_elses() {
        let derived = |key, purpose, owner| *sealer(key).derive(purpose, Uuid::from_u128(owner)).unwrap();
        assert_eq!(derived(1, "door", 1), derived(1, "door", 1));
        let others = [derived(2, "door", 1), derived(1, "gate", 1), derived(1, "door", 2)];
        assert!(others.iter().all(|other| *other != derived(1, "door", 1)));
    }

    #[test]
    fn the_same_secret_never_seals_twice_to_the_same_bytes() {
        let sealer = sealer(1);
        assert_ne!(sealer.seal(&context(), b"secret").unwrap(), sealer.seal(&context(), b"secret").unwrap());
    }

    #[test]
    fn a_record_opens_only_for_its_owner_and_field() {
        let sealed = sealer(1).seal(&context(), b"secret").unwrap();
        let other_owner = SealContext { owner: Uuid::from_u128(8), ..context() };
        let other_field = SealContext { field: "other", ..context() };
        assert!(matches!(sealer(1).open_sealed(&other_owner, &sealed), Err(SealError::Damaged)));
        assert!(matches!(sealer(1).open_sealed(&other_field, &sealed), Err(SealError::Damaged)));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused() {
        let sealed = sealer(1).seal(&context(), b"secret").unwrap();
        for index in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[index] ^= 1;
            assert!(sealer(1).open_sealed(&context(), &flipped).is_err(), "byte {index}");
            assert!(sealer(1).open_sealed(&context(), &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn another_key_is_named_as_the_reason() {
        let sealed = sealer(1).seal(&context(), b"secret").unwrap();
        assert!(matches!(sealer(2).open_sealed(&context(), &sealed), Err(SealError::OtherKey)));
    }

    #[test]
    fn contexts_never_share_an_encoding() {
        let joined = |field| sealer(1).additional_data(&SealContext { owner: Uuid::nil(), field });
        assert_ne!(joined("ab"), joined("a"));
        assert!(!joined("ab").starts_with(&joined("a")));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", sealer(1)), "Sealer(***)");
    }

    fn sealer(seed: u8) -> Sealer {
        Sealer::from_key(&[seed; KEY_LENGTH]).unwrap()
    }

    fn context() -> SealContext<'static> {
        SealContext { owner: Uuid::from_u128(7), field: "private-key" }
    }
}
