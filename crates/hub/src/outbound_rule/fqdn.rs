//! Host names in rules: `pypi.org`, `*.anaconda.org` (mission.md G8-G10).

use std::fmt;

use bastide_inspect::NamePattern;

/// A host name, or all names below one, in the form that firewall and resolver know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fqdn(NamePattern);

impl Fqdn {
    /// Reads a name in any case, with or without a final dot. The error is a sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text.trim();
        if bare.contains('/') {
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
        // What is read must be what was written: clients compare.
        if !bare.is_ascii() {
            return Err(format!("'{text}' has letters beyond ASCII. Write the name in its xn-- form."));
        }
        NamePattern::parse(bare).map(Self).map_err(|error| format!("'{text}' is not what a rule can name: {error}"))
    }

    /// The names it stands for.
    pub fn pattern(&self) -> &NamePattern {
        &self.0
    }

    /// Whether it lets through a name below `suffix`.
    pub fn reaches_below(&self, suffix: &str) -> bool {
        let name = self.0.name().as_str();
        is_below(name, suffix) || self.0.is_wildcard() && (name == suffix || is_below(suffix, name))
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
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
            ("", "empty"),
            (".", "empty"),
            ("*", "wildcard alone"),
            ("*.", "wildcard alone"),
            ("*.com", "top-level domain"),
            ("*.*.com", "odd place"),
            ("a.*.com", "odd place"),
            ("py*.org", "odd place"),
            ("a..b", "a label"),
            ("-a.com", "hyphen"),
            ("a b.com", "does not belong"),
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
        for text in ["lake.blob.core.windows.net", "*.blob.core.windows.net", "*.core.windows.net", "*.windows.net"] {
            assert!(Fqdn::parse(text).unwrap().reaches_below(suffix), "{text}");
        }
        for text in ["blob.core.windows.net", "core.windows.net", "myblob.core.windows.net", "*.windows.com"] {
            assert!(!Fqdn::parse(text).unwrap().reaches_below(suffix), "{text}");
        }
    }
}
