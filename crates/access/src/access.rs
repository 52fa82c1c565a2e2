use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use crate::compiled::{Assignment, ConditionOf, Deny, Finding, Role};
use crate::condition::{Gate, Verdict};
use crate::coverage::{Covering, Patterns};
use crate::path::{Filter, Keys, Path, Prefix};
use crate::scopes::{Grants, Projects, Scopes};
use crate::{Decision, DenyAssignment, Reason, Request, RoleAssignment, RoleDefinition};

/// An immutable, compiled snapshot of who may do what where.
///
/// Share one per access epoch; it never changes. [`with`](Self::with) makes the next one of what has changed, which
/// shares everything else with the old.
#[derive(Debug, Clone)]
pub struct Access {
    pub(crate) keys: Keys,
    pub(crate) roles: Arc<[Role]>,
    patterns: Arc<Patterns>,
    /// Position of each role in `roles`.
    positions: Arc<HashMap<Uuid, u32>>,
    grants: Grants,
    scopes: Scopes,
    projects: Arc<Projects>,
    /// Sorted by scope hash.
    denies: Arc<[Deny]>,
    /// Hashes of all scopes at which there is something; of some at which there no longer is.
    known_scopes: Arc<Filter>,
}

/// What has changed since a snapshot was made. Roles and deny assignments that change take a new compilation.
#[derive(Debug, Clone, Default)]
pub struct AccessChanges<'a> {
    /// Assignments that are gone, as they were; of one that was replaced, the old one.
    pub removed: Vec<&'a RoleAssignment>,
    /// Assignments that are new.
    pub added: Vec<&'a RoleAssignment>,
    /// Projects whose hub is now another, or none.
    pub projects: Vec<(&'a str, Option<&'a str>)>,
}

/// A project and its hub, by their ARM ids: what is given at the hub with
/// [`reaches_projects`](RoleAssignment::reaches_projects) holds at the project as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The project.
    pub id: String,
    /// Its hub.
    pub hub: String,
}

/// What kept a snapshot from being compiled.
///
/// An assignment that cannot be understood merely grants nothing; but a deny must not be lost, and a role must be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompileError {
    /// Two role definitions have the same GUID.
    #[error("role definition '{0}' is defined twice; keep one of them")]
    DuplicateRole(Uuid),
    /// A deny assignment's scope is not an ARM id.
    #[error("deny assignment '{name}' has the scope '{scope}', which is not a resource id; correct or remove it")]
    DenyScope {
        /// Name of the deny assignment.
        name: Uuid,
        /// Its scope.
        scope: String,
    },
}

impl Access {
    /// Compiles a snapshot in which no project has a hub.
    pub fn compile(
        roles: &[RoleDefinition],
        assignments: &[RoleAssignment],
        denies: &[DenyAssignment],
    ) -> Result<Self, CompileError> {
        Self::compile_with_projects(roles, assignments, denies, &[])
    }

    /// Compiles a snapshot.
    ///
    /// An assignment whose role is unknown or whose condition cannot be read is kept, so that
    /// [`explain`](Self::explain) can tell, and grants nothing; one whose scope is no ARM id belongs nowhere.
    pub fn compile_with_projects<'a>(
        roles: &[RoleDefinition],
        assignments: impl IntoIterator<Item = &'a RoleAssignment>,
        denies: &[DenyAssignment],
        projects: &[Project],
    ) -> Result<Self, CompileError> {
        let keys = Keys::new();
        let mut positions = HashMap::with_capacity(roles.len());
        for (position, role) in (0..).zip(roles) {
            if positions.insert(role.id, position).is_some() {
                return Err(CompileError::DuplicateRole(role.id));
            }
        }
        let mut denies = denies.iter().map(|deny| Deny::new(deny, &keys)).collect::<Result<Vec<_>, _>>()?;
        denies.sort_by_key(|deny| deny.scope_hash);
        let mut access = Self {
            roles: compiled(roles, &keys),
            patterns: Arc::new(Patterns::new(roles, &keys)),
            positions: Arc::new(positions),
            grants: Grants::default(),
            scopes: Scopes::default(),
            projects: Arc::default(),
            denies: denies.into(),
            known_scopes: Arc::default(),
            keys,
        };
        let changes = AccessChanges {
            added: assignments.into_iter().collect(),
            projects: projects.iter().map(|project| (&*project.id, Some(&*project.hub))).collect(),
            ..AccessChanges::default()
        };
        let touched = access.change(&changes).into_iter();
        let known = touched.chain(access.denies.iter().map(|deny| deny.scope_hash));
        access.known_scopes = Arc::new(Filter::new(known.collect::<Vec<_>>().into_iter()));
        Ok(access)
    }

    /// The next snapshot. Takes time with what has changed and with what else is at the same scopes, not with how much
    /// there is.
    pub fn with(&self, changes: &AccessChanges<'_>) -> Self {
        let mut next = self.clone();
        let touched = next.change(changes);
        if touched.iter().any(|hash| !next.known_scopes.may_contain(*hash)) {
            let known = Arc::make_mut(&mut next.known_scopes);
            for hash in touched {
                known.insert(hash);
            }
        }
        next
    }

    /// Answers a request. Does not allocate.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let question = match self.question(request) {
            Ok(question) => question,
            Err(reason) => return Decision::Denied(reason),
        };
        if let Some(deny) = self.denies_at(&question.scope).find(|deny| deny.blocks(&question)) {
            return Decision::Denied(Reason::DenyAssignment(deny.name));
        }
        let hub = self.projects.hub_of(&question.scope);
        let mut reason = Reason::NoAssignment;
        let mut covering = None;
        for principal in question.principals() {
            let principal_hash = self.keys.of_principal(principal);
            let places = question.scope.prefixes().iter().map(|prefix| (prefix.hash, Some(*prefix)));
            for (scope_hash, prefix) in places.chain(hub.map(|hub| (hub.hash, None))) {
                for (role, assignment) in self.grants.at(self.keys.join(scope_hash, principal_hash)) {
                    // The role first: it mostly says no, while the assignment is somewhere in memory.
                    let covering = covering.get_or_insert_with(|| self.covering(&question));
                    if !self.may_grant(role, covering, &question) {
                        continue;
                    }
                    let is_here = match (prefix, hub) {
                        (Some(prefix), _) => same_scope(&assignment.scope, &question.scope, prefix),
                        (None, Some(hub)) => assignment.reaches_projects && is_same(&assignment.scope, &hub.scope),
                        (None, None) => false,
                    };
                    if !is_here || assignment.principal != principal {
                        continue;
                    }
                    if assignment.is_unconditional() && self.role(role).is_some_and(Role::is_unconditional) {
                        return Decision::Allowed { assignment: assignment.name };
                    }
                    match self.examine(assignment, &question) {
                        Finding::Grants(_) => return Decision::Allowed { assignment: assignment.name },
                        Finding::Condition(_) => reason = Reason::Condition(assignment.name),
                        Finding::RoleUnknown | Finding::NotCovered | Finding::Subtracted { .. } => {}
                    }
                }
            }
        }
        Decision::Denied(reason)
    }

    /// Reads a request.
    pub(crate) fn question<'a>(&self, request: &'a Request<'a>) -> Result<Question<'a>, Reason> {
        let mut scope = Path::scope(request.scope, &self.keys).ok_or(Reason::InvalidScope)?;
        let action = Path::action(request.action, &self.keys).ok_or(Reason::InvalidAction)?;
        scope.retain(|hash| self.known_scopes.may_contain(hash));
        Ok(Question { request, scope, action })
    }

    fn covering(&self, question: &Question<'_>) -> Covering {
        self.patterns.covering(&question.action, question.request.data)
    }

    /// Whether a role covers the action, its conditions aside.
    fn may_grant(&self, role: u32, covering: &Covering, question: &Question<'_>) -> bool {
        let Some(role) = self.role(role) else { return false };
        covering.any(role.block_numbers()).unwrap_or_else(|| role.may_grant(question))
    }

    pub(crate) fn role(&self, position: u32) -> Option<&Role> {
        self.roles.get(usize::try_from(position).ok()?)
    }

    /// What one assignment of the right principal and scope contributes.
    pub(crate) fn examine(&self, assignment: &Assignment, question: &Question<'_>) -> Finding<'_> {
        let Some(role) = self.role(assignment.role) else { return Finding::RoleUnknown };
        let finding = role.examine(question);
        if matches!(finding, Finding::Grants(_)) && question.verdict(&assignment.gate) != Verdict::True {
            return Finding::Condition(ConditionOf::Assignment);
        }
        finding
    }

    /// The assignments of anybody that reach the scope: made there, above, or at the hub of the project it is in.
    pub(crate) fn reaching<'a>(&'a self, scope: &'a Path<'_>) -> impl Iterator<Item = &'a Assignment> {
        let above = scope.prefixes().iter().flat_map(|prefix| self.scopes.at(scope.prefix_text(*prefix), prefix.hash));
        let hub = self.projects.hub_of(scope).into_iter();
        let of_hub = hub.flat_map(|hub| self.scopes.at(&hub.scope, hub.hash)).filter(|held| held.reaches_projects);
        above.chain(of_hub)
    }

    /// The deny assignments that hold at the scope.
    pub(crate) fn denies_at<'a>(&'a self, scope: &'a Path<'_>) -> impl Iterator<Item = &'a Deny> {
        let prefixes = if self.denies.is_empty() { &[] } else { scope.prefixes() };
        prefixes.iter().flat_map(move |prefix| {
            let first = self.denies.partition_point(|deny| deny.scope_hash < prefix.hash);
            let found = self.denies.get(first..).unwrap_or_default().iter();
            found
                .take_while(|deny| deny.scope_hash == prefix.hash)
                .filter(|deny| same_scope(&deny.scope, scope, *prefix))
                .filter(|deny| !deny.here_only || scope.prefix_text(*prefix).len() == scope.text().len())
        })
    }

    /// Takes changes in, and says which scopes they touched.
    fn change(&mut self, changes: &AccessChanges<'_>) -> Vec<u64> {
        let mut edits: HashMap<String, (Vec<Uuid>, Vec<Arc<Assignment>>)> = HashMap::new();
        let mut removed = Vec::with_capacity(changes.removed.len());
        for old in &changes.removed {
            // What has no readable scope belongs nowhere.
            let Some(scope) = Path::scope(&old.scope, &self.keys) else { continue };
            removed.push((self.keys.join(scope.hash(), self.keys.of_principal(old.principal_id)), old.name));
            edits.entry(folded(&old.scope)).or_default().0.push(old.name);
        }
        let mut added = Vec::with_capacity(changes.added.len());
        for new in &changes.added {
            let Some(scope) = Path::scope(&new.scope, &self.keys) else { continue };
            let key = self.keys.join(scope.hash(), self.keys.of_principal(new.principal_id));
            let compiled = Arc::new(Assignment::new(new, key, &self.positions));
            edits.entry(folded(&new.scope)).or_default().1.push(Arc::clone(&compiled));
            added.push(compiled);
        }
        self.grants.change(&removed, &added);
        let mut touched = Vec::with_capacity(edits.len());
        for (scope, (removed, added)) in edits {
            let Some(hash) = self.hash_of(&scope) else { continue };
            self.scopes.change(&scope, hash, &removed, &added);
            touched.push(hash);
        }
        for (project, hub) in &changes.projects {
            let project = folded(project);
            let Some(hash) = self.hash_of(&project) else { continue };
            Arc::make_mut(&mut self.projects).set(&project, hash, *hub, &self.keys);
            touched.push(hash);
        }
        touched
    }

    /// The hash of a scope without its last slash: the root is empty.
    fn hash_of(&self, scope: &str) -> Option<u64> {
        Path::scope(if scope.is_empty() { "/" } else { scope }, &self.keys).map(|path| path.hash())
    }
}

/// A request whose scope and action have been read.
pub(crate) struct Question<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) scope: Path<'a>,
    pub(crate) action: Path<'a>,
}

impl Question<'_> {
    /// The principal itself, then its groups.
    pub(crate) fn principals(&self) -> impl Iterator<Item = Uuid> {
        std::iter::once(self.request.principal).chain(self.request.groups.iter().copied())
    }

    pub(crate) fn verdict(&self, gate: &Gate) -> Verdict {
        gate.verdict(self.request.action, self.request.attributes)
    }
}

fn compiled(roles: &[RoleDefinition], keys: &Keys) -> Arc<[Role]> {
    let mut blocks = 0;
    let compiled = roles.iter().map(|role| {
        let first = blocks;
        blocks += role.permissions.len();
        Role::new(role, first, keys)
    });
    compiled.collect()
}

/// Whether a stored scope is this prefix of the path; the root is stored as `/` and is the empty prefix.
fn same_scope(stored: &str, path: &Path<'_>, prefix: Prefix) -> bool {
    is_same(stored, path.prefix_text(prefix))
}

/// Whether two scopes are the same.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other)
}

/// A scope in lower case, without its last slash.
fn folded(scope: &str) -> String {
    scope.trim_end_matches('/').to_ascii_lowercase()
}
