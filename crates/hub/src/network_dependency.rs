//! Collections below a workspace that have no rows of their own: what it depends on in the network, and what private
//! endpoints may lead to in it.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Linked, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

use crate::external_service;
use crate::outbound_rule::subresources_of;
use crate::workspace::API_VERSIONS;

/// `outboundNetworkDependenciesEndpoints`: hosts that the hub's own machinery needs. There are none: what Azure reaches in
/// the internet, Bastide has itself (mission.md H15).
#[derive(Debug, Default)]
pub struct NetworkDependency;

/// `privateLinkResources`: the sub resources of a resource that a private endpoint may lead to (mission.md K3).
#[derive(Debug)]
pub struct PrivateLinkResource(&'static Descriptor);

impl PrivateLinkResource {
    /// Those of every target there is.
    pub fn all() -> impl Iterator<Item = Self> {
        LINKS.iter().map(Self)
    }
}

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
        self.0
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        Err(cannot_be_made(&admission))
    }

    fn answer(&self, _view: &View<'_>) -> Map<String, Value> {
        Map::new()
    }

    fn implied(&self, parent: &Linked) -> Option<Vec<Value>> {
        let own = [external_service::SUBRESOURCE];
        let words = subresources_of(&parent.id.type_name()).unwrap_or(&own);
        let resource = |word: &&str| {
            let members = if *word == "amlworkspace" { "default" } else { *word };
            let zones = ZONES.iter().find(|(known, _)| known == word).map(|(_, zones)| *zones).unwrap_or_default();
            json!({
                "id": format!("{}/privateLinkResources/{word}", parent.id),
                "name": word,
                "type": self.0.type_name(),
                "properties": {"groupId": word, "requiredMembers": [members], "requiredZoneNames": zones},
            })
        };
        Some(words.iter().map(resource).collect())
    }
}

fn cannot_be_made(admission: &Admission<'_>) -> ArmError {
    let message = format!("'{}' is not made by clients; list the collection instead.", admission.id.type_name());
    ArmError::new(405, "MethodNotAllowed", message)
}

static DEPENDENCY: Descriptor = implied(&["workspaces", "outboundNetworkDependenciesEndpoints"]);
static LINKS: [Descriptor; 7] = [
    implied(&["workspaces", LINK]),
    Descriptor { namespace: "Microsoft.Storage", ..implied(&["storageAccounts", LINK]) },
    Descriptor { namespace: "Microsoft.KeyVault", ..implied(&["vaults", LINK]) },
    Descriptor { namespace: "Microsoft.ContainerRegistry", ..implied(&["registries", LINK]) },
    Descriptor { namespace: "Microsoft.CognitiveServices", ..implied(&["accounts", LINK]) },
    Descriptor { namespace: "Microsoft.Search", ..implied(&["searchServices", LINK]) },
    Descriptor { namespace: "Bastide.Network", ..implied(&["externalServices", LINK]) },
];

const LINK: &str = "privateLinkResources";

/// The zones in which the cloud has the private names of a sub resource.
const ZONES: &[(&str, &[&str])] = &[
    ("amlworkspace", &["privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"]),
    ("blob", &["privatelink.blob.core.windows.net"]),
    ("table", &["privatelink.table.core.windows.net"]),
    ("queue", &["privatelink.queue.core.windows.net"]),
    ("file", &["privatelink.file.core.windows.net"]),
    ("web", &["privatelink.web.core.windows.net"]),
    ("dfs", &["privatelink.dfs.core.windows.net"]),
    ("vault", &["privatelink.vaultcore.azure.net"]),
    ("registry", &["privatelink.azurecr.io"]),
    ("searchService", &["privatelink.search.windows.net"]),
    (
        "account",
        &[
            "privatelink.cognitiveservices.azure.com",
            "privatelink.openai.azure.com",
            "privatelink.services.ai.azure.com",
        ],
    ),
];

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
