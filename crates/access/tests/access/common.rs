//! Fixtures that the tests share.

use bastide_access::{Access, Attributes, Decision, DenyAssignment, DenyPrincipal, Permission, Request};
use bastide_access::{RoleAssignment, RoleDefinition, RoleKind};
use uuid::Uuid;

pub(crate) const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a";
pub(crate) const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg";
pub(crate) const HUB: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg/providers/\
                       Microsoft.MachineLearningServices/workspaces/hub";
pub(crate) const READ_HUB: &str = "Microsoft.MachineLearningServices/workspaces/read";

/// A user, group or other principal by a small number.
pub(crate) fn principal(number: u128) -> Uuid {
    Uuid::from_u128(0x1000 + number)
}

/// A custom role whose id is `number`.
pub(crate) fn role(number: u128, actions: &[&str], not_actions: &[&str]) -> RoleDefinition {
    let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
    RoleDefinition {
        id: Uuid::from_u128(number),
        role_name: format!("Role {number}"),
        kind: RoleKind::Custom,
        description: String::new(),
        assignable_scopes: vec!["/".to_owned()],
        permissions: vec![Permission {
            actions: owned(actions),
            not_actions: owned(not_actions),
            ..Permission::default()
        }],
        created_by: None,
        created_on: None,
        updated_by: None,
        updated_on: None,
    }
}

/// An assignment named `name` of the role `role` to the principal `to`.
pub(crate) fn assignment(name: u128, scope: &str, role: u128, to: u128) -> RoleAssignment {
    RoleAssignment::new(Uuid::from_u128(name), scope, Uuid::from_u128(role), principal(to))
}

/// A deny assignment of `actions` to everyone.
pub(crate) fn deny(scope: &str, actions: &[&str]) -> DenyAssignment {
    DenyAssignment {
        name: Uuid::from_u128(0xdead),
        deny_assignment_name: "Protected".to_owned(),
        description: None,
        permissions: vec![Permission {
            actions: actions.iter().map(ToString::to_string).collect(),
            ..Permission::default()
        }],
        scope: scope.to_owned(),
        do_not_apply_to_child_scopes: false,
        principals: vec![DenyPrincipal::everyone()],
        exclude_principals: Vec::new(),
        is_system_protected: true,
        condition: None,
        condition_version: None,
    }
}

/// Asks for a control action of principal `who`, who is in no group.
pub(crate) fn decide(access: &Access, who: u128, action: &str, scope: &str) -> Decision {
    decide_with(access, who, &[], action, scope, &Attributes::NONE)
}

pub(crate) fn allowed(access: &Access, who: u128, action: &str, scope: &str) -> bool {
    decide(access, who, action, scope).is_allowed()
}

pub(crate) fn decide_with(
    access: &Access,
    who: u128,
    groups: &[Uuid],
    action: &str,
    scope: &str,
    attributes: &Attributes,
) -> Decision {
    access.decide(&Request { principal: principal(who), groups, action, data: false, scope, attributes })
}
