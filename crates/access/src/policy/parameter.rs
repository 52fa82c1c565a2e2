//! Parameters: what a definition or initiative leaves to its assignments.

use std::collections::BTreeMap;

use serde_json::Value;

use super::operator::same;
use super::{PolicyError, member};

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name as declared.
    pub name: String,
    kind: Kind,
    default: Option<Value>,
    allowed: Option<Vec<Value>>,
}

/// The parameters of a definition or an initiative.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters(Vec<Parameter>);

/// Values of parameters by name in lower case.
pub(super) type Bound = BTreeMap<String, Value>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Array,
    Object,
    Boolean,
    Integer,
    Float,
    DateTime,
}

impl Parameters {
    /// Reads `properties.parameters`.
    pub(super) fn read(value: Option<&Value>) -> Result<Self, PolicyError> {
        let Some(value) = value else { return Ok(Self::default()) };
        let invalid = |place: &str, message: String| PolicyError::new("InvalidPolicyParameters", place, message);
        let members = value.as_object().ok_or_else(|| {
            invalid("properties.parameters", "properties.parameters must be an object of declarations.".to_owned())
        })?;
        if members.len() > MAX_PARAMETERS {
            let message = format!("There are {} parameters; {MAX_PARAMETERS} are allowed.", members.len());
            return Err(invalid("properties.parameters", message));
        }
        let mut parameters: Vec<Parameter> = Vec::with_capacity(members.len());
        for (name, declaration) in members {
            let place = format!("properties.parameters.{name}");
            if parameters.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
                return Err(invalid(&place, format!("The parameter '{name}' is declared twice.")));
            }
            parameters.push(Parameter::read(name, declaration).map_err(|message| invalid(&place, message))?);
        }
        Ok(Self(parameters))
    }

    /// The parameter of that name in any case.
    pub fn find(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }

    /// The values of all parameters: those given, else the defaults.
    pub(super) fn bind(&self, given: &Bound, place: &str) -> Result<Bound, PolicyError> {
        if let Some(unknown) = given.keys().find(|name| self.find(name).is_none()) {
            let names: Vec<&str> = self.0.iter().map(|parameter| parameter.name.as_str()).collect();
            let message = format!(
                "The parameter '{unknown}' is not one of the policy. Its parameters are: {}.",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            );
            return Err(PolicyError::new("UndefinedPolicyParameter", format!("{place}.{unknown}"), message));
        }
        let mut bound = Bound::new();
        for parameter in &self.0 {
            let key = parameter.name.to_ascii_lowercase();
            let at = || format!("{place}.{}", parameter.name);
            let value = match given.get(&key) {
                Some(value) => value.clone(),
                None => parameter.default.clone().ok_or_else(|| {
                    let message =
                        format!("The parameter '{}' has no default; the assignment must give a value.", parameter.name);
                    PolicyError::new("MissingPolicyParameter", at(), message)
                })?,
            };
            parameter.check(&value).map_err(|message| PolicyError::new("InvalidPolicyParameters", at(), message))?;
            bound.insert(key, value);
        }
        Ok(bound)
    }
}

impl Parameter {
    /// Every value it may have, where the declaration lists them.
    pub(super) fn possible(&self) -> Vec<&Value> {
        self.allowed.iter().flatten().chain(&self.default).collect()
    }

    fn read(name: &str, declaration: &Value) -> Result<Self, String> {
        let members = declaration.as_object().ok_or("A parameter is declared by an object with a 'type'.")?;
        let kind = member(members, "type").and_then(Value::as_str).and_then(Kind::read).ok_or_else(|| {
            "A parameter's type is String, Array, Object, Boolean, Integer, Float or DateTime.".to_owned()
        })?;
        let allowed = match member(members, "allowedValues") {
            None => None,
            Some(Value::Array(values)) if !values.is_empty() => Some(values.clone()),
            Some(_) => return Err("'allowedValues' must be a list of at least one value.".to_owned()),
        };
        let parameter = Self { name: name.to_owned(), kind, default: None, allowed };
        let default = member(members, "defaultValue").cloned();
        if let Some(default) = &default {
            parameter.check(default).map_err(|message| format!("'defaultValue' does not fit: {message}"))?;
        }
        Ok(Self { default, ..parameter })
    }

    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        if !self.kind.admits(value) {
            return Err(format!("The parameter '{}' must be {}.", self.name, self.kind.words()));
        }
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let is_allowed = |value: &Value| allowed.iter().any(|allowed| same(allowed, value));
        let fits = is_allowed(value) || value.as_array().is_some_and(|items| items.iter().all(is_allowed));
        if fits {
            return Ok(());
        }
        let words: Vec<String> = allowed.iter().take(20).map(Value::to_string).collect();
        Err(format!("The value of parameter '{}' is not allowed. Allowed are: {}.", self.name, words.join(", ")))
    }
}

impl Kind {
    fn read(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "string" => Self::Text,
            "array" => Self::Array,
            "object" => Self::Object,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "datetime" => Self::DateTime,
            _ => return None,
        })
    }

    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::DateTime => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Float => value.is_number(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::DateTime => "a date as a text",
            Self::Array => "a list",
            Self::Object => "an object",
            Self::Boolean => "true or false",
            Self::Integer => "an integer",
            Self::Float => "a number",
        }
    }
}

/// `{"name": {"value": ...}}`, the values taken out.
pub(super) fn values(value: Option<&Value>, place: &str) -> Result<Bound, PolicyError> {
    let Some(value) = value else { return Ok(Bound::new()) };
    let invalid = || {
        let message = format!("{place} must be an object of the form {{\"name\": {{\"value\": ...}}}}.");
        PolicyError::new("InvalidPolicyParameters", place, message)
    };
    let members = value.as_object().ok_or_else(invalid)?;
    let taken_out = members.iter().map(|(name, wrapped)| {
        let value = wrapped.as_object().and_then(|wrapped| wrapped.get("value")).ok_or_else(invalid)?;
        Ok((name.to_ascii_lowercase(), value.clone()))
    });
    taken_out.collect()
}

/// Declarations in one definition or initiative, as many as the cloud lets an initiative have.
const MAX_PARAMETERS: usize = 400;
