//! All policies, compiled: the one place that is asked.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::assignment::{Assignment, EnforcementMode};
use super::builtin::{builtin_definitions, builtin_initiatives};
use super::definition::{Definition, Mode};
use super::effect::{ConflictEffect, Details, Effect, Operation, Verb, changeable};
use super::evaluation::{Evaluation, Trouble};
use super::exemption::Exemption;
use super::field::{Field, Found, Step};
use super::initiative::Initiative;
use super::operator::same;
use super::parameter::Bound;
use super::state::{Compliance, State};
use super::subject::Subject;
use super::verdict::{Adjustment, Change, Finding, Judgement, Target};
use super::{PolicyError, covers};

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

/// An assignment with its rules.
#[derive(Debug)]
struct Assigned {
    assignment: Assignment,
    key: String,
    rules: Vec<Rule>,
}

/// A rule with the values of its parameters.
#[derive(Debug)]
struct Rule {
    definition: Arc<Definition>,
    /// The initiative it comes with, and its position there.
    initiative: Option<(Arc<Initiative>, usize)>,
    parameters: Bound,
    effect: Effect,
    /// What `policy()` answers.
    about: Value,
}

/// A change that one rule wants.
struct Wish<'a> {
    finding: Finding<'a>,
    conflict: ConflictEffect,
    change: Change,
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

    fn rules(&self, assignment: &Assignment) -> Result<Vec<Rule>, PolicyError> {
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
        let rule = |(index, member): (usize, &super::initiative::Member)| {
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

impl Rule {
    fn new(
        definition: &Arc<Definition>,
        initiative: Option<(&Arc<Initiative>, usize)>,
        given: &Bound,
        place: &str,
        about: &Value,
    ) -> Result<Self, PolicyError> {
        let (parameters, effect) = definition.bind(given, place)?;
        let mut rule = Self {
            definition: Arc::clone(definition),
            initiative: initiative.map(|(initiative, index)| (Arc::clone(initiative), index)),
            parameters,
            effect,
            about: about.clone(),
        };
        let names = [
            ("definitionId", Some(definition.id.as_str())),
            ("setDefinitionId", rule.initiative.as_ref().map(|(initiative, _)| initiative.id.as_str())),
            ("definitionReferenceId", rule.reference_id()),
        ];
        let fields: Vec<(String, Value)> =
            names.iter().map(|(name, value)| ((*name).to_owned(), json!(value.unwrap_or_default()))).collect();
        if let Some(about) = rule.about.as_object_mut() {
            about.extend(fields);
        }
        Ok(rule)
    }

    fn member(&self) -> Option<&super::initiative::Member> {
        self.initiative.as_ref().and_then(|(initiative, index)| initiative.members.get(*index))
    }

    fn reference_id(&self) -> Option<&str> {
        self.member().map(|member| member.reference_id.as_str())
    }

    fn evaluation<'a>(&'a self, subject: &'a Subject<'a>) -> Evaluation<'a> {
        Evaluation::new(subject, &self.parameters, &self.about)
    }

    fn looks_at(&self, subject: &Subject<'_>) -> bool {
        self.definition.mode == Mode::All || subject.is_indexed
    }

    /// Whether a resource breaks it.
    fn is_met_by(&self, subject: &Subject<'_>) -> Result<bool, Trouble> {
        let evaluation = self.evaluation(subject);
        if !evaluation.holds(&self.definition.condition)? {
            return Ok(false);
        }
        match (&self.definition.details, self.effect) {
            (Details::Existence { type_name, condition }, Effect::AuditIfNotExists) => {
                let is_of_type = matches!(
                    evaluation.find(&Field::Type)?,
                    Found::One(Value::String(found)) if found.eq_ignore_ascii_case(type_name)
                );
                Ok(!(is_of_type && evaluation.holds(condition)?))
            }
            _ => Ok(true),
        }
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
        for (assigned, rule) in self.enforced(subject) {
            if !matches!(rule.effect, Effect::Modify | Effect::Append) {
                continue;
            }
            match wishes_of(assigned, rule, subject) {
                Ok(found) => wishes.extend(found),
                Err(reason) => adjustment.refusals.push(finding(assigned, rule, subject, Some(reason))),
            }
        }
        settle(wishes, &mut adjustment);
        adjustment
    }

    /// What is to be said about a resource as it would be.
    pub fn judge<'a>(&'a self, subject: &Subject<'_>) -> Judgement<'a> {
        let mut judgement = Judgement::default();
        for (assigned, rule) in self.enforced(subject) {
            let findings = match rule.effect {
                Effect::Deny => &mut judgement.denials,
                Effect::Audit | Effect::AuditIfNotExists => &mut judgement.audits,
                Effect::Modify | Effect::Append | Effect::Disabled => continue,
            };
            match rule.is_met_by(subject) {
                Ok(false) => {}
                Ok(true) => findings.push(finding(assigned, rule, subject, None)),
                // What cannot be evaluated counts as broken.
                Err(trouble) => findings.push(finding(assigned, rule, subject, Some(unsaid(&trouble)))),
            }
        }
        judgement
    }

    /// How a resource that stands stands to every rule that is about it.
    pub fn states<'a>(&'a self, subject: &Subject<'_>) -> Vec<State<'a>> {
        let mut states = Vec::new();
        for assigned in self.reaching(subject) {
            for rule in &assigned.rules {
                let is_about = rule.effect != Effect::Disabled
                    && rule.looks_at(subject)
                    && rule.evaluation(subject).could_hold(&rule.definition.condition);
                if !is_about {
                    continue;
                }
                let (compliance, reason) = match rule.is_met_by(subject) {
                    _ if self.is_exempt(assigned, rule, subject) => (Compliance::Exempt, None),
                    Ok(false) => (Compliance::Compliant, None),
                    Ok(true) => (Compliance::NonCompliant, None),
                    Err(trouble) => (Compliance::NonCompliant, Some(unsaid(&trouble))),
                };
                let groups = rule.member().map(|member| member.groups.as_slice()).unwrap_or_default();
                states.push(State { finding: finding(assigned, rule, subject, reason), groups, compliance });
            }
        }
        states
    }

    /// The rules that are enforced for a resource.
    fn enforced<'a, 'b>(
        &'a self,
        subject: &'b Subject<'_>,
    ) -> impl Iterator<Item = (&'a Assigned, &'a Rule)> + use<'a, 'b> {
        let is_enforced = |assigned: &&Assigned| assigned.assignment.enforcement_mode == EnforcementMode::Default;
        let rules = |assigned: &'a Assigned| assigned.rules.iter().map(move |rule| (assigned, rule));
        self.reaching(subject)
            .into_iter()
            .filter(is_enforced)
            .flat_map(rules)
            .filter(move |(assigned, rule)| rule.looks_at(subject) && !self.is_exempt(assigned, rule, subject))
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
        assigned
            .filter(|assigned| !assigned.assignment.not_scopes.iter().any(|scope| covers(scope, subject.key)))
            .collect()
    }

    fn is_exempt(&self, assigned: &Assigned, rule: &Rule, subject: &Subject<'_>) -> bool {
        let exemptions = self.exemptions.get(&assigned.key).into_iter().flatten();
        let mut exemptions = exemptions;
        exemptions.any(|exemption| exemption.frees(subject.key, rule.reference_id(), subject.now))
    }
}

fn finding<'a>(assigned: &'a Assigned, rule: &'a Rule, subject: &Subject<'_>, reason: Option<String>) -> Finding<'a> {
    let initiative = rule.initiative.as_ref().map(|(initiative, _)| &**initiative).zip(rule.reference_id());
    Finding {
        assignment: &assigned.assignment,
        definition: &rule.definition,
        initiative,
        effect: rule.effect,
        message: assigned.assignment.message(rule.reference_id()),
        reason,
        evaluated: rule.evaluation(subject).explained(&rule.definition.condition),
    }
}

fn unsaid(trouble: &str) -> String {
    format!("The rule cannot be evaluated, which counts as broken: {trouble}")
}

/// The changes that one rule wants.
fn wishes_of<'a>(assigned: &'a Assigned, rule: &'a Rule, subject: &Subject<'_>) -> Result<Vec<Wish<'a>>, String> {
    if !rule.is_met_by(subject).map_err(|trouble| unsaid(&trouble))? {
        return Ok(Vec::new());
    }
    let (operations, conflict) = match &rule.definition.details {
        Details::Append(operations) => (operations, ConflictEffect::Deny),
        Details::Modify { operations, conflict } => (operations, *conflict),
        Details::None | Details::Existence { .. } => return Ok(Vec::new()),
    };
    let mut wishes = Vec::new();
    for operation in operations {
        let change = change(rule, operation, subject)?;
        let wish = |change| Wish { finding: finding(assigned, rule, subject, None), conflict, change };
        wishes.extend(change.map(wish));
    }
    Ok(wishes)
}

/// What an operation changes, if anything.
fn change(rule: &Rule, operation: &Operation, subject: &Subject<'_>) -> Result<Option<Change>, String> {
    let evaluation = rule.evaluation(subject);
    let said = |trouble: String| unsaid(&trouble);
    if let Some(condition) = &operation.condition
        && !same(&evaluation.formula(condition).map_err(said)?, &Value::Bool(true))
    {
        return Ok(None);
    }
    let field = evaluation.field_of(&operation.field).map_err(said)?;
    changeable(operation.verb, &field)?;
    let target = target(&field);
    let value = match &operation.value {
        Some(value) => Some(evaluation.formula(value).map_err(said)?),
        None => None,
    };
    let found = evaluation.find(&field).map_err(said)?;
    let new = match (operation.verb, found, value) {
        (Verb::Remove, Found::Missing, _) => return Ok(None),
        (Verb::Remove, _, _) => return Ok(Some(Change { target, value: None })),
        // A value that is not there, such as a tag the group does not have.
        (_, _, None | Some(Value::Null)) | (Verb::Add, Found::One(_), _) => return Ok(None),
        (Verb::AddOrReplace, Found::One(stands), Some(new)) if same(&stands, &new) => return Ok(None),
        (Verb::Append, Found::One(stands), Some(new)) => {
            if same(&stands, &new) {
                return Ok(None);
            }
            return Err("The policy appends a value where the request has another one.".to_owned());
        }
        (_, Found::Many(stands), Some(new)) if stands.iter().any(|item| same(item, &new)) => return Ok(None),
        (_, _, Some(new)) => new,
    };
    let value = match (&target, new) {
        (Target::Tag(_), Value::String(text)) => Value::String(text),
        (Target::Tag(_), Value::Number(number)) => Value::String(number.to_string()),
        (Target::Tag(_), Value::Bool(value)) => Value::String(value.to_string()),
        (Target::Tag(name), _) => return Err(format!("The policy gives the tag '{name}' a value that is no text.")),
        (_, new) => new,
    };
    Ok(Some(Change { target, value: Some(value) }))
}

fn target(field: &Field) -> Target {
    match field {
        Field::Tag(name) => Target::Tag(name.clone()),
        Field::Alias(alias) => {
            let names = alias.steps.iter().filter_map(|step| match step {
                Step::Member(name) => Some(name.clone()),
                Step::Each => None,
            });
            let path = names.collect();
            if alias.steps.contains(&Step::Each) { Target::List(path) } else { Target::Property(path) }
        }
        _ => Target::Property(Vec::new()),
    }
}

/// Decides between policies that want one thing in two ways: whoever insists wins, two who insist refuse.
fn settle<'a>(wishes: Vec<Wish<'a>>, adjustment: &mut Adjustment<'a>) {
    let mut settled: Vec<Wish<'a>> = Vec::new();
    let mut given_up: Vec<Target> = Vec::new();
    for wish in wishes {
        let rival = settled.iter().position(|other| is_same_target(&other.change.target, &wish.change.target));
        let Some(rival) = rival.filter(|_| !matches!(wish.change.target, Target::List(_))) else {
            settled.push(wish);
            continue;
        };
        let Some(stands) = settled.get_mut(rival) else { continue };
        if stands.change.value == wish.change.value {
            continue;
        }
        match (stands.conflict, wish.conflict) {
            (ConflictEffect::Deny, ConflictEffect::Deny) => {
                let reason = format!("It is at odds with '{}' about one field.", stands.finding.assignment.id);
                adjustment.refusals.push(Finding { reason: Some(reason), ..wish.finding });
            }
            (ConflictEffect::Deny, ConflictEffect::Audit) => {}
            (ConflictEffect::Audit, ConflictEffect::Deny) => *stands = wish,
            (ConflictEffect::Audit, ConflictEffect::Audit) => given_up.push(wish.change.target),
        }
    }
    let changes = settled.into_iter().filter(|wish| {
        wish.conflict == ConflictEffect::Deny
            || !given_up.iter().any(|other| is_same_target(other, &wish.change.target))
    });
    adjustment.changes = changes.map(|wish| wish.change).collect();
}

fn is_same_target(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::Tag(one), Target::Tag(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    }
}
