//! Refusals in the directory's own envelope: `{"error":{"code","message"}}`.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bastide_identity::IdentityError;
use serde_json::json;

use super::filter::FilterError;
use crate::body::BodyError;

/// Why the directory did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GraphError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl GraphError {
    /// 401: no token, or none that is good here.
    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    /// 403. az recognises "insufficient privileges" and explains it.
    pub(super) fn forbidden(action: &str) -> Self {
        let message = format!(
            "Insufficient privileges to complete the operation. It needs the action '{action}'; ask an owner to assign a role that has it."
        );
        Self::new(StatusCode::FORBIDDEN, "Authorization_RequestDenied", message)
    }

    /// 403 for an object that has more rights than the caller may lend out.
    pub(super) fn forbidden_over(action: &str) -> Self {
        let message = format!(
            "Insufficient privileges to complete the operation. The object, or a group it is in, has roles, which '{action}' would lend or take away. That takes the right to assign those roles, without a condition: at the first subscription when they lie there, else at the scope '/'. Ask an owner there."
        );
        Self::new(StatusCode::FORBIDDEN, "Authorization_RequestDenied", message)
    }

    /// 404 for an object that is not in the directory.
    pub(super) fn not_found(id: &str) -> Self {
        let message =
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present.");
        Self::new(StatusCode::NOT_FOUND, "Request_ResourceNotFound", message)
    }

    /// 404 for an address that means nothing.
    pub(super) fn no_such_segment() -> Self {
        let message = "There is no such collection or function. Bastide serves the part of the directory that az, Terraform and the SDKs use.";
        Self::new(StatusCode::NOT_FOUND, "BadRequest", message)
    }

    /// 400.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

impl From<BodyError> for GraphError {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
            BodyError::Broken => (StatusCode::BAD_REQUEST, "Request_BadRequest"),
        };
        Self::new(status, code, format!("No change was made: {error}."))
    }
}

impl From<FilterError> for GraphError {
    fn from(error: FilterError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_UnsupportedQuery", error.to_string())
    }
}

impl From<IdentityError> for GraphError {
    fn from(error: IdentityError) -> Self {
        match &error {
            IdentityError::Taken(_) => {
                Self::bad_request(format!("Another object with the same value exists: {error}."))
            }
            IdentityError::Absent { id, .. } => Self::not_found(&id.to_string()),
            IdentityError::Invalid { .. } => Self::bad_request(error.to_string()),
            IdentityError::Conflict => {
                Self::new(StatusCode::CONFLICT, "Request_MultipleObjectsWithSameKeyValue", error.to_string())
            }
            IdentityError::Unwarranted => Self::new(
                StatusCode::FORBIDDEN,
                "Authorization_RequestDenied",
                format!("Insufficient privileges to complete the operation: {error}. Ask an owner to give it back."),
            ),
            IdentityError::Busy => Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", error.to_string()),
            _ => {
                tracing::error!(%error, "the directory failed");
                let message = "The directory could not be read or written. Try again; the server's log says why.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceNotAvailable", message)
            }
        }
    }
}

impl IntoResponse for GraphError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
