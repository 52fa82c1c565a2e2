//! Paths below the subscription, and the versions they are asked in.

/// The path of a resource group.
pub fn group(name: &str) -> String {
    format!("/resourceGroups/{name}")
}

/// The path of a user-assigned identity of [`GROUP`].
pub fn identity(name: &str) -> String {
    format!("{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}", group(GROUP))
}

/// The path of a hub of [`GROUP`].
pub fn hub(name: &str) -> String {
    format!("{}/providers/Microsoft.MachineLearningServices/workspaces/{name}", group(GROUP))
}

/// The resource group that a bench works in.
pub const GROUP: &str = "bench";

/// Resource groups, and lists of what is in them.
pub const GROUPS: &str = "2024-11-01";
/// Deployments of templates.
pub const DEPLOYMENTS: &str = "2024-03-01";
/// User-assigned identities.
pub const IDENTITIES: &str = "2024-11-30";
/// Hubs and what is in them.
pub const WORKSPACES: &str = "2025-12-01";
