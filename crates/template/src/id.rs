//! Resource ids as the template language makes and compares them.

/// Where a deployment puts the resources it declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole tenant.
    Tenant,
    /// A management group, by name.
    ManagementGroup(String),
    /// A subscription, by id.
    Subscription(String),
    /// A resource group.
    Group {
        /// The subscription's id.
        subscription: String,
        /// The group's name.
        group: String,
    },
}

impl Scope {
    /// The id of the scope; empty for the tenant, so that `/providers/...` follows it.
    pub fn id(&self) -> String {
        match self {
            Self::Tenant => String::new(),
            Self::ManagementGroup(name) => format!("/providers/Microsoft.Management/managementGroups/{name}"),
            Self::Subscription(id) => format!("/subscriptions/{id}"),
            Self::Group { subscription, group } => format!("/subscriptions/{subscription}/resourceGroups/{group}"),
        }
    }

    /// The subscription of the scope, if it is in one.
    pub fn subscription(&self) -> Option<&str> {
        match self {
            Self::Subscription(id) | Self::Group { subscription: id, .. } => Some(id),
            Self::Tenant | Self::ManagementGroup(_) => None,
        }
    }

    /// Reads the id of a scope; `None` when it is a resource's.
    pub fn parse(id: &str) -> Option<Self> {
        let segments: Vec<&str> = id.split('/').filter(|segment| !segment.is_empty()).collect();
        let is = |text: &str, other: &str| text.eq_ignore_ascii_case(other);
        match segments.as_slice() {
            [] => Some(Self::Tenant),
            [subscriptions, id] if is(subscriptions, "subscriptions") => Some(Self::Subscription((*id).to_owned())),
            [subscriptions, id, groups, group]
                if is(subscriptions, "subscriptions") && is(groups, "resourceGroups") =>
            {
                Some(Self::Group { subscription: (*id).to_owned(), group: (*group).to_owned() })
            }
            [.., provider, kind, name] if is(provider, "Microsoft.Management") && is(kind, "managementGroups") => {
                Some(Self::ManagementGroup((*name).to_owned()))
            }
            _ => None,
        }
    }
}

/// The id of a resource below `scope`: `a/b` of type `N/t/u` is `{scope}/providers/N/t/a/u/b`.
///
/// A type may itself contain `/providers/`, the old form of extension resources; zipping gives the right id.
pub(crate) fn resource_id(scope: &str, type_name: &str, name: &str) -> Result<String, String> {
    let mut types = type_name.split('/');
    let namespace = types.next().unwrap_or_default();
    let types: Vec<&str> = types.collect();
    let names: Vec<&str> = name.split('/').filter(|segment| !segment.is_empty()).collect();
    if types.len() != names.len() {
        return Err(format!(
            "The type '{type_name}' needs a name of {} segment(s), but '{name}' has {}.",
            types.len(),
            names.len()
        ));
    }
    let special = |kind: &str| format!("{namespace}/{}", types.join("/")).eq_ignore_ascii_case(kind);
    if special(GROUPS)
        && let Some(subscription) = Scope::parse(scope).as_ref().and_then(Scope::subscription)
    {
        return Ok(format!("/subscriptions/{subscription}/resourceGroups/{name}"));
    }
    if special("Microsoft.Resources/subscriptions") {
        return Ok(format!("/subscriptions/{name}"));
    }
    if special("Microsoft.Management/managementGroups") {
        return Ok(format!("/providers/{namespace}/{}/{name}", types.join("/")));
    }
    Ok(plain_id(scope, namespace, &types, &names))
}

/// As [`resource_id`] without the special types: what `resourceId()` and its kin answer.
pub(crate) fn plain_id(scope: &str, namespace: &str, types: &[&str], names: &[&str]) -> String {
    let mut id = format!("{}/providers/{namespace}", scope.trim_end_matches('/'));
    for (kind, name) in types.iter().zip(names) {
        id.push('/');
        id.push_str(kind);
        id.push('/');
        id.push_str(name);
    }
    id
}

/// The form in which ids are compared: lower case, no trailing slash, resource groups by their own path.
pub(crate) fn key(id: &str) -> String {
    let key = id.trim_end_matches('/').to_ascii_lowercase();
    // `subscriptionResourceId('Microsoft.Resources/resourceGroups', name)` names a group like any other resource.
    if let Some((scope, name)) = key.rsplit_once("/providers/microsoft.resources/resourcegroups/")
        && !name.contains('/')
        && let Some(subscription) = Scope::parse(scope).as_ref().and_then(Scope::subscription)
    {
        return format!("/subscriptions/{subscription}/resourcegroups/{name}");
    }
    key
}

/// `Microsoft.X/a/b` of an id: the type after its last `/providers/`.
pub(crate) fn type_of(id: &str) -> Option<String> {
    let lower = id.to_ascii_lowercase();
    let Some(at) = lower.rfind("/providers/") else {
        return match Scope::parse(id)? {
            Scope::Group { .. } => Some(GROUPS.to_owned()),
            Scope::Subscription(_) => Some("Microsoft.Resources/subscriptions".to_owned()),
            _ => None,
        };
    };
    let mut segments = id.get(at + "/providers/".len()..)?.split('/');
    let mut type_name = segments.next()?.to_owned();
    for kind in segments.step_by(2) {
        type_name.push('/');
        type_name.push_str(kind);
    }
    Some(type_name)
}

/// Every id above this one, nearest first: parents, the scope of an extension, the group, the subscription.
pub(crate) fn ancestors(key: &str) -> impl Iterator<Item = &str> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let cut = rest.rfind('/')?;
        rest = rest.get(..cut).filter(|rest| !rest.is_empty())?;
        Some(rest)
    })
}

const GROUPS: &str = "Microsoft.Resources/resourceGroups";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_zip_types_and_names() {
        let group = "/subscriptions/s/resourceGroups/g";
        for (scope, type_name, name, id) in [
            (group, "Microsoft.X/a", "n", "/subscriptions/s/resourceGroups/g/providers/Microsoft.X/a/n"),
            (group, "Microsoft.X/a/b", "n/m", "/subscriptions/s/resourceGroups/g/providers/Microsoft.X/a/n/b/m"),
            (
                group,
                "Microsoft.X/a/providers/locks",
                "n/Microsoft.Authorization/l",
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.X/a/n/providers/Microsoft.Authorization/locks/l",
            ),
            ("/subscriptions/s", "Microsoft.Resources/resourceGroups", "g", group),
            ("", "Microsoft.X/a", "n", "/providers/Microsoft.X/a/n"),
        ] {
            assert_eq!(resource_id(scope, type_name, name).as_deref(), Ok(id));
        }
        let error = resource_id(group, "Microsoft.X/a/b", "n").expect_err("one name missing");
        assert!(error.contains("2 segment(s), but 'n' has 1"), "{error}");
    }

    #[test]
    fn keys_ignore_case_and_the_two_ways_to_name_a_group() {
        assert_eq!(
            key("/Subscriptions/S/providers/Microsoft.Resources/resourceGroups/G/"),
            "/subscriptions/s/resourcegroups/g"
        );
        assert_eq!(type_of("/subscriptions/s/resourceGroups/g").as_deref(), Some("Microsoft.Resources/resourceGroups"));
        assert_eq!(
            type_of("/x/providers/Microsoft.X/a/n/providers/Microsoft.Y/b/m/c/o").as_deref(),
            Some("Microsoft.Y/b/c")
        );
    }
}
