//! Rules about changing role assignments and definitions that no role lets anybody break.

use thiserror::Error;
use uuid::Uuid;

use crate::{Attributes, Permission, RoleAssignment, RoleDefinition, Source};

/// Why a change to roles is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GuardError {
    /// Another assignment already gives the same role to the same principal at the same scope.
    #[error("The role assignment already exists. The ID of the existing role assignment is {}.", .0.simple())]
    Exists(Uuid),
    /// An update that would make the assignment a different one.
    #[error("Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")]
    UpdateNotPermitted,
    /// An update that would take the condition's version back.
    #[error("The condition version of a role assignment cannot be downgraded or removed while it has a condition.")]
    ConditionVersion,
    /// Nobody would be left who can assign roles in the subscription.
    #[error(
        "Cannot delete the last RBAC admin assignment. Assign Owner or User Access Administrator to somebody else at \
         '{0}' first."
    )]
    LastAdministrator(String),
    /// A role that is still assigned.
    #[error("There are {0} existing role assignments referencing the role. Delete them before the role definition.")]
    DefinitionHasAssignments(usize),
}

impl GuardError {
    /// The error code that clients know, with its HTTP status.
    pub fn code(&self) -> (u16, &'static str) {
        match self {
            Self::Exists(_) => (409, "RoleAssignmentExists"),
            Self::UpdateNotPermitted | Self::ConditionVersion => (400, "RoleAssignmentUpdateNotPermitted"),
            Self::LastAdministrator(_) => (400, "CannotDeleteLastRbacAdminAssignment"),
            Self::DefinitionHasAssignments(_) => (400, "RoleDefinitionHasAssignments"),
        }
    }
}

/// Whether an assignment may be stored: new, or as an update of the one with its name.
pub fn may_put<'a>(
    existing: impl IntoIterator<Item = &'a RoleAssignment>,
    new: &RoleAssignment,
) -> Result<(), GuardError> {
    for old in existing {
        if old.name != new.name {
            let is_twin = old.principal_id == new.principal_id
                && old.role_definition_id == new.role_definition_id
                && same_scope(&old.scope, &new.scope);
            if is_twin {
                return Err(GuardError::Exists(old.name));
            }
            continue;
        }
        if old.principal_id != new.principal_id || !same_scope(&old.scope, &new.scope) {
            return Err(GuardError::UpdateNotPermitted);
        }
        let kept = new.condition.is_none() || new.condition_version >= old.condition_version;
        if !kept {
            return Err(GuardError::ConditionVersion);
        }
    }
    Ok(())
}

/// Whether an assignment may be removed: somebody must remain who can assign any role at its subscription.
///
/// Asked with `existing` including the one to remove. Assignments below a subscription may always go.
pub fn may_delete(existing: &[RoleAssignment], roles: &[RoleDefinition], name: Uuid) -> Result<(), GuardError> {
    let Some(removed) = existing.iter().find(|assignment| assignment.name == name) else { return Ok(()) };
    let segments = removed.scope.split('/').filter(|segment| !segment.is_empty()).count();
    if segments > 2 || !administers(removed, roles) {
        return Ok(());
    }
    let remains = existing.iter().any(|other| {
        other.name != name
            && (same_scope(&other.scope, &removed.scope) || same_scope(&other.scope, "/"))
            && administers(other, roles)
    });
    if remains { Ok(()) } else { Err(GuardError::LastAdministrator(removed.scope.clone())) }
}

/// Whether a role definition may be removed: nobody may still hold it.
pub fn may_delete_definition<'a>(
    existing: impl IntoIterator<Item = &'a RoleAssignment>,
    role: Uuid,
) -> Result<(), GuardError> {
    match existing.into_iter().filter(|assignment| assignment.role_definition_id == role).count() {
        0 => Ok(()),
        count => Err(GuardError::DefinitionHasAssignments(count)),
    }
}

/// What delegation conditions see when role assignments are changed.
///
/// A write is judged by what the request asks for (`@Request`), a delete by what is stored (`@Resource`); an update
/// shows both.
pub fn delegation_attributes(stored: Option<&RoleAssignment>, requested: Option<&RoleAssignment>) -> Attributes {
    let mut attributes = Attributes::default();
    for (source, assignment) in [(Source::Resource, stored), (Source::Request, requested)] {
        let Some(assignment) = assignment else { continue };
        let kind = format!("{:?}", assignment.principal_type);
        attributes.insert(source, ROLE, assignment.role_definition_id.to_string());
        attributes.insert(source, PRINCIPAL, assignment.principal_id.to_string());
        attributes.insert(source, PRINCIPAL_TYPE, kind);
    }
    attributes
}

/// Whether an assignment lets its principal assign any role: Owner, User Access Administrator and the like.
fn administers(assignment: &RoleAssignment, roles: &[RoleDefinition]) -> bool {
    let covers = |patterns: &[String]| patterns.iter().any(|text| crate::ActionPattern::new(text).matches(ASSIGN));
    let grants =
        |block: &Permission| block.condition.is_none() && covers(&block.actions) && !covers(&block.not_actions);
    let role = roles.iter().find(|role| role.id == assignment.role_definition_id);
    assignment.condition.is_none() && role.is_some_and(|role| role.permissions.iter().any(grants))
}

fn same_scope(left: &str, right: &str) -> bool {
    left.trim_end_matches('/').eq_ignore_ascii_case(right.trim_end_matches('/'))
}

const ASSIGN: &str = "Microsoft.Authorization/roleAssignments/write";
const ROLE: &str = "Microsoft.Authorization/roleAssignments:RoleDefinitionId";
const PRINCIPAL: &str = "Microsoft.Authorization/roleAssignments:PrincipalId";
const PRINCIPAL_TYPE: &str = "Microsoft.Authorization/roleAssignments:PrincipalType";

#[cfg(test)]
mod tests {
    use uuid::uuid;

    use super::*;
    use crate::builtin_roles;

    const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
    const READER: Uuid = uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7");
    const SUBSCRIPTION: &str = "/subscriptions/s";

    fn assignment(name: u128, scope: &str, role: Uuid, principal: u128) -> RoleAssignment {
        RoleAssignment::new(Uuid::from_u128(name), scope, role, Uuid::from_u128(principal))
    }

    #[test]
    fn the_same_grant_under_another_name_exists_already() {
        let existing = [assignment(1, SUBSCRIPTION, READER, 7)];
        let twin = assignment(2, "/Subscriptions/S", READER, 7);
        assert_eq!(may_put(&existing, &twin), Err(GuardError::Exists(Uuid::from_u128(1))));
        assert_eq!(may_put(&existing, &assignment(1, SUBSCRIPTION, READER, 7)), Ok(()));
        assert_eq!(may_put(&existing, &assignment(2, SUBSCRIPTION, OWNER, 7)), Ok(()));
    }

    #[test]
    fn an_update_keeps_principal_scope_and_condition_version() {
        let mut old = assignment(1, SUBSCRIPTION, READER, 7);
        old.condition = Some("ActionMatches{'a'}".to_owned());
        old.condition_version = Some("2.0".to_owned());
        let existing = [old.clone()];
        assert_eq!(may_put(&existing, &assignment(1, SUBSCRIPTION, READER, 8)), Err(GuardError::UpdateNotPermitted));
        assert_eq!(may_put(&existing, &assignment(1, "/", READER, 7)), Err(GuardError::UpdateNotPermitted));
        let downgraded = RoleAssignment { condition_version: Some("1.0".to_owned()), ..old.clone() };
        assert_eq!(may_put(&existing, &downgraded), Err(GuardError::ConditionVersion));
        assert_eq!(may_put(&existing, &old), Ok(()));
    }

    #[test]
    fn the_last_administrator_of_a_subscription_stays() {
        let owner = assignment(1, SUBSCRIPTION, OWNER, 7);
        let refused = Err(GuardError::LastAdministrator(SUBSCRIPTION.to_owned()));
        let alone =
            [owner.clone(), assignment(2, SUBSCRIPTION, READER, 8), assignment(3, "/subscriptions/s/x/y", OWNER, 8)];
        assert_eq!(may_delete(&alone, builtin_roles(), owner.name), refused);
        assert_eq!(may_delete(&alone, builtin_roles(), Uuid::from_u128(2)), Ok(()));
        assert_eq!(may_delete(&alone, builtin_roles(), Uuid::from_u128(3)), Ok(()));

        let mut limited = assignment(2, SUBSCRIPTION, OWNER, 8);
        assert_eq!(may_delete(&[owner.clone(), limited.clone()], builtin_roles(), owner.name), Ok(()));
        // One who may assign some roles only is no administrator.
        limited.condition = Some("@Request[x] StringEquals 'y'".to_owned());
        assert_eq!(may_delete(&[owner.clone(), limited], builtin_roles(), owner.name), refused);
    }

    #[test]
    fn a_role_in_use_stays() {
        let existing = [assignment(1, SUBSCRIPTION, READER, 7)];
        assert_eq!(may_delete_definition(&existing, READER), Err(GuardError::DefinitionHasAssignments(1)));
        assert_eq!(may_delete_definition(&existing, OWNER), Ok(()));
    }
}
