//! What is deleted and kept - workspaces, vaults, accounts: gone for those who ask for it, listed, restored, purged (mission.md
//! P2, P7).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use bastide_arm::resource_type::Parity;
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use support::{Answer, House, Options};

const DELETED: &str = "providers/Microsoft.MachineLearningServices/deletedWorkspaces";

async fn house() -> House {
    let house = House::found().await;
    house.make_group("rg").await;
    house
}

/// A hub with a rule, a connection that has a key, and a project.
async fn make_hub_with_everything(house: &House) -> (String, String) {
    let hub = house.hub("rg", "hub");
    let rules = json!({"pypi": {"type": "FQDN", "destination": "pypi.org"}});
    let network = json!({"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": rules});
    let body = json!({
        "location": "westeurope", "kind": "hub", "tags": {"team": "one"}, "properties": {"managedNetwork": network},
    });
    assert_eq!(house.put(&hub, body).await.status, StatusCode::OK);
    let connection = json!({"properties": {
        "category": "ApiKey", "authType": "ApiKey", "target": "https://a/", "credentials": {"key": "s3cr3t"},
    }});
    assert_eq!(house.put(&format!("{hub}/connections/one"), connection).await.status, StatusCode::OK);
    (hub, make_project(house, "rg").await)
}

async fn make_project(house: &House, group: &str) -> String {
    let project = house.hub(group, "project");
    let properties = json!({"hubResourceId": house.hub("rg", "hub")});
    let body = json!({"location": "westeurope", "kind": "project", "properties": properties});
    let made = house.put(&project, body).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    project
}

async fn delete(house: &House, id: &str) -> Answer {
    house.call(Method::DELETE, id, None).await
}

/// What the group keeps of deleted workspaces.
async fn kept(house: &House) -> Vec<Value> {
    let list = house.get(&format!("{}/{DELETED}", house.group("rg"))).await;
    assert_eq!(list.status, StatusCode::OK, "{list:?}");
    list.body["value"].as_array().unwrap().clone()
}

async fn restore(house: &House, kept: &Value) -> Answer {
    house.call(Method::POST, &format!("{}/restore", kept["id"].as_str().unwrap()), None).await
}

#[tokio::test]
async fn a_deleted_hub_is_gone_listed_and_comes_back_as_it_was() {
    let house = house().await;
    let (hub, project) = make_hub_with_everything(&house).await;
    let before = house.get(&hub).await.body;
    assert_eq!(delete(&house, &hub).await.status, StatusCode::OK);
    for id in [&hub, &project, &format!("{hub}/connections/one")] {
        assert_eq!(house.get(id).await.status, StatusCode::NOT_FOUND, "{id}");
    }
    assert_eq!(delete(&house, &hub).await.status, StatusCode::NO_CONTENT);
    let list = kept(&house).await;
    let properties = &list[0]["properties"];
    assert_eq!(
        (list.len(), &properties["workspaceResourceId"], &properties["projects"]),
        (1, &json!(hub), &json!([project]))
    );
    assert_eq!(properties["workspaceId"], before["properties"]["workspaceId"]);
    assert_eq!(properties["deletionDate"], "2026-11-22T10:00:00Z");
    assert_eq!(properties["scheduledPurgeDate"], "2026-12-06T10:00:00Z", "two weeks");
    assert!(!list[0].to_string().contains("pypi"), "what it was is not answered");
    let everywhere = house.get(&format!("/subscriptions/{}/{DELETED}", house.subscription)).await;
    assert_eq!(everywhere.body["value"][0]["id"], list[0]["id"]);
    let restored = restore(&house, &list[0]).await;
    assert_eq!(restored.status, StatusCode::OK, "{restored:?}");
    let after = house.get(&hub).await.body;
    assert_eq!(after["properties"], before["properties"]);
    assert_eq!((&after["identity"], &after["tags"]), (&before["identity"], &before["tags"]));
    assert_eq!(house.get(&project).await.body["properties"]["hubResourceId"], json!(hub));
    let secrets = house.call(Method::POST, &format!("{hub}/connections/one/listsecrets"), None).await;
    assert_eq!(secrets.body["properties"]["credentials"]["key"], "s3cr3t");
    assert_eq!(kept(&house).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_same_name_is_free_at_once_and_the_answer_says_what_is_kept() {
    let house = house().await;
    let first = house.make_hub("rg", "hub").await;
    let hub = house.hub("rg", "hub");
    delete(&house, &hub).await;
    let again = house.put(&hub, json!({"location": "westeurope", "kind": "hub"})).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert!(again.header("x-ms-bastide-warning").contains("deletedWorkspaces"), "{again:?}");
    assert_ne!(again.body["properties"]["workspaceId"], first["properties"]["workspaceId"]);
    let blocked = restore(&house, &kept(&house).await[0]).await;
    assert_eq!(blocked.status, StatusCode::CONFLICT, "{blocked:?}");
    assert!(blocked.body["error"]["message"].as_str().unwrap().contains("forceToPurge"), "{blocked:?}");
    delete(&house, &hub).await;
    assert_eq!(kept(&house).await.len(), 2, "each deletion is kept");
}

#[tokio::test]
async fn a_body_that_allows_it_restores_and_changes_in_one_go() {
    let house = house().await;
    let (hub, _) = make_hub_with_everything(&house).await;
    let before = house.get(&hub).await.body;
    delete(&house, &hub).await;
    let body = json!({
        "location": "westeurope", "kind": "hub",
        "properties": {"allowRecoverSoftDeletedWorkspace": "true", "description": "back"},
    });
    let recovered = house.put(&hub, body).await;
    assert_eq!(recovered.status, StatusCode::OK, "{recovered:?}");
    assert_eq!(recovered.body["properties"]["workspaceId"], before["properties"]["workspaceId"]);
    assert_eq!(recovered.body["properties"]["description"], "back");
    assert_eq!(recovered.body["identity"], before["identity"]);
}

#[tokio::test]
async fn strict_parity_has_one_workspace_of_a_name_deleted_or_not() {
    let house = House::found_with(Options { parity: Parity::Strict, ..Options::default() }).await;
    house.make_group("rg").await;
    let hub = house.hub("rg", "hub");
    let body = json!({"location": "westeurope", "kind": "hub"});
    house.put(&hub, body.clone()).await;
    delete(&house, &hub).await;
    let refused = house.put(&hub, body.clone()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("allowRecoverSoftDeletedWorkspace") && message.contains("forceToPurge"), "{message}");
    assert_eq!(delete(&house, &format!("{hub}?forceToPurge=true")).await.status, StatusCode::OK);
    assert_eq!(house.put(&hub, body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_purged_leaves_no_secret_behind() {
    let house = house().await;
    let (hub, _) = make_hub_with_everything(&house).await;
    let connection = format!("{hub}/connections/one").to_lowercase();
    let incarnation = house.store.resource(&connection).await.unwrap().unwrap().incarnation;
    let sealed = async || house.store.secrets(incarnation).await.unwrap().len();
    delete(&house, &hub).await;
    assert_eq!(sealed().await, 1, "kept, sealed");
    let purged = delete(&house, kept(&house).await[0]["id"].as_str().unwrap()).await;
    assert_eq!(purged.status, StatusCode::OK, "{purged:?}");
    assert_eq!((sealed().await, kept(&house).await.len()), (0, 0));
    let (hub, _) = make_hub_with_everything(&house).await;
    assert_eq!(delete(&house, &format!("{hub}?forceToPurge=True")).await.status, StatusCode::OK);
    assert_eq!(kept(&house).await.len(), 0, "for good at once");
}

#[tokio::test]
async fn what_nobody_restores_in_its_time_is_purged() {
    let mut house = house().await;
    let hub = house.hub("rg", "hub");
    for (days, name) in [(0, "never"), (3, "short"), (30, "long")] {
        let hub = house.hub("rg", name);
        let properties = json!({"softDeleteRetentionInDays": days});
        let body = json!({"location": "westeurope", "kind": "hub", "properties": properties});
        let made = house.put(&format!("{hub}?api-version=2024-10-01-preview"), body).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        delete(&house, &hub).await;
    }
    house.make_hub("rg", "hub").await;
    delete(&house, &hub).await;
    assert_eq!(kept(&house).await.len(), 3, "none of one that is not to be kept");
    house.clock.advance(SignedDuration::from_hours(15 * 24));
    house.kill().await;
    house.start_again();
    house.token = house.log_in_admin().await;
    for _ in 0..200 {
        if kept(&house).await.len() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let left: Vec<String> =
        kept(&house).await.iter().map(|kept| kept["properties"]["workspaceResourceId"].to_string()).collect();
    assert_eq!(left, [json!(house.hub("rg", "long")).to_string()]);
}

#[tokio::test]
async fn a_project_comes_back_to_its_hub_and_to_no_other() {
    let house = house().await;
    let (hub, project) = make_hub_with_everything(&house).await;
    delete(&house, &project).await;
    let list = kept(&house).await;
    delete(&house, &hub).await;
    let refused = restore(&house, &list[0]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains(&hub), "{refused:?}");
    let hubs: Vec<Value> =
        kept(&house).await.into_iter().filter(|kept| kept["properties"]["workspaceResourceId"] == json!(hub)).collect();
    assert_eq!(restore(&house, &hubs[0]).await.status, StatusCode::OK);
    assert_eq!(restore(&house, &list[0]).await.status, StatusCode::OK);
    assert_eq!(house.get(&project).await.status, StatusCode::OK);
}

#[tokio::test]
async fn access_does_not_come_back_with_what_it_was_given_on() {
    let house = house().await;
    house.make_hub("rg", "hub").await;
    let hub = house.hub("rg", "hub");
    let (stranger, token) = house.stranger().await;
    let reader = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7";
    house.grant_at(&hub, stranger.object_id, reader).await;
    let read = async || house.call_as(&token, Method::GET, &hub, None, &[]).await.status;
    assert_eq!(read().await, StatusCode::OK);
    delete(&house, &hub).await;
    let kept = kept(&house).await;
    let path = format!("{}/restore", kept[0]["id"].as_str().unwrap());
    assert_eq!(house.call_as(&token, Method::POST, &path, None, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(restore(&house, &kept[0]).await.status, StatusCode::OK);
    assert_eq!(read().await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_group_takes_its_hubs_projects_in_other_groups_along() {
    let house = house().await;
    house.make_group("other").await;
    house.make_hub("rg", "hub").await;
    let project = make_project(&house, "other").await;
    let lock = json!({"properties": {"level": "CanNotDelete"}});
    let lock_id = format!("{project}/providers/Microsoft.Authorization/locks/keep");
    assert!(house.put(&lock_id, lock).await.status.is_success());
    let refused = delete(&house, &house.group("rg")).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "ScopeLocked"), "{refused:?}");
    assert_eq!(house.get(&house.hub("rg", "hub")).await.status, StatusCode::OK);
    delete(&house, &lock_id).await;
    let accepted = delete(&house, &house.group("rg")).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    assert_eq!(house.wait(&accepted).await.body["status"], "Succeeded");
    assert_eq!(house.get(&project).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get(&house.group("other")).await.status, StatusCode::OK);
}

/// A vault with purge protection or without.
async fn make_vault(house: &House, name: &str, is_protected: bool) -> String {
    let vault = format!("{}/providers/Microsoft.KeyVault/vaults/{name}", house.group("rg"));
    let mut properties = json!({"softDeleteRetentionInDays": 7, "publicNetworkAccess": "Disabled"});
    if is_protected {
        properties["enablePurgeProtection"] = json!(true);
    }
    let body = json!({"location": "westus", "tags": {"team": "one"}, "properties": properties});
    let made = house.put(&vault, body).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    vault
}

/// Where `az keyvault` and Terraform look for a deleted vault.
fn deleted_vault(house: &House, name: &str) -> String {
    format!("/subscriptions/{}/providers/Microsoft.KeyVault/locations/westus/deletedVaults/{name}", house.subscription)
}

async fn deleted_vaults(house: &House) -> Vec<Value> {
    let list = format!("/subscriptions/{}/providers/Microsoft.KeyVault/deletedVaults", house.subscription);
    let listed = house.get(&list).await;
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    listed.body["value"].as_array().unwrap().clone()
}

/// What `az keyvault recover` sends.
fn recover() -> Value {
    json!({"location": "westus", "properties": {"sku": {"name": "standard", "family": "A"}, "createMode": "recover"}})
}

#[tokio::test]
async fn a_deleted_vault_is_found_by_its_name_and_comes_back_as_it_was() {
    let house = house().await;
    let vault = make_vault(&house, "vault-one", false).await;
    let before = house.get(&vault).await.body;
    let early = house.put(&vault, recover()).await;
    assert_eq!(early.status, StatusCode::CONFLICT, "one that stands would only lose by it: {early:?}");
    assert_eq!(delete(&house, &vault).await.status, StatusCode::OK);
    let found = house.get(&deleted_vault(&house, "VAULT-one")).await;
    assert_eq!(found.status, StatusCode::OK, "{found:?}");
    let properties = &found.body["properties"];
    assert_eq!((&properties["vaultId"], &properties["location"]), (&json!(vault), &json!("westus")));
    assert_eq!(properties["scheduledPurgeDate"], "2026-11-29T10:00:00Z", "seven days");
    assert_eq!(properties["tags"], json!({"team": "one"}));
    assert_eq!(found.body["name"], "vault-one");
    let listed = deleted_vaults(&house).await;
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(deleted_vault(&house, "vault-one"))));
    let back = house.put(&vault, recover()).await;
    assert_eq!(back.status, StatusCode::OK, "{back:?}");
    assert_eq!(house.get(&vault).await.body["properties"], before["properties"], "and nothing of the body");
    assert!(deleted_vaults(&house).await.is_empty());
    delete(&house, &vault).await;
    house.put(&vault, recover()).await;
    let check = format!("/subscriptions/{}/providers/Microsoft.KeyVault/checkNameAvailability", house.subscription);
    let asked = json!({"name": "vault-one", "type": "Microsoft.KeyVault/vaults"});
    assert_eq!(house.call(Method::POST, &check, Some(asked)).await.body["nameAvailable"], false, "its name is its own");
}

#[tokio::test]
async fn a_vault_that_nobody_deleted_is_not_brought_back() {
    let house = house().await;
    let vault = format!("{}/providers/Microsoft.KeyVault/vaults/none", house.group("rg"));
    let refused = house.put(&vault, recover()).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "{refused:?}");
    assert_eq!(house.get(&deleted_vault(&house, "none")).await.status, StatusCode::NOT_FOUND);
    let purge = format!("{}/purge", deleted_vault(&house, "none"));
    assert_eq!(house.call(Method::POST, &purge, None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_purged_name_leaves_nothing_and_purge_protection_holds_whatever_is_tried() {
    let house = house().await;
    let vault = make_vault(&house, "vault-one", false).await;
    delete(&house, &vault).await;
    let purge = format!("{}/purge", deleted_vault(&house, "vault-one"));
    assert_eq!(house.call(Method::POST, &purge, None).await.status, StatusCode::OK);
    assert_eq!(house.get(&deleted_vault(&house, "vault-one")).await.status, StatusCode::NOT_FOUND);
    let protected = make_vault(&house, "vault-two", true).await;
    let forced = delete(&house, &format!("{protected}?forceToPurge=true")).await;
    assert_eq!(forced.status, StatusCode::OK, "{forced:?}");
    let purge = format!("{}/purge", deleted_vault(&house, "vault-two"));
    let refused = house.call(Method::POST, &purge, None).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (405, "MethodNotAllowed"), "{refused:?}");
    let own = deleted_vaults(&house).await[0]["bastide"]["deletion"].as_str().unwrap().to_owned();
    assert_eq!(delete(&house, &own).await.status.as_u16(), 405);
    assert_eq!(deleted_vaults(&house).await[0]["properties"]["purgeProtectionEnabled"], true);
}

#[tokio::test]
async fn vaults_and_accounts_outlive_their_group() {
    let house = house().await;
    let vault = make_vault(&house, "vault-one", true).await;
    let account = format!("{}/providers/Microsoft.CognitiveServices/accounts/ai", house.group("rg"));
    house.put(&account, json!({"location": "westus", "kind": "AIServices"})).await;
    let model = json!({"properties": {"model": {"format": "OpenAI", "name": "gpt-4o"}}});
    assert!(house.put(&format!("{account}/deployments/chat"), model).await.status.is_success());
    let accepted = delete(&house, &house.group("rg")).await;
    assert_eq!(house.wait(&accepted).await.body["status"], "Succeeded");
    assert_eq!(deleted_vaults(&house).await.len(), 1);
    let nowhere = house.put(&vault, recover()).await;
    assert_eq!((nowhere.status, nowhere.code()), (StatusCode::NOT_FOUND, "ResourceGroupNotFound"), "{nowhere:?}");
    house.make_group("rg").await;
    assert_eq!(house.put(&vault, recover()).await.status, StatusCode::OK);
    let back = house.put(&account, json!({"location": "westus", "properties": {"restore": true}})).await;
    assert_eq!((back.status, &back.body["kind"]), (StatusCode::OK, &json!("AIServices")), "{back:?}");
    assert_eq!(house.get(&format!("{account}/deployments/chat")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_account_is_kept_with_its_keys_under_its_group_and_place() {
    let house = house().await;
    let account = format!("{}/providers/Microsoft.CognitiveServices/accounts/ai", house.group("rg"));
    let body = json!({"location": "West US", "kind": "OpenAI", "properties": {"customSubDomainName": "own"}});
    let made = house.put(&account, body.clone()).await.body;
    let keys = async || house.call(Method::POST, &format!("{account}/listKeys"), None).await.body;
    let before = keys().await;
    let provider = format!("/subscriptions/{}/providers/Microsoft.CognitiveServices", house.subscription);
    let by_name = format!("{provider}/locations/westus/resourceGroups/rg/deletedAccounts/ai");
    delete(&house, &account).await;
    let found = house.get(&by_name).await.body;
    assert_eq!((&found["id"], &found["kind"]), (&json!(by_name), &json!("OpenAI")), "{found}");
    assert_eq!(found["properties"]["scheduledPurgeDate"], "2026-11-24T10:00:00Z", "two days");
    let elsewhere = by_name.replace("/rg/", "/other/");
    assert_eq!(house.get(&elsewhere).await.status, StatusCode::NOT_FOUND);
    house.put(&account, json!({"location": "westus", "properties": {"restore": true}})).await;
    assert_eq!(keys().await, before);
    assert_eq!(house.get(&account).await.body["properties"], made["properties"]);
    delete(&house, &account).await;
    let listed = house.get(&format!("{provider}/deletedAccounts")).await.body;
    assert_eq!(listed["value"].as_array().unwrap().len(), 1);
    assert_eq!(delete(&house, &by_name).await.status, StatusCode::OK);
    assert_eq!(delete(&house, &by_name).await.status, StatusCode::NO_CONTENT);
    let again = house.put(&account, body).await;
    assert_eq!(again.status, StatusCode::CREATED, "{again:?}");
    assert_ne!(keys().await, before);
}

#[tokio::test]
async fn each_deletion_of_a_name_can_be_had_by_its_own_id() {
    let house = house().await;
    let vault = make_vault(&house, "vault-one", false).await;
    delete(&house, &vault).await;
    let again = house.put(&vault, json!({"location": "westus"})).await;
    assert!(again.header("x-ms-bastide-warning").contains("deletedVaults"), "{again:?}");
    delete(&house, &vault).await;
    let kept = deleted_vaults(&house).await;
    assert_eq!(kept.len(), 2);
    let first = kept[0]["bastide"]["deletion"].as_str().unwrap();
    let restored = house.call(Method::POST, &format!("{first}/restore"), None).await;
    assert_eq!(restored.status, StatusCode::OK, "{restored:?}");
    assert_eq!(house.get(&vault).await.body["properties"]["publicNetworkAccess"], "Disabled", "the first one");
}

#[tokio::test]
async fn to_purge_takes_a_right_of_its_own() {
    let house = house().await;
    let vault = make_vault(&house, "vault-one", false).await;
    let (member, token) = house.stranger().await;
    let contributor = "/providers/Microsoft.Authorization/roleDefinitions/b24988ac-6180-42a0-ab88-20f7382dd24c";
    house.grant_at(&house.group("rg"), member.object_id, contributor).await;
    assert_eq!(house.call_as(&token, Method::DELETE, &vault, None, &[]).await.status, StatusCode::OK);
    let purge = format!("{}/purge", deleted_vault(&house, "vault-one"));
    assert_eq!(house.call_as(&token, Method::POST, &purge, None, &[]).await.status, StatusCode::FORBIDDEN);
    let back = house.call_as(&token, Method::PUT, &vault, Some(recover()), &[]).await;
    assert_eq!(back.status, StatusCode::OK, "who may make it may bring it back: {back:?}");
}
