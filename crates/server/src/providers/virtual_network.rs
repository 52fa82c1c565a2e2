//! `Microsoft.Network/virtualNetworks` and their subnets: one list on the wire, one resource a subnet.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, Document, IdentitySupport, Linked, PartChange, Placement, PutStatus,
    ResourceType, Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::{HYPHENATED, with_defaults};

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
        let parts = match asked {
            // A body that is silent about the subnets leaves them alone.
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(subnets)) => subnet_changes(&subnets, admission.parts)?,
            Some(_) => return Err(ArmError::invalid_parameter("properties.subnets", "subnets must be a list.")),
        };
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
        Ok(Admitted { document: admission.document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        subnet_properties(view.document)
    }
}

/// A list of subnets is the whole list: what it does not name goes.
fn subnet_changes(asked: &[Value], stands: &[Linked]) -> Result<Vec<PartChange>, ArmError> {
    let mut changes = Vec::new();
    for (index, subnet) in asked.iter().enumerate() {
        let name = subnet.get("name").and_then(Value::as_str).filter(|name| (HYPHENATED_OR_DOTTED)(name));
        let Some(name) = name else {
            let target = format!("properties.subnets[{index}].name");
            return Err(ArmError::invalid_parameter(
                &target,
                "A subnet needs a name of letters, digits, dots, hyphens or underscores.",
            ));
        };
        let mut properties = subnet.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        properties.retain(|name, _| !SUBNET.read_only.contains(&name.as_str()));
        let document = Box::new(Document { properties, ..Document::default() });
        changes.push(PartChange::Put { kind: "subnets", name: name.to_owned(), document });
    }
    let is_asked = |name: &str| {
        asked.iter().any(|subnet| {
            subnet.get("name").and_then(Value::as_str).is_some_and(|asked| asked.eq_ignore_ascii_case(name))
        })
    };
    let gone = stands.iter().map(|subnet| subnet.id.name()).filter(|name| !is_asked(name));
    changes.extend(gone.map(|name| PartChange::Delete { kind: "subnets", name: name.to_owned() }));
    Ok(changes)
}

fn subnet_properties(document: &Document) -> Map<String, Value> {
    let mut properties = document.properties.clone();
    with_defaults(
        &mut properties,
        json!({
            "delegations": [],
            "serviceEndpoints": [],
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Enabled",
        }),
    );
    properties.insert("provisioningState".into(), "Succeeded".into());
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
    read_only: &["provisioningState", "resourceGuid"],
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
