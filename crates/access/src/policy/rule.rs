//! Rules as assignments put them in force: with values for their parameters, and with the effect they have there.

use std::sync::Arc;

use serde_json::{Value, json};

use super::PolicyError;
use super::assignment::Assignment;
use super::definition::{Definition, Mode};
use super::effect::{Details, Effect};
use super::evaluation::{Evaluation, Trouble};
use super::field::{Field, Found};
use super::initiative::{Initiative, Member};
use super::parameter::Bound;
use super::subject::Subject;
use super::verdict::Finding;

/// An assignment with its rules.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) assignment: Assignment,
    /// Its id in lower case.
    pub(super) key: String,
    pub(super) rules: Vec<Rule>,
}

/// A rule with the values of its parameters.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) definition: Arc<Definition>,
    /// The initiative it comes with, and its position there.
    initiative: Option<(Arc<Initiative>, usize)>,
    parameters: Bound,
    /// The effect, where the assignment does not override it.
    effect: Effect,
    /// What `policy()` answers.
    about: Value,
}

/// A rule as one resource meets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct InForce<'a> {
    pub(super) assigned: &'a Assigned,
    pub(super) rule: &'a Rule,
    pub(super) effect: Effect,
}

impl Assigned {
    /// Its rules that look at a resource of this kind.
    pub(super) fn met_by<'a>(&'a self, subject: &Subject<'_>) -> impl Iterator<Item = InForce<'a>> {
        let looks_at = |rule: &&Rule| rule.definition.mode == Mode::All || subject.is_indexed;
        self.rules.iter().filter(looks_at).map(|rule| {
            let overridden = self.assignment.overridden(rule.reference_id(), subject);
            InForce { assigned: self, rule, effect: overridden.unwrap_or(rule.effect) }
        })
    }
}

impl Rule {
    pub(super) fn new(
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

    pub(super) fn member(&self) -> Option<&Member> {
        self.initiative.as_ref().and_then(|(initiative, index)| initiative.members.get(*index))
    }

    pub(super) fn reference_id(&self) -> Option<&str> {
        self.member().map(|member| member.reference_id.as_str())
    }

    /// Whether it has this name in its initiative, in any case.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.reference_id().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    pub(super) fn evaluation<'a>(&'a self, subject: &'a Subject<'a>) -> Evaluation<'a> {
        Evaluation::new(subject, &self.parameters, &self.about)
    }
}

impl<'a> InForce<'a> {
    /// Whether the rule says anything about resources of this type, name and kind.
    pub(super) fn is_about(&self, subject: &Subject<'_>) -> bool {
        self.effect != Effect::Disabled && self.rule.evaluation(subject).could_hold(&self.rule.definition.condition)
    }

    /// Whether a resource breaks it.
    pub(super) fn is_broken_by(&self, subject: &Subject<'_>) -> Result<bool, Trouble> {
        let evaluation = self.rule.evaluation(subject);
        let definition = &self.rule.definition;
        if !evaluation.holds(&definition.condition)? {
            return Ok(false);
        }
        match (&definition.details, self.effect) {
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

    /// That it was met, and why where the condition does not say so.
    pub(super) fn finding(&self, subject: &Subject<'_>, reason: Option<String>) -> Finding<'a> {
        let Self { assigned, rule, effect } = *self;
        let initiative = rule.initiative.as_ref().map(|(initiative, _)| &**initiative).zip(rule.reference_id());
        Finding {
            assignment: &assigned.assignment,
            definition: &rule.definition,
            initiative,
            effect,
            message: assigned.assignment.message(rule.reference_id()),
            reason,
            evaluated: rule.evaluation(subject).explained(&rule.definition.condition),
        }
    }
}

/// What is said of a rule that cannot be evaluated.
pub(super) fn unsaid(trouble: &str) -> String {
    format!("The rule cannot be evaluated, which counts as broken: {trouble}")
}
