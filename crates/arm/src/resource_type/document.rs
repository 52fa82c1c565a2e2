//! A resource as it is stored, and as others see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::id::ResourceId;

/// A resource as stored: the envelope parts every type shares, and the type's own properties.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Normalised region name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Kind in canonical spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// SKU as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Value>,
    /// Managed identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<AssignedIdentity>,
    /// Id of the resource that manages this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Envelope parts that are stored as they are: `plan`, `zones`, `extendedLocation`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// The type's own properties.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// Tags; stored beside the body because they are searched for.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
}

/// The managed identities a resource carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedIdentity {
    /// Principal of the system-assigned identity; stable for the life of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Principal>,
    /// User-assigned identities by canonical ARM id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, Principal>,
}

/// The two ids of a managed identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Object id in the directory.
    pub principal_id: Uuid,
    /// Client (application) id.
    pub client_id: Uuid,
}

/// A linked resource as it stands.
#[derive(Debug, Clone)]
pub struct Linked {
    /// Its id in canonical spelling.
    pub id: ResourceId,
    /// Its incarnation.
    pub incarnation: Uuid,
    /// What is stored of it.
    pub document: Document,
}

/// The resource before the change.
#[derive(Debug, Clone, Copy)]
pub struct Existing<'a> {
    /// Its incarnation.
    pub incarnation: Uuid,
    /// What is stored of it.
    pub document: &'a Document,
}

impl AssignedIdentity {
    /// Whether it holds none at all.
    pub fn is_empty(&self) -> bool {
        self.system.is_none() && self.user.is_empty()
    }

    /// The wire's word for what is assigned.
    pub fn type_name(&self) -> &'static str {
        match (self.system.is_some(), !self.user.is_empty()) {
            (true, true) => "SystemAssigned,UserAssigned",
            (true, false) => "SystemAssigned",
            (false, true) => "UserAssigned",
            (false, false) => "None",
        }
    }

    /// The wire form.
    pub fn answer(&self, tenant_id: Uuid) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), self.type_name().into());
        if let Some(system) = &self.system {
            body.insert("principalId".into(), system.principal_id.to_string().into());
            body.insert("tenantId".into(), tenant_id.to_string().into());
        }
        if !self.user.is_empty() {
            let user = self.user.iter().map(|(id, principal)| {
                let ids = serde_json::json!({
                    "principalId": principal.principal_id.to_string(),
                    "clientId": principal.client_id.to_string(),
                });
                (id.clone(), ids)
            });
            body.insert("userAssignedIdentities".into(), Value::Object(user.collect()));
        }
        Value::Object(body)
    }
}
