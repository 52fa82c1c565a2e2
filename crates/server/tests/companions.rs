//! What a hub or project gets by itself when its body does not name it (mission.md A4, B4, B5).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use bastide_arm::resource_type::Parity;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House, Options};

const CONTRIBUTOR: &str = "/providers/Microsoft.Authorization/roleDefinitions/b24988ac-6180-42a0-ab88-20f7382dd24c";

async fn house() -> House {
    let house = House::found().await;
    house.make_group("rg").await;
    house
}

fn body(kind: &str, properties: Value) -> Value {
    json!({"location": "westeurope", "kind": kind, "tags": {"team": "one"}, "properties": properties})
}

/// Types and names of everything in the group.
async fn resources(house: &House) -> Vec<(String, String)> {
    let list = house.get(&format!("{}/resources", house.group("rg"))).await;
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let values = list.body["value"].as_array().unwrap().clone();
    values.iter().map(|one| (text(one, "type"), text(one, "name"))).collect()
}

async fn revision(house: &House, id: &str) -> i64 {
    house.store.resource(&id.to_lowercase()).await.unwrap().unwrap().revision
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.body["properties"][name].as_str().unwrap_or_else(|| panic!("no {name}: {answer:?}"))
}

#[tokio::test]
async fn a_hub_that_names_neither_gets_a_storage_account_and_a_vault_in_one_commit() {
    let house = house().await;
    let network = json!({"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}});
    let hub = house.put(&house.hub("rg", "My-Hub"), body("hub", network)).await;
    assert_eq!(hub.status, StatusCode::OK, "{hub:?}");
    let (storage, vault) = (text(&hub, "storageAccount"), text(&hub, "keyVault"));
    let made = revision(&house, &house.hub("rg", "My-Hub")).await;
    assert_eq!((revision(&house, storage).await, revision(&house, vault).await), (made, made), "all of it or none");
    assert!(storage.contains("/storageAccounts/myhubstorage"), "{storage}");
    assert!(vault.contains("/vaults/myhubkeyvault"), "{vault}");
    for id in [storage, vault] {
        let there = house.get(id).await;
        assert_eq!(there.status, StatusCode::OK, "{there:?}");
        assert_eq!(there.body["properties"]["publicNetworkAccess"], "Disabled", "as the network is isolated");
        assert_eq!((&there.body["tags"]["team"], &there.body["managedBy"]), (&json!("one"), &hub.body["id"]));
    }
    let keys = house.call(Method::POST, &format!("{storage}/listKeys"), None).await;
    assert_eq!(keys.body["keys"].as_array().unwrap().len(), 2, "a whole storage account: {keys:?}");
    let rules = hub.body["properties"]["managedNetwork"]["outboundRules"].as_object().unwrap();
    assert!(rules.contains_key("__SYS_PE_storageAccount_blob") && rules.contains_key("__SYS_PE_keyVault_vault"));
    let again = house.put(&house.hub("rg", "My-Hub"), body("hub", json!({}))).await;
    assert_eq!(again.body, hub.body, "silence keeps what there is");
    assert_eq!(revision(&house, &house.hub("rg", "My-Hub")).await, made);
}

#[tokio::test]
async fn what_a_body_chooses_is_left_as_chosen() {
    let house = house().await;
    let storage = format!("{}/providers/Microsoft.Storage/storageAccounts/mine", house.group("rg"));
    house.put(&storage, json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}})).await;
    let own = house.put(&house.hub("rg", "one"), body("hub", json!({"storageAccount": storage}))).await;
    assert_eq!(own.body["properties"].get("keyVault"), None, "secrets are kept by Bastide (N6): {own:?}");
    let none = house.put(&house.hub("rg", "two"), body("hub", json!({"keyVault": null}))).await;
    assert_eq!(none.body["properties"].get("keyVault"), None, "{none:?}");
    assert!(text(&none, "storageAccount").contains("twostorage"));
    let kinds: Vec<String> = resources(&house).await.into_iter().map(|(kind, _)| kind).collect();
    assert!(!kinds.contains(&"Microsoft.KeyVault/vaults".to_owned()), "{kinds:?}");
}

#[tokio::test]
async fn a_user_assigned_identity_may_use_what_is_made_for_its_hub() {
    let house = house().await;
    let identity = house.identity_id("rg", "mine");
    house.put(&identity, json!({"location": "westeurope"})).await;
    let principal = house.get(&identity).await.body["properties"]["principalId"].clone();
    let mut asked = body("hub", json!({}));
    asked["identity"] = json!({"type": "UserAssigned", "userAssignedIdentities": {identity: {}}});
    let hub = house.put(&house.hub("rg", "hub"), asked).await;
    assert_eq!(hub.status, StatusCode::OK, "{hub:?}");
    for (name, role) in [
        ("storageAccount", "ba92f5b4-2d11-453d-a403-e96b0029c9fe"),
        ("keyVault", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"),
    ] {
        let list = format!("{}/providers/Microsoft.Authorization/roleAssignments", text(&hub, name));
        let list = house.get(&format!("{list}?api-version=2022-04-01")).await;
        let held =
            list.body["value"].as_array().unwrap().iter().find(|held| held["properties"]["principalId"] == principal);
        let role_of = held.map(|held| held["properties"]["roleDefinitionId"].as_str().unwrap().ends_with(role));
        assert_eq!(role_of, Some(true), "{name}: {list:?}");
    }
    let strict = House::found_with(Options { parity: Parity::Strict, ..Options::default() }).await;
    strict.make_group("rg").await;
    let identity = strict.identity_id("rg", "mine");
    strict.put(&identity, json!({"location": "westeurope"})).await;
    let mut asked = body("hub", json!({}));
    asked["identity"] = json!({"type": "UserAssigned", "userAssignedIdentities": {identity: {}}});
    let refused = strict.put(&strict.hub("rg", "hub"), asked).await;
    assert_eq!(refused.body["error"]["target"], "properties.storageAccount", "the cloud wants them given: {refused:?}");
}

#[tokio::test]
async fn a_hub_that_is_refused_leaves_nothing_behind() {
    let house = house().await;
    let rules = json!({"managedNetwork": {"isolationMode": "AllowInternetOutbound", "outboundRules": {
        "pypi": {"type": "FQDN", "destination": "pypi.org"},
    }}});
    let refused = house.put(&house.hub("rg", "hub"), body("hub", rules)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    assert_eq!(resources(&house).await, []);
}

#[tokio::test]
async fn what_comes_along_takes_the_right_to_make_it() {
    let house = house().await;
    let (stranger, token) = house.stranger().await;
    let role = format!(
        "/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/00000000-0000-0000-0000-0000000000c1",
        house.subscription
    );
    let permissions = json!([{"actions": ["Microsoft.MachineLearningServices/*"]}]);
    let properties = json!({
        "roleName": "hubs only", "type": "CustomRole", "permissions": permissions,
        "assignableScopes": [format!("/subscriptions/{}", house.subscription)],
    });
    let made = house.put(&role, json!({"properties": properties})).await;
    assert!(made.status.is_success(), "{made:?}");
    house.grant_at(&house.group("rg"), stranger.object_id, &role).await;
    let put = async |name: &str| {
        house.call_as(&token, Method::PUT, &house.hub("rg", name), Some(body("hub", json!({}))), &[]).await
    };
    let refused = put("hub").await;
    assert_eq!(refused.code(), "LinkedAuthorizationFailed", "{refused:?}");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("Microsoft.Storage/storageAccounts/write"));
    house.grant_at(&house.group("rg"), stranger.object_id, CONTRIBUTOR).await;
    assert_eq!(put("hub").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_project_without_a_hub_gets_one_with_everything() {
    let house = house().await;
    let project = house.put(&house.hub("rg", "solo"), body("project", json!({}))).await;
    assert_eq!(project.status, StatusCode::OK, "{project:?}");
    let hub = house.get(text(&project, "hubResourceId")).await;
    let of_hub = revision(&house, text(&project, "hubResourceId")).await;
    assert_eq!(revision(&house, &house.hub("rg", "solo")).await, of_hub, "all of it or none");
    assert_eq!((hub.status, &hub.body["kind"]), (StatusCode::OK, &json!("Hub")), "{hub:?}");
    assert_eq!(hub.body["properties"]["associatedWorkspaces"], json!([project.body["id"]]));
    assert_eq!(hub.body["properties"]["storageAccount"], project.body["properties"]["storageAccount"]);
    let again = house.put(&house.hub("rg", "solo"), body("project", json!({}))).await;
    assert_eq!(again.body["properties"]["hubResourceId"], project.body["properties"]["hubResourceId"]);
    assert_eq!(resources(&house).await.len(), 4, "project, hub, storage, vault");
    let strict = House::found_with(Options { parity: Parity::Strict, ..Options::default() }).await;
    strict.make_group("rg").await;
    let refused = strict.put(&strict.hub("rg", "solo"), body("project", json!({}))).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "the cloud has no such project: {refused:?}");
}
