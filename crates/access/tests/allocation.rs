//! A decision allocates nothing, whatever its outcome.
//!
//! A test binary of its own, because it brings its own allocator, which counts.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bastide_access::{Access, Attributes, DenyAssignment, DenyPrincipal, Permission, Request, RoleAssignment, Source};
use bastide_access::{Decision, Reason, builtin_role, builtin_roles};
use uuid::Uuid;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system allocator unchanged; the counter is a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn decisions_do_not_allocate() {
    let (alice, team, scope) = (Uuid::from_u128(1), Uuid::from_u128(2), "/subscriptions/s/resourceGroups/rg");
    let role = |name: &str| builtin_role(name).unwrap().id;
    let manager = RoleAssignment::new(Uuid::from_u128(11), scope, role("Foundry Project Manager"), alice);
    let reader = RoleAssignment::new(Uuid::from_u128(12), "/subscriptions/s", role("Reader"), team);
    let locked = DenyAssignment {
        name: Uuid::from_u128(13),
        deny_assignment_name: "Locked".to_owned(),
        description: None,
        permissions: vec![Permission { actions: vec!["*/delete".to_owned()], ..Permission::default() }],
        scope: scope.to_owned(),
        do_not_apply_to_child_scopes: false,
        principals: vec![DenyPrincipal::everyone()],
        exclude_principals: Vec::new(),
        is_system_protected: true,
        condition: None,
        condition_version: None,
    };
    let access = Access::compile(builtin_roles(), &[manager, reader], &[locked]).unwrap();
    let user = role("Foundry User").to_string();
    let attributes =
        Attributes::default().with(Source::Request, "Microsoft.Authorization/roleAssignments:RoleDefinitionId", user);
    let allowed = |assignment| Decision::Allowed { assignment: Uuid::from_u128(assignment) };
    for (action, attributes, expected) in [
        ("Microsoft.MachineLearningServices/workspaces/read", &Attributes::NONE, allowed(12)),
        ("Microsoft.Authorization/roleAssignments/write", &attributes, allowed(11)),
        (
            "Microsoft.Authorization/roleAssignments/write",
            &Attributes::NONE,
            Decision::Denied(Reason::Condition(Uuid::from_u128(11))),
        ),
        ("A.B/c/delete", &Attributes::NONE, Decision::Denied(Reason::DenyAssignment(Uuid::from_u128(13)))),
        ("A.B/c/write", &Attributes::NONE, Decision::Denied(Reason::NoAssignment)),
    ] {
        let groups = [team];
        let request = Request {
            principal: alice,
            groups: &groups,
            action,
            data: false,
            scope: "/SUBSCRIPTIONS/s/resourcegroups/RG/providers/A.B/c/d",
            attributes,
        };
        let before = ALLOCATIONS.with(Cell::get);
        let decision = access.decide(&request);
        let after = ALLOCATIONS.with(Cell::get);
        assert_eq!(decision, expected, "{action}");
        assert_eq!(after - before, 0, "{action}");
    }
}
