//! Who runs in a compute asks who it is, over a socket that only it can reach.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::net::SocketAddr;

use bastide_plan::hub_plan::ComputeId;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::House;
use support::agent::Agent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_compute_gets_tokens_of_its_own_identity_and_is_who_it_says() {
    let scene = Scene::set().await;
    let compute = scene.run("mei", json!({"type": "SystemAssigned"})).await;
    let inside = scene.agent.wait_for_metadata(compute, 1).await;
    let (status, token) = ask(inside, TOKEN, &[METADATA]).await;
    assert_eq!(status, 200, "{token}");
    assert_eq!(token["token_type"], "Bearer");
    // It is a principal with no rights but those it was given.
    let hub = scene.house.call_as(token["access_token"].as_str().unwrap(), Method::GET, &scene.hub, None, &[]).await;
    assert_eq!(hub.status, StatusCode::FORBIDDEN, "{hub:?}");
    let principal = scene.read("mei").await["identity"]["principalId"].as_str().unwrap().to_owned();
    assert!(hub.body["error"]["message"].as_str().unwrap().contains(&principal), "{hub:?}");
}

#[tokio::test]
async fn the_pair_of_azure_machine_learning_leads_to_the_same_token() {
    let scene = Scene::set().await;
    let compute = scene.run("mei", json!({"type": "SystemAssigned"})).await;
    let environment = scene.agent.wait_for_instance("mei").await.environment;
    assert_eq!(environment["MSI_ENDPOINT"], "http://169.254.169.254/msi/token");
    let inside = scene.agent.wait_for_metadata(compute, 1).await;
    let path =
        TOKEN.replace("/metadata/identity/oauth2/token?api-version=2018-02-01", "/msi/token?api-version=2017-09-01");
    let secret = ("secret", environment["MSI_SECRET"].as_str());
    let (status, token) = ask(inside, &path, &[secret]).await;
    assert_eq!(status, 200, "{token}");
    for wrong in [vec![], vec![("secret", "guessed")], vec![METADATA], vec![secret, ("secret", "twice")]] {
        assert_eq!(ask(inside, &path, &wrong).await.0, 401, "{wrong:?}");
    }
    // Another compute has another secret.
    scene.run("tomas", json!({"type": "SystemAssigned"})).await;
    assert_ne!(scene.agent.wait_for_instance("tomas").await.environment["MSI_SECRET"], secret.1);
}

#[tokio::test]
async fn only_what_was_meant_as_a_question_is_answered() {
    let scene = Scene::set().await;
    let compute = scene.run("mei", json!({"type": "SystemAssigned"})).await;
    let inside = scene.agent.wait_for_metadata(compute, 1).await;
    let resource = "resource=https://localhost:8443/";
    let refused: [(&str, &[(&str, &str)]); 8] = [
        (TOKEN, &[]),
        (TOKEN, &[("Metadata", "false")]),
        (TOKEN, &[METADATA, ("X-Forwarded-For", "10.0.0.1")]),
        (TOKEN, &[METADATA, ("Host", "evil.example")]),
        (&format!("/metadata/identity/oauth2/token?{resource}"), &[METADATA]),
        (&format!("/metadata/identity/oauth2/token?api-version=2017-01-01&{resource}"), &[METADATA]),
        ("/metadata/identity/oauth2/token?api-version=2018-02-01", &[METADATA]),
        (&format!("{TOKEN}&client_id=00000000-0000-0000-0000-000000000009"), &[METADATA]),
    ];
    for (path, headers) in refused {
        let (status, body) = ask(inside, path, headers).await;
        assert_eq!(status, 400, "{path} {headers:?}: {body}");
        assert_eq!(body["error"], "invalid_request", "{path} {headers:?}: {body}");
    }
    assert_eq!(ask(inside, "/elsewhere", &[METADATA]).await.0, 404);
}

#[tokio::test]
async fn without_an_identity_there_is_no_token_and_one_that_is_given_later_counts_at_once() {
    let scene = Scene::set().await;
    let compute = scene.run("mei", json!({"type": "None"})).await;
    assert!(!scene.agent.wait_for_instance("mei").await.environment.contains_key("MSI_SECRET"));
    let inside = scene.agent.wait_for_metadata(compute, 1).await;
    let (status, body) = ask(inside, TOKEN, &[METADATA]).await;
    assert_eq!(status, 400);
    assert!(body["error_description"].as_str().unwrap().starts_with("Identity not found"), "{body}");
    let path = scene.compute("mei");
    let given = json!({"identity": {"type": "SystemAssigned"}});
    let patched = scene.house.call(Method::PATCH, &path, Some(given)).await;
    assert!(patched.status.is_success(), "{patched:?}");
    assert_eq!(ask(inside, TOKEN, &[METADATA]).await.0, 200);
}

#[tokio::test]
async fn of_several_identities_one_must_be_named() {
    let scene = Scene::set().await;
    let mut ids = Vec::new();
    for name in ["one", "two"] {
        let id = scene.house.identity_id("rg", name);
        let made = scene.house.put(&id, json!({"location": "westeurope"})).await;
        ids.push((id, made.body["properties"]["clientId"].as_str().unwrap().to_owned()));
    }
    let attached: serde_json::Map<_, _> = ids.iter().map(|(id, _)| (id.clone(), json!({}))).collect();
    let compute = scene.run("mei", json!({"type": "UserAssigned", "userAssignedIdentities": attached})).await;
    let inside = scene.agent.wait_for_metadata(compute, 1).await;
    let (status, body) = ask(inside, TOKEN, &[METADATA]).await;
    assert_eq!(status, 400);
    assert!(body["error_description"].as_str().unwrap().starts_with("Multiple user assigned identities"), "{body}");
    for (id, client_id) in &ids {
        for selector in [format!("client_id={client_id}"), format!("msi_res_id={id}")] {
            let (status, token) = ask(inside, &format!("{TOKEN}&{selector}"), &[METADATA]).await;
            assert_eq!((status, token["client_id"].as_str()), (200, Some(client_id.as_str())), "{token}");
        }
    }
}

#[tokio::test]
async fn a_compute_is_told_what_it_is() {
    let scene = Scene::set().await;
    let compute = scene.run("mei", json!({"type": "None"})).await;
    let inside = scene.agent.wait_for_metadata(compute, 1).await;
    let (status, all) = ask(inside, "/metadata/instance?api-version=2021-02-01", &[METADATA]).await;
    assert_eq!(
        (status, &all["compute"]["name"], &all["compute"]["location"]),
        (200, &json!("mei"), &json!("westeurope"))
    );
    assert_eq!(
        (&all["compute"]["resourceGroupName"], &all["compute"]["vmSize"]),
        (&json!("rg"), &json!("STANDARD_DS1_V2"))
    );
    let path = "/metadata/instance/network/interface/0/ipv4/ipAddress/0/privateIpAddress?api-version=2021-02-01";
    let (_, address) = ask(inside, path, &[METADATA]).await;
    assert_eq!(address, all["network"]["interface"][0]["ipv4"]["ipAddress"][0]["privateIpAddress"]);
    assert!(address.as_str().unwrap().parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    assert_eq!(ask(inside, "/metadata/instance/compute/secret?api-version=2021-02-01", &[METADATA]).await.0, 404);
    assert_eq!(ask(inside, "/metadata/instance/compute/name?api-version=2021-02-01", &[]).await.0, 400);
}

#[tokio::test]
async fn it_is_served_again_after_the_agent_has_come_back_and_not_after_a_stop() {
    let scene = Scene::set().await;
    let compute = scene.run("mei", json!({"type": "SystemAssigned"})).await;
    let before = scene.agent.wait_for_metadata(compute, 1).await;
    scene.agent.leave();
    scene.agent.come_back();
    let after = scene.agent.wait_for_metadata(compute, 2).await;
    assert_ne!(before, after);
    assert_eq!(ask(after, TOKEN, &[METADATA]).await.0, 200);
    let stopped = scene.house.call(Method::POST, &format!("{}/stop", scene.compute("mei")), Some(json!({}))).await;
    scene.house.wait(&stopped).await;
    for _ in 0..200 {
        if TcpStream::connect(after).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it is served although it does not run");
}

struct Scene {
    house: House,
    agent: Agent,
    hub: String,
}

impl Scene {
    async fn set() -> Self {
        let agent = Agent::start();
        let (house, hub) = agent.house(json!({})).await;
        Self { house, agent, hub }
    }

    fn compute(&self, name: &str) -> String {
        format!("{}/computes/{name}", self.hub)
    }

    /// Makes an instance that carries these identities, and waits until it runs.
    async fn run(&self, name: &str, identity: Value) -> ComputeId {
        let properties = json!({"computeType": "ComputeInstance", "properties": {"vmSize": "STANDARD_DS1_V2"}});
        let body = json!({"location": "westeurope", "identity": identity, "properties": properties});
        let made = self.house.put(&self.compute(name), body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert_eq!(self.house.wait(&made).await.body["status"], "Succeeded");
        self.agent.wait_for_instance(name).await.compute
    }

    async fn read(&self, name: &str) -> Value {
        self.house.get(&self.compute(name)).await.body
    }
}

/// Asks like a client inside, which means 169.254.169.254 unless it says something else.
async fn ask(inside: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let host = [("Host", "169.254.169.254")];
    let host = host.iter().filter(|_| !headers.iter().any(|(name, _)| *name == "Host"));
    let mut head = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in host.chain(headers) {
        head += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(inside).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
}

const METADATA: (&str, &str) = ("Metadata", "true");
const TOKEN: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://localhost:8443/";
