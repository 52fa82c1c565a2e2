//! What the front door promises to every client, whatever the type.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::json;
use support::{House, Options};

#[tokio::test]
async fn nobody_is_let_in_without_a_token() {
    let house = House::found().await;
    let group = house.group("rg");
    for token in ["", "nonsense", "a.b.c"] {
        let answer = house.call_as(token, Method::GET, &group, None, &[]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert!(answer.header("www-authenticate").starts_with("Bearer authorization_uri=\"https://localhost:8443/"));
    }
}

#[tokio::test]
async fn a_signed_in_stranger_sees_nothing_and_is_told_what_is_missing() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (stranger, token) = house.stranger().await;
    let paths = [
        (Method::GET, house.group("rg"), "Microsoft.Resources/subscriptions/resourceGroups/read"),
        (Method::PUT, house.group("x"), "Microsoft.Resources/subscriptions/resourceGroups/write"),
        (Method::DELETE, house.group("rg"), "Microsoft.Resources/subscriptions/resourceGroups/delete"),
        (Method::GET, house.hub("rg", "hub"), "Microsoft.MachineLearningServices/workspaces/read"),
        (Method::PUT, house.hub("rg", "hub"), "Microsoft.MachineLearningServices/workspaces/write"),
        (
            Method::POST,
            format!("{}/issueEndpointSecret", house.identity_id("rg", "one")),
            "Microsoft.ManagedIdentity/userAssignedIdentities/issueEndpointSecret/action",
        ),
    ];
    for (method, path, action) in paths {
        let answer = house.call_as(&token, method, &path, Some(json!({"location": "westeurope"})), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "AuthorizationFailed"), "{path}: {answer:?}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(action), "{message}");
        assert!(message.contains(&stranger.object_id.to_string()), "{message}");
    }
    let subscriptions = house.call_as(&token, Method::GET, "/subscriptions", None, &[]).await;
    assert_eq!(subscriptions.body["value"], json!([]));
    assert!(house.get(&house.group("x")).await.status == StatusCode::NOT_FOUND, "nothing was written");
}

#[tokio::test]
async fn a_deleted_principal_is_refused_at_once() {
    let house = House::found().await;
    let (stranger, token) = house.stranger().await;
    assert_eq!(house.call_as(&token, Method::GET, "/tenants", None, &[]).await.status, StatusCode::OK);
    house.identity.directory().delete(stranger.object_id).await.unwrap();
    assert_eq!(house.call_as(&token, Method::GET, "/tenants", None, &[]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn groups_are_created_replaced_read_and_listed() {
    let house = House::found().await;
    let id = house.group("Lab");
    let created = house.put(&id, json!({"location": "West Europe", "tags": {"team": "blue"}})).await;
    assert_eq!(created.status, StatusCode::CREATED);
    insta::assert_json_snapshot!("resource_group", created.body);
    let lower = id.to_lowercase();
    let replaced = house.put(&lower, json!({"location": "westeurope"})).await;
    assert_eq!((replaced.status, &replaced.body["id"]), (StatusCode::OK, &json!(id)), "ids come back as created");
    assert_eq!(replaced.body["tags"], json!({}), "a PUT replaces the tags");
    assert_eq!(house.get(&format!("{lower}/")).await.body, replaced.body, "a trailing slash is forgiven");
    let moved = house.put(&id, json!({"location": "northeurope"})).await;
    assert_eq!((moved.status.as_u16(), moved.code()), (409, "InvalidResourceLocation"));
    let list = house.get(&format!("/subscriptions/{}/resourcegroups", house.subscription)).await;
    assert_eq!(list.body["value"].as_array().unwrap().len(), 1);
    assert_eq!(house.call(Method::HEAD, &id, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.call(Method::HEAD, &house.group("none"), None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn deleting_a_group_removes_everything_in_it_and_says_when_it_is_done() {
    let house = House::found().await;
    house.make_group("rg").await;
    let hub = house.make_hub("rg", "hub").await;
    for index in 0..5 {
        house.put(&house.identity_id("rg", &format!("id-{index}")), json!({"location": "westeurope"})).await;
    }
    let deletion = house.call(Method::DELETE, &house.group("rg"), None).await;
    assert_eq!(deletion.status, StatusCode::ACCEPTED);
    assert_eq!(deletion.header("retry-after"), "1");
    let done = house.wait(&deletion).await;
    assert_eq!(done.body["status"], "Succeeded", "{done:?}");
    assert_eq!(house.get(&house.group("rg")).await.code(), "ResourceGroupNotFound");
    assert_eq!(house.get(&house.hub("rg", "hub")).await.code(), "ResourceGroupNotFound");
    let principal: uuid::Uuid = hub["identity"]["principalId"].as_str().unwrap().parse().unwrap();
    let gone = house.identity.directory().object(principal).await.unwrap();
    assert!(gone.is_none(), "the hub's identity goes with the hub: {gone:?}");
    let result = house.get(deletion.header("location").strip_prefix("https://localhost:8443").unwrap()).await;
    assert_eq!(result.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &house.group("rg"), None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_hub_keeps_its_identity_for_life_and_a_new_one_inherits_nothing() {
    let house = House::found().await;
    house.make_group("rg").await;
    let first = house.make_hub("rg", "hub").await;
    insta::assert_json_snapshot!("hub", first, {
        ".identity.principalId" => "[principal]",
        ".properties.workspaceId" => "[incarnation]",
        ".properties.storageAccount" => "[its own]",
        ".properties.keyVault" => "[its own]",
        ".systemData.createdBy" => "[client]",
        ".systemData.lastModifiedBy" => "[client]",
    });
    let again = house.put(&house.hub("rg", "hub"), first.clone()).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.body, first, "the body of a GET can be sent back, and changes nothing");
    let gone = house.call(Method::DELETE, &house.hub("rg", "hub"), None).await;
    assert_eq!(gone.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &house.hub("rg", "hub"), None).await.status, StatusCode::NO_CONTENT);
    let second = house.make_hub("rg", "hub").await;
    assert_ne!(first["identity"]["principalId"], second["identity"]["principalId"]);
    assert_ne!(first["properties"]["workspaceId"], second["properties"]["workspaceId"]);
}

#[tokio::test]
async fn putting_back_what_stands_makes_no_revision() {
    let house = House::found().await;
    house.make_group("rg").await;
    let hub = house.make_hub("rg", "hub").await;
    let before = *house.store.revisions().borrow();
    house.put(&house.hub("rg", "hub"), hub).await;
    assert_eq!(*house.store.revisions().borrow(), before);
    house.put(&house.hub("rg", "hub"), json!({"location": "westeurope", "tags": {"a": "b"}})).await;
    assert_eq!(*house.store.revisions().borrow(), before + 1);
}

#[tokio::test]
async fn a_project_needs_the_right_to_join_its_hub() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let project =
        |hub: &str| json!({"location": "westeurope", "kind": "Project", "properties": {"hubResourceId": hub}});
    let made = house.put(&house.hub("rg", "project"), project(&house.hub("RG", "HUB"))).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    let orphan = house.put(&house.hub("rg", "other"), project(&house.hub("rg", "none"))).await;
    assert_eq!((orphan.status.as_u16(), orphan.code()), (400, "LinkedResourceNotFound"));
    let foreign = project(
        "/subscriptions/00000000-0000-0000-0000-00000000dead/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/hub",
    );
    let refused = house.put(&house.hub("rg", "other"), foreign).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "LinkedAuthorizationFailed"));
}

#[tokio::test]
async fn preconditions_hold() {
    let house = House::found().await;
    house.make_group("rg").await;
    let id = house.identity_id("rg", "one");
    let put = async |headers: &[(&str, &str)], tag: &str| {
        let body = json!({"location": "westeurope", "tags": {"n": tag}});
        house.call_as(&house.token, Method::PUT, &id, Some(body), headers).await
    };
    assert_eq!(put(&[("if-match", "*")], "0").await.status, StatusCode::PRECONDITION_FAILED);
    let created = put(&[("if-none-match", "*")], "1").await;
    assert_eq!(created.status, StatusCode::CREATED);
    let etag = created.header("etag").to_owned();
    assert_eq!(put(&[("if-none-match", "*")], "2").await.status, StatusCode::PRECONDITION_FAILED);
    let changed = put(&[("if-match", &etag)], "3").await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), etag);
    assert_eq!(put(&[("if-match", &etag)], "4").await.status, StatusCode::PRECONDITION_FAILED);
    let deletion = house.call_as(&house.token, Method::DELETE, &id, None, &[("if-match", &etag)]).await;
    assert_eq!(deletion.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn lists_come_in_pages_with_absolute_links() {
    let house = House::found().await;
    house.make_group("rg").await;
    for index in 0..7 {
        let tags = json!({"parity": if index % 2 == 0 { "even" } else { "odd" }});
        let body = json!({"location": "westeurope", "tags": tags});
        house.put(&house.identity_id("rg", &format!("id-{index}")), body).await;
    }
    let mut path = format!(
        "/subscriptions/{}/resources?$top=2&$filter=tagName%20eq%20%27PARITY%27%20and%20tagValue%20eq%20%27even%27",
        house.subscription
    );
    let mut names = Vec::new();
    for _ in 0..3 {
        let page = house.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let values = page.body["value"].as_array().unwrap();
        assert!(values.len() <= 2);
        names.extend(values.iter().map(|value| value["name"].as_str().unwrap().to_owned()));
        match page.body["nextLink"].as_str() {
            Some(link) => path = link.strip_prefix("https://localhost:8443").unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["id-0", "id-2", "id-4", "id-6"]);
    let tampered = house.get(&format!("{path}x")).await;
    assert_eq!(tampered.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tags_are_merged_replaced_and_deleted() {
    let house = House::found().await;
    house.make_group("rg").await;
    let hub = house.hub("rg", "hub");
    house.make_hub("rg", "hub").await;
    let tags = format!("{hub}/providers/Microsoft.Resources/tags/default");
    let patch = async |operation: &str, tags_asked: serde_json::Value| {
        let body = json!({"operation": operation, "properties": {"tags": tags_asked}});
        house.call(Method::PATCH, &tags, Some(body)).await
    };
    patch("Merge", json!({"a": "1", "b": "2"})).await;
    let merged = patch("merge", json!({"A": "3"})).await;
    assert_eq!(merged.body["properties"]["tags"], json!({"A": "3", "b": "2"}), "{merged:?}");
    let deleted = patch("Delete", json!({"b": "2", "A": "other"})).await;
    assert_eq!(deleted.body["properties"]["tags"], json!({"A": "3"}));
    assert_eq!(patch("Replace", json!({"c": "4"})).await.body["properties"]["tags"], json!({"c": "4"}));
    assert_eq!(house.get(&hub).await.body["tags"], json!({"c": "4"}));
    assert_eq!(patch("Upsert", json!({})).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(house.call(Method::DELETE, &tags, None).await.status, StatusCode::OK);
    assert_eq!(house.get(&hub).await.body["tags"], json!({}));
}

#[tokio::test]
async fn what_nobody_implements_is_refused_unless_it_is_asked_for() {
    let house = House::found().await;
    house.make_group("rg").await;
    let widget = format!("{}/providers/Contoso.Widgets/widgets/one", house.group("rg"));
    assert_eq!(house.put(&widget, json!({})).await.code(), "InvalidResourceNamespace");
    let nonsense = format!("{}/providers/Microsoft.MachineLearningServices/nonsense/one", house.group("rg"));
    assert_eq!(house.put(&nonsense, json!({})).await.code(), "InvalidResourceType");

    let house = House::found_with(Options { generic_resources: true, ..Options::default() }).await;
    house.make_group("rg").await;
    let stored = house.put(&widget, json!({"location": "westeurope", "properties": {"size": 3}})).await;
    assert_eq!(stored.status, StatusCode::CREATED, "{stored:?}");
    assert_eq!(stored.body["bastide"], json!({"dataPlane": "none"}), "nothing pretends");
    assert_eq!(stored.body["properties"]["size"], 3);
    let list = house.get(&format!("{}/resources", house.group("rg"))).await;
    assert_eq!(list.body["value"][0]["type"], "Contoso.Widgets/widgets");
}

#[tokio::test]
async fn subscriptions_are_made_by_alias_and_belong_to_their_maker() {
    let house = House::found().await;
    let alias = "/providers/Microsoft.Subscription/aliases/second?api-version=2021-10-01";
    let body = json!({"properties": {"displayName": "Second", "workload": "Production"}});
    let refused = house.put(alias, body.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "the bootstrap client owns one subscription, not the tenant");
    let admin = house.log_in_admin().await;
    let made = house.call_as(&admin, Method::PUT, alias, Some(body.clone()), &[]).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let second = made.body["properties"]["subscriptionId"].as_str().unwrap();
    let again = house.call_as(&admin, Method::PUT, alias, Some(body), &[]).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &made.body), "the same alias is the same subscription");
    let shown = house.call_as(&admin, Method::GET, "/subscriptions", None, &[]).await;
    assert_eq!(shown.body["value"].as_array().unwrap().len(), 2);
    let group = format!("/subscriptions/{second}/resourceGroups/rg");
    let made = house.call_as(&admin, Method::PUT, &group, Some(json!({"location": "local"})), &[]).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(house.get(&group).await.status, StatusCode::FORBIDDEN, "the other owner has no right there");
    assert_eq!(house.get("/subscriptions").await.body["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_browser_at_the_front_is_told_what_this_is() {
    let house = House::found().await;
    for path in ["/", "/portal", "//portal"] {
        let request =
            http::Request::get(path).header("host", "127.0.0.1:8443").body(axum::body::Body::empty()).unwrap();
        let answer = house.send(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body.as_str().unwrap().contains("https://127.0.0.1:8443"), "{answer:?}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    }
}

#[tokio::test]
async fn bad_requests_are_told_what_to_do() {
    let house = House::found().await;
    house.make_group("rg").await;
    let cases = [
        (Method::GET, format!("{}?api-version=", house.group("rg")), 400),
        (Method::GET, format!("{}?api-version=1999-01-01", house.group("rg")), 400),
        (Method::GET, format!("{}?api-version=tomorrow", house.group("rg")), 400),
        (Method::GET, "/subscriptions/not-a-guid/resourceGroups/rg".to_owned(), 400),
        (Method::GET, format!("/subscriptions/{}/resourceGroups/rg", uuid::Uuid::nil()), 404),
        (Method::GET, format!("{}/../x", house.group("rg")), 400),
        (Method::GET, format!("{}%2fx", house.group("rg")), 400),
        (Method::GET, format!("{}%00", house.group("rg")), 400),
        (Method::GET, format!("{}%ff", house.group("rg")), 400),
        (Method::POST, house.group("rg"), 405),
        (Method::GET, "/nowhere".to_owned(), 404),
        (Method::PUT, house.hub("rg", "a"), 400),
        (Method::PUT, house.hub("none", "hub"), 404),
        (Method::POST, format!("{}/dance", house.hub("rg", "hub")), 404),
    ];
    for (method, path, status) in cases {
        let body = (method == Method::PUT).then(|| json!({"location": "westeurope"}));
        let answer = house.call(method.clone(), &path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {answer:?}");
        assert!(!answer.code().is_empty(), "{method} {path}: {answer:?}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.ends_with('.') && message.len() > 20, "{message}");
        assert_eq!(answer.header("retry-after"), "", "clients repeat a 4xx that carries Retry-After");
    }
}

#[tokio::test]
async fn every_answer_can_be_traced() {
    let house = House::found().await;
    let headers =
        [("x-ms-client-request-id", "mine-1"), ("x-ms-correlation-request-id", "0f8fad5b-d9cb-469f-a165-70867728950e")];
    for path in ["/subscriptions", "/nowhere"] {
        let answer = house.call_as(&house.token, Method::GET, path, None, &headers).await;
        assert_eq!(answer.header("x-ms-client-request-id"), "mine-1");
        assert_eq!(answer.header("x-ms-correlation-request-id"), "0f8fad5b-d9cb-469f-a165-70867728950e");
        assert!(!answer.header("x-ms-request-id").is_empty());
        assert!(!answer.header("x-ms-ratelimit-remaining-subscription-reads").is_empty());
    }
}

#[tokio::test]
async fn providers_are_registered_until_somebody_says_otherwise() {
    let house = House::found().await;
    let provider = format!("/subscriptions/{}/providers/microsoft.machinelearningservices", house.subscription);
    let shown = house.get(&provider).await;
    assert_eq!(shown.body["namespace"], "Microsoft.MachineLearningServices");
    assert_eq!(shown.body["registrationState"], "Registered");
    let unregistered = house.call(Method::POST, &format!("{provider}/unregister"), None).await;
    assert_eq!(unregistered.body["registrationState"], "Unregistered");
    assert_eq!(house.get(&provider).await.body["registrationState"], "Unregistered");
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    assert_eq!(house.get(&provider).await.body["registrationState"], "Registered", "first use registers");
    assert_eq!(house.get("/providers/No.Such").await.code(), "InvalidResourceNamespace");
}

#[tokio::test]
async fn who_loses_the_right_while_the_body_comes_in_writes_nothing() {
    let house = House::found().await;
    let (stranger, token) = house.stranger().await;
    let assignment = house.grant(stranger.object_id, "8e3af657-a8ff-443c-a75c-2fe8c4bcb635").await;
    let start = async |name: &str| {
        let (send, receive) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
        let chunks = futures_util::stream::unfold(receive, async |mut receive| {
            let chunk = receive.recv().await?;
            Some((chunk, receive))
        });
        let request = http::Request::put(format!("{}?{}", house.group(name), support::API))
            .header("host", "localhost:8443")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(axum::body::Body::from_stream(chunks))
            .unwrap();
        let router = house.router.clone();
        let asked = tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap().status() });
        send.send(Ok(b"{\"location\":".to_vec())).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        (send, asked)
    };
    let (send, asked) = start("kept").await;
    send.send(Ok(b"\"local\"}".to_vec())).await.unwrap();
    drop(send);
    assert_eq!(asked.await.unwrap(), StatusCode::CREATED, "with the right kept, it is written");

    let (send, asked) = start("revoked").await;
    house.revoke(&assignment).await;
    send.send(Ok(b"\"local\"}".to_vec())).await.unwrap();
    drop(send);
    assert_eq!(asked.await.unwrap(), StatusCode::FORBIDDEN);

    house.grant(stranger.object_id, "8e3af657-a8ff-443c-a75c-2fe8c4bcb635").await;
    let (send, asked) = start("disabled").await;
    house.identity.directory().set_enabled(stranger.object_id, false).await.unwrap();
    send.send(Ok(b"\"local\"}".to_vec())).await.unwrap();
    drop(send);
    assert_eq!(asked.await.unwrap(), StatusCode::UNAUTHORIZED);
    for name in ["revoked", "disabled"] {
        assert_eq!(house.get(&house.group(name)).await.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn an_accepted_deletion_goes_on_when_the_client_hangs_up() {
    let house = House::found().await;
    for index in 0..20 {
        house.make_group(&format!("rg{index}")).await;
    }
    for index in 0..20_u64 {
        let request = http::Request::delete(format!("{}?{}", house.group(&format!("rg{index}")), support::API))
            .header("host", "localhost:8443")
            .header("authorization", format!("Bearer {}", house.token))
            .body(axum::body::Body::empty())
            .unwrap();
        let asked = tokio::spawn(tower::ServiceExt::oneshot(house.router.clone(), request));
        tokio::time::sleep(std::time::Duration::from_micros(index * 150)).await;
        asked.abort();
    }
    for _ in 0..100 {
        let list = house.get(&format!("/subscriptions/{}/resourcegroups", house.subscription)).await;
        let groups = list.body["value"].as_array().unwrap();
        if groups.iter().all(|group| group["properties"]["provisioningState"] == "Succeeded") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("groups are left half deleted");
}

#[tokio::test]
async fn only_what_is_tracked_carries_tags() {
    let house = House::found().await;
    let (stranger, _) = house.stranger().await;
    let assignment = house.grant(stranger.object_id, "acdd72a7-3385-48ef-bd42-f606fba81ae7").await;
    let tags = format!("{assignment}/providers/Microsoft.Resources/tags/default");
    let refused = house.put(&tags, json!({"properties": {"tags": {"a": "b"}}})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "ResourceTypeNotSupported"));
    house.revoke(&assignment).await;
    assert_eq!(house.get("/subscriptions").await.status, StatusCode::OK, "rights are still readable");
}

#[tokio::test]
async fn a_group_lives_in_a_subscription_and_nowhere_else() {
    let house = House::found().await;
    house.make_group("rg").await;
    let in_a_group = format!("{}/providers/Microsoft.Resources/resourceGroups/ghost", house.group("rg"));
    let as_extension =
        format!("/subscriptions/{}/providers/Microsoft.Resources/resourceGroups/ghost", house.subscription);
    for ghost in [in_a_group, as_extension] {
        let refused = house.put(&ghost, json!({"location": "local"})).await;
        assert!(refused.status.is_client_error(), "{ghost}: {refused:?}");
    }
    let list = house.get(&format!("/subscriptions/{}/resourcegroups", house.subscription)).await;
    assert_eq!(list.body["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_went_since_it_was_linked_does_not_stand_in_the_way_of_other_changes() {
    let house = House::found().await;
    house.make_group("rg").await;
    let identity = house.identity_id("rg", "one");
    house.put(&identity, json!({"location": "local"})).await;
    let hub = house.hub("rg", "hub");
    let assigned = json!({"type": "UserAssigned", "userAssignedIdentities": {identity.clone(): {}}});
    let body = json!({"location": "local", "kind": "Hub", "identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": assigned["userAssignedIdentities"]}});
    let made = house.put(&hub, body).await;
    assert_eq!(made.body["identity"]["type"], "SystemAssigned,UserAssigned", "{made:?}");
    house.call(Method::DELETE, &identity, None).await;
    let mut back = made.body.clone();
    back["tags"] = json!({"still": "works"});
    let put = house.put(&hub, back).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    assert_eq!(put.body["identity"], made.body["identity"]);
}

#[tokio::test]
async fn filters_with_what_cannot_be_stored_are_bad_requests() {
    let house = House::found().await;
    let path = format!("/subscriptions/{}/resources?$filter=name%20eq%20%27a%00%27", house.subscription);
    let answer = house.get(&path).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
}
