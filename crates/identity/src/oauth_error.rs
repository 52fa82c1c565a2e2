//! Refusals of the token service, in the shape the clients know: RFC 6749 section 5.2 with the AADSTS numbers that `az`
//! and MSAL turn into their own messages.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::IdentityError;

/// An OAuth error answer. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error_description}")]
pub struct OAuthError {
    /// The HTTP status.
    pub status: u16,
    /// The registered error code, like `invalid_client`.
    pub error: &'static str,
    /// `AADSTS...:` and a sentence that says what to do, then the ids below.
    pub error_description: String,
    /// The AADSTS number.
    pub error_codes: Vec<u32>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Names this answer.
    pub trace_id: Uuid,
    /// Names the request, as the client called it or as we do.
    pub correlation_id: Uuid,
    /// Seconds to wait before the next attempt, when that is what is missing.
    pub retry_after: Option<u16>,
}

impl OAuthError {
    /// The JSON body.
    pub fn to_body(&self) -> Value {
        json!({
            "error": self.error,
            "error_description": self.error_description,
            "error_codes": self.error_codes,
            "timestamp": written(self.timestamp),
            "trace_id": self.trace_id,
            "correlation_id": self.correlation_id,
        })
    }
}

/// A refusal on its way out: what was wrong, before it is stamped with time and ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    error: &'static str,
    number: u32,
    sentence: String,
    retry_after: Option<u16>,
}

impl Refusal {
    pub(crate) fn stamped(self, timestamp: Timestamp, correlation_id: Option<Uuid>) -> OAuthError {
        let trace_id = Uuid::new_v4();
        let correlation_id = correlation_id.unwrap_or_else(Uuid::new_v4);
        let Self { status, error, number, sentence, retry_after } = self;
        let error_description = format!(
            "AADSTS{number}: {sentence} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {}",
            written(timestamp)
        );
        let error_codes = vec![number];
        OAuthError { status, error, error_description, error_codes, timestamp, trace_id, correlation_id, retry_after }
    }

    pub(crate) fn missing_parameter(name: &str) -> Self {
        Self::new(400, "invalid_request", 900_144, format!("The request must contain the parameter '{name}'."))
    }

    pub(crate) fn malformed(sentence: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", 90_014, sentence)
    }

    pub(crate) fn unsupported_grant() -> Self {
        let sentence = "The grant_type is not one this service gives tokens for; see grant_types_supported in the \
                        OpenID configuration.";
        Self::new(400, "unsupported_grant_type", 70_003, sentence)
    }

    pub(crate) fn unknown_tenant() -> Self {
        let sentence = "There is no such tenant here. Use the tenant id of this Bastide, or 'organizations'.";
        Self::new(400, "invalid_request", 90_002, sentence)
    }

    pub(crate) fn unknown_application(status: u16) -> Self {
        let error = if status == 401 { "invalid_client" } else { "unauthorized_client" };
        let sentence = "No enabled application with this client_id is in the directory. Check the client id and the \
                        tenant, or create the service principal.";
        Self::new(status, error, 700_016, sentence)
    }

    pub(crate) fn wrong_client_secret() -> Self {
        let sentence = "Invalid client secret provided. Send the secret value itself, not its key id, and check that it \
                        belongs to this application.";
        Self::new(401, "invalid_client", 7_000_215, sentence)
    }

    pub(crate) fn expired_client_secret() -> Self {
        let sentence = "The client secret has expired. Add a new one to the service principal.";
        Self::new(401, "invalid_client", 7_000_222, sentence)
    }

    pub(crate) fn missing_client_credential() -> Self {
        let sentence = "The request must contain 'client_secret' or 'client_assertion': this application has to prove \
                        who it is.";
        Self::new(401, "invalid_client", 7_000_218, sentence)
    }

    pub(crate) fn public_client_with_secret() -> Self {
        let sentence = "This client is public and must not present 'client_secret' or 'client_assertion'.";
        Self::new(401, "invalid_client", 700_025, sentence)
    }

    pub(crate) fn bad_assertion(sentence: impl Into<String>) -> Self {
        Self::new(401, "invalid_client", 700_027, sentence)
    }

    pub(crate) fn assertion_out_of_time() -> Self {
        let sentence = "The client assertion is not within its valid time range. Check the clock of the client.";
        Self::new(401, "invalid_client", 700_024, sentence)
    }

    pub(crate) fn no_federated_credential() -> Self {
        let sentence = "No federated credential of this application matches the issuer, subject and audience of the \
                        assertion. They are compared exactly.";
        Self::new(401, "invalid_client", 700_213, sentence)
    }

    pub(crate) fn unknown_resource() -> Self {
        let sentence = "The requested resource is not one this service gives tokens for. Ask for a scope \
                        '<resource>/.default' with a resource from the cloud's metadata document.";
        Self::new(400, "invalid_resource", 500_011, sentence)
    }

    pub(crate) fn mixed_resources() -> Self {
        let sentence = "The scopes belong to more than one resource. Ask for one resource at a time.";
        Self::new(400, "invalid_scope", 28_000, sentence)
    }

    pub(crate) fn invalid_scope() -> Self {
        let sentence = "A service principal asks for exactly one scope of the form '<resource>/.default'.";
        Self::new(400, "invalid_scope", 1_002_012, sentence)
    }

    /// Wrong name or wrong password: the answer is the same, so that nobody learns which names exist.
    pub(crate) fn wrong_password() -> Self {
        let sentence = "The user name or the password is wrong.";
        Self::new(400, "invalid_grant", 50_126, sentence)
    }

    pub(crate) fn too_many_failures(seconds: u16) -> Self {
        let sentence = format!("Too many failed sign-ins. Wait {seconds} seconds and try again.");
        Self { retry_after: Some(seconds), ..Self::new(429, "invalid_grant", 50_053, sentence) }
    }

    pub(crate) fn too_many_device_codes(seconds: u16) -> Self {
        let sentence =
            format!("Too many sign-ins with a device code were started. Wait {seconds} seconds and try again.");
        Self { retry_after: Some(seconds), ..Self::new(429, "temporarily_unavailable", 90_033, sentence) }
    }

    pub(crate) fn busy() -> Self {
        let sentence = "Too many sign-ins at once. Try again in a moment.";
        Self { retry_after: Some(1), ..Self::new(429, "temporarily_unavailable", 90_033, sentence) }
    }

    pub(crate) fn password_grant_is_off() -> Self {
        let sentence = "Sign-in with a password in the token request is switched off here. Use the browser or the \
                        device code.";
        Self::new(400, "unauthorized_client", 7_000_012, sentence)
    }

    pub(crate) fn expired_refresh_token() -> Self {
        Self::new(400, "invalid_grant", 70_008, "The refresh token has expired. Sign in again.")
    }

    pub(crate) fn revoked_grant() -> Self {
        let sentence = "The refresh token was revoked or used before, so that the sign-in it came from has ended. Sign \
                        in again.";
        Self::new(400, "invalid_grant", 50_173, sentence)
    }

    pub(crate) fn invalid_grant() -> Self {
        let sentence = "The code or token is not valid, was used before, or belongs to another client. Sign in again.";
        Self::new(400, "invalid_grant", 70_000, sentence)
    }

    pub(crate) fn expired_code() -> Self {
        Self::new(400, "invalid_grant", 70_008, "The authorization code has expired. Sign in again.")
    }

    pub(crate) fn wrong_code_verifier() -> Self {
        let sentence = "The code_verifier does not match the code_challenge of the authorization request.";
        Self::new(400, "invalid_grant", 501_481, sentence)
    }

    pub(crate) fn wrong_redirect_uri() -> Self {
        let sentence = "The redirect_uri is not registered for this application. Public clients may use \
                        http://localhost or http://127.0.0.1 with any port.";
        Self::new(400, "invalid_request", 50_011, sentence)
    }

    pub(crate) fn pkce_needed() -> Self {
        let sentence = "The request must contain a code_challenge with code_challenge_method=S256.";
        Self::new(400, "invalid_request", 9_002_325, sentence)
    }

    pub(crate) fn unsupported_response_type() -> Self {
        let sentence = "The response_type must be 'code' and the response_mode 'form_post' or 'query'.";
        Self::new(400, "unsupported_response_type", 700_051, sentence)
    }

    pub(crate) fn account_disabled() -> Self {
        let sentence = "The account was disabled or deleted, or its sessions were revoked. Ask an administrator.";
        Self::new(400, "invalid_grant", 50_057, sentence)
    }

    pub(crate) fn authorization_pending() -> Self {
        let sentence = "The sign-in is still pending: nobody has entered the code yet.";
        Self::new(400, "authorization_pending", 70_016, sentence)
    }

    pub(crate) fn slow_down() -> Self {
        Self::new(400, "slow_down", 70_017, "The client polls too fast. Add five seconds to the interval.")
    }

    pub(crate) fn expired_device_code() -> Self {
        Self::new(400, "expired_token", 70_020, "The device code has expired. Start the sign-in again.")
    }

    pub(crate) fn declined() -> Self {
        Self::new(400, "authorization_declined", 70_018, "The sign-in was declined by the person at the device page.")
    }

    pub(crate) fn unknown_managed_identity() -> Self {
        let sentence = "There is no such identity at this endpoint. Check client_id, object_id or mi_res_id, and that \
                        the identity is assigned.";
        Self::new(400, "invalid_request", 700_016, sentence)
    }

    pub(crate) fn wrong_managed_identity_header() -> Self {
        let sentence = "The identity header is missing or wrong. Send IDENTITY_HEADER as X-IDENTITY-HEADER, or \
                        MSI_SECRET as secret.";
        Self::new(401, "invalid_client", 7_000_215, sentence)
    }

    fn new(status: u16, error: &'static str, number: u32, sentence: impl Into<String>) -> Self {
        Self { status, error, number, sentence: sentence.into(), retry_after: None }
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        if matches!(error, IdentityError::Busy) {
            return Self::busy();
        }
        tracing::error!(%error, "the token service failed");
        let sentence = "The token service cannot work just now. Try again in a moment; the server's log says more.";
        Self { retry_after: Some(1), ..Self::new(503, "temporarily_unavailable", 90_033, sentence) }
    }
}

impl From<bastide_store::StoreError> for Refusal {
    fn from(error: bastide_store::StoreError) -> Self {
        IdentityError::from(error).into()
    }
}

/// The way Entra writes a time: `2026-11-22 05:31:45Z`.
fn written(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
