//! Where a token was asked for, and what each flavour of the service says about itself.

use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::oauth_error::Refusal;

/// The two families of routes. Both lead to the same service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// `/adfs/...`: no tenant in the path, no instance discovery in MSAL.
    Adfs,
    /// `/{tenant}/...`: what Terraform, azure-identity and the Azure SDKs use.
    Tenant,
}

/// The token endpoint that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Its flavour.
    pub flavour: Flavour,
    /// Its absolute URL, built from the configured origin that was asked and never from a raw Host header.
    pub url: String,
}

impl TokenEndpoint {
    /// The endpoint at `origin` (`https://host:port`), as the discovery document of that flavour names it.
    pub fn new(flavour: Flavour, origin: &str, tenant_id: Uuid) -> Self {
        let url = match flavour {
            Flavour::Adfs => format!("{origin}/adfs/oauth2/v2.0/token"),
            Flavour::Tenant => format!("{origin}/{tenant_id}/oauth2/v2.0/token"),
        };
        Self { flavour, url }
    }

    /// The issuer this flavour names in its discovery document and its id tokens.
    pub(crate) fn issuer(&self, tenant_id: Uuid) -> Result<String, Refusal> {
        Ok(issuer(self.flavour, &self.origin()?, tenant_id))
    }

    /// Every spelling of this endpoint that a client may have read in a discovery document.
    pub(crate) fn spellings(&self, tenant_id: Uuid) -> Result<[String; 2], Refusal> {
        Ok([self.url.clone(), Self::new(self.flavour, &self.origin()?, tenant_id).url])
    }

    fn origin(&self) -> Result<String, Refusal> {
        let url = Url::parse(&self.url).map_err(|_| Refusal::malformed("The token endpoint is not a valid URL."))?;
        Ok(url.origin().ascii_serialization())
    }
}

/// Whether `tenant`, as it stands in a path, means the tenant of this Bastide.
pub(crate) fn is_tenant(tenant: &str, tenant_id: Uuid) -> bool {
    ["organizations", "common"].iter().any(|alias| tenant.eq_ignore_ascii_case(alias))
        || Uuid::try_parse(tenant).is_ok_and(|id| id == tenant_id)
}

/// The OpenID configuration of a flavour.
pub(crate) fn discovery(flavour: Flavour, origin: &str, tenant_id: Uuid, allow_password: bool) -> Value {
    let base = match flavour {
        Flavour::Adfs => format!("{origin}/adfs"),
        Flavour::Tenant => format!("{origin}/{tenant_id}"),
    };
    let keys = match flavour {
        Flavour::Adfs => format!("{base}/discovery/keys"),
        Flavour::Tenant => format!("{base}/discovery/v2.0/keys"),
    };
    let mut grants = vec![
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ];
    if allow_password && flavour == Flavour::Adfs {
        grants.push("password");
    }
    json!({
        "issuer": issuer(flavour, origin, tenant_id),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "token_endpoint": TokenEndpoint::new(flavour, origin, tenant_id).url,
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "jwks_uri": keys,
        "response_types_supported": ["code"],
        "response_modes_supported": ["form_post", "query"],
        "grant_types_supported": grants,
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
        "code_challenge_methods_supported": ["S256"],
        "request_uri_parameter_supported": false,
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "nbf", "nonce", "tid", "oid", "upn", "preferred_username", "name",
        ],
    })
}

fn issuer(flavour: Flavour, origin: &str, tenant_id: Uuid) -> String {
    match flavour {
        Flavour::Adfs => format!("{origin}/adfs"),
        Flavour::Tenant => format!("{origin}/{tenant_id}/v2.0"),
    }
}
