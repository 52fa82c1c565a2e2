//! `{target}/privateEndpointConnections`: the private endpoints of hubs as the resource they lead to sees them, and whether
//! it lets them (mission.md K5-K13, D9).
//!
//! A connection is what a rule asks for. Nothing is stored of it but a decision, if somebody has made one; without one the
//! hub's identity decides by the rights it has on the target at the moment.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Linked, NameRule, Placement, Principal, PutStatus,
    ResourceType, Surroundings, View,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::outbound_rule::{Category, Destination, PrivateEndpointDestination, Rule};

/// A type of connections.
#[derive(Debug)]
pub struct PrivateEndpointConnection(&'static Descriptor);

/// Those of every target there is.
pub fn all() -> impl Iterator<Item = PrivateEndpointConnection> {
    DESCRIPTORS.iter().map(PrivateEndpointConnection)
}

/// Whether a target lets a private endpoint in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Nobody has said so yet.
    Pending,
    /// It does.
    Approved,
    /// It does not.
    Rejected,
    /// It did, and has taken it back.
    Disconnected,
}

/// What was decided about a connection, or follows from rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Whether the target lets it in.
    pub status: Status,
    /// Why, a sentence.
    pub description: String,
}

/// A private endpoint that a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it leads.
    pub destination: PrivateEndpointDestination,
    /// Whose the rule is.
    pub category: Category,
}

impl ResourceType for PrivateEndpointConnection {
    fn descriptor(&self) -> &Descriptor {
        self.0
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let message = format!("'{}' is made by an outbound rule of a hub, not by a client.", admission.id);
        Err(ArmError::new(405, "MethodNotAllowed", message))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }
}

impl Endpoint {
    /// What a stored rule asks for, if it is for a private endpoint.
    pub fn of(rule: &Linked) -> Option<Self> {
        match Rule::stored(&rule.document.properties)? {
            Rule { destination: Destination::PrivateEndpoint(destination), category, .. } => {
                Some(Self { destination, category })
            }
            _ => None,
        }
    }

    /// What is decided without asking anybody: a hub reaches itself and what it was made with, and who makes a rule to a
    /// declared service had to be allowed to join it.
    pub fn undisputed(&self, hub: &ResourceId) -> Option<Standing> {
        let target = self.destination.resource();
        let why = if target == *hub || self.category == Category::Required {
            "It is the hub's own."
        } else if self.destination.is_external() {
            "Whoever made the rule may join the service."
        } else {
            return None;
        };
        Some(Standing { status: Status::Approved, description: why.to_owned() })
    }
}

impl Standing {
    /// What follows from the rights of the hub's identity on the target.
    pub fn by_rights(may_approve: bool, hub: &ResourceId, connection: &ResourceId) -> Self {
        if may_approve {
            let description = format!("By the right of the identity of hub '{}'.", hub.name());
            return Self { status: Status::Approved, description };
        }
        let target = connection.parent().unwrap_or_else(|| connection.clone());
        let description = format!(
            "It waits for approval: the identity of hub '{}' may not approve private endpoints of '{target}'. Assign it \
             the role '{APPROVER}' there, or approve the connection '{}' of that resource (az network \
             private-endpoint-connection approve --id {connection}).",
            hub.name(),
            connection.name(),
        );
        Self { status: Status::Pending, description }
    }

    /// Of a connection to something that is not there.
    pub fn of_nothing(target: &ResourceId) -> Self {
        let description = format!("'{target}' is not there. Create it, or correct the rule.");
        Self { status: Status::Disconnected, description }
    }

    /// Reads what a PUT decides.
    pub fn read(properties: &Map<String, Value>) -> Result<Self, ArmError> {
        let state = properties.get(STATE).and_then(Value::as_object);
        let said = |name: &str| state.and_then(|state| state.get(name)?.as_str()).unwrap_or_default();
        let status = [Status::Approved, Status::Rejected, Status::Disconnected]
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(said("status")))
            .ok_or_else(|| {
                let message = format!("'{}' is no decision. Use Approved, Rejected or Disconnected.", said("status"));
                ArmError::validation(message).with_target(format!("properties.{STATE}.status"))
            })?;
        Ok(Self { status, description: said("description").to_owned() })
    }

    /// Why nothing is carried, if so.
    pub fn why_not(&self) -> Option<String> {
        match self.status {
            Status::Approved => None,
            status => Some(format!("{}: {}", status.as_str(), self.description)),
        }
    }

    /// The wire form of the connection.
    pub fn answer(&self, id: &ResourceId, rule: &ResourceId, subresource: &str) -> Value {
        json!({
            "id": id.to_string(),
            "name": id.name(),
            "type": id.type_name(),
            "properties": {
                "privateEndpoint": {"id": rule.to_string()},
                "groupIds": [subresource],
                STATE: {"status": self.status.as_str(), "description": self.description, "actionsRequired": "None"},
                "provisioningState": "Succeeded",
            },
        })
    }
}

impl Status {
    /// The wire's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Rejected => "Rejected",
            Self::Disconnected => "Disconnected",
        }
    }
}

/// The id under which a target knows the private endpoint of a rule.
pub fn connection_id(target: &ResourceId, rule: &Linked) -> Option<ResourceId> {
    let hub = rule.id.parent()?;
    let incarnation = rule.incarnation.simple().to_string();
    let name = format!("{}.{}.{}", hub.name(), rule.id.name(), incarnation.get(..8)?);
    target.child(KIND, &name).ok()
}

/// Whether a type is one of connections.
pub fn is_connection(type_name: &str) -> bool {
    type_name.rsplit('/').next().is_some_and(|kind| kind.eq_ignore_ascii_case(KIND))
}

/// What one must be allowed to do on a target to approve private endpoints of it.
pub fn approval(target: &ResourceId) -> String {
    format!("{}/{KIND}/write", target.type_name())
}

/// The identity in whose name a hub asks: the one it names, else its own, else any it has (mission.md C5, K6).
pub fn identity_of(hub: &Linked) -> Option<Principal> {
    let identity = hub.document.identity.as_ref()?;
    let primary = hub.document.properties.get("primaryUserAssignedIdentity").and_then(Value::as_str);
    let named = identity.user.iter().find(|(id, _)| primary.is_some_and(|primary| primary.eq_ignore_ascii_case(id)));
    named.map(|(_, principal)| *principal).or(identity.system).or_else(|| identity.user.values().next().copied())
}

const KIND: &str = "privateEndpointConnections";
const STATE: &str = "privateLinkServiceConnectionState";
const APPROVER: &str = "Azure AI Enterprise Network Connection Approver";

static DESCRIPTORS: [Descriptor; 7] = [
    descriptor("Microsoft.MachineLearningServices", &["workspaces", KIND]),
    descriptor("Microsoft.Storage", &["storageAccounts", KIND]),
    descriptor("Microsoft.KeyVault", &["vaults", KIND]),
    descriptor("Microsoft.ContainerRegistry", &["registries", KIND]),
    descriptor("Microsoft.CognitiveServices", &["accounts", KIND]),
    descriptor("Microsoft.Search", &["searchServices", KIND]),
    descriptor("Bastide.Network", &["externalServices", KIND]),
];

const fn descriptor(namespace: &'static str, types: &'static [&'static str]) -> Descriptor {
    Descriptor {
        namespace,
        types,
        placement: Placement::ResourceGroup,
        tracked: false,
        name: NameRule::GENERIC,
        identity: IdentitySupport::None,
        read_only: &["provisioningState"],
        patchable: None,
        put: PutStatus::OK,
        surroundings: Surroundings::NONE,
        actions: &[],
        api_versions: &["2026-11-01", "2025-06-01", "2024-01-01", "2022-09-01", "2021-09-01"],
        data_plane: DataPlane::Served,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_read_or_refused() {
        let read = |status: &str| {
            let body = json!({STATE: {"status": status, "description": "because"}});
            Standing::read(body.as_object().unwrap())
        };
        assert_eq!(read("approved").unwrap().status, Status::Approved);
        assert_eq!(read("Rejected").unwrap().why_not().as_deref(), Some("Rejected: because"));
        for word in ["", "Pending", "Maybe"] {
            assert!(read(word).is_err(), "{word}");
        }
    }
}
