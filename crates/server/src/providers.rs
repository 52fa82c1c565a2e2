//! The resource types of this server: one small file each, listed here.

use std::sync::Arc;

use bastide_arm::resource_type::{Document, Principal, ResourceType};

pub(crate) mod generic_resource;
pub(crate) mod resource_group;
pub(crate) mod user_assigned_identity;

/// Every built-in type.
pub fn all() -> Vec<Arc<dyn ResourceType>> {
    vec![
        Arc::new(resource_group::ResourceGroup),
        Arc::new(user_assigned_identity::UserAssignedIdentity),
        Arc::new(bastide_hub::workspace::Workspace),
    ]
}

/// The ids of a user-assigned identity as stored.
pub fn identity_principal(document: &Document) -> Option<Principal> {
    user_assigned_identity::principal(document)
}

/// The rules for types nobody implements, under `--generic-resources`.
pub fn generic() -> Arc<dyn ResourceType> {
    Arc::new(generic_resource::GenericResource)
}
