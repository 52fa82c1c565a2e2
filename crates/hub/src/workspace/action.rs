//! What a workspace does when asked by POST. None of it shows a secret: no notebook service and no storage keys stand
//! behind a workspace yet, and the answers have the shapes clients read.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Acted, Action, ActionCall};
use serde_json::{Map, Value, json};

use super::associated::{ASSOCIATED, Associated};
use super::kind::Kind;
use crate::field::refused;
use crate::isolation_mode::IsolationMode;
use crate::managed_network;

/// Answers an action.
pub(super) fn act(call: &ActionCall<'_>) -> Result<Acted, ArmError> {
    let answer = match call.action {
        PROVISION => return provision(call),
        "diagnose" => Some(diagnose(call)),
        "listKeys" => Some(list_keys(call)),
        "listStorageAccountKeys" | "listNotebookKeys" => Some(json!({})),
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
        }
    }
    json!({"value": results})
}

/// The ids that the keys would belong to; versions differ in the name (arm-models.md section 7).
fn list_keys(call: &ActionCall<'_>) -> Value {
    let storage = call.existing.document.properties.get("storageAccount").cloned().unwrap_or_default();
    json!({"userStorageResourceId": storage, "userStorageArmId": storage, "notebookAccessKeys": {}})
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
];
