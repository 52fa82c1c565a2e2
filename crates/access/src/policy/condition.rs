//! Conditions: what a rule says after `if`, read into a tree.

use bastide_template::Formula;
use serde_json::{Map, Value};

use super::field::Field;
use super::operator::Operator;
use super::parameter::Parameters;
use super::{PolicyError, member};

/// A condition.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    AllOf(Vec<Condition>),
    AnyOf(Vec<Condition>),
    Not(Box<Condition>),
    Leaf(Box<Leaf>),
}

/// One comparison.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) left: Left,
    pub(super) operator: Operator,
    pub(super) right: Formula,
    /// The left side as written, for explanations.
    pub(super) text: String,
}

/// What is compared.
#[derive(Debug, Clone)]
pub(super) enum Left {
    Field(Field),
    /// A field whose name is computed.
    FieldOf(Formula),
    Value(Formula),
    Count(Count),
}

/// How many elements fulfil a condition.
#[derive(Debug, Clone)]
pub(super) struct Count {
    pub(super) of: Counted,
    pub(super) condition: Option<Condition>,
}

#[derive(Debug, Clone)]
pub(super) enum Counted {
    /// The elements of an alias with `[*]`.
    Field(Field),
    /// The elements of a list, each of which `current(name)` gives.
    Values { list: Formula, name: Option<String> },
}

/// Reads conditions, with a bound on how many.
pub(super) struct Reader<'a> {
    parameters: &'a Parameters,
    left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(parameters: &'a Parameters) -> Self {
        Self { parameters, left: MAX_CONDITIONS }
    }

    pub(super) fn condition(&mut self, value: &Value, place: &str) -> Result<Condition, PolicyError> {
        self.at_depth(value, place, 0)
    }

    fn at_depth(&mut self, value: &Value, place: &str, depth: usize) -> Result<Condition, PolicyError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            PolicyError::rule(place, format!("The rule has more than {MAX_CONDITIONS} conditions; split it."))
        })?;
        if depth > MAX_DEPTH {
            let message = format!("Conditions are nested deeper than {MAX_DEPTH} levels; flatten the rule.");
            return Err(PolicyError::rule(place, message));
        }
        let Some(members) = value.as_object() else {
            return Err(PolicyError::rule(place, "A condition is an object."));
        };
        let only = |name: &str| match (members.len(), member(members, name)) {
            (1, found) => Ok(found),
            (_, None) => Ok(None),
            _ => Err(PolicyError::rule(place, format!("Nothing can stand beside '{name}'; put it inside."))),
        };
        if let Some(all) = only("allOf")? {
            return self.list(all, &format!("{place}.allOf"), depth).map(Condition::AllOf);
        }
        if let Some(any) = only("anyOf")? {
            return self.list(any, &format!("{place}.anyOf"), depth).map(Condition::AnyOf);
        }
        if let Some(not) = only("not")? {
            let inner = self.at_depth(not, &format!("{place}.not"), depth + 1)?;
            return Ok(Condition::Not(Box::new(inner)));
        }
        self.leaf(members, place, depth).map(|leaf| Condition::Leaf(Box::new(leaf)))
    }

    fn list(&mut self, value: &Value, place: &str, depth: usize) -> Result<Vec<Condition>, PolicyError> {
        let items = value.as_array().filter(|items| !items.is_empty());
        let items =
            items.ok_or_else(|| PolicyError::rule(place, "A list of at least one condition is needed here."))?;
        let read = |(index, item)| self.at_depth(item, &format!("{place}[{index}]"), depth + 1);
        items.iter().enumerate().map(read).collect()
    }

    fn leaf(&mut self, members: &Map<String, Value>, place: &str, depth: usize) -> Result<Leaf, PolicyError> {
        let mut left = None;
        let mut right = None;
        for (name, value) in members {
            let at = format!("{place}.{name}");
            let is_left = ["field", "value", "count"].iter().any(|known| known.eq_ignore_ascii_case(name));
            if is_left {
                let read = match name.to_ascii_lowercase().as_str() {
                    "field" => self.field(value, &at)?,
                    "value" => (Left::Value(self.formula(value, &at)?), shown(value)),
                    _ => self.count(value, &at, depth)?,
                };
                if left.replace(read).is_some() {
                    return Err(PolicyError::rule(place, "A condition has one of 'field', 'value' and 'count'."));
                }
                continue;
            }
            let Some(operator) = Operator::read(name) else {
                let message = format!("'{name}' is not an operator. Operators are: {}.", Operator::names());
                return Err(PolicyError::rule(at, message));
            };
            let formula = self.formula(value, &at)?;
            if let Some(literal) = formula.literal() {
                check_operand(operator, &literal).map_err(|message| PolicyError::rule(&*at, message))?;
            }
            if right.replace((operator, formula)).is_some() {
                return Err(PolicyError::rule(place, "A condition has one operator."));
            }
        }
        match (left, right) {
            (Some((left, text)), Some((operator, right))) => Ok(Leaf { left, operator, right, text }),
            (None, _) => {
                let message = "A condition is allOf, anyOf or not, or has one of 'field', 'value' and 'count'.";
                Err(PolicyError::rule(place, message))
            }
            (_, None) => {
                let message = format!("The condition has no operator. Operators are: {}.", Operator::names());
                Err(PolicyError::rule(place, message))
            }
        }
    }

    /// A field by its name, or by an expression that computes one.
    fn field(&mut self, value: &Value, place: &str) -> Result<(Left, String), PolicyError> {
        let text = value.as_str().ok_or_else(|| PolicyError::rule(place, "'field' is the name of a field."))?;
        let formula = self.formula(value, place)?;
        let left = match formula.literal() {
            Some(Value::String(name)) => Left::Field(Field::read(&name, place)?),
            _ => Left::FieldOf(formula),
        };
        Ok((left, text.to_owned()))
    }

    fn count(&mut self, value: &Value, place: &str, depth: usize) -> Result<(Left, String), PolicyError> {
        let members = value.as_object().ok_or_else(|| PolicyError::rule(place, "'count' is an object."))?;
        let known = ["field", "value", "name", "where"];
        if let Some(odd) = members.keys().find(|name| known.iter().all(|known| !known.eq_ignore_ascii_case(name))) {
            return Err(PolicyError::rule(format!("{place}.{odd}"), "'count' has field or value, name, and where."));
        }
        let condition = match member(members, "where") {
            Some(inner) => Some(self.at_depth(inner, &format!("{place}.where"), depth + 1)?),
            None => None,
        };
        let (of, text) = match (member(members, "field"), member(members, "value")) {
            (Some(Value::String(name)), None) if name.ends_with("[*]") => {
                (Counted::Field(Field::read(name, &format!("{place}.field"))?), name.clone())
            }
            (None, Some(list)) => {
                let name = member(members, "name").and_then(Value::as_str).map(str::to_owned);
                (Counted::Values { list: self.formula(list, &format!("{place}.value"))?, name }, shown(list))
            }
            _ => {
                let message = "'count' counts the elements of one 'field' that ends in [*], or of one 'value'.";
                return Err(PolicyError::rule(place, message));
            }
        };
        Ok((Left::Count(Count { of, condition }), text))
    }

    /// An expression; what it asks for by name must be there.
    pub(super) fn formula(&self, value: &Value, place: &str) -> Result<Formula, PolicyError> {
        let formula =
            Formula::read(value, place).map_err(|error| PolicyError::rule(error.place.clone(), error.to_string()))?;
        if let Some(unknown) = formula.parameters().into_iter().find(|name| self.parameters.find(name).is_none()) {
            let message = format!("The parameter '{unknown}' is not declared in 'parameters'.");
            return Err(PolicyError::new("InvalidPolicyRule", place, message));
        }
        for field in formula.arguments_of("field").into_iter().chain(formula.arguments_of("current")) {
            // The name of a counted value has no slash.
            if field.contains('/') {
                Field::read(&field, place)?;
            }
        }
        Ok(formula)
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn check_operand(operator: Operator, operand: &Value) -> Result<(), &'static str> {
    let is_text = operand.is_string() || operand.is_number() || operand.is_boolean();
    match operator {
        Operator::In | Operator::NotIn if !operand.is_array() => Err("'in' and 'notIn' take a list."),
        Operator::Like
        | Operator::NotLike
        | Operator::Match
        | Operator::NotMatch
        | Operator::MatchInsensitively
        | Operator::NotMatchInsensitively
        | Operator::ContainsKey
        | Operator::NotContainsKey
            if !is_text =>
        {
            Err("This operator takes a text.")
        }
        Operator::Exists
            if !operand.is_boolean()
                && operand
                    .as_str()
                    .is_none_or(|text| !["true", "false"].iter().any(|known| known.eq_ignore_ascii_case(text))) =>
        {
            Err("'exists' takes true or false.")
        }
        _ => Ok(()),
    }
}

/// Conditions in one rule; the longest rule Azure ships has a few hundred.
const MAX_CONDITIONS: usize = 1000;

/// Levels of conditions.
const MAX_DEPTH: usize = 32;
