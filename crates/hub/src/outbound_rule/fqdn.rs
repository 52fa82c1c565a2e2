//! Host names in rules: `pypi.org`, `*.anaconda.org` (mission.md G8-G10).

use std::fmt;

/// A host name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fqdn {
    is_wildcard: bool,
    name: String,
}

impl Fqdn {
    /// Reads a name in any case, with or without a final dot. The error is a sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let bare = trimmed.strip_suffix('.').unwrap_or(trimmed).to_ascii_lowercase();
        if bare.contains("://") || bare.contains('/') {
            return Err(format!("'{text}' is an address of a page. Give the host name alone, without scheme or path."));
        }
        if bare.starts_with('[') || bare.matches(':').count() > 1 {
            return Err(format!(
                "'{text}' is an IP address. Use a ServiceTag rule with addressPrefixes for addresses."
            ));
        }
        if bare.contains(':') {
            return Err(format!("'{text}' names a port. An FQDN rule is for ports 80 and 443; give the name alone."));
        }
        let (is_wildcard, name) = match bare.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, bare.as_str()),
        };
        if name.contains('*') {
            return Err(format!(
                "'{text}' has a * in an odd place. A wildcard is the first label, as in *.example.com."
            ));
        }
        if !name.is_ascii() {
            return Err(format!("'{text}' has letters beyond ASCII. Write the name in its xn-- form."));
        }
        if name.is_empty() || name.len() > 253 || !name.split('.').all(is_label) {
            return Err(format!(
                "'{text}' is not a host name. Use letters, digits and hyphens in labels, as in pypi.org."
            ));
        }
        // Also what only looks like a name: the last label of a name is never a number (RFC 3696, section 2), but
        // resolvers read 127.1, 0x7f000001 and 2130706433 as addresses.
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(format!(
                "'{text}' is an IP address. Use a ServiceTag rule with addressPrefixes for addresses."
            ));
        }
        Ok(Self { is_wildcard, name: name.to_owned() })
    }

    /// Whether it stands for all names below [`Fqdn::name`], the name itself not included.
    pub fn is_wildcard(&self) -> bool {
        self.is_wildcard
    }

    /// The name without the wildcard.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it lets through a name below `suffix`.
    pub fn reaches_below(&self, suffix: &str) -> bool {
        is_below(&self.name, suffix) || self.is_wildcard && (self.name == suffix || is_below(suffix, &self.name))
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.name)
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
}

/// Underscores are not for host names, but resolvers and clients use them.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let cases = [
            ("pypi.org", "pypi.org"),
            ("PyPI.org.", "pypi.org"),
            (" *.Anaconda.ORG ", "*.anaconda.org"),
            // azurerm's own acceptance tests use a name of one label (infrastructure-as-code.md 5.3).
            ("destination", "destination"),
            ("destination_endpoint", "destination_endpoint"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("3com.com", "3com.com"),
        ];
        for (text, expected) in cases {
            assert_eq!(Fqdn::parse(text).map(|name| name.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        let cases = [
            ("", "not a host name"),
            (".", "not a host name"),
            ("*", "odd place"),
            ("*.", "odd place"),
            ("*.*.com", "odd place"),
            ("a.*.com", "odd place"),
            ("py*.org", "odd place"),
            ("a..b", "not a host name"),
            ("-a.com", "not a host name"),
            ("a b.com", "not a host name"),
            ("https://pypi.org", "address of a page"),
            ("pypi.org/simple", "address of a page"),
            ("pypi.org:443", "names a port"),
            ("bücher.example", "xn--"),
            ("10.0.0.1", "IP address"),
            ("127.1", "IP address"),
            ("2130706433", "IP address"),
            ("0x7f000001", "IP address"),
            ("0x", "IP address"),
            ("*.0.0.1", "IP address"),
            ("::1", "IP address"),
            ("[2001:db8::1]", "IP address"),
        ];
        for (text, reason) in cases {
            let message = Fqdn::parse(text).expect_err(text);
            assert!(message.contains(reason), "{text}: {message}");
        }
        assert!(Fqdn::parse(&format!("{}.com", "a".repeat(64))).is_err());
        assert!(Fqdn::parse(&["abcdefgh"; 30].join(".")).is_err());
    }

    #[test]
    fn a_wildcard_reaches_what_lies_below_it() {
        let suffix = "blob.core.windows.net";
        for text in ["lake.blob.core.windows.net", "*.blob.core.windows.net", "*.core.windows.net", "*.net"] {
            assert!(Fqdn::parse(text).unwrap().reaches_below(suffix), "{text}");
        }
        for text in ["blob.core.windows.net", "core.windows.net", "myblob.core.windows.net", "*.windows.com"] {
            assert!(!Fqdn::parse(text).unwrap().reaches_below(suffix), "{text}");
        }
    }
}
