//! What the token service answers when it says yes.

use std::fmt;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::secret::Secret;

/// The tokens of one answer. `Debug` shows none of them.
#[derive(Clone)]
pub struct TokenAnswer {
    pub(crate) access_token: Secret,
    /// Seconds.
    pub(crate) expires_in: i64,
    pub(crate) scope: Option<String>,
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) id_token: Option<Secret>,
    /// Base64url JSON with the user's and the tenant's id; MSAL stores no account without it.
    pub(crate) client_info: Option<String>,
    pub(crate) refresh_token_expires_in: Option<i64>,
}

impl TokenAnswer {
    /// The access token.
    pub fn access_token(&self) -> &Secret {
        &self.access_token
    }

    /// The JSON body. It holds the tokens: send it, do not log it, and forbid caches (`Cache-Control: no-store`).
    pub fn to_body(&self) -> Value {
        let mut body = Map::new();
        body.insert("token_type".into(), json!("Bearer"));
        body.insert("expires_in".into(), json!(self.expires_in));
        body.insert("ext_expires_in".into(), json!(self.expires_in));
        body.insert("access_token".into(), json!(self.access_token.expose()));
        let optional = [
            ("scope", self.scope.as_deref().map(Value::from)),
            ("refresh_token", self.refresh_token.as_ref().map(|token| json!(token.expose()))),
            ("refresh_token_expires_in", self.refresh_token_expires_in.map(Value::from)),
            ("id_token", self.id_token.as_ref().map(|token| json!(token.expose()))),
            ("client_info", self.client_info.as_deref().map(Value::from)),
        ];
        body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Value::Object(body)
    }
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenAnswer").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// What a machine's request for a token of its identity is answered with: every value is a string
/// (`reference/security.md` section 2.2).
#[derive(Clone)]
pub struct ManagedIdentityAnswer {
    pub(crate) access_token: Secret,
    pub(crate) expires_in: i64,
    pub(crate) expires_on: i64,
    pub(crate) not_before: i64,
    pub(crate) resource: String,
    pub(crate) client_id: Uuid,
}

impl ManagedIdentityAnswer {
    /// The JSON body. It holds the token: send it, do not log it, and forbid caches.
    pub fn to_body(&self) -> Value {
        json!({
            "access_token": self.access_token.expose(),
            "client_id": self.client_id.to_string(),
            "expires_in": self.expires_in.to_string(),
            "expires_on": self.expires_on.to_string(),
            "not_before": self.not_before.to_string(),
            "resource": self.resource,
            "token_type": "Bearer",
            "refresh_token": "",
        })
    }
}

impl fmt::Debug for ManagedIdentityAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("ManagedIdentityAnswer");
        debug.field("resource", &self.resource).field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
