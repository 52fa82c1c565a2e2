//! What a deployment would change: the `changes` of a what-if answer.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// What would happen to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The resource's id.
    pub resource_id: String,
    /// What would happen.
    pub kind: ChangeKind,
    /// The resource as it is, if it is.
    pub before: Option<Value>,
    /// The resource as it would be, if it would.
    pub after: Option<Value>,
    /// The properties that would change.
    pub delta: Vec<Delta>,
    /// Why nothing better can be said, for [`ChangeKind::Unsupported`].
    pub unsupported_reason: Option<String>,
}

/// What would happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It would be made.
    Create,
    /// It would be deleted: complete mode, and not in the template.
    Delete,
    /// It stays as it is because the template does not name it.
    Ignore,
    /// It would be deployed; what changes was not asked for (`ResourceIdOnly`).
    Deploy,
    /// It would be deployed and stay the same.
    NoChange,
    /// Some of its properties would change.
    Modify,
    /// What would happen cannot be told.
    Unsupported,
}

/// What would happen to one property.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// Its path, `properties.a.b`; the index for an item of an array.
    pub path: String,
    /// What would happen.
    pub kind: DeltaKind,
    /// Its value now.
    pub before: Option<Value>,
    /// Its value then.
    pub after: Option<Value>,
    /// The items or members that would change.
    pub children: Vec<Delta>,
}

/// What would happen to a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaKind {
    /// It would be set.
    Create,
    /// It would go.
    Delete,
    /// Its value, or something in it, would change.
    Modify,
    /// Items of the array would change; see the children.
    Array,
    /// It is named but has no effect.
    NoEffect,
}

impl Change {
    /// Compares a resource as it is with what would be PUT.
    ///
    /// `after` should be the resource as it would be stored, with the defaults its type fills in, or every default
    /// shows up as a deletion; and it should be redacted, because it goes into the answer. `read_only` says of a path, `properties.a.b`, that clients cannot set it; such paths
    /// are left out, as are the ones that are read-only everywhere.
    pub fn compare(
        resource_id: impl Into<String>,
        before: Option<Value>,
        after: Value,
        read_only: &dyn Fn(&str) -> bool,
    ) -> Self {
        let ignored = |path: &str| READ_ONLY.iter().any(|own| own.eq_ignore_ascii_case(path)) || read_only(path);
        let mut delta = Vec::new();
        if let Some(before) = &before {
            members(before.as_object(), after.as_object(), "", &ignored, &mut delta);
        }
        let kind = match (&before, delta.is_empty()) {
            (None, _) => ChangeKind::Create,
            (Some(_), true) => ChangeKind::NoChange,
            (Some(_), false) => ChangeKind::Modify,
        };
        Self { resource_id: resource_id.into(), kind, before, after: Some(after), delta, unsupported_reason: None }
    }

    /// A resource that is there and that the deployment would delete, ignore, or only name.
    pub fn of(resource_id: impl Into<String>, kind: ChangeKind, before: Option<Value>) -> Self {
        Self { resource_id: resource_id.into(), kind, before, after: None, delta: Vec::new(), unsupported_reason: None }
    }

    /// A resource of which nothing can be told, and why: its name waits for live state, for instance.
    pub fn unsupported(resource_id: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { unsupported_reason: Some(reason.into()), ..Self::of(resource_id, ChangeKind::Unsupported, None) }
    }

    /// The change as it goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("resourceId".to_owned(), json!(self.resource_id));
        shown.insert("changeType".to_owned(), json!(self.kind.as_str()));
        if let Some(reason) = &self.unsupported_reason {
            shown.insert("unsupportedReason".to_owned(), json!(reason));
        }
        if let Some(before) = &self.before {
            shown.insert("before".to_owned(), before.clone());
        }
        if let Some(after) = &self.after {
            shown.insert("after".to_owned(), after.clone());
        }
        if self.kind == ChangeKind::Modify {
            shown.insert("delta".to_owned(), self.delta.iter().map(Delta::to_value).collect());
        }
        Value::Object(shown)
    }
}

impl ChangeKind {
    /// The kind as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Ignore => "Ignore",
            Self::Deploy => "Deploy",
            Self::NoChange => "NoChange",
            Self::Modify => "Modify",
            Self::Unsupported => "Unsupported",
        }
    }
}

impl Delta {
    fn leaf(path: impl Into<String>, kind: DeltaKind, before: Option<&Value>, after: Option<&Value>) -> Self {
        Self { path: path.into(), kind, before: before.cloned(), after: after.cloned(), children: Vec::new() }
    }

    fn to_value(&self) -> Value {
        let children: Option<Value> =
            (!self.children.is_empty()).then(|| self.children.iter().map(Self::to_value).collect());
        json!({
            "path": self.path,
            "propertyChangeType": self.kind.as_str(),
            "before": self.before,
            "after": self.after,
            "children": children,
        })
    }
}

impl DeltaKind {
    /// The kind as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Modify => "Modify",
            Self::Array => "Array",
            Self::NoEffect => "NoEffect",
        }
    }
}

/// Members of objects are compared by name, case aside; objects in objects become longer paths.
fn members(
    before: Option<&Map<String, Value>>,
    after: Option<&Map<String, Value>>,
    above: &str,
    ignored: &dyn Fn(&str) -> bool,
    delta: &mut Vec<Delta>,
) {
    let empty = Map::new();
    let (before, after) = (before.unwrap_or(&empty), after.unwrap_or(&empty));
    for (name, new) in after {
        let path = join(above, name);
        match crate::template::find(before, name) {
            _ if ignored(&path) => {}
            Some(old) => property(&path, old, new, ignored, delta),
            None if is_nothing(new) => {}
            None => delta.push(Delta::leaf(path, DeltaKind::Create, None, Some(new))),
        }
    }
    for (name, old) in before {
        let path = join(above, name);
        if crate::template::find(after, name).is_none() && !ignored(&path) && !is_nothing(old) {
            delta.push(Delta::leaf(path, DeltaKind::Delete, Some(old), None));
        }
    }
}

fn property(path: &str, old: &Value, new: &Value, ignored: &dyn Fn(&str) -> bool, delta: &mut Vec<Delta>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => members(Some(old), Some(new), path, ignored, delta),
        (Value::Array(before), Value::Array(after)) => {
            let children = items(before, after, path, ignored);
            if !children.is_empty() {
                delta.push(Delta { children, ..Delta::leaf(path, DeltaKind::Array, None, None) });
            }
        }
        _ if same(path, old, new) => {}
        _ => delta.push(Delta::leaf(path, DeltaKind::Modify, Some(old), Some(new))),
    }
}

/// Items that are equal are taken out first, wherever they stand; the others are paired by their name or id, then by
/// their order.
fn items(before: &[Value], after: &[Value], path: &str, ignored: &dyn Fn(&str) -> bool) -> Vec<Delta> {
    let mut taken = HashSet::new();
    let mut rest = Vec::new();
    for (index, new) in after.iter().enumerate() {
        let twin = before.iter().enumerate().find(|(at, old)| !taken.contains(at) && same(path, old, new));
        match twin {
            Some((at, _)) => {
                taken.insert(at);
            }
            None => rest.push((index, new)),
        }
    }
    let mut children = Vec::new();
    for (index, new) in rest {
        let free = || before.iter().enumerate().filter(|(at, _)| !taken.contains(at));
        let partner = free().find(|(_, old)| label(old).is_some() && label(old) == label(new));
        let partner = partner.or_else(|| free().find(|(at, old)| *at == index && label(old).is_none()));
        let Some((at, old)) = partner else {
            children.push(Delta::leaf(index.to_string(), DeltaKind::Create, None, Some(new)));
            continue;
        };
        taken.insert(at);
        let mut inside = Vec::new();
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                // Paths inside items start anew; what is read-only is known by the path of the array.
                let below = |inner: &str| ignored(&format!("{path}.{inner}"));
                members(Some(old), Some(new), "", &below, &mut inside);
                if !inside.is_empty() {
                    let item = Delta::leaf(index.to_string(), DeltaKind::Modify, None, None);
                    children.push(Delta { children: inside, ..item });
                }
            }
            _ => children.push(Delta::leaf(index.to_string(), DeltaKind::Modify, Some(old), Some(new))),
        }
    }
    let gone = before.iter().enumerate().filter(|(at, _)| !taken.contains(at));
    children.extend(gone.map(|(at, old)| Delta::leaf(at.to_string(), DeltaKind::Delete, Some(old), None)));
    children
}

fn label(item: &Value) -> Option<String> {
    let name = ["name", "id"].iter().find_map(|key| item.get(*key).and_then(Value::as_str))?;
    Some(name.to_ascii_lowercase())
}

/// Equal, or two spellings of one thing: ids differ in case, locations also in blanks.
fn same(path: &str, old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::String(old), Value::String(new)) => {
            let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
            old == new
                || old.starts_with('/') && old.eq_ignore_ascii_case(new)
                || path.eq_ignore_ascii_case("location") && plain(old) == plain(new)
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(path, old, new))
        }
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old.iter().all(|(name, old)| {
                    crate::template::find(new, name).is_some_and(|new| same(&join(path, name), old, new))
                })
        }
        _ => old == new,
    }
}

/// Absent, null and empty are the same to every resource provider.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") }
}

/// Members that the service sets on every resource.
const READ_ONLY: &[&str] = &[
    "id",
    "name",
    "type",
    "apiVersion",
    "etag",
    "systemData",
    "identity.principalId",
    "identity.tenantId",
    "properties.provisioningState",
    "properties.resourceGuid",
    "properties.creationTime",
    "properties.uniqueId",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(before: Value, after: Value) -> Value {
        let change = Change::compare("/x", Some(before), after, &|path| path == "properties.workspaceId");
        change.to_value().get("delta").cloned().unwrap_or(Value::Null)
    }

    #[test]
    fn a_new_resource_is_created() {
        let change = Change::compare("/x", None, json!({"location": "here"}), &|_| false);
        assert_eq!(
            change.to_value(),
            json!({"resourceId": "/x", "changeType": "Create", "after": {"location": "here"}})
        );
    }

    #[test]
    fn what_clients_cannot_set_is_no_change() {
        let before = json!({"id": "/X", "etag": "1", "location": "West US", "systemData": {},
            "properties": {"provisioningState": "Succeeded", "workspaceId": "w", "vault": "/Subscriptions/A", "none": null}});
        let after = json!({"location": "westus", "properties": {"vault": "/subscriptions/a", "tags": {}}});
        let change = Change::compare("/x", Some(before), after, &|path| path == "properties.workspaceId");
        assert_eq!((change.kind, change.delta.len()), (ChangeKind::NoChange, 0));
    }

    #[test]
    fn properties_are_named_by_their_path() {
        assert_eq!(
            delta(
                json!({"tags": {"a": "1", "b": "2"}, "properties": {"x": {"y": 1}}}),
                json!({"tags": {"a": "1"}, "properties": {"x": {"y": 2, "z": true}}})
            ),
            json!([
                {"path": "tags.b", "propertyChangeType": "Delete", "before": "2", "after": null, "children": null},
                {"path": "properties.x.y", "propertyChangeType": "Modify", "before": 1, "after": 2, "children": null},
                {"path": "properties.x.z", "propertyChangeType": "Create", "before": null, "after": true, "children": null},
            ])
        );
    }

    #[test]
    fn arrays_show_the_items_that_change() {
        assert_eq!(
            delta(
                json!({"properties": {"list": ["a", "b"], "rules": [{"name": "r", "port": 1}, {"name": "s"}]}}),
                json!({"properties": {"list": ["b", "c"], "rules": [{"name": "s"}, {"name": "r", "port": 2}]}})
            ),
            json!([
                {"path": "properties.list", "propertyChangeType": "Array", "before": null, "after": null, "children": [
                    {"path": "1", "propertyChangeType": "Create", "before": null, "after": "c", "children": null},
                    {"path": "0", "propertyChangeType": "Delete", "before": "a", "after": null, "children": null},
                ]},
                {"path": "properties.rules", "propertyChangeType": "Array", "before": null, "after": null, "children": [
                    {"path": "1", "propertyChangeType": "Modify", "before": null, "after": null, "children": [
                        {"path": "port", "propertyChangeType": "Modify", "before": 1, "after": 2, "children": null},
                    ]},
                ]},
            ])
        );
    }

    #[test]
    fn deletion_and_ignorance_show_what_is_there() {
        let change = Change::of("/x", ChangeKind::Delete, Some(json!({"a": 1})));
        assert_eq!(change.to_value(), json!({"resourceId": "/x", "changeType": "Delete", "before": {"a": 1}}));
        let change = Change::unsupported("/x", "its name waits for live state");
        assert_eq!(change.to_value()["unsupportedReason"], "its name waits for live state");
    }
}
