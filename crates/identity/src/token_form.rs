//! What a client sends to an OAuth endpoint, read once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;
use uuid::Uuid;

use crate::oauth_error::Refusal;
use crate::secret::Secret;

/// The fields of a form or a query, each at most once. `Debug` shows only their names.
#[derive(Clone, Default)]
pub struct TokenForm {
    fields: BTreeMap<String, Secret>,
    repeated: bool,
    oversize: bool,
    unstorable: bool,
    pub(crate) source: Option<IpAddr>,
    pub(crate) correlation_id: Option<Uuid>,
}

impl TokenForm {
    /// Reads an `application/x-www-form-urlencoded` body, or a raw query string.
    pub fn parse(encoded: &[u8]) -> Self {
        Self::from_pairs(form_urlencoded::parse(encoded).take(MOST_FIELDS + 1))
    }

    /// Takes decoded pairs. A field without a value counts as absent (RFC 6749 section 3.1).
    pub fn from_pairs<Name: Into<String>, Text: Into<String>>(pairs: impl IntoIterator<Item = (Name, Text)>) -> Self {
        let mut form = Self::default();
        for (count, (name, text)) in pairs.into_iter().enumerate() {
            let (name, text) = (name.into(), Secret::new(text));
            if count >= MOST_FIELDS || text.expose().len() > LONGEST_FIELD || name.len() > LONGEST_NAME {
                form.oversize = true;
                break;
            }
            // PostgreSQL cannot hold it, and no client has a use for it.
            form.unstorable |= text.expose().contains('\0');
            if !text.expose().is_empty() && form.fields.insert(name, text).is_some() {
                form.repeated = true;
            }
        }
        form
    }

    /// Names the address the request came from, for the limits on failed logins.
    #[must_use]
    pub fn with_source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Names the request as the client does (`client-request-id`), for the error answer.
    #[must_use]
    pub fn with_correlation_id(mut self, id: Uuid) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Takes client id and secret from an `Authorization: Basic` header (RFC 6749 section 2.3.1). A header of another
    /// scheme, or one that does not decode, changes nothing, so that the client is asked for its credential.
    #[must_use]
    pub fn with_authorization(mut self, header: &str) -> Self {
        let decoded = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Secret::new);
        if let Some((id, secret)) = decoded.as_ref().and_then(|text| text.expose().split_once(':')) {
            for (name, text) in [("client_id", id), ("client_secret", secret)] {
                let text = percent_decoded(text);
                match self.fields.insert(name.to_owned(), text.clone()) {
                    Some(other) if other.expose() != text.expose() => self.repeated = true,
                    _ => {}
                }
            }
        }
        self
    }

    /// A field that may be absent.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(Secret::expose)
    }

    /// A field that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.field(name).ok_or_else(|| Refusal::missing_parameter(name))
    }

    /// Refuses forms in which a field could mean two things, or that are too long.
    pub(crate) fn checked(&self) -> Result<&Self, Refusal> {
        if self.repeated {
            return Err(Refusal::malformed("A parameter is repeated in the request. Send each one once."));
        }
        if self.unstorable {
            return Err(Refusal::malformed("A parameter contains a NUL character."));
        }
        if self.oversize {
            return Err(Refusal::malformed("The request has too many parameters, or one of them is too long."));
        }
        Ok(self)
    }
}

impl fmt::Debug for TokenForm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenForm").field("fields", &self.fields.keys()).finish_non_exhaustive()
    }
}

/// Id and secret are form-encoded before they are joined and base64-encoded.
fn percent_decoded(text: &str) -> Secret {
    let padded = Secret::new(format!("x={}", text.replace('&', "%26")));
    let decoded = form_urlencoded::parse(padded.expose().as_bytes()).next().map(|(_, value)| value.into_owned());
    Secret::new(decoded.unwrap_or_default())
}

const MOST_FIELDS: usize = 64;
const LONGEST_NAME: usize = 256;
/// As long as the longest token (`reference/security.md` section 2.4).
const LONGEST_FIELD: usize = 16 * 1024;
