//! Passwords of people: argon2id, a few at a time.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::IdentityError;
use crate::secret::Secret;
use crate::settings::PasswordCost;

/// Hashes and verifies passwords without ever using more memory than a few hashes need.
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    /// A hash nobody has the password of, checked for names that do not exist.
    dummy: Secret,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost) -> Result<Self, IdentityError> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None)
            .map_err(|_| IdentityError::Cryptography("the cost of passwords"))?;
        let PasswordCost { memory_kib, passes } = cost;
        let dummy = format!(
            "$argon2id$v=19$m={memory_kib},t={passes},p=1$AAAAAAAAAAAAAAAAAAAAAA$\
             AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        );
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            dummy: Secret::new(dummy),
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(AT_ONCE + MOST_WAITING)),
        })
    }

    /// A PHC string with a random salt.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, IdentityError> {
        let argon2 = self.argon2.clone();
        self.run(move || {
            let hash = argon2.hash_password(password.expose().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|_| IdentityError::Cryptography("hashing a password"))
        })
        .await?
    }

    /// Whether the password fits the hash. Without a hash (no such user) the answer is no, after the same work.
    pub(crate) async fn verify(&self, hash: Option<Secret>, password: Secret) -> Result<bool, IdentityError> {
        let argon2 = self.argon2.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        self.run(move || {
            let parsed =
                PasswordHash::new(hash.expose()).map_err(|_| IdentityError::Cryptography("a password hash"))?;
            Ok(argon2.verify_password(password.expose().as_bytes(), &parsed).is_ok() && known)
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, IdentityError> {
        let place = self.waiting.clone().try_acquire_owned().map_err(|_| IdentityError::Busy)?;
        let turn = self.running.clone().acquire_owned().await.map_err(|_| IdentityError::Busy)?;
        // The permits go with the work: a caller that gives up does not make room before the memory is free.
        let held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (place, turn);
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        });
        task.await.map_err(|_| IdentityError::Cryptography("hashing a password"))
    }
}

/// Two hashes of 19 MiB: what an idle service of a few dozen MiB may grow by.
const AT_ONCE: usize = 2;
const MOST_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_only_its_own_hash() {
        let passwords = passwords();
        let hash = Secret::new(passwords.hash(Secret::new("correct horse")).await.unwrap());
        assert!(hash.expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert!(passwords.verify(Some(hash.clone()), Secret::new("correct horse")).await.unwrap());
        assert!(!passwords.verify(Some(hash), Secret::new("correct horsf")).await.unwrap());
    }

    #[tokio::test]
    async fn without_a_hash_the_same_work_is_done_and_the_answer_is_no() {
        let passwords = passwords();
        assert!(!passwords.verify(None, Secret::new("anything")).await.unwrap());
        assert!(PasswordHash::new(passwords.dummy.expose()).is_ok(), "the dummy must be worth computing");
    }

    #[tokio::test]
    async fn when_too_many_wait_the_next_is_turned_away() {
        let passwords = passwords();
        let _all =
            passwords.waiting.clone().acquire_many_owned(u32::try_from(AT_ONCE + MOST_WAITING).unwrap()).await.unwrap();
        assert!(matches!(passwords.verify(None, Secret::new("x")).await, Err(IdentityError::Busy)));
    }

    #[test]
    fn people_get_nineteen_mebibytes_and_two_passes() {
        assert_eq!(PasswordCost::default(), PasswordCost { memory_kib: 19_456, passes: 2 });
    }

    fn passwords() -> Passwords {
        Passwords::new(PasswordCost::for_tests()).unwrap()
    }
}
