use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::role::definition_id;

/// A role given to a principal at a scope.
///
/// Serialises in the shape of the API: `{"id", "name", "type", "properties": {"scope", "roleDefinitionId", ...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct RoleAssignment {
    /// The GUID that names it, unique in the tenant.
    pub name: Uuid,
    /// ARM id where it holds, with everything below; `/` is the tenant root.
    pub scope: String,
    /// The role's GUID.
    pub role_definition_id: Uuid,
    /// Object id of the user, group or service principal.
    pub principal_id: Uuid,
    /// What kind of principal that is.
    pub principal_type: PrincipalType,
    /// What must hold for it to grant.
    pub condition: Option<String>,
    /// Version of the condition language; only `2.0` is known, and it is what `None` means.
    pub condition_version: Option<String>,
    /// Why it was made.
    pub description: Option<String>,
    /// Full id of the managed identity it was delegated through.
    pub delegated_managed_identity_resource_id: Option<String>,
    /// Whether it, made at a hub, holds at the hub's projects too: `properties.bastide.projects` (mission.md D7).
    pub reaches_projects: bool,
    /// When it was made.
    pub created_on: Option<Timestamp>,
    /// Object id of who made it.
    pub created_by: Option<String>,
    /// When it was last changed.
    pub updated_on: Option<Timestamp>,
    /// Object id of who changed it last.
    pub updated_by: Option<String>,
}

/// What a principal is. Managed identities are service principals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalType {
    /// A person.
    #[default]
    User,
    /// A group of principals.
    Group,
    /// An application or a managed identity.
    ServicePrincipal,
    /// A group of another tenant.
    ForeignGroup,
    /// A device.
    Device,
}

impl RoleAssignment {
    /// An unconditional assignment to a user.
    pub fn new(name: Uuid, scope: impl Into<String>, role_definition_id: Uuid, principal_id: Uuid) -> Self {
        Self {
            name,
            scope: scope.into(),
            role_definition_id,
            principal_id,
            principal_type: PrincipalType::User,
            condition: None,
            condition_version: None,
            description: None,
            delegated_managed_identity_resource_id: None,
            reaches_projects: false,
            created_on: None,
            created_by: None,
            updated_on: None,
            updated_by: None,
        }
    }

    /// Its ARM id.
    pub fn id(&self) -> String {
        let scope = self.scope.trim_end_matches('/');
        format!("{scope}/providers/{TYPE_NAME}/{}", self.name)
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
    role_definition_id: String,
    principal_id: Uuid,
    #[serde(default)]
    principal_type: PrincipalType,
    scope: String,
    #[serde(default)]
    condition: Option<String>,
    #[serde(default)]
    condition_version: Option<String>,
    #[serde(default)]
    created_on: Option<Timestamp>,
    #[serde(default)]
    updated_on: Option<Timestamp>,
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    updated_by: Option<String>,
    #[serde(default)]
    delegated_managed_identity_resource_id: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "WireBastide::is_silent")]
    bastide: WireBastide,
}

/// What only Bastide knows of.
#[derive(Default, Serialize, Deserialize)]
struct WireBastide {
    #[serde(default)]
    projects: bool,
}

impl WireBastide {
    fn is_silent(&self) -> bool {
        !self.projects
    }
}

impl TryFrom<Wire> for RoleAssignment {
    type Error = uuid::Error;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        let properties = wire.properties;
        // Clients send the full id of the definition, or its GUID alone.
        let role = properties.role_definition_id.rsplit('/').next().unwrap_or_default();
        Ok(Self {
            name: wire.name,
            scope: properties.scope,
            role_definition_id: Uuid::try_parse(role)?,
            principal_id: properties.principal_id,
            principal_type: properties.principal_type,
            condition: properties.condition,
            condition_version: properties.condition_version,
            description: properties.description,
            delegated_managed_identity_resource_id: properties.delegated_managed_identity_resource_id,
            reaches_projects: properties.bastide.projects,
            created_on: properties.created_on,
            created_by: properties.created_by,
            updated_on: properties.updated_on,
            updated_by: properties.updated_by,
        })
    }
}

impl From<RoleAssignment> for Wire {
    fn from(assignment: RoleAssignment) -> Self {
        Self {
            id: assignment.id(),
            name: assignment.name,
            type_name: TYPE_NAME.to_owned(),
            properties: WireProperties {
                role_definition_id: definition_id(&assignment.scope, assignment.role_definition_id),
                principal_id: assignment.principal_id,
                principal_type: assignment.principal_type,
                scope: assignment.scope,
                condition: assignment.condition,
                condition_version: assignment.condition_version,
                created_on: assignment.created_on,
                updated_on: assignment.updated_on,
                created_by: assignment.created_by,
                updated_by: assignment.updated_by,
                delegated_managed_identity_resource_id: assignment.delegated_managed_identity_resource_id,
                description: assignment.description,
                bastide: WireBastide { projects: assignment.reaches_projects },
            },
        }
    }
}

const TYPE_NAME: &str = "Microsoft.Authorization/roleAssignments";

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::uuid;

    use super::*;

    #[test]
    fn an_assignment_reads_and_writes_the_shape_of_the_api() {
        let body = json!({
            "name": "22222222-0000-0000-0000-000000000001",
            "properties": {
                "roleDefinitionId":
                    "/subscriptions/S/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7",
                "principalId": "11111111-0000-0000-0000-000000000001",
                "principalType": "Group",
                "scope": "/subscriptions/S/resourceGroups/rg",
                "condition": null,
            },
        });
        let assignment: RoleAssignment = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(assignment.role_definition_id, uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7"));
        assert_eq!(assignment.principal_type, PrincipalType::Group);

        let written = serde_json::to_value(&assignment).unwrap();
        let name = "22222222-0000-0000-0000-000000000001";
        let scope = "/subscriptions/S/resourceGroups/rg";
        assert_eq!(written["id"], format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"));
        assert_eq!(written["properties"]["roleDefinitionId"], body["properties"]["roleDefinitionId"]);
        assert_eq!(serde_json::from_value::<RoleAssignment>(written).unwrap(), assignment);
    }
}
