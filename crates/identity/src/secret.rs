//! Text that must not be seen: passwords, client secrets, codes and tokens.

use std::fmt;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::error::IdentityError;

/// A secret text: wiped from memory when dropped, printed as `***`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text that came from outside.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Take care where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A new secret of 256 random bits behind `prefix`.
    ///
    /// The prefix lets secret scanners recognise it, and keeps it from starting with a dash, which command lines
    /// would take for an option.
    pub(crate) fn generate(prefix: &str) -> Result<Self, IdentityError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| IdentityError::Randomness)?;
        let mut text = String::with_capacity(prefix.len() + 43);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        Ok(Self::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// What is stored instead of a secret that Bastide itself generated.
///
/// Plain SHA-256 is enough there: such a secret has 256 random bits, so that no dictionary exists and a stolen
/// fingerprint cannot be turned back. A slow hash like argon2 protects guessable secrets (see
/// [`password`](crate::password)); here it would only slow every login of every service principal.
/// The purpose keeps fingerprints of one kind from ever matching another.
pub(crate) fn fingerprint(purpose: &str, secret: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(b"bastide/v1/");
    hash.update(purpose.as_bytes());
    hash.update(&[0]);
    hash.update(secret.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_stars() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(***)");
    }

    #[test]
    fn generated_secrets_differ_and_carry_256_bits() {
        let (first, second) = (Secret::generate("x_").unwrap(), Secret::generate("x_").unwrap());
        assert_ne!(first.expose(), second.expose());
        assert_eq!(first.expose().len(), 2 + 43);
    }

    #[test]
    fn fingerprints_depend_on_the_purpose() {
        assert_ne!(fingerprint("a", "secret"), fingerprint("b", "secret"));
        assert_ne!(fingerprint("a", "bsecret"), fingerprint("ab", "secret"));
    }
}
