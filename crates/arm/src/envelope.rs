//! What the bodies of all resources share, read once for every type.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{ArmError, shown};
use crate::id::ResourceId;
use crate::json::kind_of;
use crate::location::Location;

/// The body of a PUT or PATCH, taken apart. Read-only fields (`id`, `name`, `type`, `systemData`, `etag`, the ids inside
/// `identity`) are dropped, so that the answer of a GET can be sent back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// Where the resource is; always present in the PUT of a tracked resource, never in that of another.
    pub location: Option<Location>,
    /// Tags; `None` when the body does not mention them.
    pub tags: Option<BTreeMap<String, String>>,
    /// The managed identities asked for.
    pub identity: Option<IdentityRequest>,
    /// The flavour of the resource, such as `Hub`.
    pub kind: Option<String>,
    /// The pricing tier.
    pub sku: Option<Sku>,
    /// The marketplace plan, stored as it is.
    pub plan: Option<Map<String, Value>>,
    /// Availability zones.
    pub zones: Option<Vec<String>>,
    /// An edge zone or custom location, stored as it is.
    pub extended_location: Option<Map<String, Value>>,
    /// The resource that manages this one.
    pub managed_by: Option<String>,
    /// What is particular to the type; empty when absent.
    pub properties: Map<String, Value>,
    /// Fields that no resource shares; a type may know them, otherwise they are ignored.
    pub unknown: Map<String, Value>,
}

/// The `identity` of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityRequest {
    /// Whether the resource shall have an identity of its own.
    pub system_assigned: bool,
    /// Identities to attach or to take away, by id.
    pub user_assigned: BTreeMap<ResourceId, UserAssigned>,
}

/// What a request wants with one user-assigned identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAssigned {
    /// `{}`: attach it.
    Attach,
    /// `null`: take it away (PATCH).
    Detach,
}

/// A pricing tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sku {
    /// Name of the tier, such as `Basic`.
    pub name: String,
    /// `Free`, `Basic`, `Standard` or `Premium`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Size within the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Generation of hardware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Number of units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<i64>,
}

impl Envelope {
    /// Reads the body of a PUT. `tracked` says whether the type lives at a location: then it must be given; otherwise it
    /// is ignored, because `az resource create` sends the group's location with every child.
    ///
    /// # Errors
    /// 400 with the path of the offending field in `target`; `LocationRequired` for a tracked resource without one.
    pub fn read(body: &Value, tracked: bool) -> Result<Self, ArmError> {
        let mut envelope = Self::read_patch(body)?;
        match (&envelope.location, tracked) {
            (None, true) => Err(ArmError::location_required()),
            (_, true) => Ok(envelope),
            (_, false) => {
                envelope.location = None;
                Ok(envelope)
            }
        }
    }

    /// Reads the body of a PATCH, where everything may be absent.
    ///
    /// # Errors
    /// 400 with the path of the offending field in `target`.
    pub fn read_patch(body: &Value) -> Result<Self, ArmError> {
        let Value::Object(fields) = body else {
            return Err(ArmError::invalid_request_content(format!(
                "The request content is {}; a JSON object was expected.",
                kind_of(body)
            )));
        };
        let mut envelope = Self::default();
        // An explicit null says no more than absence in these fields; clients write it for what they do not set.
        for (name, value) in fields.iter().filter(|(name, value)| !value.is_null() && !is_read_only(name)) {
            match name.as_str() {
                "location" => envelope.location = Some(Location::parse(text(value, name)?)?),
                "tags" => envelope.tags = Some(read_tags(value)?),
                "identity" => envelope.identity = Some(IdentityRequest::read(value)?),
                "kind" => envelope.kind = Some(text(value, name)?.to_owned()),
                "sku" => envelope.sku = Some(Sku::read(value)?),
                "plan" => envelope.plan = Some(object(value, name)?.clone()),
                "zones" => envelope.zones = Some(read_zones(value)?),
                "extendedLocation" => envelope.extended_location = Some(object(value, name)?.clone()),
                "managedBy" => envelope.managed_by = Some(text(value, name)?.to_owned()),
                "properties" => envelope.properties.clone_from(object(value, name)?),
                _ => drop(envelope.unknown.insert(name.clone(), value.clone())),
            }
        }
        Ok(envelope)
    }
}

impl IdentityRequest {
    /// Reads an `identity` object: `type` in any case, with or without a blank after the comma.
    ///
    /// # Errors
    /// 400 with the path of the offending field in `target`.
    pub fn read(value: &Value) -> Result<Self, ArmError> {
        let fields = object(value, "identity")?;
        let kind = match fields.get("type") {
            Some(kind) if !kind.is_null() => text(kind, "identity.type")?,
            _ => {
                return Err(wrong(
                    "identity.type",
                    "The property 'identity.type' is required; use 'None', 'SystemAssigned', 'UserAssigned' or 'SystemAssigned,UserAssigned'.",
                ));
            }
        };
        let (system_assigned, user) = read_identity_type(kind)?;
        let user_assigned = match fields.get("userAssignedIdentities") {
            Some(map) if !map.is_null() => read_user_assigned(object(map, "identity.userAssignedIdentities")?)?,
            _ => BTreeMap::new(),
        };
        let attaches = user_assigned.values().any(|wish| *wish == UserAssigned::Attach);
        if attaches && !user {
            return Err(wrong(
                "identity.userAssignedIdentities",
                format!("Identities are listed, but 'identity.type' is '{}'; add 'UserAssigned' to it.", shown(kind)),
            ));
        }
        if user && user_assigned.is_empty() {
            return Err(wrong(
                "identity.userAssignedIdentities",
                "'identity.type' asks for user-assigned identities; list their ids, each with the value {}.",
            ));
        }
        Ok(Self { system_assigned, user_assigned })
    }
}

impl Sku {
    /// Reads a `sku` object.
    ///
    /// # Errors
    /// 400 with the path of the offending field in `target`.
    pub fn read(value: &Value) -> Result<Self, ArmError> {
        let fields = object(value, "sku")?;
        let optional = |name: &str| match fields.get(name) {
            Some(value) if !value.is_null() => text(value, &format!("sku.{name}")).map(|text| Some(text.to_owned())),
            _ => Ok(None),
        };
        let capacity = match fields.get("capacity") {
            Some(value) if !value.is_null() => {
                // az sends what was typed (az cognitiveservices account deployment create --sku-capacity).
                let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                Some(number.ok_or_else(|| wrong_kind("sku.capacity", "an integer", value))?)
            }
            _ => None,
        };
        Ok(Self {
            name: optional("name")?.ok_or_else(|| wrong("sku.name", "The property 'sku.name' is required."))?,
            tier: optional("tier")?,
            size: optional("size")?,
            family: optional("family")?,
            capacity,
        })
    }
}

/// Reads a `tags` object: at most 50 tags, names up to 512 and values up to 256 characters, no two names that differ
/// only in case.
///
/// # Errors
/// 400 with the path of the offending tag in `target`.
pub fn read_tags(value: &Value) -> Result<BTreeMap<String, String>, ArmError> {
    let fields = object(value, "tags")?;
    if fields.len() > MAX_TAGS {
        let message = format!("The resource has {} tags; at most {MAX_TAGS} are allowed.", fields.len());
        return Err(wrong("tags", message));
    }
    let mut names = std::collections::HashSet::new();
    let mut tags = BTreeMap::new();
    for (name, value) in fields {
        let target = format!("tags.{}", shown(name));
        let value = text(value, &target)?;
        if !(1..=MAX_TAG_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            let message = format!("A tag name has 1 to {MAX_TAG_NAME} characters and no control characters.");
            return Err(wrong(&target, message));
        }
        if value.chars().count() > MAX_TAG_VALUE {
            let message = format!("The value of the tag '{}' has more than {MAX_TAG_VALUE} characters.", shown(name));
            return Err(wrong(&target, message));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            let message = format!("The tag '{}' comes twice; tag names are not case-sensitive.", shown(name));
            return Err(wrong(&target, message));
        }
        tags.insert(name.clone(), value.to_owned());
    }
    Ok(tags)
}

fn read_identity_type(kind: &str) -> Result<(bool, bool), ArmError> {
    let (mut system, mut user, mut none) = (false, false, false);
    for word in kind.split(',') {
        let flag = match word.trim_matches(' ').to_ascii_lowercase().as_str() {
            "systemassigned" => &mut system,
            "userassigned" => &mut user,
            "none" => &mut none,
            _ => return Err(wrong_identity_type(kind)),
        };
        if std::mem::replace(flag, true) {
            return Err(wrong_identity_type(kind));
        }
    }
    if none && (system || user) { Err(wrong_identity_type(kind)) } else { Ok((system, user)) }
}

fn read_user_assigned(map: &Map<String, Value>) -> Result<BTreeMap<ResourceId, UserAssigned>, ArmError> {
    let mut identities = BTreeMap::new();
    for (text, value) in map {
        let target = format!("identity.userAssignedIdentities.{}", shown(text));
        let id = ResourceId::parse(text).map_err(|error| error.with_target(&target))?;
        if !id.type_name().eq_ignore_ascii_case(USER_ASSIGNED_TYPE) {
            return Err(wrong(&target, format!("'{}' is not the id of a {USER_ASSIGNED_TYPE}.", shown(text))));
        }
        let wish = match value {
            Value::Null => UserAssigned::Detach,
            // A body that comes from a GET has principalId and clientId here; they are ours to say.
            Value::Object(_) => UserAssigned::Attach,
            other => return Err(wrong_kind(&target, "an empty object or null", other)),
        };
        if identities.insert(id, wish).is_some() {
            return Err(wrong(&target, format!("The identity '{}' comes twice.", shown(text))));
        }
    }
    Ok(identities)
}

fn read_zones(value: &Value) -> Result<Vec<String>, ArmError> {
    let Value::Array(zones) = value else { return Err(wrong_kind("zones", "an array of strings", value)) };
    zones.iter().map(|zone| text(zone, "zones").map(str::to_owned)).collect()
}

fn is_read_only(name: &str) -> bool {
    matches!(name, "id" | "name" | "type" | "systemData" | "etag")
}

fn text<'a>(value: &'a Value, target: &str) -> Result<&'a str, ArmError> {
    value.as_str().ok_or_else(|| wrong_kind(target, "a string", value))
}

fn object<'a>(value: &'a Value, target: &str) -> Result<&'a Map<String, Value>, ArmError> {
    value.as_object().ok_or_else(|| wrong_kind(target, "an object", value))
}

fn wrong_identity_type(kind: &str) -> ArmError {
    wrong(
        "identity.type",
        format!(
            "'{}' is not an identity type; use 'None', 'SystemAssigned', 'UserAssigned' or 'SystemAssigned,UserAssigned'.",
            shown(kind)
        ),
    )
}

fn wrong_kind(target: &str, expected: &str, value: &Value) -> ArmError {
    wrong(target, format!("The property '{target}' must be {expected}, but it is {}.", kind_of(value)))
}

fn wrong(target: &str, message: impl Into<String>) -> ArmError {
    ArmError::invalid_request_content(message).with_target(target)
}

/// The limits of today's ARM (reference/arm-models.md 1.1).
const MAX_TAGS: usize = 50;
const MAX_TAG_NAME: usize = 512;
const MAX_TAG_VALUE: usize = 256;
const USER_ASSIGNED_TYPE: &str = "Microsoft.ManagedIdentity/userAssignedIdentities";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::tests::any_value;

    const IDENTITY_ID: &str = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/Lab/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one";

    /// The envelope of a body at a location.
    fn read(mut body: Value) -> Result<Envelope, ArmError> {
        body["location"] = json!("West US");
        Envelope::read(&body, true)
    }

    fn refused_target(body: Value) -> String {
        let error = read(body).unwrap_err();
        assert_eq!(error.status, 400);
        error.target.clone().unwrap_or_default()
    }

    #[test]
    fn the_answer_of_a_get_can_be_sent_back() {
        let envelope = read(json!({
            "id": "/x", "name": "x", "type": "y", "etag": "\"1\"", "systemData": {"createdBy": "mei"},
            "kind": "Hub", "sku": {"name": "Basic", "tier": "Basic", "capacity": 2}, "tags": {"env": "dev"},
            "identity": {"type": "SystemAssigned", "principalId": "p", "tenantId": "t"},
            "properties": {"friendlyName": "x"}, "zones": ["1"], "managedBy": null, "futureField": {"a": 1}
        }))
        .unwrap();
        assert_eq!(envelope.location.as_ref().map(Location::as_str), Some("westus"));
        assert_eq!(envelope.kind.as_deref(), Some("Hub"));
        assert_eq!(
            serde_json::to_value(&envelope.sku).unwrap(),
            json!({"name": "Basic", "tier": "Basic", "capacity": 2})
        );
        assert_eq!(envelope.tags.unwrap()["env"], "dev");
        assert!(envelope.identity.unwrap().system_assigned);
        assert_eq!(Value::Object(envelope.properties), json!({"friendlyName": "x"}));
        assert_eq!((envelope.zones.unwrap(), envelope.managed_by), (vec!["1".to_owned()], None));
        assert_eq!(Value::Object(envelope.unknown), json!({"futureField": {"a": 1}}));
    }

    #[test]
    fn a_tracked_resource_needs_a_location_and_a_child_ignores_one() {
        assert_eq!(Envelope::read(&json!({}), true).unwrap_err().code, "LocationRequired");
        assert_eq!(Envelope::read(&json!({"location": null}), true).unwrap_err().code, "LocationRequired");
        assert_eq!(Envelope::read(&json!({"location": "westus"}), false).unwrap().location, None);
        assert_eq!(Envelope::read_patch(&json!({"tags": {}})).unwrap().tags, Some(BTreeMap::new()));
    }

    #[test]
    fn wrong_types_are_refused_where_they_stand() {
        for (body, target) in [
            (json!({"tags": []}), "tags"),
            (json!({"tags": {"a": 1}}), "tags.a"),
            (json!({"tags": {"a": null}}), "tags.a"),
            (json!({"properties": "x"}), "properties"),
            (json!({"kind": 1}), "kind"),
            (json!({"sku": "Basic"}), "sku"),
            (json!({"sku": {}}), "sku.name"),
            (json!({"sku": {"name": "a", "capacity": 1.5}}), "sku.capacity"),
            (json!({"sku": {"name": "a", "capacity": "much"}}), "sku.capacity"),
            (json!({"zones": [1]}), "zones"),
            (json!({"identity": true}), "identity"),
            (json!({"identity": {}}), "identity.type"),
            (json!({"plan": 1}), "plan"),
        ] {
            assert_eq!(refused_target(body.clone()), target, "{body}");
        }
        assert_eq!(Envelope::read(&json!({"location": 1}), true).unwrap_err().target.as_deref(), Some("location"));
        assert!(Envelope::read(&json!([]), true).unwrap_err().message.contains("an array"));
    }

    #[test]
    fn tags_are_limited_in_number_and_length() {
        let tags =
            |count: usize| -> Value { (0..count).map(|n| (format!("t{n}"), json!(""))).collect::<Map<_, _>>().into() };
        let one = |name: usize, value: usize| json!({ "é".repeat(name): "é".repeat(value) });
        assert!(read_tags(&tags(50)).is_ok() && read_tags(&tags(51)).is_err());
        assert!(read_tags(&one(512, 256)).is_ok());
        assert!(read_tags(&one(513, 0)).is_err() && read_tags(&one(1, 257)).is_err() && read_tags(&one(0, 1)).is_err());
        assert!(read_tags(&json!({"Env": "a", "env": "b"})).is_err());
        assert!(read_tags(&json!({"a\nb": "c"})).is_err());
    }

    #[test]
    fn identity_types_are_read_in_any_spelling() {
        let read = |kind: &str| {
            let request = IdentityRequest::read(&json!({"type": kind, "userAssignedIdentities": {IDENTITY_ID: {}}}));
            request.map(|request| (request.system_assigned, request.user_assigned.len()))
        };
        for kind in ["SystemAssigned,UserAssigned", "systemassigned, userassigned", "UserAssigned,SystemAssigned"] {
            assert_eq!(read(kind).unwrap(), (true, 1), "{kind}");
        }
        assert_eq!(read("USERASSIGNED").unwrap(), (false, 1));
        for kind in
            ["", ",", "System", "SystemAssigned,SystemAssigned", "None,SystemAssigned", "SystemAssigned", "None"]
        {
            assert_eq!(read(kind).unwrap_err().status, 400, "{kind}");
        }
        let plain = |kind: &str| IdentityRequest::read(&json!({"type": kind})).map(|request| request.system_assigned);
        assert_eq!((plain("systemAssigned").unwrap(), plain("none").unwrap()), (true, false));
        assert!(plain("UserAssigned").is_err(), "which one?");
        assert!(plain("None,SystemAssigned").is_err() && plain("SystemAssigned,SystemAssigned").is_err());
    }

    #[test]
    fn user_assigned_identities_are_attached_and_detached_by_id() {
        let other = IDENTITY_ID.replace("/one", "/two");
        let request = IdentityRequest::read(&json!({
            "type": "UserAssigned",
            "userAssignedIdentities": {IDENTITY_ID.to_uppercase().replace("PROVIDERS", "providers"): {"principalId": "p", "clientId": "c"}, other: null}
        }))
        .unwrap();
        let wishes: Vec<_> = request.user_assigned.iter().map(|(id, wish)| (id.name().to_lowercase(), *wish)).collect();
        assert_eq!(wishes, [("one".to_owned(), UserAssigned::Attach), ("two".to_owned(), UserAssigned::Detach)]);
        for map in [
            json!({"/nowhere": {}}),
            json!({IDENTITY_ID.replace("userAssignedIdentities", "other"): {}}),
            json!({IDENTITY_ID: "x"}),
            json!({IDENTITY_ID: {}, IDENTITY_ID.to_lowercase(): {}}),
        ] {
            let error =
                IdentityRequest::read(&json!({"type": "UserAssigned", "userAssignedIdentities": map})).unwrap_err();
            assert!(error.target.as_ref().unwrap().starts_with("identity.userAssignedIdentities."), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused_with_400(body in any_value(), field in any_value(), name in prop::sample::select(vec!["location", "tags", "identity", "sku", "zones", "properties"])) {
            for body in [body, json!({name: field.clone()}), json!({name: {"type": field, "userAssignedIdentities": {IDENTITY_ID: null}}})] {
                match Envelope::read_patch(&body) {
                    Ok(envelope) => prop_assert!(envelope.unknown.keys().all(|name| !is_read_only(name))),
                    Err(error) => prop_assert_eq!(error.status, 400),
                }
            }
        }
    }
}
