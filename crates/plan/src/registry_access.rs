//! How a registry of images is asked: what the agent, which reads the administrator's files, hands to who asks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How one registry is asked for one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryAccess {
    /// In whose name. None: in nobody's.
    pub credentials: Option<Credentials>,
    /// Certificates in PEM of authorities that are trusted beside those of the node.
    pub authorities: Option<String>,
}

/// A user's name and password, as the `Basic` scheme puts them together (RFC 7617 2) and `docker login` writes them down.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Credentials(String);

/// Something that is no name and password in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no name and password in base64")]
pub struct NoCredentials;

impl Credentials {
    /// What follows `Basic` in a request.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Credentials {
    type Error = NoCredentials;

    fn try_from(text: String) -> Result<Self, NoCredentials> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if text.is_empty() || !text.bytes().all(is_base64) { Err(NoCredentials) } else { Ok(Self(text)) }
    }
}

impl From<Credentials> for String {
    fn from(credentials: Credentials) -> Self {
        credentials.0
    }
}

/// Nothing of what they say.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials")
    }
}
