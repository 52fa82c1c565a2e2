//! The networks of hubs: what a node reports is what the wire says, and nothing is said without it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use bastide_plan::hub_plan::RuleName;
use bastide_server::{Enforcement, NetworkSettings};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::agent::Agent;
use support::{House, Options};

struct Scene {
    house: House,
    agent: Agent,
    hub: String,
    _directory: tempfile::TempDir,
}

impl Scene {
    /// An approved-only hub with one rule, its network not provisioned yet.
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let agent = Agent::start(&socket);
        let network = NetworkSettings { enforcement: Enforcement::Agent(socket), ..NetworkSettings::default() };
        let house = House::found_with(Options { network, ..Options::default() }).await;
        house.make_group("rg").await;
        let hub = house.hub("rg", "hub");
        let rules = json!({"pypi": {"type": "FQDN", "destination": "pypi.org"}});
        let network = json!({"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": rules});
        let body = json!({"location": "westeurope", "kind": "hub", "properties": {"managedNetwork": network}});
        let made = house.put(&hub, body).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        Self { house, agent, hub, _directory: directory }
    }

    async fn network(&self) -> Value {
        self.house.get(&self.hub).await.body["properties"]["managedNetwork"].clone()
    }

    async fn rule(&self, name: &str) -> Value {
        self.house.get(&format!("{}/outboundRules/{name}", self.hub)).await.body["properties"].clone()
    }

    async fn provision(&self) -> Value {
        let done =
            self.house.call(Method::POST, &format!("{}/provisionManagedNetwork", self.hub), Some(json!({}))).await;
        assert_eq!(done.status, StatusCode::OK, "{done:?}");
        done.body
    }

    /// Waits for what another task brings about.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let network = self.network().await;
            if wanted(&network) {
                return network;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never came: {}", self.network().await)
    }
}

fn is_active(network: &Value) -> bool {
    network["status"]["status"] == "Active"
}

#[tokio::test]
async fn a_network_is_active_when_the_node_says_so_and_not_before() {
    let scene = Scene::set().await;
    assert!(!is_active(&scene.network().await), "nobody has provisioned it");
    assert!(scene.agent.told.lock().unwrap().plans.is_empty());
    assert_eq!(scene.provision().await["status"], "Active", "the answer waits for the kernel (J7)");
    let network = scene.network().await;
    assert!(is_active(&network), "{network}");
    assert_eq!(network["bastide"], json!({"enforcement": "kernel"}));
    assert_eq!(network["outboundRules"]["pypi"]["status"], "Active");
    assert_eq!(scene.rule("pypi").await["status"], "Active");
    // A tag whose addresses nobody knows stands for nothing and says so.
    let tag = scene.rule("__SYS_ST_AzureResourceManager_TCP").await;
    assert_eq!(tag["status"], "Inactive");
    assert!(tag["errorInformation"].as_str().unwrap().contains("AzureResourceManager"), "{tag}");
}

#[tokio::test]
async fn the_put_of_a_rule_is_answered_when_the_node_has_it() {
    let scene = Scene::set().await;
    scene.provision().await;
    let rule = json!({"properties": {"type": "FQDN", "destination": "*.anaconda.org"}});
    let made = scene.house.put(&format!("{}/outboundRules/conda", scene.hub), rule).await;
    assert_eq!(made.body["properties"]["status"], "Active", "{made:?}");
    let names: Vec<String> = scene.agent.last_plan().names.iter().map(|rule| rule.pattern.to_string()).collect();
    assert_eq!(names, ["*.anaconda.org", "pypi.org"]);
    scene.house.call(Method::DELETE, &format!("{}/outboundRules/conda", scene.hub), None).await;
    assert_eq!(scene.agent.last_plan().names.len(), 1, "the answer to a deletion waits, too");
}

#[tokio::test]
async fn what_cannot_be_enforced_is_said_with_its_reason() {
    let scene = Scene::set().await;
    scene.agent.told.lock().unwrap().broken.insert(RuleName("pypi".into()), "no port is free".into());
    scene.provision().await;
    let rule = scene.rule("pypi").await;
    assert_eq!((&rule["status"], &rule["errorInformation"]), (&json!("Inactive"), &json!("no port is free")));
    assert!(is_active(&scene.network().await));
    scene.agent.told.lock().unwrap().shut = Some("nft is missing".into());
    scene
        .house
        .put(
            &format!("{}/outboundRules/more", scene.hub),
            json!({"properties": {"type": "FQDN", "destination": "a.example"}}),
        )
        .await;
    let network = scene.network().await;
    assert!(!is_active(&network), "{network}");
    assert_eq!(network["bastide"]["reason"], "nft is missing");
}

#[tokio::test]
async fn nothing_is_claimed_while_the_agent_is_away_and_everything_is_told_anew_when_it_is_back() {
    let scene = Scene::set().await;
    scene.provision().await;
    scene.agent.leave();
    let network = scene.until(|network| !is_active(network)).await;
    assert!(network["bastide"]["reason"].as_str().unwrap().contains("does not answer"), "{network}");
    scene.agent.told.lock().unwrap().plans.clear();
    scene.agent.come_back();
    scene.until(is_active).await;
    assert_eq!(scene.agent.last_plan().names.len(), 1);
}

#[tokio::test]
async fn a_network_goes_with_its_hub_and_a_later_server_has_the_greater_fence() {
    let mut scene = Scene::set().await;
    scene.provision().await;
    scene.house.kill().await;
    scene.house.start_again();
    scene.until(is_active).await;
    let fences = scene.agent.told.lock().unwrap().fences.clone();
    assert!(fences.len() == 2 && fences[0] < fences[1], "{fences:?}");
    scene.house.call(Method::DELETE, &scene.hub, None).await;
    assert_eq!(scene.agent.told.lock().unwrap().retained.as_deref(), Some([].as_slice()));
}

#[tokio::test]
async fn parallel_writes_of_rules_all_reach_the_node() {
    let scene = Scene::set().await;
    scene.provision().await;
    let scene = &scene;
    let put = |number: usize| {
        let body = json!({"properties": {"type": "FQDN", "destination": format!("host-{number}.example.org")}});
        let path = format!("{}/outboundRules/rule-{number:02}", scene.hub);
        async move { scene.house.put(&path, body).await }
    };
    let answers = futures_util::future::join_all((0..32).map(put)).await;
    for answer in &answers {
        assert_eq!(answer.body["properties"]["status"], "Active", "{answer:?}");
    }
    assert_eq!(scene.agent.last_plan().names.len(), 33);
}

#[tokio::test]
async fn a_simulated_network_is_never_called_active() {
    let network = NetworkSettings { enforcement: Enforcement::Simulated(None), ..NetworkSettings::default() };
    let house = House::found_with(Options { network, ..Options::default() }).await;
    house.make_group("rg").await;
    let hub = house.hub("rg", "hub");
    let network = json!({"isolationMode": "AllowOnlyApprovedOutbound"});
    let properties = json!({"managedNetwork": network, "provisionNetworkNow": true});
    house.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": properties})).await;
    let network = house.get(&hub).await.body["properties"]["managedNetwork"].clone();
    assert!(!is_active(&network));
    assert_eq!(network["bastide"]["enforcement"], "simulated", "{network}");
}
