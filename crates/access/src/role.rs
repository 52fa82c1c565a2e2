use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A named set of permissions.
///
/// Serialises in the shape of the API: `{"id", "name", "type", "properties": {"roleName", ...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct RoleDefinition {
    /// The GUID that names it; the same in every cloud for a built-in role.
    pub id: Uuid,
    /// What people call it, for example `Azure AI Developer`.
    pub role_name: String,
    /// Built in, or made by a customer.
    pub kind: RoleKind,
    /// What it is for.
    pub description: String,
    /// Where it may be assigned; `/` for built-in roles.
    pub assignable_scopes: Vec<String>,
    /// The blocks, each of which grants on its own.
    pub permissions: Vec<Permission>,
    /// Who made it; `None` for built-in roles.
    pub created_by: Option<String>,
    /// When it was made.
    pub created_on: Option<Timestamp>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// When it was last changed.
    pub updated_on: Option<Timestamp>,
}

/// Where a role definition comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleKind {
    /// Ships with the product; cannot be changed.
    #[serde(rename = "BuiltInRole")]
    BuiltIn,
    /// Made by a customer.
    #[serde(rename = "CustomRole")]
    Custom,
}

/// One block of a role or deny assignment: what it covers, minus what it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Permission {
    /// Patterns of control actions covered.
    #[serde(deserialize_with = "null_as_default")]
    pub actions: Vec<String>,
    /// Patterns subtracted from `actions` of this block, and of no other.
    #[serde(deserialize_with = "null_as_default")]
    pub not_actions: Vec<String>,
    /// Patterns of data actions covered.
    #[serde(deserialize_with = "null_as_default")]
    pub data_actions: Vec<String>,
    /// Patterns subtracted from `data_actions` of this block, and of no other.
    #[serde(deserialize_with = "null_as_default")]
    pub not_data_actions: Vec<String>,
    /// What must hold as well for the block to grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Version of the condition language; only `2.0` is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_version: Option<String>,
}

impl RoleDefinition {
    /// The id of the definition as seen from `scope`: a subscription's id, or empty for the tenant.
    pub fn id_at(&self, scope: &str) -> String {
        definition_id(scope, self.id)
    }
}

/// `{subscription of scope}/providers/Microsoft.Authorization/roleDefinitions/{id}`, as the API spells it.
pub(crate) fn definition_id(scope: &str, id: Uuid) -> String {
    let mut segments = scope.split('/').skip(1);
    let subscription = match (segments.next(), segments.next()) {
        (Some(kind), Some(name)) if kind.eq_ignore_ascii_case("subscriptions") => format!("/subscriptions/{name}"),
        _ => String::new(),
    };
    format!("{subscription}/providers/{DEFINITION_TYPE_NAME}/{id}")
}

/// Lets a JSON null stand for an absent list, as older clients send it.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_deserializing)]
    id: String,
    name: Uuid,
    #[serde(rename = "type", default, skip_deserializing)]
    type_name: String,
    properties: WireProperties,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProperties {
    role_name: String,
    #[serde(rename = "type", default = "custom")]
    kind: RoleKind,
    #[serde(default, deserialize_with = "null_as_default")]
    description: String,
    #[serde(default, deserialize_with = "null_as_default")]
    assignable_scopes: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    permissions: Vec<Permission>,
    #[serde(default)]
    created_on: Option<Timestamp>,
    #[serde(default)]
    updated_on: Option<Timestamp>,
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    updated_by: Option<String>,
}

fn custom() -> RoleKind {
    RoleKind::Custom
}

impl From<Wire> for RoleDefinition {
    fn from(wire: Wire) -> Self {
        let properties = wire.properties;
        Self {
            id: wire.name,
            role_name: properties.role_name,
            kind: properties.kind,
            description: properties.description,
            assignable_scopes: properties.assignable_scopes,
            permissions: properties.permissions,
            created_by: properties.created_by,
            created_on: properties.created_on,
            updated_by: properties.updated_by,
            updated_on: properties.updated_on,
        }
    }
}

impl From<RoleDefinition> for Wire {
    fn from(role: RoleDefinition) -> Self {
        Self {
            id: role.id_at("/"),
            name: role.id,
            type_name: DEFINITION_TYPE_NAME.to_owned(),
            properties: WireProperties {
                role_name: role.role_name,
                kind: role.kind,
                description: role.description,
                assignable_scopes: role.assignable_scopes,
                permissions: role.permissions,
                created_on: role.created_on,
                updated_on: role.updated_on,
                created_by: role.created_by,
                updated_by: role.updated_by,
            },
        }
    }
}

const DEFINITION_TYPE_NAME: &str = "Microsoft.Authorization/roleDefinitions";
