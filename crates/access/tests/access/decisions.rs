//! What decides a request: scope, principal, blocks, denies.

use bastide_access::{Access, Attributes, CompileError, Decision, DenyPrincipal, Outcome, Permission, Reason, Request};
use uuid::Uuid;

use crate::common::{
    GROUP, HUB, READ_HUB, SUBSCRIPTION, allowed, assignment, decide, decide_with, deny, principal, role,
};

#[test]
fn an_assignment_holds_at_its_scope_and_below() {
    let access = Access::compile(&[role(1, &["*"], &[])], &[assignment(1, GROUP, 1, 1)], &[]).unwrap();
    assert_eq!(decide(&access, 1, READ_HUB, GROUP), Decision::Allowed { assignment: Uuid::from_u128(1) });
    assert!(allowed(&access, 1, READ_HUB, HUB));
    assert!(allowed(&access, 1, READ_HUB, &format!("{HUB}/connections/c")));
    assert!(allowed(&access, 1, READ_HUB, &HUB.to_ascii_uppercase()));
    assert!(!allowed(&access, 1, READ_HUB, SUBSCRIPTION));
    assert!(!allowed(&access, 1, READ_HUB, "/"));
    // Segment by segment: "rg2" is not below "rg".
    assert!(!allowed(&access, 1, READ_HUB, &format!("{GROUP}2")));
    assert_eq!(decide(&access, 2, READ_HUB, HUB), Decision::Denied(Reason::NoAssignment));
}

#[test]
fn the_root_reaches_everything() {
    let access = Access::compile(&[role(1, &["*"], &[])], &[assignment(1, "/", 1, 1)], &[]).unwrap();
    for scope in ["/", SUBSCRIPTION, HUB] {
        assert!(allowed(&access, 1, READ_HUB, scope), "{scope}");
    }
}

#[test]
fn groups_carry_assignments() {
    let access = Access::compile(&[role(1, &["*/read"], &[])], &[assignment(1, GROUP, 1, 9)], &[]).unwrap();
    let decision = |groups: &[Uuid]| decide_with(&access, 1, groups, READ_HUB, HUB, &Attributes::NONE);
    assert!(decision(&[principal(8), principal(9)]).is_allowed());
    assert!(!decision(&[principal(8)]).is_allowed());
}

#[test]
fn not_actions_subtract_inside_their_own_block_only() {
    let mut two_blocks = role(1, &["*"], &["*/delete"]);
    two_blocks.permissions.push(Permission { actions: vec!["A.B/c/delete".to_owned()], ..Permission::default() });
    let one_block = role(2, &["*"], &["*/delete"]);
    let assignments = [assignment(1, GROUP, 1, 1), assignment(2, GROUP, 2, 2), assignment(3, GROUP, 2, 3)];
    let other = assignment(4, GROUP, 3, 3);
    let access = Access::compile(
        &[two_blocks, one_block, role(3, &["A.B/*"], &[])],
        &[&assignments[..], &[other]].concat(),
        &[],
    )
    .unwrap();
    assert!(allowed(&access, 1, "A.B/c/delete", GROUP), "granted by the other block");
    assert!(!allowed(&access, 1, "A.B/d/delete", GROUP));
    assert!(!allowed(&access, 2, "A.B/c/delete", GROUP));
    assert!(allowed(&access, 3, "A.B/c/delete", GROUP), "granted by another role");
}

#[test]
fn control_actions_never_reach_data() {
    let mut owner = role(1, &["*"], &[]);
    owner.permissions.push(Permission { data_actions: vec!["D.E/*/read".to_owned()], ..Permission::default() });
    let access = Access::compile(&[owner], &[assignment(1, GROUP, 1, 1)], &[]).unwrap();
    let data = |action| {
        let attributes = &Attributes::NONE;
        let request = Request { principal: principal(1), groups: &[], action, data: true, scope: GROUP, attributes };
        access.decide(&request).is_allowed()
    };
    assert!(!data("A.B/c/read"));
    assert!(data("d.e/f/READ"));
    assert!(allowed(&access, 1, "A.B/c/read", GROUP));
}

#[test]
fn a_deny_assignment_beats_every_grant() {
    let compile = |deny| Access::compile(&[role(1, &["*"], &[])], &[assignment(1, "/", 1, 1)], &[deny]).unwrap();
    let access = compile(deny(GROUP, &["*/delete"]));
    let denied = Decision::Denied(Reason::DenyAssignment(Uuid::from_u128(0xdead)));
    assert_eq!(decide(&access, 1, "A.B/c/delete", HUB), denied);
    assert!(allowed(&access, 1, "A.B/c/write", HUB));
    assert!(allowed(&access, 1, "A.B/c/delete", SUBSCRIPTION));

    let mut here_only = deny(GROUP, &["*"]);
    here_only.do_not_apply_to_child_scopes = true;
    let access = compile(here_only);
    assert_eq!(decide(&access, 1, READ_HUB, GROUP), denied);
    assert!(allowed(&access, 1, READ_HUB, HUB));

    let mut with_exception = deny(GROUP, &["*"]);
    with_exception.permissions[0].not_actions.push("*/read".to_owned());
    let access = compile(with_exception);
    assert!(allowed(&access, 1, READ_HUB, HUB));
    assert_eq!(decide(&access, 1, "A.B/c/write", HUB), denied);
}

#[test]
fn a_deny_assignment_names_and_excludes_principals() {
    let compile = |deny| Access::compile(&[role(1, &["*"], &[])], &[assignment(1, "/", 1, 1)], &[deny]).unwrap();
    let member = |number| DenyPrincipal { id: principal(number), kind: "Group".to_owned() };

    let mut of_group = deny(GROUP, &["*"]);
    of_group.principals = vec![member(9)];
    let access = compile(of_group);
    assert!(allowed(&access, 1, READ_HUB, HUB));
    assert!(!decide_with(&access, 1, &[principal(9)], READ_HUB, HUB, &Attributes::NONE).is_allowed());

    let mut but_group = deny(GROUP, &["*"]);
    but_group.exclude_principals = vec![member(9)];
    let access = compile(but_group);
    assert!(!allowed(&access, 1, READ_HUB, HUB));
    assert!(decide_with(&access, 1, &[principal(9)], READ_HUB, HUB, &Attributes::NONE).is_allowed());

    // Everyone cannot be excluded, or the deny would be nothing.
    let mut but_everyone = deny(GROUP, &["*"]);
    but_everyone.exclude_principals = vec![DenyPrincipal::everyone()];
    assert!(!allowed(&compile(but_everyone), 1, READ_HUB, HUB));
}

#[test]
fn a_deny_whose_condition_cannot_be_answered_denies() {
    for condition in ["@Request[absent] StringEquals 'x'", "this is no condition"] {
        let mut conditional = deny(GROUP, &["*"]);
        conditional.condition = Some(condition.to_owned());
        let access = Access::compile(&[role(1, &["*"], &[])], &[assignment(1, "/", 1, 1)], &[conditional]).unwrap();
        assert!(!allowed(&access, 1, READ_HUB, HUB), "{condition}");
    }
}

#[test]
fn the_zero_guid_is_everyone_in_denies_only() {
    let mut to_nobody = assignment(1, "/", 1, 1);
    to_nobody.principal_id = Uuid::nil();
    let access = Access::compile(&[role(1, &["*"], &[])], &[to_nobody], &[]).unwrap();
    assert!(!allowed(&access, 1, READ_HUB, HUB));
}

#[test]
fn malformed_questions_are_refused() {
    let access = Access::compile(&[role(1, &["*"], &[])], &[assignment(1, "/", 1, 1)], &[]).unwrap();
    for scope in ["", "subscriptions/s", "/a/../b", "/a//b", "/a/"] {
        assert_eq!(decide(&access, 1, READ_HUB, scope), Decision::Denied(Reason::InvalidScope), "{scope:?}");
    }
    for action in ["", "*", "A.B/*/read", "A.B//read"] {
        assert_eq!(decide(&access, 1, action, "/"), Decision::Denied(Reason::InvalidAction), "{action:?}");
    }
}

#[test]
fn what_cannot_be_understood_grants_nothing_and_hides_no_deny() {
    let roles = [role(1, &["*"], &[])];
    let dangling = assignment(1, GROUP, 2, 1);
    let nowhere = assignment(2, "resourceGroups/rg", 1, 1);
    let access = Access::compile(&roles, &[dangling, nowhere], &[]).unwrap();
    assert!(!allowed(&access, 1, READ_HUB, HUB));

    let lost = deny("not an id", &["*"]);
    let error = CompileError::DenyScope { name: lost.name, scope: lost.scope.clone() };
    assert_eq!(Access::compile(&roles, &[], &[lost]).unwrap_err(), error);
    let twice = [roles[0].clone(), roles[0].clone()];
    assert_eq!(Access::compile(&twice, &[], &[]).unwrap_err(), CompileError::DuplicateRole(Uuid::from_u128(1)));
}

#[test]
fn an_explanation_names_assignment_group_and_what_was_taken_away() {
    let mut conditional = assignment(3, SUBSCRIPTION, 1, 1);
    conditional.condition = Some("@Request[x] StringEquals 'y'".to_owned());
    let assignments = [assignment(1, GROUP, 2, 1), conditional, assignment(2, GROUP, 1, 9), assignment(4, GROUP, 7, 1)];
    let roles = [role(1, &["*/read"], &[]), role(2, &["*"], &["*/Read"])];
    let access = Access::compile(&roles, &assignments, &[]).unwrap();
    let groups = [principal(9)];
    let explain = |groups| {
        let attributes = &Attributes::NONE;
        access.explain(&Request {
            principal: principal(1),
            groups,
            action: READ_HUB,
            data: false,
            scope: HUB,
            attributes,
        })
    };

    let explanation = explain(&groups[..]);
    assert!(explanation.allowed);
    let granting = &explanation.assignments[0];
    assert_eq!((granting.assignment, granting.group), (Uuid::from_u128(2), Some(principal(9))));
    assert_eq!(granting.outcome, Outcome::Grants { pattern: "*/read".to_owned() });
    assert!(explanation.summary.contains("through group"), "{}", explanation.summary);

    let explanation = explain(&[]);
    assert_eq!(explanation.decision, Decision::Denied(Reason::Condition(Uuid::from_u128(3))));
    let outcomes: Vec<_> = explanation.assignments.iter().map(|step| step.outcome.clone()).collect();
    let condition = Some("@Request[x] StringEquals 'y'".to_owned());
    assert_eq!(
        outcomes,
        [
            Outcome::Condition { of_role: false, condition, problem: None },
            Outcome::Subtracted { by: "*/Read".to_owned() },
            Outcome::RoleUnknown,
        ]
    );
}

#[test]
fn an_explanation_names_the_deny_that_blocks() {
    let roles = [role(1, &["*"], &[])];
    let access = Access::compile(&roles, &[assignment(1, "/", 1, 1)], &[deny(GROUP, &["*"])]).unwrap();
    let request = Request {
        principal: principal(1),
        groups: &[],
        action: READ_HUB,
        data: false,
        scope: HUB,
        attributes: &Attributes::NONE,
    };
    let explanation = access.explain(&request);
    assert!(!explanation.allowed);
    assert_eq!(explanation.denies[0].deny_assignment_name, "Protected");
    assert!(explanation.summary.contains("'Protected'"), "{}", explanation.summary);
    assert!(matches!(explanation.assignments[0].outcome, Outcome::Grants { .. }));
}

#[test]
fn grantors_are_those_who_may_assign_roles_there() {
    let roles = [role(1, &["*"], &[]), role(2, &["*"], &["Microsoft.Authorization/*/Write"])];
    let mut delegate = assignment(3, GROUP, 1, 3);
    delegate.condition = Some("@Request[role] GuidEquals '00000000-0000-0000-0000-000000000001'".to_owned());
    let mut unreadable = assignment(4, GROUP, 1, 4);
    unreadable.condition = Some("nonsense".to_owned());
    let owner = assignment(5, SUBSCRIPTION, 1, 5);
    let elsewhere = assignment(6, &format!("{GROUP}2"), 1, 6);
    let assignments = [assignment(2, GROUP, 2, 2), delegate, unreadable, owner, elsewhere];
    let access = Access::compile(&roles, &assignments, &[]).unwrap();
    assert_eq!(access.grantors(HUB), [principal(5), principal(3)]);
    assert!(access.grantors("/").is_empty());
    assert_eq!(access.assignments_of(principal(3), &[principal(5)], HUB), [Uuid::from_u128(3), Uuid::from_u128(5)]);
}
