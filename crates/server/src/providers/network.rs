//! The types of `Microsoft.Network` that templates declare around a hub and that have no rules of their own here: they are
//! stored, returned with their ids, and answer that nothing runs behind them.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Linked, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

/// A stored type of the network provider.
#[derive(Debug)]
pub struct NetworkResource(&'static Descriptor);

/// All of them.
pub fn all() -> impl Iterator<Item = NetworkResource> {
    DESCRIPTORS.iter().chain([&SECURITY_GROUP]).map(NetworkResource)
}

impl ResourceType for NetworkResource {
    fn descriptor(&self) -> &Descriptor {
        self.0
    }

    fn admit(&self, admission: Admission<'_>) -> Result<Admitted, ArmError> {
        Ok(Admitted { document: admission.document, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        for list in ["privateLinkServiceConnections", "manualPrivateLinkServiceConnections"] {
            for connection in properties.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                // Nothing carries a private endpoint's traffic yet, so none is approved.
                let state =
                    json!({"status": "Pending", "description": "No service behind it yet.", "actionsRequired": "None"});
                if let Some(fields) = connection.get_mut("properties").and_then(Value::as_object_mut) {
                    fields.insert("privateLinkServiceConnectionState".into(), state);
                    fields.insert("provisioningState".into(), "Succeeded".into());
                }
            }
        }
        if self.0.types == SECURITY_GROUP.types {
            show_rules(&mut properties, view.parts);
        }
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

/// The rules of a group, those in its body and those that were made one by one. Clients read both lists unasked.
fn show_rules(properties: &mut Map<String, Value>, parts: &[Linked]) {
    let made = parts.iter().map(|part| {
        let mut rule = part.document.properties.clone();
        rule.insert("provisioningState".into(), "Succeeded".into());
        json!({"id": part.id.to_string(), "name": part.id.name(), "type": part.id.type_name(), "properties": rule})
    });
    let made: Vec<Value> = made.collect();
    for list in ["securityRules", "defaultSecurityRules"] {
        let rules = properties.entry(list).or_insert_with(|| json!([]));
        if let (Some(rules), "securityRules") = (rules.as_array_mut(), list) {
            rules.extend(made.iter().cloned());
        }
    }
}

/// api-versions named in provider listings for the whole namespace.
pub(super) const API_VERSIONS: &[&str] =
    &["2026-01-01", "2025-07-01", "2024-10-01", "2024-07-01", "2022-01-01", "2020-06-01", "2019-09-01"];

/// Private DNS has versions of its own.
const DNS_API_VERSIONS: &[&str] = &["2024-06-01", "2020-06-01", "2018-09-01"];

const fn descriptor(
    types: &'static [&'static str],
    tracked: bool,
    api_versions: &'static [&'static str],
) -> Descriptor {
    Descriptor {
        namespace: "Microsoft.Network",
        types,
        placement: Placement::ResourceGroup,
        tracked,
        name: NameRule::GENERIC,
        identity: IdentitySupport::Optional,
        read_only: &["provisioningState", "resourceGuid", "networkInterfaces"],
        patchable: None,
        put: PutStatus::CREATED,
        surroundings: Surroundings::NONE,
        actions: &[],
        api_versions,
        data_plane: DataPlane::None,
    }
}

static SECURITY_GROUP: Descriptor = Descriptor {
    surroundings: Surroundings { parts: &["securityRules"], ..Surroundings::NONE },
    ..descriptor(&["networkSecurityGroups"], true, API_VERSIONS)
};

static DESCRIPTORS: [Descriptor; 12] = [
    descriptor(&["privateEndpoints"], true, API_VERSIONS),
    descriptor(&["privateEndpoints", "privateDnsZoneGroups"], false, API_VERSIONS),
    descriptor(&["privateDnsZones"], true, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "virtualNetworkLinks"], true, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "A"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "AAAA"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "CNAME"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "TXT"], false, DNS_API_VERSIONS),
    descriptor(&["networkSecurityGroups", "securityRules"], false, API_VERSIONS),
    descriptor(&["publicIPAddresses"], true, API_VERSIONS),
    descriptor(&["networkInterfaces"], true, API_VERSIONS),
    descriptor(&["natGateways"], true, API_VERSIONS),
];
