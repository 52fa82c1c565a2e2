//! The path of a request, decoded once and split into segments that are safe to compare.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::{ArmError, shown};

/// The segments of a request path, percent-decoded exactly once.
///
/// Parsing is the only way to get one, so whoever holds it knows that no segment is empty, `.`, `..`, or contains a
/// slash, a backslash, a control character or an invisible formatting character; authorisation and routing look at the
/// same words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathSegments(Vec<String>);

impl PathSegments {
    /// Reads a raw (still percent-encoded) path without its query.
    ///
    /// Repeated and trailing slashes are dropped because real clients send them (`az resource` without `--parent`
    /// writes `Microsoft.X//type`). Percent-encoding is undone once: `%252F` stays the text `%2F`.
    ///
    /// # Errors
    /// 400 `InvalidRequestUri` for anything that two readers could understand differently: see [`PathSegments`].
    pub fn parse(raw_path: &str) -> Result<Self, ArmError> {
        check_length(raw_path)?;
        if !raw_path.starts_with('/') {
            return Err(ArmError::invalid_request_uri("The request path must begin with '/'."));
        }
        Self::collect(raw_path, decode)
    }

    /// Reads text that was never percent-encoded, as the resource ids in a body are.
    pub(crate) fn of_plain_text(text: &str) -> Result<Self, ArmError> {
        check_length(text)?;
        Self::collect(text, |segment| Ok(segment.to_owned()))
    }

    /// The segments as the client spelled them.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The segments in lower case, for matching.
    ///
    /// Only ASCII letters fold: the Kelvin sign must not become `k`, nor a dotted capital I an `i`.
    pub fn lower(&self) -> Vec<String> {
        self.0.iter().map(|segment| segment.to_ascii_lowercase()).collect()
    }

    fn collect(text: &str, decode: impl Fn(&str) -> Result<String, ArmError>) -> Result<Self, ArmError> {
        let mut segments = Vec::new();
        for raw in text.split('/').filter(|segment| !segment.is_empty()) {
            if segments.len() == MAX_SEGMENTS {
                return Err(ArmError::invalid_request_uri(format!(
                    "The path has more than {MAX_SEGMENTS} segments; no resource is nested that deep."
                )));
            }
            let segment = decode(raw)?;
            check_segment(&segment)?;
            segments.push(segment);
        }
        Ok(Self(segments))
    }
}

/// A raw path with its repeated slashes made one, for readers of text. [`PathSegments::parse`] reads both alike.
pub fn tidied(raw_path: &str) -> Cow<'_, str> {
    if !raw_path.contains("//") {
        return Cow::Borrowed(raw_path);
    }
    let mut tidied = String::with_capacity(raw_path.len());
    for letter in raw_path.chars() {
        if letter != '/' || !tidied.ends_with('/') {
            tidied.push(letter);
        }
    }
    Cow::Owned(tidied)
}

fn check_length(text: &str) -> Result<(), ArmError> {
    if text.len() > MAX_BYTES {
        return Err(ArmError::invalid_request_uri(format!(
            "The path is {} bytes long; at most {MAX_BYTES} are accepted.",
            text.len()
        )));
    }
    Ok(())
}

/// Undoes percent-encoding once. `percent_decode_str` lets a broken sequence such as `%zz` pass as plain text, which
/// would give two spellings to one name, so the sequences are checked first.
fn decode(segment: &str) -> Result<String, ArmError> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let whole = match byte {
            b'%' => [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(|d| d.is_ascii_hexdigit())),
            _ => true,
        };
        if !whole {
            return Err(ArmError::invalid_request_uri(format!(
                "The path segment '{}' has a '%' that is not followed by two hexadecimal digits; write a plain '%' as '%25'.",
                shown(segment)
            )));
        }
    }
    percent_decode_str(segment).decode_utf8().map(Cow::into_owned).map_err(|_| {
        ArmError::invalid_request_uri(format!("The path segment '{}' is not UTF-8 after decoding.", shown(segment)))
    })
}

fn check_segment(segment: &str) -> Result<(), ArmError> {
    if segment == "." || segment == ".." {
        return Err(ArmError::invalid_request_uri(
            "The path contains a '.' or '..' segment; write the path without relative parts.",
        ));
    }
    let refused = |c: char| matches!(c, '/' | '\\' | '?' | '#') || c.is_control() || is_invisible(c);
    match segment.chars().find(|&c| refused(c)) {
        None => Ok(()),
        Some(c) => Err(ArmError::invalid_request_uri(format!(
            "The path segment '{}' contains the character U+{:04X}, which is not allowed there, encoded or not.",
            shown(segment),
            u32::from(c)
        ))),
    }
}

/// Characters that print as nothing (Unicode's `Default_Ignorable_Code_Point`, interlinear marks) or as a blank other
/// than the common one: two ids that look the same on every screen must not be two resources.
pub(crate) fn is_invisible(c: char) -> bool {
    let blank = c.is_whitespace() && c != ' ';
    blank
        || matches!(c, '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Longest path accepted, in bytes before decoding; the longest id the reference's names allow stays well below.
const MAX_BYTES: usize = 2048;
const MAX_SEGMENTS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segments(raw: &str) -> Vec<String> {
        PathSegments::parse(raw).unwrap().as_slice().to_vec()
    }

    fn refusal(raw: &str) -> String {
        let error = PathSegments::parse(raw).expect_err(raw);
        assert_eq!((error.status, &*error.code), (400, "InvalidRequestUri"));
        error.message.clone()
    }

    #[test]
    fn repeated_and_trailing_slashes_are_dropped() {
        assert_eq!(segments("//subscriptions//s/"), ["subscriptions", "s"]);
        assert!(segments("/").is_empty());
    }

    #[test]
    fn encoding_is_undone_once() {
        assert_eq!(segments("/a%20b/%252F/caf%C3%A9"), ["a b", "%2F", "café"]);
    }

    #[test]
    fn ambiguous_segments_are_refused() {
        for raw in [
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/%2E/b",
            "/a%2fb",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/a%00b",
            "/a%0Ab",
            "/a%1b[31m",
            "/a%7fb",
            "/a%C2%85b",
            "/a?b",
            "/a%3Fb",
            "/a#b",
            "/a%E2%80%8Bb",
            "/a%E2%80%AEb",
            "/a%EF%BB%BF",
            "/a%C2%A0b",
            "/%E3%85%A4",
        ] {
            refusal(raw);
        }
    }

    #[test]
    fn broken_encoding_is_refused() {
        for raw in ["/a%", "/a%2", "/a%zz", "/a%%20", "/%ff", "/%C0%AF", "/%ED%A0%80"] {
            refusal(raw);
        }
    }

    #[test]
    fn a_path_that_is_not_absolute_is_refused() {
        refusal("");
        refusal("*");
        refusal("subscriptions/s");
    }

    #[test]
    fn limits_hold_to_the_byte_and_the_segment() {
        assert_eq!(segments(&format!("/{}", "a".repeat(2047)))[0].len(), 2047);
        refusal(&format!("/{}", "a".repeat(2048)));
        assert_eq!(segments(&"/a".repeat(64)).len(), 64);
        refusal(&"/a".repeat(65));
    }

    #[test]
    fn only_ascii_letters_fold() {
        let path = PathSegments::parse("/ResourceGroups/%E2%84%AA/%C4%B0").unwrap();
        assert_eq!(path.lower(), ["resourcegroups", "\u{212A}", "\u{130}"]);
    }

    #[test]
    fn a_refusal_does_not_carry_control_characters_on() {
        assert!(!refusal("/a%0A%1b[31m").chars().any(char::is_control));
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_its_promises(raw in "/[ -~]{0,60}|/\\PC{0,40}") {
            if let Ok(path) = PathSegments::parse(&raw) {
                for segment in path.as_slice() {
                    prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                    prop_assert!(!segment.contains(['/', '\\', '\0']));
                }
            }
        }

        #[test]
        fn encoding_every_byte_changes_nothing(name in "[a-zA-Z0-9 ()é漢-]{1,20}") {
            let encoded = name.bytes().fold(String::from("/"), |path, byte| format!("{path}%{byte:02x}"));
            prop_assert_eq!(segments(&encoded), [name]);
        }
    }
}
