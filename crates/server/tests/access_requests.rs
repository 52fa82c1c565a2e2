//! Whoever is refused can ask, whoever may grant decides (mission.md A9); who has access, on one page (D4 to D8); roles
//! at a hub that reach its projects (D6, D7).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House};
use uuid::Uuid;

const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const DEVELOPER: &str = "64702f94-c441-49e6-a78b-ef80e0188fee";

#[tokio::test]
async fn somebody_who_is_refused_asks_and_is_let_in() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (asker, token) = house.stranger().await;
    let group = house.group("rg");
    let path = request(&group, 1);
    let body = json!({"properties": {"roleDefinitionId": READER, "justification": "I keep the books."}});
    let made = house.call_as(&token, Method::PUT, &path, Some(body.clone()), &[]).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.body["properties"]["status"], "Pending");
    assert_eq!(made.body["properties"]["roleName"], "Reader");
    let again = house.call_as(&token, Method::PUT, &path, Some(body.clone()), &[]).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &made.body));
    let twin = house.call_as(&token, Method::PUT, &request(&group, 2), Some(body.clone()), &[]).await;
    assert_eq!(twin.code(), "AccessRequestExists");

    // Nobody else sees it but those who may decide.
    let (_, other) = house.stranger().await;
    assert_eq!(house.call_as(&other, Method::GET, &path, None, &[]).await.status, StatusCode::NOT_FOUND);
    let subscription = format!("/subscriptions/{}", house.subscription);
    assert_eq!(pending(&house, &other, &subscription).await, 0);
    assert_eq!(pending(&house, &house.token, &subscription).await, 1);
    assert_eq!(pending(&house, &token, &subscription).await, 1);
    for verb in ["approve", "deny"] {
        let own = house.call_as(&token, Method::POST, &format!("{path}/{verb}"), None, &[]).await;
        assert_eq!(own.code(), "AuthorizationFailed", "asking is not deciding");
        assert_eq!(
            house.call_as(&other, Method::POST, &format!("{path}/{verb}"), None, &[]).await.status.as_u16(),
            404
        );
    }

    assert_eq!(house.call_as(&token, Method::GET, &group, None, &[]).await.status, StatusCode::FORBIDDEN);
    let approved = house.call(Method::POST, &format!("{path}/approve"), None).await;
    assert_eq!(approved.body["properties"]["status"], "Approved", "{approved:?}");
    assert_eq!(approved.body["properties"]["decidedBy"]["name"], "bootstrap");
    assert_eq!(house.call_as(&token, Method::GET, &group, None, &[]).await.status, StatusCode::OK, "at once");
    let given = format!("{group}/providers/Microsoft.Authorization/roleAssignments/{}", name(1));
    let given = house.get(&given).await;
    assert_eq!(given.body["properties"]["principalId"], json!(asker.object_id));
    assert_eq!(given.body["properties"]["description"], "I keep the books.");
    let twice = house.call(Method::POST, &format!("{path}/deny"), None).await;
    assert_eq!(twice.code(), "AccessRequestDecided");
}

#[tokio::test]
async fn requests_are_denied_withdrawn_and_expire() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (_, token) = house.stranger().await;
    let ask = async |number, role: &str, days: u32| {
        let body = json!({"properties": {"roleDefinitionId": role, "expiresInDays": days}});
        house.call_as(&token, Method::PUT, &request(&house.group("rg"), number), Some(body), &[]).await
    };
    assert_eq!(ask(1, READER, 14).await.status, StatusCode::CREATED);
    assert_eq!(ask(2, DEVELOPER, 14).await.status, StatusCode::CREATED);
    assert_eq!(ask(3, OWNER, 1).await.status, StatusCode::CREATED);
    let path = |number| request(&house.group("rg"), number);
    let reason = json!({"properties": {"reason": "Ask for the project instead."}});
    let denied = house.call(Method::POST, &format!("{}/deny", path(1)), Some(reason)).await;
    assert_eq!(denied.body["properties"]["status"], "Denied");
    assert_eq!(denied.body["properties"]["reason"], "Ask for the project instead.");
    assert_eq!(house.call(Method::DELETE, &path(2), None).await.code(), "AccessRequestOfAnother");
    let withdrawn = house.call_as(&token, Method::DELETE, &path(2), None, &[]).await;
    assert_eq!(withdrawn.status, StatusCode::OK);
    assert_eq!(house.call_as(&token, Method::GET, &path(2), None, &[]).await.code(), "AccessRequestNotFound");

    for (body, code) in [
        (json!({"properties": {}}), "InvalidParameter"),
        (json!({"properties": {"roleDefinitionId": Uuid::from_u128(1)}}), "RoleDefinitionDoesNotExist"),
        (json!({"properties": {"roleDefinitionId": READER, "principalId": Uuid::from_u128(1)}}), "InvalidParameter"),
        (json!({"properties": {"roleDefinitionId": READER, "expiresInDays": 1000}}), "InvalidParameter"),
    ] {
        let refused = house.call_as(&token, Method::PUT, &path(9), Some(body.clone()), &[]).await;
        assert_eq!(refused.code(), code, "{body}: {refused:?}");
    }

    // Tokens live shorter than requests: the administrator signs in anew.
    house.clock.advance(std::time::Duration::from_hours(25).try_into().unwrap());
    let admin = house.log_in_admin().await;
    let late = house.call_as(&admin, Method::POST, &format!("{}/approve", path(3)), None, &[]).await;
    assert_eq!(late.code(), "AccessRequestDecided", "{late:?}");
    let late = house.call_as(&admin, Method::GET, &path(3), None, &[]).await;
    assert_eq!(late.body["properties"]["status"], "Expired");
}

#[tokio::test]
async fn a_delegate_decides_only_what_the_condition_lets_them_assign() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let ((delegate, theirs), (_, token)) = (house.stranger().await, house.stranger().await);
    let condition = format!(
        "(!(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})) OR \
         (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{READER}}})"
    );
    let body = json!({"properties": {
        "roleDefinitionId": OWNER, "principalId": delegate.object_id, "condition": condition, "conditionVersion": "2.0",
    }});
    let assignment = format!("{group}/providers/Microsoft.Authorization/roleAssignments/{}", name(100));
    assert_eq!(house.put(&assignment, body).await.status, StatusCode::CREATED);
    for (number, role, status) in [(1, OWNER, 403), (2, READER, 200)] {
        let body = json!({"properties": {"roleDefinitionId": role}});
        house.call_as(&token, Method::PUT, &request(&group, number), Some(body), &[]).await;
        let path = format!("{}/approve", request(&group, number));
        let decided = house.call_as(&theirs, Method::POST, &path, None, &[]).await;
        assert_eq!(decided.status.as_u16(), status, "{role}: {decided:?}");
    }
}

#[tokio::test]
async fn a_role_at_a_hub_reaches_its_projects_when_it_says_so() {
    let house = House::found().await;
    let (hub, project) = hub_and_project(&house).await;
    let (somebody, token) = house.stranger().await;
    let sees = async |path: &str| house.call_as(&token, Method::GET, path, None, &[]).await.status.is_success();
    let path = format!("{hub}/providers/Microsoft.Authorization/roleAssignments/{}", name(1));
    let grant = |projects: bool| {
        json!({"properties": {
            "roleDefinitionId": READER, "principalId": somebody.object_id, "bastide": {"projects": projects},
        }})
    };
    assert_eq!(house.put(&path, grant(false)).await.status, StatusCode::CREATED);
    assert!(sees(&hub).await && !sees(&project).await, "a hub is no parent of its projects");
    let said = house.put(&path, grant(true)).await;
    assert_eq!((said.status, &said.body["properties"]["bastide"]["projects"]), (StatusCode::OK, &json!(true)));
    assert!(sees(&project).await);

    // It is visible at the project, and explained.
    let listed = house.get(&format!("{project}/providers/Microsoft.Authorization/roleAssignments")).await;
    assert!(listed.body.to_string().contains(&name(1)), "{listed:?}");
    let why = format!("{project}/bastide/whyAccess?action=Microsoft.MachineLearningServices/workspaces/read");
    let why = house.call_as(&token, Method::GET, &why, None, &[]).await;
    assert_eq!(why.body["assignments"][0]["fromHub"], true, "{why:?}");
    assert!(why.body["summary"].as_str().unwrap().contains("reaches the hub's projects"), "{why:?}");

    // A project made later is reached from its first moment, one of another hub never, and a namesake of a gone one not.
    let later = house.hub("rg", "later");
    house.put(&later, project_body(&hub)).await;
    assert!(sees(&later).await);
    let other = house.hub("rg", "hub2");
    house.make_hub("rg", "hub2").await;
    house.call(Method::DELETE, &later, None).await;
    house.put(&later, project_body(&other)).await;
    assert!(!sees(&later).await, "a new project of that name, of another hub");

    assert_eq!(house.put(&path, grant(false)).await.status, StatusCode::OK);
    assert!(!sees(&project).await && sees(&hub).await);
    let elsewhere = format!("{project}/providers/Microsoft.Authorization/roleAssignments/{}", name(2));
    assert_eq!(house.put(&elsewhere, grant(true)).await.code(), "InvalidParameter", "a project has no projects");
}

#[tokio::test]
async fn the_users_of_a_hub_and_its_projects_are_told_in_one_call() {
    let house = House::found().await;
    let (hub, project) = hub_and_project(&house).await;
    let ((reader, _), (member, _)) = (house.stranger().await, house.stranger().await);
    let team = house.identity.directory().create_group("team").await.unwrap().object_id;
    house.identity.directory().add_member(team, member.object_id).await.unwrap();
    house.grant_at(&hub, reader.object_id, READER).await;
    let body = json!({"properties": {"roleDefinitionId": DEVELOPER, "principalId": team}});
    let assignment = format!("{project}/providers/Microsoft.Authorization/roleAssignments/{}", name(1));
    assert_eq!(house.put(&assignment, body).await.status, StatusCode::CREATED);

    let users = house.get(&format!("{hub}/providers/Bastide.Authorization/users")).await;
    let of = |principal: Uuid| {
        let rows = users.body["value"].as_array().unwrap_or_else(|| panic!("{users:?}"));
        rows.iter().find(|row| row["principal"]["objectId"] == json!(principal)).unwrap()["access"].clone()
    };
    assert_eq!(of(reader.object_id)[0]["roleName"], "Reader");
    assert_eq!(of(reader.object_id)[0]["reaches"], json!([hub]));
    assert_eq!(of(member.object_id)[0]["group"]["name"], "team");
    assert_eq!(of(member.object_id)[0]["reaches"], json!([project]));
    assert_eq!(of(team)[0]["group"], Value::Null);
    assert!(users.body.to_string().contains("admin@bastide.localhost"), "who has it from above is there too");

    // One who may not read the project's assignments sees the hub's alone.
    let (watcher, token) = house.stranger().await;
    house.grant_at(&hub, watcher.object_id, READER).await;
    let path = format!("{hub}/providers/Bastide.Authorization/users");
    let seen = house.call_as(&token, Method::GET, &path, None, &[]).await;
    assert_eq!(seen.status, StatusCode::OK, "{seen:?}");
    assert!(!seen.body.to_string().contains(&project));
    let (_, stranger) = house.stranger().await;
    assert_eq!(house.call_as(&stranger, Method::GET, &path, None, &[]).await.code(), "AuthorizationFailed");
}

#[tokio::test]
async fn a_hubs_own_identity_administers_its_group_while_the_hub_is_there() {
    let house = House::found().await;
    house.make_group("rg").await;
    let hub = house.make_hub("rg", "hub").await;
    let principal = hub["identity"]["principalId"].as_str().unwrap().to_owned();
    let held = async || {
        let filter = format!("principalId%20eq%20'{principal}'");
        let path = format!("{}/providers/Microsoft.Authorization/roleAssignments?$filter={filter}", house.group("rg"));
        house.get(&path).await.body["value"].as_array().unwrap().clone()
    };
    let role = &held().await[0]["properties"];
    assert!(role["roleDefinitionId"].as_str().unwrap().ends_with("b78c5d69-af96-48a3-bf8d-a8b4d589de94"), "{role}");
    assert_eq!((&role["scope"], held().await.len()), (&json!(house.group("rg")), 1));
    house.call(Method::DELETE, &format!("{}?forceToPurge=true", house.hub("rg", "hub")), None).await;
    assert_eq!(held().await, [] as [Value; 0]);
}

async fn hub_and_project(house: &House) -> (String, String) {
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let (hub, project) = (house.hub("rg", "hub"), house.hub("rg", "project"));
    let made = house.put(&project, project_body(&hub)).await;
    assert!(made.status.is_success(), "{made:?}");
    (hub, project)
}

fn project_body(hub: &str) -> Value {
    json!({"location": "westeurope", "kind": "project", "properties": {"hubResourceId": hub}})
}

async fn pending(house: &House, token: &str, scope: &str) -> usize {
    let path = format!("{scope}/providers/Bastide.Authorization/accessRequests?$filter=status%20eq%20'Pending'");
    let listed: Answer = house.call_as(token, Method::GET, &path, None, &[]).await;
    listed.body["value"].as_array().unwrap_or_else(|| panic!("{listed:?}")).len()
}

fn request(scope: &str, number: u128) -> String {
    format!("{scope}/providers/Bastide.Authorization/accessRequests/{}", name(number))
}

fn name(number: u128) -> String {
    Uuid::from_u128(0x1d9e_6c2a_0000_4000_8000_0000_0000_0000 + number).to_string()
}
