//! The addresses Bastide answers under.
//!
//! Clients compare URLs literally (the SDK looks for the resource manager's URL as a substring of the discovery URL), so
//! every URL in an answer is built from the origin the request was sent to - but only when that origin is configured: a
//! `Host` header nobody configured is never echoed.

use std::fmt;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// A scheme, host and port without a trailing slash, such as `https://localhost:8443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    text: String,
    authority: String,
}

/// Which origins are ours.
#[derive(Debug, Clone)]
pub struct Origins {
    public: Origin,
    aliases: Vec<Origin>,
    internal: Option<Origin>,
    zone: String,
}

/// An origin that cannot be used, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an origin: give it as https://HOST or https://HOST:PORT, without a path")]
pub struct OriginError(String);

impl Origin {
    /// Reads `https://host[:port][/]`; the port is dropped when it is 443, as clients do.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let refuse = || OriginError(text.to_owned());
        let authority = text.trim_end_matches('/').strip_prefix("https://").ok_or_else(refuse)?;
        let parsed: Authority = authority.parse().map_err(|_| refuse())?;
        if parsed.host().is_empty() || authority.contains(['@', '/', '?', '#']) {
            return Err(refuse());
        }
        let authority = canonical_authority(&parsed);
        Ok(Self { text: format!("https://{authority}"), authority })
    }

    /// `https://host:port`, no trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host:port`, or `host` alone on port 443.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host alone; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.authority.strip_suffix(self.port_suffix()).unwrap_or(&self.authority)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port_suffix().strip_prefix(':').and_then(|port| port.parse().ok()).unwrap_or(443)
    }

    /// `:port`, or nothing on port 443.
    pub fn port_suffix(&self) -> &str {
        let host_end = if self.authority.starts_with('[') { self.authority.find(']') } else { Some(0) };
        host_end
            .and_then(|from| self.authority.get(from..).and_then(|rest| rest.find(':')).map(|at| from + at))
            .and_then(|at| self.authority.get(at..))
            .unwrap_or("")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Origins {
    /// `public` is the canonical origin; `aliases` are other spellings of it (loopback names, an internal name).
    /// `zone` is the DNS suffix of the services, such as `bastide.localhost`.
    pub fn new(public: Origin, aliases: Vec<Origin>, zone: impl Into<String>) -> Self {
        Self { public, aliases, internal: None, zone: zone.into() }
    }

    /// The same with an origin for the inside of hubs, where the others do not resolve.
    pub fn with_internal(mut self, internal: Origin) -> Self {
        if !self.all().any(|origin| *origin == internal) {
            self.aliases.push(internal.clone());
        }
        self.internal = Some(internal);
        self
    }

    /// The origin for the inside of hubs.
    pub fn internal(&self) -> Option<&Origin> {
        self.internal.as_ref()
    }

    /// The canonical origin: token issuer, bootstrap file.
    pub fn public(&self) -> &Origin {
        &self.public
    }

    /// Every origin we answer under, the canonical one first.
    pub fn all(&self) -> impl Iterator<Item = &Origin> {
        std::iter::once(&self.public).chain(&self.aliases)
    }

    /// The DNS suffix of the services, without a leading dot or a port.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// The configured origin a request was sent to; the canonical one when its `Host` is none of ours.
    pub fn asked(&self, host: Option<&str>) -> &Origin {
        let Some(asked) = host.and_then(|host| host.parse::<Authority>().ok()) else {
            return &self.public;
        };
        let asked = canonical_authority(&asked);
        self.all().find(|origin| origin.authority == asked).unwrap_or(&self.public)
    }
}

/// The host a request was sent to: the authority of its target, which is all that HTTP/2 has to have and counts before
/// `Host` in HTTP/1.1 (RFC 9112, section 3.2.2), else `Host`.
pub(crate) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(Authority::as_str).or_else(header)
}

fn canonical_authority(authority: &Authority) -> String {
    let host = authority.host().to_ascii_lowercase();
    match authority.port_u16() {
        Some(443) | None => host,
        Some(port) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        let aliases =
            vec![Origin::parse("https://127.0.0.1:8443").unwrap(), Origin::parse("https://[::1]:8443").unwrap()];
        Origins::new(Origin::parse("https://localhost:8443/").unwrap(), aliases, "bastide.localhost")
    }

    #[test]
    fn answers_under_the_origin_that_was_asked() {
        assert_eq!(origins().asked(Some("127.0.0.1:8443")).as_str(), "https://127.0.0.1:8443");
        assert_eq!(origins().asked(Some("LocalHost:8443")).as_str(), "https://localhost:8443");
    }

    #[test]
    fn never_echoes_a_host_nobody_configured() {
        for host in [Some("evil.example:8443"), Some("localhost"), Some("localhost:8443@evil"), Some("\u{0}"), None] {
            assert_eq!(origins().asked(host).as_str(), "https://localhost:8443");
        }
    }

    #[test]
    fn the_target_of_a_request_counts_before_its_host_header() {
        let headers = HeaderMap::from_iter([(header::HOST, "127.0.0.1:8443".parse().unwrap())]);
        for (uri, expected) in [("https://localhost:8443/x", Some("localhost:8443")), ("/x", Some("127.0.0.1:8443"))] {
            assert_eq!(host(&headers, &uri.parse().unwrap()), expected, "{uri}");
        }
        assert_eq!(host(&HeaderMap::new(), &"/x".parse().unwrap()), None);
    }

    #[test]
    fn the_default_port_is_not_spelled_out() {
        let origin = Origin::parse("https://hub.example.org:443/").unwrap();
        assert_eq!((origin.as_str(), origin.port_suffix()), ("https://hub.example.org", ""));
        assert_eq!(Origin::parse("https://[::1]:8443").unwrap().port_suffix(), ":8443");
        assert_eq!(Origin::parse("https://h:1").unwrap().port_suffix(), ":1");
    }

    #[test]
    fn refuses_what_is_not_an_origin() {
        for text in ["http://localhost", "localhost:8443", "https://", "https://a/b", "https://u@h", "https://h?x"] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
