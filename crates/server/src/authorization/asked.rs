//! What a body asks for of a role or of an assignment: the properties a client may write, in the wire's spelling, each of
//! the kind it must be. A restriction that was dropped because of its spelling would grant more than was asked for.

use std::sync::LazyLock;

use bastide_arm::error::ArmError;
use bastide_arm::vocabulary::Vocabulary;
use serde_json::{Map, Value};

use crate::request::Request;

/// The properties of the body that are the client's to write; null is absence.
pub(super) fn asked_properties(request: &Request<'_>, writable: &[&str]) -> Result<Map<String, Value>, ArmError> {
    let mut body = VOCABULARY.settle(request.object()?.clone())?;
    let mut properties = match body.get_mut("properties").map(Value::take) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(_) => return Err(wrong("properties", "an object")),
    };
    properties.retain(|name, value| !value.is_null() && writable.contains(&name.as_str()));
    Ok(properties)
}

/// That each of these properties is a text, where it is there.
pub(super) fn check_texts(fields: &Map<String, Value>, names: &[&str], at: &str) -> Result<(), ArmError> {
    let other = |name: &&&str| fields.get(**name).is_some_and(|value| !value.is_string() && !value.is_null());
    names.iter().find(other).map_or(Ok(()), |name| Err(wrong(&format!("{at}.{name}"), "a text")))
}

/// That each of these properties is a list of texts, where it is there.
pub(super) fn check_lists(fields: &Map<String, Value>, names: &[&str], at: &str) -> Result<(), ArmError> {
    let is_list =
        |value: &Value| value.is_null() || value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    let other = |name: &&&str| fields.get(**name).is_some_and(|value| !is_list(value));
    names.iter().find(other).map_or(Ok(()), |name| Err(wrong(&format!("{at}.{name}"), "a list of texts")))
}

/// Names a property that is of another kind than it must be; what was sent is not repeated.
pub(super) fn wrong(target: &str, kind: &str) -> ArmError {
    ArmError::invalid_request_content(format!("{target} must be {kind}.")).with_target(target)
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::new(NAMES, &[]));

const NAMES: &[&str] = &[
    "actions",
    "assignableScopes",
    "bastide",
    "condition",
    "conditionVersion",
    "dataActions",
    "delegatedManagedIdentityResourceId",
    "description",
    "notActions",
    "notDataActions",
    "permissions",
    "principalId",
    "principalType",
    "projects",
    "roleDefinitionId",
    "roleName",
];
