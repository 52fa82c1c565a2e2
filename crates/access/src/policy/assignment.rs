//! Assignments: a definition or an initiative in force at a scope.

use serde_json::{Map, Value};

use super::definition::last;
use super::effect::Effect;
use super::parameter::{Bound, values};
use super::selector::{MAX_SELECTORS, Place, ResourceSelectors, Selectors};
use super::subject::Subject;
use super::{PolicyError, covers, member, text, texts};

/// A definition or an initiative in force at a scope and below.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Its id as stored.
    pub id: String,
    /// The last segment of the id.
    pub name: String,
    /// The scope as stored.
    pub scope: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// What is assigned, an id as written.
    pub policy_id: String,
    /// The version of it that was asked for, `1.*.*`.
    pub version: Option<String>,
    /// Whether it is enforced.
    pub enforcement_mode: EnforcementMode,
    /// The values of the parameters, as written.
    pub parameters: Value,
    pub(super) given: Bound,
    /// The effects it gives its rules instead of theirs; the first that fits counts.
    pub(super) overrides: Vec<Override>,
    selectors: ResourceSelectors,
    /// Scopes below that are left out, in lower case.
    not_scopes: Vec<String>,
    messages: Vec<Message>,
}

/// Another effect, for some of the rules or some of the resources.
#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) effect: Effect,
    pub(super) selectors: Selectors,
    /// Where it is written.
    pub(super) place: String,
}

/// Whether an assignment is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnforcementMode {
    /// It is.
    Default,
    /// Requests pass it by; compliance is told all the same.
    DoNotEnforce,
}

/// What people are told who meet it.
#[derive(Debug, Clone)]
struct Message {
    text: String,
    reference_id: Option<String>,
}

impl Assignment {
    /// Reads the `properties` of an assignment at a scope.
    pub fn read(id: &str, scope: &str, properties: &Map<String, Value>) -> Result<Self, PolicyError> {
        let invalid = |place: &str, message: &str| PolicyError::new(INVALID, place, message);
        let policy_id = text(properties, "policyDefinitionId")?.filter(|id| !id.is_empty()).ok_or_else(|| {
            let message = "An assignment names what it assigns: properties.policyDefinitionId, the id of a policy \
                           definition or of a policy set definition.";
            invalid("properties.policyDefinitionId", message)
        })?;
        let enforcement_mode = match text(properties, "enforcementMode")? {
            None => EnforcementMode::Default,
            Some(mode) if mode.eq_ignore_ascii_case("Default") => EnforcementMode::Default,
            Some(mode) if mode.eq_ignore_ascii_case("DoNotEnforce") => EnforcementMode::DoNotEnforce,
            Some(_) => {
                return Err(invalid("properties.enforcementMode", "The enforcement mode is Default or DoNotEnforce."));
            }
        };
        let parameters = member(properties, "parameters").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        Ok(Self {
            id: id.to_owned(),
            name: last(id),
            scope: scope.to_owned(),
            display_name: text(properties, "displayName")?.map(str::to_owned),
            policy_id: policy_id.to_owned(),
            version: text(properties, "definitionVersion")?.map(str::to_owned),
            enforcement_mode,
            given: values(Some(&parameters), "properties.parameters")?,
            parameters,
            overrides: overrides(properties)?,
            selectors: ResourceSelectors::read(properties, INVALID)?,
            not_scopes: not_scopes(properties, scope)?,
            messages: messages(properties)?,
        })
    }

    /// Whether it is about a resource at or below its scope.
    pub(super) fn is_about(&self, subject: &Subject<'_>) -> bool {
        !self.not_scopes.iter().any(|scope| covers(scope, subject.key)) && self.selectors.select(subject)
    }

    /// The effect it gives a rule of it, for a resource, instead of the rule's own.
    pub(super) fn overridden(&self, reference_id: Option<&str>, subject: &Subject<'_>) -> Option<Effect> {
        let fits = |given: &&Override| given.selectors.select_rule(reference_id) && given.selectors.select(subject);
        self.overrides.iter().find(fits).map(|given| given.effect)
    }

    /// What people are told who meet this rule of it.
    pub(super) fn message(&self, reference_id: Option<&str>) -> Option<&str> {
        let is_for = |message: &&Message| {
            message
                .reference_id
                .as_deref()
                .zip(reference_id)
                .is_some_and(|(own, asked)| own.eq_ignore_ascii_case(asked))
        };
        let own = self.messages.iter().find(is_for);
        let general = || self.messages.iter().find(|message| message.reference_id.is_none());
        own.or_else(general).map(|message| message.text.as_str())
    }

    /// Whether the version that was asked for includes one there is.
    pub(super) fn takes(&self, version: &str) -> bool {
        let Some(asked) = &self.version else { return true };
        let asked = asked.split('-').next().unwrap_or_default();
        let version = version.split('-').next().unwrap_or_default();
        asked.split('.').zip(version.split('.')).all(|(asked, is)| asked == "*" || asked == is)
    }
}

fn overrides(properties: &Map<String, Value>) -> Result<Vec<Override>, PolicyError> {
    let place = Place { code: INVALID, path: "properties.overrides" };
    let read = |(index, item): (usize, &Value)| {
        let path = format!("{}[{index}]", place.path);
        let at = Place { path: &path, ..place };
        let members = at.object(item)?;
        let kind = member(members, "kind").and_then(Value::as_str).unwrap_or_default();
        if !kind.eq_ignore_ascii_case("policyEffect") {
            let message = "The kind of an override is policyEffect. Definitions have one version here, which \
                           definitionVersion could not change.";
            return Err(at.error(message));
        }
        let effect = member(members, "value").and_then(Value::as_str).unwrap_or_default();
        let effect = Effect::read(effect).map_err(|message| at.error(message))?;
        Ok(Override { effect, selectors: Selectors::read(members, at)?, place: path.clone() })
    };
    place.list(member(properties, "overrides"), MAX_SELECTORS)?.iter().enumerate().map(read).collect()
}

fn not_scopes(properties: &Map<String, Value>, scope: &str) -> Result<Vec<String>, PolicyError> {
    let written = texts(properties, "notScopes")?;
    if written.len() > MAX_NOT_SCOPES {
        let message = format!("There are at most {MAX_NOT_SCOPES} notScopes; use exemptions for more.");
        return Err(PolicyError::new(INVALID, "properties.notScopes", message));
    }
    let keys: Vec<String> = written.iter().map(|scope| scope.trim_end_matches('/').to_ascii_lowercase()).collect();
    match keys.iter().find(|key| !key.starts_with('/') || **key == scope.to_ascii_lowercase()) {
        Some(odd) => {
            let message = format!("'{odd}' is not an id below the scope of the assignment.");
            Err(PolicyError::new(INVALID, "properties.notScopes", message))
        }
        None => Ok(keys),
    }
}

fn messages(properties: &Map<String, Value>) -> Result<Vec<Message>, PolicyError> {
    let place = "properties.nonComplianceMessages";
    let invalid = || {
        let message = "nonComplianceMessages is a list of objects with a message, each for all of an initiative or \
                       with a policyDefinitionReferenceId.";
        PolicyError::new(INVALID, place, message)
    };
    let Some(value) = member(properties, "nonComplianceMessages") else { return Ok(Vec::new()) };
    let read = |item: &Value| {
        let members = item.as_object()?;
        Some(Message {
            text: member(members, "message")?.as_str()?.to_owned(),
            reference_id: member(members, "policyDefinitionReferenceId").and_then(Value::as_str).map(str::to_owned),
        })
    };
    value.as_array().ok_or_else(invalid)?.iter().map(|item| read(item).ok_or_else(invalid)).collect()
}

const INVALID: &str = "InvalidPolicyAssignment";

/// Azure's limit.
const MAX_NOT_SCOPES: usize = 400;
