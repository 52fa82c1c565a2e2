//! The activity log: writes, deletions, actions and refused writes, found by their filters.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::sync::Arc;

use bastide_arm::clock::Clock;
use bastide_audit::{Broken, SigningKey};
use bastide_server::{AuditKeeper, AuditSettings, KeeperError};
use http::Method;
use serde_json::{Value, json};
use support::{Answer, House};

/// `az monitor activity-log list-categories` and `az feature list|show|register`.
#[tokio::test]
async fn there_are_two_categories_of_events_and_no_preview_features() {
    let house = House::found().await;
    let categories = house.get("/providers/Microsoft.Insights/eventcategories").await;
    let names: Vec<&str> = rows(&categories).iter().map(|row| row["value"].as_str().unwrap()).collect();
    assert_eq!(names, ["Administrative", "Policy"]);

    let features = format!("/subscriptions/{}/providers/Microsoft.Features", house.subscription);
    let of_provider = format!("{features}/providers/microsoft.machinelearningservices/features");
    for list in [format!("{features}/features"), of_provider.clone()] {
        let listed = house.get(&list).await;
        assert_eq!((listed.status.as_u16(), rows(&listed).len()), (200, 0), "{listed:?}");
    }
    assert_eq!(house.get(&format!("{of_provider}/x")).await.code(), "FeatureNotFound");
    let registered = house.call(Method::POST, &format!("{of_provider}/x/register"), None).await;
    assert_eq!(registered.code(), "FeatureNotFound");
    let nowhere = house.get(&format!("{features}/providers/Microsoft.Nothing/features")).await;
    assert_eq!(nowhere.code(), "InvalidResourceNamespace");
}

/// What `az role assignment list-changelogs` reads, when the assignments are long gone.
#[tokio::test]
async fn the_log_remembers_who_was_given_which_role() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (reader, _) = house.stranger().await;
    let role = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7";
    let id = format!(
        "{}/providers/Microsoft.Authorization/roleAssignments/1d9e6c2a-0000-4000-8000-000000000001",
        house.group("rg")
    );
    let body = json!({"properties": {"roleDefinitionId": role, "principalId": reader.object_id, "description": "why"}});
    assert_eq!(house.put(&id, body).await.status.as_u16(), 201);
    assert_eq!(house.call(Method::DELETE, &id, None).await.status.as_u16(), 200);
    house.make_hub("rg", "hub").await;

    let log = events(&house, "resourceProvider eq 'Microsoft.Authorization'").await;
    let bodies = |event: &str, name: &str| -> Vec<Value> {
        let told = rows(&log).iter().filter(|row| row["eventName"]["value"] == event);
        told.map(|row| serde_json::from_str(row["properties"][name].as_str().unwrap()).unwrap()).collect()
    };
    for bodies in [bodies("BeginRequest", "requestbody"), bodies("EndRequest", "responseBody")] {
        assert_eq!(bodies.len(), 2, "given and taken");
        for body in bodies {
            assert_eq!(body["properties"]["principalId"], reader.object_id.to_string());
            assert_eq!(body["properties"]["scope"], house.group("rg"));
            assert!(
                body["properties"]["roleDefinitionId"]
                    .as_str()
                    .unwrap()
                    .ends_with("acdd72a7-3385-48ef-bd42-f606fba81ae7")
            );
            assert_eq!(body["properties"]["description"], Value::Null, "free text stays out");
        }
    }
}

#[tokio::test]
async fn writes_deletions_and_actions_are_told_newest_first() {
    let house = House::found().await;
    house.make_group("rg").await;
    let one = house.identity_id("rg", "one");
    let correlation = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let headers = [("x-ms-correlation-request-id", correlation), ("x-ms-client-request-id", "mine-1")];
    let body = Some(json!({"location": "westeurope"}));
    house.call_as(&house.token, Method::PUT, &one, body, &headers).await;
    house.call(Method::POST, &format!("{one}/issueEndpointSecret"), Some(json!({}))).await;
    house.call(Method::DELETE, &one, None).await;
    house.get(&one).await;

    let log = events(&house, &format!("eventTimestamp ge '2026-11-22T09:00:00Z' and resourceId eq '{one}'")).await;
    let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
    let told: Vec<&str> = ended(&log).into_iter().map(|row| row["operationName"]["value"].as_str().unwrap()).collect();
    let expected = ["delete", "issueEndpointSecret/action", "write"].map(|verb| format!("{kind}/{verb}"));
    assert_eq!(told, expected, "reads are not told");
    let written = *ended(&log).last().unwrap();
    let began = rows(&log).last().unwrap();
    assert_eq!((&began["status"]["value"], &began["eventName"]["value"]), (&json!("Started"), &json!("BeginRequest")));
    assert_eq!(began["operationId"], written["operationId"]);
    assert_ne!(began["eventDataId"], written["eventDataId"]);
    assert_eq!(written["caller"], "bootstrap");
    assert_eq!(written["authorization"], json!({"action": format!("{kind}/write"), "scope": one}));
    assert_eq!(written["correlationId"], correlation);
    assert_eq!(written["httpRequest"]["clientRequestId"], "mine-1");
    assert_eq!(written["httpRequest"]["method"], "PUT");
    assert_eq!(written["status"]["value"], "Succeeded");
    assert_eq!(written["resourceGroupName"], "rg");
    assert_eq!(written["resourceProviderName"]["value"], "Microsoft.ManagedIdentity");
    assert_eq!(written["resourceType"]["value"], kind);
    assert_eq!(written["subscriptionId"], house.subscription.to_string());
    for texts in ["claims", "properties"] {
        let texts = written[texts].as_object().unwrap();
        assert!(texts.values().all(Value::is_string), "az takes nothing but texts: {texts:?}");
    }
    assert!(!log.body.to_string().contains("ey"), "no token is in the log: {log:?}");

    let mine = events(&house, &format!("correlationId eq '{correlation}'")).await;
    assert_eq!(rows(&mine).len(), 2);
    for (filter, count) in [
        ("resourceGroupName eq 'RG'", 4),
        ("resourceGroupName eq 'RG' and status eq 'Started'", 0),
        ("resourceGroupName eq 'other'", 0),
        ("levels eq 'Critical,Error'", 0),
        ("resourceGroupName eq 'rg' and levels eq 'Error, Informational'", 4),
        ("resourceGroupName eq 'rg' and eventChannels eq 'Admin, Operation'", 4),
        ("eventChannels eq 'Admin'", 0),
        ("resourceProvider eq 'Microsoft.ManagedIdentity'", 3),
        ("eventTimestamp ge 2026-11-22T11:00:00Z", 0),
        ("eventTimestamp ge '2026-11-22T09:00:00.0' and eventTimestamp le '2026-11-22T09:30:00.0'", 0),
    ] {
        assert_eq!(ended(&events(&house, filter).await).len(), count, "{filter}");
    }
    for filter in ["", "colour eq 'red'", "eventTimestamp ge 'yesterday'", "eventTimestamp ge"] {
        assert_eq!(events(&house, filter).await.status.as_u16(), 400, "{filter}");
    }
}

#[tokio::test]
async fn refusals_are_told_too_but_not_without_end() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (stranger, token) = house.stranger().await;
    for _ in 0..70 {
        let answer = house.call_as(&token, Method::DELETE, &house.group("rg"), None, &[]).await;
        assert_eq!(answer.code(), "AuthorizationFailed");
    }
    for _ in 0..30 {
        house.call_as(&token, Method::GET, &house.group("rg"), None, &[]).await;
    }
    let group = "Microsoft.Resources/subscriptions/resourceGroups";
    let told = async |verb: &str| {
        let log =
            events(&house, &format!("caller eq '{}' and operationName eq '{group}/{verb}'", stranger.object_id)).await;
        ended(&log).into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(told("read").await.len(), 20, "reads have a bound of their own");
    let refusals = told("delete").await;
    assert_eq!(refusals.len(), 60);
    let refused = &refusals[0];
    assert_eq!(refused["status"]["value"], "Failed");
    assert_eq!(refused["subStatus"]["value"], "AuthorizationFailed");
    assert_eq!(refused["properties"]["statusCode"], "Forbidden");
    assert_eq!(refused["level"], "Error");
}

#[tokio::test]
async fn the_log_comes_in_pages_and_to_those_who_may_read_it() {
    let house = House::found().await;
    for number in 0..7 {
        house.make_group(&format!("rg-{number}")).await;
        house.clock.advance(std::time::Duration::from_mins(1).try_into().unwrap());
    }
    let mut found = Vec::new();
    let filter = "eventTimestamp ge '2026-11-22T10:02:00Z' and eventTimestamp le '2026-11-22T10:05:00Z'";
    let mut page = events_at(&house, filter, "&$top=2").await;
    loop {
        assert!(rows(&page).len() <= 2);
        found.extend(ended(&page).into_iter().map(|row| row["resourceGroupName"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["nextLink"].as_str() else { break };
        page = house.get(next.strip_prefix("https://localhost:8443").unwrap()).await;
    }
    assert_eq!(found, ["rg-5", "rg-4", "rg-3", "rg-2"]);

    let (_, token) = house.stranger().await;
    let path = format!("/subscriptions/{}/{VALUES}?$filter=caller%20eq%20'x'", house.subscription);
    assert_eq!(house.call_as(&token, Method::GET, &path, None, &[]).await.code(), "AuthorizationFailed");
    let tenant = format!("/{VALUES}?$filter=caller%20eq%20'bootstrap'");
    assert_eq!(house.get(&tenant).await.code(), "AuthorizationFailed");
    let admin = house.log_in_admin().await;
    let told = house.call_as(&admin, Method::GET, &tenant, None, &[]).await;
    assert_eq!(ended(&told).len(), 8, "seven groups and the refusal before");
}

#[tokio::test]
async fn what_reveals_a_secret_is_on_record_before_it_answers() {
    let house = House::found().await;
    house.make_group("rg").await;
    let account = format!("{}/providers/Microsoft.Storage/storageAccounts/acct1", house.group("rg"));
    let body = json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    assert!(house.put(&account, body).await.status.is_success());
    let listed = house.call(Method::POST, &format!("{account}/listKeys"), Some(json!({}))).await;
    let key = listed.body["keys"][0]["value"].as_str().unwrap().to_owned();
    let action = "Microsoft.Storage/storageAccounts/listKeys/action";
    let log = events(&house, &format!("operationName eq '{action}'")).await;
    assert_eq!(ended(&log).len(), 1, "{log:?}");
    assert_eq!(ended(&log)[0]["caller"], "bootstrap");
    assert!(!log.body.to_string().contains(&key));
}

#[tokio::test]
async fn only_what_is_selected_is_shown() {
    let house = House::found().await;
    house.make_group("rg").await;
    let filter = "resourceGroupName%20eq%20'rg'";
    let path = format!("/subscriptions/{}/{VALUES}?$filter={filter}", house.subscription);
    let log = house.get(&format!("{path}&$select=caller,operationname")).await;
    let fields: Vec<_> = rows(&log)[0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["caller", "operationName"]);
    assert_eq!(house.get(&format!("{path}&$select=colour")).await.status.as_u16(), 400);
}

#[tokio::test]
async fn checkpoints_are_signed_copied_and_cut_behind_and_the_chain_stays_provable() {
    let house = House::found().await;
    let seed = [7; 32];
    let key = || SigningKey::new("bastide/t/audit", &seed).unwrap();
    let copy = house.directory.path().join("checkpoints");
    let settings = AuditSettings { retention: Some(jiff::SignedDuration::from_mins(10)), copies: vec![copy.clone()] };
    let clock: Arc<dyn Clock> = house.clock.clone();
    let open = async || AuditKeeper::open(house.store.clone(), key(), Arc::clone(&clock), settings.clone()).await;
    let mut keeper = open().await.unwrap();
    for number in 0..5 {
        house.make_group(&format!("rg-{number}")).await;
    }
    keeper.checkpoint().await.unwrap();
    let chain = house.store.audit_chain();
    let verify = async || chain.verify(key().public(), &[]).await.unwrap();
    let intact = verify().await.unwrap();
    assert_eq!((intact.begun, intact.covered), (0, intact.head.seq));
    keeper.checkpoint().await.unwrap();
    assert_eq!(std::fs::read_to_string(&copy).unwrap().lines().count(), 1, "nothing new, nothing signed");

    house.clock.advance(std::time::Duration::from_mins(20).try_into().unwrap());
    house.make_group("late").await;
    let mut keeper = open().await.unwrap();
    keeper.checkpoint().await.unwrap();
    let old = intact.head.seq;
    assert_eq!(keeper.cut().await.unwrap(), old, "everything from twenty minutes ago");
    let intact = verify().await.unwrap();
    assert_eq!(intact.begun, old);
    assert_eq!(chain.entries(0, 1).await.unwrap()[0].seq, old + 1);
    let last = chain.entries(intact.head.seq - 1, 1).await.unwrap();
    assert!(last[0].record.contains("eventtypes/management/cut"), "a cut is on record");
    assert_eq!(keeper.cut().await.unwrap(), 0);
    keeper.checkpoint().await.unwrap();
    // The log goes on behind the cut.
    assert_eq!(ended(&events(&house, "resourceGroupName eq 'late'").await).len(), 1);

    // A keeper signs nothing on top of a chain that was changed.
    house.make_group("more").await;
    let seq = chain.head().await.unwrap().seq;
    let database = rusqlite::Connection::open(house.directory.path().join("store.db")).unwrap();
    database.execute("UPDATE audit SET at = at + 1 WHERE seq = ?1", [seq]).unwrap();
    assert!(matches!(keeper.checkpoint().await, Err(KeeperError::Broken(Broken { seq: at, .. })) if at == seq));
}

async fn events(house: &House, filter: &str) -> Answer {
    events_at(house, filter, "").await
}

async fn events_at(house: &House, filter: &str, more: &str) -> Answer {
    let filter = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>();
    house.get(&format!("/subscriptions/{}/{VALUES}?$filter={filter}{more}", house.subscription)).await
}

fn rows(log: &Answer) -> &[Value] {
    log.body["value"].as_array().unwrap_or_else(|| panic!("no events: {log:?}"))
}

/// The events of ends: each record has one of its beginning too.
fn ended(log: &Answer) -> Vec<&Value> {
    rows(log).iter().filter(|row| row["eventName"]["value"] == "EndRequest").collect()
}

const VALUES: &str = "providers/Microsoft.Insights/eventtypes/management/values";
