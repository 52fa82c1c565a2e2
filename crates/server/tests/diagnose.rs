//! `diagnose` on the wire: what the wall says of what a hub stands on, which rules stand for nothing, locks, what has gone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use bastide_plan::explanation::{Explanation, Suggestion};
use bastide_plan::hub_plan::RuleName;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::House;
use support::agent::{Agent, pypi};

/// A provisioned approved-only hub before an agent, on a storage account of its own.
struct Scene {
    house: House,
    agent: Agent,
    hub: String,
    storage: String,
}

impl Scene {
    async fn set() -> Self {
        let agent = Agent::start();
        let (house, hub) = agent.provisioned_house(pypi()).await;
        let storage = house.get(&hub).await.body["properties"]["storageAccount"].as_str().unwrap().to_owned();
        Self { house, agent, hub, storage }
    }

    fn denies(&self, name: &str, reason: &str, suggestion: Option<Suggestion>) {
        let rule = suggestion.is_none().then(|| RuleName("pe".into()));
        let explanation =
            Explanation { allowed: false, rule, reason: reason.into(), suggestion, addresses: Vec::new() };
        self.agent.told.lock().unwrap().explained.insert(name.to_owned(), explanation);
    }

    fn host(&self, service: &str) -> String {
        format!("{}.{service}.bastide.localhost", self.storage.rsplit('/').next().unwrap())
    }

    async fn diagnose(&self, workspace: &str, body: Value) -> Value {
        let answer = self.house.call(Method::POST, &format!("{workspace}/diagnose"), Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["value"].clone()
    }
}

fn codes(found: &Value, area: &str) -> Vec<String> {
    let results = found[format!("{area}Results")].as_array().unwrap();
    results.iter().map(|result| result["code"].as_str().unwrap().to_owned()).collect()
}

fn message(found: &Value, area: &str) -> String {
    found[format!("{area}Results")][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_hub_in_order_has_nothing_to_tell() {
    let scene = Scene::set().await;
    let found = scene.diagnose(&scene.hub, json!({"value": {}})).await;
    let areas = found.as_object().unwrap();
    assert_eq!(areas.len(), 9, "{found}");
    assert!(areas.values().all(|results| results == &json!([])), "{found}");
}

#[tokio::test]
async fn what_the_wall_refuses_is_told_with_the_rule_that_is_missing() {
    let scene = Scene::set().await;
    let blob = scene.host("blob");
    let suggestion = Suggestion { rule_type: "PrivateEndpoint".into(), destination: blob.clone(), port: None };
    scene.denies(&blob, "No rule of hub 'hub' approves it.", Some(suggestion));
    scene.denies(&scene.host("file"), "No service stands behind it yet.", None);
    scene.denies("pypi.org", "It leads to 10.0.0.1, a private address.", None);
    let found = scene.diagnose(&scene.hub, json!({})).await;
    assert_eq!(codes(&found, "storageAccount"), ["NotReachable", "NotReachable"]);
    assert!(message(&found, "storageAccount").contains(&format!("{blob}:443")), "{found}");
    assert_eq!(codes(&found, "dnsResolution"), ["NameNotResolved", "NameLeadsAstray"]);
    assert_eq!(codes(&found, "networkSecurityRule"), ["OutboundRuleMissing", "NotReachable"]);
    assert!(message(&found, "networkSecurityRule").contains("type PrivateEndpoint"), "{found}");
    let asked = scene.diagnose(&scene.hub, json!({"value": {"storageAccount": {}, "keyVault": {}}})).await;
    assert_eq!((codes(&asked, "storageAccount").len(), codes(&asked, "networkSecurityRule").len()), (2, 0));

    let project = scene.house.hub("rg", "team");
    let body = json!({"location": "westeurope", "kind": "project", "properties": {"hubResourceId": scene.hub}});
    assert_eq!(scene.house.put(&project, body).await.status, StatusCode::OK);
    assert_eq!(scene.diagnose(&project, json!({})).await, found, "a project has its hub's network");
}

#[tokio::test]
async fn rules_out_of_force_locks_and_what_has_gone_are_told() {
    let scene = Scene::set().await;
    let tag =
        json!({"type": "ServiceTag", "destination": {"serviceTag": "Sql", "protocol": "TCP", "portRanges": "1433"}});
    scene.house.put(&format!("{}/outboundRules/sql", scene.hub), json!({"properties": tag})).await;
    let off = json!({"type": "FQDN", "destination": "off.example", "bastide": {"enabled": false}});
    scene.house.put(&format!("{}/outboundRules/off", scene.hub), json!({"properties": off})).await;
    let lock = format!("{}/providers/Microsoft.Authorization/locks/keep", scene.storage);
    scene.house.put(&lock, json!({"properties": {"level": "ReadOnly"}})).await;
    let found = scene.diagnose(&scene.hub, json!({})).await;
    assert_eq!(
        codes(&found, "networkSecurityRule"),
        ["OutboundRuleInactive"],
        "what somebody switched off is meant so"
    );
    assert!(message(&found, "networkSecurityRule").contains("'Sql'"), "{found}");
    assert_eq!(found["resourceLockResults"][0]["level"], "Warning");
    assert!(message(&found, "resourceLock").contains("locks/keep"), "{found}");

    scene.house.call(Method::DELETE, &lock, None).await;
    scene.house.call(Method::DELETE, &scene.storage, None).await;
    let found = scene.diagnose(&scene.hub, json!({})).await;
    assert_eq!(codes(&found, "storageAccount"), ["AssociatedResourceMissing"]);
    scene.agent.leave();
    let away = scene.diagnose(&scene.hub, json!({})).await;
    let said = codes(&away, "other");
    assert!(said == ["ManagedNetworkInactive"] || said == ["WallNotAsked"], "{away}");
}

/// mission.md E6.
#[tokio::test]
async fn a_resource_with_service_endpoints_has_no_private_endpoint() {
    let scene = Scene::set().await;
    let storage = scene.storage.replace(scene.storage.rsplit('/').next().unwrap(), "served");
    let subnet =
        json!({"id": format!("{}/providers/Microsoft.Network/virtualNetworks/v/subnets/s", scene.house.group("rg"))});
    let acls = json!({"networkAcls": {"defaultAction": "Deny", "virtualNetworkRules": [subnet]}});
    let body =
        json!({"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": acls});
    assert!(scene.house.put(&storage, body).await.status.is_success());
    let rule = json!({"type": "PrivateEndpoint",
        "destination": {"serviceResourceId": storage, "subresourceTarget": "blob"}});
    let alone = scene.house.put(&format!("{}/outboundRules/served", scene.hub), json!({"properties": rule})).await;
    let map = json!({"properties": {"managedNetwork": {"outboundRules": {"served": rule}}}});
    let in_a_map = scene.house.call(Method::PATCH, &scene.hub, Some(map)).await;
    for refused in [alone, in_a_map] {
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        let said = refused.body["error"]["message"].as_str().unwrap();
        assert!(said.contains("virtualNetworkRules") && said.contains("never both"), "{said}");
    }
}
