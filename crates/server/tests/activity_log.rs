//! The activity log: writes, deletions, actions and refused writes, found by their filters.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{Answer, House};

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
    let told: Vec<&str> = rows(&log).iter().map(|row| row["operationName"]["value"].as_str().unwrap()).collect();
    let expected = ["delete", "issueEndpointSecret/action", "write"].map(|verb| format!("{kind}/{verb}"));
    assert_eq!(told, expected, "reads are not told");
    let written = rows(&log).last().unwrap();
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
    assert_eq!(rows(&mine).len(), 1);
    for (filter, count) in [
        ("resourceGroupName eq 'RG'", 4),
        ("resourceGroupName eq 'other'", 0),
        ("resourceProvider eq 'Microsoft.ManagedIdentity'", 3),
        ("eventTimestamp ge 2026-11-22T11:00:00Z", 0),
        ("eventTimestamp ge '2026-11-22T09:00:00.0' and eventTimestamp le '2026-11-22T09:30:00.0'", 0),
    ] {
        assert_eq!(rows(&events(&house, filter).await).len(), count, "{filter}");
    }
    for filter in ["", "colour eq 'red'", "eventTimestamp ge 'yesterday'", "eventTimestamp ge"] {
        assert_eq!(events(&house, filter).await.status.as_u16(), 400, "{filter}");
    }
}

#[tokio::test]
async fn refused_writes_are_told_too_but_not_without_end() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (stranger, token) = house.stranger().await;
    for _ in 0..70 {
        let answer = house.call_as(&token, Method::DELETE, &house.group("rg"), None, &[]).await;
        assert_eq!(answer.code(), "AuthorizationFailed");
    }
    house.call_as(&token, Method::GET, &house.group("rg"), None, &[]).await;
    let log = events(&house, &format!("caller eq '{}'", stranger.object_id)).await;
    assert_eq!(rows(&log).len(), 60);
    let refused = &rows(&log)[0];
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
        found.extend(rows(&page).iter().map(|row| row["resourceGroupName"].as_str().unwrap().to_owned()));
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
    assert_eq!(rows(&house.call_as(&admin, Method::GET, &tenant, None, &[]).await).len(), 7);
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

const VALUES: &str = "providers/Microsoft.Insights/eventtypes/management/values";
