//! May this principal do this here?
//!
//! An [`Access`] is an immutable snapshot of role definitions, role assignments and deny assignments, compiled once per
//! access epoch. Its [`decide`](Access::decide) answers one [`Request`] without allocating; [`explain`](Access::explain)
//! answers the same question with every step written down.
//!
//! The semantics are those of Azure role-based access control:
//!
//! * `*` in an action pattern crosses `/`, and `/*/` also matches zero segments ([`ActionPattern`]).
//! * `notActions` subtract inside their own permission block only; another block or role may still grant.
//! * Control actions and data actions are separate: `*` in `actions` never reaches data.
//! * An assignment holds at its scope and everywhere below, segment by segment, in any ASCII case. One at a hub reaches
//!   the hub's projects, which stand beside it, only when it [says so](RoleAssignment::reaches_projects).
//! * A deny assignment beats every grant.
//! * A condition that cannot be read, or that asks for an attribute nobody supplied, grants nothing.
//!
//! ```
//! use bastide_access::{Access, Attributes, Request, RoleAssignment, builtin_roles};
//! use uuid::uuid;
//!
//! let alice = uuid!("11111111-0000-0000-0000-000000000001");
//! let reader = uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7");
//! let assignment = RoleAssignment::new(uuid!("22222222-0000-0000-0000-000000000001"), "/subscriptions/s", reader, alice);
//! let access = Access::compile(builtin_roles(), &[assignment], &[])?;
//!
//! let attributes = Attributes::default();
//! let request = Request {
//!     principal: alice,
//!     groups: &[],
//!     action: "Microsoft.MachineLearningServices/workspaces/read",
//!     data: false,
//!     scope: "/SUBSCRIPTIONS/s/resourceGroups/rg",
//!     attributes: &attributes,
//! };
//! assert!(access.decide(&request).is_allowed());
//! # Ok::<(), bastide_access::CompileError>(())
//! ```
#![forbid(unsafe_code)]

mod access;
mod assignment;
mod attributes;
mod builtin;
mod compiled;
pub mod condition;
mod coverage;
mod custom_role;
mod deny;
mod explain;
pub mod guard;
mod path;
mod pattern;
pub mod policy;
mod request;
mod role;
mod scopes;

pub use access::{Access, AccessChanges, CompileError, Project};
pub use assignment::{PrincipalType, RoleAssignment};
pub use attributes::{Attributes, Source, Value};
pub use builtin::{builtin_role, builtin_roles};
pub use condition::Condition;
pub use custom_role::{CustomRoleError, MAX_CUSTOM_ROLES};
pub use deny::{DenyAssignment, DenyPrincipal};
pub use explain::{AssignmentStep, DenyStep, Explanation, Outcome};
pub use pattern::ActionPattern;
pub use request::{Decision, Reason, Request};
pub use role::{Permission, RoleDefinition, RoleKind};
