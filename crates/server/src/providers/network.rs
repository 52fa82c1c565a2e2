//! The types of `Microsoft.Network` that templates declare around a hub and that have no rules of their own here: they are
//! stored, returned with their ids, and answer that nothing runs behind them.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{
    Admission, Admitted, DataPlane, Descriptor, IdentitySupport, Linked, NameRule, Placement, PutStatus, ResourceType,
    Surroundings, View,
};
use serde_json::{Map, Value, json};

use super::stored::listed_parts;

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
        let mut document = admission.document;
        for connection in connections(&mut document.properties) {
            connection.retain(|name, _| name != STATE && name != "provisioningState");
        }
        let parts = match self.0.types == SECURITY_GROUP.types {
            true => {
                document.properties.remove("defaultSecurityRules");
                let asked = document.properties.remove(RULES);
                listed_parts(asked, admission.parts, RULES, &SECURITY_GROUP.name, |mut properties| {
                    properties.remove("provisioningState");
                    properties
                })?
            }
            false => Vec::new(),
        };
        Ok(Admitted { document, parts, ..Admitted::default() })
    }

    fn answer(&self, view: &View<'_>) -> Map<String, Value> {
        let mut properties = view.document.properties.clone();
        for connection in connections(&mut properties) {
            // Nothing carries a private endpoint's traffic yet, so none is approved.
            let state =
                json!({"status": "Pending", "description": "No service behind it yet.", "actionsRequired": "None"});
            connection.insert(STATE.into(), state);
            connection.insert("provisioningState".into(), "Succeeded".into());
        }
        if self.0.types == SECURITY_GROUP.types {
            show_rules(&mut properties, view.parts);
        }
        properties.insert("provisioningState".into(), "Succeeded".into());
        properties
    }
}

/// The connections that a private endpoint asks for, whoever is to approve them.
fn connections(properties: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let lists = properties.iter_mut().filter(|(name, _)| CONNECTIONS.contains(&name.as_str()));
    let listed = lists.filter_map(|(_, list)| list.as_array_mut()).flatten();
    listed.filter_map(|connection| connection.get_mut("properties")?.as_object_mut())
}

/// The rules of a group, however they were made: they are one list on the group and resources of their own. Clients read
/// that of the default rules unasked.
fn show_rules(properties: &mut Map<String, Value>, parts: &[Linked]) {
    let made = parts.iter().map(|part| {
        let mut rule = part.document.properties.clone();
        rule.insert("provisioningState".into(), "Succeeded".into());
        json!({"id": part.id.to_string(), "name": part.id.name(), "type": part.id.type_name(), "properties": rule})
    });
    let rules = properties.entry(RULES).or_insert_with(|| json!([]));
    if let Some(rules) = rules.as_array_mut() {
        rules.extend(made);
    }
    properties.insert("defaultSecurityRules".into(), json!([]));
}

const CONNECTIONS: [&str; 2] = ["privateLinkServiceConnections", "manualPrivateLinkServiceConnections"];

/// What is answered of a connection, and never taken from a body.
const STATE: &str = "privateLinkServiceConnectionState";

/// Rules of a security group: a list in its body, and the child type.
const RULES: &str = "securityRules";

/// api-versions named in provider listings for the whole namespace.
pub(super) const API_VERSIONS: &[&str] =
    &["2026-01-01", "2025-07-01", "2024-10-01", "2024-07-01", "2022-01-01", "2020-06-01", "2019-09-01"];

/// Private DNS has versions of its own.
pub(super) const DNS_API_VERSIONS: &[&str] = &["2024-06-01", "2020-06-01", "2018-09-01"];

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
    surroundings: Surroundings { parts: &[RULES], ..Surroundings::NONE },
    ..descriptor(&["networkSecurityGroups"], true, API_VERSIONS)
};

static DESCRIPTORS: [Descriptor; 14] = [
    descriptor(&["privateEndpoints"], true, API_VERSIONS),
    descriptor(&["privateEndpoints", "privateDnsZoneGroups"], false, API_VERSIONS),
    descriptor(&["privateDnsZones", "virtualNetworkLinks"], true, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "A"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "AAAA"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "CNAME"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "TXT"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "MX"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "PTR"], false, DNS_API_VERSIONS),
    descriptor(&["privateDnsZones", "SRV"], false, DNS_API_VERSIONS),
    descriptor(&["networkSecurityGroups", RULES], false, API_VERSIONS),
    descriptor(&["publicIPAddresses"], true, API_VERSIONS),
    descriptor(&["networkInterfaces"], true, API_VERSIONS),
    descriptor(&["natGateways"], true, API_VERSIONS),
];
