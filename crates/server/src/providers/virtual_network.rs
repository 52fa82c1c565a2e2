//! `Microsoft.Network/virtualNetworks` and their subnets: one list on the wire, one resource a subnet.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{HYPHENATED, listed_parts, with_defaults};

/// The virtual network type.
#[derive(Debug)]
pub struct VirtualNetwork;

/// The subnet type.
#[derive(Debug)]
pub struct Subnet;

impl ResourceType for VirtualNetwork {
    fn descriptor(&self) -> &Descriptor {
        &NETWORK
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        let asked = document.properties.remove("subnets");
        with_defaults(
            &mut document.properties,
            json!({"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "enableDdosProtection": false}),
        );
        let parts = listed_parts(asked, admission.parts, "subnets", &SUBNET.name, |mut properties| {
            properties.retain(|name, _| !SUBNET.read_only.contains(&name.as_str()));
            with_subnet_defaults(properties)
        })?;
        Ok(Admitted { document, parts, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        let subnets = view.parts.iter().map(|subnet| {
            json!({
                "id": subnet.id.to_string(),
                "name": subnet.id.name(),
                "type": "Microsoft.Network/virtualNetworks/subnets",
                "properties": subnet_properties(&subnet.document),
            })
        });
        properties.insert("subnets".into(), subnets.collect());
        properties.insert("virtualNetworkPeerings".into(), json!([]));
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

impl ResourceType for Subnet {
    fn descriptor(&self) -> &Descriptor {
        &SUBNET
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        let mut document = admission.document;
        document.properties = with_subnet_defaults(document.properties);
        Ok(Admitted { document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        subnet_properties(view.document)
    }
}

fn subnet_properties(document: &Document) -> Map<String, Value> {
    let mut properties = with_subnet_defaults(document.properties.clone());
    properties.insert("provisioningState".into(), "Succeeded".into());
    properties
}

fn with_subnet_defaults(mut properties: Map<String, Value>) -> Map<String, Value> {
    with_defaults(
        &mut properties,
        json!({
            "delegations": [],
            "serviceEndpoints": [],
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Enabled",
        }),
    );
    properties
}

const HYPHENATED_OR_DOTTED: fn(&str) -> bool = |name| {
    (1..=80).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
};

static NETWORK: Descriptor = Descriptor {
    namespace: "Microsoft.Network",
    types: &["virtualNetworks"],
    placement: Placement::ResourceGroup,
    tracked: true,
    name: HYPHENATED,
    identity: IdentitySupport::None,
    read_only: &["provisioningState", "resourceGuid", "virtualNetworkPeerings"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings { parts: &["subnets"], ..Surroundings::NONE },
    actions: &[],
    api_versions: super::network::API_VERSIONS,
    data_plane: DataPlane::None,
};

static SUBNET: Descriptor = Descriptor {
    namespace: "Microsoft.Network",
    types: &["virtualNetworks", "subnets"],
    placement: Placement::ResourceGroup,
    tracked: false,
    name: bastide_arm::resource_type::NameRule {
        accepts: HYPHENATED_OR_DOTTED,
        explanation: "1 to 80 letters, digits, dots, hyphens or underscores",
    },
    identity: IdentitySupport::None,
    read_only: &["provisioningState", "ipConfigurations", "privateEndpoints", "purpose"],
    patchable: None,
    put: PutStatus::CREATED,
    surroundings: Surroundings::NONE,
    actions: &[],
    api_versions: super::network::API_VERSIONS,
    data_plane: DataPlane::None,
};
