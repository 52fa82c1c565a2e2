//! Roles, assignments and denies in the form in which they are asked.

use std::collections::HashMap;
use std::ops::Range;

use uuid::Uuid;

use crate::access::{CompileError, Question};
use crate::condition::{Gate, Verdict};
use crate::path::{Keys, Path};
use crate::pattern::PatternSet;
use crate::{ActionPattern, DenyAssignment, DenyPrincipal, Permission, RoleAssignment, RoleDefinition};

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
    /// The number of its first block among those of all roles.
    first_block: usize,
    is_unconditional: bool,
    blocks: Box<[Block]>,
}

impl Role {
    pub(crate) fn new(role: &RoleDefinition, first_block: usize, keys: &Keys) -> Self {
        let blocks: Box<[Block]> = role.permissions.iter().map(|permission| Block::new(permission, keys)).collect();
        let is_unconditional = blocks.iter().all(|block| matches!(block.gate, Gate::Open));
        Self { name: role.role_name.clone(), first_block, is_unconditional, blocks }
    }

    /// The numbers of its blocks among those of all roles.
    pub(crate) fn block_numbers(&self) -> Range<usize> {
        self.first_block..self.first_block + self.blocks.len()
    }

    /// Whether none of its blocks has a condition.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.is_unconditional
    }

    /// Whether a block covers the action, conditions aside.
    pub(crate) fn may_grant(&self, question: &Question<'_>) -> bool {
        self.blocks.iter().any(|block| matches!(block.covers(question), Finding::Grants(_)))
    }

    /// The best finding of any block: a block never takes away from another.
    pub(crate) fn examine(&self, question: &Question<'_>) -> Finding<'_> {
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
    /// The joint hash of scope and principal.
    pub(crate) key: u64,
    pub(crate) principal: Uuid,
    pub(crate) scope: Box<str>,
    /// Position of the role, or [`NO_ROLE`].
    pub(crate) role: u32,
    pub(crate) role_id: Uuid,
    /// Whether it, made at a hub, reaches the hub's projects.
    pub(crate) reaches_projects: bool,
    pub(crate) gate: Gate,
}

impl Assignment {
    pub(crate) fn new(assignment: &RoleAssignment, key: u64, roles: &HashMap<Uuid, u32>) -> Self {
        Self {
            name: assignment.name,
            key,
            principal: assignment.principal_id,
            scope: assignment.scope.as_str().into(),
            role: roles.get(&assignment.role_definition_id).copied().unwrap_or(NO_ROLE),
            role_id: assignment.role_definition_id,
            reaches_projects: assignment.reaches_projects,
            gate: Gate::new(assignment.condition.as_deref(), assignment.condition_version.as_deref()),
        }
    }
}

impl Assignment {
    /// Whether it has no condition.
    pub(crate) fn is_unconditional(&self) -> bool {
        matches!(self.gate, Gate::Open)
    }
}

/// A compiled deny assignment.
#[derive(Debug)]
pub(crate) struct Deny {
    pub(crate) name: Uuid,
    pub(crate) title: String,
    pub(crate) scope: Box<str>,
    pub(crate) scope_hash: u64,
    pub(crate) here_only: bool,
    principals: Box<[Uuid]>,
    excluded: Box<[Uuid]>,
    blocks: Box<[Block]>,
    gate: Gate,
}

impl Deny {
    pub(crate) fn new(deny: &DenyAssignment, keys: &Keys) -> Result<Self, CompileError> {
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

/// The position of a role that nobody knows: beyond the end of every list.
const NO_ROLE: u32 = u32::MAX;
