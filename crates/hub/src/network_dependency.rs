//! Collections below a workspace that have no rows of their own: what it depends on in the network, and what private
//! endpoints may lead to in it.

use bastide_arm::resource_type::Linked;
use serde_json::{Value, json};

use crate::external_service;
use crate::listing::Listing;
use crate::outbound_rule::subresources_of;
use crate::workspace::API_VERSIONS;

/// `outboundNetworkDependenciesEndpoints`: hosts that the hub's own machinery needs. There are none: what Azure reaches in
/// the internet, Bastide has itself (mission.md H15).
pub const NETWORK_DEPENDENCIES: Listing =
    Listing::new(WORKSPACES, &["workspaces", "outboundNetworkDependenciesEndpoints"], API_VERSIONS, |_| Vec::new());

/// `privateLinkResources` of every target there is: the sub resources that a private endpoint may lead to (mission.md K3).
pub fn private_link_resources() -> [Listing; 7] {
    let of = |namespace, types| Listing::new(namespace, types, API_VERSIONS, links);
    [
        of(WORKSPACES, &["workspaces", LINK]),
        of("Microsoft.Storage", &["storageAccounts", LINK]),
        of("Microsoft.KeyVault", &["vaults", LINK]),
        of("Microsoft.ContainerRegistry", &["registries", LINK]),
        of("Microsoft.CognitiveServices", &["accounts", LINK]),
        of("Microsoft.Search", &["searchServices", LINK]),
        of("Bastide.Network", &["externalServices", LINK]),
    ]
}

fn links(parent: &Linked) -> Vec<Value> {
    let own = [external_service::SUBRESOURCE];
    let type_name = parent.id.type_name();
    let resource = |word: &&str| {
        let members = if *word == "amlworkspace" { "default" } else { *word };
        let zones = ZONES.iter().find(|(known, _)| known == word).map(|(_, zones)| *zones).unwrap_or_default();
        json!({
            "id": format!("{}/{LINK}/{word}", parent.id),
            "name": word,
            "type": format!("{type_name}/{LINK}"),
            "properties": {"groupId": word, "requiredMembers": [members], "requiredZoneNames": zones},
        })
    };
    subresources_of(&type_name).unwrap_or(&own).iter().map(resource).collect()
}

const WORKSPACES: &str = "Microsoft.MachineLearningServices";

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
