//! What must never be shown of a run. The template engine says which parts of a value are secret; here is what it cannot
//! see: that a refusal quotes one of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bastide_arm::error::ArmError;
use bastide_template::Evaluated;
use serde_json::Value;

/// The secret texts of a run, as far as they have come up.
#[derive(Default)]
pub(super) struct Redaction(Mutex<BTreeSet<String>>);

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redaction(***)")
    }
}

impl Redaction {
    /// One that knows the values of a template's secure parameters.
    pub(super) fn of(template: &Value, parameters: &Value) -> Self {
        let redaction = Self::default();
        for (name, given) in parameters.as_object().into_iter().flatten() {
            let declared = member(template.get("parameters"), name);
            if declared.is_some_and(|declared| is_secure(template, declared)) {
                redaction.learn(given);
            }
        }
        for declared in template.get("parameters").and_then(Value::as_object).into_iter().flat_map(|all| all.values()) {
            if let (true, Some(default)) = (is_secure(template, declared), declared.get("defaultValue")) {
                redaction.learn(default);
            }
        }
        redaction
    }

    /// Every text in a secret value is secret.
    pub(super) fn learn(&self, value: &Value) {
        self.learn_from(value, SHORTEST);
    }

    /// What a list function answered: its keys are long, the words around them are not secret.
    pub(super) fn learn_listed(&self, value: &Value) {
        self.learn_from(value, SHORTEST_LISTED);
    }

    fn learn_from(&self, value: &Value, shortest: usize) {
        match value {
            Value::String(text) if text.len() >= shortest && !is_expression(text) => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone());
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_from(item, shortest)),
            Value::Object(members) => members.values().for_each(|member| self.learn_from(member, shortest)),
            _ => {}
        }
    }

    /// The secret parts of a computed value.
    pub(super) fn learn_evaluated(&self, evaluated: &Evaluated) {
        for pointer in &evaluated.secrets {
            if let Some(value) = evaluated.value.pointer(pointer) {
                self.learn(value);
            }
        }
    }

    /// A text without the secrets in it. The longest go first, as one may hold another.
    pub(super) fn text(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<&String> = secrets.iter().filter(|secret| text.contains(secret.as_str())).collect();
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        found.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REDACTED))
    }

    /// A value likewise.
    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, member)| (self.text(name), self.value(member))).collect())
            }
            other => other.clone(),
        }
    }

    /// A refusal likewise.
    pub(super) fn error(&self, error: &ArmError) -> ArmError {
        let mut error = error.clone();
        error.message = self.text(&error.message);
        error.target = error.target.as_deref().map(|target| self.text(target));
        error.details = error.details.iter().map(|detail| self.error(detail)).collect();
        error.additional_info =
            error.additional_info.iter().map(|(kind, info)| (kind.clone(), self.value(info))).collect();
        error
    }
}

/// A template as it is exported: secure parameters lose a default that is not an expression.
pub(super) fn exported(template: &Value) -> Value {
    let mut exported = template.clone();
    let secure: Vec<String> = template
        .get("parameters")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, declared)| is_secure(template, declared))
        .filter(|(_, declared)| !declared.get("defaultValue").and_then(Value::as_str).is_some_and(is_expression))
        .map(|(name, _)| name.clone())
        .collect();
    for name in secure {
        if let Some(declared) = exported.get_mut("parameters").and_then(|all| all.get_mut(&name)?.as_object_mut()) {
            declared.remove("defaultValue");
        }
    }
    exported
}

/// Blots out parts of a value by their JSON pointers.
pub(super) fn blot(value: &mut Value, pointers: &[String]) {
    for pointer in pointers {
        if let Some(secret) = value.pointer_mut(pointer) {
            *secret = Value::String(REDACTED.to_owned());
        }
    }
}

fn is_secure(template: &Value, declared: &Value) -> bool {
    let named = || {
        let name = declared.get("$ref")?.as_str()?.rsplit('/').next()?;
        member(template.get("definitions"), name)
    };
    is_secure_kind(declared) || named().is_some_and(is_secure_kind)
}

fn is_secure_kind(declared: &Value) -> bool {
    declared.get("type").and_then(Value::as_str).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("secure"))
}

fn member<'a>(object: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    object?.as_object()?.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn is_expression(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(']') && !text.starts_with("[[")
}

/// What Azure's what-if shows in place of a secret.
pub(super) const REDACTED: &str = "*******";

/// Shorter texts would blot out words of sentences.
const SHORTEST: usize = 4;

/// `primary`, `Full` and their like are shorter than any key.
const SHORTEST_LISTED: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_do_not_quote_secrets() {
        let template = json!({
            "definitions": {"key": {"type": "secureString"}},
            "parameters": {
                "password": {"type": "securestring", "defaultValue": "default-secret"},
                "key": {"$ref": "#/definitions/key"},
                "open": {"type": "string"},
            },
        });
        let given = json!({
            "PASSWORD": {"value": "hunter22"}, "key": {"value": "hunter2"}, "open": {"value": "harmless"},
        });
        let redaction = Redaction::of(&template, &given);
        let error = ArmError::new(400, "Bad", "'hunter22', 'hunter2', 'default-secret' and 'harmless' do not fit.");
        let shown = redaction.error(&error.with_target("x/hunter2"));
        assert_eq!(shown.message, "'*******', '*******', '*******' and 'harmless' do not fit.");
        assert_eq!(shown.target.as_deref(), Some("x/*******"));
        assert_eq!(exported(&template)["parameters"]["password"], json!({"type": "securestring"}));
    }
}
