//! Who may do what: roles, assignments, locks, and what people are told about them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::collections::BTreeMap;

use bastide_access::RoleAssignment;
use bastide_store::{Change, ResourcePut, Write};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House};
use uuid::Uuid;

const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const RBAC_ADMINISTRATOR: &str = "f58310d9-a9f6-439a-9e8d-f62e7b41a168";

#[tokio::test]
async fn a_role_is_given_and_taken_with_effect_on_the_next_request() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (reader, token) = house.stranger().await;
    let group = house.group("rg");
    let read = async || house.call_as(&token, Method::GET, &group, None, &[]).await.status.as_u16();
    assert_eq!(read().await, 403);

    let id = assignment(&group, 1);
    let given = house.put(&id, grant(&house, READER, reader.object_id)).await;
    assert_eq!(given.status, StatusCode::CREATED, "{given:?}");
    assert_eq!(given.body["id"], id);
    assert_eq!(given.body["type"], "Microsoft.Authorization/roleAssignments");
    assert_eq!(given.body["properties"]["scope"], group);
    assert_eq!(given.body["properties"]["principalType"], "ServicePrincipal", "the directory knows what it is");
    assert_eq!(given.body["properties"]["roleDefinitionId"], role_id(&house, READER));
    assert_eq!(read().await, 200);

    let again = house.put(&id.to_lowercase(), grant(&house, READER, reader.object_id)).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &given.body), "the same again changes nothing");
    assert_eq!(house.get(&id).await.body, given.body);

    let taken = house.call(Method::DELETE, &id, None).await;
    assert_eq!((taken.status, &taken.body["id"]), (StatusCode::OK, &given.body["id"]));
    assert_eq!(read().await, 403);
    assert_eq!(house.call(Method::DELETE, &id, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.get(&id).await.code(), "RoleAssignmentNotFound");
}

/// Who has a role on one group finds it: the subscription is listed, and the lists of the subscription show what that role
/// reaches and nothing beside it.
#[tokio::test]
async fn lists_show_what_a_role_further_down_reaches() {
    let house = House::found().await;
    for group in ["mine", "other"] {
        house.make_group(group).await;
        house.make_hub(group, &format!("hub-{group}")).await;
    }
    let (somebody, token) = house.stranger().await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let hubs = format!("{subscription}/providers/Microsoft.MachineLearningServices/workspaces");
    let listed = async |path: &str| {
        let answer = house.call_as(&token, Method::GET, path, None, &[]).await;
        let names = answer.body["value"].as_array().into_iter().flatten();
        let mut names: Vec<String> =
            names.map(|item| item["name"].as_str().or(item["subscriptionId"].as_str()).unwrap().to_owned()).collect();
        names.sort();
        (answer.status.as_u16(), names)
    };
    let groups = format!("{subscription}/resourcegroups");
    assert_eq!(listed("/subscriptions").await.1, [] as [&str; 0]);
    assert_eq!(listed(&groups).await.0, 403);
    let given = house.put(&assignment(&house.group("mine"), 1), grant(&house, READER, somebody.object_id)).await;
    assert_eq!(given.status.as_u16(), 201);
    assert_eq!(listed("/subscriptions").await.1, [house.subscription.to_string()]);
    assert_eq!(listed(&groups).await, (200, vec!["mine".to_owned()]));
    assert_eq!(listed(&hubs).await, (200, vec!["hub-mine".to_owned()]));
    let (status, all) = listed(&format!("{subscription}/resources")).await;
    assert_eq!(status, 200);
    assert!(all.iter().any(|name| name == "hub-mine") && all.iter().all(|name| name != "hub-other"), "{all:?}");
    assert_eq!(listed(&format!("{}/resources", house.group("other"))).await.0, 403);
}

/// In the cloud a token stops listing groups at 200 and says so by a reference, which must never be read as "no groups"
/// (security.md 1.1). Bastide's tokens list none, and every group counts: for a grant as for a deny.
#[tokio::test]
async fn somebody_in_more_groups_than_a_token_holds_has_what_each_of_them_gives() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (somebody, token) = house.stranger().await;
    let directory = house.identity.directory();
    let mut groups = Vec::new();
    for number in 0..250 {
        let group = directory.create_group(&format!("team-{number}")).await.unwrap().object_id;
        directory.add_member(group, somebody.object_id).await.unwrap();
        groups.push(group);
    }
    let rg = house.group("rg");
    let may_read = async || house.call_as(&token, Method::GET, &rg, None, &[]).await.status.as_u16() == 200;
    assert!(!may_read().await);
    for (number, group) in [(1, groups[249]), (2, groups[0])] {
        let id = assignment(&rg, number);
        assert_eq!(house.put(&id, grant(&house, READER, group)).await.status.as_u16(), 201);
        assert!(may_read().await, "group {number}");
        assert_eq!(house.call(Method::DELETE, &id, None).await.status.as_u16(), 200);
        assert!(!may_read().await, "group {number}");
    }
}

#[tokio::test]
async fn what_cannot_be_assigned_is_refused_with_the_code_clients_know() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_group("other").await;
    let (one, _) = house.stranger().await;
    let (two, _) = house.stranger().await;
    let group = house.group("rg");
    let first = assignment(&group, 1);
    let made = house.put(&first, grant(&house, READER, one.object_id)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");

    let unknown = Uuid::from_u128(77);
    let mut mistaken = grant(&house, READER, two.object_id);
    mistaken["properties"]["principalType"] = json!("User");
    let mut conditional = grant(&house, READER, two.object_id);
    conditional["properties"]["condition"] = json!("@Resource[a:b] NoSuchOperator 'x'");
    conditional["properties"]["conditionVersion"] = json!("2.0");
    let mut unversioned = grant(&house, READER, two.object_id);
    unversioned["properties"]["condition"] = json!("@Resource[a:b] StringEquals 'x'");
    let cases = [
        (assignment(&group, 2), grant(&house, READER, one.object_id), 409, "RoleAssignmentExists"),
        (
            assignment(&house.group("other"), 1),
            grant(&house, READER, one.object_id),
            400,
            "RoleAssignmentUpdateNotPermitted",
        ),
        (first.clone(), grant(&house, READER, two.object_id), 400, "RoleAssignmentUpdateNotPermitted"),
        (first.clone(), grant(&house, CONTRIBUTOR, one.object_id), 400, "RoleAssignmentUpdateNotPermitted"),
        (assignment(&group, 3), grant(&house, READER, unknown), 400, "PrincipalNotFound"),
        (assignment(&group, 3), grant(&house, &unknown.to_string(), two.object_id), 400, "RoleDefinitionDoesNotExist"),
        (assignment(&group, 3), mistaken, 400, "UnmatchedPrincipalType"),
        (assignment(&group, 3), conditional, 400, "InvalidCondition"),
        (assignment(&group, 3), unversioned, 400, "InvalidConditionVersion"),
        (assignment(&group, 3), json!({"properties": {"principalId": two.object_id}}), 400, "InvalidParameter"),
        (assignment(&group, 3), json!({}), 400, "InvalidParameter"),
        (assignment(&house.group("none"), 3), grant(&house, READER, two.object_id), 404, "ResourceGroupNotFound"),
        (assignment(&house.hub("rg", "none"), 3), grant(&house, READER, two.object_id), 404, "ResourceNotFound"),
        (
            format!("{group}/providers/Microsoft.Authorization/roleAssignments/mine"),
            grant(&house, READER, two.object_id),
            400,
            "InvalidRoleAssignmentId",
        ),
    ];
    for (path, body, status, code) in cases {
        let refused = house.put(&path, body.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (status, code), "{path} {body}: {refused:?}");
    }
    assert_eq!(names(&list(&house, &group, "principalId eq '{}'", two.object_id).await), [] as [&str; 0]);
}

#[tokio::test]
async fn assignments_are_listed_at_above_and_below_and_by_filter() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let (somebody, _) = house.stranger().await;
    let team = house.identity.directory().create_group("team").await.unwrap().object_id;
    house.identity.directory().add_member(team, somebody.object_id).await.unwrap();
    let subscription = format!("/subscriptions/{}", house.subscription);
    let (group, hub) = (house.group("rg"), house.hub("rg", "hub"));
    for (number, scope, principal) in
        [(1, &subscription, somebody.object_id), (2, &group, team), (3, &hub, somebody.object_id)]
    {
        let made = house.put(&assignment(scope, number), grant(&house, READER, principal)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    }
    let mine = somebody.object_id;
    let expected: [(&str, &[u128]); 6] = [
        ("principalId eq '{}'", &[1, 3]),
        ("atScope() and principalId eq '{}'", &[1]),
        ("assignedTo('{}')", &[1, 2, 3]),
        ("atScope() and assignedTo('{}')", &[1, 2]),
        ("atScopeAndBelow() and assignedTo('{}')", &[2, 3]),
        ("atScope()", &[1, 2]),
    ];
    for (filter, numbers) in expected {
        let listed = list(&house, &group, filter, mine).await;
        let found: Vec<&str> = names(&listed).into_iter().filter(|name| name.starts_with("1d9e6c2a")).collect();
        let wanted: Vec<String> = numbers.iter().map(|number| name(*number)).collect();
        let mut found: Vec<String> = found.into_iter().map(str::to_owned).collect();
        found.sort();
        assert_eq!(found, wanted, "{filter}");
    }
    let all = house.get(&format!("{group}/providers/Microsoft.Authorization/roleAssignments")).await;
    assert_eq!(names(&all).len(), 6, "the two founding owners reach here too, and the hub's identity: {all:?}");
    let bad = list(&house, &group, "colour eq 'red'", mine).await;
    assert_eq!(bad.code(), "InvalidFilterInQueryString");

    let first = house.get(&format!("{group}/providers/Microsoft.Authorization/roleAssignments?$top=2")).await;
    let next = first.body["nextLink"].as_str().unwrap().strip_prefix("https://localhost:8443").unwrap();
    let second = house.get(next).await;
    assert_eq!((names(&first).len(), names(&second).len()), (2, 2));
    assert!(names(&first).iter().all(|name| !names(&second).contains(name)));
}

#[tokio::test]
async fn nobody_gives_what_they_may_not_give() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let (contributor, contributors) = house.stranger().await;
    let (limited, limiteds) = house.stranger().await;
    let (other, _) = house.stranger().await;
    house.put(&assignment(&group, 1), grant(&house, CONTRIBUTOR, contributor.object_id)).await;
    let mut delegation = grant(&house, RBAC_ADMINISTRATOR, limited.object_id);
    delegation["properties"]["conditionVersion"] = json!("2.0");
    delegation["properties"]["condition"] = json!(format!(
        "((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})) OR \
         (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{READER}}})) \
         AND ((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/delete'}})) OR \
         (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{READER}}}))"
    ));
    let made = house.put(&assignment(&group, 2), delegation).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let put = async |token: &str, number, role, principal| {
        let path = assignment(&group, number);
        house.call_as(token, Method::PUT, &path, Some(grant(&house, role, principal)), &[]).await
    };
    let delete = async |number| house.call_as(&limiteds, Method::DELETE, &assignment(&group, number), None, &[]).await;

    assert_eq!(put(&contributors, 3, OWNER, contributor.object_id).await.code(), "AuthorizationFailed");
    assert_eq!(put(&limiteds, 3, OWNER, limited.object_id).await.code(), "AuthorizationFailed");
    assert_eq!(put(&limiteds, 3, CONTRIBUTOR, other.object_id).await.code(), "AuthorizationFailed");
    assert_eq!(put(&limiteds, 3, READER, other.object_id).await.status, StatusCode::CREATED);
    assert_eq!(delete(1).await.code(), "AuthorizationFailed", "the condition speaks about deletions too");
    assert_eq!(delete(2).await.code(), "AuthorizationFailed", "nor can it take off its own chain");
    assert_eq!(put(&limiteds, 2, RBAC_ADMINISTRATOR, limited.object_id).await.code(), "AuthorizationFailed");
    assert_eq!(delete(3).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_last_owner_of_a_subscription_stays() {
    let house = House::found().await;
    let admin = house.log_in_admin().await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let all = house.get(&format!("{subscription}/providers/Microsoft.Authorization/roleAssignments")).await;
    let owner_at = |scope: &str| {
        let rows = all.body["value"].as_array().unwrap();
        rows.iter().find(|row| row["properties"]["scope"] == scope).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (tenant_owner, subscription_owner) = (owner_at("/"), owner_at(&subscription));
    let (friend, _) = house.stranger().await;
    let removed = house.call_as(&admin, Method::DELETE, &tenant_owner, None, &[]).await;
    assert_eq!(removed.code(), "CannotDeleteLastRbacAdminAssignment", "the tenant keeps an owner: {removed:?}");
    assert_eq!(house.call_as(&admin, Method::DELETE, &subscription_owner, None, &[]).await.status, StatusCode::OK);

    house.call_as(&admin, Method::PUT, &assignment("", 1), Some(grant(&house, OWNER, friend.object_id)), &[]).await;
    house.identity.directory().delete(friend.object_id).await.unwrap();
    let removed = house.call_as(&admin, Method::DELETE, &tenant_owner, None, &[]).await;
    assert_eq!(removed.code(), "CannotDeleteLastRbacAdminAssignment", "an owner who is gone is none: {removed:?}");
}

#[tokio::test]
async fn an_assignment_of_somebody_deleted_stays_and_never_serves_another() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (gone, token) = house.stranger().await;
    let id = assignment(&house.group("rg"), 1);
    house.put(&id, grant(&house, READER, gone.object_id)).await;
    house.identity.directory().delete(gone.object_id).await.unwrap();
    assert_eq!(house.call_as(&token, Method::GET, &house.group("rg"), None, &[]).await.status.as_u16(), 401);
    assert_eq!(house.get(&id).await.body["properties"]["principalId"], json!(gone.object_id));
    // The same name again is somebody else.
    let (_, token) = house.stranger().await;
    assert_eq!(house.call_as(&token, Method::GET, &house.group("rg"), None, &[]).await.status.as_u16(), 403);
    assert_eq!(house.call(Method::DELETE, &id, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn custom_roles_are_made_assigned_and_kept_while_in_use() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let subscription = format!("/subscriptions/{}", house.subscription);
    let (watcher, token) = house.stranger().await;
    let role = Uuid::from_u128(0x00c0_ffee);
    let path = format!("{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}");
    let body = |actions: Value, scope: &str| {
        json!({"properties": {
            "roleName": "Group watcher", "type": "CustomRole", "description": "Looks at groups",
            "permissions": [{"actions": actions, "notActions": []}], "assignableScopes": [scope],
        }})
    };
    let reads = json!(["Microsoft.Resources/subscriptions/resourceGroups/read"]);
    let made = house.put(&path, body(reads.clone(), &subscription)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!((&made.body["id"], &made.body["properties"]["type"]), (&json!(path), &json!("CustomRole")));
    let again = house.put(&path, body(reads.clone(), &subscription)).await;
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &made.body), "clients take 201 only");

    let given = house.put(&assignment(&group, 1), grant(&house, &role.to_string(), watcher.object_id)).await;
    assert_eq!(given.status, StatusCode::CREATED, "{given:?}");
    assert_eq!(house.call_as(&token, Method::GET, &group, None, &[]).await.status, StatusCode::OK);
    let resources = format!("{group}/resources");
    assert_eq!(house.call_as(&token, Method::GET, &resources, None, &[]).await.status, StatusCode::FORBIDDEN);
    house.put(&path, body(json!(["Microsoft.Resources/subscriptions/resourceGroups/*"]), &subscription)).await;
    assert_eq!(house.call_as(&token, Method::GET, &resources, None, &[]).await.status, StatusCode::OK, "at once");

    assert_eq!(house.call(Method::DELETE, &path, None).await.code(), "RoleDefinitionHasAssignments");
    house.call(Method::DELETE, &assignment(&group, 1), None).await;
    assert_eq!(house.call(Method::DELETE, &path, None).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.get(&path).await.code(), "RoleDefinitionDoesNotExist");

    let refused = [
        (path.clone(), body(json!(["Microsoft.Nothing/read"]), &subscription), 400, "InvalidActionOrNotAction"),
        (path.clone(), body(json!(["*/*/read"]), &subscription), 400, "InvalidActionOrNotAction"),
        (path.clone(), body(reads.clone(), "/"), 400, "InvalidAssignableScope"),
        (path.clone(), body(json!([]), &subscription), 400, "InvalidRoleDefinition"),
        (
            path.clone(),
            body(reads.clone(), "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590"),
            403,
            "LinkedAuthorizationFailed",
        ),
        (
            path.replace(&role.to_string(), READER),
            body(reads.clone(), &subscription),
            403,
            "BuiltInRoleCannotBeModified",
        ),
        (path.replace(&role.to_string(), "mine"), body(reads, &subscription), 400, "InvalidRoleDefinitionId"),
    ];
    for (path, body, status, code) in refused {
        let answer = house.put(&path, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_restriction_counts_in_whatever_case_it_is_written() {
    let house = House::found().await;
    house.make_group("rg").await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let role = format!("{subscription}/providers/Microsoft.Authorization/roleDefinitions/{}", Uuid::from_u128(0xca5e));
    let permission = json!({"Actions": ["Microsoft.Resources/*"], "NotActions": ["Microsoft.Resources/*/delete"]});
    let made = house
        .put(
            &role,
            json!({"Properties": {
                "RoleName": "In another case", "Permissions": [permission], "AssignableScopes": [subscription],
            }}),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.body["properties"]["permissions"][0]["notActions"], json!(["Microsoft.Resources/*/delete"]));

    let mut given = grant(&house, READER, house.stranger().await.0.object_id);
    given["properties"]["Condition"] = json!("@Resource[a:b] StringEquals 'x'");
    given["properties"]["ConditionVersion"] = json!("2.0");
    let made = house.put(&assignment(&house.group("rg"), 1), given).await;
    assert_eq!(made.body["properties"]["condition"], "@Resource[a:b] StringEquals 'x'", "{made:?}");
}

#[tokio::test]
async fn a_value_of_another_kind_is_named_and_not_repeated() {
    let house = House::found().await;
    house.make_group("rg").await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let role = format!("{subscription}/providers/Microsoft.Authorization/roleDefinitions/{}", Uuid::from_u128(0xbad));
    let whole =
        json!({"roleName": "Role", "permissions": [{"actions": ["*/read"]}], "assignableScopes": [subscription]});
    for (pointer, value, target) in [
        ("/roleName", json!(1), "properties.roleName"),
        ("/roleName", Value::Null, "properties.roleName"),
        ("/permissions", json!("hunter2"), "properties.permissions"),
        ("/permissions/0", json!("hunter2"), "properties.permissions[0]"),
        ("/permissions/0/actions", json!("hunter2"), "properties.permissions[0].actions"),
        ("/assignableScopes", json!(["/", 1]), "properties.assignableScopes"),
    ] {
        let mut properties = whole.clone();
        *properties.pointer_mut(pointer).unwrap() = value;
        let refused = house.put(&role, json!({"properties": properties})).await;
        assert_eq!((refused.status, &refused.body["error"]["target"]), (StatusCode::BAD_REQUEST, &json!(target)));
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(" must be ") && !message.contains("hunter2"), "{message}");
    }
    let mut given = grant(&house, READER, house.stranger().await.0.object_id);
    given["properties"]["condition"] = json!(["hunter2"]);
    let refused = house.put(&assignment(&house.group("rg"), 1), given).await;
    assert_eq!(refused.body["error"]["target"], "properties.condition", "{refused:?}");
}

#[tokio::test]
async fn roles_are_found_by_name_type_and_id() {
    let house = House::found().await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let find = async |filter: &str| {
        let query = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>();
        let path = format!("{subscription}/providers/Microsoft.Authorization/roleDefinitions?$filter={query}");
        let answer = house.get(&path).await;
        let rows = answer.body["value"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
        rows.iter().map(|row| row["properties"]["roleName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(find("roleName eq 'Azure AI Developer'").await, ["Azure AI Developer"]);
    assert_eq!(find("roleName eq 'azure ai user'").await, ["Foundry User"], "former names are understood");
    assert_eq!(find("type eq 'BuiltInRole'").await.len(), 90);
    assert_eq!(find("type eq 'CustomRole'").await.len(), 0);
    assert_eq!(find("atScopeAndBelow()").await.len(), 90);

    let reader = house.get(&role_id(&house, READER)).await;
    assert_eq!(reader.body["id"], role_id(&house, READER));
    let (_, token) = house.stranger().await;
    let tenant = format!("/providers/Microsoft.Authorization/roleDefinitions/{READER}");
    let seen = house.call_as(&token, Method::GET, &tenant, None, &[]).await;
    assert_eq!((seen.status, &seen.body["id"]), (StatusCode::OK, &json!(tenant)), "built-in roles are no secret");
    let there = house.call_as(&token, Method::GET, &role_id(&house, READER), None, &[]).await;
    assert_eq!(there.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_refusal_says_who_can_grant_and_whyaccess_says_why() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let (stranger, token) = house.stranger().await;
    let refused = house.call_as(&token, Method::GET, &group, None, &[]).await;
    let message = refused.body["error"]["message"].as_str().unwrap();
    let action = "Microsoft.Resources/subscriptions/resourceGroups/read";
    for part in [action, &group, "stranger", "granted by", "'bootstrap'", "'admin@bastide.localhost'"] {
        assert!(message.contains(part), "{part}: {message}");
    }

    let team = house.identity.directory().create_group("team").await.unwrap().object_id;
    house.identity.directory().add_member(team, stranger.object_id).await.unwrap();
    let why = async |token: &str, query: &str| {
        house.call_as(token, Method::GET, &format!("{group}/bastide/whyAccess?{query}"), None, &[]).await
    };
    let no = why(&token, &format!("action={action}")).await;
    assert_eq!((no.status, &no.body["allowed"]), (StatusCode::OK, &json!(false)), "{no:?}");
    assert_eq!(no.body["grantors"].as_array().unwrap().len(), 2);
    house.put(&assignment(&group, 1), grant(&house, READER, team)).await;
    let yes = why(&token, &format!("action={action}")).await;
    assert_eq!(yes.body["allowed"], true);
    assert_eq!(yes.body["principal"]["objectId"], json!(stranger.object_id));
    assert_eq!(yes.body["assignments"][0]["groupName"], "team", "{yes:?}");
    assert_eq!(yes.body["assignments"][0]["outcome"]["pattern"], "*/read");

    let of_another = format!("action={action}&principal={}", stranger.object_id);
    assert_eq!(why(&house.token, &of_another).await.body["allowed"], true);
    let (_, outsider) = house.stranger().await;
    assert_eq!(why(&outsider, &of_another).await.code(), "AuthorizationFailed", "others are not theirs to ask about");
    assert_eq!(why(&token, "").await.status, StatusCode::BAD_REQUEST);
    let by_name = format!("action={action}&principal=admin@bastide.localhost");
    assert_eq!(why(&house.token, &by_name).await.body["allowed"], true);
    assert_eq!(why(&outsider, &by_name).await.code(), "AuthorizationFailed", "nor are their names");
    let unknown = format!("action={action}&principal=nobody");
    assert_eq!(why(&house.token, &unknown).await.code(), "PrincipalNotFound");
    assert_eq!(why(&outsider, &unknown).await.code(), "AuthorizationFailed");
}

/// Roles of somebody who cannot sign in let nobody in, and neither can they help.
#[tokio::test]
async fn who_is_gone_or_disabled_is_let_in_nowhere() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let (owner, _) = house.stranger().await;
    house.put(&assignment(&group, 1), grant(&house, OWNER, owner.object_id)).await;
    let action = "Microsoft.Resources/subscriptions/resourceGroups/read";
    let query = format!("{group}/bastide/whyAccess?action={action}&principal={}", owner.object_id);
    let check = json!({"Subject": {"Attributes": {"ObjectId": owner.object_id}}, "Actions": [{"Id": action}]});
    let answers = async || {
        let why = house.get(&query).await.body;
        let path = format!("{group}/providers/Microsoft.Authorization/checkAccess");
        let checked = house.call(Method::POST, &path, Some(check.clone())).await.body;
        let can_help = why["grantors"].to_string().contains(&owner.object_id.to_string());
        let summary = why["summary"].as_str().unwrap().to_owned();
        (why["allowed"] == true, checked[0]["accessDecision"] == "Allowed", can_help, summary)
    };
    let (allowed, checked, can_help, _) = answers().await;
    assert_eq!((allowed, checked, can_help), (true, true, true));

    let directory = house.identity.directory();
    directory.set_enabled(owner.object_id, false).await.unwrap();
    let (allowed, checked, can_help, summary) = answers().await;
    assert_eq!((allowed, checked, can_help), (false, false, false), "{summary}");
    assert!(summary.contains("disabled"), "{summary}");
    let (_, stranger) = house.stranger().await;
    let refused = house.call_as(&stranger, Method::GET, &group, None, &[]).await.body.to_string();
    assert!(!refused.contains(&owner.object_id.to_string()), "nobody is sent to them: {refused}");

    directory.delete(owner.object_id).await.unwrap();
    let (allowed, checked, can_help, summary) = answers().await;
    assert_eq!((allowed, checked, can_help), (false, false, false), "{summary}");
    assert!(summary.contains("no longer"), "{summary}");
    let typo = house.get(&format!("{group}/bastide/whyAccess?action=read")).await;
    assert_eq!(typo.code(), "InvalidParameter", "what is no action is not answered: {typo:?}");
}

#[tokio::test]
async fn permissions_and_checkaccess_answer_for_the_caller() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let (reader, token) = house.stranger().await;
    house.put(&assignment(&group, 1), grant(&house, READER, reader.object_id)).await;
    let path = format!("{group}/providers/Microsoft.Authorization/permissions");
    let blocks = house.call_as(&token, Method::GET, &path, None, &[]).await;
    assert_eq!(blocks.body["value"][0]["actions"], json!(["*/read"]), "{blocks:?}");
    assert_eq!(blocks.body["value"].as_array().unwrap().len(), 1);

    let path = format!("{group}/providers/Microsoft.Authorization/checkAccess");
    let question = json!({
        "Subject": {"Attributes": {"ObjectId": reader.object_id}},
        "Actions": [
            {"Id": "Microsoft.Resources/subscriptions/resourceGroups/read", "IsDataAction": false},
            {"Id": "Microsoft.Resources/subscriptions/resourceGroups/write"},
        ],
    });
    for asker in [&token, &house.token] {
        let checked = house.call_as(asker, Method::POST, &path, Some(question.clone()), &[]).await;
        assert_eq!(checked.body[0]["accessDecision"], "Allowed", "{checked:?}");
        assert_eq!(checked.body[0]["roleAssignment"]["id"], assignment(&group, 1));
        assert_eq!(checked.body[1]["accessDecision"], "NotAllowed");
    }
    let (_, outsider) = house.stranger().await;
    let refused = house.call_as(&outsider, Method::POST, &path, Some(question), &[]).await;
    assert_eq!(refused.code(), "AuthorizationFailed");

    let operations = house.get("/providers/Microsoft.Authorization/providerOperations/microsoft.authorization").await;
    let text = operations.body.to_string();
    assert!(text.contains("Microsoft.Authorization/roleAssignments/write"), "{text}");
    assert_eq!(house.get("/providers/Microsoft.Authorization/providerOperations/None").await.status.as_u16(), 404);
}

#[tokio::test]
async fn whoever_creates_a_hub_owns_it_unless_they_do_already() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (contributor, token) = house.stranger().await;
    house.put(&assignment(&house.group("rg"), 1), grant(&house, CONTRIBUTOR, contributor.object_id)).await;
    let hub = house.hub("rg", "theirs");
    let body = json!({"location": "westeurope", "kind": "hub"});
    let made = house.call_as(&token, Method::PUT, &hub, Some(body), &[]).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    house.make_hub("rg", "ours").await;
    let owners = async |hub: &str| {
        let path = format!("{hub}/providers/Microsoft.Authorization/roleAssignments");
        let listed = house.get(&path).await;
        let rows = listed.body["value"].as_array().unwrap().clone();
        let here = rows.iter().filter(|row| row["properties"]["scope"] == hub);
        here.map(|row| row["properties"]["principalId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(owners(&hub).await, [contributor.object_id.to_string()]);
    assert_eq!(owners(&house.hub("rg", "ours")).await, [] as [String; 0]);
    let (friend, friends) = house.stranger().await;
    let path = assignment(&hub, 2);
    let given = house.call_as(&token, Method::PUT, &path, Some(grant(&house, READER, friend.object_id)), &[]).await;
    assert_eq!(given.status, StatusCode::CREATED, "an owner can let others in: {given:?}");
    assert_eq!(house.call_as(&friends, Method::GET, &hub, None, &[]).await.status, StatusCode::OK);

    assert_eq!(house.call_as(&token, Method::DELETE, &hub, None, &[]).await.status, StatusCode::OK);
    house.make_hub("rg", "theirs").await;
    assert_eq!(owners(&hub).await, [] as [String; 0], "a new hub of that name inherits nothing");
    assert_eq!(house.call_as(&friends, Method::GET, &hub, None, &[]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn ten_thousand_assignments_on_one_scope_are_borne() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let mut write = Write::new("2026-11-22T10:00:00Z".parse().unwrap());
    for number in 0..10_000 {
        let reader = READER.parse().unwrap();
        let row =
            RoleAssignment::new(Uuid::from_u128(number + 1), group.as_str(), reader, Uuid::from_u128(number << 64));
        write.changes.push(Change::PutResource(ResourcePut {
            id: row.id(),
            type_name: "Microsoft.Authorization/roleAssignments".to_owned(),
            incarnation: row.name,
            listed: false,
            tags: BTreeMap::new(),
            body: json!(row),
            by: "test".to_owned(),
            by_type: "User".to_owned(),
        }));
    }
    write.changes.push(Change::RaiseAccessEpoch);
    house.store.commit(write).await.unwrap();

    let (somebody, token) = house.stranger().await;
    let given = house.put(&assignment(&group, 1), grant(&house, READER, somebody.object_id)).await;
    assert_eq!(given.status, StatusCode::CREATED, "{given:?}");
    assert_eq!(house.call_as(&token, Method::GET, &group, None, &[]).await.status, StatusCode::OK);
    let refused = house.call_as(&token, Method::DELETE, &group, None, &[]).await;
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("'bootstrap'"), "{refused:?}");
    let mut page = house.get(&format!("{group}/providers/Microsoft.Authorization/roleAssignments")).await;
    let mut count = names(&page).len();
    while let Some(next) = page.body["nextLink"].as_str() {
        page = house.get(next.strip_prefix("https://localhost:8443").unwrap()).await;
        count += names(&page).len();
    }
    assert_eq!(count, 10_003);
}

/// The name of the n-th assignment of a test.
fn name(number: u128) -> String {
    Uuid::from_u128(0x1d9e_6c2a_0000_4000_8000_0000_0000_0000 + number).to_string()
}

fn assignment(scope: &str, number: u128) -> String {
    format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{}", name(number))
}

fn role_id(house: &House, role: &str) -> String {
    format!("/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{role}", house.subscription)
}

fn grant(house: &House, role: &str, principal: Uuid) -> Value {
    json!({"properties": {"roleDefinitionId": role_id(house, role), "principalId": principal}})
}

async fn list(house: &House, scope: &str, filter: &str, principal: Uuid) -> Answer {
    let filter = filter.replace("{}", &principal.to_string());
    let query = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>();
    house.get(&format!("{scope}/providers/Microsoft.Authorization/roleAssignments?$filter={query}")).await
}

fn names(list: &Answer) -> Vec<&str> {
    let rows = list.body["value"].as_array().unwrap_or_else(|| panic!("no list: {list:?}"));
    rows.iter().map(|row| row["name"].as_str().unwrap()).collect()
}
