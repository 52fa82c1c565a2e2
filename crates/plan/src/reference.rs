//! References to images: which registry, what it is called there, and which version of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `host[:port]/name[:tag][@sha256:...]`. A registry must be named: there is no default that everybody would mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Who has it.
    pub registry: Registry,
    /// What it is called there, `team/image`.
    pub repository: String,
    /// Which of it.
    pub version: Version,
}

/// Which of an image's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// What the registry calls so at the time.
    Tag(String),
    /// What it is, `sha256:` and 64 hexadecimal digits. A tag beside it says nothing more.
    Digest(String),
}

/// `host[:port]` of a registry, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Registry(String);

/// Something that is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no reference to an image with its registry, such as registry.example/team/image:1.0")]
pub struct NoReference;

/// Something that is no registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no registry: give its host, such as registry.example or registry.example:5000")]
pub struct NoRegistry;

impl Reference {
    /// The same image, by what it is.
    pub fn at(&self, digest: String) -> Self {
        Self { version: Version::Digest(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        let (host, path) = rest.split_once('/').ok_or(NoReference)?;
        let (path, tag) = path.rsplit_once(':').map_or((path, None), |(path, tag)| (path, Some(tag)));
        let fits = path.len() <= LONGEST_NAME
            && path.split('/').all(is_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if !fits {
            return Err(NoReference);
        }
        let version = digest.map_or_else(
            || Version::Tag(tag.unwrap_or(USUAL_TAG).to_owned()),
            |digest| Version::Digest(digest.to_owned()),
        );
        Ok(Self { registry: host.parse().map_err(|_| NoReference)?, repository: path.to_owned(), version })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if matches!(self.version, Version::Tag(_)) { ':' } else { '@' };
        write!(formatter, "{}/{}{mark}{}", self.registry, self.repository, self.version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(text) | Self::Digest(text) => formatter.write_str(text),
        }
    }
}

impl Registry {
    /// Whether it is this host, which may be asked without TLS.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.split_once(':').map_or(&*self.0, |(host, _)| host);
        host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Registry {
    type Err = NoRegistry;

    fn from_str(text: &str) -> Result<Self, NoRegistry> {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let is_host = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
            && (host.contains('.') || port.is_some() || host == "localhost");
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
        if is_host && port.is_none_or(is_port) { Ok(Self(text.to_ascii_lowercase())) } else { Err(NoRegistry) }
    }
}

impl TryFrom<String> for Registry {
    type Error = NoRegistry;

    fn try_from(text: String) -> Result<Self, NoRegistry> {
        text.parse()
    }
}

impl From<Registry> for String {
    fn from(registry: Registry) -> Self {
        registry.0
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Lower case, and no dot at either end, which would be a way to somewhere else (OCI distribution specification 1.1).
fn is_component(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.into_iter().all(|end| end.is_some_and(is_plain))
        && text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is meant when no version is named.
const USUAL_TAG: &str = "latest";

const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_registry_name_and_version() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let cases = [
            ("Registry.example/team/image:1.0", "registry.example/team/image:1.0".to_owned()),
            ("localhost:5000/image", "localhost:5000/image:latest".to_owned()),
            (&format!("a.example/b@{digest}"), format!("a.example/b@{digest}")),
            (&format!("a.example/b:1@{digest}"), format!("a.example/b@{digest}")),
        ];
        for (text, meant) in cases {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), meant);
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_reference() {
        for text in [
            "",
            "image",
            "image:1",
            "team/image",
            "a.example/",
            "a.example/../x",
            "a.example/x//y",
            "a.example/Team/x",
            "a.example/x:",
            "a.example/x:-1",
            "a.example/x:a/b",
            "a.example/x?y",
            "a.example:99999/x",
            "a.example:+1/x",
            "user@a.example/x",
            "a.example/x@sha256:00",
            "a.example/x@sha512:00",
        ] {
            assert_eq!(text.parse::<Reference>(), Err(NoReference), "{text}");
        }
    }

    #[test]
    fn only_this_host_is_loopback() {
        for (text, is_loopback) in
            [("localhost:5000", true), ("127.0.0.2:80", true), ("127.0.0.1.example", false), ("10.0.0.1:5000", false)]
        {
            assert_eq!(text.parse::<Registry>().unwrap().is_loopback(), is_loopback, "{text}");
        }
    }
}
