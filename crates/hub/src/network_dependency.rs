//! Collections below a workspace that have no rows of their own: what it depends on in the network, and what private
//! endpoints may lead to in it.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Linked, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

use crate::workspace::API_VERSIONS;

/// `outboundNetworkDependenciesEndpoints`: hosts that the hub's own machinery needs. There are none: what Azure reaches in
/// the internet, Bastide has itself (mission.md H15).
#[derive(Debug, Default)]
pub struct NetworkDependency;

/// `privateLinkResources`: the sub resources of a workspace that a private endpoint may lead to.
#[derive(Debug, Default)]
pub struct PrivateLinkResource;

impl ResourceType for NetworkDependency {
    fn descriptor(&self) -> &Descriptor {
        &DEPENDENCY
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        Err(cannot_be_made(&admission))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }

    fn implied(&self, _parent: &Linked) -> Option<Vec<Value>> {
        Some(Vec::new())
    }
}

impl ResourceType for PrivateLinkResource {
    fn descriptor(&self) -> &Descriptor {
        &LINK
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        Err(cannot_be_made(&admission))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }

    fn implied(&self, parent: &Linked) -> Option<Vec<Value>> {
        let name = "amlworkspace";
        Some(vec![json!({
            "id": format!("{}/privateLinkResources/{name}", parent.id),
            "name": name,
            "type": LINK.type_name(),
            "properties": {
                "groupId": name,
                "requiredMembers": ["default"],
                "requiredZoneNames": ["privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"],
            },
        })])
    }
}

fn cannot_be_made(admission: &Admission<'_>) -> ArmError {
    let message = format!("'{}' is not made by clients; list the collection instead.", admission.id.type_name());
    ArmError::new(405, "MethodNotAllowed", message)
}

static DEPENDENCY: Descriptor = implied(&["workspaces", "outboundNetworkDependenciesEndpoints"]);
static LINK: Descriptor = implied(&["workspaces", "privateLinkResources"]);

const fn implied(types: &'static [&'static str]) -> Descriptor {
    Descriptor {
        namespace: "Microsoft.MachineLearningServices",
        types,
        placement: Placement::ResourceGroup,
        tracked: false,
        name: NameRule::GENERIC,
        identity: IdentitySupport::None,
        read_only: &[],
        patchable: None,
        put: PutStatus::OK,
        surroundings: Surroundings::NONE,
        actions: &[],
        api_versions: API_VERSIONS,
        data_plane: DataPlane::None,
    }
}
