//! Who may change the directory: it must lend nobody rights that they do not have.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

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
    let query = "/servicePrincipals?$filter=displayName%20eq%20'bootstrap'";
    let (_, bootstrap) = tenant.call(&token, Method::GET, query, Value::Null).await;
    let (own, group) = (own.as_str().unwrap(), group["id"].as_str().unwrap());
    let member = json!({"@odata.id": format!("https://localhost:8443/graph/v1.0/directoryObjects/{own}")});
    for (method, path, body) in [
        (Method::POST, "/users".to_owned(), user("eve")),
        (Method::POST, "/applications".to_owned(), json!({"displayName": "x"})),
        (
            Method::POST,
            format!("/servicePrincipals/{}/addPassword", bootstrap["value"][0]["id"].as_str().unwrap()),
            json!({}),
        ),
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
const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
