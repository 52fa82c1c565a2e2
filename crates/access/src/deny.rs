use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::role::{Permission, null_as_default};

/// A set of permissions withheld from principals at a scope, whatever their roles grant.
///
/// Serialises in the shape of the API. Only the system makes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct DenyAssignment {
    /// The GUID that names it.
    pub name: Uuid,
    /// What people call it.
    pub deny_assignment_name: String,
    /// What it protects.
    pub description: Option<String>,
    /// What it withholds; the `not` lists are what it lets pass.
    pub permissions: Vec<Permission>,
    /// ARM id where it holds.
    pub scope: String,
    /// Whether it holds at `scope` alone, and not below.
    pub do_not_apply_to_child_scopes: bool,
    /// Who is denied; [`DenyPrincipal::EVERYONE`] is everyone.
    pub principals: Vec<DenyPrincipal>,
    /// Who is not denied after all.
    pub exclude_principals: Vec<DenyPrincipal>,
    /// Whether it can be removed only by what made it.
    pub is_system_protected: bool,
    /// What must hold for it to deny. One that cannot be answered denies.
    pub condition: Option<String>,
    /// Version of the condition language; only `2.0` is known.
    pub condition_version: Option<String>,
}

/// A principal named by a deny assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyPrincipal {
    /// Object id; the zero GUID stands for everyone.
    pub id: Uuid,
    /// `User`, `Group`, `ServicePrincipal`, or `SystemDefined` for everyone.
    #[serde(rename = "type")]
    pub kind: String,
}

impl DenyPrincipal {
    /// The id that stands for all principals. It has this meaning among those denied, never among those excluded.
    pub const EVERYONE: Uuid = Uuid::nil();

    /// All principals.
    pub fn everyone() -> Self {
        Self { id: Self::EVERYONE, kind: "SystemDefined".to_owned() }
    }
}

impl DenyAssignment {
    /// Its ARM id.
    pub fn id(&self) -> String {
        format!("{}/providers/{TYPE_NAME}/{}", self.scope.trim_end_matches('/'), self.name)
    }
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
    deny_assignment_name: String,
    #[serde(default)]
    description: Option<String>,
    permissions: Vec<Permission>,
    scope: String,
    #[serde(default, deserialize_with = "null_as_default")]
    do_not_apply_to_child_scopes: bool,
    principals: Vec<DenyPrincipal>,
    #[serde(default, deserialize_with = "null_as_default")]
    exclude_principals: Vec<DenyPrincipal>,
    #[serde(default, deserialize_with = "null_as_default")]
    is_system_protected: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition_version: Option<String>,
}

impl From<Wire> for DenyAssignment {
    fn from(wire: Wire) -> Self {
        let properties = wire.properties;
        Self {
            name: wire.name,
            deny_assignment_name: properties.deny_assignment_name,
            description: properties.description,
            permissions: properties.permissions,
            scope: properties.scope,
            do_not_apply_to_child_scopes: properties.do_not_apply_to_child_scopes,
            principals: properties.principals,
            exclude_principals: properties.exclude_principals,
            is_system_protected: properties.is_system_protected,
            condition: properties.condition,
            condition_version: properties.condition_version,
        }
    }
}

impl From<DenyAssignment> for Wire {
    fn from(deny: DenyAssignment) -> Self {
        Self {
            id: deny.id(),
            name: deny.name,
            type_name: TYPE_NAME.to_owned(),
            properties: WireProperties {
                deny_assignment_name: deny.deny_assignment_name,
                description: deny.description,
                permissions: deny.permissions,
                scope: deny.scope,
                do_not_apply_to_child_scopes: deny.do_not_apply_to_child_scopes,
                principals: deny.principals,
                exclude_principals: deny.exclude_principals,
                is_system_protected: deny.is_system_protected,
                condition: deny.condition,
                condition_version: deny.condition_version,
            },
        }
    }
}

const TYPE_NAME: &str = "Microsoft.Authorization/denyAssignments";
