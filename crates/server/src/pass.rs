//! Passes: proof that a principal may take an action on a scope.
//!
//! The [`ledger`](crate::ledger) hands nothing out without one, and the only way to come by one is to be authorised, so
//! no handler can forget to ask. A pass remembers the access epoch it was given at; a write under it commits only while
//! that epoch stands, so a revoked right is gone with the very next request, even one already on its way.

use std::sync::{Arc, PoisonError, RwLock};

use bastide_access::{
    Access, Attributes, Decision, DenyAssignment, Reason, Request, RoleAssignment, RoleDefinition, builtin_roles,
};
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_identity::{Directory, Principal};
use bastide_store::{Resource, ResourceQuery, Store};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::failure::Failure;
use crate::lock::{Intent, LOCK, Locks};

/// A right that was checked.
#[derive(Debug, Clone)]
pub struct Pass {
    caller: Identified,
    action: String,
    scope: ResourceId,
    is_provisional: bool,
}

/// Who asks, as known at an access epoch.
#[derive(Debug, Clone)]
pub struct Identified {
    /// The principal and its groups.
    pub principal: Principal,
    /// The epoch that was read before the principal was.
    pub epoch: i64,
}

/// Gives out passes.
pub struct Gatekeeper {
    store: Store,
    directory: Directory,
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    /// Held while a snapshot is read.
    reading: Mutex<()>,
}

/// The rights of everybody, and the locks, at one access epoch.
#[derive(Debug)]
pub struct Snapshot {
    epoch: i64,
    access: Access,
    facts: Facts,
}

/// What a snapshot is compiled from.
#[derive(Debug)]
pub struct Facts {
    /// The built-in roles, then the custom ones.
    pub roles: Vec<RoleDefinition>,
    /// Every role assignment.
    pub assignments: Vec<RoleAssignment>,
    /// Every deny assignment.
    pub denies: Vec<DenyAssignment>,
    /// Every lock.
    pub locks: Locks,
}

/// The type under which role assignments are stored.
pub const ROLE_ASSIGNMENT: &str = "Microsoft.Authorization/roleAssignments";

/// The type under which custom roles are stored, at the tenant.
pub const ROLE_DEFINITION: &str = "Microsoft.Authorization/roleDefinitions";

/// The type under which deny assignments are stored.
pub const DENY_ASSIGNMENT: &str = "Microsoft.Authorization/denyAssignments";

/// Role `Owner`, the same GUID in every cloud.
pub const OWNER: uuid::Uuid = uuid::uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");

impl Gatekeeper {
    /// A gatekeeper over the roles, assignments and locks in the store. The directory names those who could help.
    pub fn new(store: Store, directory: Directory) -> Self {
        Self { store, directory, snapshot: RwLock::new(None), reading: Mutex::new(()) }
    }

    /// The access epoch of this moment. It is read before the principal is: a pass must never be newer than what was
    /// known of its holder.
    pub async fn epoch(&self) -> Result<i64, Failure> {
        Ok(self.store.access_epoch().await?)
    }

    /// A pass for an action on a scope, or 403.
    pub async fn authorise(&self, caller: &Identified, action: &str, scope: &ResourceId) -> Result<Pass, Failure> {
        self.authorise_with(caller, action, scope, &Attributes::NONE).await
    }

    async fn authorise_with(
        &self,
        caller: &Identified,
        action: &str,
        scope: &ResourceId,
        attributes: &Attributes,
    ) -> Result<Pass, Failure> {
        let snapshot = self.snapshot(caller.epoch).await?;
        if !snapshot.decide(&caller.principal, action, scope, attributes).is_allowed() {
            return Err(self.refusal(&snapshot, &caller.principal, action, scope).await?.into());
        }
        Ok(Pass::new(caller, action, scope))
    }

    /// A pass for what a body points at, on top of the pass for the request itself, or 403 `LinkedAuthorizationFailed`.
    /// What is to be deleted with something else must not be locked.
    pub async fn authorise_linked(&self, pass: &Pass, action: &str, scope: &ResourceId) -> Result<Pass, Failure> {
        let snapshot = self.snapshot(pass.epoch()).await?;
        let principal = pass.principal();
        if !snapshot.allows(principal, action, scope) {
            let error = ArmError::linked_authorization_failed(
                &principal.name,
                &principal.object_id.to_string(),
                &pass.action,
                &pass.scope.to_string(),
                action,
                &scope.to_string(),
            );
            return Err(self.with_grantors(&snapshot, error, scope).await?.into());
        }
        if action.to_ascii_lowercase().ends_with("/delete") {
            snapshot.facts.locks.check(Intent::Delete, scope)?;
        }
        Ok(Pass::new(&pass.caller, action, scope))
    }

    /// Whether a principal may, for lists that show only what the caller may read.
    pub async fn may(&self, caller: &Identified, action: &str, scope: &ResourceId) -> Result<bool, Failure> {
        Ok(self.snapshot(caller.epoch).await?.allows(&caller.principal, action, scope))
    }

    /// Whether a principal, or a group it is in, holds a role anywhere but at or below a scope.
    pub async fn holds_assignment_outside(&self, caller: &Identified, scope: &ResourceId) -> Result<bool, Failure> {
        let Identified { principal, epoch } = caller;
        let is_theirs = |id: Uuid| id == principal.object_id || principal.groups.contains(&id);
        let is_within = |held: &str| ResourceId::parse(held).is_ok_and(|held| held.is_within(scope));
        let snapshot = self.snapshot(*epoch).await?;
        Ok(snapshot.facts.assignments.iter().any(|held| is_theirs(held.principal_id) && !is_within(&held.scope)))
    }

    /// Whether the holder of a pass may do something else as well.
    pub async fn holder_may(&self, pass: &Pass, action: &str, scope: &ResourceId) -> Result<bool, Failure> {
        self.may(&pass.caller, action, scope).await
    }

    /// A pass for something else that the holder of a pass asks for, or 403.
    pub async fn authorise_holder(&self, pass: &Pass, action: &str, scope: &ResourceId) -> Result<Pass, Failure> {
        self.authorise(&pass.caller, action, scope).await
    }

    /// The pass that a provisional one becomes when conditions see what the request asks for, or 403.
    pub async fn weigh(&self, pass: &Pass, attributes: &Attributes) -> Result<Pass, Failure> {
        self.authorise_with(&pass.caller, &pass.action, &pass.scope, attributes).await
    }

    /// A pass for a list that filters what it shows item by item, with [`Gatekeeper::may`]. It names no action, so
    /// nothing can be written under it.
    pub fn admit_to_filtered_list(&self, caller: &Identified) -> Pass {
        Pass::new(caller, "", &ResourceId::tenant())
    }

    /// A provisional pass for somebody who may take an action, if only under a condition that the body has yet to fulfil.
    /// Nothing can be written under it: the operation writes under what [`Gatekeeper::weigh`] makes of it.
    pub async fn admit_to_delegation(
        &self,
        caller: &Identified,
        action: &str,
        scope: &ResourceId,
    ) -> Result<Pass, Failure> {
        let snapshot = self.snapshot(caller.epoch).await?;
        match snapshot.decide(&caller.principal, action, scope, &Attributes::NONE) {
            Decision::Allowed { .. } | Decision::Denied(Reason::Condition(_)) => {
                Ok(Pass { is_provisional: true, ..Pass::new(caller, action, scope) })
            }
            Decision::Denied(_) => Err(self.refusal(&snapshot, &caller.principal, action, scope).await?.into()),
        }
    }

    /// 409 `ScopeLocked` when a lock forbids what the holder of a pass is about to do.
    ///
    /// Changes of locks raise the access epoch, so a lock that comes after this question stops the commit.
    pub async fn check_locks(&self, pass: &Pass, intent: Intent, scope: &ResourceId) -> Result<(), Failure> {
        Ok(self.snapshot(pass.epoch()).await?.facts.locks.check(intent, scope)?)
    }

    /// Everything there is to know about rights, for the operations that show or change them. What their pass covers is
    /// theirs to observe.
    pub async fn rights(&self, pass: &Pass) -> Result<Arc<Snapshot>, Failure> {
        self.snapshot(pass.epoch()).await
    }

    /// The rights at an epoch, or at a later one.
    async fn snapshot(&self, epoch: i64) -> Result<Arc<Snapshot>, Failure> {
        if let Some(snapshot) = self.current(epoch) {
            return Ok(snapshot);
        }
        // One reads, the others wait for what it finds.
        let _reading = self.reading.lock().await;
        // The epoch is read before the facts: if one changes in between, the snapshot is newer than it says, and a write
        // under it meets another epoch and is run again. It is never older than it says.
        let epoch = self.epoch().await?;
        if let Some(snapshot) = self.current(epoch) {
            return Ok(snapshot);
        }
        let facts = Facts::read(&self.store).await?;
        let access = Access::compile(&facts.roles, &facts.assignments, &facts.denies)
            .map_err(|error| Failure::internal(format!("role assignments do not compile: {error}")))?;
        let snapshot = Arc::new(Snapshot { epoch, access, facts });
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn current(&self, epoch: i64) -> Option<Arc<Snapshot>> {
        let snapshot = self.snapshot.read().unwrap_or_else(PoisonError::into_inner);
        snapshot.as_ref().filter(|snapshot| snapshot.epoch >= epoch).cloned()
    }

    async fn refusal(
        &self,
        snapshot: &Snapshot,
        principal: &Principal,
        action: &str,
        scope: &ResourceId,
    ) -> Result<ArmError, Failure> {
        let (name, object_id) = (&principal.name, principal.object_id.to_string());
        let error = ArmError::authorization_failed(name, &object_id, action, &scope.to_string());
        self.with_grantors(snapshot, error, scope).await
    }

    /// A refusal is a dead end unless it says who can open the door (mission.md A9).
    async fn with_grantors(
        &self,
        snapshot: &Snapshot,
        mut error: ArmError,
        scope: &ResourceId,
    ) -> Result<ArmError, Failure> {
        let mut names = Vec::new();
        for grantor in snapshot.access.grantors(scope.key()).into_iter().take(MAX_GRANTORS_TRIED) {
            // Assignments of deleted principals stay, but nobody can be asked there.
            if let Some(object) = self.directory.object(grantor).await? {
                names.push(format!("'{}' ({grantor})", object.name()));
            }
            if names.len() == MAX_GRANTORS {
                break;
            }
        }
        if !names.is_empty() {
            error.message += " Access at this scope can be granted by ";
            error.message += &names.join(", ");
            error.message.push('.');
        }
        Ok(error)
    }
}

impl Facts {
    async fn read(store: &Store) -> Result<Self, Failure> {
        let mut facts = Self {
            roles: builtin_roles().to_vec(),
            assignments: Vec::new(),
            denies: Vec::new(),
            locks: Locks::default(),
        };
        let mut query =
            ResourceQuery { types: ACCESS_TYPES.map(str::to_owned).to_vec(), limit: 1000, ..ResourceQuery::default() };
        loop {
            let page = store.resources(&query).await?;
            for row in &page {
                facts.add(row)?;
            }
            match page.last() {
                Some(last) if page.len() == 1000 => query.after = Some(last.key.clone()),
                _ => return Ok(facts),
            }
        }
    }

    fn add(&mut self, row: &Resource) -> Result<(), Failure> {
        // What cannot be read grants nothing, and the rest goes on granting; but a deny or a lock must not be lost.
        match row.type_name.as_str() {
            ROLE_ASSIGNMENT => self.assignments.extend(understood(row)),
            ROLE_DEFINITION => self.roles.extend(understood(row)),
            DENY_ASSIGNMENT => self.denies.push(read(row)?),
            _ => self.locks.add(row)?,
        }
        Ok(())
    }
}

/// Whether resources of a type decide what may be done: the access epoch rises whenever one of them changes.
pub fn decides_access(type_name: &str) -> bool {
    ACCESS_TYPES.iter().any(|known| known.eq_ignore_ascii_case(type_name))
}

fn understood<T: DeserializeOwned>(row: &Resource) -> Option<T> {
    read(row).inspect_err(|error| tracing::error!(%error, "access is decided without it")).ok()
}

fn read<T: DeserializeOwned>(row: &Resource) -> Result<T, Failure> {
    serde_json::from_value(row.body.clone())
        .map_err(|error| Failure::internal(format!("{} cannot be read: {error}", row.id)))
}

impl Snapshot {
    /// The compiled rights.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What they were compiled from.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The role with that GUID.
    pub fn role(&self, id: Uuid) -> Option<&RoleDefinition> {
        self.facts.roles.iter().find(|role| role.id == id)
    }

    /// The role assignment of that name, wherever it is.
    pub fn assignment(&self, name: Uuid) -> Option<&RoleAssignment> {
        self.facts.assignments.iter().find(|assignment| assignment.name == name)
    }

    fn allows(&self, principal: &Principal, action: &str, scope: &ResourceId) -> bool {
        self.decide(principal, action, scope, &Attributes::NONE).is_allowed()
    }

    fn decide(&self, principal: &Principal, action: &str, scope: &ResourceId, attributes: &Attributes) -> Decision {
        let (object_id, groups) = (principal.object_id, &principal.groups);
        self.access.decide(&Request {
            principal: object_id,
            groups,
            action,
            data: false,
            scope: scope.key(),
            attributes,
        })
    }
}

impl Pass {
    fn new(caller: &Identified, action: &str, scope: &ResourceId) -> Self {
        Self { caller: caller.clone(), action: action.to_owned(), scope: scope.clone(), is_provisional: false }
    }

    /// Who holds it.
    pub fn principal(&self) -> &Principal {
        &self.caller.principal
    }

    /// Who holds it, and as of when.
    pub fn caller(&self) -> &Identified {
        &self.caller
    }

    /// The action it was given for; empty for a filtered list.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Whether something can be written under it.
    pub fn is_for_writing(&self) -> bool {
        !self.action.is_empty() && !self.is_provisional
    }

    /// The scope it was given for.
    pub fn scope(&self) -> &ResourceId {
        &self.scope
    }

    /// The access epoch it was given at.
    pub fn epoch(&self) -> i64 {
        self.caller.epoch
    }
}

/// What a snapshot is made of.
const ACCESS_TYPES: [&str; 4] = [ROLE_ASSIGNMENT, ROLE_DEFINITION, DENY_ASSIGNMENT, LOCK];

/// People named in a refusal.
const MAX_GRANTORS: usize = 3;

/// Principals looked up to find them.
const MAX_GRANTORS_TRIED: usize = 10;
