//! What computes admit, and what is said of them.

use std::collections::BTreeMap;

use bastide_arm::api_version::ApiVersion;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Existing, Linked, Parity, Secret};
use bastide_plan::compute_plan::{Image, Isolation, Run};
use bastide_plan::compute_report::{ComputeReport, ComputeState, Step};
use bastide_plan::hub_plan::HubId;
use jiff::Timestamp;
use serde_json::json;

use super::*;

const WORKSPACE: &str = "/subscriptions/00000000-0000-0000-0000-0000000000b2/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/hub";
const HOST: Capacity = Capacity { cores: 2, memory: 24 * 1024, gpus: 0 };
const TENANT: Uuid = Uuid::from_u128(0xa1);
const ID: Uuid = Uuid::from_u128(0xc1);
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx7nYlq0hSXhY4T5S9vIu0M1b6nN9Wn3o6b3WZl1wQy mei@bastide";

fn row(id: &str, incarnation: Uuid, document: Document) -> Linked {
    Linked { id: ResourceId::parse(id).unwrap(), incarnation, document }
}

fn workspace() -> Linked {
    let document = Document { location: Some("westeurope".to_owned()), ..Document::default() };
    row(WORKSPACE, Uuid::from_u128(0xb1), document)
}

fn put_over(existing: Option<&Document>, properties: Value) -> Result<Admitted, ArmError> {
    let asked = properties.as_object().cloned().unwrap();
    Compute::on(HOST).admit(Admission {
        id: &ResourceId::parse(&format!("{WORKSPACE}/computes/mei")).unwrap(),
        existing: existing.map(|document| Existing { incarnation: ID, document }),
        document: Document { properties: asked.clone(), ..Document::default() },
        asked: &asked,
        secrets: &BTreeMap::new(),
        linked: &BTreeMap::new(),
        parent: Some(&workspace()),
        parts: &[],
        referrers: &[],
        api_version: &ApiVersion::parse("2024-10-01").unwrap(),
        zone: "bastide.localhost",
        parity: Parity::Native,
        tenant_id: TENANT,
        author: &Author { object_id: Uuid::from_u128(7), name: "mei".to_owned() },
        now: "2026-11-22T10:00:00Z".parse().unwrap(),
        fresh_id: &|| Uuid::nil(),
        fresh_secret: &|| Secret::new("secret"),
    })
}

fn instance(inner: Value) -> Value {
    let mut properties = json!({"vmSize": "STANDARD_DS3_V2"});
    properties.as_object_mut().unwrap().extend(inner.as_object().cloned().unwrap());
    json!({"computeType": "ComputeInstance", "properties": properties})
}

fn cluster(inner: Value) -> Value {
    let mut properties = json!({"vmSize": "Standard_DS2_v2", "scaleSettings": {"minNodeCount": 1, "maxNodeCount": 3}});
    properties.as_object_mut().unwrap().extend(inner.as_object().cloned().unwrap());
    json!({"computeType": "AmlCompute", "properties": properties})
}

fn made(properties: Value) -> Document {
    put_over(None, properties).unwrap().document
}

fn said(document: &Document, observed: Option<&Observed>) -> Map<String, Value> {
    Compute::on(HOST).answer(&View {
        id: &ResourceId::parse(&format!("{WORKSPACE}/computes/mei")).unwrap(),
        incarnation: ID,
        document,
        parts: &[],
        referrers: &[],
        linked: &BTreeMap::new(),
        observed,
        api_version: &ApiVersion::parse("2024-10-01").unwrap(),
        origin: "https://localhost:8443",
        zone: "bastide.localhost:8443",
        tenant_id: TENANT,
        now: "2026-11-22T10:00:00Z".parse().unwrap(),
    })
}

/// What is seen when the node says this of the compute itself.
fn seen(start: u64, state: ComputeState) -> Observed {
    let (hub, compute) = (HubId(Uuid::nil()), ComputeId(ID));
    let report =
        ComputeReport { hub, compute, start, state, image: Some("sha256:1".to_owned()), at: 1_800_000_000_000 };
    let part = status::observed("kernel", Some("100.127.0.16".to_owned()), Some(&report));
    let mut observed = Observed::new("kernel", None);
    observed.parts.insert(ID.to_string(), std::sync::Arc::new(part));
    observed
}

fn words(document: &Document, observed: Option<&Observed>) -> (String, String, String) {
    let said = said(document, observed);
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let inner = &said["properties"];
    (word(&inner["state"]), word(&said["provisioningState"]), word(&inner["lastOperation"]["operationStatus"]))
}

#[test]
fn names_are_those_of_the_cloud_and_never_look_like_nodes() {
    for name in ["mei", "Mei-CI", "a-1b", "abc-", "a12345678901234567890123"] {
        assert!(is_name(name), "{name}");
    }
    for name in ["me", "1ei", "-ei", "mei-1", "mei-ci-42", "mei_ci", "a123456789012345678901234", "größe", ""] {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn a_plain_instance_gets_the_defaults_of_the_cloud_and_the_place_of_its_workspace() {
    let document = made(instance(json!({})));
    assert_eq!(document.location.as_deref(), Some("westeurope"));
    let inner = inner(&document).unwrap();
    assert_eq!(inner["vmSize"], "STANDARD_DS3_V2", "the spelling is the writer's");
    for (name, value) in [
        ("applicationSharingPolicy", json!("Shared")),
        ("computeInstanceAuthorizationType", json!("personal")),
        ("enableNodePublicIp", json!(true)),
        ("enableSSO", json!(true)),
        ("enableRootAccess", json!(true)),
        ("releaseQuotaOnStop", json!(false)),
    ] {
        assert_eq!(inner[name], value, "{name}");
    }
    assert_eq!(creator(&document).unwrap().name, "mei");
}

#[test]
fn what_is_answered_can_be_put_again_and_changes_nothing() {
    let document = made(instance(json!({
        "sshSettings": {"sshPublicAccess": "enabled", "adminPublicKey": KEY},
        "idleTimeBeforeShutdown": "PT30M",
        "schedules": {"computeStartStop": [{"action": "Stop", "triggerType": "Cron", "cron": {"expression": "0 18 * * *"}}]},
        "customServices": null,
    })));
    let answer = said(&document, Some(&seen(1, ComputeState::Running)));
    for name in ["provisioningState", "bastide", "isAttachedCompute"] {
        assert!(DESCRIPTOR.read_only.contains(&name), "{name}");
    }
    let mut body = answer.clone();
    body.retain(|name, _| !DESCRIPTOR.read_only.contains(&name.as_str()));
    assert_eq!(put_over(Some(&document), Value::Object(body)).unwrap().document, document);
    let silent = put_over(Some(&document), json!({"computeType": "ComputeInstance"})).unwrap().document;
    assert_eq!(
        inner(&silent).unwrap()["sshSettings"],
        inner(&document).unwrap()["sshSettings"],
        "what is for life stays"
    );
}

#[test]
fn what_cannot_be_is_refused_where_it_stands_and_says_what_to_do() {
    let none = Uuid::nil();
    let user = |object: &str, tenant: &str| json!({"personalComputeInstanceSettings": {"assignedUser": {"objectId": object, "tenantId": tenant}}});
    let cases = [
        (json!({}), "properties.computeType"),
        (json!({"computeType": "Quantum"}), "properties.computeType"),
        (json!({"computeType": "Kubernetes"}), "properties.computeType"),
        (json!({"computeType": "ComputeInstance"}), "vmSize"),
        (json!({"computeType": "ComputeInstance", "properties": []}), "properties.properties"),
        (instance(json!({"vmSize": "Standard_X1"})), "vmSize"),
        (instance(json!({"vmSize": 7})), "vmSize"),
        (instance(json!({"vmSize": "Standard_NC6s_v3"})), "vmSize"),
        (
            instance(json!({"vmSize": "Standard_E16s_v3", "subnet": null, "idleTimeBeforeShutdown": "PT1M"})),
            "idleTimeBeforeShutdown",
        ),
        (instance(json!({"subnet": {"id": "x"}})), "subnet"),
        (instance(json!({"idleTimeBeforeShutdown": "PT14M"})), "idleTimeBeforeShutdown"),
        (instance(json!({"idleTimeBeforeShutdown": "P4D"})), "idleTimeBeforeShutdown"),
        (instance(json!({"enableSSO": "perhaps"})), "enableSSO"),
        (instance(json!({"applicationSharingPolicy": "Everybody"})), "applicationSharingPolicy"),
        (instance(json!({"computeInstanceAuthorizationType": "shared"})), "computeInstanceAuthorizationType"),
        (instance(json!({"sshSettings": {"adminPublicKey": "nothing"}})), "adminPublicKey"),
        (instance(json!({"sshSettings": {"sshPublicAccess": "Yes"}})), "sshPublicAccess"),
        (instance(user("mei", &TENANT.to_string())), "objectId"),
        (instance(user(&none.to_string(), &none.to_string())), "tenantId"),
        (instance(json!({"setupScripts": {"scripts": {"startupScript": {"scriptData": "%"}}}})), "scriptData"),
        (instance(json!({"customServices": {}})), "customServices"),
        (instance(json!({"customServices": [{"name": "rstudio", "image": {"type": "docker"}}]})), "image.reference"),
        (instance(json!({"bastide": {"isolation": "magic"}})), "isolation"),
        (instance(json!({"bastide": {"image": "ubuntu"}})), "image"),
        (instance(json!({"bastide": {"image": "registry.example/UPPER"}})), "image"),
        (instance(json!({"bastide": {"image": "file:/a/../etc/shadow"}})), "image"),
        (instance(json!({"bastide": {"image": "file:"}})), "image"),
        (instance(json!({"bastide": {"freezeAfter": "PT1S"}})), "freezeAfter"),
        (instance(json!({"bastide": {"privileged": true}})), "privileged"),
        (cluster(json!({"scaleSettings": null})), "scaleSettings"),
        (cluster(json!({"scaleSettings": {}})), "maxNodeCount"),
        (cluster(json!({"scaleSettings": {"minNodeCount": 2, "maxNodeCount": 1}})), "minNodeCount"),
        (cluster(json!({"scaleSettings": {"maxNodeCount": -1}})), "maxNodeCount"),
        (cluster(json!({"scaleSettings": {"maxNodeCount": 501}})), "maxNodeCount"),
        (cluster(json!({"osType": "Windows"})), "osType"),
        (cluster(json!({"virtualMachineImage": {"id": "x"}})), "virtualMachineImage"),
        (
            cluster(json!({"userAccountCredentials": {"adminUserName": "a", "adminUserPassword": "b"}})),
            "adminUserPassword",
        ),
    ];
    for (properties, place) in cases {
        let error = put_over(None, properties.clone()).unwrap_err();
        assert_eq!(error.status, 400, "{properties}");
        assert!(error.target.as_deref().unwrap_or_default().ends_with(place), "{properties}: {error:?}");
        assert!(error.message.ends_with('.'), "{}", error.message);
    }
}

#[test]
fn what_the_sdk_sends_back_of_an_instance_that_a_template_has_made_changes_nothing_else() {
    let document = made(instance(json!({})));
    let mut body = instance(json!({"sshSettings": {"sshPublicAccess": "Disabled"}}));
    body["disableLocalAuth"] = json!(true);
    let again = put_over(Some(&document), body.clone()).unwrap().document;
    assert_eq!(inner(&again), inner(&document));
    body["disableLocalAuth"] = json!(false);
    let error = put_over(Some(&again), body).unwrap_err();
    assert_eq!(error.target.as_deref(), Some("properties.disableLocalAuth"), "what was said once stays");
}

#[test]
fn another_size_is_asked_for_by_resize() {
    let document = made(instance(json!({})));
    let error = put_over(Some(&document), instance(json!({"vmSize": "Standard_DS2_v2"}))).unwrap_err();
    assert!(error.message.contains("resize"), "{error:?}");
}

#[test]
fn what_is_for_life_cannot_be_changed_and_the_rest_can() {
    let document = made(instance(json!({})));
    for change in [
        json!({"vmSize": "Standard_DS2_v2"}),
        json!({"sshSettings": {"sshPublicAccess": "Enabled", "adminPublicKey": KEY}}),
        json!({"enableNodePublicIp": false}),
        json!({"bastide": {"isolation": "gvisor"}}),
    ] {
        let error = put_over(Some(&document), instance(change.clone())).unwrap_err();
        assert!(error.message.contains("decided when a compute is made"), "{change}: {error:?}");
    }
    assert!(put_over(Some(&document), instance(json!({"vmSize": "standard_ds3_v2"}))).is_ok(), "sizes have no case");
    let later = put_over(Some(&document), instance(json!({"idleTimeBeforeShutdown": "PT60M"}))).unwrap().document;
    assert_eq!(Desired::of(&later), Desired::of(&document), "and nothing starts again for it");
    let mut other = instance(json!({}));
    other["computeType"] = json!("AmlCompute");
    assert!(put_over(Some(&document), other).is_err());
}

#[test]
fn the_wire_says_what_the_node_reports_and_nothing_without_it() {
    let document = made(instance(json!({})));
    let preparing = ComputeState::Preparing { what: "making the base image, 40 %".to_owned() };
    let failed = |step| ComputeState::Failed { step, reason: "no room".to_owned() };
    let cases = [
        (Some(seen(0, ComputeState::Running)), ("Creating", "Creating", "InProgress")),
        (Some(seen(1, preparing)), ("Creating", "Creating", "InProgress")),
        (Some(seen(1, ComputeState::SettingUp)), ("SettingUp", "Creating", "InProgress")),
        (Some(seen(1, ComputeState::Running)), ("Running", "Succeeded", "Succeeded")),
        (Some(seen(1, ComputeState::Frozen)), ("Running", "Succeeded", "Succeeded")),
        (Some(seen(1, ComputeState::Stopped)), ("Creating", "Creating", "InProgress")),
        (Some(seen(1, failed(Step::Create))), ("CreateFailed", "Failed", "CreateFailed")),
        (Some(seen(1, failed(Step::SetUp))), ("SetupFailed", "Failed", "CreateFailed")),
        (Some(seen(1, failed(Step::Run))), ("Unusable", "Failed", "CreateFailed")),
        (Some(Observed::new("kernel", None)), ("Creating", "Creating", "InProgress")),
        (Some(Observed::new("kernel", Some("away".to_owned()))), ("Unknown", "Unknown", "InProgress")),
        (Some(Observed::new("simulated", Some("simulated".to_owned()))), ("Unknown", "Succeeded", "Succeeded")),
        (Some(Observed::new("none", Some("nobody".to_owned()))), ("Unknown", "Failed", "CreateFailed")),
        (None, ("Unknown", "Failed", "CreateFailed")),
    ];
    for (observed, (state, provisioning, operation)) in cases {
        let words = words(&document, observed.as_ref());
        assert_eq!(words, (state.to_owned(), provisioning.to_owned(), operation.to_owned()), "{observed:?}");
    }
    let said = said(&document, Some(&seen(1, failed(Step::Create))));
    assert_eq!(said["provisioningErrors"][0]["error"]["message"], "no room");
    assert_eq!(said["properties"]["errors"][0]["error"]["code"], "ComputeCreateFailed");
}

#[test]
fn each_operation_has_its_words() {
    let document = made(instance(json!({})));
    let desired = Desired::of(&document).unwrap();
    let now: Timestamp = "2026-11-22T11:00:00Z".parse().unwrap();
    let with = |desired: &Desired| {
        let mut document = document.clone();
        desired.store(&mut document.properties);
        document
    };
    let state = |desired: &Desired, observed: Observed| words(&with(desired), Some(&observed)).0;
    let stopped = desired.stopped(Trigger::IdleShutdown, now);
    assert_eq!(state(&stopped, seen(1, ComputeState::Running)), "Stopping");
    assert_eq!(state(&stopped, seen(1, ComputeState::Stopped)), "Stopped");
    let said = said(&with(&stopped), Some(&seen(1, ComputeState::Stopped)));
    assert_eq!(
        (&said["provisioningState"], &said["properties"]["lastOperation"]["operationTrigger"]),
        (&json!("Succeeded"), &json!("IdleShutdown"))
    );
    let started = stopped.started(Operation::Start, Trigger::User, now);
    assert_eq!(state(&started, seen(1, ComputeState::Stopped)), "Starting");
    assert_eq!(state(&started, seen(2, ComputeState::Running)), "Running");
    let restarted = started.started(Operation::Restart, Trigger::User, now);
    assert_eq!(state(&restarted, seen(2, ComputeState::Running)), "Restarting", "it still runs as before");
    assert_eq!(state(&restarted, seen(3, ComputeState::Running)), "Running");
    let resized = restarted.started(Operation::Resize, Trigger::User, now);
    assert_eq!(state(&resized, seen(3, ComputeState::Running)), "Resizing");
}

#[test]
fn an_instance_says_its_user_its_address_and_where_its_pages_are() {
    let said = said(&made(instance(json!({}))), Some(&seen(1, ComputeState::Running)));
    let inner = &said["properties"];
    assert_eq!(inner["connectivityEndpoints"], json!({"publicIpAddress": null, "privateIpAddress": "100.127.0.16"}));
    assert_eq!(inner["createdBy"]["userName"], "mei");
    assert_eq!(
        inner["sshSettings"],
        json!({"sshPublicAccess": "Disabled", "adminUserName": "azureuser", "sshPort": 22})
    );
    let uri = inner["applications"][1]["endpointUri"].as_str().unwrap();
    assert_eq!(uri, "https://mei-00000000.instances.bastide.localhost:8443/lab");
    assert!(!said.contains_key("desired") && !said.contains_key("creator"), "{said:?}");
}

#[test]
fn a_node_is_told_all_it_needs_and_nothing_about_it_is_left_to_chance() {
    let script = json!({"scripts": {"creationScript": {"scriptSource": "inline", "scriptData": "ZWNobw=="}}});
    let document = made(instance(json!({
        "sshSettings": {"sshPublicAccess": "Enabled", "adminPublicKey": KEY},
        "setupScripts": script,
        "bastide": {"image": "registry.example/team/image:1.0", "isolation": "gvisor"},
    })));
    let compute = row(&format!("{WORKSPACE}/computes/Mei-CI"), ID, document);
    let (project, hub) = (workspace(), row(&format!("{WORKSPACE}2"), Uuid::from_u128(0xb2), Document::default()));
    let orders = order::instances(&compute, &project, Some(&hub), &HOST);
    assert_eq!(orders, order::instances(&compute, &project, Some(&hub), &HOST));
    let [order] = orders.as_slice() else { panic!("{orders:?}") };
    assert_eq!(
        (order.compute, order.name.as_str(), order.run, order.start),
        (ComputeId(ID), "mei-ci", Run::Running, 1)
    );
    assert_eq!(order.image, Image::Reference("registry.example/team/image:1.0".to_owned()));
    assert_eq!(order.isolation, Isolation::Gvisor);
    assert_eq!(order.size.cpu_millis, 2000, "four cores are asked for, and the host has two");
    assert_eq!(order.size.memory, 14 << 30);
    assert_eq!(order.keys, [KEY]);
    assert_eq!(order.creation_script.as_ref().unwrap().content, "echo");
    let shares: Vec<(Uuid, bool)> = order.shares.iter().map(|share| (share.id, share.read_only)).collect();
    assert_eq!(shares, [(Uuid::from_u128(0xb1), false), (Uuid::from_u128(0xb2), true)]);
    let closed = made(instance(json!({"sshSettings": {"adminPublicKey": KEY}})));
    let closed = order::instances(&row(&format!("{WORKSPACE}/computes/mei"), ID, closed), &project, None, &HOST);
    assert!(closed[0].keys.is_empty(), "nobody has switched SSH on");
}

#[test]
fn a_cluster_is_as_many_instances_as_it_has_nodes() {
    let document = made(cluster(json!({})));
    assert_eq!(Compute::on(HOST).demand(&document).unwrap().machines, 3, "what it may grow to is its own");
    let compute = row(&format!("{WORKSPACE}/computes/mei"), ID, document.clone());
    let names = |compute: &Linked| -> Vec<String> {
        order::instances(compute, &workspace(), None, &HOST).into_iter().map(|order| order.name).collect()
    };
    assert_eq!(names(&compute), ["mei-0"]);
    let grown = put_over(Some(&document), cluster(json!({"scaleSettings": {"minNodeCount": 2, "maxNodeCount": 3}})));
    let grown = Linked { document: grown.unwrap().document, ..compute };
    assert_eq!(names(&grown), ["mei-0", "mei-1"]);
    let ids = Compute::on(HOST).instances(ID, &grown.document).unwrap();
    assert_eq!(ids, [node_id(ID, 0).0, node_id(ID, 1).0]);
    let said = said(&grown.document, Some(&Observed::new("kernel", None)));
    let inner = &said["properties"];
    assert_eq!(
        (&inner["allocationState"], &inner["targetNodeCount"], &inner["currentNodeCount"]),
        (&json!("Resizing"), &json!(2), &json!(0))
    );
    assert_eq!(inner["nodeStateCounts"]["preparingNodeCount"], 2);
}

#[test]
fn idleness_and_schedules_ask_for_what_is_due() {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let document = made(instance(json!({"idleTimeBeforeShutdown": "PT30M", "bastide": {"freezeAfter": "PT5M"}})));
    let used = Some(time("2026-11-22T10:00:00Z"));
    assert_eq!(idle::due(&document, used, time("2026-11-22T10:04:59Z")), idle::Due::Nothing);
    assert_eq!(idle::due(&document, used, time("2026-11-22T10:05:00Z")), idle::Due::Freeze);
    let idle::Due::Change(desired) = idle::due(&document, used, time("2026-11-22T10:30:00Z")) else { panic!() };
    assert_eq!((desired.run, desired.trigger), (false, Trigger::IdleShutdown));
    assert_eq!(idle::due(&document, None, time("2026-11-23T10:30:00Z")), idle::Due::Nothing, "it is in use");
    let cluster = made(cluster(
        json!({"scaleSettings": {"minNodeCount": 0, "maxNodeCount": 3, "nodeIdleTimeBeforeScaleDown": "PT5M"}}),
    ));
    let mut grown = cluster.clone();
    Desired::of(&cluster).unwrap().scaled(2, Trigger::User, time("2026-11-22T10:00:00Z")).store(&mut grown.properties);
    assert_eq!(idle::due(&grown, used, time("2026-11-22T10:04:00Z")), idle::Due::Nothing);
    let idle::Due::Change(desired) = idle::due(&grown, used, time("2026-11-22T10:05:00Z")) else { panic!() };
    assert_eq!(desired.nodes, 0);
    let stops = json!({"computeStartStop": [{"action": "Stop", "cron": {"expression": "0 18 * * *"}}]});
    let scheduled = made(instance(json!({"schedules": stops})));
    assert_eq!(idle::due(&scheduled, None, time("2026-11-22T17:59:00Z")), idle::Due::Nothing);
    let idle::Due::Change(desired) = idle::due(&scheduled, None, time("2026-11-22T18:00:01Z")) else { panic!() };
    assert_eq!((desired.run, desired.trigger), (false, Trigger::Schedule));
}
