//! Deleted workspaces: gone for those who ask for them, listed, restored, purged (mission.md P2, P7).

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
