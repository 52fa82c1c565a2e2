//! A group as a template: `az group export`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House, Options};

impl House {
    async fn export(&self, group: &str, body: Value) -> Answer {
        let answer = self.call(Method::POST, &format!("{}/exportTemplate", self.group(group)), Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer
    }

    /// Deploys to a group and waits for the end.
    async fn deploy(&self, group: &str, template: &Value, parameters: Value) {
        let path = format!("{}/providers/Microsoft.Resources/deployments/again", self.group(group));
        let properties = json!({"mode": "Incremental", "template": template, "parameters": parameters});
        let mut answer = self.put(&path, json!({"properties": properties})).await;
        while matches!(answer.body["properties"]["provisioningState"].as_str(), Some("Running" | "Accepted")) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            answer = self.get(&path).await;
        }
        assert_eq!(answer.body["properties"]["provisioningState"], "Succeeded", "{:#}", answer.body);
    }
}

fn storage(house: &House, group: &str, name: &str) -> String {
    format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", house.group(group))
}

fn resource<'a>(template: &'a Value, kind: &str) -> &'a Value {
    let resources = template["resources"].as_array().unwrap();
    resources.iter().find(|resource| resource["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {template:#}"))
}

/// A group with an identity, a storage account and a hub that uses both.
async fn house() -> House {
    let house = House::found().await;
    house.make_group("rg").await;
    let answer = house.put(&house.identity_id("rg", "who"), json!({"location": "westeurope"})).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let account = json!({"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}});
    let answer = house.put(&storage(&house, "rg", "accountone"), account).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let hub = json!({
        "location": "westeurope",
        "kind": "hub",
        "tags": {"note": "[not an expression]"},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {house.identity_id("rg", "who"): {}}},
        "properties": {
            "storageAccount": storage(&house, "rg", "accountone"),
            "primaryUserAssignedIdentity": house.identity_id("rg", "who"),
        },
    });
    let answer = house.put(&house.hub("rg", "hub"), hub).await;
    assert!(answer.status.is_success(), "{answer:?}");
    house
}

#[tokio::test]
async fn what_is_exported_can_be_deployed_to_another_group() {
    let house = house().await;
    let exported = house.export("rg", json!({"resources": ["*"]})).await.body;
    assert_eq!(exported.get("error"), None, "{exported:#}");
    let template = &exported["template"];
    let parameters: Vec<&String> = template["parameters"].as_object().unwrap().keys().collect();
    let names = ["storageAccounts_accountone_name", "userAssignedIdentities_who_name", "workspaces_hub_name"];
    assert!(names.iter().all(|name| parameters.iter().any(|parameter| parameter == name)), "{parameters:?}");
    let hub = resource(template, "Microsoft.MachineLearningServices/workspaces");
    let account = "[resourceId('Microsoft.Storage/storageAccounts', parameters('storageAccounts_accountone_name'))]";
    assert_eq!(hub["properties"]["storageAccount"], account);
    assert!(hub["dependsOn"].as_array().unwrap().contains(&json!(account)), "{hub:#}");

    house.make_group("copy").await;
    let values = json!({
        "storageAccounts_accountone_name": {"value": "accounttwo"},
        "userAssignedIdentities_who_name": {"value": "other"},
        "workspaces_hub_name": {"value": "hub2"},
    });
    house.deploy("copy", template, values).await;
    let copy = house.get(&house.hub("copy", "hub2")).await.body;
    assert_eq!(copy["properties"]["storageAccount"], storage(&house, "copy", "accounttwo"));
    assert_eq!(copy["tags"]["note"], "[not an expression]");
    let original = house.get(&house.hub("rg", "hub")).await.body;
    assert_ne!(copy["identity"], original["identity"], "it has an identity of its own");
    assert_eq!(copy["kind"], original["kind"]);
}

#[tokio::test]
async fn options_say_how_names_are_written() {
    let house = house().await;
    let body = json!({"resources": ["*"], "options": "SkipAllParameterization,IncludeComments"});
    let template = house.export("rg", body).await.body["template"].clone();
    assert_eq!(template["parameters"], json!({}));
    let account = resource(&template, "Microsoft.Storage/storageAccounts");
    assert_eq!(account["name"], "accountone");
    assert!(account["comments"].as_str().unwrap().contains("accountone"), "{account:#}");
    let body = json!({"resources": ["*"], "options": "IncludeParameterDefaultValue"});
    let template = house.export("rg", body).await.body["template"].clone();
    assert_eq!(template["parameters"]["workspaces_hub_name"], json!({"defaultValue": "hub", "type": "String"}));
    let path = format!("{}/exportTemplate", house.group("rg"));
    let answer = house.call(Method::POST, &path, Some(json!({"resources": ["*"], "options": "Nonsense"}))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "InvalidParameter"));
    let answer = house.call(Method::POST, &path, Some(json!({}))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn one_resource_is_exported_and_what_it_points_at_stays_an_id() {
    let house = house().await;
    let exported = house.export("rg", json!({"resources": [house.hub("rg", "hub")]})).await.body;
    let hub = resource(&exported["template"], "Microsoft.MachineLearningServices/workspaces");
    assert_eq!(hub["properties"]["storageAccount"], storage(&house, "rg", "accountone"));
    assert_eq!(hub.get("dependsOn"), None);
    let missing = house.export("rg", json!({"resources": [house.hub("rg", "nobody")]})).await.body;
    assert_eq!(missing["error"]["details"][0]["code"], "ResourceNotFound", "{missing:#}");
}

#[tokio::test]
async fn what_cannot_be_exported_is_named() {
    let house = House::found_with(Options { generic_resources: true, ..Options::default() }).await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let connection = format!("{}/connections/key", house.hub("rg", "hub"));
    let properties = json!({
        "category": "ApiKey", "target": "https://example.org/", "authType": "ApiKey",
        "credentials": {"key": "correct horse"},
    });
    let answer = house.put(&connection, json!({"properties": properties})).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let thing = format!("{}/providers/Contoso.Test/things/one", house.group("rg"));
    let answer = house.put(&thing, json!({"location": "westeurope"})).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let exported = house.export("rg", json!({"resources": ["*"]})).await.body;
    assert_eq!(exported["error"]["code"], "ExportTemplateCompletedWithErrors");
    let details = exported["error"]["details"].as_array().unwrap();
    assert_eq!(details.len(), 2, "{details:#?}");
    for id in [&connection, &thing] {
        let named = details.iter().find(|detail| detail["target"] == **id);
        assert_eq!(named.map(|detail| &detail["code"]), Some(&json!("ResourceNotExportable")), "{id}: {details:#?}");
    }
    assert!(!exported.to_string().contains("correct horse"));
    let hub = resource(&exported["template"], "Microsoft.MachineLearningServices/workspaces");
    let vault = resource(&exported["template"], "Microsoft.KeyVault/vaults");
    assert_eq!(hub["dependsOn"].as_array().map(Vec::len), Some(2), "its vault and its storage: {hub:#}");
    assert_eq!(vault.get("dependsOn"), None, "what manages it need not be there first: {vault:#}");
}

#[tokio::test]
async fn nobody_exports_without_the_right() {
    let house = house().await;
    let (_, token) = house.stranger().await;
    let path = format!("{}/exportTemplate", house.group("rg"));
    let answer = house.call_as(&token, Method::POST, &path, Some(json!({"resources": ["*"]})), &[]).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "AuthorizationFailed"));
}
