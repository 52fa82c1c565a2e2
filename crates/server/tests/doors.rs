//! The door of a hub: what of it may be used, and which secrets read, from where somebody comes (mission.md E1-E7).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::House;
use support::agent::Agent;

const API: &str = "api-version=2026-11-01";

/// A provisioned hub before an agent.
struct Scene {
    house: House,
    _agent: Agent,
    hub: String,
}

impl Scene {
    async fn set() -> Self {
        let agent = Agent::start();
        let network = json!({"isolationMode": "AllowOnlyApprovedOutbound"});
        let (house, hub) = agent.house(json!({"managedNetwork": network, "provisionNetworkNow": true})).await;
        Self { house, _agent: agent, hub }
    }

    /// A POST from an address; the status, and the code of a refusal.
    async fn post_from(&self, path: &str, from: &str) -> (StatusCode, String) {
        let request = http::Request::post(format!("{path}?{API}"))
            .header("host", "localhost:8443")
            .header("authorization", format!("Bearer {}", self.house.token));
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        let peer: std::net::IpAddr = from.parse().unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo(std::net::SocketAddr::new(peer, 4711)));
        let answer = self.house.send(request).await;
        (answer.status, answer.code().to_owned())
    }

    async fn close(&self, properties: Value) {
        let patched = self.house.call(Method::PATCH, &self.hub, Some(json!({"properties": properties}))).await;
        assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
    }
}

/// Knocks at the shell of a compute from an address; the status, and the code of a refusal.
async fn knock(scene: &Scene, compute: &str, from: &str) -> (StatusCode, String) {
    let request = http::Request::get(format!("{compute}/bastide/exec?{API}"))
        .header("host", "localhost:8443")
        .header("authorization", format!("Bearer {}", scene.house.token))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut request = request.body(axum::body::Body::empty()).unwrap();
    let peer: std::net::IpAddr = from.parse().unwrap();
    request.extensions_mut().insert(axum::extract::ConnectInfo(std::net::SocketAddr::new(peer, 4711)));
    let answer = scene.house.send(request).await;
    (answer.status, answer.code().to_owned())
}

#[tokio::test]
async fn a_hub_closed_to_the_public_is_managed_from_anywhere_and_used_from_inside_alone() {
    let scene = Scene::set().await;
    let compute = format!("{}/computes/mei-box", scene.hub);
    let inner = json!({"vmSize": "Standard_DS1_v2"});
    let body = json!({"location": "westeurope", "properties": {"computeType": "ComputeInstance", "properties": inner}});
    let made = scene.house.put(&compute, body).await;
    assert_eq!(scene.house.wait(&made).await.body["status"], "Succeeded", "{made:?}");
    let (public, lan) = ("203.0.113.9", "192.0.2.7");
    assert_eq!(
        knock(&scene, &compute, public).await.0,
        StatusCode::SWITCHING_PROTOCOLS,
        "open unless somebody closes it"
    );

    let patch =
        |properties: Value| scene.house.call(Method::PATCH, &scene.hub, Some(json!({"properties": properties})));
    assert_eq!(patch(json!({"ipAllowlist": ["192.0.2.0/24"]})).await.status, StatusCode::OK);
    assert_eq!(knock(&scene, &compute, lan).await.0, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(knock(&scene, &compute, public).await, (StatusCode::FORBIDDEN, "IpAddressNotAllowed".to_owned()));

    assert_eq!(patch(json!({"publicNetworkAccess": "Disabled"})).await.status, StatusCode::OK);
    for from in [lan, public] {
        assert_eq!(
            knock(&scene, &compute, from).await,
            (StatusCode::FORBIDDEN, "PublicNetworkAccessDisabled".to_owned())
        );
    }
    for private in ["0.0.0.0", "127.0.0.1"] {
        assert_eq!(
            knock(&scene, &compute, private).await.0,
            StatusCode::SWITCHING_PROTOCOLS,
            "inside, or the node: {private}"
        );
    }
    assert_eq!(scene.house.get(&compute).await.status, StatusCode::OK, "managing it goes on");
}

#[tokio::test]
async fn secrets_of_a_closed_hub_and_its_projects_are_read_from_where_it_is_open() {
    let scene = Scene::set().await;
    let project = scene.house.hub("rg", "team");
    let body = json!({"location": "westeurope", "kind": "project", "properties": {"hubResourceId": scene.hub}});
    assert_eq!(scene.house.put(&project, body).await.status, StatusCode::OK);
    let connection = format!("{project}/connections/api");
    let body = json!({"properties": {"category": "ApiKey", "authType": "ApiKey", "target": "https://api.example",
        "credentials": {"key": "k"}}});
    assert_eq!(scene.house.put(&connection, body).await.status, StatusCode::OK);
    let secrets = [format!("{}/listKeys", scene.hub), format!("{connection}/listsecrets")];
    let (public, lan, node) = ("203.0.113.9", "192.0.2.7", "127.0.0.1");
    for path in &secrets {
        assert_eq!(scene.post_from(path, public).await.0, StatusCode::OK, "open unless somebody closes it: {path}");
    }
    scene.close(json!({"ipAllowlist": ["192.0.2.0/24"]})).await;
    for path in &secrets {
        assert_eq!(scene.post_from(path, lan).await.0, StatusCode::OK, "{path}");
        let refused = scene.post_from(path, public).await;
        assert_eq!(refused, (StatusCode::FORBIDDEN, "IpAddressNotAllowed".to_owned()), "{path}");
    }
    scene.close(json!({"publicNetworkAccess": "Disabled"})).await;
    for path in &secrets {
        let refused = scene.post_from(path, lan).await;
        assert_eq!(refused, (StatusCode::FORBIDDEN, "PublicNetworkAccessDisabled".to_owned()), "{path}");
        assert_eq!(scene.post_from(path, node).await.0, StatusCode::OK, "the node itself: {path}");
    }
    let manages = [format!("{}/diagnose", scene.hub), format!("{}/resyncKeys", scene.hub)];
    for path in &manages {
        assert_eq!(scene.post_from(path, public).await.0, StatusCode::OK, "managing goes on: {path}");
    }
}
