//! Fields of a form or a query: bounded, strict UTF-8, each name once.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;

use crate::body::{self, BodyError, Bounds};

/// The fields a client sent. An empty field counts as absent (RFC 6749, section 3.1).
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

/// Why a form or a query cannot be used. The sentences go to the client; none quotes a value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldsError {
    #[error("The request must be a form: send it with Content-Type application/x-www-form-urlencoded.")]
    NotAForm,
    #[error("The form is larger than {MAX_FORM} bytes.")]
    TooLarge,
    #[error("The request body could not be read to its end. Send it again.")]
    Unreadable,
    #[error("The request body did not arrive in time. Send it again, in one go.")]
    TooSlow,
    #[error("The request is not valid UTF-8, or percent-encoded wrongly.")]
    NotText,
    #[error("The field '{0}' is there more than once. Send it once.")]
    Repeated(String),
}

impl Fields {
    /// Reads the body of a form post.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, FieldsError> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(FieldsError::NotAForm);
        }
        Self::parse(&body::collect(body, &FORM).await?)
    }

    /// Reads `name=value&name=value`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, FieldsError> {
        let mut fields = BTreeMap::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at_checked(end).unwrap_or((pair, &[]));
            let name = decode(name)?;
            if fields.insert(name.clone(), decode(value.strip_prefix(b"=").unwrap_or(value))?).is_some() {
                return Err(FieldsError::Repeated(name.chars().take(40).collect()));
            }
        }
        Ok(Self(fields))
    }

    /// The value of a field, unless it is absent or empty.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The fields, for the token service.
    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }
}

impl fmt::Debug for Fields {
    /// Names only: values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl From<BodyError> for FieldsError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::TooSlow => Self::TooSlow,
            BodyError::Broken => Self::Unreadable,
        }
    }
}

fn decode(text: &[u8]) -> Result<String, FieldsError> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let mut rest = spaced.as_slice();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = rest.get(at + 3..).unwrap_or_default(),
            _ => return Err(FieldsError::NotText),
        }
    }
    let text = percent_decode(&spaced).decode_utf8().map_err(|_| FieldsError::NotText)?;
    if text.contains('\0') { Err(FieldsError::NotText) } else { Ok(text.into_owned()) }
}

/// A certificate assertion with a chain is about 8 KiB, a federated token up to 16; nothing needs more.
const MAX_FORM: usize = 64 * 1024;
/// As much as anybody may send anywhere else is dropped before the sender is cut off.
const FORM: Bounds = Bounds { limit: MAX_FORM, drain: 8 * 1024 * 1024, time: body::TIME };

#[cfg(test)]
mod tests {
    use super::*;

    fn form_headers() -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8".parse().unwrap())])
    }

    #[test]
    fn reads_what_browsers_and_libraries_send() {
        let fields = Fields::parse(b"scope=https%3A%2F%2Fhost%2F.default+openid&state=a%2Bb&empty=&flag").unwrap();
        assert_eq!(fields.value("scope"), Some("https://host/.default openid"));
        assert_eq!(fields.value("state"), Some("a+b"));
        assert_eq!(fields.value("empty"), None);
        assert_eq!(fields.value("flag"), None);
    }

    #[test]
    fn refuses_a_field_sent_twice() {
        let twice = Fields::parse(b"client_id=a&client_id=b");
        assert_eq!(twice, Err(FieldsError::Repeated("client_id".to_owned())));
    }

    #[test]
    fn refuses_what_is_not_text() {
        for text in [&b"a=%ff"[..], b"a=\xff", b"a=%zz", b"a=%4", b"a=%", b"%00=b"] {
            assert_eq!(Fields::parse(text), Err(FieldsError::NotText), "{text:?}");
        }
    }

    #[tokio::test]
    async fn refuses_other_content_types_and_long_bodies() {
        let json = HeaderMap::from_iter([(CONTENT_TYPE, "application/json".parse().unwrap())]);
        assert_eq!(Fields::read(&json, Body::from("{}")).await, Err(FieldsError::NotAForm));
        assert_eq!(Fields::read(&HeaderMap::new(), Body::from("a=b")).await, Err(FieldsError::NotAForm));
        let long = Body::from(vec![b'a'; MAX_FORM + 1]);
        assert_eq!(Fields::read(&form_headers(), long).await, Err(FieldsError::TooLarge));
        assert!(Fields::read(&form_headers(), Body::from("a=b")).await.is_ok());
    }
}
