//! The keys that sign tokens: one signs, the next one is already published, older ones verify until their last token
//! has expired.
//!
//! All keys stand in one record (the ring); the private halves are sealed beside it. Rotation happens when somebody
//! asks and it is due, through an expectation on the ring's revision: of several replicas one wins and the others read
//! its result.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_arm::clock::Clock;
use bastide_store::{Change, CommitError, Expectation, SealedSecret, Store, Write};
use bastide_vault::{SealContext, Sealer};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::IdentityError;

/// The ring of signing keys, rotated by time.
pub(crate) struct SigningKeys {
    store: Store,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    ring: RwLock<Arc<Ring>>,
    /// Held while the ring is read or rotated; remembers when it was last read for an unknown key id.
    refresh: tokio::sync::Mutex<Timestamp>,
}

impl SigningKeys {
    pub(crate) async fn open(store: Store, sealer: Sealer, clock: Arc<dyn Clock>) -> Result<Self, IdentityError> {
        let keys = Self {
            store,
            sealer,
            clock,
            ring: RwLock::new(Arc::new(Ring::default())),
            refresh: tokio::sync::Mutex::new(Timestamp::MIN),
        };
        keys.maintained().await?;
        Ok(keys)
    }

    /// Signs `payload` (a JSON object) as a compact JWS of type `typ`.
    pub(crate) async fn sign(&self, typ: &str, payload: &impl Serialize) -> Result<String, IdentityError> {
        let ring = self.maintained().await?;
        let key = ring.signing(self.clock.now()).ok_or(IdentityError::Cryptography("there is no signing key"))?;
        let encoded = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
        let header = json!({"alg": "RS256", "typ": typ, "kid": key.public.kid});
        let payload = serde_json::to_vec(payload).map_err(|_| IdentityError::Cryptography("the claims"))?;
        let mut token = format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(&payload));
        let mut signature = vec![0; key.pair.public_modulus_len()];
        key.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| IdentityError::Cryptography("signing"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        Ok(token)
    }

    /// The key that verifies tokens with this key id, if it is one of ours and still alive.
    pub(crate) async fn verifying(&self, kid: &str) -> Result<Option<DecodingKey>, IdentityError> {
        if let Some(key) = self.maintained().await?.verifying(kid, self.clock.now()) {
            return Ok(Some(key));
        }
        // Another replica may have rotated. Strangers can send any key id, so the store is asked at most once a
        // second for all of them together.
        let mut asked = self.refresh.lock().await;
        let now = self.clock.now();
        if now.duration_since(*asked).abs() < UNKNOWN_KEY_PAUSE {
            return Ok(self.cached().verifying(kid, now));
        }
        *asked = now;
        let ring = self.read().await?;
        Ok(self.keep(ring).verifying(kid, now))
    }

    /// The public keys as a JWK set: the one that signs, the next, and those that still verify.
    pub(crate) async fn jwks(&self) -> Result<Value, IdentityError> {
        let now = self.clock.now();
        let ring = self.maintained().await?;
        let keys: Vec<Value> = ring
            .alive(now)
            .map(|key| {
                let public = &key.public;
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": public.kid, "n": public.n, "e": public.e})
            })
            .collect();
        Ok(json!({"keys": keys}))
    }

    fn cached(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, ring: Ring) -> Arc<Ring> {
        let ring = Arc::new(ring);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring.clone();
        ring
    }

    /// The ring, rotated first when that is due.
    async fn maintained(&self) -> Result<Arc<Ring>, IdentityError> {
        let ring = self.cached();
        if !ring.is_due(self.clock.now()) {
            return Ok(ring);
        }
        let _one_at_a_time = self.refresh.lock().await;
        for _ in 0..ROTATION_ATTEMPTS {
            let ring = self.read().await?;
            let now = self.clock.now();
            if !ring.is_due(now) {
                return Ok(self.keep(ring));
            }
            self.rotate(&ring, now).await?;
        }
        Err(IdentityError::Conflict)
    }

    /// Adds the keys that are missing and drops those that are past use. Losing the race to another replica is fine.
    async fn rotate(&self, ring: &Ring, now: Timestamp) -> Result<(), IdentityError> {
        let mut keys: Vec<PublicKey> = ring.alive(now).map(|key| key.public.clone()).collect();
        let mut changes: Vec<Change> = ring.dead(now).map(|key| Change::DeleteSecrets(key.public.id)).collect();
        while !keys.iter().any(|key| key.signs_from > now) {
            let signs_from = match keys.last() {
                None => now,
                Some(last) => later(last.signs_from, ROTATION).max(later(now, PUBLISHED_BEFORE_USE)),
            };
            let (public, sealed) = self.generate(signs_from).await?;
            keys.push(public);
            changes.push(Change::PutSecret(sealed));
        }
        let body = serde_json::to_value(StoredRing { keys }).map_err(|_| damaged())?;
        changes.push(Change::PutRecord { kind: KIND.into(), key: KEY.into(), owner: None, body, expires: None });
        let expectation = match ring.revision {
            None => Expectation::RecordAbsent { kind: KIND.into(), key: KEY.into() },
            Some(revision) => Expectation::RecordRevision { kind: KIND.into(), key: KEY.into(), revision },
        };
        let write = Write {
            expect: vec![expectation],
            changes,
            audit: vec![json!({"action": "identity/signingKeys/rotate"})],
            ..Write::new(now)
        };
        match self.store.commit(write).await {
            Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    async fn generate(&self, signs_from: Timestamp) -> Result<(PublicKey, SealedSecret), IdentityError> {
        // Finding two primes takes tens to hundreds of milliseconds.
        let pair = tokio::task::spawn_blocking(|| RsaKeyPair::generate(KeySize::Rsa2048))
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(IdentityError::Cryptography("making a signing key"))?;
        let private = pair.as_der().map_err(|_| IdentityError::Cryptography("encoding a signing key"))?;
        let id = Uuid::new_v4();
        let sealed = self.sealer.seal(&SealContext { owner: id, field: FIELD }, private.as_ref())?;
        let public = PublicKey::of(&pair, id, signs_from);
        Ok((public, SealedSecret { incarnation: id, field: FIELD.into(), sealed }))
    }

    async fn read(&self) -> Result<Ring, IdentityError> {
        let Some(record) = self.store.record(KIND, KEY, self.clock.now()).await? else { return Ok(Ring::default()) };
        let stored: StoredRing = serde_json::from_value(record.body).map_err(|_| damaged())?;
        let mut keys = Vec::with_capacity(stored.keys.len());
        for public in stored.keys {
            let sealed = self.store.secrets(public.id).await?;
            let sealed = sealed.iter().find(|secret| secret.field == FIELD).ok_or_else(damaged)?;
            let private: Zeroizing<Vec<u8>> =
                self.sealer.open_sealed(&SealContext { owner: public.id, field: FIELD }, &sealed.sealed)?;
            let pair = RsaKeyPair::from_pkcs8(&private).map_err(|_| damaged())?;
            let verifying = DecodingKey::from_rsa_components(&public.n, &public.e).map_err(|_| damaged())?;
            keys.push(Key { public, pair, verifying });
        }
        Ok(Ring { revision: Some(record.revision), keys })
    }
}

/// The keys in the order in which they sign.
#[derive(Default)]
struct Ring {
    revision: Option<i64>,
    keys: Vec<Key>,
}

impl Ring {
    /// The youngest key whose time has come; the oldest when the clock was set back before all of them.
    fn signing(&self, now: Timestamp) -> Option<&Key> {
        self.keys.iter().rev().find(|key| key.public.signs_from <= now).or(self.keys.first())
    }

    fn verifying(&self, kid: &str, now: Timestamp) -> Option<DecodingKey> {
        self.alive(now).find(|key| key.public.kid == kid).map(|key| key.verifying.clone())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.dead(now).next().is_some() || !self.keys.iter().any(|key| key.public.signs_from > now)
    }

    fn alive(&self, now: Timestamp) -> impl Iterator<Item = &Key> {
        self.keys.iter().enumerate().filter(move |(index, _)| !self.is_dead(*index, now)).map(|(_, key)| key)
    }

    fn dead(&self, now: Timestamp) -> impl Iterator<Item = &Key> {
        self.keys.iter().enumerate().filter(move |(index, _)| self.is_dead(*index, now)).map(|(_, key)| key)
    }

    /// A key is dead when its successor has signed for longer than any token lives.
    fn is_dead(&self, index: usize, now: Timestamp) -> bool {
        self.keys.get(index + 1).is_some_and(|successor| later(successor.public.signs_from, OVERLAP) <= now)
    }
}

struct Key {
    public: PublicKey,
    pair: RsaKeyPair,
    verifying: DecodingKey,
}

#[derive(Serialize, Deserialize)]
struct StoredRing {
    keys: Vec<PublicKey>,
}

/// The public half of a signing key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKey {
    id: Uuid,
    /// The thumbprint of RFC 7638.
    kid: String,
    n: String,
    e: String,
    signs_from: Timestamp,
}

impl PublicKey {
    fn of(pair: &RsaKeyPair, id: Uuid, signs_from: Timestamp) -> Self {
        let public = pair.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        Self { id, kid: thumbprint(&n, &e), n, e, signs_from }
    }
}

/// RFC 7638 section 3: SHA-256 over the required members in lexical order, without white space.
fn thumbprint(n: &str, e: &str) -> String {
    let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes()))
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn damaged() -> IdentityError {
    IdentityError::Damaged { kind: KIND, key: KEY.into() }
}

const KIND: &str = "signing-keys";
const KEY: &str = "ring";
const FIELD: &str = "private-key";
/// How long a key signs.
const ROTATION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a key is published before it signs, so that verifiers that cache the set know it in time.
const PUBLISHED_BEFORE_USE: SignedDuration = SignedDuration::from_hours(24);
/// How long a key verifies after its last signature: the longest token life (one hour), the leeway, and some more.
const OVERLAP: SignedDuration = SignedDuration::from_mins(65);
const UNKNOWN_KEY_PAUSE: SignedDuration = SignedDuration::from_secs(1);
const ROTATION_ATTEMPTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_of_the_example_in_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi\
                 FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnY\
                 b9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0\
                 Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(thumbprint(n, "AQAB"), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
