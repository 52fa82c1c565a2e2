//! The first segment of a token-service path: which family of routes, and which tenant.

use bastide_identity::{Flavour, Identity, TokenEndpoint};

use super::answer::Refusal;
use crate::origin::Origin;

/// The authority a client talks to. There is one tenant; what differs is how clients spell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    segment: String,
    flavour: Flavour,
}

impl Authority {
    /// Reads the segment: `adfs`, our tenant's id in any case, `organizations` or `common`.
    pub(super) fn parse(segment: &str, identity: &Identity) -> Result<Self, Refusal> {
        if segment == ADFS {
            return Ok(Self { segment: segment.to_owned(), flavour: Flavour::Adfs });
        }
        // The refusal is worded here, because Entra calls it `invalid_tenant`.
        identity.tenant(segment).map_err(|_| Refusal::unknown_tenant(segment))?;
        Ok(Self { segment: segment.to_ascii_lowercase(), flavour: Flavour::Tenant })
    }

    /// Which rules apply.
    pub(super) fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The segment as it belongs into a URL.
    pub(super) fn segment(&self) -> &str {
        &self.segment
    }

    /// The token endpoint as the client knows it, which it may repeat as the audience of an assertion.
    pub(super) fn token_endpoint(&self, origin: &Origin, path: &str) -> TokenEndpoint {
        let version = if path.contains("/v2.0/") { "v2.0/" } else { "" };
        TokenEndpoint { flavour: self.flavour, url: format!("{origin}/{}/oauth2/{version}token", self.segment) }
    }
}

const ADFS: &str = "adfs";
