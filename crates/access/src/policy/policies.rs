//! All policies, compiled: the one place that is asked.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::PolicyError;
use super::assignment::{Assignment, EnforcementMode};
use super::builtin::{builtin_definitions, builtin_initiatives};
use super::definition::Definition;
use super::effect::Effect;
use super::exemption::Exemption;
use super::initiative::{Initiative, Member};
use super::parameter::Bound;
use super::rule::{Assigned, InForce, Rule, unsaid};
use super::state::{Compliance, State};
use super::subject::Subject;
use super::verdict::{Adjustment, Judgement};
use super::wish::{settle, wishes_of};

/// The definitions and initiatives there are, the built-in ones among them.
#[derive(Debug, Clone)]
pub struct Catalogue {
    definitions: HashMap<String, Arc<Definition>>,
    initiatives: HashMap<String, Arc<Initiative>>,
}

/// An immutable snapshot of all assignments and exemptions.
#[derive(Debug, Default)]
pub struct Policies {
    assigned: Vec<Assigned>,
    /// Positions of assignments by the scope they are at, in lower case.
    by_scope: HashMap<String, Vec<usize>>,
    /// Exemptions by the assignment they are from, in lower case.
    exemptions: HashMap<String, Vec<Exemption>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        let mut catalogue = Self { definitions: HashMap::new(), initiatives: HashMap::new() };
        for definition in builtin_definitions() {
            catalogue.definitions.insert(definition.id.to_ascii_lowercase(), Arc::clone(definition));
        }
        for initiative in builtin_initiatives() {
            catalogue.initiatives.insert(initiative.id.to_ascii_lowercase(), Arc::clone(initiative));
        }
        catalogue
    }
}

impl Catalogue {
    /// Adds a definition.
    pub fn define(&mut self, definition: Definition) {
        self.definitions.insert(definition.id.to_ascii_lowercase(), Arc::new(definition));
    }

    /// Adds an initiative.
    pub fn define_initiative(&mut self, initiative: Initiative) {
        self.initiatives.insert(initiative.id.to_ascii_lowercase(), Arc::new(initiative));
    }

    /// The definition of that id, in any case.
    pub fn definition(&self, id: &str) -> Option<&Arc<Definition>> {
        self.definitions.get(&id.to_ascii_lowercase())
    }

    /// The initiative of that id, in any case.
    pub fn initiative(&self, id: &str) -> Option<&Arc<Initiative>> {
        self.initiatives.get(&id.to_ascii_lowercase())
    }

    /// Whether the definitions of an initiative exist and are given what they need.
    pub fn check_initiative(&self, initiative: &Initiative) -> Result<(), PolicyError> {
        for (index, member) in initiative.members.iter().enumerate() {
            let place = format!("properties.policyDefinitions[{index}].policyDefinitionId");
            if self.definition(&member.definition_id).is_none() {
                let message = format!(
                    "The policy definition '{}' could not be found. An initiative lists definitions, not initiatives.",
                    member.definition_id
                );
                return Err(PolicyError::new("PolicyDefinitionNotFound", place, message));
            }
        }
        // With the defaults there are; what has none is known when it is assigned.
        match initiative.parameters.bind(&Bound::new(), "properties.parameters") {
            Ok(bound) => self.rules_of(&Arc::new(initiative.clone()), &bound, &json!({})).map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Whether an assignment can be put in force.
    pub fn check_assignment(&self, assignment: &Assignment) -> Result<(), PolicyError> {
        self.rules(assignment).map(drop)
    }

    /// The rules of an assignment, each with overrides that fit it.
    fn rules(&self, assignment: &Assignment) -> Result<Vec<Rule>, PolicyError> {
        let rules = self.assigned_rules(assignment)?;
        for overriding in &assignment.overrides {
            let known = |name: &&str| rules.iter().any(|rule| rule.is_called(name));
            if let Some(unknown) = overriding.selectors.rules().find(|name| !known(name)) {
                let message = format!(
                    "The assignment has no rule '{unknown}'. Use policyDefinitionReferenceIds of its initiative; a \
                     definition alone has none."
                );
                return Err(PolicyError::new("InvalidPolicyAssignment", overriding.place.clone(), message));
            }
            for rule in rules.iter().filter(|rule| overriding.selectors.select_rule(rule.reference_id())) {
                rule.definition.check_override(overriding.effect).map_err(|message| {
                    PolicyError::new("InvalidPolicyAssignment", format!("{}.value", overriding.place), message)
                })?;
            }
        }
        Ok(rules)
    }

    fn assigned_rules(&self, assignment: &Assignment) -> Result<Vec<Rule>, PolicyError> {
        let about = json!({"assignmentId": assignment.id});
        let place = "properties.parameters";
        let check_version = |version: &str| {
            let message = format!(
                "The version '{}' is not there; the definition has version {version}.",
                assignment.version.as_deref().unwrap_or_default()
            );
            let missing =
                || PolicyError::new("PolicyDefinitionVersionNotFound", "properties.definitionVersion", message);
            assignment.takes(version).then_some(()).ok_or_else(missing)
        };
        if let Some(definition) = self.definition(&assignment.policy_id) {
            check_version(&definition.version)?;
            return Ok(vec![Rule::new(definition, None, &assignment.given, place, &about)?]);
        }
        if let Some(initiative) = self.initiative(&assignment.policy_id) {
            check_version(&initiative.version)?;
            let bound = initiative.parameters.bind(&assignment.given, place)?;
            return self.rules_of(initiative, &bound, &about);
        }
        let message = format!(
            "The policy definition '{}' could not be found. Give the id of a definition or an initiative of this \
             subscription, or of a built-in one.",
            assignment.policy_id
        );
        Err(PolicyError::new("PolicyDefinitionNotFound", "properties.policyDefinitionId", message))
    }

    fn rules_of(&self, initiative: &Arc<Initiative>, bound: &Bound, about: &Value) -> Result<Vec<Rule>, PolicyError> {
        let rule = |(index, member): (usize, &Member)| {
            let place = format!("properties.policyDefinitions[{index}]");
            let definition = self.definition(&member.definition_id).ok_or_else(|| {
                let message = format!("The policy definition '{}' could not be found.", member.definition_id);
                PolicyError::new("PolicyDefinitionNotFound", &*place, message)
            })?;
            let given = member.given(bound)?;
            Rule::new(definition, Some((initiative, index)), &given, &format!("{place}.parameters"), about)
        };
        initiative.members.iter().enumerate().map(rule).collect()
    }
}

impl Policies {
    /// Compiles what is in force. An error is an assignment that cannot be: nothing must pass it by unseen.
    pub fn compile(
        catalogue: &Catalogue,
        assignments: Vec<Assignment>,
        exemptions: Vec<Exemption>,
    ) -> Result<Self, (String, PolicyError)> {
        let mut policies = Self::default();
        for assignment in assignments {
            let rules = catalogue.rules(&assignment).map_err(|error| (assignment.id.clone(), error))?;
            let scope = assignment.scope.trim_end_matches('/').to_ascii_lowercase();
            policies.by_scope.entry(scope).or_default().push(policies.assigned.len());
            policies.assigned.push(Assigned { key: assignment.id.to_ascii_lowercase(), assignment, rules });
        }
        for exemption in exemptions {
            policies.exemptions.entry(exemption.assignment_id.to_ascii_lowercase()).or_default().push(exemption);
        }
        Ok(policies)
    }

    /// Whether nothing is in force anywhere.
    pub fn is_empty(&self) -> bool {
        self.assigned.is_empty()
    }

    /// What is to be changed of a request, before it is decided upon.
    pub fn adjust<'a>(&'a self, subject: &Subject<'_>) -> Adjustment<'a> {
        let mut adjustment = Adjustment::default();
        let mut wishes = Vec::new();
        for in_force in self.enforced(subject) {
            if !matches!(in_force.effect, Effect::Modify | Effect::Append) {
                continue;
            }
            match wishes_of(&in_force, subject) {
                Ok(found) => wishes.extend(found),
                Err(reason) => adjustment.refusals.push(in_force.finding(subject, Some(reason))),
            }
        }
        settle(wishes, &mut adjustment);
        adjustment
    }

    /// What is to be said about a resource as it would be.
    pub fn judge<'a>(&'a self, subject: &Subject<'_>) -> Judgement<'a> {
        let mut judgement = Judgement::default();
        for in_force in self.enforced(subject) {
            let findings = match in_force.effect {
                Effect::Deny => &mut judgement.denials,
                Effect::Audit | Effect::AuditIfNotExists => &mut judgement.audits,
                Effect::Modify | Effect::Append | Effect::Disabled => continue,
            };
            match in_force.is_broken_by(subject) {
                Ok(false) => {}
                Ok(true) => findings.push(in_force.finding(subject, None)),
                // What cannot be evaluated counts as broken.
                Err(trouble) => findings.push(in_force.finding(subject, Some(unsaid(&trouble)))),
            }
        }
        judgement
    }

    /// How a resource that stands stands to every rule that is about it.
    pub fn states<'a>(&'a self, subject: &Subject<'_>) -> Vec<State<'a>> {
        let rules = self.reaching(subject).into_iter().flat_map(|assigned| assigned.met_by(subject));
        let state = |in_force: InForce<'a>| {
            let (compliance, reason) = match in_force.is_broken_by(subject) {
                _ if self.is_exempt(&in_force, subject) => (Compliance::Exempt, None),
                Ok(false) => (Compliance::Compliant, None),
                Ok(true) => (Compliance::NonCompliant, None),
                Err(trouble) => (Compliance::NonCompliant, Some(unsaid(&trouble))),
            };
            let groups = in_force.rule.member().map(|member| member.groups.as_slice()).unwrap_or_default();
            State { finding: in_force.finding(subject, reason), groups, compliance }
        };
        rules.filter(|in_force| in_force.is_about(subject)).map(state).collect()
    }

    /// The rules that are enforced for a resource.
    fn enforced<'a>(&'a self, subject: &Subject<'_>) -> impl Iterator<Item = InForce<'a>> {
        let is_enforced = |assigned: &&Assigned| assigned.assignment.enforcement_mode == EnforcementMode::Default;
        self.reaching(subject)
            .into_iter()
            .filter(is_enforced)
            .flat_map(|assigned| assigned.met_by(subject))
            .filter(|in_force| !self.is_exempt(in_force, subject))
    }

    /// The assignments that hold for a resource: those at its id and above, and those of the hub it belongs to.
    fn reaching(&self, subject: &Subject<'_>) -> Vec<&Assigned> {
        if self.assigned.is_empty() {
            return Vec::new();
        }
        let ends = subject.key.char_indices().filter(|(at, letter)| *letter == '/' && *at > 0).map(|(at, _)| at);
        let above = ends.chain([subject.key.len()]).filter_map(|end| subject.key.get(..end));
        let scopes = std::iter::once("").chain(above).chain(subject.under);
        let found = scopes.filter_map(|scope| self.by_scope.get(scope)).flatten();
        let assigned = found.filter_map(|position| self.assigned.get(*position));
        assigned.filter(|assigned| assigned.assignment.is_about(subject)).collect()
    }

    fn is_exempt(&self, in_force: &InForce<'_>, subject: &Subject<'_>) -> bool {
        let mut exemptions = self.exemptions.get(&in_force.assigned.key).into_iter().flatten();
        exemptions.any(|exemption| exemption.frees(subject, in_force.rule.reference_id()))
    }
}
