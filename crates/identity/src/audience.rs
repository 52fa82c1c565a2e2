//! Which resource a token is asked for.

use crate::oauth_error::Refusal;

/// The resources tokens are given for.
#[derive(Debug, Clone)]
pub(crate) struct Audiences {
    spellings: Vec<String>,
    default: Option<String>,
}

impl Audiences {
    /// Every audience counts with and without its trailing slash.
    pub(crate) fn new(audiences: &[String]) -> Self {
        let spellings = audiences
            .iter()
            .map(|audience| audience.strip_suffix('/').unwrap_or(audience))
            .filter(|bare| !bare.is_empty())
            .flat_map(|bare| [bare.to_owned(), format!("{bare}/")])
            .collect();
        Self { spellings, default: audiences.first().cloned() }
    }

    pub(crate) fn spellings(&self) -> &[String] {
        &self.spellings
    }

    fn accept(&self, resource: &str) -> bool {
        self.spellings.iter().any(|spelling| spelling == resource)
    }

    /// The resource named outright, as managed identities and the v1 form do.
    pub(crate) fn resource(&self, resource: &str) -> Result<String, Refusal> {
        let bare = resource.strip_suffix("/.default").filter(|_| !self.accept(resource)).unwrap_or(resource);
        if self.accept(bare) { Ok(bare.to_owned()) } else { Err(Refusal::unknown_resource()) }
    }

    /// What a scope parameter asks for.
    pub(crate) fn requested(&self, scope: &str) -> Result<Requested, Refusal> {
        let mut requested = Requested::default();
        for part in scope.split_ascii_whitespace() {
            match part {
                "openid" => requested.openid = true,
                "offline_access" => requested.offline_access = true,
                "profile" | "email" => {}
                _ => {
                    let resource = self.resource_of(part)?;
                    if requested.resource.as_ref().is_some_and(|other| *other != resource) {
                        return Err(Refusal::mixed_resources());
                    }
                    requested.resource = Some(resource);
                    requested.scopes.push(part.to_owned());
                }
            }
        }
        Ok(requested)
    }

    /// The resource that stands in when a person's client names none.
    pub(crate) fn default_resource(&self) -> Result<String, Refusal> {
        self.default.clone().ok_or_else(Refusal::unknown_resource)
    }

    /// `https://host/.default`, `https://host//.default` (of the audience `https://host/`) or `https://host/permission`.
    fn resource_of(&self, scope: &str) -> Result<String, Refusal> {
        let (resource, _permission) = scope.rsplit_once('/').ok_or_else(Refusal::unknown_resource)?;
        if self.accept(resource) { Ok(resource.to_owned()) } else { Err(Refusal::unknown_resource()) }
    }
}

/// The meaning of a scope parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requested {
    /// The one resource, spelt as it was asked for.
    pub(crate) resource: Option<String>,
    /// The scopes of that resource.
    pub(crate) scopes: Vec<String>,
    /// Whether an id token is wanted.
    pub(crate) openid: bool,
    /// Whether a refresh token is wanted.
    pub(crate) offline_access: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_counts_with_and_without_its_slash() {
        for (scope, resource) in [
            ("https://h:1/.default", "https://h:1"),
            ("https://h:1//.default", "https://h:1/"),
            ("https://h:1/graph/.default", "https://h:1/graph"),
            ("https://h:1/graph//.default", "https://h:1/graph/"),
            ("https://h:1/user_impersonation", "https://h:1"),
        ] {
            let requested = audiences().requested(scope).unwrap();
            assert_eq!(requested.resource.as_deref(), Some(resource), "{scope}");
        }
    }

    #[test]
    fn scopes_of_openid_connect_name_no_resource() {
        let requested = audiences().requested("openid  profile offline_access").unwrap();
        assert_eq!(requested, Requested { openid: true, offline_access: true, ..Requested::default() });
    }

    #[test]
    fn another_resource_is_refused_however_it_is_dressed_up() {
        for scope in [
            "https://h:2/.default",
            "https://h:1.evil/.default",
            "https://H:1/.default",
            "https://h:1///.default",
            "https://h:1/other/.default",
            ".default",
            "/.default",
            "User.Read",
        ] {
            assert_eq!(audiences().requested(scope), Err(Refusal::unknown_resource()), "{scope}");
        }
    }

    #[test]
    fn two_resources_in_one_request_are_refused() {
        let scope = "https://h:1/.default https://h:1/graph/.default";
        assert_eq!(audiences().requested(scope), Err(Refusal::mixed_resources()));
    }

    #[test]
    fn a_resource_named_outright_may_carry_default() {
        assert_eq!(audiences().resource("https://h:1/").unwrap(), "https://h:1/");
        assert_eq!(audiences().resource("https://h:1/.default").unwrap(), "https://h:1");
        assert!(audiences().resource("https://h:2").is_err());
    }

    fn audiences() -> Audiences {
        Audiences::new(&["https://h:1/".to_owned(), "https://h:1/graph".to_owned()])
    }
}
