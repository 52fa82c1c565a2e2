//! The templates that the Python SDK posts, taken from a folder named by `BASTIDE_SDK_TEMPLATES`
//! (`azure/ai/ml/_arm_deployments/arm_templates` of the pinned wheel).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use std::path::PathBuf;

use bastide_template::{Limits, NodeKind, Template, relaxed};
use serde_json::{Value, json};
use support::{body, node, order, plan_with};

fn sdk(name: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("BASTIDE_SDK_TEMPLATES").map(PathBuf::from) else {
        println!("skipped: BASTIDE_SDK_TEMPLATES does not name the folder of the SDK's templates");
        return None;
    };
    let text = std::fs::read(folder.join(name)).expect("the template is in the folder");
    Some(relaxed::parse(&text, &Limits::default()).expect("the template is JSON"))
}

/// What the SDK sends for a hub with defaults, as far as it matters.
fn hub_parameters() -> Value {
    let mut parameters = json!({
        "workspaceName": "hub", "friendlyName": "Hub", "description": "d", "location": "westeurope", "kind": "hub",
        "resourceGroupName": "rg", "tagValues": {"createdByToolkit": "sdk"}, "applicationInsightsOption": "none",
        "containerRegistryOption": "none", "publicNetworkAccess": "Enabled", "endpoint_resource_id": "null",
        "managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}, "storageAccountName": "sahub", "keyVaultName": "kvhub",
        "identity": {"type": "systemAssigned"}, "primaryUserAssignedIdentity": "", "imageBuildCompute": "",
    });
    let with_values: serde_json::Map<_, _> = parameters
        .as_object_mut()
        .into_iter()
        .flat_map(std::mem::take)
        .map(|(name, value)| (name, json!({ "value": value })))
        .collect();
    // A null stands for the default.
    let mut all = Value::Object(with_values);
    for name in ["vnetOption", "subnetOption", "privateEndpointType", "associatedResourcePNA"] {
        all[name] = json!({ "value": null });
    }
    all
}

#[test]
fn a_hub_makes_a_store_a_vault_and_the_workspace() {
    let Some(template) = sdk("workspace_base.json") else { return };
    let plan = plan_with(template, hub_parameters()).expect("the template can be planned");
    let mut names = order(&plan);
    assert_eq!(names.pop(), Some("hub"), "the workspace comes last");
    names.sort_unstable();
    assert_eq!(names, ["kvhub", "sahub"]);
    let hub = body(node(&plan, "hub"));
    assert_eq!(hub["identity"], json!({"type": "systemAssigned"}));
    assert_eq!(hub["kind"], "hub");
    assert_eq!(
        hub["properties"]["keyVault"],
        "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kvhub"
    );
    assert!(hub["properties"].get("containerRegistry").is_none(), "nulls are not sent");
    assert_eq!(hub["properties"]["hbiWorkspace"], "false", "booleans arrive as strings");
    no_expressions(&hub);
}

#[test]
fn a_project_is_one_workspace_in_spite_of_the_name_of_an_enum() {
    let Some(template) = sdk("workspace_project.json") else { return };
    let mut parameters = hub_parameters();
    let declared = template["parameters"].as_object().expect("parameters").clone();
    let given = parameters.as_object_mut().expect("an object");
    given.retain(|name, _| declared.contains_key(name));
    given.insert("workspace_hub".to_owned(), json!({"value": "/subscriptions/s/x"}));
    given.insert("kind".to_owned(), json!({"value": "project"}));
    for name in ["publicNetworkAccess", "associatedResourcePNA"] {
        given.insert(name.to_owned(), json!({"value": "PublicNetworkAccessType.ENABLED"}));
    }
    given.retain(|name, _| declared.contains_key(name));
    let plan = plan_with(template, parameters).expect("the template can be planned");
    assert_eq!(plan.nodes().len(), 1);
    let project = body(&plan.nodes()[0]);
    assert_eq!(project["properties"]["publicNetworkAccess"], "Enabled");
    no_expressions(&project);
}

#[test]
fn a_feature_store_nests_deployments() {
    let Some(template) = sdk("workspace_base.json") else { return };
    let mut parameters = hub_parameters();
    for (name, value) in [
        ("kind", "featurestore"),
        ("materializationIdentityOption", "new"),
        ("materialization_identity_name", "fsid"),
        ("materialization_identity_resource_group_name", "rg"),
        ("offlineStoreStorageAccountOption", "new"),
        ("offline_store_storage_account_name", "offline"),
        ("offline_store_container_name", "box"),
        ("offline_store_connection_name", "conn"),
        ("grant_materialization_permissions", "true"),
    ] {
        parameters[name] = json!({ "value": value });
    }
    let plan = plan_with(template, parameters).expect("the template can be planned");
    let nested: Vec<_> = plan.nodes().iter().filter(|node| node.kind == NodeKind::Deployment).collect();
    assert!(nested.len() >= 3, "{nested:?}");
    for deployment in nested {
        let inner = deployment.nested().expect("nothing in its shape waits for live state");
        assert_eq!(inner.nodes().len(), 1);
    }
}

#[test]
fn every_template_of_the_sdk_reads() {
    for name in
        ["workspace_base.json", "workspace_project.json", "feature_store_role_assignments.json", "base_template.json"]
    {
        let Some(template) = sdk(name) else { return };
        Template::read(template, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn no_expressions(value: &Value) {
    match value {
        Value::String(text) => assert!(!(text.starts_with('[') && text.ends_with(']')), "{text}"),
        Value::Array(items) => items.iter().for_each(no_expressions),
        Value::Object(members) => members.values().for_each(no_expressions),
        _ => {}
    }
}
