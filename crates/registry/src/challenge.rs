//! What a registry asks for before it answers: a token, which anybody gets for public images (RFC 6750 3, and the token
//! specification of the distribution project), or a name and a password (RFC 7617).

use url::Url;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token.
    Token(Realm),
    /// A name and a password.
    Password,
}

/// Where a token is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Realm {
    realm: Url,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenge {
    /// Of `WWW-Authenticate`. None when it asks for something else.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Realm::parse(rest).map(Self::Token),
            "basic" => Some(Self::Password),
            _ => None,
        }
    }
}

impl Realm {
    fn parse(rest: &str) -> Option<Self> {
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Url::parse(value).ok(),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = after.trim_start_matches([',', ' ']);
        }
        Some(Self { realm: realm?, service, scope })
    }

    /// The address to ask at.
    pub(crate) fn address(&self) -> Url {
        let mut address = self.realm.clone();
        for (name, value) in [("service", &self.service), ("scope", &self.scope)] {
            if let Some(value) = value {
                address.query_pairs_mut().append_pair(name, value);
            }
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_where_to_ask_for_what() {
        let header = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push",error=invalid_token"#;
        let Some(Challenge::Token(realm)) = Challenge::parse(header) else { panic!("a token is wanted") };
        let expected = "https://auth.example/token?service=registry.example&scope=repository%3Aa%2Fb%3Apull%2Cpush";
        assert_eq!(realm.address().as_str(), expected);
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Password));
        for other in ["Digest realm=\"x\"", "Bearer", "Bearer service=\"x\"", "Bearer realm=\"no address\"", "Bearer x"]
        {
            assert_eq!(Challenge::parse(other), None, "{other}");
        }
    }
}
