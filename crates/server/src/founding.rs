//! The first subscription and its owners.

use bastide_access::{PrincipalType, RoleAssignment};
use bastide_arm::id::ResourceId;
use bastide_identity::{Principal, PrincipalKind};
use bastide_store::{Change, CommitError, Expectation, ResourcePut, Store, Write};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::pass::{OWNER, ROLE_ASSIGNMENT};
use crate::subscription::{self, SUBSCRIPTION};

/// Who and what the first start needs.
#[derive(Debug, Clone)]
pub struct Founding {
    /// Id of the first subscription.
    pub subscription_id: Uuid,
    /// Its display name.
    pub display_name: String,
    /// The bootstrap client: Owner of the subscription.
    pub client: Principal,
    /// The administrator: Owner of the tenant, and so of every subscription.
    pub administrator: Principal,
}

/// Creates the first subscription and the role assignments of its owners; does nothing when it is there.
pub async fn found(store: &Store, founding: &Founding, now: Timestamp) -> Result<(), Failure> {
    let id = ResourceId::subscription(founding.subscription_id);
    if store.resource(id.key()).await?.is_some() {
        return Ok(());
    }
    let document = subscription::document(&founding.display_name);
    let mut write = Write::new(now);
    write.expect.push(Expectation::ResourceAbsent(id.key().to_owned()));
    write.changes = vec![
        Change::PutResource(ResourcePut {
            id: id.to_string(),
            type_name: SUBSCRIPTION.to_owned(),
            incarnation: Uuid::new_v4(),
            listed: false,
            tags: document.tags.clone(),
            body: serde_json::to_value(&document).map_err(|error| Failure::internal(error.to_string()))?,
            by: AUTHOR.to_owned(),
            by_type: "Application".to_owned(),
        }),
        role_assignment(&id, &founding.client, OWNER, now)?,
        role_assignment(&ResourceId::tenant(), &founding.administrator, OWNER, now)?,
        Change::RaiseAccessEpoch,
    ];
    write.audit.push(json!({
        "caller": AUTHOR,
        "action": "Microsoft.Resources/subscriptions/write",
        "scope": id.to_string(),
        "status": "Succeeded",
    }));
    match store.commit(write).await {
        // Another replica was first.
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}

/// The stored form of a new role assignment.
pub(crate) fn role_assignment(
    scope: &ResourceId,
    principal: &Principal,
    role: Uuid,
    now: Timestamp,
) -> Result<Change, Failure> {
    let name = Uuid::new_v4();
    let mut assignment = RoleAssignment::new(name, scope.to_string(), role, principal.object_id);
    assignment.principal_type = match principal.kind {
        PrincipalKind::User => PrincipalType::User,
        PrincipalKind::Group => PrincipalType::Group,
        PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity => PrincipalType::ServicePrincipal,
    };
    assignment.created_on = Some(now);
    assignment.updated_on = Some(now);
    stored(&assignment)
}

/// The stored form of a role assignment that nobody asked for.
pub(crate) fn stored(assignment: &RoleAssignment) -> Result<Change, Failure> {
    let body: Value = serde_json::to_value(assignment).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(Change::PutResource(ResourcePut {
        id: assignment.id(),
        type_name: ROLE_ASSIGNMENT.to_owned(),
        incarnation: assignment.name,
        listed: false,
        tags: std::collections::BTreeMap::new(),
        body,
        by: AUTHOR.to_owned(),
        by_type: "Application".to_owned(),
    }))
}

/// Who made what nobody asked for.
const AUTHOR: &str = "Bastide";
