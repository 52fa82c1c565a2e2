//! What rules lead to and what stands behind them: declared services, approvals of targets, packs of service tags.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use bastide_arm::clock::Clock as _;
use bastide_plan::hub_plan::Target;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::House;
use support::agent::Agent;

const API: &str = "api-version=2026-11-01";
const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
const APPROVER: &str = "b556d68e-0be0-4f35-a333-ad7ee1ce17ea";
const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";

/// A provisioned approved-only hub before an agent.
struct Scene {
    house: House,
    agent: Agent,
    hub: String,
    group: String,
}

impl Scene {
    async fn set() -> Self {
        let agent = Agent::start();
        let (house, hub) = agent.provisioned_house(json!({})).await;
        let group = format!("/subscriptions/{}/resourceGroups/rg", house.subscription);
        Self { house, agent, hub, group }
    }

    fn service(&self, name: &str) -> String {
        format!("{}/providers/Bastide.Network/externalServices/{name}", self.group)
    }

    fn pack(&self, name: &str) -> String {
        format!("/subscriptions/{}/providers/Bastide.Network/serviceTagPacks/{name}", self.house.subscription)
    }

    async fn rule(&self, name: &str) -> Value {
        self.house.get(&format!("{}/outboundRules/{name}", self.hub)).await.body["properties"].clone()
    }

    /// Waits for what the planner brings about.
    async fn until(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let rule = self.rule(name).await;
            if wanted(&rule) {
                return rule;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("it never came: {}", self.rule(name).await)
    }

    async fn put_as(&self, token: &str, path: &str, body: Value) -> support::Answer {
        self.house.call_as(token, Method::PUT, path, Some(body), &[]).await
    }

    async fn put_rule(&self, name: &str, properties: Value) -> support::Answer {
        self.house.put(&format!("{}/outboundRules/{name}", self.hub), json!({"properties": properties})).await
    }
}

fn leads_to(service: &str) -> Value {
    json!({"type": "PrivateEndpoint", "destination": {"serviceResourceId": service, "subresourceTarget": "tcp"}})
}

fn by_tag(tag: &str) -> Value {
    let destination = json!({"serviceTag": tag, "protocol": "TCP", "portRanges": "80, 8080-8089"});
    json!({"type": "ServiceTag", "destination": destination})
}

fn published(change: u64, tags: &[(&str, &[&str])]) -> Value {
    let values: Vec<Value> = tags
        .iter()
        .map(|(name, prefixes)| json!({"name": name, "id": name, "properties": {"region": "", "addressPrefixes": prefixes}}))
        .collect();
    json!({"changeNumber": change, "cloud": "Public", "values": values})
}

fn is_active(rule: &Value) -> bool {
    rule["status"] == "Active"
}

#[tokio::test]
async fn a_declared_service_is_planned_by_its_private_name_and_cannot_go_while_a_rule_leads_to_it() {
    let scene = Scene::set().await;
    let service = scene.service("ledger");
    let refused = scene.put_rule("database", leads_to(&service)).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("LinkedResourceNotFound"))
    );
    let body = json!({"properties": {"target": "db.example.lan:5432", "description": "the accounts"}});
    let made = scene.house.put(&format!("{service}?{API}"), body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.body["properties"]["privateFqdn"], "ledger.external.bastide.internal");
    assert_eq!(made.body["properties"]["allowHostTarget"], false);
    let again = scene.house.put(&format!("{service}?{API}"), made.body.clone()).await;
    assert_eq!((again.status, &again.body["properties"]["target"]), (StatusCode::OK, &json!("db.example.lan:5432")));

    let rule = scene.put_rule("database", leads_to(&service)).await;
    assert!(is_active(&rule.body["properties"]), "{rule:?}");
    let planned = scene.agent.last_plan().endpoints.into_iter().find(|endpoint| endpoint.rule.0 == "database").unwrap();
    let target = Target::External { host: "db.example.lan".into(), port: 5432, host_allowed: false };
    assert_eq!((planned.target, planned.ports), (Some(target), vec![5432]));
    assert_eq!(scene.house.get(&service).await.body["properties"]["usedBy"][0]["name"], "database");

    let refused = scene.house.call(Method::DELETE, &service, None).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("outboundRules/database"), "{refused:?}");
    scene.house.call(Method::DELETE, &format!("{}/outboundRules/database", scene.hub), None).await;
    assert_eq!(scene.house.call(Method::DELETE, &service, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_service_that_moves_takes_its_rules_along_and_one_that_went_with_its_group_leaves_them_inactive() {
    let scene = Scene::set().await;
    scene.house.make_group("services").await;
    let service = scene.service("gpu").replace("/rg/", "/services/");
    for target in ["10.1.1.1:11434", "10.1.1.2:8000"] {
        scene.house.put(&format!("{service}?{API}"), json!({"properties": {"target": target}})).await;
        assert!(is_active(&scene.put_rule("models", leads_to(&service)).await.body["properties"]));
        let planned = || {
            scene.agent.last_plan().endpoints.iter().any(|end| {
            matches!(&end.target, Some(Target::External { host, port, .. }) if format!("{host}:{port}") == target)
        })
        };
        for _ in 0..100 {
            if planned() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert!(planned(), "{target}");
    }
    let group = format!("/subscriptions/{}/resourceGroups/services", scene.house.subscription);
    let gone = scene.house.call(Method::DELETE, &group, None).await;
    assert!(gone.status.is_success(), "{gone:?}");
    let rule = scene.until("models", |rule| !is_active(rule)).await;
    assert!(rule["errorInformation"].as_str().unwrap().contains("not there any more"), "{rule}");
}

#[tokio::test]
async fn the_host_itself_is_let_in_by_an_owner_alone_and_that_is_on_record() {
    let scene = Scene::set().await;
    let (stranger, token) = scene.house.stranger().await;
    scene.house.grant_at(&scene.group, stranger.object_id, CONTRIBUTOR).await;
    let service = format!("{}?{API}", scene.service("metadata"));
    let plain = json!({"properties": {"target": "169.254.169.254:80"}});
    let refused = scene.put_as(&token, &service, plain).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("allowHostTarget"), "{refused:?}");
    let granted = json!({"properties": {"target": "169.254.169.254:80", "allowHostTarget": true}});
    let refused = scene.put_as(&token, &service, granted.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "a contributor may not: {refused:?}");
    let made = scene.house.put(&service, granted.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    // What stands was granted; whoever may write it may write the same again, and nothing more.
    assert_eq!(scene.put_as(&token, &service, granted).await.status, StatusCode::OK);
    let moved = json!({"properties": {"target": "169.254.169.254:8080", "allowHostTarget": true}});
    assert_eq!(scene.put_as(&token, &service, moved).await.status, StatusCode::FORBIDDEN);
    let log = format!(
        "/subscriptions/{}/providers/Microsoft.Insights/eventtypes/management/values",
        scene.house.subscription
    );
    let filter = "%24filter=eventTimestamp%20ge%20%272026-11-22T00%3A00%3A00Z%27";
    let log = scene.house.get(&format!("{log}?api-version=2015-04-01&{filter}")).await;
    let granted = |event: &&Value| {
        event["properties"]["granted"].as_str().is_some_and(|text| text.contains("roleAssignments/write"))
    };
    assert!(log.body["value"].as_array().unwrap().iter().any(|event| granted(&event)), "{log:?}");
}

#[tokio::test]
async fn who_may_only_see_a_service_may_not_connect_hubs_to_it() {
    let scene = Scene::set().await;
    scene.house.make_group("services").await;
    let service = scene.service("ledger").replace("/rg/", "/services/");
    scene.house.put(&format!("{service}?{API}"), json!({"properties": {"target": "10.1.2.3:5432"}})).await;
    let (stranger, token) = scene.house.stranger().await;
    scene.house.grant_at(&scene.group, stranger.object_id, CONTRIBUTOR).await;
    let group = format!("/subscriptions/{}/resourceGroups/services", scene.house.subscription);
    scene.house.grant_at(&group, stranger.object_id, READER).await;
    let rule = format!("{}/outboundRules/database", scene.hub);
    let refused = scene.put_as(&token, &rule, json!({"properties": leads_to(&service)})).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (StatusCode::FORBIDDEN, &json!("LinkedAuthorizationFailed"))
    );
}

/// A vault nobody made for the hub, in another subscription of the tenant (K4).
async fn far_vault(scene: &Scene) -> String {
    let house = &scene.house;
    let own = format!("/subscriptions/{}/providers/Microsoft.Authorization/roleAssignments", house.subscription);
    let assigned = house.get(&own).await.body["value"].as_array().unwrap().clone();
    let client = assigned.iter().find(|held| held["properties"]["principalType"] == "ServicePrincipal").unwrap();
    let client = client["properties"]["principalId"].as_str().unwrap().parse().unwrap();
    let alias = "/providers/Microsoft.Subscription/aliases/data?api-version=2021-10-01";
    let body = json!({"properties": {"displayName": "data", "workload": "Production"}});
    let made = house.call_as(&house.log_in_admin().await, Method::PUT, alias, Some(body), &[]).await;
    let other = format!("/subscriptions/{}", made.body["properties"]["subscriptionId"].as_str().unwrap());
    house.grant_at(&other, client, OWNER).await;
    let group = format!("{other}/resourceGroups/far");
    assert!(scene.house.put(&group, json!({"location": "westeurope"})).await.status.is_success());
    let vault = format!("{group}/providers/Microsoft.KeyVault/vaults/farvault");
    let properties =
        json!({"tenantId": scene.house.tenant, "sku": {"family": "A", "name": "standard"}, "accessPolicies": []});
    let made = scene.house.put(&vault, json!({"location": "westeurope", "properties": properties})).await;
    assert!(made.status.is_success(), "{made:?}");
    vault
}

fn to_vault(vault: &str) -> Value {
    json!({"type": "PrivateEndpoint", "destination": {"serviceResourceId": vault, "subresourceTarget": "vault"}})
}

fn why(rule: &Value) -> String {
    rule["errorInformation"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_private_endpoint_waits_until_its_target_lets_it_in_and_goes_when_that_takes_it_back() {
    let scene = Scene::set().await;
    let vault = far_vault(&scene).await;
    let rule = scene.put_rule("secrets", to_vault(&vault)).await.body["properties"].clone();
    assert!(why(&rule).starts_with("Pending:") && why(&rule).contains("Connection Approver"), "{rule}");
    let listed = scene.house.get(&format!("{vault}/privateEndpointConnections?{API}")).await.body["value"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["properties"]["privateLinkServiceConnectionState"]["status"], "Pending");
    assert_eq!(listed[0]["properties"]["groupIds"], json!(["vault"]));
    assert_eq!(
        scene.house.get(&vault).await.body["properties"]["privateEndpointConnections"][0]["id"],
        listed[0]["id"]
    );

    let id = listed[0]["id"].as_str().unwrap();
    let decide = |status: &str| {
        let state = json!({"status": status, "description": "by the vault's owner"});
        json!({"properties": {"privateLinkServiceConnectionState": state}})
    };
    let approved = scene.house.put(id, decide("Approved")).await;
    assert_eq!(approved.status, StatusCode::OK, "{approved:?}");
    let rule = scene.rule("secrets").await;
    assert!(why(&rule).starts_with("No service behind it"), "approved, and still nothing serves a vault: {rule}");
    scene.house.put(id, decide("Rejected")).await;
    assert_eq!(why(&scene.rule("secrets").await), "Rejected: by the vault's owner");
    assert_eq!(scene.house.put(id, decide("Pending")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.house.call(Method::DELETE, id, None).await.status, StatusCode::OK);
    assert!(why(&scene.rule("secrets").await).starts_with("Disconnected:"));

    // A rule made anew asks anew.
    let rule = format!("{}/outboundRules/secrets", scene.hub);
    assert_eq!(scene.house.call(Method::DELETE, &rule, None).await.status, StatusCode::OK);
    assert_eq!(scene.house.get(id).await.status, StatusCode::NOT_FOUND);
    assert!(why(&scene.put_rule("secrets", to_vault(&vault)).await.body["properties"]).starts_with("Pending:"));
}

#[tokio::test]
async fn what_was_decided_about_a_target_that_has_gone_says_nothing_of_another_with_its_name() {
    let scene = Scene::set().await;
    let account = format!("{}/providers/Microsoft.Storage/storageAccounts/lakehouse", scene.group);
    let body = json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    assert!(scene.house.put(&account, body.clone()).await.status.is_success());
    let to_file =
        json!({"type": "PrivateEndpoint", "destination": {"serviceResourceId": account, "subresourceTarget": "file"}});
    let rule = scene.put_rule("lake", to_file).await.body["properties"].clone();
    let at_first = why(&rule);
    let connections = format!("{account}/privateEndpointConnections?{API}");
    let id = scene.house.get(&connections).await.body["value"][0]["id"].as_str().unwrap().to_owned();
    let state = json!({"status": "Rejected", "description": "not you"});
    let decided = scene.house.put(&id, json!({"properties": {"privateLinkServiceConnectionState": state}})).await;
    assert_eq!(decided.status, StatusCode::OK, "{decided:?}");
    assert_eq!(why(&scene.rule("lake").await), "Rejected: not you");

    assert_eq!(scene.house.call(Method::DELETE, &account, None).await.status, StatusCode::OK);
    scene.until("lake", |rule| why(rule).starts_with("Disconnected:") && why(rule).contains("not there")).await;
    assert!(scene.house.put(&account, body).await.status.is_success());
    scene.until("lake", |rule| why(rule) == at_first).await;
    let listed = scene.house.get(&connections).await.body["value"][0]["properties"].clone();
    assert_ne!(listed["privateLinkServiceConnectionState"]["status"], "Rejected", "{listed}");
}

#[tokio::test]
async fn the_hubs_identity_approves_by_its_role_and_whoever_may_not_decide_does_not() {
    let scene = Scene::set().await;
    let vault = far_vault(&scene).await;
    let identity = scene.house.get(&scene.hub).await.body["identity"]["principalId"].as_str().unwrap().parse().unwrap();
    scene.put_rule("secrets", to_vault(&vault)).await;
    let assignment = scene.house.grant_at(&vault, identity, APPROVER).await;
    scene.until("secrets", |rule| why(rule).starts_with("No service behind it")).await;
    // What the rights of a moment let in goes with them.
    scene.house.revoke(&assignment).await;
    scene.until("secrets", |rule| why(rule).starts_with("Pending:")).await;

    let listed = scene.house.get(&format!("{vault}/privateEndpointConnections?{API}")).await.body["value"].clone();
    let (stranger, token) = scene.house.stranger().await;
    scene.house.grant_at(&vault, stranger.object_id, READER).await;
    let state = json!({"properties": {"privateLinkServiceConnectionState": {"status": "Approved"}}});
    let refused = scene.put_as(&token, listed[0]["id"].as_str().unwrap(), state).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}

#[tokio::test]
async fn targets_that_are_not_there_and_parts_of_targets_are_told_apart() {
    let scene = Scene::set().await;
    let vault = format!("{}/providers/Microsoft.KeyVault/vaults/nowhere", scene.group);
    let rule = scene.put_rule("secrets", to_vault(&vault)).await.body["properties"].clone();
    assert!(why(&rule).starts_with("Disconnected:") && why(&rule).contains("not there"), "{rule}");
    let account = format!("{}/providers/Microsoft.Storage/storageAccounts/lakehouse", scene.group);
    let body = json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    assert!(scene.house.put(&account, body).await.status.is_success());
    let part = format!("{account}/blobServices/default");
    let blob =
        json!({"type": "PrivateEndpoint", "destination": {"serviceResourceId": part, "subresourceTarget": "blob"}});
    let made = scene.put_rule("lake", blob).await;
    assert_eq!(made.body["properties"]["destination"]["serviceResourceId"], part.as_str(), "{made:?}");
    let listed = scene.house.get(&format!("{account}/privateEndpointConnections?{API}")).await.body["value"].clone();
    assert_eq!(listed[0]["properties"]["groupIds"], json!(["blob"]), "a part stands for its account (K12): {listed}");
    let links = scene.house.get(&format!("{account}/privateLinkResources?{API}")).await.body["value"].clone();
    assert!(links.as_array().unwrap().iter().any(|link| link["properties"]["groupId"] == "dfs"), "{links}");
}

#[tokio::test]
async fn a_tag_is_inactive_until_a_pack_has_it_and_follows_the_pack_from_then_on() {
    let scene = Scene::set().await;
    let rule = scene.put_rule("data", by_tag("DataFactory.WestEurope")).await.body["properties"].clone();
    assert!(!is_active(&rule));
    let why = rule["errorInformation"].as_str().unwrap();
    assert!(why.contains("DataFactory.WestEurope") && why.contains("service-tags import"), "{why}");
    let own = json!({"type": "ServiceTag", "destination": {"serviceTag": "DataFactory.WestEurope", "protocol": "TCP",
        "portRanges": "443", "addressPrefixes": ["198.51.100.0/24"]}});
    scene.put_rule("listed", own).await;

    let pack = format!("{}?{API}", scene.pack("azure"));
    let prefixes = |scene: &Scene, rule: &str| {
        let plan = scene.agent.last_plan();
        let found = plan.prefixes.into_iter().find(|planned| planned.rule.0 == rule);
        found.map(|planned| planned.prefixes.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap_or_default()
    };
    let first =
        published(1, &[("DataFactory.WestEurope", &["203.0.113.0/25", "2001:db8::/32"]), ("Gone", &["192.0.2.0/24"])]);
    let unclear = scene.house.put(&format!("{pack}&dryRun=1"), first.clone()).await;
    assert_eq!(unclear.status, StatusCode::BAD_REQUEST, "it might have been meant as a dry run: {unclear:?}");
    let preview = scene.house.put(&format!("{pack}&dryRun=true"), first.clone()).await;
    assert_eq!(
        (preview.status, &preview.body["properties"]["changes"]["added"]),
        (StatusCode::OK, &json!(["DataFactory.WestEurope", "Gone"]))
    );
    assert_eq!(scene.house.get(&scene.pack("azure")).await.status, StatusCode::NOT_FOUND, "a dry run changes nothing");
    let imported = scene.house.put(&pack, first).await;
    assert_eq!(imported.status, StatusCode::CREATED, "{imported:?}");
    assert_eq!(imported.body["properties"]["ignoredIpv6"], 1);
    scene.until("data", is_active).await;
    assert_eq!(prefixes(&scene, "data"), ["203.0.113.0/25"]);
    assert_eq!(prefixes(&scene, "listed"), ["198.51.100.0/24"], "what a rule lists itself wins (G7)");

    let second = published(2, &[("DataFactory.WestEurope", &["203.0.113.128/25"])]);
    let updated = scene.house.put(&pack, second).await;
    assert_eq!((updated.status, &updated.body["properties"]["version"]), (StatusCode::OK, &json!(2)));
    let changes = json!({"added": [], "removed": ["Gone"], "changed": [
        {"name": "DataFactory.WestEurope", "added": ["203.0.113.128/25"], "removed": ["203.0.113.0/25"]}]});
    assert_eq!(updated.body["properties"]["changes"], changes);
    for _ in 0..100 {
        if prefixes(&scene, "data") == ["203.0.113.128/25"] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(prefixes(&scene, "data"), ["203.0.113.128/25"], "hubs follow the pack");

    let shown = scene.house.get(&format!("{}?{API}&tag=datafactory.westeurope", scene.pack("azure"))).await;
    assert_eq!(shown.body["properties"]["values"][0]["properties"]["addressPrefixes"], json!(["203.0.113.128/25"]));
    assert_eq!(shown.body["properties"]["history"][1]["changeNumber"], 1);
    assert_eq!(scene.house.call(Method::DELETE, &scene.pack("azure"), None).await.status, StatusCode::OK);
    scene.until("data", |rule| !is_active(rule)).await;
}

/// mission.md H14, G16: whatever way a parent comes and goes, what it implies does so with it.
#[tokio::test]
async fn a_rule_that_others_imply_names_them_comes_with_the_first_and_goes_with_the_last() {
    let agent = Agent::start();
    let (house, _) = agent.house(json!({})).await;
    let account = |name: &str| format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", house.group("rg"));
    for name in ["own", "lake"] {
        let body = json!({"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}});
        assert!(house.put(&account(name), body).await.status.is_success());
    }
    let hub = house.hub("rg", "open");
    let network = json!({"isolationMode": "AllowInternetOutbound"});
    let properties = json!({"storageAccount": account("own"), "keyVault": null, "managedNetwork": network});
    let made = house.put(&hub, json!({"location": "westeurope", "kind": "hub", "properties": properties})).await;
    assert_eq!(made.body["properties"]["managedNetwork"]["outboundRules"], json!({}), "{made:?}");
    let parents = async |name: &str| {
        let found = house.get(&format!("{hub}/outboundRules/{name}")).await;
        (found.status == StatusCode::OK).then(|| found.body["properties"]["parentRuleNames"].clone())
    };
    let (tag, blob) = ("__SYS_ST_VirtualNetwork", "__SYS_PE_dependency_lake_blob");
    let lake = |service: &str| {
        let destination = json!({"serviceResourceId": account("lake"), "subresourceTarget": service});
        json!({"type": "PrivateEndpoint", "destination": destination})
    };
    assert_eq!(parents(tag).await, None, "there is no private endpoint");

    let rule = |name: &str| format!("{hub}/outboundRules/{name}");
    house.put(&rule("one"), json!({"properties": lake("dfs")})).await;
    let map = json!({"properties": {"managedNetwork": {"outboundRules": {"two": lake("dfs")}}}});
    assert_eq!(house.call(Method::PATCH, &hub, Some(map)).await.status, StatusCode::OK);
    assert_eq!(parents(blob).await, Some(json!(["one", "two"])));
    assert_eq!(parents(tag).await, Some(json!([blob, "one", "two"])));
    let shown = house.get(&rule(blob)).await.body["properties"].clone();
    assert_eq!((&shown["category"], &shown["type"]), (&json!("Dependency"), &json!("PrivateEndpoint")));
    let refused = house.call(Method::DELETE, &rule(blob), None).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "it goes with its parents: {refused:?}");
    let connections = house.get(&format!("{}/privateEndpointConnections", account("lake"))).await;
    assert_eq!(connections.body["value"].as_array().unwrap().len(), 3, "the target sees it: {connections:?}");

    assert_eq!(house.call(Method::DELETE, &rule("one"), None).await.status, StatusCode::OK);
    assert_eq!(parents(blob).await, Some(json!(["two"])), "it has another parent");
    house.put(&rule("two"), json!({"properties": lake("file")})).await;
    assert_eq!((parents(blob).await, parents(tag).await), (None, Some(json!(["two"]))));
    let batch = json!({"properties": {"managedNetwork": {"outboundRules": {"two": null}}}});
    house.call(Method::POST, &format!("{hub}/batchOutboundRules?{API}"), Some(batch)).await;
    assert_eq!(parents(tag).await, None);

    let connection = format!("{hub}/connections/files");
    let body = json!({"category": "AzureBlob", "authType": "None", "target": account("lake")});
    assert_eq!(house.put(&connection, json!({"properties": body})).await.status, StatusCode::OK);
    assert_eq!(parents(tag).await, Some(json!(["__SYS_PE_connection_files"])));
    assert_eq!(house.call(Method::DELETE, &connection, None).await.status, StatusCode::OK);
    assert_eq!(parents(tag).await, None);
    house.put(&rule("one"), json!({"properties": lake("dfs")})).await;
    assert_eq!(house.call(Method::DELETE, &hub, None).await.status, StatusCode::OK, "it goes with its hub");
}

/// The file that is published each week is larger than other bodies may be.
#[tokio::test]
async fn a_pack_may_be_as_large_as_what_is_published_and_has_a_limit_of_its_own() {
    let scene = Scene::set().await;
    let path = format!("{}?{API}", scene.pack("azure"));
    let prefix = |tag: usize, number: usize| format!("{}.{}.{}.0/24", 11 + tag, number / 256, number % 256);
    let tag = |tag: usize| {
        let prefixes: Vec<String> = (0..3000).map(|number| prefix(tag, number)).collect();
        let properties =
            json!({"region": "", "systemService": "", "addressPrefixes": prefixes, "networkFeatures": ["API"]});
        json!({"name": format!("Tag{tag}"), "id": format!("Tag{tag}"), "properties": properties})
    };
    let file = json!({"changeNumber": 1, "cloud": "Public", "values": (0..120).map(tag).collect::<Vec<_>>()});
    assert!(file.to_string().len() > 5 << 20);
    let imported = scene.house.put(&path, file.clone()).await;
    assert_eq!(imported.status, StatusCode::CREATED, "{:?}", imported.body["error"]);
    assert_eq!(imported.body["properties"]["tagCount"], 120);
    assert!(is_active(&scene.put_rule("tagged", by_tag("Tag7")).await.body["properties"]));

    let huge = json!({"properties": file, "padding": "x".repeat(33 << 20)});
    assert_eq!(scene.house.put(&path, huge.clone()).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let (contributor, token) = scene.house.stranger().await;
    let subscription = format!("/subscriptions/{}", scene.house.subscription);
    scene.house.grant_at(&subscription, contributor.object_id, CONTRIBUTOR).await;
    let refused = scene.put_as(&token, &path, huge).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "nothing is read of who may not: {refused:?}");
    let rule = json!({"type": "FQDN", "destination": "a.example", "padding": "x".repeat(5 << 20)});
    assert_eq!(scene.put_rule("large", rule).await.status, StatusCode::PAYLOAD_TOO_LARGE, "other bodies stay small");
}

#[tokio::test]
async fn packs_are_an_owners_and_a_bad_one_changes_nothing() {
    let scene = Scene::set().await;
    let azure = format!("{}?{API}", scene.pack("azure"));
    scene.house.put(&azure, published(1, &[("Storage", &["203.0.113.0/24"])])).await;
    let bad = scene.house.put(&azure, published(2, &[("Storage", &["203.0.113.0/24", "somewhere"])])).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert_eq!(bad.body["error"]["target"], "values[0].properties.addressPrefixes");
    assert_eq!(scene.house.get(&scene.pack("azure")).await.body["properties"]["changeNumber"], 1);
    let other =
        scene.house.put(&format!("{}?{API}", scene.pack("own")), published(1, &[("storage", &["192.0.2.0/24"])])).await;
    assert_eq!(other.status, StatusCode::CONFLICT, "a tag means one thing: {other:?}");
    let (stranger, token) = scene.house.stranger().await;
    let subscription = format!("/subscriptions/{}", scene.house.subscription);
    scene.house.grant_at(&subscription, stranger.object_id, CONTRIBUTOR).await;
    let refused = scene.put_as(&token, &azure, published(3, &[("Storage", &["0.0.0.0/0"])])).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}

#[tokio::test]
async fn a_preset_is_applied_in_one_call_and_adds_only_what_is_missing() {
    let scene = Scene::set().await;
    scene.put_rule("mine", json!({"type": "FQDN", "destination": "pypi.org"})).await;
    let path = format!("{}/bastide/applyPreset?{API}", scene.hub);
    let apply = |body: Value| scene.house.call(Method::POST, &path, Some(body));
    let preview = apply(json!({"preset": "python-packages", "dryRun": true})).await;
    assert_eq!((preview.status, &preview.body["present"]), (StatusCode::OK, &json!(["pypi.org"])), "{preview:?}");
    let unclear = apply(json!({"preset": "python-packages", "dryRun": "yes"})).await;
    assert_eq!(unclear.status, StatusCode::BAD_REQUEST, "it might have been meant as one: {unclear:?}");
    assert!(scene.rule("any-pytorch-org").await.is_null(), "a dry run adds nothing");
    let applied = apply(json!({"preset": "python-packages"})).await;
    assert_eq!(applied.body["added"]["any-pythonhosted-org"]["destination"], "*.pythonhosted.org", "{applied:?}");
    let made = scene.rule("any-pytorch-org").await;
    assert!(is_active(&made), "ordinary rules, in the kernel when it is answered");
    assert_eq!(made["category"], "Recommended", "and told from what somebody made without a preset");
    assert_eq!(scene.rule("mine").await["category"], "UserDefined", "it was there before");
    assert_eq!(scene.agent.last_plan().names.len(), 8);
    assert_eq!(apply(json!({"preset": "python-packages"})).await.body["added"], json!({}));
    let listed = scene.house.get(&format!("{}/bastide/presets?{API}", scene.hub)).await.body["value"].clone();
    let missing = |name: &str| {
        listed.as_array().unwrap().iter().find(|preset| preset["name"] == name).unwrap()["missing"].clone()
    };
    assert_eq!((missing("python-packages"), missing("azure-models")), (json!(0), json!(0)));
    assert_eq!(missing("huggingface"), 9);
    assert_eq!(apply(json!({"preset": "nonsense"})).await.status, StatusCode::BAD_REQUEST);
    let (stranger, token) = scene.house.stranger().await;
    scene.house.grant_at(&scene.hub, stranger.object_id, READER).await;
    let refused = scene.house.call_as(&token, Method::POST, &path, Some(json!({"preset": "vscode"})), &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    scene.house.grant_at(&scene.hub, stranger.object_id, CONTRIBUTOR).await;
    let applied = scene.house.call_as(&token, Method::POST, &path, Some(json!({"preset": "vscode"})), &[]).await;
    assert_eq!(applied.body["leftOut"][0]["destination"], "vscode.blob.core.windows.net", "{applied:?}");
    assert_eq!(applied.body["risks"][0]["destination"], "*.vscodeexperiments.azureedge.net", "{applied:?}");
    let applied = apply(json!({"preset": "vscode"})).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
    assert_eq!(applied.body["added"].as_object().unwrap().len(), 1, "an Owner admits it: {applied:?}");
}

#[tokio::test]
async fn the_shadow_cost_follows_the_rules() {
    let scene = Scene::set().await;
    let path = format!("{}/bastide/cost?{API}", scene.hub);
    let before = scene.house.get(&path).await.body;
    assert_eq!(
        (&before["firewall"]["existsInCloud"], &before["charged"]["monthly"]),
        (&json!(false), &json!(0.0)),
        "{before}"
    );
    scene.put_rule("pypi", json!({"type": "FQDN", "destination": "pypi.org"})).await;
    let after = scene.house.get(&path).await.body;
    assert_eq!(after["firewall"]["existsInCloud"], true, "{after}");
    let more = after["cloud"]["monthly"].as_f64().unwrap() - before["cloud"]["monthly"].as_f64().unwrap();
    assert!((more - 912.5).abs() < 0.01, "{more}");
}

#[tokio::test]
async fn what_was_changed_is_remembered_compared_and_undone_in_one_step() {
    let scene = Scene::set().await;
    let revisions =
        || async { scene.house.get(&format!("{}/bastide/revisions?{API}", scene.hub)).await.body["value"].clone() };
    let path = format!("{}/bastide/rollback?{API}", scene.hub);
    let roll_back = |body: Value| scene.house.call(Method::POST, &path, Some(body));
    let hosts = || {
        let mut hosts: Vec<String> =
            scene.agent.last_plan().names.iter().map(|rule| rule.pattern.to_string()).collect();
        hosts.sort();
        hosts
    };
    assert_eq!(roll_back(json!({})).await.status, StatusCode::CONFLICT, "nothing to go back to");
    let fqdn = |host: &str| json!({"type": "FQDN", "destination": host});
    scene.put_rule("one", fqdn("a.example")).await;
    let batch = json!({"properties": {"managedNetwork": {"outboundRules": {
        "one": fqdn("b.example"), "two": fqdn("c.example"), "three": fqdn("d.example")}}}});
    let batches = format!("{}/batchOutboundRules?{API}", scene.hub);
    assert_eq!(scene.house.call(Method::POST, &batches, Some(batch)).await.status, StatusCode::OK);
    let history = revisions().await;
    assert_eq!(history.as_array().unwrap().len(), 2, "one revision for one transaction: {history}");
    assert_eq!(history[0]["changes"]["changed"][0]["before"]["destination"], "a.example");
    assert_eq!(history[0]["changes"]["added"].as_array().unwrap().len(), 2);
    assert_eq!(history[0]["by"], "bootstrap");

    let first = history[1]["revision"].as_i64().unwrap();
    let diff = scene.house.get(&format!("{}/bastide/diff?{API}&from={first}", scene.hub)).await.body["changes"].clone();
    assert_eq!(diff["changed"][0]["after"]["destination"], "b.example", "{diff}");
    for wrong in ["from=999999999", "from=-1", "from=x", &format!("from={first}&to=999999999")] {
        let refused = scene.house.get(&format!("{}/bastide/diff?{API}&{wrong}", scene.hub)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "no difference of what never was: {wrong} {refused:?}");
    }

    assert_eq!(hosts(), ["b.example", "c.example", "d.example"]);
    assert_eq!(roll_back(json!({})).await.status, StatusCode::OK);
    assert_eq!(hosts(), ["a.example"], "one step back, in the kernel when it is answered");
    assert_eq!(roll_back(json!({})).await.status, StatusCode::OK);
    assert_eq!(hosts(), ["b.example", "c.example", "d.example"], "and that is undone likewise");
    assert_eq!(roll_back(json!({"revision": first})).await.status, StatusCode::OK);
    assert_eq!(hosts(), ["a.example"]);
    assert_eq!(roll_back(json!({"revision": 1})).await.status, StatusCode::BAD_REQUEST);
    let rule = scene.put_rule("wide", fqdn("*.github.io")).await;
    assert!(rule.body["properties"]["bastide"]["risk"].as_str().unwrap().contains("Anybody"), "{rule:?}");
}

#[tokio::test]
async fn whoever_sees_the_hub_asks_and_whoever_changes_its_rules_approves_for_a_time() {
    let scene = Scene::set().await;
    let (mei, token) = scene.house.stranger().await;
    let ask = format!("{}/bastide/ask?{API}", scene.hub);
    let wish = json!({"destination": "models.example", "justification": "weights", "minutes": 120});
    let call = |token: String, path: String, body: Value| {
        let house = &scene.house;
        async move { house.call_as(&token, Method::POST, &path, Some(body), &[]).await }
    };
    let refused = call(token.clone(), ask.clone(), wish.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "a stranger to the hub");
    scene.house.grant_at(&scene.hub, mei.object_id, READER).await;
    let asked = call(token.clone(), ask.clone(), wish.clone()).await;
    assert_eq!((asked.status, &asked.body["status"]), (StatusCode::CREATED, &json!("Pending")), "{asked:?}");
    let asked_first = asked.body;
    assert_eq!(call(token.clone(), ask.clone(), wish).await.status, StatusCode::OK, "asked already");
    let hopeless = [
        ("10.0.0.1", StatusCode::BAD_REQUEST),
        ("lake.blob.core.windows.net", StatusCode::BAD_REQUEST),
        ("pypi.org", StatusCode::CONFLICT),
        ("a.b.example.org", StatusCode::CONFLICT),
    ];
    scene.put_rule("pypi", json!({"type": "FQDN", "destination": "pypi.org"})).await;
    scene.put_rule("wide", json!({"type": "FQDN", "destination": "*.example.org"})).await;
    for (destination, status) in hopeless {
        let refused = call(token.clone(), ask.clone(), json!({"destination": destination})).await;
        assert_eq!(refused.status, status, "no approval would bring it: {refused:?}");
    }
    let wider = call(token.clone(), ask, json!({"destination": "*.pypi.org"})).await;
    assert_eq!(wider.status, StatusCode::CREATED, "{wider:?}");
    let listed = scene.house.get(&format!("{}/bastide/requests?{API}", scene.hub)).await.body["value"].clone();
    let deny = format!("{}/bastide/requests/{}/deny?{API}", scene.hub, wider.body["id"].as_str().unwrap());
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(call(scene.house.token.clone(), deny, json!({})).await.status, StatusCode::OK);
    let mine = listed.as_array().unwrap().iter().find(|asked| asked["id"] == asked_first["id"]).unwrap();
    assert_eq!(mine["justification"], "weights");

    let approve = format!("{}/bastide/requests/{}/approve?{API}", scene.hub, mine["id"].as_str().unwrap());
    assert_eq!(call(token.clone(), approve.clone(), json!({})).await.status, StatusCode::FORBIDDEN, "not by who asks");
    let approved = call(scene.house.token.clone(), approve.clone(), json!({})).await;
    assert_eq!((approved.status, &approved.body["status"]), (StatusCode::OK, &json!("Approved")), "{approved:?}");
    let rule = scene.rule(approved.body["rule"].as_str().unwrap()).await;
    assert_eq!(
        (&rule["destination"], &rule["bastide"]["expiresOn"]),
        (&json!("models.example"), &json!("2026-11-22T12:00:00Z"))
    );
    assert_eq!(call(scene.house.token.clone(), approve, json!({})).await.status, StatusCode::CONFLICT, "decided once");
}

#[tokio::test]
async fn a_rule_ends_by_itself_at_its_time() {
    let scene = Scene::set().await;
    let end = scene.house.clock.now() + jiff::SignedDuration::from_mins(2);
    let rule = json!({"type": "FQDN", "destination": "soon.example", "bastide": {"enabled": true, "expiresOn": end.to_string()}});
    let made = scene.put_rule("soon", rule).await;
    assert!(is_active(&made.body["properties"]), "{made:?}");
    assert_eq!(scene.agent.last_plan().names.len(), 1);
    scene.house.clock.set(end);
    let over = scene.until("soon", |rule| !is_active(rule)).await;
    assert!(why(&over).contains("ended"), "{over}");
    assert!(scene.agent.last_plan().names.is_empty(), "nothing lets it through any more");
    let wrong = json!({"type": "FQDN", "destination": "a.example", "bastide": {"expiresOn": "tomorrow"}});
    assert_eq!(scene.put_rule("wrong", wrong).await.status, StatusCode::BAD_REQUEST);
}
