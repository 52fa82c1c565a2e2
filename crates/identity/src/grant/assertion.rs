//! An application proves itself with a signed statement: of its own certificate's key, or of an outside issuer
//! (RFC 7521, RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bastide_store::{Change, Expectation};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::access_token::LEEWAY;
use crate::directory::{CredentialProof, ServicePrincipal};
use crate::error::IdentityError;
use crate::identity::Service;
use crate::oauth_error::Refusal;
use crate::secret::fingerprint;
use crate::token_endpoint::TokenEndpoint;
use crate::token_form::TokenForm;

impl Service {
    pub(super) async fn check_assertion(
        &self,
        endpoint: &TokenEndpoint,
        form: &TokenForm,
        client: &ServicePrincipal,
        assertion: &str,
    ) -> Result<(), Refusal> {
        if form.required("client_assertion_type")? != ASSERTION_TYPE {
            return Err(Refusal::malformed(format!("The client_assertion_type must be '{ASSERTION_TYPE}'.")));
        }
        let malformed = |_| Refusal::bad_assertion("The client assertion is not a JWT signed with RS256 or PS256.");
        let header = jsonwebtoken::decode_header(assertion).map_err(malformed)?;
        if header.crit.is_some() {
            return Err(Refusal::bad_assertion("The client assertion has critical headers, which nobody here knows."));
        }
        if header.x5t.is_some() || header.x5t_s256.is_some() {
            self.check_certificate(endpoint, form, client, (assertion, &header)).await
        } else {
            self.check_federated_token(client, (assertion, &header)).await
        }
    }

    async fn check_certificate(
        &self,
        endpoint: &TokenEndpoint,
        form: &TokenForm,
        client: &ServicePrincipal,
        (assertion, header): (&str, &Header),
    ) -> Result<(), Refusal> {
        let key = self.certificate_key(client, header).await?;
        let claims: OwnClaims = verified(assertion, header, &key, &[Algorithm::RS256, Algorithm::PS256])?;
        let client_id = client.app_id.to_string();
        if !claims.iss.eq_ignore_ascii_case(&client_id) || !claims.sub.eq_ignore_ascii_case(&client_id) {
            return Err(Refusal::bad_assertion("The claims 'iss' and 'sub' must both be the client id."));
        }
        let spellings = endpoint.spellings(self.settings.tenant_id)?;
        if !claims.aud.is_one_of(&spellings) {
            return Err(Refusal::bad_assertion("The claim 'aud' must be exactly the URL of the token endpoint."));
        }
        let ends = claims.times.check(self.now())?;
        self.spend(form, client, &claims.jti, ends).await
    }

    /// The public key of the registered certificate that the header names by thumbprint.
    async fn certificate_key(&self, client: &ServicePrincipal, header: &Header) -> Result<DecodingKey, Refusal> {
        let named = |sha1: &str, sha256: &str| match (&header.x5t, &header.x5t_s256) {
            (_, Some(named)) => same_bytes(named, sha256),
            (Some(named), None) => same_bytes(named, sha1),
            (None, None) => false,
        };
        let credentials = self.directory.credentials(client.object_id).await?;
        let fitting = credentials.iter().find_map(|credential| match &credential.proof {
            CredentialProof::Certificate { sha1, sha256, rsa_public_key } if named(sha1, sha256) => {
                Some((credential, rsa_public_key))
            }
            _ => None,
        });
        let unknown =
            "No certificate of this application has the thumbprint of the assertion. Add the certificate first.";
        let (credential, public_key) = fitting.ok_or_else(|| Refusal::bad_assertion(unknown))?;
        if credential.is_expired(self.now()) {
            return Err(Refusal::bad_assertion("The certificate of the assertion has expired. Add a new one."));
        }
        let damaged = |_| IdentityError::Damaged { kind: "credential", key: credential.key_id.to_string() };
        Ok(DecodingKey::from_rsa_der(&STANDARD.decode(public_key).map_err(damaged)?))
    }

    /// An assertion works once for each resource.
    ///
    /// Once altogether would be stricter, but MSAL keeps an assertion for ten minutes and sends it again for the next
    /// resource its application needs (`create_regenerative_assertion`), as the azure-ai-ml SDK makes it do.
    async fn spend(
        &self,
        form: &TokenForm,
        client: &ServicePrincipal,
        jti: &str,
        ends: Timestamp,
    ) -> Result<(), Refusal> {
        let resource = self.wish(form)?.resource;
        let purpose = format!("{}\0{resource}\0{jti}", client.app_id);
        let key = fingerprint(SPENT, &purpose);
        let expect = vec![Expectation::RecordAbsent { kind: SPENT.into(), key: key.clone() }];
        let owner = Some(client.object_id.to_string());
        let change = Change::PutRecord { kind: SPENT.into(), key, owner, body: json!({}), expires: Some(ends) };
        match self.write("assertions/spend", client.object_id, expect, vec![change]).await {
            Err(IdentityError::Conflict) => {
                Err(Refusal::bad_assertion("The client assertion was used before. Make a new one, with a new 'jti'."))
            }
            other => Ok(other?),
        }
    }

    async fn check_federated_token(
        &self,
        client: &ServicePrincipal,
        (assertion, header): (&str, &Header),
    ) -> Result<(), Refusal> {
        let kid = header.kid.as_deref().ok_or_else(|| {
            Refusal::bad_assertion(
                "The client assertion must name its key: 'x5t' of a certificate, or 'kid' of an issuer.",
            )
        })?;
        // Only to find the key; nothing in it is believed before the signature is.
        let Named { iss: issuer } = jsonwebtoken::dangerous::insecure_decode_claims(assertion)
            .map_err(|_| Refusal::bad_assertion("The client assertion has no issuer."))?;
        let unreachable = |_| {
            Refusal::bad_assertion("The keys of the assertion's issuer cannot be had just now. Try again in a minute.")
        };
        let key = self.issuer_keys.key(&issuer, kid, self.now()).await.map_err(unreachable)?;
        let unknown = "The issuer of the client assertion is not trusted here, or has no such key.";
        let key = key.ok_or_else(|| Refusal::bad_assertion(unknown))?;
        let claims: FederatedClaims = verified(assertion, header, &key, &[Algorithm::RS256])?;
        claims.times.check(self.now())?;
        let credentials = self.directory.credentials(client.object_id).await?;
        let matches = credentials.iter().any(|credential| match &credential.proof {
            CredentialProof::Federated { issuer, subject, audience } => {
                *issuer == claims.iss && *subject == claims.sub && claims.aud.is_one_of(std::slice::from_ref(audience))
            }
            _ => false,
        });
        if matches { Ok(()) } else { Err(Refusal::no_federated_credential()) }
    }
}

/// What an application's own assertion must say.
#[derive(Deserialize)]
struct OwnClaims {
    iss: String,
    sub: String,
    aud: Audience,
    jti: String,
    #[serde(flatten)]
    times: Times,
}

/// What an outside issuer's token must say.
#[derive(Deserialize)]
struct FederatedClaims {
    iss: String,
    sub: String,
    aud: Audience,
    #[serde(flatten)]
    times: Times,
}

#[derive(Deserialize)]
struct Named {
    iss: String,
}

/// One audience or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn is_one_of(&self, accepted: &[String]) -> bool {
        match self {
            Self::One(audience) => accepted.contains(audience),
            Self::Several(audiences) => audiences.iter().any(|audience| accepted.contains(audience)),
        }
    }
}

/// Seconds since the epoch, with fractions: MSAL for Python writes floats.
#[derive(Deserialize)]
struct Times {
    exp: f64,
    iat: Option<f64>,
    nbf: Option<f64>,
}

impl Times {
    /// Answers the end, after which a replay is refused for its age.
    fn check(&self, now: Timestamp) -> Result<Timestamp, Refusal> {
        let leeway = LEEWAY.as_secs_f64();
        // Good to the millisecond until the year 287396.
        #[allow(clippy::cast_precision_loss)]
        let seconds = now.as_millisecond() as f64 / 1000.0;
        let begins = self.nbf.unwrap_or(seconds).max(self.iat.unwrap_or(seconds));
        let in_time = self.exp + leeway > seconds && begins - leeway <= seconds;
        let longest = self.exp - seconds <= LONGEST_LIFE.as_secs_f64();
        // Written so that a NaN fails.
        if !(in_time && longest) {
            return Err(Refusal::assertion_out_of_time());
        }
        let left = SignedDuration::try_from_secs_f64(self.exp - seconds + 2.0 * leeway).unwrap_or(LONGEST_LIFE);
        Ok(now.checked_add(left).unwrap_or(Timestamp::MAX))
    }
}

/// The claims of a token, once its signature has held. Issuer, audience and times are the caller's to check.
fn verified<T: DeserializeOwned>(
    token: &str,
    header: &Header,
    key: &DecodingKey,
    algorithms: &[Algorithm],
) -> Result<T, Refusal> {
    if !algorithms.contains(&header.alg) {
        return Err(Refusal::bad_assertion(
            "The client assertion must be signed with RS256 (or PS256 with a certificate).",
        ));
    }
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let refused = |error: jsonwebtoken::errors::Error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => {
            Refusal::bad_assertion("The signature of the client assertion is not valid.")
        }
        _ => Refusal::bad_assertion("The client assertion lacks a claim, or one of them has the wrong form."),
    };
    jsonwebtoken::decode::<T>(token, key, &validation).map(|token| token.claims).map_err(refused)
}

/// Thumbprints are compared as bytes: some clients pad them.
fn same_bytes(named: &str, registered: &str) -> bool {
    let decoded =
        |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().filter(|bytes| !bytes.is_empty());
    decoded(named).is_some_and(|named| Some(named) == decoded(registered))
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SPENT: &str = "spent-assertion";
/// How far ahead an assertion may end: spent ones are remembered until then.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(24);
