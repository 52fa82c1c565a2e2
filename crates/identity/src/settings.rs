//! What the operator decides about identity.

use url::Url;
use uuid::Uuid;

/// The settings of one identity service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one tenant of this Bastide.
    pub tenant_id: Uuid,
    /// The issuer in every access token, `https://HOST:PORT/{tenant}/v2.0`, whatever origin was asked.
    pub issuer: String,
    /// The resources that access tokens are given for, with or without their trailing slash. The first one stands in
    /// when a person's client names none.
    pub audiences: Vec<String>,
    /// Whether the password grant works (only ever on the adfs flavour).
    pub allow_password: bool,
    /// Outside token issuers that federated credentials may name.
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// How expensive it is to hash a password.
    pub password_cost: PasswordCost,
}

impl Settings {
    /// Settings with everything optional off.
    pub fn new(tenant_id: Uuid, issuer: impl Into<String>, audiences: Vec<String>) -> Self {
        Self {
            tenant_id,
            issuer: issuer.into(),
            audiences,
            allow_password: false,
            trusted_issuers: Vec::new(),
            password_cost: PasswordCost::default(),
        }
    }
}

/// An outside OIDC issuer whose tokens prove who a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// Exactly the `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are; asked from its discovery document when absent. Must be https.
    pub jwks_uri: Option<Url>,
}

/// The argon2id parameters for passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// 19 MiB and two passes: the OWASP password storage cheat sheet's first choice for argon2id.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

impl PasswordCost {
    /// The least argon2 allows; for tests, never for people's passwords.
    pub const fn for_tests() -> Self {
        Self { memory_kib: 8, passes: 1 }
    }
}

/// Audiences that clients built for the Azure cloud ask for and that a resource manager accepts beside its own
/// (`reference/security.md` section 2.4).
pub const WELL_KNOWN_RESOURCE_MANAGER_AUDIENCES: [&str; 3] =
    ["https://management.azure.com", "https://management.core.windows.net", "https://ml.azure.com"];
