//! Locks: what they forbid, where, and to whom.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House};

#[tokio::test]
async fn a_lock_is_made_read_listed_and_taken_off() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let id = lock(&house.hub("rg", "hub"), "keep");
    let body = json!({"properties": {"level": "cannotdelete", "notes": "Ask Priya."}});
    let made = house.put(&id.replace("/workspaces", "//workspaces"), body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.body["id"], id);
    assert_eq!(made.body["properties"], json!({"level": "CanNotDelete", "notes": "Ask Priya."}));
    let again = house.put(&id, body).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &made.body));
    assert_eq!(house.get(&id.to_lowercase()).await.body, made.body);

    for scope in [house.hub("rg", "hub"), house.group("rg"), format!("/subscriptions/{}", house.subscription)] {
        let list = house.get(&format!("{scope}/providers/Microsoft.Authorization/locks")).await;
        assert_eq!(list.body["value"], json!([made.body]), "{scope}: at the scope and below");
    }
    let here = format!("{}/providers/Microsoft.Authorization/locks?$filter=atScope()", house.group("rg"));
    assert_eq!(house.get(&here).await.body["value"], json!([]));

    assert_eq!(house.call(Method::DELETE, &id, None).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &id, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.get(&id).await.code(), "LockNotFound");
}

#[tokio::test]
async fn cannot_delete_holds_at_the_scope_below_and_for_what_contains_it() {
    let house = House::found().await;
    house.make_group("rg").await;
    let hub = house.hub("rg", "hub");
    house.make_hub("rg", "hub").await;
    house.put(&house.identity_id("rg", "one"), json!({"location": "westeurope"})).await;
    let delete = async |path: &str| house.call(Method::DELETE, path, None).await;

    set(&house, &hub, "keep", "CanNotDelete").await;
    locked(&delete(&hub).await, &hub);
    locked(&delete(&house.group("rg")).await, &hub);
    assert_eq!(house.put(&hub, json!({"location": "westeurope", "kind": "hub"})).await.status, StatusCode::OK);
    assert_eq!(delete(&house.identity_id("rg", "one")).await.status, StatusCode::OK, "a lock does not reach sideways");
    delete(&lock(&hub, "keep")).await;

    set(&house, &house.group("rg"), "keep", "CanNotDelete").await;
    locked(&delete(&hub.to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions")).await, &house.group("rg"));
    locked(&delete(&house.group("rg")).await, &house.group("rg"));
    delete(&lock(&house.group("rg"), "keep")).await;
    assert_eq!(delete(&hub).await.status, StatusCode::OK);
    let done = house.wait(&delete(&house.group("rg")).await).await;
    assert_eq!(done.body["status"], "Succeeded");
}

#[tokio::test]
async fn read_only_forbids_every_change_and_nothing_else() {
    let house = House::found().await;
    house.make_group("rg").await;
    let one = house.identity_id("rg", "one");
    house.put(&one, json!({"location": "westeurope"})).await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    set(&house, &subscription, "freeze", "ReadOnly").await;
    let somebody = house.stranger().await.0.object_id;
    let grant =
        json!({"properties": {"principalId": somebody, "roleDefinitionId": "acdd72a7-3385-48ef-bd42-f606fba81ae7"}});
    let changes = [
        (Method::PUT, one.clone(), json!({"location": "westeurope", "tags": {"a": "b"}})),
        (Method::PATCH, one.clone(), json!({"tags": {"a": "b"}})),
        (Method::DELETE, one.clone(), Value::Null),
        (Method::POST, format!("{one}/issueEndpointSecret"), json!({})),
        (Method::PUT, house.group("new"), json!({"location": "westeurope"})),
        (Method::DELETE, house.group("rg"), Value::Null),
        (
            Method::PATCH,
            format!("{one}/providers/Microsoft.Resources/tags/default"),
            json!({"operation": "Merge", "properties": {"tags": {}}}),
        ),
        (
            Method::PUT,
            format!("{one}/providers/Microsoft.Authorization/roleAssignments/1d9e6c2a-0000-4000-8000-000000000001"),
            grant,
        ),
    ];
    for (method, path, body) in changes {
        let answer = house.call(method.clone(), &path, Some(body)).await;
        locked(&answer, &subscription);
    }
    assert_eq!(house.get(&one).await.body["tags"], json!({}));
    assert_eq!(house.call(Method::DELETE, &lock(&subscription, "freeze"), None).await.status, StatusCode::OK);
    assert_eq!(house.put(&one, json!({"location": "westeurope"})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_a_scope_keeps_is_not_held_by_locks_on_what_is_in_it() {
    let house = House::found().await;
    house.make_group("rg").await;
    let one = house.identity_id("rg", "one");
    house.put(&one, json!({"location": "westeurope"})).await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let definition = format!("{subscription}/providers/Microsoft.Authorization/policyDefinitions/mine");
    let rule = json!({"if": {"field": "location", "equals": "x"}, "then": {"effect": "deny"}});
    assert_eq!(house.put(&definition, json!({"properties": {"policyRule": rule}})).await.status, StatusCode::CREATED);
    let tags = format!("{}/providers/Microsoft.Resources/tags/default", house.group("rg"));
    set(&house, &one, "keep", "CanNotDelete").await;
    for path in [&definition, &tags] {
        assert_eq!(house.call(Method::DELETE, path, None).await.status, StatusCode::OK, "{path}");
    }
    locked(&house.call(Method::DELETE, &house.group("rg"), None).await, &one);
    set(&house, &subscription, "keep", "CanNotDelete").await;
    locked(&house.call(Method::DELETE, &tags, None).await, &subscription);
}

#[tokio::test]
async fn locks_that_make_no_sense_are_refused() {
    let house = House::found().await;
    house.make_group("rg").await;
    let admin = house.log_in_admin().await;
    let good = json!({"properties": {"level": "ReadOnly"}});
    let cases = [
        (lock(&house.group("rg"), "x"), json!({"properties": {"level": "Sometimes"}}), 400, "InvalidParameter"),
        (lock(&house.group("rg"), "x"), json!({}), 400, "InvalidParameter"),
        (
            lock(&house.group("rg"), "x"),
            json!({"properties": {"level": "ReadOnly", "notes": "n".repeat(513)}}),
            400,
            "InvalidParameter",
        ),
        (lock(&house.group("none"), "x"), good.clone(), 404, "ResourceGroupNotFound"),
        (lock(&house.hub("rg", "none"), "x"), good.clone(), 404, "ResourceNotFound"),
        (lock("", "x"), good, 400, "InvalidLockScope"),
    ];
    for (path, body, status, code) in cases {
        let answer = house.call_as(&admin, Method::PUT, &path, Some(body.clone()), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path} {body}: {answer:?}");
    }
}

fn lock(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Microsoft.Authorization/locks/{name}")
}

async fn set(house: &House, scope: &str, name: &str, level: &str) {
    let made = house.put(&lock(scope, name), json!({"properties": {"level": level}})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

fn locked(answer: &Answer, scope: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (409, "ScopeLocked"), "{answer:?}");
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("locked: '{scope}'")), "{message}");
}
