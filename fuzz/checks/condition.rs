//! Conditions: what is printed reads back as itself, and what cannot be read or answered grants nothing.

use bastide_access::{Access, Attributes, Condition, Request, RoleAssignment, Source, builtin_roles};
use uuid::Uuid;

/// Reads the input as the condition of a role assignment, and asks it.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read: Result<Condition, _> = text.parse();
    if let Ok(condition) = &read {
        let printed = condition.to_string();
        match printed.parse::<Condition>() {
            Ok(again) => assert_eq!(again, *condition, "{printed}"),
            Err(_) => assert!(printed.len() > text.len(), "{printed} can be read unless it outgrew the limit"),
        }
    }
    let reader = builtin_roles().iter().find(|role| role.role_name == "Reader").map(|role| role.id).unwrap_or_default();
    let mut assignment = RoleAssignment::new(Uuid::from_u128(1), "/s/a", reader, Uuid::from_u128(2));
    assignment.condition = Some(text.to_owned());
    let roles: Vec<_> = builtin_roles().iter().filter(|role| role.id == reader).cloned().collect();
    let access = Access::compile(&roles, &[assignment], &[]).unwrap();
    let some = Attributes::default()
        .with(Source::Request, "Microsoft.Authorization/roleAssignments:PrincipalType", "User".to_owned())
        .with(Source::Resource, "Microsoft.Authorization/roleAssignments:PrincipalId", Uuid::nil().to_string());
    for attributes in [&Attributes::NONE, &some] {
        let allowed = access
            .decide(&Request {
                principal: Uuid::from_u128(2),
                groups: &[],
                action: "a.b/c/read",
                data: false,
                scope: "/s/a",
                attributes,
            })
            .is_allowed();
        assert!(read.is_ok() || !allowed, "what cannot be read grants nothing");
    }
}
