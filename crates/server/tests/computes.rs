//! Computes over the wire, with an agent that does what the test says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use bastide_plan::compute_plan::Run;
use bastide_plan::compute_report::{ComputeState, Step};
use bastide_server::{Enforcement, NetworkSettings};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::agent::Agent;
use support::{Answer, House, Options};

struct Scene {
    house: House,
    agent: Agent,
    hub: String,
}

impl Scene {
    /// A hub without a network of its own yet, on a node that obeys.
    async fn set() -> Self {
        let agent = Agent::start();
        let (house, hub) = agent.approved_house(json!({})).await;
        Self { house, agent, hub }
    }

    fn compute(&self, name: &str) -> String {
        format!("{}/computes/{name}", self.hub)
    }

    async fn make(&self, name: &str) -> Answer {
        self.house.put(&self.compute(name), instance(json!({}))).await
    }

    /// Makes an instance and waits until it runs.
    async fn run(&self, name: &str) -> Value {
        let made = self.make(name).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let ended = self.house.wait(&made).await;
        assert_eq!(ended.body["status"], "Succeeded", "{ended:?}");
        self.read(name).await
    }

    async fn read(&self, name: &str) -> Value {
        self.house.get(&self.compute(name)).await.body["properties"].clone()
    }

    async fn post(&self, name: &str, action: &str, body: Value) -> Answer {
        self.house.call(Method::POST, &format!("{}/{action}", self.compute(name)), Some(body)).await
    }

    async fn delete(&self, name: &str) -> Answer {
        let path = format!("{}?underlyingResourceAction=Delete", self.compute(name));
        self.house.call(Method::DELETE, &path, None).await
    }

    /// Deploys a template to its end; the properties of the deployment.
    async fn deploy(&self, name: &str, body: Value) -> Value {
        let path = format!("{}/providers/Microsoft.Resources/deployments/{name}", self.house.group("rg"));
        let made = self.house.put(&path, body).await;
        assert!(made.status.is_success(), "{made:?}");
        for _ in 0..500 {
            let properties = self.house.get(&path).await.body["properties"].clone();
            if properties["provisioningState"] != "Running" {
                return properties;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still running: {name}")
    }

    /// The server's clock says something else now, and tokens of before have expired.
    async fn at(&mut self, now: jiff::Timestamp) {
        self.house.clock.set(now);
        self.house.token = self.house.log_in_admin().await;
    }

    /// Waits for what another task brings about.
    async fn until(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..400 {
            let properties = self.read(name).await;
            if wanted(&properties) {
                return properties;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never came: {}", self.read(name).await)
    }
}

fn instance(more: Value) -> Value {
    let mut inner = json!({"vmSize": "STANDARD_DS1_V2"});
    inner.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    json!({"location": "westeurope", "properties": {"computeType": "ComputeInstance", "properties": inner}})
}

fn cluster(least: u32, most: u32) -> Value {
    let scale = json!({"minNodeCount": least, "maxNodeCount": most, "nodeIdleTimeBeforeScaleDown": "PT5M"});
    let inner = json!({"vmSize": "Standard_DS1_v2", "scaleSettings": scale});
    json!({"location": "westeurope", "properties": {"computeType": "AmlCompute", "properties": inner}})
}

fn state(properties: &Value) -> &str {
    properties["properties"]["state"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_new_instance_is_creating_until_the_node_says_that_it_runs_and_brings_the_network_along() {
    let scene = Scene::set().await;
    scene.agent.hold();
    let made = scene.make("mei").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.header("retry-after"), "1");
    assert_eq!(made.body["location"], "westeurope");
    assert_eq!(
        (state(&made.body["properties"]), &made.body["properties"]["provisioningState"]),
        ("Creating", &json!("Creating"))
    );
    let compute = scene.agent.wait_for_instance("mei").await.compute;
    scene.agent.report(compute, ComputeState::Preparing { what: "making the base image, 40 %".into() });
    let preparing = scene.until("mei", |properties| properties["bastide"]["reason"].is_string()).await;
    assert_eq!(
        (state(&preparing), &preparing["bastide"]["reason"]),
        ("Creating", &json!("making the base image, 40 %"))
    );
    scene.agent.report(compute, ComputeState::Running);
    let ended = scene.house.wait(&made).await;
    assert_eq!(ended.body["status"], "Succeeded", "{ended:?}");
    let running = scene.read("mei").await;
    assert_eq!((state(&running), &running["provisioningState"]), ("Running", &json!("Succeeded")));
    assert_eq!(running["bastide"], json!({"enforcement": "kernel"}));
    assert_eq!(running["properties"]["lastOperation"]["operationName"], "Create");
    // The first compute has provisioned the network (J1), and stands in it.
    let hub = scene.house.get(&scene.hub).await.body;
    assert_eq!(hub["properties"]["managedNetwork"]["status"]["status"], "Active");
    let leg = scene.agent.last_plan().legs.remove(0);
    assert_eq!((leg.compute, leg.name.as_str(), leg.project.as_deref()), (compute, "mei", Some("hub")));
    let address = &running["properties"]["connectivityEndpoints"]["privateIpAddress"];
    assert_eq!(address, &json!(leg.address));
}

#[tokio::test]
async fn an_operation_ends_as_soon_as_the_node_reports_and_whoever_asks_is_told_at_once() {
    let scene = Scene::set().await;
    scene.agent.hold();
    let made = scene.make("mei").await;
    let compute = scene.agent.wait_for_instance("mei").await.compute;
    let asking = scene.house.wait(&made);
    let started = std::time::Instant::now();
    let reporting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        scene.agent.report(compute, ComputeState::Running);
    };
    let (ended, ()) = tokio::join!(asking, reporting);
    assert_eq!(ended.body["status"], "Succeeded");
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_fails_on_the_node_fails_on_the_wire_with_its_reason_and_can_be_started_again() {
    let scene = Scene::set().await;
    scene.agent.hold();
    let made = scene.make("mei").await;
    let compute = scene.agent.wait_for_instance("mei").await.compute;
    let reason = "the image registry.example/a:1 was not found. Correct bastide.image.";
    scene.agent.report(compute, ComputeState::Failed { step: Step::Create, reason: reason.into() });
    let ended = scene.house.wait(&made).await;
    assert_eq!((&ended.body["status"], &ended.body["error"]["message"]), (&json!("Failed"), &json!(reason)));
    let failed = scene.read("mei").await;
    assert_eq!((state(&failed), &failed["provisioningState"]), ("CreateFailed", &json!("Failed")));
    assert_eq!(failed["provisioningErrors"][0]["error"]["message"], reason);
    let started = scene.post("mei", "start", json!({})).await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
    scene.agent.wait_for(|plan| plan.instances.iter().any(|instance| instance.start == 2)).await;
    scene.agent.report(compute, ComputeState::Running);
    assert_eq!(scene.house.wait(&started).await.body["status"], "Succeeded");
}

#[tokio::test]
async fn start_stop_and_restart_are_accepted_and_followed_to_their_end() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    for (action, expected, runs, start) in [
        ("stop", "Stopped", Run::Stopped, 1),
        ("stop", "Stopped", Run::Stopped, 1),
        ("start", "Running", Run::Running, 2),
        ("start", "Running", Run::Running, 2),
        ("restart", "Running", Run::Running, 3),
    ] {
        let accepted = scene.post("mei", action, json!({})).await;
        assert_eq!((accepted.status, &accepted.body), (StatusCode::ACCEPTED, &Value::Null), "{action}: {accepted:?}");
        for header in ["location", "azure-asyncoperation", "retry-after"] {
            assert!(!accepted.header(header).is_empty(), "{action}: {header}");
        }
        assert_eq!(scene.house.wait(&accepted).await.body["status"], "Succeeded", "{action}");
        let result = accepted.header("location").strip_prefix("https://localhost:8443").unwrap().to_owned();
        assert_eq!(scene.house.get(&result).await.status, StatusCode::OK, "{action}");
        assert_eq!(state(&scene.read("mei").await), expected, "{action}");
        let told = scene.agent.last_run().instances.remove(0);
        assert_eq!((told.run, told.start), (runs, start), "{action}");
    }
}

#[tokio::test]
async fn a_deleted_instance_is_gone_when_the_node_has_said_so() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    let compute = scene.agent.last_run().instances[0].compute;
    scene.agent.hold();
    let no_word = scene.house.call(Method::DELETE, &scene.compute("mei"), None).await;
    assert_eq!(
        (no_word.status, &no_word.body["error"]["target"]),
        (StatusCode::BAD_REQUEST, &json!("underlyingResourceAction"))
    );
    let detached = format!("{}?underlyingResourceAction=Detach", scene.compute("mei"));
    assert_eq!(scene.house.call(Method::DELETE, &detached, None).await.status, StatusCode::BAD_REQUEST);
    let deleted = scene.delete("mei").await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED, "{deleted:?}");
    assert!(!deleted.header("location").is_empty());
    scene.agent.wait_for(|plan| plan.instances.is_empty()).await;
    let path = deleted.header("azure-asyncoperation").strip_prefix("https://localhost:8443").unwrap().to_owned();
    assert_eq!(scene.house.get(&path).await.body["status"], "Running", "the node still holds it");
    assert_eq!(scene.agent.last_plan().legs.len(), 1, "its leg stays while something runs on it");
    scene.agent.report(compute, ComputeState::Gone);
    assert_eq!(scene.house.wait(&deleted).await.body["status"], "Succeeded");
    assert!(scene.agent.last_plan().legs.is_empty());
    assert_eq!(scene.house.get(&scene.compute("mei")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(scene.delete("mei").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_compute_of_a_project_stands_in_the_network_of_its_hub_and_goes_with_the_project() {
    let scene = Scene::set().await;
    let project = scene.house.hub("rg", "project");
    let body = json!({"location": "westeurope", "kind": "project", "properties": {"hubResourceId": scene.hub}});
    assert_eq!(scene.house.put(&project, body).await.status, StatusCode::OK);
    let made = scene.house.put(&format!("{project}/computes/mei"), instance(json!({}))).await;
    assert_eq!(scene.house.wait(&made).await.body["status"], "Succeeded");
    scene.run("tomas").await;
    let hub: uuid::Uuid =
        scene.house.get(&scene.hub).await.body["properties"]["workspaceId"].as_str().unwrap().parse().unwrap();
    let run = scene.agent.last_run();
    assert_eq!(run.hub.0, hub);
    let mut names: Vec<(String, usize)> =
        run.instances.iter().map(|instance| (instance.name.clone(), instance.shares.len())).collect();
    names.sort();
    assert_eq!(names, [("mei".to_owned(), 2), ("tomas".to_owned(), 1)], "a project sees its hub's folder, too");
    let legs = scene.agent.last_plan().legs.into_iter();
    let mut homes: Vec<_> = legs.map(|leg| (leg.name, leg.project.unwrap())).collect();
    homes.sort();
    let home = |compute: &str, workspace: &str| (compute.to_owned(), workspace.to_owned());
    assert_eq!(homes, [home("mei", "project"), home("tomas", "hub")], "the wall knows whose compute it is");
    let seen = scene.house.get(&format!("{project}/computes/mei")).await.body;
    assert_eq!(state(&seen["properties"]), "Running");
    assert_eq!(
        scene.house.call(Method::DELETE, &format!("{project}?forceToPurge=true"), None).await.status,
        StatusCode::OK
    );
    let names: Vec<String> = scene.agent.last_run().instances.into_iter().map(|instance| instance.name).collect();
    assert_eq!(names, ["tomas"], "the answer to the deletion waits for the node to be told");
}

#[tokio::test]
async fn a_hub_without_isolation_has_a_namespace_as_soon_as_it_has_a_compute() {
    let scene = Scene::set().await;
    let open = scene.house.hub("rg", "open");
    scene.house.put(&open, json!({"location": "westeurope", "kind": "hub"})).await;
    let made = scene.house.put(&format!("{open}/computes/mei"), instance(json!({}))).await;
    assert_eq!(scene.house.wait(&made).await.body["status"], "Succeeded");
    let plan = scene.agent.last_plan();
    assert_eq!((plan.mode, plan.legs.len()), (bastide_plan::hub_plan::Mode::Disabled, 1));
}

#[tokio::test]
async fn addresses_stay_while_others_come_and_go_and_when_the_server_starts_anew() {
    let mut scene = Scene::set().await;
    for name in ["one", "two", "three"] {
        scene.run(name).await;
    }
    let legs = |scene: &Scene| {
        let mut legs: Vec<_> = scene.agent.last_plan().legs.into_iter().map(|leg| (leg.name, leg.address)).collect();
        legs.sort();
        legs
    };
    let before = legs(&scene);
    let deleted = scene.delete("two").await;
    scene.house.wait(&deleted).await;
    scene.run("four").await;
    scene.house.kill().await;
    scene.house.start_again();
    scene.until("one", |properties| state(properties) == "Running").await;
    scene.run("five").await;
    let after = legs(&scene);
    for (name, address) in before.iter().filter(|(name, _)| name != "two") {
        assert!(after.contains(&(name.clone(), *address)), "{name}: {before:?} {after:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_of_a_compute_while_the_agent_is_away_and_its_operation_goes_on() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    scene.agent.leave();
    let unknown = scene.until("mei", |properties| state(properties) == "Unknown").await;
    assert!(unknown["bastide"]["reason"].as_str().unwrap().contains("does not answer"), "{unknown}");
    let accepted = scene.post("mei", "stop", json!({})).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    scene.agent.come_back();
    assert_eq!(scene.house.wait(&accepted).await.body["status"], "Succeeded");
    assert_eq!(state(&scene.read("mei").await), "Stopped");
}

#[tokio::test]
async fn an_operation_survives_the_server() {
    let mut scene = Scene::set().await;
    scene.agent.hold();
    let made = scene.make("mei").await;
    let compute = scene.agent.wait_for_instance("mei").await.compute;
    scene.house.kill().await;
    scene.house.start_again();
    scene.agent.report(compute, ComputeState::Running);
    assert_eq!(scene.house.wait(&made).await.body["status"], "Succeeded");
}

#[tokio::test]
async fn of_a_hundred_at_once_exactly_as_many_survive_as_the_quota_allows() {
    let scene = Scene::set().await;
    let quota = format!("{}/quotas/Total_Cluster_Dedicated_Regional_Machines", scene.hub);
    let line = json!({"id": quota, "type": "Microsoft.MachineLearningServices/workspaces/quotas", "limit": 7, "unit": "Count"});
    let path = format!(
        "/subscriptions/{}/providers/Microsoft.MachineLearningServices/locations/westeurope/updateQuotas",
        scene.house.subscription
    );
    let set = scene.house.call(Method::POST, &path, Some(json!({"value": [line]}))).await;
    assert_eq!(set.body["value"][0]["status"], "Success", "{set:?}");
    let (scene, mut refused) = (&scene, 0);
    let one = |number: usize| async move {
        // Whoever finds somebody else at it tries again, as clients do.
        loop {
            let answer = scene.make(&format!("ci{number}x")).await;
            if answer.status != StatusCode::CONFLICT || answer.body["error"]["code"] == "QuotaExceeded" {
                return answer;
            }
        }
    };
    let answers = futures_util::future::join_all((0..100).map(one)).await;
    let mut made = 0;
    for answer in &answers {
        match answer.status {
            StatusCode::CREATED => made += 1,
            StatusCode::CONFLICT => refused += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!((made, refused), (7, 93));
    for answer in answers.iter().filter(|answer| answer.status == StatusCode::CREATED) {
        assert_eq!(scene.house.wait(answer).await.body["status"], "Succeeded");
    }
    assert_eq!(scene.agent.last_run().instances.len(), 7);
    let list = scene.house.get(&format!("{}/computes", scene.hub)).await;
    assert_eq!(list.body["value"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_stopped_instance_that_releases_its_quota_leaves_it_to_others_and_must_get_it_back() {
    let scene = Scene::set().await;
    let quota = format!("{}/quotas/Total_Cluster_Dedicated_Regional_Machines", scene.hub);
    let line = json!({"id": quota, "type": "Microsoft.MachineLearningServices/workspaces/quotas", "limit": 1, "unit": "Count"});
    let path = format!(
        "/subscriptions/{}/providers/Microsoft.MachineLearningServices/locations/westeurope/updateQuotas",
        scene.house.subscription
    );
    scene.house.call(Method::POST, &path, Some(json!({"value": [line]}))).await;
    let made = scene.house.put(&scene.compute("mei"), instance(json!({"releaseQuotaOnStop": true}))).await;
    scene.house.wait(&made).await;
    assert_eq!(scene.make("tomas").await.body["error"]["code"], "QuotaExceeded");
    let stopped = scene.post("mei", "stop", json!({})).await;
    scene.house.wait(&stopped).await;
    scene.run("tomas").await;
    let refused = scene.post("mei", "start", json!({})).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (StatusCode::CONFLICT, &json!("QuotaExceeded")));
    assert_eq!(state(&scene.read("mei").await), "Stopped");
}

#[tokio::test]
async fn a_cluster_grows_shrinks_and_lists_its_nodes() {
    let scene = Scene::set().await;
    let made = scene.house.put(&scene.compute("cluster"), cluster(0, 3)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(scene.house.wait(&made).await.body["status"], "Succeeded");
    let grown = scene.post("cluster", "scale", json!({"nodeCount": 3})).await;
    assert_eq!(scene.house.wait(&grown).await.body["status"], "Succeeded", "{grown:?}");
    let nodes = scene.post("cluster", "listNodes", json!({})).await;
    let nodes = nodes.body["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| node["nodeState"] == "idle" && node["privateIpAddress"].is_string()), "{nodes:?}");
    let scale = json!({"properties": {"properties": {"scaleSettings": {"minNodeCount": 0, "maxNodeCount": 2}}}});
    let patched = scene.house.call(Method::PATCH, &scene.compute("cluster"), Some(scale)).await;
    assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
    assert_eq!(scene.house.wait(&patched).await.body["status"], "Succeeded");
    let after = scene.read("cluster").await["properties"].clone();
    assert_eq!(
        (&after["currentNodeCount"], &after["targetNodeCount"], &after["allocationState"]),
        (&json!(2), &json!(2), &json!("Steady"))
    );
    assert_eq!(scene.agent.last_run().instances.len(), 2);
    assert_eq!(scene.post("cluster", "start", json!({})).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.post("cluster", "scale", json!({"nodeCount": 9})).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_lesser_actions_change_what_they_say_and_nothing_else() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    let starts = scene.agent.last_run().instances[0].start;
    let set = scene.post("mei", "updateIdleShutdownSetting", json!({"idleTimeBeforeShutdown": "PT120M"})).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    assert_eq!(
        scene.post("mei", "updateIdleShutdownSetting", json!({"idleTimeBeforeShutdown": "PT1M"})).await.status,
        400
    );
    assert_eq!(scene.post("mei", "enableSso", json!({"enableSSO": false})).await.status, StatusCode::OK);
    let mounts = json!([{"source": "azureml://x", "sourceType": "URI", "mountName": "hello", "mountAction": "Mount"}]);
    assert_eq!(scene.post("mei", "updateDataMounts", mounts).await.status, StatusCode::OK);
    let sizes = scene.post("mei", "getAllowedVmSizesForResize", json!({})).await;
    assert!(sizes.body["value"].as_array().unwrap().iter().any(|size| size["name"] == "Standard_DS2_v2"));
    let inner = scene.read("mei").await["properties"].clone();
    assert_eq!((&inner["idleTimeBeforeShutdown"], &inner["enableSSO"]), (&json!("PT120M"), &json!(false)));
    assert_eq!(inner["dataMounts"][0]["mountState"], "MountFailed", "nothing serves datastores yet");
    assert_eq!(scene.agent.last_run().instances[0].start, starts);
    let resized = scene.post("mei", "resize", json!({"targetVMSize": "Standard_DS2_v2"})).await;
    assert_eq!(resized.status, StatusCode::ACCEPTED);
    assert_eq!(scene.house.wait(&resized).await.body["status"], "Succeeded");
    assert_eq!(scene.read("mei").await["properties"]["vmSize"], "Standard_DS2_v2");
    assert_eq!(scene.agent.last_run().instances[0].start, starts + 1, "it runs anew, as large as asked for");
}

#[tokio::test]
async fn who_operates_computes_may_do_nothing_else_and_a_reader_may_start_nothing() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    let call = |token: String, method: Method, path: String, body: Option<Value>| {
        let house = &scene.house;
        async move { house.call_as(&token, method, &path, body, &[]).await.status }
    };
    let (operator, token) = scene.house.stranger().await;
    let stop = format!("{}/stop", scene.compute("mei"));
    assert_eq!(call(token.clone(), Method::POST, stop.clone(), Some(json!({}))).await, StatusCode::FORBIDDEN);
    // AzureML Compute Operator, and Reader.
    scene.house.grant(operator.object_id, "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815").await;
    assert_eq!(call(token.clone(), Method::POST, stop.clone(), Some(json!({}))).await, StatusCode::ACCEPTED);
    let another = scene.compute("another");
    assert_eq!(call(token.clone(), Method::PUT, another, Some(instance(json!({})))).await, StatusCode::CREATED);
    assert_eq!(call(token, Method::DELETE, scene.hub.clone(), None).await, StatusCode::FORBIDDEN);
    let (reader, token) = scene.house.stranger().await;
    scene.house.grant(reader.object_id, "acdd72a7-3385-48ef-bd42-f606fba81ae7").await;
    assert_eq!(call(token.clone(), Method::GET, scene.compute("mei"), None).await, StatusCode::OK);
    assert_eq!(call(token, Method::POST, stop, Some(json!({}))).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_hub_that_goes_takes_its_computes_along_and_they_do_not_come_back_with_it() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    assert_eq!(scene.house.call(Method::DELETE, &scene.hub, None).await.status, StatusCode::OK);
    assert!(scene.agent.has_retained_nothing());
    let body = json!({"location": "westeurope", "kind": "hub", "properties": {}});
    scene.house.put(&scene.hub, body).await;
    let list = scene.house.get(&format!("{}/computes", scene.hub)).await;
    assert_eq!(list.body["value"], json!([]));
}

#[tokio::test]
async fn an_instance_without_a_public_address_needs_a_hub_with_a_private_endpoint() {
    let scene = Scene::set().await;
    let body = instance(json!({"enableNodePublicIp": false}));
    let refused = scene.house.put(&scene.compute("mei"), body.clone()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("private endpoint"), "{refused:?}");
    let endpoint = format!("{}/providers/Microsoft.Network/privateEndpoints/way-in", scene.house.group("rg"));
    let target =
        json!({"name": "hub", "properties": {"privateLinkServiceId": scene.hub, "groupIds": ["amlworkspace"]}});
    let subnet = json!({"id": format!("{}/providers/Microsoft.Network/virtualNetworks/net/subnets/one", scene.house.group("rg"))});
    let properties = json!({"subnet": subnet, "privateLinkServiceConnections": [target]});
    let made = scene.house.put(&endpoint, json!({"location": "westeurope", "properties": properties})).await;
    assert!(made.status.is_success(), "{made:?}");
    assert_eq!(scene.house.put(&scene.compute("mei"), body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_instance_that_nobody_uses_is_stopped_and_one_that_works_is_not() {
    let mut scene = Scene::set().await;
    let body = instance(json!({"idleTimeBeforeShutdown": "PT15M"}));
    let made = scene.house.put(&scene.compute("mei"), body).await;
    scene.house.wait(&made).await;
    // Reports carry the time of the node; the server's own is this test's.
    let start = jiff::Timestamp::now();
    let after = |minutes: i64| start + jiff::SignedDuration::from_mins(minutes);
    for (minutes, cpu) in [(0, 0), (10, 600_000_000), (20, 600_000_000)] {
        scene.agent.told.lock().unwrap().cpu = cpu;
        scene.at(after(minutes)).await;
        tokio::time::sleep(Duration::from_millis(2200)).await;
    }
    assert_eq!(state(&scene.read("mei").await), "Running", "it was busy ten minutes ago");
    scene.at(after(26)).await;
    let stopped = scene.until("mei", |properties| state(properties) == "Stopped").await;
    assert_eq!(stopped["properties"]["lastOperation"]["operationTrigger"], "IdleShutdown");
}

#[tokio::test]
async fn a_schedule_stops_and_starts() {
    let mut scene = Scene::set().await;
    let cron = |action: &str, expression: &str| json!({"action": action, "triggerType": "Cron", "cron": {"expression": expression}});
    let both = json!({"computeStartStop": [cron("Stop", "0 18 * * *"), cron("Start", "0 8 * * *")]});
    let made = scene.house.put(&scene.compute("mei"), instance(json!({"schedules": both}))).await;
    assert_eq!(scene.house.wait(&made).await.body["status"], "Succeeded", "{made:?}");
    scene.at("2026-11-22T18:00:30Z".parse().unwrap()).await;
    let stopped = scene.until("mei", |properties| state(properties) == "Stopped").await;
    assert_eq!(stopped["properties"]["lastOperation"]["operationTrigger"], "Schedule");
    scene.at("2026-11-23T08:00:30Z".parse().unwrap()).await;
    let started = scene.until("mei", |properties| state(properties) == "Running").await;
    assert_eq!(started["properties"]["lastOperation"]["operationTrigger"], "Schedule");
    assert_eq!(started["properties"]["lastOperation"]["operationName"], "Start");
}

#[tokio::test]
async fn an_idle_instance_freezes_when_it_was_asked_to() {
    let mut scene = Scene::set().await;
    let made = scene.house.put(&scene.compute("mei"), instance(json!({"bastide": {"freezeAfter": "PT5M"}}))).await;
    scene.house.wait(&made).await;
    scene.at(jiff::Timestamp::now() + jiff::SignedDuration::from_mins(6)).await;
    scene.agent.wait_for(|plan| plan.instances.iter().all(|instance| instance.run == Run::Frozen)).await;
    let frozen = scene.until("mei", |properties| properties["bastide"]["frozen"] == true).await;
    assert_eq!(state(&frozen), "Running", "it wakes with the next connection");
}

#[tokio::test]
async fn a_simulated_node_runs_nothing_and_nothing_is_said_to_run() {
    let network = NetworkSettings { enforcement: Enforcement::Simulated(None), ..NetworkSettings::default() };
    let house = House::found_with(Options { network, ..Options::default() }).await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let path = format!("{}/computes/mei", house.hub("rg", "hub"));
    let made = house.put(&path, instance(json!({}))).await;
    assert_eq!(house.wait(&made).await.body["status"], "Succeeded");
    let seen = house.get(&path).await.body["properties"].clone();
    assert_eq!((state(&seen), &seen["bastide"]["enforcement"]), ("Unknown", &json!("simulated")), "{seen}");
    assert_eq!(
        house
            .wait(&house.call(Method::DELETE, &format!("{path}?underlyingResourceAction=Delete"), None).await)
            .await
            .body["status"],
        "Succeeded"
    );
}

#[tokio::test]
async fn without_a_node_a_compute_fails_and_says_why() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let path = format!("{}/computes/mei", house.hub("rg", "hub"));
    let made = house.put(&path, instance(json!({}))).await;
    let ended = house.wait(&made).await;
    assert_eq!(
        (&ended.body["status"], &ended.body["error"]["code"]),
        (&json!("Failed"), &json!("NoNode")),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_template_brings_computes_and_waits_until_they_run() {
    let scene = Scene::set().await;
    let resource = |name: &str, size: &str| {
        json!({
            "type": "Microsoft.MachineLearningServices/workspaces/computes", "apiVersion": "2024-10-01",
            "name": format!("hub/{name}"), "location": "westeurope",
            "properties": {"computeType": "ComputeInstance", "properties": {"vmSize": size}},
        })
    };
    let template = |resources: Value| {
        let schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#";
        json!({"properties": {"mode": "Incremental", "template": {
            "$schema": schema, "contentVersion": "1.0.0.0", "resources": resources}}})
    };
    let good = template(json!([resource("mei", "Standard_DS1_v2"), resource("tomas", "Standard_B1s")]));
    assert_eq!(scene.deploy("good", good.clone()).await["provisioningState"], "Succeeded");
    assert_eq!((state(&scene.read("mei").await), state(&scene.read("tomas").await)), ("Running", "Running"));
    let before = scene.agent.last_run();
    assert_eq!(scene.deploy("again", good).await["provisioningState"], "Succeeded");
    assert_eq!(scene.agent.last_run(), before, "the same again changes nothing");
    let bad = scene.deploy("bad", template(json!([resource("priya", "Standard_Nothing")]))).await;
    assert_eq!(bad["provisioningState"], "Failed");
    assert!(bad["error"].to_string().contains("list-sizes"), "{bad}");
}

#[tokio::test]
async fn what_a_setup_script_has_printed_is_for_whoever_the_instance_is_for() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    let path = format!("{}/bastide/scriptLog", scene.compute("mei"));
    let log = scene.house.get(&format!("{path}?script=creation")).await;
    assert_eq!((log.status, &log.body["text"]), (StatusCode::OK, &json!("Creation was here\n")));
    assert_eq!(scene.house.get(&path).await.status, StatusCode::BAD_REQUEST);
    let (reader, token) = scene.house.stranger().await;
    scene.house.grant(reader.object_id, "acdd72a7-3385-48ef-bd42-f606fba81ae7").await;
    let refused = scene.house.call_as(&token, Method::GET, &format!("{path}?script=creation"), None, &[]).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("NotTheAssignedUser")));
}

#[tokio::test]
async fn computes_go_with_their_group() {
    let scene = Scene::set().await;
    scene.run("mei").await;
    let deleted = scene.house.call(Method::DELETE, &scene.house.group("rg"), None).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    assert_eq!(scene.house.wait(&deleted).await.body["status"], "Succeeded");
    for _ in 0..200 {
        if scene.agent.has_retained_nothing() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the node was never told");
}
