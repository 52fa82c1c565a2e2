//! What a rule names: one host, or all hosts below one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::{Name, NameError};

/// The names a rule speaks of (mission.md G8).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamePattern {
    /// `example.org`: this host and no other.
    Exact(Name),
    /// `*.example.org`: all hosts below, at any depth; not `example.org` itself.
    Below(Name),
}

impl NamePattern {
    /// Reads `example.org` or `*.example.org`.
    ///
    /// ```
    /// use bastide_inspect::{Name, NamePattern};
    ///
    /// let pattern = NamePattern::parse("*.Example.org")?;
    /// assert_eq!(pattern.to_string(), "*.example.org");
    /// assert!(pattern.matches(&Name::parse("a.b.example.org")?));
    /// assert!(!pattern.matches(&Name::parse("example.org")?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, NamePatternError> {
        let (is_below, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text == "*" || name.trim_end_matches('.').is_empty() && is_below {
            return Err(NamePatternError::Everything);
        }
        if name.contains('*') {
            return Err(NamePatternError::OddWildcard);
        }
        let name = Name::parse(name)?;
        match is_below {
            false => Ok(Self::Exact(name)),
            true if name.labels().count() == 1 => Err(NamePatternError::TopLevel(name)),
            true => Ok(Self::Below(name)),
        }
    }

    /// The name without the wildcard.
    pub fn name(&self) -> &Name {
        match self {
            Self::Exact(name) | Self::Below(name) => name,
        }
    }

    /// Whether it stands for all names below [`NamePattern::name`], the name itself not included.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Below(_))
    }

    /// Whether a rule with this pattern speaks of `host`.
    pub fn matches(&self, host: &Name) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(apex) => host.is_below(apex),
        }
    }
}

/// Why something cannot be what a rule names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamePatternError {
    /// `*` alone.
    #[error("a wildcard alone would let every name through. Name the hosts, as in *.example.com.")]
    Everything,
    /// `*.com` and the like.
    #[error("*.{0} would let through everything below a top-level domain. Name the hosts, as in *.example.com.")]
    TopLevel(Name),
    /// A wildcard that is not the whole first label.
    #[error("it has a * in an odd place. A wildcard is the first label, as in *.example.com.")]
    OddWildcard,
    /// The rest is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Below(apex) => write!(f, "*.{apex}"),
        }
    }
}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        Self::parse(text)
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_one_form() {
        for (text, expected) in [
            ("PyPI.org", "pypi.org"),
            ("destination", "destination"),
            ("*.Anaconda.ORG.", "*.anaconda.org"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
        ] {
            assert_eq!(NamePattern::parse(text).map(|pattern| pattern.to_string()), Ok(expected.to_owned()), "{text}");
        }
        let pattern: NamePattern = serde_json::from_str("\"*.Example.org\"").unwrap();
        assert_eq!(serde_json::to_string(&pattern).unwrap(), "\"*.example.org\"");
    }

    #[test]
    fn too_much_and_odd_places_are_refused() {
        for text in ["*", "*.", "*.."] {
            assert_eq!(NamePattern::parse(text), Err(NamePatternError::Everything), "{text}");
        }
        for text in ["*.com", "*.COM.", "*.net"] {
            assert!(matches!(NamePattern::parse(text), Err(NamePatternError::TopLevel(_))), "{text}");
        }
        for text in ["*.*.com", "a.*.com", "py*.org", "*py.org", "**.example.org"] {
            assert_eq!(NamePattern::parse(text), Err(NamePatternError::OddWildcard), "{text}");
        }
        for (text, error) in [("*.0.0.1", NameError::Address), ("", NameError::Empty), ("*.-a.com", NameError::Hyphen)]
        {
            assert_eq!(NamePattern::parse(text), Err(error.into()), "{text}");
        }
    }

    #[test]
    fn a_wildcard_takes_any_depth_but_neither_apex_nor_look_alike() {
        let pattern = NamePattern::parse("*.example.org").unwrap();
        for (host, expected) in [
            ("www.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            ("evilexample.org", false),
            ("example.org.evil.com", false),
            ("wwwxexample.org", false),
        ] {
            assert_eq!(pattern.matches(&Name::parse(host).unwrap()), expected, "{host}");
        }
    }
}
