//! Answers of the token service: JSON that nobody may keep, refusals included.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use bastide_identity::OAuthError;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::fields::FieldsError;

/// A JSON answer with a token or a code in it (RFC 6749, section 5.1).
pub(crate) fn private(body: Value) -> Response {
    (NOT_KEPT, Json(body)).into_response()
}

/// A JSON document that is the same for everybody: keys, configuration.
pub(super) fn public(body: Value) -> Response {
    // Short, because a new signing key must be found before the first token it signs.
    ([(CACHE_CONTROL, "public, max-age=300"), (X_CONTENT_TYPE_OPTIONS, "nosniff")], Json(body)).into_response()
}

/// A refusal as the token service words it.
pub(crate) fn refused(error: &OAuthError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = (status, NOT_KEPT, Json(error.to_body())).into_response();
    // Clients repeat whatever carries Retry-After, so only refusals that pass by themselves do.
    if let Some(seconds) = error.retry_after.filter(|_| error.status == 429 || error.status >= 500) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What is wrong with a request before the token service gets to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: u16,
    error: &'static str,
    number: u32,
    sentence: String,
}

impl Refusal {
    /// A tenant that is not ours.
    pub(super) fn unknown_tenant(tenant: &str) -> Self {
        let shown: String = tenant.chars().filter(|character| !character.is_control()).take(64).collect();
        let sentence = format!(
            "Tenant '{shown}' not found. This service knows one tenant: use its id, as bootstrap.json and 'bastide env' name it, or 'organizations'."
        );
        Self { status: 400, error: "invalid_tenant", number: 90_002, sentence }
    }

    /// A request that breaks a rule of the protocol.
    pub(super) fn invalid_request(sentence: impl Into<String>) -> Self {
        Self { status: 400, error: "invalid_request", number: 90_014, sentence: sentence.into() }
    }

    /// The sentence alone, for pages.
    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The refusal in the token service's shape.
    pub(super) fn stamped(self, timestamp: Timestamp) -> OAuthError {
        let (trace_id, correlation_id) = (Uuid::new_v4(), Uuid::new_v4());
        let written = timestamp.strftime("%Y-%m-%d %H:%M:%SZ");
        OAuthError {
            status: self.status,
            error: self.error,
            error_description: format!(
                "AADSTS{}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {written}",
                self.number, self.sentence
            ),
            error_codes: vec![self.number],
            timestamp,
            trace_id,
            correlation_id,
            retry_after: None,
        }
    }
}

impl From<FieldsError> for Refusal {
    fn from(error: FieldsError) -> Self {
        let status = match error {
            FieldsError::TooLarge => 413,
            FieldsError::TooSlow => 408,
            _ => 400,
        };
        Self { status, ..Self::invalid_request(error.to_string()) }
    }
}

const NOT_KEPT: [(HeaderName, &str); 3] =
    [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
