//! Route by principal: what each may do, written down and not derived; and that a right that was taken is gone at once.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use serde_json::{Value, json};
use support::House;
use uuid::Uuid;

/// The roles of the matrix, in the order of its columns; the last column is a stranger without any.
const ROLES: [&str; 7] = [
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", // Owner
    "b24988ac-6180-42a0-ab88-20f7382dd24c", // Contributor
    "acdd72a7-3385-48ef-bd42-f606fba81ae7", // Reader
    "64702f94-c441-49e6-a78b-ef80e0188fee", // Azure AI Developer
    "f6c7c914-8db3-469d-8ca1-694a8f32e121", // AzureML Data Scientist
    "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815", // AzureML Compute Operator
    "b556d68e-0be0-4f35-a333-ad7ee1ce17ea", // Azure AI Enterprise Network Connection Approver
];

/// `+` is let through (whatever comes of it), `-` is 403 for: Owner, Contributor, Reader, AI Developer, Data Scientist,
/// Compute Operator, Connection Approver, stranger. All hold their role on the group `rg`. Written down from what the
/// roles are for (security.md 1.5), not from what the server answers.
const MATRIX: [(&str, &str, &str); 76] = [
    ("GET", "{rg}", "+++-----"),
    ("HEAD", "{rg}", "+++-----"),
    ("PUT", "{rg}", "++------"),
    ("PATCH", "{rg}", "++------"),
    // Roles on `rg` do not reach another group.
    ("DELETE", "{rg}-none", "--------"),
    ("GET", "{rg}/resources", "+++-----"),
    // The hub and what is in it.
    ("GET", "{rg}/providers/Microsoft.MachineLearningServices/workspaces", "+++++-+-"),
    ("GET", "{hub}", "+++++-+-"),
    ("PUT", "{hub}", "++------"),
    ("PATCH", "{hub}", "++------"),
    ("DELETE", "{hub}-none", "++------"),
    ("GET", "{hub}/connections", "+++++---"),
    ("PUT", "{hub}/connections/none", "++-++---"),
    ("DELETE", "{hub}/connections/none", "++-++---"),
    ("POST", "{hub}/connections/none/listsecrets", "++-++---"),
    ("GET", "{hub}/outboundRules", "+++++---"),
    ("PUT", "{hub}/outboundRules/none", "++-++---"),
    ("DELETE", "{hub}/outboundRules/none", "++-++---"),
    ("POST", "{hub}/listKeys", "++------"),
    ("POST", "{hub}/diagnose", "++-++---"),
    ("GET", "{hub}/bastide/explain?to=example.com", "+++++---"),
    ("GET", "{hub}/bastide/flows", "+++++---"),
    ("GET", "{hub}/bastide/metrics", "+++++---"),
    ("GET", "{hub}/bastide/suggest", "+++++---"),
    ("POST", "{hub}/bastide/replay", "+++++---"),
    // Computes, and the ways into them. Whoever is let through may still be told that the instance is somebody else's.
    ("GET", "{hub}/computes", "++++++--"),
    ("GET", "{compute}", "++++++--"),
    ("PUT", "{compute}-other", "++-+-+--"),
    ("DELETE", "{hub}/computes/none?underlyingResourceAction=Delete", "++-+-+--"),
    ("POST", "{compute}/stop", "++-+++--"),
    ("POST", "{compute}/enableSso", "++-+++--"),
    ("GET", "{compute}/bastide/exec", "++-+++--"),
    ("GET", "{compute}/bastide/ssh", "++-+++--"),
    ("GET", "{site}/nbip/v1.0/ws-tcp", "++-+++--"),
    ("GET", "{site}/lab", "++-+++--"),
    ("GET", "{hub}/bastide/isolation", "+++++-+-"),
    // To lift isolation is an Owner's alone; to restore it takes what changes the hub.
    ("POST", "{hub}/bastide/liftIsolation", "+-------"),
    ("POST", "{hub}/bastide/restoreIsolation", "++------"),
    ("PUT", "{subscription}/providers/Bastide.Network/serviceTagPacks/none", "--------"),
    // Identities, storage, and what gives secrets away.
    ("GET", "{identity}", "+++-----"),
    ("PUT", "{identity}", "++------"),
    ("DELETE", "{identity}-none", "++------"),
    ("POST", "{identity}/issueEndpointSecret", "++------"),
    ("GET", "{rg}/providers/Microsoft.Storage/storageAccounts/none", "+++---+-"),
    ("POST", "{rg}/providers/Microsoft.Storage/storageAccounts/none/listKeys", "++------"),
    // Tags and deployments.
    ("GET", "{hub}/providers/Microsoft.Resources/tags/default", "+++-----"),
    ("PATCH", "{hub}/providers/Microsoft.Resources/tags/default", "++------"),
    ("GET", "{rg}/providers/Microsoft.Resources/deployments", "++++----"),
    ("PUT", "{rg}/providers/Microsoft.Resources/deployments/none", "++-+----"),
    ("POST", "{rg}/providers/Microsoft.Resources/deployments/none/validate", "++-+----"),
    // Access itself.
    ("GET", "{hub}/providers/Microsoft.Authorization/roleAssignments", "++++----"),
    ("PUT", "{hub}/providers/Microsoft.Authorization/roleAssignments/{guid}", "+-------"),
    ("DELETE", "{hub}/providers/Microsoft.Authorization/roleAssignments/{guid}", "+-------"),
    ("GET", "{rg}/providers/Microsoft.Authorization/roleDefinitions", "++++----"),
    ("PUT", "{rg}/providers/Microsoft.Authorization/roleDefinitions/{guid}", "+-------"),
    ("GET", "{rg}/providers/Microsoft.Authorization/denyAssignments", "++++----"),
    ("GET", "{rg}/providers/Microsoft.Authorization/permissions", "++++++++"),
    ("POST", "{rg}/providers/Microsoft.Authorization/checkAccess", "++++++++"),
    ("GET", "{rg}/bastide/whyAccess?action=a/b/read", "++++++++"),
    ("GET", "{rg}/bastide/whyAccess?action=a/b/read&principal={guid}", "++++----"),
    ("GET", "{hub}/providers/Bastide.Authorization/users", "++++----"),
    ("GET", "{rg}/providers/Bastide.Authorization/accessRequests", "++++++++"),
    ("PUT", "{rg}/providers/Bastide.Authorization/accessRequests/{fresh}", "++++++++"),
    ("GET", "{rg}/providers/Microsoft.Authorization/locks", "++++----"),
    ("PUT", "{hub}/providers/Microsoft.Authorization/locks/none", "+-------"),
    ("DELETE", "{hub}/providers/Microsoft.Authorization/locks/none", "+-------"),
    ("GET", "{rg}/providers/Microsoft.Authorization/policyAssignments", "++++----"),
    ("PUT", "{rg}/providers/Microsoft.Authorization/policyAssignments/none", "+-------"),
    // Above the group nobody has anything, but the way down is no secret.
    ("GET", "{subscription}", "+++++++-"),
    ("GET", "{subscription}/resourcegroups", "+++++++-"),
    ("GET", "{subscription}/resources", "+++++++-"),
    ("GET", "{subscription}/providers/Microsoft.MachineLearningServices/workspaces", "+++++++-"),
    ("PATCH", "{subscription}/resourcegroups/none", "--------"),
    ("PUT", "{subscription}/tagnames/none", "--------"),
    (
        "GET",
        "{subscription}/providers/Microsoft.Insights/eventtypes/management/values?$filter=status%20eq%20'x'",
        "--------",
    ),
    ("GET", "/providers/Microsoft.Authorization/roleAssignments", "--------"),
];

#[tokio::test]
async fn everybody_may_what_is_written_down_and_nothing_else() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    house.put(&house.identity_id("rg", "one"), json!({"location": "westeurope"})).await;
    let compute = format!("{}/computes/instance", house.hub("rg", "hub"));
    let made = house.put(&compute, body(&Method::PUT, "computes")).await;
    assert_eq!(made.status.as_u16(), 201, "{made:?}");
    let lab = made.body["properties"]["properties"]["applications"][1]["endpointUri"].as_str().unwrap();
    let site = lab.strip_suffix("/lab").unwrap().to_owned();
    let mut tokens = Vec::new();
    for role in ROLES {
        let (principal, token) = house.stranger().await;
        let made = house.put(&assignment(&house.group("rg"), Uuid::new_v4()), grant(role, principal.object_id)).await;
        assert_eq!(made.status.as_u16(), 201, "{made:?}");
        tokens.push(token);
    }
    tokens.push(house.stranger().await.1);

    let mut wrong = Vec::new();
    for (method, path, expected) in MATRIX {
        let uri = path
            .replace("{rg}", &house.group("rg"))
            .replace("{hub}", &house.hub("rg", "hub"))
            .replace("{compute}", &compute)
            .replace("{site}", &site)
            .replace("{identity}", &house.identity_id("rg", "one"))
            .replace("{subscription}", &format!("/subscriptions/{}", house.subscription))
            .replace("{guid}", &Uuid::from_u128(9).to_string());
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut found = String::new();
        for token in &tokens {
            let uri = uri.replace("{fresh}", &Uuid::new_v4().to_string());
            let answer = house.call_as(token, method.clone(), &uri, Some(body(&method, path)), &[]).await;
            let refused = answer.status.as_u16() == 403;
            let is_told = answer.code() == "AuthorizationFailed" || method == Method::HEAD && answer.body.is_null();
            assert!(!refused || is_told, "{method} {path}: {answer:?}");
            assert_ne!(answer.status.as_u16(), 500, "{method} {path}: {answer:?}");
            found.push(if refused { '-' } else { '+' });
        }
        if found != expected {
            wrong.push(format!("{method} {path}: {found}, not {expected}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "Owner, Contributor, Reader, Developer, Scientist, Operator, Approver, stranger:\n{}",
        wrong.join("\n")
    );
}

#[tokio::test]
async fn the_token_of_another_tenant_opens_nothing() {
    let (house, other) = (House::found().await, House::found().await);
    house.make_group("rg").await;
    for path in [house.group("rg"), "/subscriptions".to_owned(), "/tenants".to_owned()] {
        let answer = house.call_as(&other.token, Method::GET, &path, None, &[]).await;
        assert_eq!(answer.status.as_u16(), 401, "{path}: {answer:?}");
    }
}

/// Writers hammer while their right is taken: whatever is acknowledged was begun before the revocation was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_revocation_is_acknowledged_no_write_succeeds() {
    let house = Arc::new(House::found().await);
    house.make_group("rg").await;
    let (writer, token) = house.stranger().await;
    let given = assignment(&house.group("rg"), Uuid::from_u128(1));
    for round in 0..8 {
        let made = house.put(&given, grant(ROLES[1], writer.object_id)).await;
        assert_eq!(made.status.as_u16(), 201, "{made:?}");
        let revoked = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for number in 0..4 {
            let (house, token, revoked) = (Arc::clone(&house), token.clone(), Arc::clone(&revoked));
            writers.push(tokio::spawn(async move {
                let path = house.identity_id("rg", &format!("w{number}"));
                let (mut successes, mut index) = (0, 0);
                loop {
                    // Read before the request is sent: what is sent after the acknowledgement must fail.
                    let was_revoked = revoked.load(Ordering::SeqCst);
                    let body =
                        json!({"location": "westeurope", "tags": {"round": round.to_string(), "n": index.to_string()}});
                    let answer = house.call_as(&token, Method::PUT, &path, Some(body), &[]).await;
                    index += 1;
                    assert!(!(was_revoked && answer.status.is_success()), "a write after the revocation: {answer:?}");
                    successes += i32::from(answer.status.is_success());
                    if was_revoked {
                        return successes;
                    }
                }
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let before = house.store.access_epoch().await.unwrap();
        let taken = house.call(Method::DELETE, &given, None).await;
        assert_eq!(taken.status.as_u16(), 200, "{taken:?}");
        let head = tags(&house).await;
        revoked.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(tags(&house).await, head, "nothing that was under way came in after the acknowledgement");
        assert!(house.store.access_epoch().await.unwrap() > before);
    }
}

/// A right is given and taken again and again while others read and write: the very next request always knows.
///
/// As often as twenty seconds allow, 10,000 times at most; `BASTIDE_ALTERNATIONS` says how often without a limit of time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_request_after_a_grant_or_a_revocation_knows_of_it() {
    let house = Arc::new(House::found().await);
    house.make_group("rg").await;
    let ((somebody, token), done) = (house.stranger().await, Arc::new(AtomicBool::new(false)));
    let mut load = Vec::new();
    for number in 0..3 {
        let (house, done) = (Arc::clone(&house), Arc::clone(&done));
        load.push(tokio::spawn(async move {
            let path = house.identity_id("rg", &format!("load{number}"));
            for index in 0.. {
                let body = json!({"location": "westeurope", "tags": {"n": index.to_string()}});
                assert!(house.put(&path, body).await.status.is_success());
                assert!(house.get(&path).await.status.is_success());
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        }));
    }
    let asked: Option<u32> = std::env::var("BASTIDE_ALTERNATIONS").ok().and_then(|text| text.parse().ok());
    let (started, given) = (std::time::Instant::now(), assignment(&house.group("rg"), Uuid::from_u128(1)));
    let sees = async || house.call_as(&token, Method::GET, &house.group("rg"), None, &[]).await.status.as_u16();
    let mut rounds = 0;
    while rounds < asked.unwrap_or(10_000) && (asked.is_some() || started.elapsed().as_secs() < 20) {
        let made = house.put(&given, grant(ROLES[2], somebody.object_id)).await;
        assert_eq!((made.status.as_u16(), sees().await), (201, 200), "round {rounds}: {made:?}");
        let taken = house.call(Method::DELETE, &given, None).await;
        assert_eq!((taken.status.as_u16(), sees().await), (200, 403), "round {rounds}: {taken:?}");
        rounds += 1;
    }
    done.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    println!("{rounds} alternations, 0 stale decisions, {:?}", started.elapsed());
    assert!(rounds > 20, "{rounds}");
}

/// What the writers have written so far.
async fn tags(house: &House) -> Vec<Value> {
    let mut tags = Vec::new();
    for number in 0..4 {
        tags.push(house.get(&house.identity_id("rg", &format!("w{number}"))).await.body["tags"].clone());
    }
    tags
}

fn body(method: &Method, path: &str) -> Value {
    match (method.as_str(), path) {
        ("POST", path) if path.ends_with("checkAccess") => {
            json!({"Actions": [{"Id": "Microsoft.Resources/subscriptions/resourceGroups/read"}]})
        }
        ("PUT", path) if path.contains("accessRequests") => json!({"properties": {"roleDefinitionId": ROLES[2]}}),
        ("PUT", path) if path.contains("roleAssignments") => grant(ROLES[2], Uuid::from_u128(404)),
        ("PATCH", path) if path.contains("tags") => json!({"operation": "Merge", "properties": {"tags": {"a": "b"}}}),
        ("PUT", path) if path.contains("compute") => {
            let properties = json!({"computeType": "ComputeInstance", "properties": {"vmSize": "Standard_DS1_v2"}});
            json!({"location": "westeurope", "properties": properties})
        }
        ("PATCH", _) => json!({"tags": {"a": "b"}}),
        _ => json!({"location": "westeurope", "kind": "hub"}),
    }
}

fn assignment(scope: &str, name: Uuid) -> String {
    format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}")
}

fn grant(role: &str, principal: Uuid) -> Value {
    json!({"properties": {"roleDefinitionId": role, "principalId": principal}})
}
