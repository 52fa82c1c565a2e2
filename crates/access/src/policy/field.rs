//! Fields: what a condition can ask about a resource, and how it is found there.

use serde_json::{Map, Value};

use super::alias::Alias;
use super::{PolicyError, member};

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Name,
    FullName,
    Type,
    Kind,
    Location,
    IdentityType,
    Tags,
    Tag(String),
    Alias(Alias),
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    /// `[*]`.
    Each,
}

/// What was found under a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    Missing,
    One(Value),
    /// Behind a `[*]`: every element; null where one lacks what was asked for.
    Many(Vec<Value>),
}

impl Field {
    pub(super) fn read(text: &str, place: &str) -> Result<Self, PolicyError> {
        let known = match text.to_ascii_lowercase().as_str() {
            "id" => Some(Self::Id),
            "name" => Some(Self::Name),
            "fullname" => Some(Self::FullName),
            "type" => Some(Self::Type),
            "kind" => Some(Self::Kind),
            "location" => Some(Self::Location),
            "identity.type" => Some(Self::IdentityType),
            "tags" => Some(Self::Tags),
            _ => None,
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("tags[") && text.ends_with(']') {
            return tag(text.get(5..text.len() - 1).unwrap_or_default(), place).map(Self::Tag);
        }
        if lower.starts_with("tags.") {
            return tag(text.get(5..).unwrap_or_default(), place).map(Self::Tag);
        }
        Alias::read(text, place).map(Self::Alias)
    }

    /// Whether it says what a resource is rather than what it is like: such conditions decide for which resources a
    /// policy has a state at all.
    pub(super) fn says_what_it_is(&self) -> bool {
        matches!(self, Self::Type | Self::Name | Self::Kind | Self::Id | Self::FullName)
    }

    pub(super) fn find(&self, resource: &Value) -> Found {
        let top = |name: &str| resource.as_object().and_then(|members| member(members, name)).cloned();
        let one = |value: Option<Value>| value.map_or(Found::Missing, Found::One);
        match self {
            Self::Id => one(top("id")),
            Self::Name => one(top("name")),
            Self::Type => one(top("type")),
            Self::Kind => one(top("kind")),
            Self::Location => one(top("location")),
            Self::IdentityType => {
                one(top("identity").and_then(|identity| member(identity.as_object()?, "type").cloned()))
            }
            Self::FullName => one(top("id").and_then(|id| Some(full_name(id.as_str()?).into()))),
            Self::Tags => one(Some(top("tags").unwrap_or_else(|| Value::Object(Map::new())))),
            Self::Tag(name) => one(top("tags").and_then(|tags| member(tags.as_object()?, name).cloned())),
            Self::Alias(alias) => {
                let is_of_type = top("type").is_some_and(|found| {
                    found.as_str().is_some_and(|found| found.eq_ignore_ascii_case(alias.type_name))
                });
                if is_of_type { walk(resource, &alias.steps) } else { alias.nothing() }
            }
        }
    }
}

/// Everything at the end of a path.
pub(super) fn walk(value: &Value, steps: &[Step]) -> Found {
    if !steps.contains(&Step::Each) {
        let mut at = value;
        for step in steps {
            let Step::Member(name) = step else { return Found::Missing };
            match at.as_object().and_then(|members| member(members, name)) {
                Some(next) => at = next,
                None => return Found::Missing,
            }
        }
        return if at.is_null() { Found::Missing } else { Found::One(at.clone()) };
    }
    let mut found = Vec::new();
    gather(value, steps, &mut found);
    Found::Many(found)
}

fn gather(value: &Value, steps: &[Step], found: &mut Vec<Value>) {
    match steps.split_first() {
        None => found.push(value.clone()),
        Some((Step::Each, rest)) => {
            for item in value.as_array().into_iter().flatten() {
                gather(item, rest, found);
            }
        }
        Some((Step::Member(name), rest)) => match value.as_object().and_then(|members| member(members, name)) {
            Some(next) => gather(next, rest, found),
            // An element that lacks it counts as null; a list that is not there has no elements.
            None if rest.contains(&Step::Each) => {}
            None => found.push(Value::Null),
        },
    }
}

/// `hub/rule`: the names along an id, from the last provider on.
fn full_name(id: &str) -> String {
    let segments: Vec<&str> = id.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.iter().rposition(|segment| segment.eq_ignore_ascii_case("providers")) {
        Some(at) => {
            let names = segments.iter().skip(at + 3).step_by(2);
            names.copied().collect::<Vec<_>>().join("/")
        }
        None => segments.last().map(|name| (*name).to_owned()).unwrap_or_default(),
    }
}

/// `tags[name]`, `tags['name']` and `tags['a''b']`.
fn tag(text: &str, place: &str) -> Result<String, PolicyError> {
    let name = match text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(quoted) => quoted.replace("''", "'"),
        None => text.to_owned(),
    };
    if name.is_empty() {
        return Err(PolicyError::rule(place, "The field names no tag. Write tags['name']."));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(field: &str, resource: &Value) -> Found {
        Field::read(field, "if").unwrap().find(resource)
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let hub = json!({
            "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/Hub",
            "name": "Hub",
            "type": "Microsoft.MachineLearningServices/workspaces",
            "location": "westeurope",
            "kind": "Hub",
            "identity": {"type": "SystemAssigned"},
            "sku": {"name": "Basic"},
            "tags": {"Cost Center": "7"},
            "properties": {
                "publicNetworkAccess": "Disabled",
                "managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"},
                "encryption": {"keyVaultProperties": {"keyIdentifier": "https://v/keys/k/1"}},
                "privateEndpointConnections": [{"a": 1}, {"privateLinkServiceConnectionState": {"status": "Approved"}}],
            },
        });
        let type_name = "Microsoft.MachineLearningServices/workspaces";
        for (field, value) in [
            ("NAME", "Hub"),
            ("fullName", "Hub"),
            ("identity.type", "SystemAssigned"),
            ("tags['cost center']", "7"),
            ("tags[Cost Center]", "7"),
            (&format!("{type_name}/PublicNetworkAccess"), "Disabled"),
            (&format!("{type_name}/managedNetwork.isolationMode"), "AllowOnlyApprovedOutbound"),
            (&format!("{type_name}/encryption.keyVaultProperties.keyIdentifier"), "https://v/keys/k/1"),
            (&format!("{type_name}/sku.name"), "Basic"),
        ] {
            assert_eq!(find(field, &hub), Found::One(value.into()), "{field}");
        }
        assert_eq!(find("tags['owner']", &hub), Found::Missing);
        let status = format!("{type_name}/privateEndpointConnections[*].privateLinkServiceConnectionState.status");
        assert_eq!(find(&status, &hub), Found::Many(vec![Value::Null, json!("Approved")]));
        assert_eq!(find("Microsoft.Storage/storageAccounts/publicNetworkAccess", &hub), Found::Missing);
    }

    #[test]
    fn a_child_is_named_with_its_parents() {
        let rule = json!({"id": "/subscriptions/s/resourceGroups/g/providers/A.B/workspaces/hub/outboundRules/pypi"});
        assert_eq!(find("fullName", &rule), Found::One("hub/pypi".into()));
        let group = json!({"id": "/subscriptions/s/resourceGroups/g"});
        assert_eq!(find("fullName", &group), Found::One("g".into()));
    }
}
