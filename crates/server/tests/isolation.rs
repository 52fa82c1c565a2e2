//! Isolation that an Owner lifts for a time: by consent, with nothing running, on record, and back by itself (mission.md F16).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use bastide_arm::clock::Clock as _;
use bastide_arm::resource_type::Parity;
use bastide_plan::hub_plan::Mode;
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use support::agent::{Agent, pypi};
use support::{Answer, House, Options};

const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";

/// A provisioned approved-only hub with a rule, before an agent.
struct Scene {
    house: House,
    agent: Agent,
    hub: String,
}

impl Scene {
    async fn set() -> Self {
        let agent = Agent::start();
        let (house, hub) = agent.provisioned_house(pypi()).await;
        Self { house, agent, hub }
    }

    async fn lift_as(&self, token: &str, change: Value) -> Answer {
        let until = self.house.clock.now() + SignedDuration::from_mins(30);
        let mut body = json!({"hub": "hub", "reason": "a mirror is broken", "expiresOn": until.to_string()});
        body.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
        self.house.call_as(token, Method::POST, &format!("{}/bastide/liftIsolation", self.hub), Some(body), &[]).await
    }

    async fn lift(&self) -> Answer {
        self.lift_as(&self.house.token, json!({})).await
    }

    async fn restore(&self) -> Answer {
        self.house.call(Method::POST, &format!("{}/bastide/restoreIsolation", self.hub), None).await
    }

    async fn state(&self) -> Value {
        self.house.get(&format!("{}/bastide/isolation", self.hub)).await.body
    }

    async fn network(&self) -> Value {
        self.house.get(&self.hub).await.body["properties"]["managedNetwork"].clone()
    }

    async fn set_mode(&self, mode: &str) -> Answer {
        let body = json!({"properties": {"managedNetwork": {"isolationMode": mode}}});
        self.house.call(Method::PATCH, &self.hub, Some(body)).await
    }

    fn planned(&self) -> Mode {
        self.agent.last_plan().mode
    }

    /// Waits until the node was told of a mode.
    async fn until(&self, mode: Mode) {
        for _ in 0..1200 {
            if self.planned() == mode {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the node was never told: {:?}", self.planned())
    }

    /// The audit record of a lift.
    async fn record(&self) -> Value {
        let filter = "eventTimestamp%20ge%20'2026-11-21T00:00:00Z'";
        let path = format!(
            "/subscriptions/{}/providers/Microsoft.Insights/eventtypes/management/values?$filter={filter}",
            self.house.subscription
        );
        let listed = self.house.get(&path).await.body["value"].as_array().unwrap().clone();
        let is_lift = |event: &&Value| event["authorization"]["action"] == "Bastide.Network/isolation/lift/action";
        listed.iter().find(is_lift).cloned().unwrap_or_else(|| panic!("no record of it in {listed:?}"))
    }
}

#[tokio::test]
async fn without_a_whole_consent_of_an_owner_nothing_is_lifted() {
    let scene = Scene::set().await;
    let now = scene.house.clock.now();
    let later = |hours: i64| (now + SignedDuration::from_hours(hours)).to_string();
    let wrong = [
        (json!({"hub": null}), "hub"),
        (json!({"hub": "another"}), "hub"),
        (json!({"reason": ""}), "reason"),
        (json!({"expiresOn": null}), "expiresOn"),
        (json!({"expiresOn": later(-1)}), "expiresOn"),
        (json!({"expiresOn": later(24 * 8)}), "expiresOn"),
    ];
    for (change, target) in wrong {
        let refused = scene.lift_as(&scene.house.token, change.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{change}: {refused:?}");
        assert_eq!(refused.body["error"]["target"], target, "{change}: {refused:?}");
    }
    for role in [CONTRIBUTOR, READER] {
        let (principal, token) = scene.house.stranger().await;
        scene.house.grant(principal.object_id, role).await;
        let refused = scene.lift_as(&token, json!({})).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "AuthorizationFailed"), "{refused:?}");
    }
    let refused = scene.set_mode("Disabled").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "a plain write is refused as in the cloud");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("liftIsolation"), "{refused:?}");
    assert_eq!(scene.planned(), Mode::ApprovedOutbound);
    assert_eq!(scene.network().await["changeableIsolationModes"], json!(["AllowInternetOutbound"]));
}

#[tokio::test]
async fn a_lift_opens_the_kernel_says_so_everywhere_and_ends_by_itself() {
    let scene = Scene::set().await;
    let (owner, token) = scene.house.stranger().await;
    scene.house.grant(owner.object_id, OWNER).await;
    let lifted = scene.lift_as(&token, json!({})).await;
    assert_eq!(lifted.status, StatusCode::OK, "{lifted:?}");
    assert_eq!(scene.planned(), Mode::Disabled, "the answer waits for the kernel");
    let network = scene.network().await;
    assert_eq!(network["isolationMode"], "Disabled");
    assert_eq!(network["status"]["status"], "Active");
    assert_eq!(network["changeableIsolationModes"], json!(["AllowInternetOutbound", "AllowOnlyApprovedOutbound"]));
    let lift = &network["bastide"]["isolationLift"];
    assert_eq!(
        (&lift["formerMode"], &lift["reason"]),
        (&json!("AllowOnlyApprovedOutbound"), &json!("a mirror is broken"))
    );
    assert!(network["outboundRules"]["pypi"].is_object(), "rules stay where they are");
    assert_eq!(scene.state().await["isolationLift"], *lift);
    let record = scene.record().await;
    let consent = record["properties"]["consent"].as_str().unwrap();
    assert!(consent.contains("a mirror is broken") && consent.contains("until"), "{record}");
    assert!(record["caller"].as_str().unwrap().contains(&owner.name), "{record}");

    scene.house.clock.advance(SignedDuration::from_mins(30));
    scene.until(Mode::ApprovedOutbound).await;
    let network = scene.network().await;
    assert_eq!(network["isolationMode"], "AllowOnlyApprovedOutbound");
    assert_eq!(network["changeableIsolationModes"], json!(["AllowInternetOutbound"]));
    assert_eq!(network["bastide"].get("isolationLift"), None, "{network}");
    assert_eq!(scene.set_mode("Disabled").await.status, StatusCode::BAD_REQUEST, "over is over");
}

#[tokio::test]
async fn a_lift_survives_a_restart_and_so_does_its_end() {
    let mut scene = Scene::set().await;
    assert_eq!(scene.lift().await.status, StatusCode::OK);
    scene.house.kill().await;
    scene.agent.told.lock().unwrap().plans.clear();
    scene.house.start_again();
    while scene.agent.told.lock().unwrap().plans.is_empty() {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(scene.planned(), Mode::Disabled);
    scene.house.kill().await;
    scene.house.clock.advance(SignedDuration::from_mins(30));
    scene.house.start_again();
    scene.until(Mode::ApprovedOutbound).await;
    assert_eq!(scene.network().await["isolationMode"], "AllowOnlyApprovedOutbound");
}

#[tokio::test]
async fn whoever_may_change_the_hub_brings_isolation_back_before_its_time() {
    let scene = Scene::set().await;
    assert_eq!(scene.lift().await.status, StatusCode::OK);
    let read = scene.house.get(&scene.hub).await.body;
    let again = scene.house.put(&scene.hub, read).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(scene.network().await["isolationMode"], "Disabled", "what was read and is sent back changes nothing");
    assert_eq!(scene.restore().await.body["isolationMode"], "AllowOnlyApprovedOutbound");
    assert_eq!(scene.planned(), Mode::ApprovedOutbound);
    assert_eq!(scene.restore().await.status, StatusCode::OK, "again is no error");

    assert_eq!(scene.lift().await.status, StatusCode::OK);
    let set = scene.set_mode("AllowOnlyApprovedOutbound").await;
    assert!(set.header("x-ms-bastide-warning").contains("is back"), "{set:?}");
    assert_eq!((scene.planned(), &scene.state().await["isolationLift"]), (Mode::ApprovedOutbound, &Value::Null));
}

#[tokio::test]
async fn computes_are_stopped_first_also_those_of_projects() {
    let scene = Scene::set().await;
    let project = scene.house.hub("rg", "team");
    let body = json!({"location": "westeurope", "kind": "project", "properties": {"hubResourceId": scene.hub}});
    assert_eq!(scene.house.put(&project, body).await.status, StatusCode::OK);
    let instance = json!({"computeType": "ComputeInstance", "properties": {"vmSize": "STANDARD_DS1_V2"}});
    for workspace in [&scene.hub, &project] {
        let compute = format!("{workspace}/computes/mei{}", workspace.len());
        let made = scene.house.put(&compute, json!({"location": "westeurope", "properties": instance})).await;
        scene.house.wait(&made).await;
        let refused = scene.lift().await;
        assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "ComputesNotDrained"), "{refused:?}");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains(&compute), "{refused:?}");
        assert_eq!(scene.state().await["runningComputes"], json!([compute]));
        assert_eq!(scene.planned(), Mode::ApprovedOutbound);
        let stopped = scene.house.call(Method::POST, &format!("{compute}/stop"), None).await;
        scene.house.wait(&stopped).await;
    }
    assert_eq!(scene.lift().await.status, StatusCode::OK);
    let shown = scene.house.get(&project).await.body["properties"]["managedNetwork"].clone();
    assert_eq!((&shown["isolationMode"], &shown["changeableIsolationModes"]), (&json!("Disabled"), &json!([])));
}

#[tokio::test]
async fn what_is_not_isolated_or_strict_cannot_be_lifted() {
    let scene = Scene::set().await;
    let open = scene.house.hub("rg", "open");
    scene.house.put(&open, json!({"location": "westeurope", "kind": "hub", "properties": {}})).await;
    let lift = Some(json!({"hub": "open"}));
    let refused = scene.house.call(Method::POST, &format!("{open}/bastide/liftIsolation"), lift).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "IsolationCannotBeLifted"), "{refused:?}");

    let strict = House::found_with(Options { parity: Parity::Strict, ..Options::default() }).await;
    strict.make_group("rg").await;
    let hub = strict.hub("rg", "hub");
    let network = json!({"managedNetwork": {"isolationMode": "AllowInternetOutbound"}});
    strict.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": network})).await;
    let body = Some(json!({"hub": "hub", "reason": "x", "expiresOn": "2026-11-22T10:10:00Z"}));
    let refused = strict.call(Method::POST, &format!("{hub}/bastide/liftIsolation"), body).await;
    assert_eq!(refused.code(), "IsolationCannotBeLifted", "{refused:?}");
}
