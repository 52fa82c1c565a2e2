//! What is committed beside a resource's own row.

use uuid::Uuid;

use super::Principal;

/// A change beside the resource's own row, committed with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A managed identity comes into the directory.
    CreatePrincipal {
        /// Its ids.
        principal: Principal,
        /// Display name.
        name: String,
    },
    /// A managed identity goes; its tokens stop at once.
    RemovePrincipal(Principal),
    /// Whoever shows this secret to the token endpoint for managed identities is given this identity's tokens; secrets
    /// issued for it before are worthless.
    IssueEndpointSecret {
        /// The identity.
        principal: Principal,
        /// The secret.
        secret: Secret,
    },
    /// Tokens of an outside issuer stand for a managed identity from now on, under a name that tells what it trusts apart.
    TrustTokens {
        /// Object id of the identity.
        principal_id: Uuid,
        /// The name.
        name: String,
        /// Exactly the tokens' `iss`.
        issuer: String,
        /// Exactly their `sub`.
        subject: String,
        /// One of their `aud`.
        audience: String,
    },
    /// The trust of that name ends.
    DistrustTokens {
        /// Object id of the identity.
        principal_id: Uuid,
        /// The name.
        name: String,
    },
    /// All secrets of this resource go; what is put after this stays.
    ForgetSecrets,
    /// A secret of this resource is sealed under a field name.
    PutSecret {
        /// Field name, unique in the resource.
        field: String,
        /// The secret itself.
        secret: Secret,
    },
}

/// Text that must never be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; name the reason where you call it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}
