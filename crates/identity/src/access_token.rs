//! Access tokens: what they say, and what is demanded of one before anything in it is believed
//! (`reference/security.md` section 2.4).

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audience::Audiences;
use crate::error::IdentityError;
use crate::signing_keys::SigningKeys;

/// The claims of an access token. All but the optional ones must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) tid: Uuid,
    pub(crate) oid: Uuid,
    pub(crate) sub: String,
    pub(crate) appid: Uuid,
    pub(crate) azp: Uuid,
    /// `user` or `app`.
    pub(crate) idtyp: String,
    pub(crate) ver: String,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) jti: Uuid,
    pub(crate) uti: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scp: Option<String>,
    /// The resource a managed identity belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) xms_mirid: Option<String>,
}

/// What an access token must be to be looked at further.
pub(crate) struct Demands<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) tenant_id: Uuid,
    pub(crate) audiences: &'a Audiences,
    pub(crate) now: Timestamp,
}

impl AccessClaims {
    /// Believes a token only after every rule has held.
    pub(crate) async fn verify(
        token: &str,
        keys: &SigningKeys,
        demands: &Demands<'_>,
    ) -> Result<Self, AuthenticationError> {
        if token.len() > LONGEST_TOKEN {
            return Err(AuthenticationError::TooLong);
        }
        // Fails for `none` and everything else that is not a signature algorithm.
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthenticationError::Malformed)?;
        if header.alg != Algorithm::RS256 {
            return Err(AuthenticationError::WrongAlgorithm);
        }
        if header.typ.as_deref() != Some(TOKEN_TYPE) || header.crit.is_some() {
            return Err(AuthenticationError::WrongType);
        }
        // Only the key id counts: jku, x5u and jwk would let the sender choose the key.
        let kid = header.kid.as_deref().ok_or(AuthenticationError::UnknownKey)?;
        let key = keys.verifying(kid).await?.ok_or(AuthenticationError::UnknownKey)?;

        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "nbf"]);
        validation.set_issuer(&[demands.issuer]);
        validation.set_audience(demands.audiences.spellings());
        // The times are checked below, against the clock of this service and not of that library.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Self>(token, &key, &validation)?.claims;
        claims.check_tenant_and_times(demands)?;
        Ok(claims)
    }

    fn check_tenant_and_times(&self, demands: &Demands<'_>) -> Result<(), AuthenticationError> {
        if self.tid != demands.tenant_id {
            return Err(AuthenticationError::WrongTenant);
        }
        let (now, leeway) = (demands.now.as_second(), LEEWAY.as_secs());
        if now >= self.exp.saturating_add(leeway) {
            return Err(AuthenticationError::Expired);
        }
        if now.saturating_add(leeway) < self.nbf.max(self.iat) {
            return Err(AuthenticationError::NotYetValid);
        }
        if self.exp.saturating_sub(self.iat) > LIFETIME.as_secs() {
            return Err(AuthenticationError::Malformed);
        }
        Ok(())
    }

    /// When it was issued.
    pub(crate) fn issued(&self) -> Timestamp {
        Timestamp::from_second(self.iat).unwrap_or(Timestamp::MIN)
    }
}

/// Why a bearer token was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Longer than 16 KiB.
    #[error("The access token is longer than 16 KiB. Ask for a new one.")]
    TooLong,
    /// Not a token of the expected form.
    #[error(
        "The access token is malformed. Send 'Authorization: Bearer' and a token from this Bastide's token service."
    )]
    Malformed,
    /// Signed in another way than this service signs.
    #[error("The access token is not signed with RS256. Get one from this Bastide's token service.")]
    WrongAlgorithm,
    /// Something else than an access token, such as an id token.
    #[error("The token is not an access token. Send the access_token of the answer, not the id_token.")]
    WrongType,
    /// No such key, or it is retired.
    #[error("The access token is signed with a key this Bastide does not know. Sign in again.")]
    UnknownKey,
    /// The signature does not fit.
    #[error("The signature of the access token is not valid. Sign in again.")]
    BadSignature,
    /// Issued by somebody else.
    #[error("The access token is from another issuer. Sign in to this Bastide.")]
    WrongIssuer,
    /// For another tenant.
    #[error("The access token is for another tenant. Sign in to the tenant of this Bastide.")]
    WrongTenant,
    /// For another resource.
    #[error("The access token is for another audience. Ask for a token for the resource that is called.")]
    WrongAudience,
    /// Past its end.
    #[error("The access token has expired. Get a new one.")]
    Expired,
    /// Before its beginning.
    #[error("The access token is not valid yet. Check the clocks.")]
    NotYetValid,
    /// Its principal is gone or disabled, or its sessions were revoked.
    #[error("The principal of the access token is unknown or disabled, or the token was revoked. Sign in again.")]
    Revoked,
    /// The answer could not be found out; nobody is let in meanwhile.
    #[error("The access token cannot be checked just now. Try again in a moment.")]
    Unavailable(#[source] IdentityError),
}

impl AuthenticationError {
    /// The ARM error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expired => "ExpiredAuthenticationToken",
            Self::WrongTenant => "InvalidAuthenticationTokenTenant",
            Self::WrongAudience => "InvalidAuthenticationTokenAudience",
            Self::Unavailable(_) => "ServiceUnavailable",
            _ => "InvalidAuthenticationToken",
        }
    }

    /// The HTTP status: 401, or 503 when it is not the token's fault.
    pub fn status(&self) -> u16 {
        if matches!(self, Self::Unavailable(_)) { 503 } else { 401 }
    }
}

impl From<IdentityError> for AuthenticationError {
    fn from(error: IdentityError) -> Self {
        tracing::error!(%error, "an access token could not be checked");
        Self::Unavailable(error)
    }
}

impl From<jsonwebtoken::errors::Error> for AuthenticationError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature => Self::BadSignature,
            ErrorKind::InvalidIssuer => Self::WrongIssuer,
            ErrorKind::InvalidAudience => Self::WrongAudience,
            ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Self::WrongAudience,
            ErrorKind::InvalidAlgorithm => Self::WrongAlgorithm,
            _ => Self::Malformed,
        }
    }
}

/// The type in the header that sets access tokens apart from every other token of this service (RFC 9068).
pub(crate) const TOKEN_TYPE: &str = "at+jwt";
/// How long an access token lives.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How far clocks may be apart.
pub(crate) const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
const LONGEST_TOKEN: usize = 16 * 1024;
