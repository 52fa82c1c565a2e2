use serde::Serialize;
use uuid::Uuid;

use crate::access::{Access, Question};
use crate::compiled::{Assignment, ConditionOf, Deny, Finding};
use crate::condition::Gate;
use crate::path::Path;
use crate::{Attributes, Decision, Reason, Request};

/// A decision with everything that led to it: which assignment, through which group, minus what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The decision; the same that [`Access::decide`] gives.
    #[serde(skip)]
    pub decision: Decision,
    /// Whether it is a yes.
    pub allowed: bool,
    /// The decision in a sentence.
    pub summary: String,
    /// Every assignment of the principal or its groups that reaches the scope; those that grant come first.
    pub assignments: Vec<AssignmentStep>,
    /// Every deny assignment that blocks the action.
    pub denies: Vec<DenyStep>,
}

/// What one role assignment contributed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentStep {
    /// Name of the role assignment.
    pub assignment: Uuid,
    /// Where it was made: the scope asked about, one above, or the hub of the project asked about.
    pub scope: String,
    /// Whether it was made at the hub of the project asked about, and says that it reaches the hub's projects.
    pub from_hub: bool,
    /// GUID of its role.
    pub role_definition_id: Uuid,
    /// Name of its role; `None` when the role does not exist.
    pub role_name: Option<String>,
    /// The group that holds it; `None` when the principal does itself.
    pub group: Option<Uuid>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a role assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Outcome {
    /// It grants the action.
    Grants {
        /// The pattern of the role that covers the action.
        pattern: String,
    },
    /// A block of the role covers the action, but a condition does not hold or cannot be answered.
    Condition {
        /// Whether the condition is the role's own, and not the assignment's.
        of_role: bool,
        /// The condition; `None` when it cannot be read.
        condition: Option<String>,
        /// Why it cannot be read.
        problem: Option<String>,
    },
    /// The role covers the action and takes it back.
    Subtracted {
        /// The pattern in `notActions` or `notDataActions`.
        by: String,
    },
    /// The role does not cover the action.
    NotCovered,
    /// The role does not exist any more.
    RoleUnknown,
}

/// A deny assignment that blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DenyStep {
    /// Name of the deny assignment.
    pub deny_assignment: Uuid,
    /// What people call it.
    pub deny_assignment_name: String,
    /// Where it was made.
    pub scope: String,
}

impl Access {
    /// Answers a request like [`decide`](Self::decide) and says why.
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        let decision = self.decide(request);
        let (mut assignments, mut denies) = (Vec::new(), Vec::new());
        if let Ok(question) = self.question(request) {
            for principal in question.principals() {
                let group = (principal != request.principal).then_some(principal);
                let held = self.reaching(&question.scope).filter(|held| held.principal == principal);
                assignments.extend(held.map(|assignment| self.step(assignment, group, &question)));
            }
            denies.extend(self.denies_at(&question.scope).filter(|deny| deny.blocks(&question)).map(DenyStep::new));
        }
        assignments.sort_by_key(|step: &AssignmentStep| step.outcome.rank());
        let summary = summary(decision, &assignments, &denies);
        Explanation { decision, allowed: decision.is_allowed(), summary, assignments, denies }
    }

    /// Who could grant somebody a role at this scope: the principals that hold `roleAssignments/write` there.
    ///
    /// Those who may assign any role come first, then those whose condition limits what they may assign. Groups stand
    /// for their members. Sorted, without duplicates.
    pub fn grantors(&self, scope: &str) -> Vec<Uuid> {
        let nobody = assigning(Uuid::nil(), scope);
        let Ok(question) = self.question(&nobody) else { return Vec::new() };
        let mut grantors: Vec<(bool, Uuid)> = Vec::new();
        for assignment in self.reaching(&question.scope) {
            let constrained = match self.examine(assignment, &question) {
                Finding::Grants(_) => false,
                Finding::Condition(condition) if condition.gate(assignment).may_hold(ASSIGN) => true,
                _ => continue,
            };
            let request = assigning(assignment.principal, scope);
            let is_denied = |question: Question<'_>| self.denies_at(&question.scope).any(|deny| deny.blocks(&question));
            if !self.question(&request).is_ok_and(is_denied) {
                grantors.push((constrained, assignment.principal));
            }
        }
        grantors.sort_unstable();
        let mut seen = std::collections::HashSet::new();
        grantors.into_iter().map(|(_, principal)| principal).filter(|principal| seen.insert(*principal)).collect()
    }

    /// The role assignments that reach a scope through the principal or one of its groups, whatever they grant.
    pub fn assignments_of(&self, principal: Uuid, groups: &[Uuid], scope: &str) -> Vec<Uuid> {
        let Some(path) = Path::scope(scope, &self.keys) else { return Vec::new() };
        let is_theirs = |held: Uuid| held == principal || groups.contains(&held);
        let mut held: Vec<_> = self.reaching(&path).filter(|held| is_theirs(held.principal)).collect();
        // Their own first, then those of groups.
        held.sort_by_key(|held| held.principal != principal);
        held.into_iter().map(|held| held.name).collect()
    }

    /// Every role assignment that reaches a scope: made there, above, or at the hub of the project it is in.
    pub fn assignments_reaching(&self, scope: &str) -> Vec<Uuid> {
        let Some(path) = Path::scope(scope, &self.keys) else { return Vec::new() };
        self.reaching(&path).map(|assignment| assignment.name).collect()
    }

    fn step(&self, assignment: &Assignment, group: Option<Uuid>, question: &Question<'_>) -> AssignmentStep {
        let role = self.role(assignment.role);
        AssignmentStep {
            assignment: assignment.name,
            scope: assignment.scope.to_string(),
            from_hub: !is_at_or_above(&assignment.scope, question.request.scope),
            role_definition_id: assignment.role_id,
            role_name: role.map(|role| role.name.clone()),
            group,
            outcome: Outcome::new(self.examine(assignment, question), assignment),
        }
    }
}

impl Outcome {
    fn new(finding: Finding<'_>, assignment: &Assignment) -> Self {
        match finding {
            Finding::RoleUnknown => Self::RoleUnknown,
            Finding::NotCovered => Self::NotCovered,
            Finding::Subtracted { by } => Self::Subtracted { by: by.to_string() },
            Finding::Grants(pattern) => Self::Grants { pattern: pattern.to_string() },
            Finding::Condition(condition) => {
                let of_role = matches!(condition, ConditionOf::Role(_));
                let (condition, problem) = match condition.gate(assignment) {
                    Gate::Open => (None, None),
                    Gate::When(condition) => (Some(condition.to_string()), None),
                    Gate::Shut(error) => (None, Some(error.to_string())),
                };
                Self::Condition { of_role, condition, problem }
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Grants { .. } => 0,
            Self::Condition { .. } => 1,
            Self::Subtracted { .. } => 2,
            Self::NotCovered => 3,
            Self::RoleUnknown => 4,
        }
    }
}

impl DenyStep {
    fn new(deny: &Deny) -> Self {
        Self { deny_assignment: deny.name, deny_assignment_name: deny.title.clone(), scope: deny.scope.to_string() }
    }
}

impl<'a> ConditionOf<'a> {
    fn gate(self, assignment: &'a Assignment) -> &'a Gate {
        match self {
            Self::Assignment => &assignment.gate,
            Self::Role(gate) => gate,
        }
    }
}

fn summary(decision: Decision, assignments: &[AssignmentStep], denies: &[DenyStep]) -> String {
    match (decision, assignments.first(), denies.first()) {
        (Decision::Denied(Reason::DenyAssignment(_)), _, Some(deny)) => {
            format!("Deny assignment '{}' at '{}' blocks the action.", deny.deny_assignment_name, deny.scope)
        }
        (Decision::Denied(Reason::InvalidScope | Reason::InvalidAction), ..) | (_, None, _) => match decision {
            Decision::Denied(reason) => format!("Refused: {reason}."),
            Decision::Allowed { assignment } => format!("Role assignment '{assignment}' grants the action."),
        },
        (_, Some(step), _) => {
            let role = step.role_name.clone().unwrap_or_else(|| step.role_definition_id.to_string());
            let through = step.group.map_or_else(String::new, |group| format!(" through group '{group}'"));
            let reaching = if step.from_hub { ", which reaches the hub's projects," } else { "" };
            let held = format!("role '{role}' at '{}'{reaching}{through}", step.scope);
            match &step.outcome {
                Outcome::Grants { pattern } => format!("The {held} grants the action by '{pattern}'."),
                Outcome::Subtracted { by } => format!("The {held} covers the action, but takes it back by '{by}'."),
                Outcome::Condition { problem: Some(problem), .. } => {
                    format!("The {held} has a condition that cannot be read, so it grants nothing: {problem}.")
                }
                Outcome::Condition { .. } => format!("The {held} covers the action, but its condition does not hold."),
                Outcome::NotCovered | Outcome::RoleUnknown => "No role held here covers the action.".to_owned(),
            }
        }
    }
}

/// The question whether somebody may assign roles at a scope.
fn assigning(principal: Uuid, scope: &str) -> Request<'_> {
    Request { principal, groups: &[], action: ASSIGN, data: false, scope, attributes: &NOTHING }
}

/// Whether a scope is another one or an ancestor of it.
fn is_at_or_above(ancestor: &str, scope: &str) -> bool {
    let ancestor = ancestor.trim_end_matches('/');
    scope.get(..ancestor.len()).is_some_and(|head| head.eq_ignore_ascii_case(ancestor))
        && matches!(scope.as_bytes().get(ancestor.len()), None | Some(b'/'))
}

static NOTHING: Attributes = Attributes::NONE;

const ASSIGN: &str = "Microsoft.Authorization/roleAssignments/write";
