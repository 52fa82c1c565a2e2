//! Makes tokens that nobody issued.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_vault::{SealContext, Sealer};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::Fixture;

/// An RSA key and the certificate for it.
pub struct Signer {
    pair: RsaKeyPair,
}

impl Signer {
    pub fn new() -> Self {
        Self { pair: RsaKeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    /// The key with which the service signs now: what a thief of store and vault key would have.
    pub async fn stolen(fixture: &Fixture) -> Self {
        let record = fixture.store.record("signing-keys", "ring", fixture.now()).await.unwrap().unwrap();
        let id: Uuid = record.body["keys"][0]["id"].as_str().unwrap().parse().unwrap();
        let sealed = fixture.store.secrets(id).await.unwrap().remove(0);
        let sealer = Sealer::open(&fixture.folder.path().join("key")).unwrap();
        let plain = sealer.open_sealed(&SealContext { owner: id, field: &sealed.field }, &sealed.sealed).unwrap();
        Self { pair: RsaKeyPair::from_pkcs8(&plain).unwrap() }
    }

    pub fn rs256(&self, header: &Value, claims: &Value) -> String {
        self.signed(header, claims, &RSA_PKCS1_SHA256)
    }

    pub fn ps256(&self, header: &Value, claims: &Value) -> String {
        self.signed(header, claims, &RSA_PSS_SHA256)
    }

    fn signed(&self, header: &Value, claims: &Value, encoding: &'static dyn RsaEncoding) -> String {
        let message = message(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public key in DER, the favourite "secret" of algorithm confusion.
    pub fn public_der(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    pub fn pkcs8(&self) -> Vec<u8> {
        self.pair.as_der().unwrap().as_ref().to_vec()
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = self.pair.public_key();
        let (n, e) = (public.modulus(), public.exponent());
        let (n, e) = (encoded(n.big_endian_without_leading_zero()), encoded(e.big_endian_without_leading_zero()));
        json!({"kty": "RSA", "use": "sig", "kid": kid, "n": n, "e": e})
    }

    /// A self-signed certificate in DER that is good from 2026 until `last_year`.
    pub fn certificate(&self, last_year: i32) -> Vec<u8> {
        let key = rcgen::KeyPair::try_from(self.pkcs8()).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(last_year, 12, 1);
        parameters.self_signed(&key).unwrap().der().to_vec()
    }
}

pub fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = message(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.", message(header, claims))
}

pub fn sha1(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes))
}

pub fn sha256(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, bytes))
}

/// The object with one member changed, or removed by null.
pub fn changed(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    let members = changed.as_object_mut().unwrap();
    members.remove(name);
    if !value.is_null() {
        members.insert(name.to_owned(), value);
    }
    changed
}

fn message(header: &Value, claims: &Value) -> String {
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encoded(header), encoded(claims))
}
