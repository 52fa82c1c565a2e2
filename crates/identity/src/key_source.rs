//! The keys of outside token issuers: where they come from, and how long they are believed.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::DecodingKey;
use reqwest::redirect;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use crate::error::IdentityError;
use crate::settings::TrustedIssuer;

/// Gets the JWK set of an issuer. What it brings is a stranger's word: it is checked afterwards.
pub trait KeySource: Send + Sync + fmt::Debug {
    /// The issuer's JWK set, as JSON.
    fn keys<'a>(
        &'a self,
        issuer: &'a TrustedIssuer,
    ) -> Pin<Box<dyn Future<Output = Result<Value, KeySourceError>> + Send + 'a>>;
}

/// Why an issuer's keys could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySourceError {
    /// Not reached, or too slow, or not trusted.
    #[error("the issuer cannot be reached over https")]
    Unreachable,
    /// Another status than 200; redirects are not followed.
    #[error("the issuer answered with status {0}")]
    Status(u16),
    /// More bytes than any key set needs.
    #[error("the issuer's answer is too long")]
    TooLong,
    /// Not the document it should be.
    #[error("the issuer's answer is not a valid {0}")]
    Invalid(&'static str),
}

/// Asks over https: no redirects, at most 256 KiB, ten seconds, the certificates that this system trusts.
#[derive(Debug, Clone)]
pub struct HttpsKeySource {
    client: reqwest::Client,
}

impl HttpsKeySource {
    /// A source that trusts what the system trusts.
    pub fn new() -> Result<Self, IdentityError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|error| IdentityError::Client(error.to_string()))?
            .with_no_client_auth();
        Self::with_tls(tls)
    }

    /// A source with a TLS configuration of the caller's own.
    pub fn with_tls(tls: ClientConfig) -> Result<Self, IdentityError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| IdentityError::Client(error.to_string()))?;
        Ok(Self { client })
    }

    async fn key_set(&self, issuer: &TrustedIssuer) -> Result<Value, KeySourceError> {
        if let Some(uri) = &issuer.jwks_uri {
            return self.document(uri.clone(), "key set").await;
        }
        let address = format!("{}/.well-known/openid-configuration", issuer.issuer.trim_end_matches('/'));
        let address = Url::parse(&address).map_err(|_| KeySourceError::Invalid("issuer address"))?;
        let configuration = self.document(address, DOCUMENT).await?;
        if configuration.get("issuer").and_then(Value::as_str) != Some(&issuer.issuer) {
            return Err(KeySourceError::Invalid(DOCUMENT));
        }
        let uri = configuration.get("jwks_uri").and_then(Value::as_str).and_then(|uri| Url::parse(uri).ok());
        self.document(uri.ok_or(KeySourceError::Invalid(DOCUMENT))?, "key set").await
    }

    async fn document(&self, address: Url, what: &'static str) -> Result<Value, KeySourceError> {
        let unreachable = |error: reqwest::Error| {
            tracing::warn!(error = %error.without_url(), "a token issuer cannot be reached");
            KeySourceError::Unreachable
        };
        let mut response = self.client.get(address).send().await.map_err(unreachable)?;
        if response.status() != 200 {
            return Err(KeySourceError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LONGEST_DOCUMENT {
                return Err(KeySourceError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| KeySourceError::Invalid(what))
    }
}

impl KeySource for HttpsKeySource {
    fn keys<'a>(
        &'a self,
        issuer: &'a TrustedIssuer,
    ) -> Pin<Box<dyn Future<Output = Result<Value, KeySourceError>> + Send + 'a>> {
        Box::pin(self.key_set(issuer))
    }
}

/// Remembers the keys of the trusted issuers, and asks for new ones neither too often nor too seldom.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    source: Arc<dyn KeySource>,
    /// The issuers are the operator's choice, so this never grows.
    issuers: HashMap<String, (TrustedIssuer, Mutex<Cached>)>,
}

impl IssuerKeys {
    pub(crate) fn new(source: Arc<dyn KeySource>, issuers: &[TrustedIssuer]) -> Self {
        let issuers = issuers.iter().map(|issuer| (issuer.issuer.clone(), (issuer.clone(), Mutex::default())));
        Self { source, issuers: issuers.collect() }
    }

    /// The issuer's key with this id; `None` when the issuer is not trusted or has no such key.
    pub(crate) async fn key(
        &self,
        issuer: &str,
        kid: &str,
        now: Timestamp,
    ) -> Result<Option<DecodingKey>, KeySourceError> {
        let Some((issuer, cached)) = self.issuers.get(issuer) else { return Ok(None) };
        // Held while the issuer is asked: others wait for the same answer instead of asking as well.
        let mut cached = cached.lock().await;
        if let Some(key) = cached.fresh(kid, now, REFRESH_AFTER) {
            return Ok(Some(key));
        }
        if cached.asked.is_none_or(|asked| now.duration_since(asked).abs() >= PAUSE) {
            cached.asked = Some(now);
            match self.source.keys(issuer).await.and_then(|set| read(&set)) {
                Ok(keys) => (cached.keys, cached.fetched) = (keys, Some(now)),
                Err(error) => {
                    tracing::warn!(issuer = issuer.issuer, %error, "the keys of a token issuer cannot be had");
                    return cached.fresh(kid, now, BELIEVED_FOR).map(Some).ok_or(error);
                }
            }
        }
        Ok(cached.fresh(kid, now, BELIEVED_FOR))
    }
}

#[derive(Default)]
struct Cached {
    asked: Option<Timestamp>,
    fetched: Option<Timestamp>,
    keys: HashMap<String, DecodingKey>,
}

impl Cached {
    fn fresh(&self, kid: &str, now: Timestamp, age: SignedDuration) -> Option<DecodingKey> {
        let fetched = self.fetched?;
        self.keys.get(kid).filter(|_| now.duration_since(fetched) < age).cloned()
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Cached");
        debug.field("fetched", &self.fetched).field("keys", &self.keys.keys()).finish_non_exhaustive()
    }
}

/// The RSA signature keys of a JWK set; keys of other kinds are of no use here and are left out.
fn read(set: &Value) -> Result<HashMap<String, DecodingKey>, KeySourceError> {
    let invalid = KeySourceError::Invalid("key set");
    let keys = set.get("keys").and_then(Value::as_array).ok_or(invalid.clone())?;
    if keys.len() > MOST_KEYS {
        return Err(invalid);
    }
    let read = |key: &Value| {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let usable = text("kty") == Some("RSA")
            && text("use").is_none_or(|purpose| purpose == "sig")
            && text("alg").is_none_or(|algorithm| algorithm == "RS256");
        let modulus = URL_SAFE_NO_PAD.decode(text("n")?).ok()?;
        let long_enough = (SHORTEST_MODULUS..=LONGEST_MODULUS).contains(&modulus.len());
        let decoded = DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()?;
        (usable && long_enough).then_some((text("kid")?.to_owned(), decoded))
    };
    Ok(keys.iter().filter_map(read).collect())
}

const DOCUMENT: &str = "OpenID configuration";
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_DOCUMENT: usize = 256 * 1024;
const MOST_KEYS: usize = 64;
/// 2048 and 8192 bits, in bytes.
const SHORTEST_MODULUS: usize = 256;
const LONGEST_MODULUS: usize = 1024;
/// How long keys are used without asking again.
const REFRESH_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// How long they are used when the issuer does not answer.
const BELIEVED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// How long an issuer is left alone: strangers may send any key id.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
