//! Policies: what they forbid, change and put on record, on every way a resource is written.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use bastide_arm::clock::Clock;
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use support::{Answer, House};

const LOCATIONS: &str = "e56962a6-4747-49cd-b67b-bf8b01975c4c";
const REQUIRE_TAG: &str = "871b6d14-10aa-478d-b590-94f262ecfa99";
const REQUIRE_TAG_ON_GROUPS: &str = "96670d01-0a4d-4649-9c89-2d3abc0a5025";
const INHERIT_TAG: &str = "cd3aa116-8754-49c9-a813-ad46512ece54";
const CLOSED: &str = "438c38d2-3772-465a-a9cc-7a6666a275ce";
const CLOSE: &str = "a10ee784-7409-4941-b091-663697637c0f";
const APPROVED: &str = "3aa1cb03-a9fb-5671-a5cc-5f2132cb39ce";
const CUSTOMER_KEY: &str = "ba769a63-b8cc-4b2d-abf6-ac33c7204be8";
const DESTINATIONS: &str = "7efcb1fd-7d41-587a-8dc0-03a36fbcee62";
const SIZES: &str = "aaf03517-2830-5569-87c3-3f730d59c235";
const BASELINE: &str = "/providers/Microsoft.Authorization/policySetDefinitions/38e2011a-da3a-57be-aea9-b19e281dab0d";

#[tokio::test]
async fn a_refusal_names_the_policy_and_its_assignment() {
    let house = House::found().await;
    house.make_group("rg").await;
    let more = json!({
        "displayName": "EU only",
        "nonComplianceMessages": [{"message": "Data stays in the EU."}],
    });
    let assignment = assign_with(&house, &house.group("rg"), LOCATIONS, locations(&["westeurope"]), more).await;
    let refused = house.put(&house.hub("rg", "hub"), json!({"location": "eastus", "kind": "hub"})).await;
    disallowed(&refused, LOCATIONS);
    let error = &refused.body["error"];
    let message = error["message"].as_str().unwrap();
    for part in [
        "Resource 'hub' was disallowed by policy.",
        "Data stays in the EU.",
        "EU only",
        "Allowed locations",
        &assignment,
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(error["target"], "hub");
    let violation = &error["additionalInfo"][0];
    assert_eq!(violation["type"], "PolicyViolation");
    assert_eq!(violation["info"]["policyAssignmentId"], assignment);
    assert_eq!(violation["info"]["policyDefinitionId"], builtin(LOCATIONS));
    assert_eq!(violation["info"]["policyDefinitionEffect"], "deny");
    let compared = &violation["info"]["evaluationDetails"]["evaluatedExpressions"][0];
    assert_eq!(
        (compared["expression"].as_str(), compared["expressionValue"].as_str()),
        (Some("location"), Some("eastus"))
    );
    assert_eq!(house.get(&house.hub("rg", "hub")).await.status, StatusCode::NOT_FOUND);
    house.make_hub("rg", "hub").await;
}

#[tokio::test]
async fn a_policy_holds_from_the_next_request_on_and_no_longer_than_it_is_assigned() {
    let house = House::found().await;
    house.make_group("rg").await;
    for turn in 0..5 {
        let hub = house.hub("rg", &format!("hub{turn}"));
        let assignment = assign(&house, &house.group("rg"), LOCATIONS, locations(&["northeurope"])).await;
        disallowed(&house.put(&hub, json!({"location": "westeurope", "kind": "hub"})).await, LOCATIONS);
        assert_eq!(house.call(Method::DELETE, &assignment, None).await.status, StatusCode::OK);
        assert_eq!(house.put(&hub, json!({"location": "westeurope", "kind": "hub"})).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn every_way_of_writing_is_governed() {
    let house = House::found().await;
    house.make_group("rg").await;
    let hub = house.hub("rg", "hub");
    let tagged = json!({"location": "westeurope", "kind": "hub", "tags": {"cost": "7"}});
    assert_eq!(house.put(&hub, tagged.clone()).await.status, StatusCode::OK);
    let subscription = format!("/subscriptions/{}", house.subscription);
    assign(&house, &subscription, REQUIRE_TAG, json!({"tagName": {"value": "cost"}})).await;
    assign(&house, &subscription, REQUIRE_TAG_ON_GROUPS, json!({"tagName": {"value": "cost"}})).await;

    disallowed(&house.put(&house.group("other"), json!({"location": "westeurope"})).await, REQUIRE_TAG_ON_GROUPS);
    disallowed(&house.put(&hub, json!({"location": "westeurope", "kind": "hub"})).await, REQUIRE_TAG);
    disallowed(&house.call(Method::PATCH, &hub, Some(json!({"tags": {"x": "1"}}))).await, REQUIRE_TAG);
    let tags = format!("{hub}/providers/Microsoft.Resources/tags/default");
    disallowed(&house.call(Method::DELETE, &tags, None).await, REQUIRE_TAG);
    disallowed(&house.put(&tags, json!({"properties": {"tags": {}}})).await, REQUIRE_TAG);
    let patch = json!({"operation": "Delete", "properties": {"tags": {"cost": "7"}}});
    disallowed(&house.call(Method::PATCH, &tags, Some(patch)).await, REQUIRE_TAG);
    assert_eq!(house.get(&hub).await.body["tags"], json!({"cost": "7"}), "nothing of it was written");

    let described =
        json!({"location": "westeurope", "kind": "hub", "tags": {"COST": "8"}, "properties": {"description": "x"}});
    assert_eq!(house.put(&hub, described).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &hub, None).await.status, StatusCode::OK, "going is never forbidden");
}

#[tokio::test]
async fn templates_are_refused_before_anything_of_them_is_deployed() {
    let house = House::found().await;
    house.make_group("rg").await;
    assign(&house, &house.group("rg"), LOCATIONS, locations(&["westeurope"])).await;
    let identity = |name: &str, location: &str| {
        json!({
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2023-01-31",
            "name": name, "location": location,
        })
    };
    let nested = json!({
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner",
        "properties": {"mode": "Incremental", "template": template(&json!([identity("inside", "eastus2")]))},
    });
    let bad = deployment(&json!([identity("good", "westeurope"), identity("bad", "eastus"), nested]));
    let path = format!("{}/providers/Microsoft.Resources/deployments/d", house.group("rg"));
    for (method, path) in [
        (Method::POST, format!("{path}/validate")),
        (Method::POST, format!("{path}/whatIf")),
        (Method::PUT, path.clone()),
    ] {
        let refused = house.call(method.clone(), &path, Some(bad.clone())).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (400, "InvalidTemplateDeployment"),
            "{method} {path}: {refused:?}"
        );
        let details = refused.body["error"]["details"].as_array().unwrap();
        let targets: Vec<&str> = details.iter().map(|detail| detail["target"].as_str().unwrap()).collect();
        assert_eq!(targets, ["bad", "inside"], "{refused:?}");
        assert!(details.iter().all(|detail| detail["code"] == "RequestDisallowedByPolicy"));
    }
    assert_eq!(house.get(&house.identity_id("rg", "good")).await.status, StatusCode::NOT_FOUND);

    let good = house.put(&path, deployment(&json!([identity("good", "westeurope")]))).await;
    assert!(good.status.is_success(), "{good:?}");
}

#[tokio::test]
async fn what_a_template_leaves_to_the_type_is_not_held_against_it() {
    let house = House::found().await;
    house.make_group("rg").await;
    let rule = json!({"allOf": [
        {"field": "type", "equals": "Microsoft.KeyVault/vaults"},
        {"field": "Microsoft.KeyVault/vaults/enableSoftDelete", "notEquals": true},
    ]});
    define(&house, "soft-delete", rule, json!({"effect": "deny"})).await;
    assign(&house, &house.group("rg"), "soft-delete", json!({})).await;
    let vault = json!({
        "type": "Microsoft.KeyVault/vaults", "apiVersion": "2023-07-01", "name": "vault-of-mine", "location": "westeurope",
        "properties": {"tenantId": house.tenant, "sku": {"family": "A", "name": "standard"}, "accessPolicies": []},
    });
    let path = format!("{}/providers/Microsoft.Resources/deployments/d", house.group("rg"));
    let validated = house.call(Method::POST, &format!("{path}/validate"), Some(deployment(&json!([vault])))).await;
    assert_eq!(validated.status, StatusCode::OK, "{validated:?}");
}

#[tokio::test]
async fn children_and_rules_in_the_body_of_a_hub_are_governed() {
    let house = House::found().await;
    house.make_group("rg").await;
    let allowed = json!({"allowedDestinations": {"value": ["*.pypi.org"]}});
    assign(&house, &house.group("rg"), DESTINATIONS, allowed).await;
    let hub = house.hub("rg", "hub");
    let body = |destination: &str| {
        json!({
            "location": "westeurope", "kind": "hub",
            "properties": {"managedNetwork": {
                "isolationMode": "AllowOnlyApprovedOutbound",
                "outboundRules": {"one": {"type": "FQDN", "category": "UserDefined", "destination": destination}},
            }},
        })
    };
    disallowed(&house.put(&hub, body("evil.example")).await, DESTINATIONS);
    assert_eq!(house.get(&hub).await.status, StatusCode::NOT_FOUND, "the hub was not made either");
    assert_eq!(house.put(&hub, body("files.pypi.org")).await.status, StatusCode::OK);
    let rule = |destination: &str| json!({"properties": {"type": "FQDN", "destination": destination}});
    disallowed(&house.put(&format!("{hub}/outboundRules/two"), rule("evil.example")).await, DESTINATIONS);
    let made = house.put(&format!("{hub}/outboundRules/two"), rule("test.pypi.org")).await;
    assert!(made.status.is_success(), "{made:?}");
}

#[tokio::test]
async fn hubs_are_held_to_network_access_and_key() {
    let house = House::found().await;
    house.make_group("rg").await;
    let group = house.group("rg");
    let deny = json!({"effect": {"value": "Deny"}});
    let body = |properties: Value| json!({"location": "westeurope", "kind": "hub", "properties": properties});
    let approved = json!({"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}});
    for (policy, good) in
        [(APPROVED, Some(approved)), (CLOSED, Some(json!({"publicNetworkAccess": "Disabled"}))), (CUSTOMER_KEY, None)]
    {
        let assignment = assign(&house, &group, policy, deny.clone()).await;
        disallowed(&house.put(&house.hub("rg", "hub"), body(json!({}))).await, policy);
        if let Some(good) = good {
            let made = house.put(&house.hub("rg", "hub"), body(good)).await;
            assert_eq!(made.status, StatusCode::OK, "{made:?}");
            house.call(Method::DELETE, &format!("{}?forceToPurge=true", house.hub("rg", "hub")), None).await;
        }
        assert_eq!(house.call(Method::DELETE, &assignment, None).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_policy_on_a_hub_holds_for_its_projects() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_group("elsewhere").await;
    let hub = house.make_hub("rg", "hub").await;
    assign(&house, &house.hub("rg", "hub"), REQUIRE_TAG, json!({"tagName": {"value": "cost"}})).await;
    let project = |tags: Value| json!({"location": "westeurope", "kind": "project", "tags": tags, "properties": {"hubResourceId": hub["id"]}});
    let id = house.hub("elsewhere", "project");
    disallowed(&house.put(&id, project(json!({}))).await, REQUIRE_TAG);
    let made = house.put(&id, project(json!({"cost": "7"}))).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    house.make_hub("elsewhere", "another").await;

    let states = query(&house, &house.group("elsewhere"), "").await;
    let of: Vec<&str> = states.iter().map(|state| state["resourceId"].as_str().unwrap()).collect();
    assert_eq!(of, [id.as_str()], "the project has a state, the other hub has none");

    // What is in a project is governed by what is assigned to the hub, too.
    let rule = json!({"allOf": [
        {"field": "type", "equals": "Microsoft.MachineLearningServices/workspaces/connections"},
        {"field": "Microsoft.MachineLearningServices/workspaces/connections/category", "notEquals": "Git"},
    ]});
    define(&house, "git-only", rule, json!({"effect": "deny"})).await;
    assign(&house, &house.hub("rg", "hub"), "git-only", json!({})).await;
    let connection = json!({"properties": {
        "category": "CustomKeys", "authType": "CustomKeys", "target": "_", "credentials": {"keys": {"k": "never-shown-value"}},
    }});
    let refused = house.put(&format!("{id}/connections/keys"), connection).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "RequestDisallowedByPolicy"), "{refused:?}");
    assert!(!refused.body.to_string().contains("never-shown-value"), "{refused:?}");
}

#[tokio::test]
async fn requests_are_changed_as_policies_want_it() {
    let house = House::found().await;
    let tags = json!({"location": "westeurope", "tags": {"owner": "mei"}});
    assert!(house.put(&house.group("rg"), tags).await.status.is_success());
    let group = house.group("rg");
    assign(&house, &group, INHERIT_TAG, json!({"tagName": {"value": "owner"}})).await;
    assign(&house, &group, CLOSE, json!({})).await;
    let hub = house.make_hub("rg", "hub").await;
    assert_eq!(hub["tags"], json!({"owner": "mei"}));
    assert_eq!(hub["properties"]["publicNetworkAccess"], "Disabled");
    let patched =
        house.call(Method::PATCH, &house.hub("rg", "hub"), Some(json!({"tags": {"owner": "tomas", "x": "1"}}))).await;
    assert_eq!(patched.body["tags"], json!({"owner": "mei", "x": "1"}), "{patched:?}");
    let path = format!("{}/providers/Microsoft.Resources/tags/default", house.hub("rg", "hub"));
    let replaced = house.put(&path, json!({"properties": {"tags": {"y": "2"}}})).await;
    assert_eq!(replaced.body["properties"]["tags"], json!({"owner": "mei", "y": "2"}), "{replaced:?}");
    let again = house.make_hub("rg", "hub").await;
    assert_eq!(again["tags"], json!({"owner": "mei"}));
}

#[tokio::test]
async fn an_audit_lets_through_and_is_told() {
    let house = House::found().await;
    house.make_group("rg").await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let assignment = format!("{}/providers/Microsoft.Authorization/policyAssignments/baseline", house.group("rg"));
    let body = json!({"properties": {"policyDefinitionId": BASELINE}});
    assert_eq!(house.put(&assignment, body).await.status, StatusCode::CREATED);
    house.make_hub("rg", "hub").await;
    let states = query(&house, &subscription, "").await;
    assert_eq!(states.len(), 3);
    assert!(states.iter().all(|state| state["complianceState"] == "NonCompliant" && state["isCompliant"] == false));
    assert_eq!(query(&house, &subscription, "&$filter=complianceState eq 'Compliant'").await.len(), 0);
    let closed = format!(
        "&$filter=policyDefinitionId eq '{}' and IsCompliant eq false&$select=resourceId&$top=1",
        builtin(CLOSED)
    );
    assert_eq!(query(&house, &subscription, &closed).await, [json!({"resourceId": house.hub("rg", "hub")})]);

    let summary = house.call(Method::POST, &states_at(&subscription, "summarize"), None).await;
    let summary = &summary.body["value"][0];
    assert_eq!(summary["results"]["nonCompliantResources"], 1, "{summary}");
    assert_eq!(summary["results"]["nonCompliantPolicies"], 3);
    assert_eq!(summary["policyAssignments"][0]["policyAssignmentId"], assignment);
    assert_eq!(summary["policyAssignments"][0]["policyDefinitions"].as_array().unwrap().len(), 3);
    let triggered = house.call(Method::POST, &states_at(&subscription, "triggerEvaluation"), None).await;
    assert_eq!(triggered.status, StatusCode::OK);

    let events = events(&house).await;
    let audited =
        events.iter().find(|event| event["operationName"]["value"] == "Microsoft.Authorization/policies/audit/action");
    let audited = audited.unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(audited["resourceId"], house.hub("rg", "hub"));
    assert_eq!(audited["category"]["value"], "Policy");
    assert!(audited["properties"]["policies"].as_str().unwrap().contains("baseline"), "{audited}");
}

#[tokio::test]
async fn a_refusal_is_on_record_with_the_policy() {
    let house = House::found().await;
    house.make_group("rg").await;
    let assignment = assign(&house, &house.group("rg"), LOCATIONS, locations(&["westeurope"])).await;
    house.put(&house.hub("rg", "hub"), json!({"location": "eastus", "kind": "hub"})).await;
    let events = events(&house).await;
    let refused = events.iter().find(|event| event["subStatus"]["value"] == "RequestDisallowedByPolicy");
    let refused = refused.unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(
        (refused["status"]["value"].as_str(), refused["category"]["value"].as_str()),
        (Some("Failed"), Some("Policy"))
    );
    assert!(refused["properties"]["policies"].as_str().unwrap().contains(&assignment), "{refused}");
}

#[tokio::test]
async fn exemptions_hold_until_their_day_and_take_a_right_on_the_assignment() {
    let house = House::found().await;
    house.make_group("rg").await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let assignment = assign(&house, &subscription, LOCATIONS, locations(&["northeurope"])).await;
    let exemption = format!("{}/providers/Microsoft.Authorization/policyExemptions/e", house.group("rg"));
    let until = house.clock.now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let body = json!({"properties": {
        "policyAssignmentId": assignment, "exemptionCategory": "waiver", "expiresOn": until.to_string(),
    }});
    // Whoever may do everything in the group may still not free it from what the subscription wants.
    let (mallory, token) = house.stranger().await;
    house.grant_at(&house.group("rg"), mallory.object_id, "8e3af657-a8ff-443c-a75c-2fe8c4bcb635").await;
    let refused = house.call_as(&token, Method::PUT, &exemption, Some(body.clone()), &[]).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "LinkedAuthorizationFailed"), "{refused:?}");
    let made = house.put(&exemption, body.clone()).await;
    assert_eq!((made.status, &made.body["properties"]["exemptionCategory"]), (StatusCode::CREATED, &json!("Waiver")));
    assert_eq!(house.put(&exemption, body).await.status, StatusCode::OK);
    house.make_hub("rg", "hub").await;
    assert_eq!(query(&house, &house.group("rg"), "").await[0]["complianceState"], "Exempt");
    let list = format!("{}/providers/Microsoft.Authorization/policyExemptions", house.group("rg"));
    assert_eq!(house.get(&format!("{list}?$filter=excludeExpired()")).await.body["value"], json!([made.body]));

    house.clock.advance(SignedDuration::from_hours(2));
    let token = house.log_in_admin().await;
    let late = house
        .call_as(
            &token,
            Method::PUT,
            &house.hub("rg", "late"),
            Some(json!({"location": "westeurope", "kind": "hub"})),
            &[],
        )
        .await;
    disallowed(&late, LOCATIONS);
    let left = house.call_as(&token, Method::GET, &format!("{list}?$filter=excludeExpired()"), None, &[]).await;
    assert_eq!(left.body["value"], json!([]));
}

#[tokio::test]
async fn left_out_scopes_and_unenforced_assignments_let_through() {
    let house = House::found().await;
    house.make_group("rg").await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let unenforced = json!({"enforcementMode": "DoNotEnforce"});
    assign_with(&house, &subscription, LOCATIONS, locations(&["northeurope"]), unenforced).await;
    let elsewhere = json!({"notScopes": [house.group("rg")]});
    assign_with(&house, &subscription, LOCATIONS, locations(&["northeurope"]), elsewhere).await;
    house.make_hub("rg", "hub").await;
    let states =
        query(&house, &subscription, "&$filter=resourceType eq 'Microsoft.MachineLearningServices/workspaces'").await;
    assert_eq!(states.len(), 1, "of the one that is not enforced: {states:?}");
    assert_eq!(states[0]["complianceState"], "NonCompliant");
}

#[tokio::test]
async fn definitions_are_made_listed_changed_and_deleted() {
    let house = House::found().await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let rule = json!({"field": "name", "like": "[concat(parameters('prefix'), '*')]"});
    let properties = json!({
        "displayName": "No names like this", "mode": "all", "parameters": {"prefix": {"type": "String"}},
        "metadata": {"category": "Names"},
        "policyRule": {"if": rule, "then": {"effect": "deny"}},
    });
    let id = format!("{subscription}/providers/Microsoft.Authorization/policyDefinitions/names");
    let made = house.put(&id, json!({"properties": properties})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.body["type"], "Microsoft.Authorization/policyDefinitions");
    assert_eq!(made.body["properties"]["policyType"], "Custom");
    assert_eq!(made.body["properties"]["mode"], "All");
    assert_eq!(made.body["properties"]["metadata"]["createdOn"], "2026-11-22T10:00:00Z");
    let again = house.put(&id, json!({"properties": properties})).await;
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &made.body), "clients take nothing but 201");
    assert_eq!(house.get(&id.to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions")).await.body, made.body);
    let list = format!("{subscription}/providers/Microsoft.Authorization/policyDefinitions");
    assert_eq!(
        house.get(&format!("{list}?$filter=policyType%20eq%20'Custom'")).await.body["value"],
        json!([made.body])
    );
    assert_eq!(house.get(&format!("{list}?$filter=category%20eq%20'names'")).await.body["value"], json!([made.body]));
    let builtin_ones = house.get(&format!("{list}?$filter=policyType%20eq%20'BuiltIn'")).await;
    assert!(builtin_ones.body["value"].as_array().unwrap().len() > 30);
    let versions = house.get(&format!("{id}/versions")).await;
    assert_eq!(versions.body["value"][0]["name"], "1.0.0");
    assert_eq!(house.get(&format!("{id}/versions/1.0.0")).await.status, StatusCode::OK);

    // Built-in ones are found where az looks for them.
    for path in [
        builtin(LOCATIONS),
        format!("/providers/Microsoft.Management/managementGroups/{LOCATIONS}{}", builtin(LOCATIONS)),
    ] {
        let found = house.get(&path).await;
        assert_eq!(
            (found.status, found.body["id"].as_str()),
            (StatusCode::OK, Some(builtin(LOCATIONS).as_str())),
            "{path}"
        );
    }
    assert_eq!(house.get(&builtin("names")).await.code(), "PolicyDefinitionNotFound");

    // What is assigned can neither go nor change under its assignment.
    house.make_group("rg").await;
    let assignment = assign(&house, &house.group("rg"), "names", json!({"prefix": {"value": "tmp"}})).await;
    let refused = house.call(Method::DELETE, &id, None).await;
    assert_eq!(refused.code(), "InvalidDeletePolicyDefinitionRequest", "{refused:?}");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("policyAssignments"), "{refused:?}");
    let mut renamed = properties.clone();
    renamed["parameters"] = json!({"other": {"type": "String"}});
    renamed["policyRule"]["if"] = json!({"field": "name", "like": "[parameters('other')]"});
    let refused = house.put(&id, json!({"properties": renamed})).await;
    assert_eq!(refused.code(), "InvalidPolicyDefinition", "{refused:?}");
    let named = house.hub("rg", "tmp1");
    assert_eq!(
        house.put(&named, json!({"location": "westeurope", "kind": "hub"})).await.code(),
        "RequestDisallowedByPolicy"
    );
    assert_eq!(house.call(Method::DELETE, &assignment, None).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &assignment, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(house.call(Method::DELETE, &id, None).await.status, StatusCode::OK);
    assert_eq!(house.call(Method::DELETE, &id, None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn initiatives_are_made_and_assigned() {
    let house = House::found().await;
    house.make_group("rg").await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let id = format!("{subscription}/providers/Microsoft.Authorization/policySetDefinitions/tags");
    let set = json!({"properties": {
        "parameters": {"first": {"type": "String"}},
        "policyDefinitions": [
            {"policyDefinitionId": builtin(REQUIRE_TAG), "policyDefinitionReferenceId": "first",
             "parameters": {"tagName": {"value": "[parameters('first')]"}}},
            {"policyDefinitionId": builtin(LOCATIONS), "policyDefinitionReferenceId": "place",
             "parameters": locations(&["westeurope"])},
        ],
    }});
    let made = house.put(&id, set.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(house.put(&id, set).await.status, StatusCode::OK);
    let assignment = format!("{}/providers/Microsoft.Authorization/policyAssignments/tags", house.group("rg"));
    let body = json!({"properties": {
        "policyDefinitionId": id, "parameters": {"first": {"value": "cost"}},
        "nonComplianceMessages": [
            {"message": "See the wiki."},
            {"message": "Say who pays.", "policyDefinitionReferenceId": "first"},
        ],
    }});
    let assigned = house.put(&assignment, body).await;
    assert_eq!(assigned.status, StatusCode::CREATED, "{assigned:?}");
    let refused = house.put(&house.hub("rg", "hub"), json!({"location": "eastus", "kind": "hub"})).await;
    let infos = refused.body["error"]["additionalInfo"].as_array().unwrap();
    let references: Vec<&str> =
        infos.iter().map(|info| info["info"]["policyDefinitionReferenceId"].as_str().unwrap()).collect();
    assert_eq!(references, ["first", "place"], "{refused:?}");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Say who pays.', 'See the wiki."), "{message}");
    assert_eq!(house.call(Method::DELETE, &id, None).await.code(), "InvalidDeletePolicySetDefinitionRequest");
    let exemption = format!("{}/providers/Microsoft.Authorization/policyExemptions/e", house.group("rg"));
    let exempt = |reference: &str| {
        json!({"properties": {
            "policyAssignmentId": assignment, "exemptionCategory": "Mitigated", "policyDefinitionReferenceIds": [reference],
        }})
    };
    assert_eq!(house.put(&exemption, exempt("none")).await.code(), "InvalidPolicyExemption");
    assert_eq!(house.put(&exemption, exempt("PLACE")).await.status, StatusCode::CREATED);
    let refused = house.put(&house.hub("rg", "hub"), json!({"location": "eastus", "kind": "hub"})).await;
    disallowed(&refused, REQUIRE_TAG);
    let tagged = json!({"location": "eastus", "kind": "hub", "tags": {"cost": "1"}});
    assert_eq!(house.put(&house.hub("rg", "hub"), tagged).await.status, StatusCode::OK);
}

#[tokio::test]
async fn assignments_are_listed_by_reach_and_carry_an_identity() {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let above = assign(&house, &subscription, LOCATIONS, locations(&["westeurope"])).await;
    let at = assign(&house, &house.group("rg"), REQUIRE_TAG_ON_GROUPS, json!({"tagName": {"value": "x"}})).await;
    let below =
        assign(&house, &house.hub("rg", "hub"), REQUIRE_TAG_ON_GROUPS, json!({"tagName": {"value": "x"}})).await;
    for (filter, mut expected) in [
        ("", vec![&above, &at, &below]),
        ("?$filter=atScope()", vec![&above, &at]),
        ("?$filter=atExactScope()", vec![&at]),
        ("?$filter=atScopeAndBelow()", vec![&at, &below]),
        (&format!("?$filter=policyDefinitionId%20eq%20'{}'", builtin(LOCATIONS)), vec![&above]),
    ] {
        let list = house
            .get(&format!("{}/providers/Microsoft.Authorization/policyAssignments{filter}", house.group("rg")))
            .await;
        let mut ids: Vec<&str> =
            list.body["value"].as_array().unwrap().iter().map(|found| found["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        expected.sort();
        assert_eq!(ids, expected, "{filter}");
    }
    let id = format!("{}/providers/Microsoft.Authorization/policyAssignments/with-identity", house.group("rg"));
    let body = json!({
        "location": "westeurope", "identity": {"type": "SystemAssigned"},
        "properties": {"policyDefinitionId": builtin(INHERIT_TAG), "parameters": {"tagName": {"value": "owner"}}},
    });
    let made = house.put(&id, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let principal = made.body["identity"]["principalId"].as_str().unwrap().to_owned();
    let patch = json!({"identity": {"type": "None"}});
    let patched = house.call(Method::PATCH, &id, Some(patch)).await;
    assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
    assert_eq!(patched.body["properties"]["parameters"], json!({"tagName": {"value": "owner"}}));
    assert_ne!(patched.body["identity"]["principalId"], principal);
    // What hangs on a group goes with it.
    let deleted = house.call(Method::DELETE, &house.group("rg"), None).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    for _ in 0..200 {
        if house.get(&house.group("rg")).await.status == StatusCode::NOT_FOUND {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let list = house.get(&format!("{subscription}/providers/Microsoft.Authorization/policyAssignments")).await;
    assert_eq!(list.body["value"].as_array().unwrap().len(), 1, "{list:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let house = House::found().await;
    house.make_group("rg").await;
    let admin = house.log_in_admin().await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let definition = |name: &str| format!("{subscription}/providers/Microsoft.Authorization/policyDefinitions/{name}");
    let at = |scope: &str| format!("{scope}/providers/Microsoft.Authorization/policyAssignments/a");
    let exemption = format!("{}/providers/Microsoft.Authorization/policyExemptions/e", house.group("rg"));
    let rule = |condition: Value, effect: &str| json!({"properties": {"policyRule": {"if": condition, "then": {"effect": effect}}}});
    let always = json!({"field": "type", "exists": true});
    let assigned =
        |id: &str, parameters: Value| json!({"properties": {"policyDefinitionId": id, "parameters": parameters}});
    let foreign = format!("/subscriptions/00000000-0000-0000-0000-00000000dead{}", builtin("x"));
    let cases = [
        (definition("d"), json!({}), 400, "InvalidParameter"),
        (definition("d"), json!({"properties": {}}), 400, "InvalidPolicyRule"),
        (definition("d"), rule(json!({"field": "nme", "equals": 1}), "deny"), 400, "InvalidPolicyAlias"),
        (definition("d"), rule(always.clone(), "denyAction"), 400, "UnsupportedPolicyEffect"),
        (definition("d"), rule(always.clone(), "deployIfNotExists"), 400, "UnsupportedPolicyEffect"),
        (definition("d"), json!({"properties": {"policyType": "BuiltIn"}}), 400, "InvalidParameter"),
        (at(&house.group("rg")), json!({"properties": {}}), 400, "InvalidPolicyAssignment"),
        (at(&house.group("rg")), assigned(&builtin("none"), json!({})), 404, "PolicyDefinitionNotFound"),
        (at(&house.group("rg")), assigned(&foreign, json!({})), 404, "PolicyDefinitionNotFound"),
        (at(&house.group("rg")), assigned(&builtin(LOCATIONS), json!({})), 400, "MissingPolicyParameter"),
        (
            at(&house.group("rg")),
            assigned(&builtin(LOCATIONS), json!({"x": {"value": 1}})),
            400,
            "UndefinedPolicyParameter",
        ),
        (at(&house.group("none")), assigned(&builtin(SIZES), json!({})), 404, "ResourceGroupNotFound"),
        (at(""), assigned(&builtin(CLOSED), json!({})), 400, "InvalidPolicyScope"),
        (exemption.clone(), json!({"properties": {"exemptionCategory": "Waiver"}}), 400, "InvalidPolicyExemption"),
        (
            exemption,
            json!({"properties": {"exemptionCategory": "Waiver", "policyAssignmentId": at(&house.group("rg"))}}),
            404,
            "PolicyAssignmentNotFound",
        ),
    ];
    for (path, body, status, code) in cases {
        let answer = house.call_as(&admin, Method::PUT, &path, Some(body.clone()), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path} {body}: {answer:?}");
    }
    let query = house
        .call(Method::POST, &format!("{}?$apply=aggregate($count)", states_at(&subscription, "queryResults")), None)
        .await;
    assert_eq!(query.code(), "InvalidQueryOption", "{query:?}");
}

#[tokio::test]
async fn policies_are_administrators_business() {
    let house = House::found().await;
    house.make_group("rg").await;
    let (contributor, token) = house.stranger().await;
    house.grant(contributor.object_id, "b24988ac-6180-42a0-ab88-20f7382dd24c").await;
    let assignment = assign(&house, &house.group("rg"), LOCATIONS, locations(&["westeurope"])).await;
    for (method, body) in [(Method::DELETE, None), (Method::PUT, Some(json!({})))] {
        let refused = house.call_as(&token, method, &assignment, body, &[]).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (403, "AuthorizationFailed"), "{refused:?}");
    }
    let eastern = json!({"location": "eastus", "kind": "hub"});
    disallowed(&house.call_as(&token, Method::PUT, &house.hub("rg", "hub"), Some(eastern), &[]).await, LOCATIONS);
}

fn disallowed(answer: &Answer, policy: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "RequestDisallowedByPolicy"), "{answer:?}");
    let info = &answer.body["error"]["additionalInfo"];
    assert_eq!(info[0]["info"]["policyDefinitionId"], builtin(policy), "{answer:?}");
    assert_eq!(info.as_array().unwrap().len(), 1, "{answer:?}");
}

fn builtin(name: &str) -> String {
    format!("/providers/Microsoft.Authorization/policyDefinitions/{name}")
}

fn locations(allowed: &[&str]) -> Value {
    json!({"listOfAllowedLocations": {"value": allowed}})
}

async fn assign(house: &House, scope: &str, policy: &str, parameters: Value) -> String {
    assign_with(house, scope, policy, parameters, json!({})).await
}

/// Assigns a built-in definition by its GUID, or one of the subscription by its name; the id of the assignment.
async fn assign_with(house: &House, scope: &str, policy: &str, parameters: Value, more: Value) -> String {
    let at = if policy.len() == 36 { String::new() } else { format!("/subscriptions/{}", house.subscription) };
    let mut properties = json!({"policyDefinitionId": format!("{at}{}", builtin(policy)), "parameters": parameters});
    properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let name = uuid::Uuid::new_v4();
    let id = format!("{scope}/providers/Microsoft.Authorization/policyAssignments/{name}");
    let made = house.put(&id, json!({"properties": properties})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.body["id"], id);
    id
}

async fn define(house: &House, name: &str, condition: Value, then: Value) {
    let id = format!("/subscriptions/{}{}", house.subscription, builtin(name));
    let properties = json!({"mode": "All", "policyRule": {"if": condition, "then": then}});
    let made = house.put(&id, json!({"properties": properties})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

fn states_at(scope: &str, deed: &str) -> String {
    format!("{scope}/providers/Microsoft.PolicyInsights/policyStates/latest/{deed}")
}

async fn query(house: &House, scope: &str, options: &str) -> Vec<Value> {
    let path = format!("{}?api-version=2019-10-01{}", states_at(scope, "queryResults"), options.replace(' ', "%20"));
    let answer = house.call(Method::POST, &path, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["value"].as_array().unwrap().clone()
}

async fn events(house: &House) -> Vec<Value> {
    let path =
        format!("/subscriptions/{}/providers/Microsoft.Insights/eventtypes/management/values", house.subscription);
    let filter = "?$filter=eventTimestamp%20ge%20'2026-11-22T00:00:00Z'";
    house.get(&format!("{path}{filter}")).await.body["value"].as_array().unwrap().clone()
}

fn template(resources: &Value) -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": resources,
    })
}

fn deployment(resources: &Value) -> Value {
    json!({"properties": {"mode": "Incremental", "template": template(resources)}})
}
