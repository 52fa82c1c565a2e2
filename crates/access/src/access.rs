use std::collections::HashMap;
use std::ops::Range;

use thiserror::Error;
use uuid::Uuid;

use crate::condition::{Gate, Verdict};
use crate::path::{Filter, KeyedMap, Keys, Path, Prefix};
use crate::pattern::PatternSet;
use crate::{ActionPattern, Decision, DenyAssignment, DenyPrincipal, Permission, Reason};
use crate::{Request, RoleAssignment, RoleDefinition};

/// An immutable, compiled snapshot of who may do what where.
///
/// Build one per access epoch and share it; it never changes.
#[derive(Debug)]
pub struct Access {
    pub(crate) keys: Keys,
    pub(crate) roles: Vec<Role>,
    pub(crate) assignments: Vec<Assignment>,
    /// Sorted by principal, then by scope hash.
    grants: Vec<Grant>,
    /// Which part of `grants` belongs to a principal.
    principals: KeyedMap<Uuid, Range<usize>>,
    /// Positions of assignments, sorted by scope hash.
    scopes: Vec<(u64, usize)>,
    /// Sorted by scope hash.
    denies: Vec<Deny>,
    /// Hashes of all scopes at which there is an assignment or a deny.
    known_scopes: Filter,
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
    /// Compiles a snapshot.
    ///
    /// An assignment whose role is unknown, whose scope is no ARM id or whose condition cannot be read is kept, so that
    /// [`explain`](Self::explain) can tell, and grants nothing.
    pub fn compile(
        roles: &[RoleDefinition],
        assignments: &[RoleAssignment],
        denies: &[DenyAssignment],
    ) -> Result<Self, CompileError> {
        let keys = Keys::new();
        let mut index = HashMap::with_capacity(roles.len());
        for (position, role) in roles.iter().enumerate() {
            if index.insert(role.id, position).is_some() {
                return Err(CompileError::DuplicateRole(role.id));
            }
        }
        let mut grants = Vec::with_capacity(assignments.len());
        for (position, assignment) in assignments.iter().enumerate() {
            // An assignment without a readable scope belongs nowhere.
            if let Some(scope) = Path::scope(&assignment.scope, &keys) {
                let role = index.get(&assignment.role_definition_id).copied().unwrap_or(NO_ROLE);
                grants.push((assignment.principal_id, Grant { scope: scope.hash(), role, assignment: position }));
            }
        }
        grants.sort_unstable_by_key(|(principal, grant)| (*principal, grant.scope, grant.assignment));
        let denies = denies.iter().map(|deny| Deny::new(deny, &keys)).collect::<Result<Vec<_>, _>>()?;
        let mut scopes: Vec<_> = grants.iter().map(|(_, grant)| (grant.scope, grant.assignment)).collect();
        scopes.sort_unstable();
        let mut known: Vec<_> = scopes.iter().map(|(scope, _)| *scope).collect();
        known.dedup();
        known.extend(denies.iter().map(|deny| deny.scope_hash));
        let mut access = Self {
            principals: ranges(&grants, &keys),
            grants: grants.into_iter().map(|(_, grant)| grant).collect(),
            scopes,
            roles: roles.iter().map(|role| Role::new(role, &keys)).collect(),
            assignments: assignments.iter().map(|assignment| Assignment::new(assignment, &index)).collect(),
            denies,
            known_scopes: Filter::new(known.into_iter()),
            keys,
        };
        access.denies.sort_by_key(|deny| deny.scope_hash);
        Ok(access)
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
        let mut reason = Reason::NoAssignment;
        let mut ruled_out = RoleSet::default();
        for principal in question.principals() {
            for (grant, prefix) in self.grants_at(principal, &question.scope) {
                // The role first: it is at hand, and mostly says no, while the assignment is somewhere in memory.
                if ruled_out.contains(grant.role) || !self.may_grant(grant.role, &question) {
                    ruled_out.insert(grant.role);
                    continue;
                }
                let Some(assignment) = self.assignment(grant, prefix, &question.scope) else { continue };
                match self.examine(assignment, &question) {
                    Finding::Grants(_) => return Decision::Allowed { assignment: assignment.name },
                    Finding::Condition(_) => reason = Reason::Condition(assignment.name),
                    Finding::RoleUnknown | Finding::NotCovered | Finding::Subtracted { .. } => {}
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

    /// Whether a role covers the action, its conditions aside.
    fn may_grant(&self, role: usize, question: &Question<'_>) -> bool {
        let blocks = self.roles.get(role).map(|role| &*role.blocks).unwrap_or_default();
        blocks.iter().any(|block| matches!(block.covers(question), Finding::Grants(_)))
    }

    /// What one assignment of the right principal and scope contributes.
    pub(crate) fn examine(&self, assignment: &Assignment, question: &Question<'_>) -> Finding<'_> {
        let Some(role) = self.roles.get(assignment.role) else { return Finding::RoleUnknown };
        let finding = role.examine(question);
        if matches!(finding, Finding::Grants(_)) && question.verdict(&assignment.gate) != Verdict::True {
            return Finding::Condition(ConditionOf::Assignment);
        }
        finding
    }

    /// The assignments of one principal at the scope and its ancestors.
    pub(crate) fn assignments_at<'a>(
        &'a self,
        principal: Uuid,
        scope: &'a Path<'_>,
    ) -> impl Iterator<Item = &'a Assignment> {
        self.grants_at(principal, scope).filter_map(|(grant, prefix)| self.assignment(grant, prefix, scope))
    }

    /// What one principal was probably granted at the scope and its ancestors: their hashes agree.
    fn grants_at<'a>(&'a self, principal: Uuid, scope: &'a Path<'_>) -> impl Iterator<Item = (&'a Grant, Prefix)> {
        let grants = self.principals.get(&principal).and_then(|range| self.grants.get(range.clone()));
        let grants = grants.unwrap_or_default();
        let prefixes = if grants.is_empty() { &[] } else { scope.prefixes() };
        prefixes.iter().flat_map(move |prefix| {
            let first = grants.partition_point(|grant| grant.scope < prefix.hash);
            let found = grants.get(first..).unwrap_or_default().iter().take_while(|grant| grant.scope == prefix.hash);
            found.map(|grant| (grant, *prefix))
        })
    }

    /// The assignment of a grant, when its scope is indeed this prefix.
    fn assignment(&self, grant: &Grant, prefix: Prefix, scope: &Path<'_>) -> Option<&Assignment> {
        let assignment = self.assignments.get(grant.assignment)?;
        same_scope(&assignment.scope, scope, prefix).then_some(assignment)
    }

    /// The assignments of anybody at the scope and its ancestors.
    pub(crate) fn all_assignments_at<'a>(&'a self, scope: &'a Path<'_>) -> impl Iterator<Item = &'a Assignment> {
        scope.prefixes().iter().flat_map(move |prefix| {
            let first = self.scopes.partition_point(|(hash, _)| *hash < prefix.hash);
            let found =
                self.scopes.get(first..).unwrap_or_default().iter().take_while(|(hash, _)| *hash == prefix.hash);
            found
                .filter_map(|(_, assignment)| self.assignments.get(*assignment))
                .filter(|assignment| same_scope(&assignment.scope, scope, *prefix))
        })
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

    fn verdict(&self, gate: &Gate) -> Verdict {
        gate.verdict(self.request.action, self.request.attributes)
    }
}

/// What a role or assignment says about a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Finding<'a> {
    /// The role does not exist any more.
    RoleUnknown,
    /// No block covers the action.
    NotCovered,
    /// A block covers the action and takes it back.
    Subtracted { by: &'a ActionPattern },
    /// Granted but for a condition.
    Condition(ConditionOf<'a>),
    /// Granted by this pattern.
    Grants(&'a ActionPattern),
}

/// Whose condition it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConditionOf<'a> {
    Assignment,
    Role(&'a Gate),
}

/// A compiled role definition.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    blocks: Box<[Block]>,
}

impl Role {
    fn new(role: &RoleDefinition, keys: &Keys) -> Self {
        let blocks = role.permissions.iter().map(|permission| Block::new(permission, keys)).collect();
        Self { name: role.role_name.clone(), blocks }
    }

    /// The best finding of any block: a block never takes away from another.
    fn examine(&self, question: &Question<'_>) -> Finding<'_> {
        let mut best = Finding::NotCovered;
        for block in &self.blocks {
            match (block.examine(question), best) {
                (Finding::Grants(pattern), _) => return Finding::Grants(pattern),
                (found @ Finding::Condition(_), _) | (found @ Finding::Subtracted { .. }, Finding::NotCovered) => {
                    best = found;
                }
                _ => {}
            }
        }
        best
    }
}

/// A compiled permission block.
#[derive(Debug)]
struct Block {
    actions: PatternSet,
    not_actions: PatternSet,
    data_actions: PatternSet,
    not_data_actions: PatternSet,
    gate: Gate,
}

impl Block {
    fn new(permission: &Permission, keys: &Keys) -> Self {
        Self {
            actions: PatternSet::new(&permission.actions, keys),
            not_actions: PatternSet::new(&permission.not_actions, keys),
            data_actions: PatternSet::new(&permission.data_actions, keys),
            not_data_actions: PatternSet::new(&permission.not_data_actions, keys),
            gate: Gate::new(permission.condition.as_deref(), permission.condition_version.as_deref()),
        }
    }

    fn examine(&self, question: &Question<'_>) -> Finding<'_> {
        match self.covers(question) {
            Finding::Grants(_) if question.verdict(&self.gate) != Verdict::True => {
                Finding::Condition(ConditionOf::Role(&self.gate))
            }
            finding => finding,
        }
    }

    /// Actions minus notActions, conditions aside.
    fn covers(&self, question: &Question<'_>) -> Finding<'_> {
        let (covered, subtracted) = if question.request.data {
            (&self.data_actions, &self.not_data_actions)
        } else {
            (&self.actions, &self.not_actions)
        };
        let Some(pattern) = covered.find(&question.action) else { return Finding::NotCovered };
        match subtracted.find(&question.action) {
            Some(by) => Finding::Subtracted { by },
            None => Finding::Grants(pattern),
        }
    }
}

/// A compiled role assignment.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) name: Uuid,
    pub(crate) principal: Uuid,
    pub(crate) scope: Box<str>,
    /// Position of the role, or [`NO_ROLE`].
    pub(crate) role: usize,
    pub(crate) role_id: Uuid,
    pub(crate) gate: Gate,
}

impl Assignment {
    fn new(assignment: &RoleAssignment, roles: &HashMap<Uuid, usize>) -> Self {
        Self {
            name: assignment.name,
            principal: assignment.principal_id,
            scope: assignment.scope.as_str().into(),
            role: roles.get(&assignment.role_definition_id).copied().unwrap_or(NO_ROLE),
            role_id: assignment.role_definition_id,
            gate: Gate::new(assignment.condition.as_deref(), assignment.condition_version.as_deref()),
        }
    }
}

/// What a principal holds at the scope with this hash.
#[derive(Debug)]
struct Grant {
    scope: u64,
    /// Position of the role, or [`NO_ROLE`].
    role: usize,
    /// Position of the assignment.
    assignment: usize,
}

/// Roles by position; those beyond its size are never in it.
#[derive(Default)]
struct RoleSet([u64; 16]);

impl RoleSet {
    fn contains(&self, role: usize) -> bool {
        self.0.get(role / 64).is_some_and(|word| word & (1 << (role % 64)) != 0)
    }

    fn insert(&mut self, role: usize) {
        if let Some(word) = self.0.get_mut(role / 64) {
            *word |= 1 << (role % 64);
        }
    }
}

/// A compiled deny assignment.
#[derive(Debug)]
pub(crate) struct Deny {
    pub(crate) name: Uuid,
    pub(crate) title: String,
    pub(crate) scope: Box<str>,
    scope_hash: u64,
    here_only: bool,
    principals: Box<[Uuid]>,
    excluded: Box<[Uuid]>,
    blocks: Box<[Block]>,
    gate: Gate,
}

impl Deny {
    fn new(deny: &DenyAssignment, keys: &Keys) -> Result<Self, CompileError> {
        let Some(scope) = Path::scope(&deny.scope, keys) else {
            return Err(CompileError::DenyScope { name: deny.name, scope: deny.scope.clone() });
        };
        let ids = |principals: &[DenyPrincipal]| principals.iter().map(|principal| principal.id).collect();
        Ok(Self {
            name: deny.name,
            title: deny.deny_assignment_name.clone(),
            scope: deny.scope.as_str().into(),
            scope_hash: scope.hash(),
            here_only: deny.do_not_apply_to_child_scopes,
            principals: ids(&deny.principals),
            excluded: ids(&deny.exclude_principals),
            blocks: deny.permissions.iter().map(|permission| Block::new(permission, keys)).collect(),
            gate: Gate::new(deny.condition.as_deref(), deny.condition_version.as_deref()),
        })
    }

    /// Whether it stops a question at its scope. A condition that cannot be answered counts as fulfilled here.
    pub(crate) fn blocks(&self, question: &Question<'_>) -> bool {
        self.names(question)
            && question.verdict(&self.gate) != Verdict::False
            && self.blocks.iter().any(|block| {
                matches!(block.covers(question), Finding::Grants(_)) && question.verdict(&block.gate) != Verdict::False
            })
    }

    fn names(&self, question: &Question<'_>) -> bool {
        let everyone = self.principals.contains(&DenyPrincipal::EVERYONE);
        let excluded = |id: &Uuid| *id != DenyPrincipal::EVERYONE && self.excluded.contains(id);
        (everyone || question.principals().any(|id| self.principals.contains(&id)))
            && !question.principals().any(|id| excluded(&id))
    }
}

/// Which part of the grants, sorted by principal, belongs to whom.
fn ranges(grants: &[(Uuid, Grant)], keys: &Keys) -> KeyedMap<Uuid, Range<usize>> {
    let mut ranges: KeyedMap<Uuid, Range<usize>> = KeyedMap::with_hasher(keys.clone());
    for (position, (principal, _)) in grants.iter().enumerate() {
        ranges.entry(*principal).or_insert(position..position).end = position + 1;
    }
    ranges
}

/// Whether a stored scope is this prefix of the path; the root is stored as `/` and is the empty prefix.
fn same_scope(stored: &str, path: &Path<'_>, prefix: Prefix) -> bool {
    stored.trim_end_matches('/').eq_ignore_ascii_case(path.prefix_text(prefix))
}

/// The position of a role that nobody knows: beyond the end of every list.
const NO_ROLE: usize = usize::MAX;
