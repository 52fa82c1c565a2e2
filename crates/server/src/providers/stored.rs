//! What the stored-only types share: defaults and keys.
//!
//! Nothing runs behind these types yet; their answers say so, and they have the shapes clients read.

use std::collections::BTreeSet;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Dismissal, Dismissed, Document, Effect, Linked, NameRule, PartChange, Secret,
};
use serde_json::{Map, Value};

use crate::pass::WORKSPACE;

/// Sets what the body leaves out.
pub(super) fn with_defaults(properties: &mut Map<String, Value>, defaults: Value) {
    if let Value::Object(defaults) = defaults {
        for (name, value) in defaults {
            properties.entry(name).or_insert(value);
        }
    }
}

/// What becomes of a resource's parts by the list of them in its body: what it names stands, the others go. A body that is
/// silent about them leaves them alone. `settled` is what a part of the list is stored as.
pub(super) fn listed_parts(
    asked: Option<Value>,
    stands: &[Linked],
    kind: &'static str,
    rule: &NameRule,
    settled: impl Fn(Map<String, Value>) -> Map<String, Value>,
) -> Result<Vec<PartChange>, ArmError> {
    let asked = match asked {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(asked)) => asked,
        Some(_) => {
            let message = format!("{kind} is a list of objects with name and properties.");
            return Err(ArmError::invalid_parameter(&format!("properties.{kind}"), message));
        }
    };
    let mut changes: Vec<PartChange> = Vec::with_capacity(asked.len());
    let mut names = BTreeSet::new();
    for (index, part) in asked.into_iter().enumerate() {
        let at = |field: &str| format!("properties.{kind}[{index}].{field}");
        let Some(name) = part.get("name").and_then(Value::as_str).filter(|name| (rule.accepts)(name)) else {
            let message = format!("Each of {kind} has a name. Use {}.", rule.explanation);
            return Err(ArmError::invalid_parameter(&at("name"), message));
        };
        if !names.insert(name.to_ascii_lowercase()) {
            let message =
                format!("'{name}' is in the list twice. Names of {kind} are compared without regard to case.");
            return Err(ArmError::invalid_parameter(&at("name"), message));
        }
        let properties = match part.get("properties") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(properties)) => properties.clone(),
            Some(_) => return Err(ArmError::invalid_parameter(&at("properties"), "properties is an object.")),
        };
        let document = Box::new(Document { properties: settled(properties), ..Document::default() });
        changes.push(PartChange::Put { kind, name: name.to_owned(), document });
    }
    let gone = stands.iter().map(|part| part.id.name()).filter(|name| !names.contains(&name.to_ascii_lowercase()));
    changes.extend(gone.map(|name| PartChange::Delete { kind, name: name.to_owned() }));
    Ok(changes)
}

/// A value made once, at creation, and kept for life: an id, a time.
pub(super) fn keep_or_make(
    properties: &mut Map<String, Value>,
    admission: &Admission<'_>,
    name: &str,
    make: impl FnOnce() -> Value,
) {
    let kept = admission.existing.and_then(|existing| existing.document.properties.get(name).cloned());
    properties.insert(name.to_owned(), kept.unwrap_or_else(make));
}

/// Keys made at creation, one effect a field.
pub(super) fn new_keys(admission: &Admission<'_>, fields: &[&str]) -> Vec<Effect> {
    if admission.existing.is_some() {
        return Vec::new();
    }
    let key = |field: &&str| Effect::PutSecret { field: (*field).to_owned(), secret: (admission.fresh_secret)() };
    fields.iter().map(key).collect()
}

/// Refuses to delete what several workspaces stand on, and says which (mission.md P5). The last one lets it go: clients
/// delete a hub's resources before the hub.
pub(super) fn dismiss_unless_shared(dismissal: &Dismissal<'_>) -> Result<Dismissed, ArmError> {
    let is_workspace = |user: &&Linked| user.id.type_name().eq_ignore_ascii_case(WORKSPACE);
    let users: Vec<String> =
        dismissal.referrers.iter().filter(is_workspace).map(|user| format!("'{}'", user.id)).collect();
    if users.len() < 2 {
        return Ok(Dismissed::default());
    }
    let message = format!("Several workspaces use it: {}. Delete them first, or keep it.", users.join(", "));
    Err(ArmError::conflict(message))
}

/// A secret of the resource, revealed for the answer of the action that is there to show it.
pub(super) fn reveal(secret: Option<&Secret>) -> Result<&str, ArmError> {
    secret
        .map(Secret::reveal)
        .ok_or_else(|| ArmError::conflict("The resource has no keys. Delete it and create it again."))
}

/// `properties.{name}` as text.
pub(super) fn text<'a>(properties: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    properties.get(name).and_then(Value::as_str)
}

/// A name of letters, digits and inner hyphens, starting with a letter.
pub(super) const HYPHENATED: NameRule = NameRule {
    accepts: is_hyphenated,
    explanation: "2 to 64 letters, digits or hyphens, starting with a letter or digit and not ending in a hyphen",
};

fn is_hyphenated(name: &str) -> bool {
    (2..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !name.ends_with('-')
}
