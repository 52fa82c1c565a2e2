//! The clients that people run on their own machines, known everywhere by the same id.

use uuid::{Uuid, uuid};

use crate::directory::ServicePrincipal;
use url::Url;

/// An application at the token endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    /// It cannot keep a secret, so anybody may claim to be it; people confirm what it gets.
    Public(PublicClient),
    /// It has proved who it is.
    Confidential(ServicePrincipal),
}

impl Client {
    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Public(client) => client.id,
            Self::Confidential(client) => client.app_id,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Public(client) => client.name,
            Self::Confidential(client) => &client.display_name,
        }
    }

    /// Whether the browser may be sent there with a code: for a public client to the machine it came from, for a
    /// confidential one to what is registered, compared as text.
    pub(crate) fn may_redirect_to(&self, redirect_uri: &str) -> bool {
        match self {
            Self::Public(_) => is_loopback(redirect_uri),
            Self::Confidential(client) => client.redirect_uris.iter().any(|registered| registered == redirect_uri),
        }
    }
}

/// A well-known public client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublicClient {
    id: Uuid,
    name: &'static str,
}

impl PublicClient {
    pub(crate) fn by_id(client_id: Uuid) -> Option<Self> {
        PUBLIC_CLIENTS.into_iter().find(|client| client.id == client_id)
    }
}

/// `http://localhost` or `http://127.0.0.1`, any port, any path (RFC 8252 section 7.3).
///
/// Both the text and what a browser would make of it must say so: `http://127.1/` and `http://localhost@elsewhere/` look
/// right to only one of the two.
fn is_loopback(redirect_uri: &str) -> bool {
    let written = ["http://localhost", "http://127.0.0.1"].into_iter().any(|start| {
        redirect_uri.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    let parsed = Url::parse(redirect_uri).is_ok_and(|url| {
        matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
            && url.scheme() == "http"
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    });
    written && parsed && redirect_uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

const PUBLIC_CLIENTS: [PublicClient; 3] = [
    PublicClient { id: uuid!("04b07795-8ddb-461a-bbee-02f9e1bf7b46"), name: "Microsoft Azure CLI" },
    PublicClient { id: uuid!("872cd9fa-d31f-45e0-9eab-6e460a02d1f1"), name: "Visual Studio" },
    PublicClient { id: uuid!("1950a258-227b-4e31-a9cf-717495945fc2"), name: "Microsoft Azure PowerShell" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_client_is_only_answered_on_its_own_machine() {
        for good in [
            "http://localhost",
            "http://localhost/",
            "http://localhost:8400",
            "http://localhost:8400/",
            "http://localhost:53124/after?x=1",
            "http://127.0.0.1:8400",
        ] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "https://localhost:8400",
            "http://localhost.evil.example",
            "http://localhost@evil.example",
            "http://localhost:x@evil.example/",
            "http://localhost:8400#x",
            "http://localhost:99999",
            "http://127.0.0.1.evil.example",
            "http://127.1",
            "http://0x7f.1",
            "http://127.0.0.2",
            "http://[::1]:8400",
            "http://LOCALHOST.evil",
            "http://localhost\\@evil.example",
            "http://localhost/\n",
            "//localhost",
            "javascript:alert(1)",
            "",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
