//! Who may change the directory: it must lend nobody rights that they do not have.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use bastide_store::AuditQuery;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::House;

/// A house, and tokens for its directory.
struct Tenant {
    house: House,
    /// Of the bootstrap client: Owner of the subscription.
    owner: String,
}

impl Tenant {
    async fn new() -> Self {
        let house = House::found().await;
        let owner = house.directory_token().await;
        Self { house, owner }
    }

    async fn call(&self, token: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.house.call_as(token, method, &format!("/graph/v1.0{path}"), Some(body), &[]).await;
        (answer.status, answer.body)
    }

    async fn make(&self, path: &str, body: Value) -> Value {
        let (status, made) = self.call(&self.owner, Method::POST, path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {made}");
        made
    }

    /// The object id of the bootstrap client.
    async fn bootstrap(&self) -> String {
        let query = "/servicePrincipals?$filter=displayName%20eq%20'bootstrap'";
        let (_, found) = self.call(&self.owner, Method::GET, query, Value::Null).await;
        found["value"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A client with a role on the subscription: its token, and its application id.
    async fn client_with(&self, role: &str) -> (String, Value) {
        let application = self.make("/applications", json!({"displayName": "client"})).await;
        let path = format!("/applications/{}/addPassword", application["id"].as_str().unwrap());
        let (status, secret) = self.call(&self.owner, Method::POST, &path, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{secret}");
        let app_id = application["appId"].as_str().unwrap().parse().unwrap();
        let found = self.house.identity.directory().service_principal_by_app_id(app_id).await.unwrap().unwrap();
        self.house.grant(found.object_id, role).await;
        (
            self.house.log_in_to_directory(app_id, secret["secretText"].as_str().unwrap()).await,
            application["id"].clone(),
        )
    }
}

#[tokio::test]
async fn a_contributor_changes_nothing_in_the_directory() {
    let tenant = Tenant::new().await;
    let group = tenant.make("/groups", json!({"displayName": "team"})).await;
    let (token, own) = tenant.client_with(CONTRIBUTOR).await;
    let (own, group) = (own.as_str().unwrap(), group["id"].as_str().unwrap());
    let member = json!({"@odata.id": format!("https://localhost:8443/graph/v1.0/directoryObjects/{own}")});
    for (method, path, body) in [
        (Method::POST, "/users".to_owned(), user("eve")),
        (Method::POST, "/applications".to_owned(), json!({"displayName": "x"})),
        (Method::POST, format!("/servicePrincipals/{}/addPassword", tenant.bootstrap().await), json!({})),
        (Method::POST, format!("/applications/{own}/addPassword"), json!({})),
        (Method::PATCH, format!("/users/{ADMIN}"), new_password()),
        (Method::DELETE, format!("/users/{ADMIN}"), Value::Null),
        (Method::POST, format!("/groups/{group}/members/$ref"), member),
    ] {
        let (status, refusal) = tenant.call(&token, method, &path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {refusal}");
    }
    let (status, _) = tenant.call(&token, Method::GET, "/users", Value::Null).await;
    assert_eq!(status, StatusCode::OK, "everybody may read");
    let entries = tenant.house.store.audit(&AuditQuery { after: 0, limit: 500 }).await.unwrap();
    let refused: Vec<&Value> =
        entries.iter().map(|entry| &entry.record).filter(|it| it["status"] == "Failed").collect();
    assert_eq!(refused.len(), 7, "each attempt is on record: {refused:?}");
    assert_eq!(refused[0]["action"], "Microsoft.Authorization/directory/users/write");
    assert_eq!(refused[0]["caller"], "client");
}

#[tokio::test]
async fn an_owner_of_the_subscription_manages_all_but_those_who_have_more() {
    let tenant = Tenant::new().await;
    let ada = tenant.make("/users", user("ada")).await;
    let path = format!("/users/{}", ada["id"].as_str().unwrap());
    let (status, _) = tenant.call(&tenant.owner, Method::PATCH, &path, new_password()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let admin = format!("/users/{ADMIN}");
    for (method, body) in [
        (Method::PATCH, new_password()),
        (Method::PATCH, json!({"accountEnabled": false})),
        (Method::DELETE, Value::Null),
    ] {
        let (status, refusal) = tenant.call(&tenant.owner, method, &admin, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{refusal}");
        assert!(refusal["error"]["message"].as_str().unwrap().contains("scope '/'"), "{refusal}");
    }
}

/// Whoever may give somebody a new password could sign in as them: that takes the right to give their roles away.
#[tokio::test]
async fn a_right_to_the_directory_alone_makes_nobody_an_owner() {
    let tenant = Tenant::new().await;
    let subscription = format!("/subscriptions/{}", tenant.house.subscription);
    let helpdesk = "1d9e6c2a-0000-4000-8000-00000000d15c";
    let role = json!({"properties": {
        "roleName": "Helpdesk", "assignableScopes": [subscription],
        "permissions": [{"actions": ["Microsoft.Authorization/directory/*"]}],
    }});
    let path = format!("{subscription}/providers/Microsoft.Authorization/roleDefinitions/{helpdesk}");
    let made = tenant.house.put(&path, role).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let (token, own) = tenant.client_with(helpdesk).await;

    let nobody = tenant.make("/users", user("nobody")).await;
    let path = format!("/users/{}", nobody["id"].as_str().unwrap());
    let (status, answer) = tenant.call(&token, Method::PATCH, &path, new_password()).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "who has no role is helped: {answer}");
    let own = format!("/applications/{}/addPassword", own.as_str().unwrap());
    let (status, answer) = tenant.call(&token, Method::POST, &own, json!({})).await;
    assert_eq!(status, StatusCode::OK, "everybody is as strong as themselves: {answer}");

    tenant.house.grant(nobody["id"].as_str().unwrap().parse().unwrap(), CONTRIBUTOR).await;
    let (status, refusal) = tenant.call(&token, Method::PATCH, &path, new_password()).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refusal}");
    assert!(refusal["error"]["message"].as_str().unwrap().contains("assign those roles"), "{refusal}");
    let bootstrap = format!("/servicePrincipals/{}/addPassword", tenant.bootstrap().await);
    let (status, refusal) = tenant.call(&token, Method::POST, &bootstrap, json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refusal}");
}

/// A condition on what may be assigned is no condition on the directory: it must not be a way round.
#[tokio::test]
async fn who_may_assign_some_roles_only_does_not_become_an_owner() {
    let tenant = Tenant::new().await;
    let subscription = format!("/subscriptions/{}", tenant.house.subscription);
    let (token, own) = tenant.client_with(CONTRIBUTOR).await;
    let directory = tenant.house.identity.directory();
    let found = directory.service_principal_by_app_id(own.as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    let condition = format!(
        "((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})) OR \
         (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{READER}}}))"
    );
    let assignment = json!({"properties": {
        "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{USER_ACCESS_ADMINISTRATOR}"),
        "principalId": found.object_id, "condition": condition, "conditionVersion": "2.0",
    }});
    let name = "1d9e6c2a-0000-4000-8000-00000000d15d";
    let path = format!("{subscription}/providers/Microsoft.Authorization/roleAssignments/{name}");
    let made = tenant.house.put(&path, assignment).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let (status, _) = tenant.call(&token, Method::POST, "/users", user("new")).await;
    assert_eq!(status, StatusCode::CREATED, "the directory as such is theirs");
    let bootstrap = format!("/servicePrincipals/{}/addPassword", tenant.bootstrap().await);
    let (status, refusal) = tenant.call(&token, Method::POST, &bootstrap, json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refusal}");
}

#[tokio::test]
async fn nobody_gets_into_a_group_that_has_more() {
    let tenant = Tenant::new().await;
    let group = tenant.make("/groups", json!({"displayName": "masters"})).await;
    let ada = tenant.make("/users", user("ada")).await;
    let path = format!("/groups/{}/members/$ref", group["id"].as_str().unwrap());
    let member = json!({"@odata.id": format!("https://x/users/{}", ada["id"].as_str().unwrap())});
    tenant.house.grant_at("/", group["id"].as_str().unwrap().parse().unwrap(), CONTRIBUTOR).await;
    let (status, _) = tenant.call(&tenant.owner, Method::POST, &path, member.clone()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    // Who is in it already has its rights, and is out of reach as well.
    let directory = tenant.house.identity.directory();
    let parse = |object: &Value| object["id"].as_str().unwrap().parse().unwrap();
    directory.add_member(parse(&group), parse(&ada)).await.unwrap();
    let path = format!("/users/{}", ada["id"].as_str().unwrap());
    let (status, _) = tenant.call(&tenant.owner, Method::PATCH, &path, new_password()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

fn user(name: &str) -> Value {
    json!({
        "displayName": name,
        "userPrincipalName": format!("{name}@bastide.localhost"),
        "accountEnabled": true,
        "passwordProfile": {"password": "correct horse battery"},
    })
}

fn new_password() -> Value {
    json!({"passwordProfile": {"password": "another horse battery"}})
}

const ADMIN: &str = "admin@bastide.localhost";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const USER_ACCESS_ADMINISTRATOR: &str = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9";
const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
