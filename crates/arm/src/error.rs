//! The one shape of every refusal: `{"error": {"code", "message", "target", "details", "additionalInfo"}}`.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::path::is_invisible;

mod catalogue;

/// An error as Azure Resource Manager sends it: an HTTP status, a code that programs compare, and a sentence that tells
/// a person what was wrong and what to do.
///
/// The contents are boxed so that a `Result` on the straight line of a request stays one word wide; fields are read
/// through [`Deref`].
///
/// It serialises whole, with its status, so that a failed operation can be stored; the wire's form is
/// [`to_body`](Self::to_body).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArmError(Box<ErrorBody>);

/// What an [`ArmError`] says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// HTTP status of the answer; the statuses of nested details are not sent.
    pub status: u16,
    /// Code for programs, `PascalCase`.
    pub code: Cow<'static, str>,
    /// One or two sentences for a person. Never holds a value from a body, which might be a secret.
    pub message: String,
    /// What the error is about: the path of a property, or the name of a parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Causes, innermost last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ArmError>,
    /// Typed extras, sent as `additionalInfo: [{type, info}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_info: Vec<(String, Value)>,
    /// Seconds for the `Retry-After` header. Set it only on 429 and 503: clients repeat a request on any 4xx that
    /// carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl ArmError {
    /// An error with a status, a code and a sentence.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(ErrorBody {
            status,
            code: code.into(),
            message: cut(message.into()),
            target: None,
            details: Vec::new(),
            additional_info: Vec::new(),
            retry_after: None,
        }))
    }

    /// Names the property or parameter the error is about.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(cut(target.into()));
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_detail(mut self, detail: ArmError) -> Self {
        self.details.push(detail);
        self
    }

    /// Adds an entry to `additionalInfo`.
    #[must_use]
    pub fn with_info(mut self, kind: impl Into<String>, info: Value) -> Self {
        self.additional_info.push((kind.into(), info));
        self
    }

    /// The JSON document to send: `{"error": {...}}`.
    pub fn to_body(&self) -> Value {
        json!({ "error": self.to_error_value() })
    }

    /// The inner object alone, as a status document or a `details` array holds it.
    pub fn to_error_value(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".into(), self.code.clone().into());
        error.insert("message".into(), self.message.clone().into());
        if let Some(target) = &self.target {
            error.insert("target".into(), target.clone().into());
        }
        if !self.details.is_empty() {
            error.insert("details".into(), self.details.iter().map(Self::to_error_value).collect());
        }
        if !self.additional_info.is_empty() {
            let info = self.additional_info.iter().map(|(kind, info)| json!({ "type": kind, "info": info })).collect();
            error.insert("additionalInfo".into(), info);
        }
        Value::Object(error)
    }
}

impl Deref for ArmError {
    type Target = ErrorBody;

    fn deref(&self) -> &ErrorBody {
        &self.0
    }
}

impl DerefMut for ArmError {
    fn deref_mut(&mut self) -> &mut ErrorBody {
        &mut self.0
    }
}

impl fmt::Display for ArmError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({}) {}", self.code, self.message)
    }
}

impl std::error::Error for ArmError {}

/// A stranger's text made fit for a message: control and invisible characters escaped, cut after 100 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == MAX_SHOWN {
            shown.push('…');
            break;
        }
        if c.is_control() || is_invisible(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// A message that quotes what was sent is as long as what was sent; nobody reads that, and it is kept with the record of
/// the refusal.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

const MAX_SHOWN: usize = 100;

/// Bytes of a message or a target.
const MAX_TEXT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ResourceId;

    #[test]
    fn a_plain_error_has_code_and_message_only() {
        assert_eq!(
            ArmError::missing_api_version().to_body(),
            json!({"error": {
                "code": "MissingApiVersionParameter",
                "message": "The api-version query parameter (?api-version=) is required for all requests."
            }})
        );
    }

    #[test]
    fn target_details_and_info_nest() {
        let error = ArmError::validation("The workspace is not valid.")
            .with_target("properties")
            .with_detail(ArmError::location_required())
            .with_info("ComponentName", json!({"value": "hub"}));
        assert_eq!(
            error.to_body()["error"],
            json!({
                "code": "ValidationError",
                "message": "The workspace is not valid.",
                "target": "properties",
                "details": [{
                    "code": "LocationRequired",
                    "message": "The location property is required for this definition; add \"location\" to the request body.",
                    "target": "location"
                }],
                "additionalInfo": [{"type": "ComponentName", "info": {"value": "hub"}}]
            })
        );
    }

    #[test]
    fn a_stored_error_comes_back_whole() {
        let error = ArmError::too_many_requests(3)
            .with_target("x")
            .with_detail(ArmError::conflict("Busy."))
            .with_info("Location", json!("local"));
        let stored = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<ArmError>(&stored).unwrap(), error);
    }

    #[test]
    fn only_waiting_is_asked_for_with_retry_after() {
        assert_eq!(ArmError::too_many_requests(7).retry_after, Some(7));
        assert_eq!(ArmError::service_unavailable("The database is starting.", 2).retry_after, Some(2));
        assert_eq!(ArmError::conflict("Busy.").retry_after, None);
    }

    #[test]
    fn not_found_is_told_by_the_level_that_is_missing() {
        let code = |id: &str| ArmError::resource_not_found(&ResourceId::parse(id).unwrap()).code.to_string();
        let subscription = "/subscriptions/00000000-0000-0000-0000-000000000001";
        assert_eq!(code(subscription), "SubscriptionNotFound");
        assert_eq!(code(&format!("{subscription}/resourceGroups/rg")), "ResourceGroupNotFound");
        assert_eq!(code(&format!("{subscription}/providers/Microsoft.X/things/t")), "ResourceNotFound");
    }

    #[test]
    fn not_found_names_type_name_and_group() {
        let id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.X/things/t1/parts/p";
        let error = ArmError::resource_not_found(&ResourceId::parse(id).unwrap());
        assert_eq!(error.status, 404);
        assert_eq!(
            error.message,
            "The Resource 'Microsoft.X/things/t1/parts/p' under resource group 'rg' was not found."
        );
    }

    #[test]
    fn a_message_that_quotes_megabytes_is_cut_between_letters() {
        let error = ArmError::validation("ä".repeat(100_000)).with_target("x".repeat(100_000));
        assert!(error.message.len() <= MAX_TEXT + '…'.len_utf8() && error.message.ends_with("ä…"), "{}", error.message);
        assert_eq!(error.target.as_deref().map(str::len), Some(MAX_TEXT + '…'.len_utf8()));
        let whole = "x".repeat(MAX_TEXT);
        assert_eq!(ArmError::validation(whole.clone()).message, whole);
    }

    #[test]
    fn a_strangers_text_is_escaped_and_cut() {
        assert_eq!(shown("a\nb\u{202e}"), "a\\u{a}b\\u{202e}");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 101);
    }
}
