//! Policies: what resources must be like, whoever makes them (mission.md T1-T3).
//!
//! A [`Definition`] is a rule: a condition on a resource and an effect. An [`Initiative`] is a list of definitions. An
//! [`Assignment`] puts one or the other in force at a scope and below, with values for its parameters; an [`Exemption`]
//! takes a scope out again, for good or until a day. [`Policies`] is all of it compiled: an immutable snapshot that
//! [adjusts](Policies::adjust) what is asked for (effects `modify` and `append`), [judges](Policies::judge) what would
//! come of it (`deny` and `audit`), and tells for a resource that stands [what holds for it](Policies::states).
//!
//! The semantics are those of Azure Policy, with the hub's part added: what is assigned at a hub holds for its projects
//! too ([`Subject::under`]). A rule that cannot be evaluated counts as one that is broken: a deny denies.
//!
//! Every evaluation is bounded in steps, size and depth, and texts are matched without backtracking.

mod alias;
mod assignment;
mod builtin;
mod condition;
mod definition;
mod effect;
mod evaluation;
mod exemption;
mod field;
mod initiative;
mod operator;
mod parameter;
mod policies;
mod rule;
mod selector;
mod state;
mod subject;
mod verdict;
mod wish;

use serde_json::{Map, Value};

pub use alias::aliases;
pub use assignment::{Assignment, EnforcementMode};
pub use builtin::{builtin_definitions, builtin_initiatives, builtin_properties};
pub use definition::{Definition, Mode};
pub use effect::Effect;
pub use evaluation::EvaluatedExpression;
pub use exemption::{Category, Exemption};
pub use initiative::{Initiative, Member};
pub use parameter::{Parameter, Parameters};
pub use policies::{Catalogue, Policies};
pub use state::{Compliance, State};
pub use subject::Subject;
pub use verdict::{Adjustment, Change, Finding, Judgement, Target};

/// A definition, initiative, assignment or exemption that cannot stand as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    /// The code clients know, `InvalidPolicyRule`.
    pub code: &'static str,
    /// The path of what is wrong, `properties.policyRule.if.allOf[0]`.
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl PolicyError {
    fn new(code: &'static str, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, place: place.into(), message: message.into() }
    }

    /// A rule that is not one.
    fn rule(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new("InvalidPolicyRule", place, message)
    }
}

/// The member of that name in any case: policies are written in all spellings.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = members
        .get(name)
        .or_else(|| members.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

/// A text among the properties; an error names the property when it is something else.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, PolicyError> {
    match member(members, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => {
            let place = format!("properties.{name}");
            Err(PolicyError::new("InvalidRequestContent", &*place, format!("{place} must be a text.")))
        }
    }
}

/// A list of texts among the properties.
fn texts(members: &Map<String, Value>, name: &str) -> Result<Vec<String>, PolicyError> {
    let Some(value) = member(members, name) else { return Ok(Vec::new()) };
    let items = value.as_array().map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    match items {
        Some(Some(texts)) => Ok(texts),
        _ => {
            let place = format!("properties.{name}");
            Err(PolicyError::new("InvalidRequestContent", &*place, format!("{place} must be a list of texts.")))
        }
    }
}

/// Whether a scope is another one or lies above it, both as keys: in lower case, without a trailing slash.
fn covers(scope: &str, id: &str) -> bool {
    let scope = scope.trim_end_matches('/');
    id.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
