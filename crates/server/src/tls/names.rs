//! The names a server certificate covers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::SanType;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::origin::Origins;

/// A set of DNS names (wildcards included) and addresses; two sets are equal when they cover the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNames(BTreeSet<ServerName>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ServerName {
    Dns(String),
    Address(IpAddr),
}

impl ServerNames {
    /// Loopback in its three spellings: what every server answers to.
    pub fn loopback() -> Self {
        Self(BTreeSet::from([
            ServerName::Dns("localhost".to_owned()),
            ServerName::Address(Ipv4Addr::LOCALHOST.into()),
            ServerName::Address(Ipv6Addr::LOCALHOST.into()),
        ]))
    }

    /// Loopback, the host of every origin, and the zone with one wildcard for each service under it (a wildcard stands
    /// for one label only).
    pub fn of(origins: &Origins) -> Self {
        let mut names = Self::loopback();
        for origin in origins.all() {
            names.insert(host(origin.authority()));
        }
        names.insert(&format!("*.{}", origins.zone()));
        for service in SERVICES {
            names.insert(&format!("*.{service}.{}", origins.zone()));
        }
        names
    }

    /// Adds a host name, a wildcard or an address; false when the text is none of these and so cannot be certified.
    pub fn insert(&mut self, host: &str) -> bool {
        let Some(name) = ServerName::parse(host) else { return false };
        self.0.insert(name);
        true
    }

    /// The names in a certificate; none when it cannot be read.
    pub(super) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let extension = certificate.subject_alternative_name().ok()??;
        extension.value.general_names.iter().map(ServerName::of_extension).collect::<Option<_>>().map(Self)
    }

    pub(super) fn to_extension(&self) -> Result<Vec<SanType>, rcgen::Error> {
        self.0
            .iter()
            .map(|name| match name {
                ServerName::Dns(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
                ServerName::Address(address) => Ok(SanType::IpAddress(*address)),
            })
            .collect()
    }
}

impl ServerName {
    fn parse(host: &str) -> Option<Self> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            // "Any address" is where one listens, not where one is reached.
            return (!address.is_unspecified()).then_some(Self::Address(address));
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        // RFC 1035 section 2.3.4: 63 octets a label, 255 on the wire, which is 253 in text.
        let fits = name.len() <= 253 && labels.split('.').all(is_label);
        fits.then_some(Self::Dns(name))
    }

    fn of_extension(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(name) => Some(Self::Dns((*name).to_owned())),
            GeneralName::IPAddress(octets) => match octets.len() {
                4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| Self::Address(Ipv4Addr::from(octets).into())),
                16 => <[u8; 16]>::try_from(*octets).ok().map(|octets| Self::Address(Ipv6Addr::from(octets).into())),
                _ => None,
            },
            _ => None,
        }
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `host` of `host:port`, with an IPv6 address still in its brackets.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, _)) if !authority.ends_with(']') => host,
        _ => authority,
    }
}

/// The labels under the zone that have names of their own below them: `<vault>.vault.<zone>`, `<account>.blob.<zone>`.
const SERVICES: [&str; 12] = [
    "instances",
    "vault",
    "managedhsm",
    "blob",
    "queue",
    "table",
    "file",
    "dfs",
    "azurecr",
    "cognitiveservices",
    "search",
    "api",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    fn names(hosts: &[&str]) -> ServerNames {
        let mut names = ServerNames(BTreeSet::new());
        for host in hosts {
            assert!(names.insert(host), "{host}");
        }
        names
    }

    #[test]
    fn covers_the_origins_loopback_and_every_service_of_the_zone() {
        let origin = |text| Origin::parse(text).unwrap();
        let aliases = vec![origin("https://[fd00::7]:8443"), origin("https://10.0.0.7:8443")];
        let origins = Origins::new(origin("https://Hub.Example.org"), aliases, "ai.example.org");
        let covered = ServerNames::of(&origins);
        let expected = ["hub.example.org", "fd00::7", "10.0.0.7", "localhost", "127.0.0.1", "::1", "*.ai.example.org"];
        for name in expected.into_iter().chain(["*.vault.ai.example.org", "*.blob.ai.example.org"]) {
            assert!(covered.0.contains(&ServerName::parse(name).unwrap()), "{name} is not in {covered:?}");
        }
    }

    #[test]
    fn the_order_and_case_of_names_do_not_matter() {
        assert_eq!(names(&["a.example", "B.example.", "[::1]"]), names(&["::1", "b.example", "A.example"]));
        assert_ne!(names(&["a.example"]), names(&["a.example", "b.example"]));
    }

    #[test]
    fn leaves_out_what_no_certificate_can_name() {
        let mut names = ServerNames::loopback();
        for host in ["", "a b", "a..b", "-a.example", "*", "a.*.example", "0.0.0.0", "[::]", "schön.example"] {
            assert!(!names.insert(host), "{host}");
        }
        assert!(!names.insert(&"a".repeat(64)));
        assert_eq!(names, ServerNames::loopback());
    }
}
