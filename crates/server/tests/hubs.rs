//! Hubs, projects, connections and outbound rules over the wire.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use bastide_arm::resource_type::Parity;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House, Options};

/// A server with a resource group.
async fn house() -> House {
    let house = House::found().await;
    house.make_group("rg").await;
    house
}

fn approved(rules: &Value) -> Value {
    json!({
        "location": "westeurope",
        "kind": "hub",
        "properties": {"managedNetwork": {"isolationMode": "allow_only_approved_outbound", "outboundRules": rules}},
    })
}

fn fqdn(name: &str) -> Value {
    json!({"properties": {"type": "FQDN", "category": "UserDefined", "destination": name}})
}

async fn make_approved_hub(house: &House) -> String {
    let hub = house.hub("rg", "hub");
    let made = house.put(&hub, approved(&json!({}))).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    hub
}

async fn make_project(house: &House, name: &str) -> String {
    let project = house.hub("rg", name);
    let properties = json!({"hubResourceId": house.hub("rg", "hub")});
    let made =
        house.put(&project, json!({"location": "westeurope", "kind": "project", "properties": properties})).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    project
}

async fn make_storage(house: &House, name: &str) -> String {
    let id = format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", house.group("rg"));
    let body = json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    assert!(house.put(&id, body).await.status.is_success());
    id
}

async fn make_registry(house: &House, name: &str) -> String {
    let id = format!("{}/providers/Microsoft.ContainerRegistry/registries/{name}", house.group("rg"));
    let made = house.put(&id, json!({"location": "westeurope", "sku": {"name": "Basic"}})).await;
    assert!(made.status.is_success(), "{made:?}");
    id
}

/// Names in a list, those of the hub's own making left out.
fn names(list: &Answer) -> Vec<&str> {
    let values = list.body["value"].as_array().unwrap_or_else(|| panic!("no list: {list:?}"));
    values.iter().filter_map(|value| value["name"].as_str()).filter(|name| !name.starts_with("__SYS_")).collect()
}

async fn revision(house: &House, id: &str) -> i64 {
    house.store.resource(&id.to_lowercase()).await.unwrap().unwrap().revision
}

#[tokio::test]
async fn an_isolated_hub_says_what_it_is_and_claims_nothing_about_the_kernel() {
    let house = house().await;
    let storage = make_storage(&house, "store").await;
    let mut body = approved(&json!({"pypi": {"type": "FQDN", "destination": "PyPI.org"}}));
    body["properties"]["storageAccount"] = json!(storage.to_lowercase());
    body["properties"]["hbiWorkspace"] = json!("false");
    body["properties"]["managedNetwork"]["firewallSku"] = json!("basic");
    let made = house.put(&house.hub("rg", "hub"), body).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    insta::assert_json_snapshot!("isolated_hub", made.body, {
        ".identity.principalId" => "[principal]",
        ".properties.workspaceId" => "[incarnation]",
        ".systemData.createdBy" => "[client]",
        ".systemData.lastModifiedBy" => "[client]",
    });
    assert_eq!(house.get(&house.hub("rg", "hub")).await.body, made.body);
}

#[tokio::test]
async fn what_is_read_can_be_sent_back_and_changes_no_revision() {
    let house = house().await;
    let hub = house.hub("rg", "hub");
    house.put(&hub, approved(&json!({"pypi": {"type": "FQDN", "destination": "pypi.org"}}))).await;
    let rule = format!("{hub}/outboundRules/pypi");
    let before = (revision(&house, &hub).await, revision(&house, &rule).await);
    let read = house.get(&hub).await.body;
    let again = house.put(&hub, read.clone()).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &read));
    assert_eq!((revision(&house, &hub).await, revision(&house, &rule).await), before);
}

#[tokio::test]
async fn rules_are_resources_and_a_map() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let rule = format!("{hub}/outboundRules/pypi");
    let made = house.put(&rule, fqdn("pypi.org")).await;
    assert_eq!(made.status, StatusCode::OK, "never 201");
    insta::assert_json_snapshot!("outbound_rule", made.body, {
        ".systemData.createdBy" => "[client]",
        ".systemData.lastModifiedBy" => "[client]",
    });
    let network = house.get(&hub).await.body["properties"]["managedNetwork"].clone();
    assert_eq!(network["outboundRules"]["pypi"], made.body["properties"]);
    let by_map = json!({"properties": {"managedNetwork": {"outboundRules": {
        "conda": {"type": "FQDN", "destination": "*.anaconda.org"},
    }}}});
    assert_eq!(house.call(Method::PATCH, &hub, Some(by_map)).await.status, StatusCode::OK);
    assert_eq!(names(&house.get(&format!("{hub}/outboundRules")).await), ["conda", "pypi"]);
    let removed = json!({"properties": {"managedNetwork": {"outboundRules": {"conda": null}}}});
    assert_eq!(house.call(Method::PATCH, &hub, Some(removed)).await.status, StatusCode::OK);
    assert_eq!(house.get(&format!("{hub}/outboundRules/conda")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.call(Method::DELETE, &rule, None).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &rule, None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_update_that_is_silent_about_rules_keeps_them() {
    let house = house().await;
    let hub = house.hub("rg", "hub");
    house.put(&hub, approved(&json!({"pypi": {"type": "FQDN", "destination": "pypi.org"}}))).await;
    let mode = json!({"isolationMode": "AllowOnlyApprovedOutbound"});
    let bodies = [
        (Method::PUT, json!({"location": "westeurope", "kind": "hub", "properties": {"managedNetwork": mode}})),
        (Method::PUT, json!({"location": "westeurope", "kind": "hub"})),
        (Method::PUT, approved(&json!({}))),
        (Method::PATCH, json!({"tags": {}, "properties": {"managedNetwork": {"outboundRules": {}}}})),
        (Method::PATCH, json!({"properties": {"managedNetwork": {"outboundRules": null}}})),
    ];
    for (method, body) in bodies {
        let answer = house.call(method.clone(), &hub, Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(names(&house.get(&format!("{hub}/outboundRules")).await), ["pypi"], "{method} {body}");
    }
}

#[tokio::test]
async fn rules_written_at_the_same_time_all_survive() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let puts = (0..24).map(|index| {
        let (house, hub) = (&house, &hub);
        async move { house.put(&format!("{hub}/outboundRules/rule-{index}"), fqdn(&format!("h{index}.org"))).await }
    });
    for answer in futures_util::future::join_all(puts).await {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    assert_eq!(names(&house.get(&format!("{hub}/outboundRules")).await).len(), 24);
}

#[tokio::test]
async fn a_change_of_mode_and_a_rule_that_fits_the_old_one_do_not_both_stand() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let open = json!({"properties": {"managedNetwork": {"isolationMode": "AllowInternetOutbound"}}});
    let rule = format!("{hub}/outboundRules/pypi");
    for _ in 0..5 {
        let (opened, made) =
            tokio::join!(house.call(Method::PATCH, &hub, Some(open.clone())), house.put(&rule, fqdn("pypi.org")));
        let outcome = (opened.status.as_u16(), made.status.as_u16());
        assert!([(200, 400), (400, 200)].contains(&outcome), "{opened:?} {made:?}");
        house.put(&hub, approved(&json!({"pypi": null}))).await;
        house.call(Method::DELETE, &rule, None).await;
    }
}

#[tokio::test]
async fn required_rules_stand_by_themselves() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let list = house.get(&format!("{hub}/outboundRules")).await;
    let required: Vec<&Value> = list.body["value"].as_array().unwrap().iter().collect();
    assert!(required.iter().all(|rule| rule["properties"]["category"] == "Required"), "{required:?}");
    let tag = format!("{hub}/outboundRules/__SYS_ST_AzureActiveDirectory_TCP");
    assert_eq!(house.get(&tag).await.body["properties"]["destination"]["portRanges"], "80, 443");
    let deletion = house.call(Method::DELETE, &tag, None).await;
    assert_eq!(deletion.status, StatusCode::BAD_REQUEST, "{deletion:?}");
    assert_eq!(house.put(&tag, fqdn("pypi.org")).await.status, StatusCode::BAD_REQUEST);
    let read = house.get(&tag).await.body;
    assert_eq!(house.put(&tag, read.clone()).await.body, read, "what is read can be sent back");
    let mut disabled = read;
    disabled["properties"]["bastide"]["enabled"] = json!(false);
    let refused = house.put(&tag, disabled).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "a required rule is not disabled, and nobody is told it was");
    let mine = house.put(&format!("{hub}/outboundRules/__SYS_mine"), fqdn("pypi.org")).await;
    assert_eq!(mine.status, StatusCode::BAD_REQUEST, "nobody else's rule has such a name");
}

#[tokio::test]
async fn a_category_only_the_hub_gives_is_stored_as_the_users_own() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let mut body = fqdn("pypi.org");
    body["properties"]["category"] = json!("required");
    let made = house.put(&format!("{hub}/outboundRules/pypi"), body).await;
    assert_eq!(made.body["properties"]["category"], "UserDefined");
    assert!(made.header("x-ms-bastide-warning").contains("stored as UserDefined"), "{made:?}");
}

#[tokio::test]
async fn recommended_is_what_a_preset_lists_whoever_writes_it() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let rule = format!("{hub}/outboundRules/my-rule");
    let recommended = |host: &str| {
        let mut body = fqdn(host);
        body["properties"]["category"] = json!("Recommended");
        body
    };
    let made = house.put(&rule, recommended("pypi.org")).await;
    assert_eq!(made.body["properties"]["category"], "Recommended", "{made:?}");
    assert_eq!(house.put(&rule, made.body.clone()).await.body, made.body, "what is read can be sent back");
    let silent = json!({"properties": {"type": "FQDN", "destination": "pypi.org"}});
    assert_eq!(house.put(&rule, silent).await.body["properties"]["category"], "Recommended");

    let other = house.put(&rule, recommended("example.org")).await;
    assert_eq!(other.body["properties"]["category"], "UserDefined");
    assert!(other.header("x-ms-bastide-warning").contains("no preset recommends it"), "{other:?}");
    assert_eq!(house.put(&rule, fqdn("pypi.org")).await.body["properties"]["category"], "UserDefined", "as it is told");
    house.put(&rule, recommended("pypi.org")).await;
    let refused = house.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": {"managedNetwork": {"isolationMode": "AllowInternetOutbound"}}})).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "it stands in approved mode alone, as any rule by name");
    assert_eq!(house.call(Method::DELETE, &rule, None).await.status, StatusCode::OK, "unlike a required one");
}

#[tokio::test]
async fn rules_that_cannot_stand_are_refused_by_name_and_mode() {
    let house = house().await;
    let hub = house.hub("rg", "hub");
    let mode = |mode: &str| json!({"location": "westeurope", "kind": "hub", "properties": {"managedNetwork": {"isolationMode": mode}}});
    let rule = format!("{hub}/outboundRules/my-rule");
    for name in ["Disabled", "AllowInternetOutbound"] {
        assert_eq!(house.put(&hub, mode(name)).await.status, StatusCode::OK);
        let refused = house.put(&rule, fqdn("pypi.org")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("my-rule") && message.contains(name), "{message}");
    }
    let refused = house.put(&hub, mode("Disabled")).await;
    assert_eq!(refused.body["error"]["target"], "properties.managedNetwork.isolationMode", "{refused:?}");
    let network = house.get(&hub).await.body["properties"]["managedNetwork"].clone();
    assert_eq!(network["changeableIsolationModes"], json!(["AllowOnlyApprovedOutbound"]));
}

#[tokio::test]
async fn provisioning_tells_the_truth() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let body = Some(json!({"includeSpark": false}));
    let answer = house.call(Method::POST, &format!("{hub}/provisionManagedNetwork"), body).await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &json!("Inactive")));
    assert!(answer.body["errorInformation"].as_str().unwrap().contains("No agent has reported"), "{answer:?}");
    let diagnosis = house.call(Method::POST, &format!("{hub}/diagnose"), Some(json!({"value": {}}))).await;
    assert_eq!(diagnosis.body["value"]["otherResults"][0]["code"], "ManagedNetworkInactive");
}

#[tokio::test]
async fn the_small_calls_answer_without_secrets() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    for action in
        ["listKeys", "listNotebookKeys", "listStorageAccountKeys", "listNotebookAccessToken", "prepareNotebook"]
    {
        let answer = house.call(Method::POST, &format!("{hub}/{action}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{action}: {answer:?}");
    }
    let resync = house.call(Method::POST, &format!("{hub}/resyncKeys"), None).await;
    assert_eq!((resync.status, resync.body), (StatusCode::OK, Value::Null), "an empty body");
    let hosts = house.get(&format!("{hub}/outboundNetworkDependenciesEndpoints")).await;
    assert_eq!((hosts.status, hosts.body), (StatusCode::OK, json!({"value": []})));
    let links = house.get(&format!("{hub}/privateLinkResources")).await;
    assert_eq!(links.body["value"][0]["id"], json!(format!("{hub}/privateLinkResources/amlworkspace")));
    let nowhere = house.get(&format!("{}/outboundRules", house.hub("rg", "none"))).await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND, "{nowhere:?}");
}

#[tokio::test]
async fn a_project_shows_what_its_hub_has_and_the_hub_its_projects() {
    let house = house().await;
    let hub = house.hub("rg", "hub");
    let made = house.put(&hub, approved(&json!({}))).await.body;
    let project = make_project(&house, "project").await;
    let shown = house.get(&project).await.body;
    for name in ["storageAccount", "keyVault"] {
        assert_eq!(shown["properties"][name], made["properties"][name]);
    }
    assert_eq!(shown["properties"]["managedNetwork"]["isolationMode"], "AllowOnlyApprovedOutbound");
    assert_eq!(house.get(&hub).await.body["properties"]["associatedWorkspaces"], json!([project]));
    assert_eq!(house.put(&project, shown.clone()).await.body, shown, "what is read can be sent back");
    let own = json!({"properties": {"managedNetwork": {"isolationMode": "Disabled"}}});
    let refused = house.call(Method::PATCH, &project, Some(own)).await;
    assert_eq!(refused.body["error"]["target"], "properties.managedNetwork", "{refused:?}");
    let rule = house.put(&format!("{project}/outboundRules/pypi"), fqdn("pypi.org")).await;
    assert_eq!(rule.status, StatusCode::BAD_REQUEST, "{rule:?}");
    let mut moved = shown.clone();
    moved["properties"]["hubResourceId"] = json!(house.hub("rg", "other"));
    assert_eq!(house.put(&project, moved).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(house.get(&project).await.body, shown);
}

#[tokio::test]
async fn many_rules_are_one_revision_and_all_or_none() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let batch = async |rules: Value| {
        let body = json!({"properties": {"managedNetwork": {"isolationMode": "Disabled", "outboundRules": rules}}});
        house.call(Method::POST, &format!("{hub}/batchOutboundRules"), Some(body)).await
    };
    let rules: serde_json::Map<String, Value> = (0..50)
        .map(|index| (format!("rule-{index}"), json!({"type": "FQDN", "destination": format!("h{index}.org")})))
        .collect();
    let made = batch(Value::Object(rules)).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    assert_eq!(names(&made).len(), 50);
    let of_rule = async |index: u32| revision(&house, &format!("{hub}/outboundRules/rule-{index}")).await;
    assert_eq!(of_rule(0).await, of_rule(49).await);
    let mode = house.get(&hub).await.body["properties"]["managedNetwork"]["isolationMode"].clone();
    assert_eq!(mode, "AllowOnlyApprovedOutbound", "a batch of rules is about rules alone");
    let wrong = batch(json!({"good": {"type": "FQDN", "destination": "good.org"}, "bad": {"type": "FQDN"}})).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong:?}");
    assert_eq!(house.get(&format!("{hub}/outboundRules/good")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(names(&batch(json!({"rule-7": null})).await).len(), 49);
    let silent = house.call(Method::POST, &format!("{hub}/batchOutboundRules"), Some(json!({"properties": {}}))).await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST, "{silent:?}");
}

#[tokio::test]
async fn the_keys_of_a_workspace_are_those_of_what_it_stands_on() {
    let house = house().await;
    let storage = make_storage(&house, "store").await;
    let registry = make_registry(&house, "registryone").await;
    let admin = json!({"properties": {"adminUserEnabled": true}});
    assert_eq!(house.call(Method::PATCH, &registry, Some(admin)).await.status, StatusCode::OK);
    let hub = house.hub("rg", "hub");
    let properties = json!({"storageAccount": storage, "containerRegistry": registry});
    house.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": properties})).await;
    let keys = async || house.call(Method::POST, &format!("{hub}/listKeys"), None).await;
    let accounts = house.call(Method::POST, &format!("{storage}/listKeys"), None).await;
    let shown = keys().await;
    assert_eq!(shown.body["userStorageKey"], accounts.body["keys"][0]["value"], "{shown:?}");
    assert_eq!((&shown.body["userStorageArmId"], shown.header("cache-control")), (&json!(storage), "no-store"));
    assert_eq!(shown.body["containerRegistryCredentials"]["username"], "registryone");
    assert_eq!(shown.body["containerRegistryCredentials"]["passwords"].as_array().unwrap().len(), 2);
    let by_identity = json!({"properties": {"systemDatastoresAuthMode": "identity"}});
    assert_eq!(house.call(Method::PATCH, &hub, Some(by_identity)).await.status, StatusCode::OK);
    assert_eq!(keys().await.body.get("userStorageKey"), None, "data is reached by identity alone");
}

#[tokio::test]
async fn endpoints_are_kept_go_with_their_project_and_claim_to_serve_nothing() {
    let house = house().await;
    make_approved_hub(&house).await;
    let project = make_project(&house, "project").await;
    let endpoint = format!("{project}/onlineEndpoints/one");
    let body = json!({"location": "westeurope", "properties": {"authMode": "key", "keys": {"primaryKey": "mine"}}});
    let made = house.put(&endpoint, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(
        (&made.body["properties"]["authMode"], &made.body["bastide"]["dataPlane"]),
        (&json!("Key"), &json!("none"))
    );
    assert!(made.body["properties"].get("scoringUri").is_none() && !made.body.to_string().contains("mine"), "{made:?}");
    let deployment = format!("{endpoint}/deployments/blue");
    let body = json!({"location": "westeurope", "properties": {"endpointComputeType": "Managed"}});
    assert_eq!(house.put(&deployment, body).await.status, StatusCode::CREATED);
    let keys = async || house.call(Method::POST, &format!("{endpoint}/listKeys"), None).await.body;
    let before = keys().await;
    assert_eq!(before["primaryKey"], "mine");
    let renew = Some(json!({"keyType": "Secondary"}));
    let renewed = house.call(Method::POST, &format!("{endpoint}/regenerateKeys"), renew).await;
    assert_eq!(renewed.status, StatusCode::OK, "{renewed:?}");
    let after = keys().await;
    assert_eq!(after["primaryKey"], "mine");
    assert_ne!(after["secondaryKey"], before["secondaryKey"]);
    assert_eq!(house.call(Method::DELETE, &project, None).await.status, StatusCode::OK);
    for id in [&endpoint, &deployment] {
        assert_eq!(house.get(id).await.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test]
async fn projects_and_everything_below_go_with_their_hub() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let project = make_project(&house, "project").await;
    let connection = format!("{project}/connections/custom");
    let body = json!({"properties": {"category": "CustomKeys", "authType": "CustomKeys", "credentials": {"keys": {"k": "v"}}}});
    assert_eq!(house.put(&connection, body).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &hub, None).await.status, StatusCode::OK);
    for id in [&hub, &project, &connection, &format!("{hub}/outboundRules/__SYS_ST_VirtualNetwork")] {
        assert_eq!(house.get(id).await.status, StatusCode::NOT_FOUND, "{id}");
    }
    let again = make_approved_hub(&house).await;
    assert_eq!(house.get(&again).await.body["properties"]["associatedWorkspaces"], json!([]));
}

#[tokio::test]
async fn connections_keep_their_secrets_to_themselves() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let connection = format!("{hub}/connections/openai");
    let body = json!({"properties": {
        "category": "AzureOpenAi",
        "authType": "ApiKey",
        "target": "https://openai.example.com/",
        "metadata": {"ApiType": "Azure", "ApiVersion": null},
        "credentials": {"key": "s3cr3t-key"},
    }});
    let made = house.put(&connection, body.clone()).await;
    assert_eq!(made.status, StatusCode::OK, "exactly 200");
    insta::assert_json_snapshot!("connection", made.body, {
        ".systemData.createdBy" => "[client]",
        ".systemData.lastModifiedBy" => "[client]",
    });
    let before = revision(&house, &connection).await;
    for again in [body, made.body.clone()] {
        assert_eq!(house.put(&connection, again).await.status, StatusCode::OK);
        assert_eq!(revision(&house, &connection).await, before, "the same again changes nothing");
    }
    let shown = house.call(Method::POST, &format!("{connection}/listsecrets"), None).await;
    assert_eq!(shown.body["properties"]["credentials"], json!({"key": "s3cr3t-key"}));
    assert_eq!(shown.header("cache-control"), "no-store");
    let row = house.store.resource(&connection.to_lowercase()).await.unwrap().unwrap();
    assert!(!row.body.to_string().contains("s3cr3t"), "{}", row.body);
    let patched = json!({"properties": {"authType": "ApiKey", "target": "https://other.example.com/"}});
    assert_eq!(house.call(Method::PATCH, &connection, Some(patched)).await.status, StatusCode::OK);
    let shown = house.call(Method::POST, &format!("{connection}/listSecrets"), None).await;
    assert_eq!(shown.body["properties"]["credentials"], json!({"key": "s3cr3t-key"}), "a PATCH keeps the key");
    let keyless = json!({"properties": {"category": "AzureOpenAI", "authType": "AAD", "target": "https://o/"}});
    assert_eq!(house.put(&connection, keyless).await.status, StatusCode::OK);
    assert_eq!(house.store.secrets(row.incarnation).await.unwrap().len(), 0, "another way in forgets the key");
}

#[tokio::test]
async fn a_connection_to_ai_services_that_says_no_more_may_be_written_back() {
    let house = house().await;
    let connection = format!("{}/connections/services", make_approved_hub(&house).await);
    let body = json!({"properties": {"category": "AIServices", "authType": "AAD", "target": "https://ai/"}});
    let made = house.put(&connection, body).await;
    assert_eq!(made.body["properties"]["metadata"], json!({"ResourceId": ""}), "{made:?}");
    let before = revision(&house, &connection).await;
    assert_eq!(house.put(&connection, made.body).await.status, StatusCode::OK);
    assert_eq!(revision(&house, &connection).await, before);
}

#[tokio::test]
async fn a_property_counts_in_whatever_case_it_is_written() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let connection = format!("{hub}/connections/openai");
    let body = json!({"Properties": {
        "Category": "AzureOpenAI", "AuthType": "ApiKey", "Target": "https://o/", "Credentials": {"Key": "s3cr3t-key"},
        "Metadata": {"Status": "the user's own name"},
    }});
    let made = house.put(&connection, body).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    assert!(!made.body.to_string().contains("s3cr3t"), "{made:?}");
    assert_eq!(made.body["properties"]["metadata"], json!({"Status": "the user's own name"}));
    let shown = house.call(Method::POST, &format!("{connection}/listsecrets"), None).await;
    assert_eq!(shown.body["properties"]["credentials"], json!({"key": "s3cr3t-key"}));

    let closed = house.hub("rg", "closed");
    let network = json!({"IsolationMode": "AllowOnlyApprovedOutbound"});
    let body = json!({
        "Location": "local", "Kind": "Hub", "Properties": {"PublicNetworkAccess": "Disabled", "ManagedNetwork": network},
    });
    let made = house.put(&closed, body).await;
    assert_eq!(made.body["properties"]["publicNetworkAccess"], "Disabled", "{made:?}");
    assert_eq!(made.body["properties"]["managedNetwork"]["isolationMode"], "AllowOnlyApprovedOutbound");
    let open = json!({"properties": {"publicNetworkAccess": "Disabled", "PublicNetworkAccess": "Enabled"}});
    let refused = house.call(Method::PATCH, &closed, Some(open)).await;
    assert_eq!(refused.body["error"]["target"], "properties.publicNetworkAccess", "{refused:?}");
}

#[tokio::test]
async fn a_connection_brings_its_private_endpoint_along_and_takes_it_away() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let project = make_project(&house, "project").await;
    let storage = make_storage(&house, "lake").await;
    let connect = async |workspace: &str, more: Value| {
        let mut body = json!({"properties": {
            "category": "ADLSGen2", "authType": "AAD", "target": "https://lake.dfs.example.com/",
            "metadata": {"ResourceId": storage},
        }});
        body["properties"].as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let made = house.put(&format!("{workspace}/connections/lake"), body).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        assert!(!made.body.to_string().contains("dependencyRule"), "{made:?}");
    };
    let rules = async || -> Vec<(String, String)> {
        let list = house.get(&format!("{hub}/outboundRules")).await;
        let of_connections =
            list.body["value"].as_array().unwrap().iter().filter(|rule| rule["properties"]["category"] == "Dependency");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of_connections
            .map(|rule| (text(&rule["name"]), text(&rule["properties"]["destination"]["subresourceTarget"])))
            .collect()
    };
    connect(&hub, json!({})).await;
    connect(&project, json!({"category": "AzureBlob"})).await;
    let own = ("__SYS_PE_connection_lake".to_owned(), "dfs".to_owned());
    let of_project = ("__SYS_PE_connection_project.lake".to_owned(), "blob".to_owned());
    assert_eq!(rules().await, [own.clone(), of_project.clone()], "also a project's are on its hub's network");
    let rule = format!("{hub}/outboundRules/{}", own.0);
    assert_eq!(house.call(Method::DELETE, &rule, None).await.status, StatusCode::BAD_REQUEST);
    let before = (revision(&house, &rule).await, revision(&house, &format!("{hub}/connections/lake")).await);
    connect(&hub, json!({})).await;
    let after = (revision(&house, &rule).await, revision(&house, &format!("{hub}/connections/lake")).await);
    assert_eq!(after, before, "the same again changes nothing");
    connect(&hub, json!({"peRequirement": "NotRequired"})).await;
    assert_eq!(rules().await, std::slice::from_ref(&of_project));
    assert_eq!(house.call(Method::DELETE, &project, None).await.status, StatusCode::OK);
    assert_eq!(rules().await, [], "goes with the project");
    let kept = house
        .get(&format!("{}/providers/Microsoft.MachineLearningServices/deletedWorkspaces", house.group("rg")))
        .await;
    let restore = format!("{}/restore", kept.body["value"][0]["id"].as_str().unwrap());
    assert_eq!(house.call(Method::POST, &restore, None).await.status, StatusCode::OK);
    assert_eq!(rules().await, [of_project], "and comes back with it");
    let (_, token) = house.stranger().await;
    let refused = house.call_as(&token, Method::PUT, &format!("{hub}/connections/x"), Some(json!({})), &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let foreign = storage.replace(&house.subscription.to_string(), "00000000-0000-0000-0000-00000000dead");
    connect(&hub, json!({"metadata": {"ResourceId": foreign}})).await;
    assert_eq!(rules().await.len(), 3, "also to a resource in the cloud, whose blobs come along");
}

#[tokio::test]
async fn an_identity_that_is_to_use_ai_services_must_be_allowed_to() {
    let house = house().await;
    let (storage, identity) = (make_storage(&house, "store").await, house.identity_id("rg", "mine"));
    house.put(&identity, json!({"location": "westeurope"})).await;
    let principal = house.get(&identity).await.body["properties"]["principalId"].as_str().unwrap().parse().unwrap();
    let account = format!("{}/providers/Microsoft.CognitiveServices/accounts/ai", house.group("rg"));
    house.put(&account, json!({"location": "westeurope", "kind": "AIServices", "sku": {"name": "S0"}})).await;
    let hub = house.hub("rg", "hub");
    let assigned = json!({"type": "UserAssigned", "userAssignedIdentities": {identity: {}}});
    let body = json!({"location": "westeurope", "kind": "hub", "identity": assigned, "properties": {"storageAccount": storage}});
    assert_eq!(house.put(&hub, body).await.status, StatusCode::OK);
    let connect = async |auth: Value| {
        let mut properties =
            json!({"category": "AIServices", "target": "https://ai/", "metadata": {"ResourceId": account}});
        properties.as_object_mut().unwrap().extend(auth.as_object().cloned().unwrap());
        house.put(&format!("{hub}/connections/services"), json!({"properties": properties})).await
    };
    let refused = connect(json!({"authType": "AAD"})).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    assert!(
        refused.body["error"]["message"].as_str().unwrap().contains("Cognitive Services Contributor"),
        "{refused:?}"
    );
    assert_eq!(
        house.get(&format!("{hub}/connections/services")).await.status,
        StatusCode::NOT_FOUND,
        "before any side effect"
    );
    let by_key = connect(json!({"authType": "ApiKey", "credentials": {"key": "k"}})).await;
    assert_eq!(by_key.status, StatusCode::OK, "a key needs no role: {by_key:?}");
    let contributor = "/providers/Microsoft.Authorization/roleDefinitions/25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68";
    house.grant_at(&account, principal, contributor).await;
    assert_eq!(connect(json!({"authType": "AAD"})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_test_of_a_connection_says_that_nothing_was_tried() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let connection = format!("{hub}/connections/one");
    let body = json!({"properties": {"category": "CustomKeys", "authType": "None", "target": "https://a/"}});
    assert_eq!(house.put(&connection, body).await.status, StatusCode::OK);
    let accepted = house.call(Method::POST, &format!("{connection}/testconnection"), None).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    let ended = house.wait(&accepted).await;
    assert_eq!(
        (&ended.body["status"], &ended.body["error"]["code"]),
        (&json!("Failed"), &json!("ConnectionNotTested"))
    );
}

#[tokio::test]
async fn secrets_stay_in_the_store_that_was_chosen_at_creation() {
    let house = house().await;
    let storage = make_storage(&house, "store").await;
    let vault = format!("{}/providers/Microsoft.KeyVault/vaults/kv", house.group("rg"));
    house.put(&vault, json!({"location": "westeurope", "properties": {}})).await;
    let hub = house.hub("rg", "hub");
    let body = |properties: Value| json!({"location": "westeurope", "kind": "hub", "properties": properties});
    assert_eq!(house.put(&hub, body(json!({"storageAccount": storage}))).await.status, StatusCode::OK);
    let refused = house.put(&hub, body(json!({"storageAccount": storage, "keyVault": vault}))).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["target"]),
        (StatusCode::BAD_REQUEST, &json!("properties.keyVault"))
    );
}

#[tokio::test]
async fn a_hub_is_terminal_in_its_first_answer() {
    let house = house().await;
    let made = house.put(&house.hub("rg", "hub"), approved(&json!({}))).await;
    assert_eq!((made.status, &made.body["properties"]["provisioningState"]), (StatusCode::OK, &json!("Succeeded")));
    for header in ["azure-asyncoperation", "location", "retry-after"] {
        assert_eq!(made.header(header), "", "nothing to wait for");
    }
}

#[tokio::test]
async fn a_project_sees_the_connections_its_hub_shares() {
    let house = house().await;
    let hub = make_approved_hub(&house).await;
    let project = make_project(&house, "project").await;
    let body = |shared: bool| {
        json!({"properties": {
            "category": "ApiKey", "authType": "ApiKey", "target": "https://a/",
            "isSharedToAll": shared, "credentials": {"key": "of-the-hub"},
        }})
    };
    house.put(&format!("{hub}/connections/shared"), body(true)).await;
    house.put(&format!("{hub}/connections/private"), body(false)).await;
    let mut own = body(false);
    own["properties"]["credentials"]["key"] = json!("of-the-project");
    house.put(&format!("{project}/connections/own"), own.clone()).await;
    let list = house.get(&format!("{project}/connections?includeAll=true")).await;
    assert_eq!(names(&list), ["own", "shared"]);
    assert_eq!(names(&house.get(&format!("{project}/connections?category=Git")).await), Vec::<&str>::new());
    let shared = house.get(&format!("{project}/connections/shared")).await;
    assert_eq!(shared.body["id"], json!(format!("{hub}/connections/shared")));
    assert_eq!(house.get(&format!("{project}/connections/private")).await.status, StatusCode::NOT_FOUND);
    let secrets = format!("{project}/connections/shared/listsecrets");
    let key =
        async |path: &str| house.call(Method::POST, path, None).await.body["properties"]["credentials"]["key"].clone();
    assert_eq!(key(&secrets).await, "of-the-hub");
    let hidden = format!("{project}/connections/private/listsecrets");
    assert_eq!(house.call(Method::POST, &hidden, None).await.status, StatusCode::NOT_FOUND);
    house.put(&format!("{project}/connections/shared"), own).await;
    assert_eq!(key(&secrets).await, "of-the-project", "a project's own hides the hub's");
    assert_eq!(names(&house.get(&format!("{project}/connections")).await), ["own", "shared"]);
}

#[tokio::test]
async fn another_registry_takes_consent_and_none_is_not_possible() {
    for parity in [Parity::Native, Parity::Strict] {
        let house = House::found_with(Options { parity, ..Options::default() }).await;
        house.make_group("rg").await;
        let (one, two) = (make_registry(&house, "registryone").await, make_registry(&house, "registrytwo").await);
        let hub = house.hub("rg", "hub");
        let body = json!({"location": "westeurope", "kind": "hub", "properties": {"containerRegistry": one}});
        assert_eq!(house.put(&hub, body).await.status, StatusCode::OK);
        let patch =
            async |properties: Value| house.call(Method::PATCH, &hub, Some(json!({"properties": properties}))).await;
        let unset = patch(json!({"containerRegistry": null})).await;
        assert_eq!(unset.status, StatusCode::BAD_REQUEST, "{unset:?}");
        let changed = patch(json!({"containerRegistry": two})).await;
        match parity {
            Parity::Native => {
                assert!(changed.header("x-ms-bastide-warning").contains("breaks re-runs"), "{changed:?}");
            }
            Parity::Strict => {
                assert_eq!(changed.status, StatusCode::BAD_REQUEST, "{changed:?}");
                let consented = patch(json!({"containerRegistry": two, "updateDependentResources": true})).await;
                assert_eq!(consented.status, StatusCode::OK, "{consented:?}");
            }
        }
        let shown = house.get(&hub).await.body;
        assert_eq!(shown["properties"]["containerRegistry"], json!(two));
        let changes = shown["properties"]["bastide"]["associatedResourceChanges"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "on record with what it breaks (O5): {changes:?}");
        assert_eq!((&changes[0]["from"], &changes[0]["consent"]), (&json!(one), &json!(parity == Parity::Strict)));
        assert_eq!(house.put(&hub, shown.clone()).await.body, shown, "what is read can be sent back");
    }
}

#[tokio::test]
async fn whoever_names_a_resource_must_be_allowed_to_use_it() {
    let house = house().await;
    let missing = format!("{}/providers/Microsoft.Storage/storageAccounts/none", house.group("rg"));
    let body = |id: &str| json!({"location": "westeurope", "kind": "hub", "properties": {"storageAccount": id}});
    let hub = house.hub("rg", "hub");
    assert_eq!(house.put(&hub, body(&missing)).await.code(), "LinkedResourceNotFound");
    let foreign = missing.replace(&house.subscription.to_string(), "00000000-0000-0000-0000-00000000dead");
    assert_eq!(house.put(&hub, body(&foreign)).await.code(), "LinkedAuthorizationFailed");
    let vault = missing.replace("Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults");
    assert_eq!(house.put(&hub, body(&vault)).await.body["error"]["target"], "properties.storageAccount");
    let mut rules = approved(&json!({"lake": {
        "type": "PrivateEndpoint", "destination": {"serviceResourceId": foreign, "subresourceTarget": "blob"},
    }}));
    assert_eq!(house.put(&hub, rules.clone()).await.code(), "LinkedAuthorizationFailed", "also in the map");
    rules["properties"]["managedNetwork"]["outboundRules"]["lake"]["destination"]["serviceResourceId"] = json!(missing);
    assert_eq!(house.put(&hub, rules).await.status, StatusCode::OK, "an endpoint may wait for its target");
}

#[tokio::test]
async fn a_hub_whose_storage_has_gone_can_still_be_changed() {
    let house = house().await;
    let storage = make_storage(&house, "store").await;
    let hub = house.hub("rg", "hub");
    house.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": {"storageAccount": storage}})).await;
    assert_eq!(house.call(Method::DELETE, &storage, None).await.status, StatusCode::OK);
    let patch = json!({"properties": {"description": "still here"}});
    assert_eq!(house.call(Method::PATCH, &hub, Some(patch)).await.status, StatusCode::OK);
    let diagnosis = house.call(Method::POST, &format!("{hub}/diagnose"), None).await;
    assert_eq!(diagnosis.body["value"]["storageAccountResults"][0]["code"], "AssociatedResourceMissing");
    assert_eq!(house.call(Method::DELETE, &hub, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_several_hubs_stand_on_is_not_deleted_under_them() {
    let house = house().await;
    let storage = make_storage(&house, "store").await;
    for name in ["one", "two"] {
        let body = json!({"location": "westeurope", "kind": "hub", "properties": {"storageAccount": storage}});
        assert_eq!(house.put(&house.hub("rg", name), body).await.status, StatusCode::OK);
    }
    let refused = house.call(Method::DELETE, &storage, None).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("workspaces/two'"), "{refused:?}");
    assert_eq!(house.call(Method::DELETE, &house.hub("rg", "two"), None).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &storage, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_thousand_rules_are_one_commit() {
    let house = house().await;
    let hub = house.hub("rg", "hub");
    let rules: Value = (0..1000)
        .map(|index| (format!("rule-{index}"), json!({"type": "FQDN", "destination": format!("h{index}.example.com")})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let made = house.put(&hub, approved(&rules)).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    let revisions = (revision(&house, &hub).await, revision(&house, &format!("{hub}/outboundRules/rule-999")).await);
    assert_eq!(revisions.0, revisions.1);
    assert_eq!(house.put(&hub, approved(&rules)).await.body, made.body);
    assert_eq!(revision(&house, &hub).await, revisions.0);
}

#[tokio::test]
async fn the_second_door_leads_to_the_same_network_rules() {
    let house = house().await;
    let account = format!("{}/providers/Microsoft.CognitiveServices/accounts/ai", house.group("rg"));
    let made =
        house.put(&account, json!({"location": "westeurope", "kind": "AIServices", "sku": {"name": "S0"}})).await;
    assert!(made.status.is_success(), "{made:?}");
    let network = format!("{account}/managedNetworks/default");
    let body = |mode: &str| json!({"properties": {"managedNetwork": {"isolationMode": mode, "firewallSku": "Basic"}}});
    let made = house.put(&network, body("AllowOnlyApprovedOutbound")).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    let rule = json!({"properties": {"type": "FQDN", "destination": "*.example.com"}});
    assert_eq!(house.put(&format!("{network}/outboundRules/web"), rule).await.status, StatusCode::OK);
    let shown = house.get(&network).await.body["properties"]["managedNetwork"].clone();
    assert_eq!(shown["outboundRules"]["web"]["destination"], "*.example.com");
    assert_eq!(shown["status"]["status"], "Inactive");
    assert_eq!(
        house.put(&network, body("AllowOnlyApprovedOutbound")).await.body["properties"]["managedNetwork"],
        shown
    );
    let refused = house.put(&network, body("AllowInternetOutbound")).await;
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("'web'"), "{refused:?}");
    assert_eq!(names(&house.get(&format!("{network}/outboundRules")).await), ["web"]);
    let provisioned = house.call(Method::POST, &format!("{network}/provision"), None).await;
    assert_eq!(provisioned.body["status"], "Inactive");
    assert_eq!(house.call(Method::DELETE, &account, None).await.status, StatusCode::OK);
    assert_eq!(house.get(&format!("{network}/outboundRules/web")).await.status, StatusCode::NOT_FOUND);
}

/// mission.md J10.
#[tokio::test]
async fn an_online_deployment_brings_the_network_of_its_hub_along_unless_it_must_be_there_before() {
    for parity in [Parity::Native, Parity::Strict] {
        let house = House::found_with(Options { parity, ..Options::default() }).await;
        house.make_group("rg").await;
        let storage = make_storage(&house, "store").await;
        let hub = house.hub("rg", "hub");
        let network = json!({"isolationMode": "AllowOnlyApprovedOutbound"});
        let properties = json!({"storageAccount": storage, "keyVault": null, "managedNetwork": network});
        house.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": properties})).await;
        let endpoint = format!("{hub}/onlineEndpoints/one");
        let body = json!({"location": "westeurope", "properties": {"authMode": "Key"}});
        assert!(house.put(&endpoint, body).await.status.is_success());
        let deployment = json!({"location": "westeurope", "properties": {"endpointComputeType": "Managed"}});
        let path = format!("{endpoint}/deployments/blue");
        let made = house.put(&path, deployment.clone()).await;
        if parity == Parity::Strict {
            assert_eq!(
                (made.status, made.code()),
                (StatusCode::BAD_REQUEST, "ManagedNetworkNotProvisioned"),
                "{made:?}"
            );
            house.call(Method::POST, &format!("{hub}/provisionManagedNetwork"), Some(json!({}))).await;
            assert!(house.put(&path, deployment).await.status.is_success());
        } else {
            assert!(made.status.is_success(), "{made:?}");
            let before = revision(&house, &hub).await;
            house.call(Method::POST, &format!("{hub}/provisionManagedNetwork"), Some(json!({}))).await;
            assert_eq!(revision(&house, &hub).await, before, "it was provisioned already");
        }
    }
}
