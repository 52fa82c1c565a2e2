//! The gate: what documents and role data say about 68 decisions of built-in roles.

use bastide_access::{Access, Attributes, Request, RoleAssignment, builtin_role, builtin_roles};
use serde::Deserialize;
use uuid::Uuid;

use crate::common::{GROUP, HUB, principal};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    role: String,
    action: String,
    data_action: bool,
    expect: bool,
    source: String,
}

#[test]
fn every_recorded_expectation_holds() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../data/rbac-vectors.json")).unwrap();
    assert_eq!(vectors.len(), 68);
    for vector in vectors {
        let role = builtin_role(&vector.role).unwrap_or_else(|| panic!("no role '{}'", vector.role));
        let assignment = RoleAssignment::new(Uuid::from_u128(1), GROUP, role.id, principal(1));
        let access = Access::compile(builtin_roles(), &[assignment], &[]).unwrap();
        for action in [vector.action.clone(), vector.action.to_ascii_uppercase()] {
            let request = Request {
                principal: principal(1),
                groups: &[],
                action: &action,
                data: vector.data_action,
                scope: HUB,
                attributes: &Attributes::NONE,
            };
            let decision = access.decide(&request);
            assert_eq!(decision.is_allowed(), vector.expect, "{} {action}: {}", vector.role, vector.source);
        }
    }
}
