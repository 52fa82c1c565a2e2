//! A request after the front door has read it: who asks for what, with which body.

use bastide_arm::api_version::ApiVersion;
use bastide_arm::error::ArmError;
use bastide_arm::json::{self, Limits};
use bastide_arm::resource_type::Parity;
use http::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use crate::context::Context;
use crate::deployment::Nested;
use crate::registry::Registered;
use crate::routes::Matched;

/// Everything an operation may look at, beside its pass.
pub struct Request<'a> {
    /// Ids, origin, query.
    pub context: &'a Context,
    /// Route, target and the words bound in the path.
    pub matched: &'a Matched,
    /// The type in question, for the generic routes.
    pub registered: Option<&'a Registered>,
    /// The version the client speaks.
    pub api_version: &'a ApiVersion,
    /// Request headers, for the preconditions.
    pub headers: &'a HeaderMap,
    /// The body; `None` when there was none.
    pub body: Option<&'a Value>,
    /// The tenant.
    pub tenant_id: Uuid,
    /// Whether to refuse what the cloud refuses.
    pub parity: Parity,
    /// The plan of a deployment that is a step of another one: it comes in place of a body.
    pub nested: Option<&'a Nested>,
    /// Whether this is only to see what would be written.
    pub is_rehearsal: bool,
}

impl Request<'_> {
    /// The body, which must be an object.
    pub fn object(&self) -> Result<&Value, ArmError> {
        match self.body {
            Some(body @ Value::Object(_)) => Ok(body),
            Some(other) => {
                let kind = json::kind_of(other);
                Err(ArmError::invalid_request_content(format!("The body is {kind}; a JSON object is expected.")))
            }
            None => Err(ArmError::invalid_request_content("The body is empty; a JSON object is expected.")),
        }
    }

    /// The registered type; every generic route has one.
    pub fn registered(&self) -> Result<&Registered, ArmError> {
        self.registered.ok_or_else(|| ArmError::internal(&self.context.request_id.to_string()))
    }
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// JSON.
    Strict,
    /// What az and people write as templates: comments, bare names, strings over several lines.
    Relaxed,
}

/// Reads a body that was collected, of at most so many bytes. An empty one is no body.
pub fn read_body(
    headers: &HeaderMap,
    bytes: &[u8],
    dialect: Dialect,
    max_bytes: usize,
) -> Result<Option<Value>, ArmError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Some(kind) = headers.get(http::header::CONTENT_TYPE) {
        let text = kind.to_str().unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !(essence.is_empty() || essence.ends_with("json")) {
            return Err(ArmError::unsupported_media_type(text));
        }
    }
    match dialect {
        Dialect::Strict => json::parse(bytes, &Limits { max_bytes, ..Limits::default() }).map(Some),
        Dialect::Relaxed => bastide_template::relaxed::parse(bytes, &bastide_template::Limits::default())
            .map(Some)
            .map_err(|error| ArmError::invalid_request_content(error.message)),
    }
}
