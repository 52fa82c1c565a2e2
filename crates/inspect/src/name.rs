//! The one form of a host name, for rules, SNI, Host headers and DNS questions alike.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A host name in its canonical form: lower case, no final dot, A-labels (`xn--`), letters, digits, hyphens and
/// underscores, labels of at most 63 bytes, at most 253 bytes in all (RFC 1035, section 2.3.4). Never an address.
///
/// Two names are the same host exactly when they are equal. A clone is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Reads what a person or a document says. Letters beyond ASCII become A-labels (UTS 46, non-transitional).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_ascii() {
            return Self::parse_bytes(text.as_bytes());
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_err(|_| NameError::International)?;
        Self::parse_bytes(ascii.as_bytes())
    }

    /// Reads what came off the wire: ASCII only, in any case, with or without one final dot.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        for label in bytes.split(|byte| *byte == b'.') {
            check_label(label)?;
        }
        // The last label of a name is never a number (RFC 3696, section 2), but resolvers and clients read 127.1,
        // 0x7f000001 and 2130706433 as addresses.
        if bytes.rsplit(|byte| *byte == b'.').next().is_some_and(is_number) {
            return Err(NameError::Address);
        }
        let lower = bytes.to_ascii_lowercase();
        match String::from_utf8(lower) {
            Ok(name) => Ok(Self(name.into())),
            Err(_) => Err(NameError::Character('\u{fffd}')),
        }
    }

    /// The name as text, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether it lies below `apex`, at any depth. A name does not lie below itself.
    pub fn is_below(&self, apex: &Self) -> bool {
        self.0.strip_suffix(apex.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }

    /// The names above it, nearest first: `b.c`, then `c` for `a.b.c`.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |name| name.split_once('.').map(|(_, rest)| rest)).skip(1)
    }
}

/// Why something is not the name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or only a dot.
    #[error("the name is empty. Give a host name such as pypi.org.")]
    Empty,
    /// More than 253 bytes.
    #[error("the name is longer than 253 bytes, which no host name is.")]
    TooLong,
    /// A label is empty or longer than 63 bytes.
    #[error("a label of the name is empty or longer than 63 bytes.")]
    LabelLength,
    /// A label begins or ends with a hyphen.
    #[error("a label of the name begins or ends with a hyphen.")]
    Hyphen,
    /// Something that is no letter, digit, hyphen or underscore.
    #[error("{0:?} does not belong in a host name. Use letters, digits and hyphens, as in pypi.org.")]
    Character(char),
    /// Letters beyond ASCII that make no international name.
    #[error("the letters beyond ASCII do not make an international name (UTS 46).")]
    International,
    /// An address, or what resolvers read as one.
    #[error("it is an IP address, not a name. Use a ServiceTag rule with addressPrefixes for addresses.")]
    Address,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// A name hashes and compares as its text does, so that tables can be asked by a part of one.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Underscores are not for host names, but resolvers and clients use them.
fn check_label(label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() || label.len() > MAX_LABEL {
        return Err(NameError::LabelLength);
    }
    if let Some(odd) = label.iter().find(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))) {
        // An IPv6 literal and a name with a port both end here, as does a byte of UTF-8.
        return Err(NameError::Character(if odd.is_ascii() { char::from(*odd) } else { '\u{fffd}' }));
    }
    if label.starts_with(b"-") || label.ends_with(b"-") {
        return Err(NameError::Hyphen);
    }
    Ok(())
}

fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', rest @ ..] => rest.iter().all(u8::is_ascii_hexdigit),
        _ => label.iter().all(u8::is_ascii_digit),
    }
}

/// RFC 1035, section 2.3.4, less the final dot and the length byte of the root.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_one_form() {
        let cases = [
            ("pypi.org", "pypi.org"),
            ("PyPI.org.", "pypi.org"),
            // azurerm's own acceptance tests use a name of one label (infrastructure-as-code.md 5.3).
            ("destination_endpoint", "destination_endpoint"),
            ("xn--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.Example.", "xn--bcher-kva.example"),
            ("3com.com", "3com.com"),
            // The full-width letters and the ideographic dot of UTS 46 are those of the plain name.
            ("ｐｙｐｉ。org", "pypi.org"),
        ];
        for (text, expected) in cases {
            assert_eq!(Name::parse(text).as_ref().map(Name::as_str), Ok(expected), "{text}");
        }
    }

    #[test]
    fn look_alikes_are_other_names() {
        // A Cyrillic а is a letter of its own.
        assert_ne!(Name::parse("p\u{0430}ypal.com"), Name::parse("paypal.com"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let cases = [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("pypi.org..", NameError::LabelLength),
            (".pypi.org", NameError::LabelLength),
            ("a..b", NameError::LabelLength),
            ("-a.com", NameError::Hyphen),
            ("a-.com", NameError::Hyphen),
            ("a b.com", NameError::Character(' ')),
            ("a\0.com", NameError::Character('\0')),
            ("*.com", NameError::Character('*')),
            ("pypi.org:443", NameError::Character(':')),
            ("user@pypi.org", NameError::Character('@')),
            ("10.0.0.1", NameError::Address),
            ("127.1", NameError::Address),
            ("2130706433", NameError::Address),
            ("0x7F000001", NameError::Address),
            ("0x", NameError::Address),
            ("a.b.1", NameError::Address),
            ("1.2.3.4.", NameError::Address),
            ("[2001:db8::1]", NameError::Character('[')),
            ("a\u{202e}b.com", NameError::International),
        ];
        for (text, expected) in cases {
            assert_eq!(Name::parse(text), Err(expected), "{text}");
        }
        assert_eq!(Name::parse(&format!("{}.com", "a".repeat(64))), Err(NameError::LabelLength));
        assert_eq!(Name::parse(&["abcdefgh"; 30].join(".")), Err(NameError::TooLong));
        assert_eq!(Name::parse_bytes("bücher.example".as_bytes()), Err(NameError::Character('\u{fffd}')));
    }

    #[test]
    fn a_name_lies_below_its_parents_only() {
        let name = |text: &str| Name::parse(text).unwrap();
        assert!(name("a.b.example.org").is_below(&name("example.org")));
        assert!(!name("example.org").is_below(&name("example.org")));
        assert!(!name("evilexample.org").is_below(&name("example.org")));
        assert_eq!(name("a.b.c").suffixes().collect::<Vec<_>>(), ["b.c", "c"]);
    }

    #[test]
    fn documents_hold_names_as_strings() {
        let name: Name = serde_json::from_str("\"PyPI.org.\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"pypi.org\"");
        assert!(serde_json::from_str::<Name>("\"10.0.0.1\"").is_err());
    }

    proptest! {
        #[test]
        fn reading_a_name_again_changes_nothing(text in "\\PC{0,80}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(Name::parse(name.as_str()), Ok(name.clone()));
                prop_assert!(name.as_str().len() <= MAX_NAME && name.as_str().is_ascii());
                prop_assert_eq!(name.as_str().parse::<std::net::IpAddr>().ok(), None);
            }
        }

        #[test]
        fn case_and_one_final_dot_do_not_matter(text in "([a-zA-Z0-9_]{1,8}\\.){0,4}[a-zA-Z][a-zA-Z0-9_]{0,8}") {
            let name = Name::parse(&text).unwrap();
            prop_assert_eq!(Name::parse(&text.to_uppercase()).unwrap(), name.clone());
            let dotted = format!("{text}.");
            prop_assert_eq!(Name::parse(&dotted).unwrap(), name);
        }
    }
}
