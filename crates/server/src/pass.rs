//! Passes: proof that a principal may take an action on a scope.
//!
//! The [`ledger`](crate::ledger) hands nothing out without one, and the only way to come by one is to be authorised, so
//! no handler can forget to ask. A pass remembers the access epoch it was given at; a write under it commits only while
//! that epoch stands, so a revoked right is gone with the very next request, even one already on its way.

use std::sync::{Arc, PoisonError, RwLock};

use bastide_access::{Access, Attributes, Request, RoleAssignment, builtin_roles};
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_identity::Principal;
use bastide_store::{ResourceQuery, Store};

use crate::failure::Failure;

/// A right that was checked.
#[derive(Debug, Clone)]
pub struct Pass {
    principal: Principal,
    action: String,
    scope: ResourceId,
    epoch: i64,
}

/// Gives out passes.
#[derive(Debug)]
pub struct Gatekeeper {
    store: Store,
    snapshot: RwLock<Option<Arc<Snapshot>>>,
}

/// The rights of everybody at one access epoch.
#[derive(Debug)]
struct Snapshot {
    epoch: i64,
    access: Access,
}

/// The type under which role assignments are stored.
pub const ROLE_ASSIGNMENT: &str = "Microsoft.Authorization/roleAssignments";

/// Role `Owner`, the same GUID in every cloud.
pub const OWNER: uuid::Uuid = uuid::uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");

impl Gatekeeper {
    /// A gatekeeper over the role assignments in the store.
    pub fn new(store: Store) -> Self {
        Self { store, snapshot: RwLock::new(None) }
    }

    /// A pass for an action on a scope, or 403.
    pub async fn authorise(&self, principal: &Principal, action: &str, scope: &ResourceId) -> Result<Pass, Failure> {
        let snapshot = self.snapshot().await?;
        if !snapshot.allows(principal, action, scope) {
            let (name, object_id) = (&principal.name, principal.object_id.to_string());
            return Err(ArmError::authorization_failed(name, &object_id, action, &scope.to_string()).into());
        }
        let (principal, action, scope) = (principal.clone(), action.to_owned(), scope.clone());
        Ok(Pass { principal, action, scope, epoch: snapshot.epoch })
    }

    /// A pass for what a body points at, on top of the pass for the request itself, or 403 `LinkedAuthorizationFailed`.
    pub async fn authorise_linked(&self, pass: &Pass, action: &str, scope: &ResourceId) -> Result<Pass, Failure> {
        let snapshot = self.snapshot().await?;
        let principal = &pass.principal;
        if !snapshot.allows(principal, action, scope) {
            let error = ArmError::linked_authorization_failed(
                &principal.name,
                &principal.object_id.to_string(),
                &pass.action,
                &pass.scope.to_string(),
                action,
                &scope.to_string(),
            );
            return Err(error.into());
        }
        let (action, scope) = (action.to_owned(), scope.clone());
        Ok(Pass { principal: principal.clone(), action, scope, epoch: snapshot.epoch })
    }

    /// Whether a principal may, for lists that show only what the caller may read.
    pub async fn may(&self, principal: &Principal, action: &str, scope: &ResourceId) -> Result<bool, Failure> {
        Ok(self.snapshot().await?.allows(principal, action, scope))
    }

    /// A pass for a list that filters what it shows item by item, with [`Gatekeeper::may`]. It is good for reading only:
    /// its epoch fits no write.
    pub fn admit_to_filtered_list(&self, principal: &Principal) -> Pass {
        Pass { principal: principal.clone(), action: String::new(), scope: ResourceId::tenant(), epoch: -1 }
    }

    async fn snapshot(&self) -> Result<Arc<Snapshot>, Failure> {
        let epoch = self.store.access_epoch().await?;
        if let Some(snapshot) = self.current(epoch) {
            return Ok(snapshot);
        }
        // The epoch was read before the assignments: if one changes in between, the snapshot is newer than it says, the
        // next request sees another epoch and reads again. It is never older than it says.
        let assignments = self.role_assignments().await?;
        let access = Access::compile(builtin_roles(), &assignments, &[])
            .map_err(|error| Failure::internal(format!("role assignments do not compile: {error}")))?;
        let snapshot = Arc::new(Snapshot { epoch, access });
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn current(&self, epoch: i64) -> Option<Arc<Snapshot>> {
        let snapshot = self.snapshot.read().unwrap_or_else(PoisonError::into_inner);
        snapshot.as_ref().filter(|snapshot| snapshot.epoch == epoch).cloned()
    }

    async fn role_assignments(&self) -> Result<Vec<RoleAssignment>, Failure> {
        let mut assignments = Vec::new();
        let mut query =
            ResourceQuery { types: vec![ROLE_ASSIGNMENT.to_owned()], limit: 1000, ..ResourceQuery::default() };
        loop {
            let page = self.store.resources(&query).await?;
            for resource in &page {
                let id = &resource.id;
                let assignment = serde_json::from_value(resource.body.clone())
                    .map_err(|error| Failure::internal(format!("role assignment {id} cannot be read: {error}")))?;
                assignments.push(assignment);
            }
            match page.last() {
                Some(last) if page.len() == 1000 => query.after = Some(last.key.clone()),
                _ => return Ok(assignments),
            }
        }
    }
}

impl Snapshot {
    fn allows(&self, principal: &Principal, action: &str, scope: &ResourceId) -> bool {
        let request = Request {
            principal: principal.object_id,
            groups: &principal.groups,
            action,
            data: false,
            scope: scope.key(),
            attributes: &Attributes::NONE,
        };
        self.access.decide(&request).is_allowed()
    }
}

impl Pass {
    /// Who holds it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The action it was given for.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The scope it was given for.
    pub fn scope(&self) -> &ResourceId {
        &self.scope
    }

    /// The access epoch it was given at.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}
