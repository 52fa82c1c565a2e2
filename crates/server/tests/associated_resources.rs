//! The resources a hub is made with: stored, with the shapes clients read, and honest about what runs behind them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::House;

struct Case {
    type_name: &'static str,
    body: Value,
    created: u16,
    /// Read-only properties clients look for.
    outputs: &'static [&'static str],
    /// The action that shows keys, and a pointer to one of them.
    keys: Option<(&'static str, &'static str)>,
}

fn cases() -> Vec<Case> {
    let case = |type_name, body, created, outputs, keys| Case { type_name, body, created, outputs, keys };
    vec![
        case(
            "Microsoft.Storage/storageAccounts",
            json!({"kind": "StorageV2", "sku": {"name": "Standard_LRS"}}),
            200,
            &["primaryEndpoints", "creationTime", "provisioningState"],
            Some(("listKeys", "/keys/0/value")),
        ),
        case("Microsoft.KeyVault/vaults", json!({}), 200, &["vaultUri", "tenantId"], None),
        case(
            "Microsoft.Insights/components",
            json!({"kind": "web"}),
            200,
            &["InstrumentationKey", "ConnectionString", "AppId"],
            None,
        ),
        case(
            "Microsoft.OperationalInsights/workspaces",
            json!({}),
            201,
            &["customerId"],
            Some(("sharedKeys", "/primarySharedKey")),
        ),
        case(
            "Microsoft.ContainerRegistry/registries",
            json!({"sku": {"name": "premium"}, "properties": {"adminUserEnabled": true}}),
            201,
            &["loginServer", "creationDate"],
            Some(("listCredentials", "/passwords/0/value")),
        ),
        case(
            "Microsoft.Search/searchServices",
            json!({"sku": {"name": "basic"}}),
            201,
            &["endpoint", "status"],
            Some(("listAdminKeys", "/primaryKey")),
        ),
        case(
            "Microsoft.CognitiveServices/accounts",
            json!({"kind": "AIServices", "sku": {"name": "S0"}}),
            201,
            &["endpoint", "endpoints"],
            Some(("listKeys", "/key1")),
        ),
    ]
}

fn id(house: &House, type_name: &str, name: &str) -> String {
    format!("{}/providers/{type_name}/{name}", house.group("rg"))
}

#[tokio::test]
async fn each_has_its_outputs_keeps_them_for_life_and_says_that_nothing_runs_behind_it() {
    let house = House::found().await;
    house.make_group("rg").await;
    for mut case in cases() {
        let name = case.type_name;
        let id = id(&house, name, "resource1");
        case.body["location"] = json!("westeurope");
        let created = house.put(&id, case.body).await;
        assert_eq!(created.status.as_u16(), case.created, "{name}: {created:?}");
        assert_eq!(created.body["bastide"], json!({"dataPlane": "none"}), "{name}");
        for output in case.outputs {
            assert!(!created.body["properties"][output].is_null(), "{name}: {output}: {created:?}");
        }
        let before = *house.store.revisions().borrow();
        let again = house.put(&id, created.body.clone()).await;
        assert_eq!((again.status, &again.body), (StatusCode::OK, &created.body), "{name}: a GET can be sent back");
        assert_eq!(*house.store.revisions().borrow(), before, "{name}: and changes nothing");
    }
}

#[tokio::test]
async fn keys_are_shown_by_the_action_alone() {
    let house = House::found().await;
    house.make_group("rg").await;
    for mut case in cases() {
        let Some((action, pointer)) = case.keys else { continue };
        let id = id(&house, case.type_name, "resource1");
        case.body["location"] = json!("westeurope");
        let created = house.put(&id, case.body).await;
        let listed = house.call(Method::POST, &format!("{id}/{}", action.to_lowercase()), None).await;
        assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
        assert_eq!(listed.header("cache-control"), "no-store");
        let key = listed.body.pointer(pointer).and_then(Value::as_str).unwrap();
        assert!(key.len() >= 32, "{key}");
        assert!(!created.body.to_string().contains(key) && !house.get(&id).await.body.to_string().contains(key));
        let again = house.call(Method::POST, &format!("{id}/{action}"), None).await;
        assert_eq!(again.body, listed.body, "keys stay until they are regenerated");
    }
}

#[tokio::test]
async fn a_regenerated_key_replaces_one_and_leaves_the_other() {
    let house = House::found().await;
    house.make_group("rg").await;
    let id = id(&house, "Microsoft.Storage/storageAccounts", "account1");
    house.put(&id, json!({"location": "local", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})).await;
    let keys = async |answer: Value| {
        let value = |index: usize| answer["keys"][index]["value"].as_str().unwrap().to_owned();
        (value(0), value(1))
    };
    let before = keys(house.call(Method::POST, &format!("{id}/listKeys"), None).await.body).await;
    let regenerate = format!("{id}/regenerateKey");
    let renewed = house.call(Method::POST, &regenerate, Some(json!({"keyName": "key1"}))).await;
    let renewed = keys(renewed.body).await;
    assert_ne!(renewed.0, before.0);
    assert_eq!(renewed.1, before.1);
    let after = keys(house.call(Method::POST, &format!("{id}/listKeys"), None).await.body).await;
    assert_eq!(after, renewed);
    let wrong = house.call(Method::POST, &regenerate, Some(json!({"keyName": "key9"}))).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_admin_key_of_a_search_service_is_renewed_by_its_kind() {
    let house = House::found().await;
    house.make_group("rg").await;
    let service = id(&house, "Microsoft.Search/searchServices", "search1");
    house.put(&service, json!({"location": "local", "sku": {"name": "basic"}})).await;
    let post = async |path: &str| house.call(Method::POST, &format!("{service}/{path}"), None).await;
    let before = post("listAdminKeys").await.body;
    let renewed = post("regenerateadminkey/Primary").await;
    assert_eq!((renewed.status, renewed.header("cache-control")), (StatusCode::OK, "no-store"));
    assert_ne!(renewed.body["primaryKey"], before["primaryKey"]);
    assert_eq!(renewed.body["secondaryKey"], before["secondaryKey"]);
    assert_eq!(post("listAdminKeys").await.body, renewed.body);
    let wrong = post("regenerateAdminKey/third").await;
    assert_eq!(
        (wrong.status, &wrong.body["error"]["target"]),
        (StatusCode::BAD_REQUEST, &json!("keyKind")),
        "{wrong:?}"
    );
    assert_eq!(post("regenerateAdminKey").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post("listAdminKeys/primary").await.status, StatusCode::METHOD_NOT_ALLOWED, "it takes no argument");
}

#[tokio::test]
async fn an_identity_tells_who_carries_it_as_far_as_the_caller_may_read() {
    let house = House::found().await;
    for group in ["rg", "other"] {
        house.make_group(group).await;
    }
    let identity = house.identity_id("rg", "robot");
    house.put(&identity, json!({"location": "westeurope"})).await;
    let carried = json!({"type": "UserAssigned", "userAssignedIdentities": {&identity: {}}});
    let search = |group: &str| format!("{}/providers/Microsoft.Search/searchServices/{group}1", house.group(group));
    for group in ["rg", "other"] {
        let body = json!({"location": "local", "identity": carried});
        assert_eq!(house.put(&search(group), body).await.status, StatusCode::CREATED);
    }
    let list = format!("{identity}/listAssociatedResources");
    let names = |body: &Value| -> Vec<String> {
        body["value"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = house.call(Method::POST, &list, None).await;
    assert_eq!((all.body["totalCount"].as_u64(), names(&all.body)), (Some(2), vec![search("other"), search("rg")]));
    let first = house.call(Method::POST, &format!("{list}?$top=1"), None).await.body;
    assert_eq!((first["totalCount"].as_u64(), names(&first)), (Some(2), vec![search("other")]));
    assert!(first["nextLink"].as_str().unwrap().contains("skiptoken"), "{first}");
    let filter = format!("{list}?$filter=resourceGroup%20eq%20%27rg%27");
    assert_eq!(names(&house.call(Method::POST, &filter, None).await.body), [search("rg")]);

    let (reader, token) = house.stranger().await;
    let role = "/providers/Microsoft.Authorization/roleDefinitions/b24988ac-6180-42a0-ab88-20f7382dd24c";
    house.grant_at(&house.group("rg"), reader.object_id, role).await;
    let seen = house.call_as(&token, Method::POST, &list, None, &[]).await;
    assert_eq!(names(&seen.body), [search("rg")], "{seen:?}");
    house.put(&search("rg"), json!({"location": "local", "identity": {"type": "None"}})).await;
    assert_eq!(names(&house.call(Method::POST, &list, None).await.body), [search("other")]);
}

#[tokio::test]
async fn names_that_become_host_names_are_unique_until_they_are_free_again() {
    let house = House::found().await;
    for group in ["rg", "other"] {
        house.make_group(group).await;
    }
    let body = json!({"location": "local"});
    let first = id(&house, "Microsoft.KeyVault/vaults", "vault-one");
    assert_eq!(house.put(&first, body.clone()).await.status, StatusCode::OK);
    let second = format!("{}/providers/Microsoft.KeyVault/vaults/VAULT-one", house.group("other"));
    let taken = house.put(&second, body.clone()).await;
    assert_eq!((taken.status.as_u16(), taken.code()), (409, "VaultAlreadyExists"));
    let check = format!("/subscriptions/{}/providers/Microsoft.KeyVault/checkNameAvailability", house.subscription);
    let ask = async |name: &str| {
        let body = json!({"name": name, "type": "Microsoft.KeyVault/vaults"});
        house.call(Method::POST, &check, Some(body)).await.body
    };
    assert_eq!(ask("vault-ONE").await["reason"], "AlreadyExists");
    assert_eq!(ask("1").await["nameAvailable"], false);
    assert_eq!(ask("vault-two").await["nameAvailable"], true);
    house.call(Method::DELETE, &first, None).await;
    assert_eq!(ask("vault-one").await["nameAvailable"], true);
    assert_eq!(house.put(&second, body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_storage_account_has_a_blob_service_and_containers_in_it() {
    let house = House::found().await;
    house.make_group("rg").await;
    let account = id(&house, "Microsoft.Storage/storageAccounts", "account1");
    house.put(&account, json!({"location": "local", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})).await;
    let service = format!("{account}/blobServices/default");
    assert_eq!(house.get(&service).await.status, StatusCode::OK);
    let container = format!("{service}/containers/data");
    assert_eq!(house.put(&container, json!({"properties": {}})).await.status, StatusCode::CREATED);
    assert_eq!(house.get(&format!("{service}/containers")).await.body["value"][0]["name"], "data");
    let orphan = id(&house, "Microsoft.Storage/storageAccounts", "none/blobServices/default/containers/data");
    assert_eq!(house.put(&orphan, json!({})).await.code(), "ParentResourceNotFound");
    assert_eq!(house.call(Method::DELETE, &account, None).await.status, StatusCode::OK);
    assert_eq!(house.get(&container).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn subnets_are_one_list_on_the_network_and_resources_of_their_own() {
    let house = House::found().await;
    house.make_group("rg").await;
    let network = id(&house, "Microsoft.Network/virtualNetworks", "net");
    let subnet = |name: &str| json!({"name": name, "properties": {"addressPrefix": "10.0.1.0/24"}});
    let body = |subnets: Value| json!({"location": "local", "properties": {"subnets": subnets}});
    let created = house.put(&network, body(json!([subnet("one"), subnet("two")]))).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.body["properties"]["subnets"][1]["id"], format!("{network}/subnets/two"));
    assert_eq!(house.get(&format!("{network}/subnets/one")).await.body["properties"]["addressPrefix"], "10.0.1.0/24");
    let third = format!("{network}/subnets/three");
    assert_eq!(house.put(&third, json!({"properties": {"addressPrefix": "10.0.3.0/24"}})).await.status, 201);
    let silent = house.put(&network, json!({"location": "local"})).await;
    assert_eq!(silent.body["properties"]["subnets"].as_array().unwrap().len(), 3, "silence deletes none");
    let fewer = house.put(&network, body(json!([subnet("one")]))).await;
    assert_eq!(fewer.body["properties"]["subnets"].as_array().unwrap().len(), 1, "a list is the whole list");
    assert_eq!(house.get(&third).await.status, StatusCode::NOT_FOUND);
    let again = house.put(&network, fewer.body.clone()).await;
    assert_eq!(again.body, fewer.body);
}

#[tokio::test]
async fn a_private_endpoint_does_not_claim_to_carry_anything() {
    let house = House::found().await;
    house.make_group("rg").await;
    let endpoint = id(&house, "Microsoft.Network/privateEndpoints", "pe");
    let connection = json!({"name": "c", "properties": {"groupIds": ["vault"], "privateLinkServiceId": "/x"}});
    let body = json!({"location": "local", "properties": {"privateLinkServiceConnections": [connection]}});
    let made = house.put(&endpoint, body).await;
    let state =
        &made.body["properties"]["privateLinkServiceConnections"][0]["properties"]["privateLinkServiceConnectionState"];
    assert_eq!(state["status"], "Pending", "{made:?}");
    assert_eq!(made.body["bastide"], json!({"dataPlane": "none"}));
}

#[tokio::test]
async fn what_stands_below_accounts_and_networks_is_stored_and_says_so() {
    let house = House::found().await;
    house.make_group("rg").await;
    let provider = |path: &str| format!("{}/providers/{path}", house.group("rg"));
    let account = provider("Microsoft.CognitiveServices/accounts/ai");
    house.put(&account, json!({"location": "westeurope", "kind": "AIServices"})).await;
    let model = json!({"format": "OpenAI", "name": "gpt-4o"});
    let made = house.put(&format!("{account}/deployments/chat"), json!({"properties": {"model": model}})).await;
    assert_eq!((made.status, &made.body["sku"]["name"]), (StatusCode::CREATED, &json!("Standard")), "{made:?}");
    assert_eq!(made.body["bastide"]["dataPlane"], "none");
    let refused = house.put(&format!("{account}/deployments/nothing"), json!({"properties": {}})).await;
    assert_eq!(refused.body["error"]["target"], "properties.model.format", "{refused:?}");

    let group = provider("Microsoft.Network/networkSecurityGroups/nsg");
    house.put(&group, json!({"location": "westeurope"})).await;
    let rule = json!({"properties": {"priority": 100, "direction": "Outbound", "access": "Deny", "protocol": "*"}});
    house.put(&format!("{group}/securityRules/none"), rule).await;
    let seen = house.get(&group).await.body;
    assert_eq!(seen["properties"]["securityRules"][0]["name"], "none", "{seen}");
    assert_eq!(seen["properties"]["defaultSecurityRules"], json!([]));
}

#[tokio::test]
async fn the_rules_of_a_security_group_are_one_list_on_it_and_resources_of_their_own() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = id(&house, "Microsoft.Network/networkSecurityGroups", "nsg");
    let rule =
        |priority: u16| json!({"priority": priority, "direction": "Outbound", "access": "Deny", "protocol": "*"});
    let listed = json!([{"name": "one", "properties": rule(100)}]);
    let made = house.put(&group, json!({"location": "local", "properties": {"securityRules": listed}})).await;
    assert_eq!(made.body["properties"]["securityRules"][0]["id"], format!("{group}/securityRules/one"), "{made:?}");
    assert_eq!(house.get(&format!("{group}/securityRules/one")).await.body["properties"]["priority"], 100);
    house.put(&format!("{group}/securityRules/two"), json!({"properties": rule(110)})).await;
    let both = house.get(&group).await.body;
    assert_eq!(both["properties"]["securityRules"].as_array().unwrap().len(), 2, "{both}");
    assert_eq!(house.put(&group, both.clone()).await.body, both, "what was read may be written");
    let twice = json!([{"name": "one", "properties": rule(100)}, {"name": "ONE", "properties": rule(110)}]);
    let refused = house.put(&group, json!({"location": "local", "properties": {"securityRules": twice}})).await;
    assert_eq!(refused.body["error"]["target"], "properties.securityRules[1].name", "{refused:?}");
    let fewer = house.put(&group, json!({"location": "local", "properties": {"securityRules": []}})).await;
    assert_eq!(fewer.body["properties"]["securityRules"], json!([]), "a list is the whole list");
    assert_eq!(house.get(&format!("{group}/securityRules/two")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_read_of_a_stored_resource_and_written_again_changes_nothing() {
    let house = House::found().await;
    house.make_group("rg").await;
    let account = id(&house, "Microsoft.Storage/storageAccounts", "storage");
    house.put(&account, json!({"location": "local", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})).await;
    let service = format!("{account}/blobServices/default");
    house.put(&service, json!({"properties": {"deleteRetentionPolicy": {"enabled": true, "days": 7}}})).await;
    let network = id(&house, "Microsoft.Network/virtualNetworks", "net");
    let subnets = json!([{"name": "one", "properties": {"addressPrefix": "10.0.1.0/24"}}]);
    house.put(&network, json!({"location": "local", "properties": {"subnets": subnets}})).await;
    let endpoint = id(&house, "Microsoft.Network/privateEndpoints", "pe");
    let connection = json!({"name": "c", "properties": {"groupIds": ["blob"], "privateLinkServiceId": account}});
    let connections = json!({"privateLinkServiceConnections": [connection]});
    house.put(&endpoint, json!({"location": "local", "properties": connections})).await;
    for path in [account, service, network.clone(), format!("{network}/subnets/one"), endpoint] {
        let read = house.get(&path).await.body;
        let written = house.put(&path, read.clone()).await;
        // When it was last changed is part of the answer.
        assert_eq!((written.status, &written.body), (StatusCode::OK, &read), "{path}");
        assert_eq!(house.get(&path).await.body, read, "{path}");
    }
}

#[tokio::test]
async fn a_federated_credential_of_an_identity_is_one_of_its_principal_until_it_goes() {
    let house = House::found().await;
    house.make_group("rg").await;
    let identity = house.identity_id("rg", "robot");
    let made = house.put(&identity, json!({"location": "westeurope"})).await.body;
    let principal = made["properties"]["principalId"].as_str().unwrap().parse().unwrap();
    let credential = format!("{identity}/federatedIdentityCredentials/github");
    let trust = json!({"issuer": "https://issuer.example", "subject": "repo:a/b", "audiences": ["api://x"]});
    let stored = house.put(&credential, json!({"properties": trust})).await;
    assert_eq!((stored.status, &stored.body["properties"]), (StatusCode::CREATED, &trust), "{stored:?}");
    let proofs = async || -> Vec<Value> {
        let credentials = house.identity.directory().credentials(principal).await.unwrap();
        credentials.into_iter().map(|credential| serde_json::to_value(credential.proof).unwrap()).collect()
    };
    let proof = |subject: &str| json!({"type": "federated", "issuer": "https://issuer.example", "subject": subject, "audience": "api://x"});
    assert_eq!(proofs().await, [proof("repo:a/b")]);
    let mut other = trust.clone();
    other["subject"] = json!("repo:a/c");
    assert_eq!(house.put(&credential, json!({"properties": other})).await.status, StatusCode::OK);
    assert_eq!(proofs().await, [proof("repo:a/c")], "a changed one takes the place of the old one");
    let refused = house.put(&credential, json!({"properties": {"issuer": "http://issuer.example"}})).await;
    assert_eq!(refused.body["error"]["target"], "properties.issuer", "{refused:?}");
    house.call(Method::DELETE, &credential, None).await;
    assert_eq!(proofs().await, Vec::<Value>::new());
}
