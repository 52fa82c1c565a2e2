use std::fmt;

use uuid::Uuid;

use crate::Attributes;

/// One question: may `principal` do `action` at `scope`?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Object id of who asks.
    pub principal: Uuid,
    /// Every group the principal belongs to, directly or through other groups.
    ///
    /// The caller resolves membership completely; a token whose groups overflowed must be resolved or refused, never
    /// taken for "no groups".
    pub groups: &'a [Uuid],
    /// The action, for example `Microsoft.MachineLearningServices/workspaces/read`; any ASCII case, no wildcards.
    pub action: &'a str,
    /// Whether `action` is a data action. Control and data actions never grant each other.
    pub data: bool,
    /// The ARM id acted on, any ASCII case, without a trailing slash; `/` is the tenant root.
    pub scope: &'a str,
    /// What conditions may ask about this request.
    pub attributes: &'a Attributes,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes, because of this role assignment.
    Allowed {
        /// Name of the role assignment that grants.
        assignment: Uuid,
    },
    /// No.
    Denied(Reason),
}

impl Decision {
    /// Whether the answer is yes.
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// Why a [`Request`] was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No role assignment of the principal or its groups covers the action at the scope.
    NoAssignment,
    /// This role assignment covers the action, but its condition, or its role's, does not hold.
    Condition(Uuid),
    /// This deny assignment blocks the action.
    DenyAssignment(Uuid),
    /// The scope is not an ARM id: it must start with `/`, without empty, `.` or `..` segments, at most 64 of them.
    InvalidScope,
    /// The action is not one: non-empty segments separated by `/`, no wildcards, at most 64 segments.
    InvalidAction,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAssignment => f.write_str("no role assignment grants the action at this scope"),
            Self::Condition(name) => write!(f, "the condition of role assignment '{name}' is not fulfilled"),
            Self::DenyAssignment(name) => write!(f, "deny assignment '{name}' blocks the action"),
            Self::InvalidScope => f.write_str("the scope is not a valid resource id"),
            Self::InvalidAction => f.write_str("the action is not a valid operation name"),
        }
    }
}
