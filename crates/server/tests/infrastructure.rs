//! What Terraform and other people's templates declare and read around a hub (infrastructure-as-code.md sections 4 and 5).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::House;

/// A house with the group `rg`.
async fn house() -> House {
    let house = House::found().await;
    house.make_group("rg").await;
    house
}

fn id(house: &House, kind: &str, name: &str) -> String {
    format!("{}/providers/{kind}/{name}", house.group("rg"))
}

async fn storage(house: &House) -> String {
    let account = id(house, "Microsoft.Storage/storageAccounts", "storage");
    house.put(&account, json!({"location": "local", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})).await;
    account
}

#[tokio::test]
async fn a_storage_account_has_all_its_services_from_the_beginning() {
    let house = house().await;
    let account = storage(&house).await;
    for service in ["blobServices", "fileServices", "queueServices", "tableServices"] {
        let read = house.get(&format!("{account}/{service}/default")).await;
        assert_eq!(read.body["properties"]["cors"]["corsRules"], json!([]), "{read:?}");
        assert_eq!(read.body["bastide"]["dataPlane"], "none", "{service}");
    }
    let changed = json!({"properties": {"shareDeleteRetentionPolicy": {"enabled": false}}});
    let written = house.put(&format!("{account}/fileServices/default"), changed).await;
    assert_eq!(written.body["properties"]["shareDeleteRetentionPolicy"], json!({"enabled": false}), "{written:?}");
    let share = house.put(&format!("{account}/fileServices/default/shares/code"), json!({})).await;
    assert_eq!(
        (share.status, &share.body["properties"]["shareQuota"]),
        (StatusCode::CREATED, &json!(5120)),
        "{share:?}"
    );
    let wrong = house.put(&format!("{account}/fileServices/other"), json!({})).await;
    assert_eq!(wrong.body["error"]["code"], "InvalidResourceName", "{wrong:?}");
}

#[tokio::test]
async fn access_policies_of_a_vault_are_changed_beside_the_vault() {
    let house = house().await;
    let vault = id(&house, "Microsoft.KeyVault/vaults", "vault-1");
    let sku = json!({"family": "A", "name": "standard"});
    house.put(&vault, json!({"location": "local", "properties": {"sku": sku}})).await;
    let policy = |object: &str, secrets: Value| json!({"objectId": object, "permissions": {"secrets": secrets}});
    let change = async |kind: &str, policies: Value| {
        let body = json!({"properties": {"accessPolicies": policies}});
        house.put(&format!("{vault}/accessPolicies/{kind}"), body).await
    };
    let listed = async || house.get(&vault).await.body["properties"]["accessPolicies"].clone();
    let added = change("add", json!([policy("a", json!(["get"])), policy("b", json!(["get"]))])).await;
    assert_eq!(added.status, StatusCode::OK, "{added:?}");
    assert_eq!(listed().await, added.body["properties"]["accessPolicies"]);
    assert_eq!(listed().await[0]["tenantId"], house.tenant.to_string(), "Terraform compares it");
    change("ADD", json!([policy("a", json!(["list"]))])).await;
    assert_eq!(listed().await[0]["permissions"]["secrets"], json!(["get", "list"]));
    change("replace", json!([policy("a", json!(["set"]))])).await;
    assert_eq!(listed().await[0]["permissions"]["secrets"], json!(["set"]));
    let etag = house.get(&vault).await.body["systemData"].clone();
    change("replace", json!([policy("a", json!(["set"]))])).await;
    assert_eq!(house.get(&vault).await.body["systemData"], etag, "what changes nothing is no change");
    change("remove", json!([policy("a", json!(["set"]))])).await;
    assert_eq!(listed().await.as_array().map(Vec::len), Some(1));
    let wrong = change("drop", json!([policy("a", json!([]))])).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong:?}");
    let nobody = change("add", json!([{"permissions": {}}])).await;
    assert_eq!(nobody.body["error"]["target"], "properties.accessPolicies[0].objectId", "{nobody:?}");
    let nowhere = id(&house, "Microsoft.KeyVault/vaults", "vault-2");
    let body = json!({"properties": {"accessPolicies": []}});
    let lost = house.put(&format!("{nowhere}/accessPolicies/add"), body).await;
    assert_eq!(lost.body["error"]["code"], "ParentResourceNotFound", "{lost:?}");
}

#[tokio::test]
async fn query_keys_of_a_search_service_come_and_go() {
    let house = house().await;
    let service = id(&house, "Microsoft.Search/searchServices", "search1");
    let body = json!({"location": "local", "sku": {"name": "basic"}});
    house.put(&service, body.clone()).await;
    let post = async |path: &str| house.call(Method::POST, &format!("{service}/{path}"), None).await;
    let delete = async |key: &Value| {
        house.call(Method::DELETE, &format!("{service}/deleteQueryKey/{}", key.as_str().unwrap()), None).await
    };
    let first = post("listQueryKeys").await.body["value"].clone();
    assert_eq!((first.as_array().map(Vec::len), &first[0]["name"]), (Some(1), &Value::Null));
    let made = post("createQueryKey/readers").await;
    assert_eq!((made.status, made.header("cache-control")), (StatusCode::OK, "no-store"), "{made:?}");
    assert_eq!(post("listQueryKeys").await.body["value"], json!([first[0], made.body]));
    let twice = post("createQueryKey/readers").await;
    assert_eq!(twice.status, StatusCode::CONFLICT, "{twice:?}");
    // The service is written again by who knows nothing of its keys.
    let again = house.put(&service, body).await;
    assert!(!again.body.to_string().contains("queryKey"), "{again:?}");
    assert_eq!(post("listQueryKeys").await.body["value"], json!([first[0], made.body]));
    assert_eq!(delete(&first[0]["key"]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(post("listQueryKeys").await.body["value"], json!([made.body]));
    let other = post("createQueryKey/others").await.body;
    assert_ne!(other["key"], first[0]["key"], "a place is used again, a key is not");
    assert_eq!(delete(&first[0]["key"]).await.status, StatusCode::NO_CONTENT, "it is gone already");
    assert_eq!(post("listQueryKeys").await.body["value"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn the_daily_cap_of_a_component_is_read_and_written_beside_it() {
    let house = house().await;
    let component = id(&house, "Microsoft.Insights/components", "insights");
    let body = json!({"location": "local", "kind": "web", "properties": {"Application_Type": "web"}});
    house.put(&component, body.clone()).await;
    let features = format!("{component}/currentbillingfeatures");
    let read = house.get(&features).await;
    assert_eq!(read.body["CurrentBillingFeatures"], json!(["Basic"]), "{read:?}");
    let mut asked = read.body.clone();
    asked["DataVolumeCap"]["Cap"] = json!(3.5);
    let written = house.put(&features, asked.clone()).await;
    assert_eq!((written.status, &written.body), (StatusCode::OK, &asked), "{written:?}");
    let again = house.put(&component, body).await;
    assert!(again.body["properties"].get("currentBillingFeatures").is_none(), "{again:?}");
    assert_eq!(house.get(&features).await.body, asked, "a component that is written again keeps it");
    let account = storage(&house).await;
    let elsewhere = house.get(&format!("{account}/currentbillingfeatures")).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND, "{elsewhere:?}");
}

#[tokio::test]
async fn terraform_finds_what_it_looks_for_beside_a_resource() {
    let house = house().await;
    let registry = id(&house, "Microsoft.ContainerRegistry/registries", "registry");
    house.put(&registry, json!({"location": "local", "sku": {"name": "Premium"}})).await;
    assert_eq!(house.get(&format!("{registry}/replications")).await.body["value"], json!([]));
    let subscription = house.group("rg").split("/resourceGroups").next().unwrap().to_owned();
    let deleted = house.get(&format!("{subscription}/providers/Microsoft.OperationalInsights/deletedWorkspaces")).await;
    assert_eq!(deleted.body["value"], json!([]), "{deleted:?}");
    let zone = id(&house, "Microsoft.Network/privateDnsZones", "privatelink.example.org");
    let made = house.put(&zone, json!({"location": "global"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let authority = house.get(&format!("{zone}/SOA/@")).await;
    assert_eq!(authority.body["properties"]["fqdn"], "privatelink.example.org.", "{authority:?}");
    assert_eq!(authority.body["properties"]["soaRecord"]["refreshTime"], 3600);
}

#[tokio::test]
async fn settings_of_diagnosis_stand_on_any_resource() {
    let house = house().await;
    let account = storage(&house).await;
    let setting = format!("{account}/providers/Microsoft.Insights/diagnosticSettings/logs");
    let body = json!({"properties": {"logs": [{"categoryGroup": "allLogs", "enabled": true}]}});
    let made = house.put(&setting, body.clone()).await;
    assert_eq!((made.status, &made.body["id"]), (StatusCode::OK, &json!(setting)), "{made:?}");
    assert_eq!(made.body["bastide"]["dataPlane"], "none");
    assert_eq!(house.get(&setting).await.body["properties"]["logs"], body["properties"]["logs"]);
    house.call(Method::DELETE, &account, None).await;
    assert_eq!(house.get(&setting).await.status, StatusCode::NOT_FOUND, "it goes with its resource");
}

#[tokio::test]
async fn the_keys_of_log_analytics_have_two_names() {
    let house = house().await;
    let workspace = id(&house, "Microsoft.OperationalInsights/workspaces", "logs");
    house.put(&workspace, json!({"location": "local"})).await;
    let post = async |path: &str| house.call(Method::POST, &format!("{workspace}/{path}"), None).await.body;
    let shared = post("sharedKeys").await;
    assert!(shared["primarySharedKey"].is_string(), "{shared}");
    assert_eq!(post("listKeys").await, shared);
}

#[tokio::test]
async fn an_account_without_a_subdomain_goes_by_its_name() {
    let house = house().await;
    let account = id(&house, "Microsoft.CognitiveServices/accounts", "account");
    // Terraform sends the empty text for what is not configured.
    let body = json!({"location": "local", "kind": "OpenAI", "sku": {"name": "S0"}, "properties": {"customSubDomainName": ""}});
    let made = house.put(&account, body).await;
    let endpoint = made.body["properties"]["endpoint"].as_str().unwrap_or_default();
    assert!(endpoint.starts_with("https://account.cognitiveservices."), "{made:?}");
}

#[tokio::test]
async fn a_connection_may_be_named_after_its_hub_and_its_service() {
    let house = house().await;
    let hub = id(&house, "Microsoft.MachineLearningServices/workspaces", "aih-demo-x1y2");
    house.put(&hub, json!({"location": "local", "kind": "Hub"})).await;
    // The name that the quickstart aistudio-basics makes: three characters more than the published grammar has.
    let connection = format!("{hub}/connections/aih-demo-x1y2-connection-AzureOpenAI");
    let properties = json!({"category": "AzureOpenAI", "target": "https://a.example", "authType": "ApiKey", "credentials": {"key": "k"}});
    let made = house.put(&connection, json!({"properties": properties})).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
}
