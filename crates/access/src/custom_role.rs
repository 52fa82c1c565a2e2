use thiserror::Error;

use crate::{ActionPattern, RoleDefinition};

/// Why a custom role is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CustomRoleError {
    /// An action pattern that is not one (`InvalidActionOrNotAction`).
    #[error("'{0}' contains multiple wildcards. Only one is allowed.")]
    MultipleWildcards(String),
    /// An action pattern that covers nothing there is (`InvalidActionOrNotAction`).
    #[error("'{0}' does not match any of the actions supported by the providers.")]
    UnsupportedAction(String),
    /// An action pattern with characters that no action has (`InvalidActionOrNotAction`).
    #[error("'{0}' has characters other than letters, digits, '.', '*' and '/'.")]
    Characters(String),
    /// A role that covers nothing.
    #[error("The role has no actions and no data actions; add at least one.")]
    NoActions,
    /// A role without a name, or with one that is too long.
    #[error("The role name must have 1 to {MAX_ROLE_NAME} characters.")]
    RoleName,
    /// A role that may be assigned nowhere.
    #[error("The role has no assignable scopes; name at least one subscription, resource group or management group.")]
    NoScopes,
    /// An assignable scope that a custom role cannot have.
    #[error(
        "'{0}' is not an assignable scope; use the id of a management group, subscription or resource group, without \
         wildcards and not '/'."
    )]
    Scope(String),
    /// More than one management group.
    #[error("Only one management group is allowed in the assignable scopes of a custom role.")]
    SeveralManagementGroups,
    /// Data actions together with a management group.
    #[error("You cannot add data action permissions when you have a management group as an assignable scope.")]
    DataActionsInManagementGroup,
}

impl CustomRoleError {
    /// The error code that clients know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MultipleWildcards(_) | Self::UnsupportedAction(_) | Self::Characters(_) => "InvalidActionOrNotAction",
            Self::NoActions | Self::RoleName => "InvalidRoleDefinition",
            Self::NoScopes | Self::Scope(_) | Self::SeveralManagementGroups | Self::DataActionsInManagementGroup => {
                "InvalidAssignableScope"
            }
        }
    }
}

impl RoleDefinition {
    /// Checks what a customer may define.
    ///
    /// `supported` says whether a pattern covers at least one action (or data action, by the flag) there is.
    pub fn validate_custom(
        &self,
        supported: impl Fn(&ActionPattern, /* data */ bool) -> bool,
    ) -> Result<(), CustomRoleError> {
        if self.role_name.is_empty() || self.role_name.chars().count() > MAX_ROLE_NAME {
            return Err(CustomRoleError::RoleName);
        }
        if self.permissions.iter().all(|block| block.actions.is_empty() && block.data_actions.is_empty()) {
            return Err(CustomRoleError::NoActions);
        }
        for block in &self.permissions {
            for pattern in block.actions.iter().chain(&block.not_actions) {
                validate_pattern(pattern, |pattern| supported(pattern, false))?;
            }
            for pattern in block.data_actions.iter().chain(&block.not_data_actions) {
                validate_pattern(pattern, |pattern| supported(pattern, true))?;
            }
        }
        self.validate_assignable_scopes()
    }

    /// Whether the role may be assigned at a scope: one of its assignable scopes, or below one.
    pub fn is_assignable_at(&self, scope: &str) -> bool {
        self.assignable_scopes.iter().any(|assignable| covers(assignable, scope))
    }

    fn validate_assignable_scopes(&self) -> Result<(), CustomRoleError> {
        if self.assignable_scopes.is_empty() {
            return Err(CustomRoleError::NoScopes);
        }
        let mut groups = 0;
        for scope in &self.assignable_scopes {
            match ScopeKind::of(scope) {
                Some(ScopeKind::ManagementGroup) => groups += 1,
                Some(ScopeKind::Other) => {}
                None => return Err(CustomRoleError::Scope(scope.clone())),
            }
        }
        if groups > 1 {
            return Err(CustomRoleError::SeveralManagementGroups);
        }
        if groups == 1 && self.permissions.iter().any(|block| !block.data_actions.is_empty()) {
            return Err(CustomRoleError::DataActionsInManagementGroup);
        }
        Ok(())
    }
}

/// Custom roles that one tenant may have.
pub const MAX_CUSTOM_ROLES: usize = 5000;

fn validate_pattern(text: &str, supported: impl Fn(&ActionPattern) -> bool) -> Result<(), CustomRoleError> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '*' | '/');
    if text.is_empty() || !text.chars().all(allowed) {
        return Err(CustomRoleError::Characters(text.to_owned()));
    }
    if text.matches('*').count() > 1 {
        return Err(CustomRoleError::MultipleWildcards(text.to_owned()));
    }
    if supported(&ActionPattern::new(text)) { Ok(()) } else { Err(CustomRoleError::UnsupportedAction(text.to_owned())) }
}

/// Scopes that custom roles may be assigned at.
enum ScopeKind {
    ManagementGroup,
    Other,
}

impl ScopeKind {
    fn of(scope: &str) -> Option<Self> {
        let segments: Vec<String> = scope.strip_prefix('/')?.split('/').map(str::to_ascii_lowercase).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let named = |name: &str| !name.is_empty() && !name.contains('*');
        match *segments {
            ["providers", "microsoft.management", "managementgroups", name] if named(name) => {
                Some(Self::ManagementGroup)
            }
            ["subscriptions", name] if named(name) => Some(Self::Other),
            ["subscriptions", subscription, "resourcegroups", name] if named(subscription) && named(name) => {
                Some(Self::Other)
            }
            // A role for one resource alone, as the cloud has come to accept.
            ["subscriptions", subscription, "resourcegroups", group, "providers", _, _, ..]
                if segments.len().is_multiple_of(2) && named(subscription) && named(group) =>
            {
                segments.iter().all(|segment| named(segment)).then_some(Self::Other)
            }
            _ => None,
        }
    }
}

fn covers(ancestor: &str, scope: &str) -> bool {
    let ancestor = ancestor.trim_end_matches('/');
    scope.get(..ancestor.len()).is_some_and(|head| head.eq_ignore_ascii_case(ancestor))
        && matches!(scope.as_bytes().get(ancestor.len()), None | Some(b'/'))
}

/// As long as the cloud lets a role name be.
const MAX_ROLE_NAME: usize = 512;

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{Permission, RoleKind};

    const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

    fn custom(actions: &[&str], scopes: &[&str]) -> RoleDefinition {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        RoleDefinition {
            id: Uuid::from_u128(1),
            role_name: "Hub watcher".to_owned(),
            kind: RoleKind::Custom,
            description: String::new(),
            assignable_scopes: owned(scopes),
            permissions: vec![Permission { actions: owned(actions), ..Permission::default() }],
            created_by: None,
            created_on: None,
            updated_by: None,
            updated_on: None,
        }
    }

    fn validate(role: &RoleDefinition) -> Result<(), CustomRoleError> {
        role.validate_custom(|pattern, data| !data && pattern.matches("Microsoft.Hub/hubs/read"))
    }

    #[test]
    fn an_ordinary_custom_role_passes() {
        assert_eq!(validate(&custom(&["Microsoft.Hub/*/read"], &[SUBSCRIPTION])), Ok(()));
        assert_eq!(validate(&custom(&["*"], &[&format!("{SUBSCRIPTION}/resourceGroups/rg")])), Ok(()));
    }

    #[test]
    fn bad_patterns_are_named() {
        let refused = |pattern: &str| {
            let error = validate(&custom(&[pattern], &[SUBSCRIPTION])).unwrap_err();
            assert_eq!(error.code(), "InvalidActionOrNotAction");
            error.to_string()
        };
        assert_eq!(refused("*/*/read"), "'*/*/read' contains multiple wildcards. Only one is allowed.");
        let unknown = "'Microsoft.Nothing/read' does not match any of the actions supported by the providers.";
        assert_eq!(refused("Microsoft.Nothing/read"), unknown);
        assert!(refused("Microsoft.Hub/my-hubs/read").contains("characters"));
        assert!(refused("").contains("characters"));
    }

    #[test]
    fn assignable_scopes_are_checked() {
        let group = "/providers/Microsoft.Management/managementGroups/mg";
        let refused = |scopes: &[&str]| validate(&custom(&["*"], scopes)).unwrap_err();
        assert_eq!(refused(&[]), CustomRoleError::NoScopes);
        for scope in
            ["/", "", "/subscriptions/*", "/subscriptions", "subscriptions/x", "/subscriptions/x/resourceGroups"]
        {
            assert_eq!(refused(&[scope]), CustomRoleError::Scope(scope.to_owned()), "{scope:?}");
        }
        assert_eq!(refused(&[group, group]), CustomRoleError::SeveralManagementGroups);
        let mut role = custom(&[], &[group]);
        role.permissions[0].data_actions.push("*".to_owned());
        assert_eq!(role.validate_custom(|_, _| true), Err(CustomRoleError::DataActionsInManagementGroup));
    }

    #[test]
    fn a_role_is_assignable_at_and_below_its_scopes() {
        let role = custom(&["*"], &["/subscriptions/S/resourceGroups/rg"]);
        assert!(role.is_assignable_at("/subscriptions/s/resourcegroups/RG"));
        assert!(role.is_assignable_at("/subscriptions/s/resourcegroups/RG/providers/a/b/c"));
        assert!(!role.is_assignable_at("/subscriptions/s/resourcegroups/RG2"));
        assert!(!role.is_assignable_at("/subscriptions/s"));
        assert!(custom(&["*"], &["/"]).is_assignable_at("/subscriptions/s"));
    }
}
