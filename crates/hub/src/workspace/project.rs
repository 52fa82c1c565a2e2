//! A project has what its hub has: storage, vault, registry, insights, network, encryption (mission.md F19, M3).

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Document, Linked, Observed};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use crate::field::{self, is_same, refused};
use crate::isolation_mode::IsolationMode;
use crate::managed_network;

/// The hub of a project, checked to be one.
pub(super) fn hub<'a>(
    document: &Document,
    linked: &'a std::collections::BTreeMap<String, Linked>,
) -> Result<Option<&'a Linked>, ArmError> {
    let target = "properties.hubResourceId";
    let named = field::text(&document.properties, "hubResourceId", "properties")?;
    match (Kind::of(document), named) {
        (Kind::Project, Some(named)) => {
            let hub = linked.get(&named.to_ascii_lowercase()).filter(|hub| Kind::of(&hub.document) == Kind::Hub);
            let message = "hubResourceId must name a workspace of kind Hub. Give the resource id of the project's hub.";
            hub.map(Some).ok_or_else(|| refused(target, message))
        }
        (Kind::Project, None) => {
            Err(refused(target, "A project needs properties.hubResourceId, the resource id of its hub."))
        }
        (_, Some(_)) => {
            let message =
                "Only a workspace of kind Project has a hub. Leave hubResourceId out, or set kind to Project.";
            Err(refused(target, message))
        }
        (_, None) => Ok(None),
    }
}

/// Drops what a body repeats of the hub, and refuses what would differ from it.
pub(super) fn admit(
    properties: &mut Map<String, Value>,
    hub: &Linked,
    now: Timestamp,
) -> Result<Vec<String>, ArmError> {
    let hub_name = hub.id.name();
    let hub = &hub.document.properties;
    for name in ["storageAccount", "keyVault", "applicationInsights", "containerRegistry"] {
        let Some(asked) = properties.remove(name) else { continue };
        if !hub.get(name).is_some_and(|stands| is_same(stands, &asked)) {
            let message = format!("A project has the {name} of its hub '{hub_name}'. Leave {name} out.");
            return Err(refused(&format!("properties.{name}"), message));
        }
    }
    if let Some(Value::Object(network)) = properties.remove("managedNetwork") {
        check_network(&network, hub, hub_name, now)?;
    }
    if let Some(Value::Object(encryption)) = properties.remove("encryption") {
        let stands = hub.get("encryption").and_then(Value::as_object);
        let asks = field::choice(&encryption, "status", "properties.encryption", &["Enabled", "Disabled"])?;
        let key = |encryption: &Map<String, Value>| encryption.get("keyVaultProperties").cloned();
        if asks == Some("Enabled") && stands.and_then(key) != key(&encryption) {
            let message = format!("A project is encrypted like its hub '{hub_name}'. Leave encryption out.");
            return Err(refused("properties.encryption", message));
        }
    }
    let mut warnings = Vec::new();
    for name in ["publicNetworkAccess", "systemDatastoresAuthMode"] {
        if let Some(asked) = properties.remove(name)
            && hub.get(name) != Some(&asked)
        {
            warnings.push(format!("A project has the {name} of its hub '{hub_name}'; {asked} was passed over."));
        }
    }
    Ok(warnings)
}

/// What a project shows of its hub.
pub(super) fn inherit(
    properties: &mut Map<String, Value>,
    hub: &Document,
    observed: Option<&Observed>,
    now: Timestamp,
) {
    for name in INHERITED {
        if let Some(value) = hub.properties.get(*name) {
            properties.insert((*name).to_owned(), value.clone());
        }
    }
    let network = hub.properties.get("managedNetwork").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut answer = managed_network::answer(&network, &[], observed, now);
    if let Some(fields) = answer.as_object_mut() {
        // The rules are the hub's and shown there; the mode is changed there, too.
        fields.remove("outboundRules");
        fields.insert("changeableIsolationModes".into(), json!([]));
    }
    properties.insert("managedNetwork".into(), answer);
}

/// A project's body may repeat the network of its hub, as clients do that send back what they have read.
fn check_network(
    asked: &Map<String, Value>,
    hub: &Map<String, Value>,
    hub_name: &str,
    now: Timestamp,
) -> Result<(), ArmError> {
    let at = "properties.managedNetwork";
    let mode = IsolationMode::in_force(hub, now);
    let asked_mode = IsolationMode::read(asked, at)?;
    let has_rules = field::object(asked, "outboundRules", at)?.is_some_and(|rules| !rules.is_empty());
    if has_rules || asked_mode.is_some_and(|asked| asked != mode) {
        let message = format!(
            "A project has no network of its own: isolation mode {} and the outbound rules are those of its hub \
             '{hub_name}'. Change them there, and leave managedNetwork out here.",
            mode.as_str()
        );
        return Err(refused(at, message));
    }
    Ok(())
}

const INHERITED: &[&str] = &[
    "storageAccount",
    "keyVault",
    "applicationInsights",
    "containerRegistry",
    "encryption",
    "publicNetworkAccess",
    "systemDatastoresAuthMode",
];
