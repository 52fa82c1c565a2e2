//! What a workspace does when asked by POST. The keys it shows are those of what it stands on; no notebook service stands
//! behind a workspace, and the answers have the shapes clients read.

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Acted, Action, ActionCall, Linked, Secret};
use serde_json::{Value, json};

use super::kind::Kind;
use crate::field::refused;
use crate::isolation_mode::IsolationMode;
use crate::managed_network;

/// Answers an action.
pub(super) fn act(call: &ActionCall<'_>) -> Result<Acted, ArmError> {
    let answer = match call.action {
        PROVISION => return provision(call),
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

/// Answered by whoever can ask the wall, with [`super::Diagnosis`].
pub const DIAGNOSE: &str = "diagnose";

const PROVISION: &str = "provisionManagedNetwork";

pub(super) const ACTIONS: &[Action] = &[
    Action { name: "listKeys", secret: true },
    Action { name: "resyncKeys", secret: false },
    Action { name: DIAGNOSE, secret: false },
    Action { name: "listNotebookKeys", secret: true },
    Action { name: "listNotebookAccessToken", secret: true },
    Action { name: "listStorageAccountKeys", secret: true },
    Action { name: "prepareNotebook", secret: false },
    Action { name: PROVISION, secret: false },
    Action { name: "batchOutboundRules", secret: false },
];
