//! What a workspace does when asked by POST. The keys it shows are those of what it stands on; no notebook service stands
//! behind a workspace, and the answers have the shapes clients read.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Acted, Action, ActionCall, Linked, Secret};
use serde_json::{Map, Value, json};

use super::associated::{ASSOCIATED, Associated};
use super::kind::Kind;
use super::required_rule;
use crate::field::refused;
use crate::isolation_mode::IsolationMode;
use crate::managed_network;

/// Answers an action.
pub(super) fn act(call: &ActionCall<'_>) -> Result<Acted, ArmError> {
    let answer = match call.action {
        PROVISION => return provision(call),
        "diagnose" => Some(diagnose(call)),
        "listKeys" => Some(list_keys(call)),
        "listStorageAccountKeys" => Some(storage_key(call).map_or(json!({}), |key| json!({"userStorageKey": key}))),
        "listNotebookKeys" => Some(json!({})),
        "listNotebookAccessToken" => Some(json!({"notebookResourceId": call.id.to_string()})),
        "prepareNotebook" => Some(json!({
            "resourceId": call.id.to_string(),
            "notebookPreparationError": {"errorMessage": "Bastide has no notebook service.", "statusCode": 501},
        })),
        // resyncKeys: keys are read where they are needed, so they are never out of step.
        _ => None,
    };
    Ok(Acted { answer, ..Acted::default() })
}

/// The network is asked to come into being; what the kernel then holds makes it active.
fn provision(call: &ActionCall<'_>) -> Result<Acted, ArmError> {
    let document = call.existing.document;
    if Kind::of(document) == Kind::Project {
        let message = "A project has its hub's network. Provision the network of the hub.";
        return Err(refused("properties.managedNetwork", message));
    }
    let answer = managed_network::provisioned(IsolationMode::of(&document.properties), call.observed);
    Ok(Acted { answer: Some(answer), document: managed_network::provision(document), ..Acted::default() })
}

fn diagnose(call: &ActionCall<'_>) -> Value {
    let mut results: Map<String, Value> = AREAS.iter().map(|area| (format!("{area}Results"), json!([]))).collect();
    let mode = IsolationMode::of(&call.existing.document.properties);
    let why_not = managed_network::why_not(call.observed);
    if let (Some(reason), true) = (why_not, mode != IsolationMode::Disabled) {
        let finding = json!({"code": "ManagedNetworkInactive", "level": "Warning", "message": reason});
        results.insert("otherResults".into(), json!([finding]));
    }
    for Associated { property, .. } in ASSOCIATED {
        let Some(id) = call.existing.document.properties.get(*property).and_then(Value::as_str) else { continue };
        if !call.linked.contains_key(&id.to_ascii_lowercase()) {
            let message = format!("{property} names '{id}', which does not exist any more.");
            let finding = json!({"code": "AssociatedResourceMissing", "level": "Error", "message": message});
            results.insert(format!("{property}Results"), json!([finding]));
        } else if mode == IsolationMode::Disabled && is_private(call, property) {
            let message = format!(
                "{property} '{id}' is closed to the public, and the hub has no isolated network with a private endpoint \
                 to it. Set managedNetwork.isolationMode, or open the resource."
            );
            let finding = json!({"code": "AssociatedResourceNotReachable", "level": "Warning", "message": message});
            results.insert(format!("{property}Results"), json!([finding]));
        }
    }
    json!({"value": results})
}

fn is_private(call: &ActionCall<'_>, property: &str) -> bool {
    let id = call.existing.document.properties.get(property).and_then(Value::as_str).unwrap_or_default();
    let there = call.linked.get(&id.to_ascii_lowercase());
    there.is_some_and(|there| required_rule::is_private(&there.document.properties))
}

/// The keys of what the workspace stands on. Versions differ in the name of the account's id (arm-models.md section 7).
fn list_keys(call: &ActionCall<'_>) -> Value {
    let storage = call.existing.document.properties.get("storageAccount").cloned().unwrap_or_default();
    let mut keys = json!({"userStorageResourceId": storage, "userStorageArmId": storage, "notebookAccessKeys": {}});
    let insights = associated(call, "applicationInsights");
    let more = [
        ("userStorageKey", storage_key(call).map(Value::from)),
        (
            "appInsightsInstrumentationKey",
            insights.and_then(|(there, _)| there.document.properties.get("InstrumentationKey").cloned()),
        ),
        ("containerRegistryCredentials", registry_credentials(call)),
    ];
    if let Some(fields) = keys.as_object_mut() {
        fields.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    keys
}

/// The key of the default storage account, unless its data is reached by identity alone (mission.md B10).
fn storage_key(call: &ActionCall<'_>) -> Option<String> {
    let mode = call.existing.document.properties.get("systemDatastoresAuthMode").and_then(Value::as_str);
    let (_, secrets) = associated(call, "storageAccount").filter(|_| mode != Some("Identity"))?;
    secrets.get("key1").map(|key| key.reveal().to_owned())
}

/// The registry's admin user, where it has one.
fn registry_credentials(call: &ActionCall<'_>) -> Option<Value> {
    let (registry, secrets) = associated(call, "containerRegistry")?;
    let has_admin = registry.document.properties.get("adminUserEnabled") == Some(&Value::Bool(true));
    let passwords: Vec<Value> =
        secrets.iter().map(|(name, secret)| json!({"name": name, "value": secret.reveal()})).collect();
    has_admin.then(
        || json!({"location": registry.document.location, "username": registry.id.name(), "passwords": passwords}),
    )
}

/// A resource the workspace stands on, with its secrets.
fn associated<'a>(call: &'a ActionCall<'_>, property: &str) -> Option<(&'a Linked, &'a BTreeMap<String, Secret>)> {
    let key = call.existing.document.properties.get(property)?.as_str()?.to_ascii_lowercase();
    Some((call.linked.get(&key)?, call.linked_secrets.get(&key)?))
}

const PROVISION: &str = "provisionManagedNetwork";

const AREAS: &[&str] = &[
    "userDefinedRoute",
    "networkSecurityRule",
    "resourceLock",
    "dnsResolution",
    "storageAccount",
    "keyVault",
    "containerRegistry",
    "applicationInsights",
    "other",
];

pub(super) const ACTIONS: &[Action] = &[
    Action { name: "listKeys", secret: true },
    Action { name: "resyncKeys", secret: false },
    Action { name: "diagnose", secret: false },
    Action { name: "listNotebookKeys", secret: true },
    Action { name: "listNotebookAccessToken", secret: true },
    Action { name: "listStorageAccountKeys", secret: true },
    Action { name: "prepareNotebook", secret: false },
    Action { name: PROVISION, secret: false },
    Action { name: "batchOutboundRules", secret: false },
];
