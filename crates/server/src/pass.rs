//! Passes: proof that a principal may take an action on a scope.
//!
//! The [`ledger`](crate::ledger) hands nothing out without one, and the only way to come by one is to be authorised, so
//! no handler can forget to ask. A pass remembers the access epoch it was given at; a write under it commits only while
//! that epoch stands, so a revoked right is gone with the very next request, even one already on its way.

mod facts;

use std::sync::{Arc, PoisonError, RwLock};

use bastide_access::{Access, AccessChanges, Attributes, Decision, Reason, Request, RoleAssignment, RoleDefinition};
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_identity::{Directory, Principal};
use bastide_store::Store;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::facts::Difference;
pub use self::facts::{Facts, decides_access};
use crate::failure::Failure;
use crate::lock::Intent;

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

/// Where somebody's roles lie as seen from a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// There are none.
    Nowhere,
    /// All are at the scope or below it.
    Within,
    /// One at least is elsewhere.
    Beyond,
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

/// The type under which role assignments are stored.
pub const ROLE_ASSIGNMENT: &str = "Microsoft.Authorization/roleAssignments";

/// The type under which custom roles are stored, at the tenant.
pub const ROLE_DEFINITION: &str = "Microsoft.Authorization/roleDefinitions";

/// The type under which deny assignments are stored.
pub const DENY_ASSIGNMENT: &str = "Microsoft.Authorization/denyAssignments";

/// The type of hubs and projects.
pub const WORKSPACE: &str = "Microsoft.MachineLearningServices/workspaces";

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

    /// Where the roles of a principal, and of the groups it is in, lie as seen from a scope.
    pub async fn reach(&self, holder: &Identified, scope: &ResourceId) -> Result<Reach, Failure> {
        let snapshot = self.snapshot(holder.epoch).await?;
        let reach = snapshot.held(&holder.principal).map(|held| match held.is_within(scope) {
            true => Reach::Within,
            false => Reach::Beyond,
        });
        Ok(reach.max().unwrap_or(Reach::Nowhere))
    }

    /// Whether a principal may read at a scope, or holds a role somewhere below it: then the scope is no secret.
    pub async fn sees(&self, caller: &Identified, action: &str, scope: &ResourceId) -> Result<bool, Failure> {
        let snapshot = self.snapshot(caller.epoch).await?;
        Ok(snapshot.allows(&caller.principal, action, scope) || snapshot.holds_below(&caller.principal, scope))
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

    /// A pass for a list at a scope, or 403. Who may not read there but holds a role below it gets one that names no
    /// action, under which the list shows what [`Snapshot::allows`] that role to read.
    pub async fn admit_to_list(&self, caller: &Identified, action: &str, scope: &ResourceId) -> Result<Pass, Failure> {
        let snapshot = self.snapshot(caller.epoch).await?;
        if !snapshot.allows(&caller.principal, action, scope) && snapshot.holds_below(&caller.principal, scope) {
            return Ok(Pass::new(caller, "", scope));
        }
        self.authorise(caller, action, scope).await
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

    /// A pass for an action that takes no role, because it is about what is the caller's own or because the operation
    /// itself sees to who may.
    pub fn admit_to_own(&self, caller: &Identified, action: &str, scope: &ResourceId) -> Pass {
        Pass::new(caller, action, scope)
    }

    /// Whether a principal may assign roles at a scope, if only some roles or to some.
    pub async fn may_assign(&self, caller: &Identified, scope: &ResourceId) -> Result<bool, Failure> {
        let decision = self.snapshot(caller.epoch).await?.decide(&caller.principal, ASSIGN, scope, &Attributes::NONE);
        Ok(matches!(decision, Decision::Allowed { .. } | Decision::Denied(Reason::Condition(_))))
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
        let snapshot = Arc::new(self.next(epoch).await?);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// The snapshot of an epoch: the last one and what has changed since, or everything when that is not known.
    async fn next(&self, epoch: i64) -> Result<Snapshot, Failure> {
        let last = self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = last
            && let Some(changes) = self.store.access_changes(last.epoch).await?
        {
            let (facts, difference) = last.facts.changed(&self.store, &changes).await?;
            return last.followed_by(changes.epoch, facts, &difference);
        }
        let facts = Facts::read(&self.store).await?;
        Ok(Snapshot { epoch, access: compile(&facts)?, facts })
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
            // Assignments of deleted and disabled principals stay, but nobody can be asked there.
            if let Some(object) = self.directory.object(grantor).await?.filter(|object| object.standing().enabled) {
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

fn compile(facts: &Facts) -> Result<Access, Failure> {
    Access::compile_with_projects(&facts.roles, facts.assignments.iter(), &facts.denies, &facts.projects())
        .map_err(|error| Failure::internal(format!("role assignments do not compile: {error}")))
}

impl Snapshot {
    fn followed_by(&self, epoch: i64, facts: Facts, difference: &Difference) -> Result<Self, Failure> {
        let access = if difference.is_profound {
            compile(&facts)?
        } else {
            self.access.with(&AccessChanges {
                removed: difference.removed.iter().map(AsRef::as_ref).collect(),
                added: difference.added.iter().map(AsRef::as_ref).collect(),
                projects: difference.projects.iter().map(|(project, hub)| (&**project, hub.as_deref())).collect(),
            })
        };
        Ok(Self { epoch, access, facts })
    }

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
        self.facts.assignments.get(name)
    }

    /// The scopes at which a principal, or a group it is in, holds a role.
    fn held(&self, principal: &Principal) -> impl Iterator<Item = ResourceId> {
        let is_theirs = |id: Uuid| id == principal.object_id || principal.groups.contains(&id);
        let theirs = self.facts.assignments.iter().filter(move |held| is_theirs(held.principal_id));
        theirs.filter_map(|held| ResourceId::parse(&held.scope).ok())
    }

    fn holds_below(&self, principal: &Principal, scope: &ResourceId) -> bool {
        self.held(principal).any(|held| held.is_within(scope) && held != *scope)
    }

    /// Whether a principal may take an action on a scope.
    pub fn allows(&self, principal: &Principal, action: &str, scope: &ResourceId) -> bool {
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

/// What it takes to assign roles.
pub const ASSIGN: &str = "Microsoft.Authorization/roleAssignments/write";

/// People named in a refusal.
const MAX_GRANTORS: usize = 3;

/// Principals looked up to find them.
const MAX_GRANTORS_TRIED: usize = 10;
