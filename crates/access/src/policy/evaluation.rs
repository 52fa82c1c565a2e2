//! Whether a condition holds for a resource.

use std::cell::{Cell, RefCell};

use bastide_template::{Formula, Host};
use serde_json::{Value, json};

use super::condition::{Condition, Count, Counted, Leaf, Left};
use super::field::{Field, Found, Step, walk};
use super::operator::Actual;
use super::parameter::Bound;
use super::subject::Subject;

/// One rule meeting one resource.
pub(super) struct Evaluation<'a> {
    subject: &'a Subject<'a>,
    parameters: &'a Bound,
    /// What `policy()` answers.
    policy: &'a Value,
    steps: Cell<u64>,
    elements: RefCell<Vec<Element>>,
    trace: Option<RefCell<Vec<EvaluatedExpression>>>,
    /// Whether only conditions on what the resource is are looked at.
    only_what_it_is: bool,
}

/// A comparison as it came out.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluatedExpression {
    /// How it came out.
    pub result: bool,
    /// `Field`, `Value` or `Count`.
    pub kind: &'static str,
    /// The left side as written.
    pub expression: String,
    /// What was found there.
    pub value: Value,
    /// What it was compared with.
    pub target: Value,
    /// The operator.
    pub operator: &'static str,
}

/// Why nobody can say whether a condition holds.
pub(super) type Trouble = String;

/// An element that a count is at.
struct Element {
    value: Value,
    /// The alias up to its `[*]`, or the name of a counted value.
    of: ElementOf,
}

enum ElementOf {
    Field { type_name: &'static str, steps: Vec<Step> },
    Value(Option<String>),
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(subject: &'a Subject<'a>, parameters: &'a Bound, policy: &'a Value) -> Self {
        Self {
            subject,
            parameters,
            policy,
            steps: Cell::new(MAX_STEPS),
            elements: RefCell::default(),
            trace: None,
            only_what_it_is: false,
        }
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: &Condition) -> Result<bool, Trouble> {
        // Without a value is only what was not looked at, and everything is.
        self.truth(condition).map(|truth| truth.unwrap_or(true))
    }

    /// As [`Self::holds`], with the comparisons that were made.
    pub(super) fn explained(mut self, condition: &Condition) -> Vec<EvaluatedExpression> {
        self.trace = Some(RefCell::default());
        let _ = self.holds(condition);
        self.trace.map(RefCell::into_inner).unwrap_or_default()
    }

    /// Whether a condition could hold for a resource of this type, name and kind, whatever else it is like.
    pub(super) fn could_hold(mut self, condition: &Condition) -> bool {
        self.only_what_it_is = true;
        self.truth(condition).map_or(true, |truth| truth.unwrap_or(true))
    }

    /// Kleene's logic: no value is for what was not looked at.
    fn truth(&self, condition: &Condition) -> Result<Option<bool>, Trouble> {
        self.spend(1)?;
        match condition {
            Condition::AllOf(all) => self.join(all, false),
            Condition::AnyOf(any) => self.join(any, true),
            Condition::Not(inner) => Ok(self.truth(inner)?.map(|truth| !truth)),
            Condition::Leaf(leaf) => self.leaf(leaf),
        }
    }

    /// The first that comes out as `decisive` decides.
    fn join(&self, conditions: &[Condition], decisive: bool) -> Result<Option<bool>, Trouble> {
        let mut outcome = Some(!decisive);
        for condition in conditions {
            match self.truth(condition)? {
                Some(truth) if truth == decisive => return Ok(Some(decisive)),
                Some(_) => {}
                None => outcome = None,
            }
        }
        Ok(outcome)
    }

    fn leaf(&self, leaf: &Leaf) -> Result<Option<bool>, Trouble> {
        if self.only_what_it_is && !matches!(&leaf.left, Left::Field(field) if field.says_what_it_is()) {
            return Ok(None);
        }
        let target = self.formula(&leaf.right)?;
        let (kind, found) = match &leaf.left {
            Left::Field(field) => ("Field", self.find(field)?),
            Left::FieldOf(name) => ("Field", self.find(&self.field_of(name)?)?),
            Left::Value(formula) => ("Value", Found::One(self.formula(formula)?)),
            Left::Count(count) => ("Count", Found::One(self.count(count)?.into())),
        };
        let compare = |actual| leaf.operator.holds(actual, &target);
        let result = match &found {
            Found::Missing => compare(Actual::Missing),
            Found::One(value) => compare(Actual::Is(value)),
            // All elements must fulfil it; those of an empty list do.
            Found::Many(values) => values.iter().try_fold(true, |all, value| {
                self.spend(1)?;
                Ok(all && compare(if value.is_null() { Actual::Missing } else { Actual::Is(value) })?)
            }),
        };
        let result = result.map_err(|trouble| format!("'{}': {trouble}", leaf.text))?;
        self.note(leaf, kind, found, target, result);
        Ok(Some(result))
    }

    fn note(&self, leaf: &Leaf, kind: &'static str, found: Found, target: Value, result: bool) {
        let Some(trace) = &self.trace else { return };
        let mut trace = trace.borrow_mut();
        if trace.len() < MAX_TRACE {
            let value = match found {
                Found::Missing => Value::Null,
                Found::One(value) => value,
                Found::Many(values) => Value::Array(values),
            };
            let (expression, operator) = (leaf.text.clone(), leaf.operator.name());
            trace.push(EvaluatedExpression { result, kind, expression, value, target, operator });
        }
    }

    fn count(&self, count: &Count) -> Result<u64, Trouble> {
        let (values, of): (Vec<Value>, Box<dyn Fn() -> ElementOf + '_>) = match &count.of {
            Counted::Field(field) => {
                let values = match self.find(field)? {
                    Found::Many(values) => values,
                    Found::One(value) => vec![value],
                    Found::Missing => Vec::new(),
                };
                let Field::Alias(alias) = field else {
                    return Err("only the elements of an alias can be counted.".into());
                };
                (values, Box::new(|| ElementOf::Field { type_name: alias.type_name, steps: alias.steps.clone() }))
            }
            Counted::Values { list, name } => match self.formula(list)? {
                Value::Array(values) => (values, Box::new(|| ElementOf::Value(name.clone()))),
                Value::Null => (Vec::new(), Box::new(|| ElementOf::Value(None))),
                _ => return Err("'count' counts the elements of a list.".to_owned()),
            },
        };
        let Some(condition) = &count.condition else { return Ok(values.len() as u64) };
        let mut fulfilled = 0;
        for value in values {
            self.spend(1)?;
            self.elements.borrow_mut().push(Element { value, of: of() });
            let holds = self.truth(condition);
            self.elements.borrow_mut().pop();
            fulfilled += u64::from(holds? != Some(false));
        }
        Ok(fulfilled)
    }

    /// A field, seen from the element that a count is at where the field leads through it.
    pub(super) fn find(&self, field: &Field) -> Result<Found, Trouble> {
        self.spend(2)?;
        if let Field::Alias(alias) = field {
            let elements = self.elements.borrow();
            let nearest = elements.iter().rev().find_map(|element| match &element.of {
                ElementOf::Field { type_name, steps } if *type_name == alias.type_name => {
                    let rest = alias.steps.strip_prefix(steps.as_slice())?;
                    Some((&element.value, rest))
                }
                _ => None,
            });
            if let Some((value, rest)) = nearest {
                return Ok(walk(value, rest));
            }
        }
        let found = field.find(self.subject.resource);
        if let Found::Many(values) = &found {
            self.spend(values.len() as u64)?;
        }
        Ok(found)
    }

    pub(super) fn formula(&self, formula: &Formula) -> Result<Value, Trouble> {
        self.spend(4)?;
        formula.evaluate(self).map_err(|error| error.message)
    }

    pub(super) fn field_of(&self, name: &Formula) -> Result<Field, Trouble> {
        match self.formula(name)? {
            Value::String(name) => Field::read(&name, "field").map_err(|error| error.message),
            _ => Err("the name of a field must be a text.".to_owned()),
        }
    }

    fn spend(&self, units: u64) -> Result<(), Trouble> {
        let left = self.steps.get().checked_sub(units);
        self.steps.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| format!("the rule takes more than {MAX_STEPS} steps; make it smaller."))
    }

    fn current(&self, name: Option<&str>) -> Result<Value, Trouble> {
        let elements = self.elements.borrow();
        let found = match name {
            None => elements.last().map(|element| element.value.clone()),
            Some(name) if name.contains('/') => {
                drop(elements);
                let field = Field::read(name, "current").map_err(|error| error.message)?;
                return Ok(match self.find(&field)? {
                    Found::Missing => Value::Null,
                    Found::One(value) => value,
                    Found::Many(values) => Value::Array(values),
                });
            }
            Some(name) => elements.iter().rev().find_map(|element| match &element.of {
                ElementOf::Value(Some(own)) if own.eq_ignore_ascii_case(name) => Some(element.value.clone()),
                _ => None,
            }),
        };
        found.ok_or_else(|| "it can only be used inside the 'where' of a count.".to_owned())
    }

    /// What `field()` gives: inside a count a list of the one element, as everywhere a `[*]` gives a list.
    fn field(&self, name: &str) -> Result<Value, Trouble> {
        let field = Field::read(name, "field").map_err(|error| error.message)?;
        let is_list = matches!(&field, Field::Alias(alias) if alias.steps.contains(&Step::Each));
        Ok(match self.find(&field)? {
            Found::Missing if is_list => json!([]),
            Found::Missing => Value::Null,
            Found::One(value) if is_list => json!([value]),
            Found::One(value) => value,
            Found::Many(values) => Value::Array(values),
        })
    }
}

impl Host for Evaluation<'_> {
    fn call(&self, function: &str, arguments: &[Value]) -> Result<Value, String> {
        let subject = self.subject;
        match (function, arguments) {
            ("parameters", [Value::String(name)]) => {
                let found = self.parameters.get(&name.to_ascii_lowercase()).cloned();
                found.ok_or_else(|| format!("there is no parameter '{name}'."))
            }
            ("field", [Value::String(name)]) => self.field(name),
            ("current", []) => self.current(None),
            ("current", [Value::String(name)]) => self.current(Some(name)),
            ("policy", []) => Ok(self.policy.clone()),
            ("requestContext", []) => Ok(json!({"apiVersion": subject.api_version, "identity": subject.caller})),
            ("resourceGroup", []) => {
                subject.group.cloned().ok_or_else(|| "the resource is in no resource group.".to_owned())
            }
            ("subscription", []) => {
                subject.subscription.cloned().ok_or_else(|| "the resource is in no subscription.".to_owned())
            }
            ("utcNow", []) => Ok(subject.now.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string().into()),
            _ => Err("its arguments must be texts.".to_owned()),
        }
    }
}

/// Steps that one rule may take on one resource; a step is about a comparison.
const MAX_STEPS: u64 = 100_000;

/// Comparisons shown in an explanation.
const MAX_TRACE: usize = 20;
