//! Who is asking.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An authenticated principal, as the rest of Bastide sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The immutable id that role assignments name.
    pub object_id: Uuid,
    /// The tenant it lives in.
    pub tenant_id: Uuid,
    /// What it is.
    pub kind: PrincipalKind,
    /// User principal name or application name, for people to read. Never authorise by it: names can change.
    pub name: String,
    /// The application id of a service principal or managed identity.
    pub app_id: Option<Uuid>,
    /// Every group it belongs to, directly or through other groups.
    pub groups: Vec<Uuid>,
}

/// The kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A group of principals.
    Group,
    /// An application.
    ServicePrincipal,
    /// The identity of a resource.
    ManagedIdentity,
}

impl PrincipalKind {
    /// The name used for `principalType` in role assignments, where a managed identity counts as a service principal.
    pub fn as_principal_type(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::ServicePrincipal | Self::ManagedIdentity => "ServicePrincipal",
        }
    }

    /// The name used for `createdByType` in `systemData`.
    pub fn as_created_by_type(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group | Self::ServicePrincipal => "Application",
            Self::ManagedIdentity => "ManagedIdentity",
        }
    }
}
