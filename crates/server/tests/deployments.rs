//! Templates, deployed through the front door.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]
#![allow(clippy::needless_pass_by_value, reason = "tests read better so, and may stop")]

mod support;

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House, Options};

const API: &str = "api-version=2022-09-01";

async fn house() -> House {
    let house = House::found_with(Options { generic_resources: true, ..Options::default() }).await;
    house.make_group("rg").await;
    house
}

fn deployment(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Microsoft.Resources/deployments/{name}?{API}")
}

fn below(scope: &str, name: &str, rest: &str) -> String {
    format!("{scope}/providers/Microsoft.Resources/deployments/{name}/{rest}?{API}")
}

fn template(sections: Value) -> Value {
    let mut template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [],
    });
    merge(&mut template, sections);
    template
}

fn merge(target: &mut Value, members: Value) {
    if let (Some(target), Value::Object(members)) = (target.as_object_mut(), members) {
        target.extend(members);
    }
}

fn incremental(template: Value) -> Value {
    json!({"properties": {"mode": "incremental", "template": template}})
}

fn with_parameters(template: Value, parameters: Value) -> Value {
    json!({"properties": {"mode": "Incremental", "template": template, "parameters": parameters}})
}

fn identity(name: &str, members: Value) -> Value {
    let mut resource = json!({
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "apiVersion": "2023-01-31",
        "name": name,
        "location": "westeurope",
    });
    merge(&mut resource, members);
    resource
}

fn thing(name: &str, members: Value) -> Value {
    let mut resource = json!({"type": "Contoso.Test/things", "apiVersion": "2024-01-01", "name": name});
    merge(&mut resource, members);
    resource
}

fn nested(name: &str, members: Value, properties: Value) -> Value {
    let mut resource = json!({
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": name,
        "properties": {"mode": "Incremental"},
    });
    merge(&mut resource, members);
    merge(&mut resource["properties"], properties);
    resource
}

/// Ids of things below the group `rg`.
fn thing_id(house: &House, name: &str) -> String {
    format!("{}/providers/Contoso.Test/things/{name}", house.group("rg"))
}

impl House {
    /// Deploys to the group `rg` and waits for the end; the deployment as it is then.
    async fn deploy(&self, name: &str, body: Value) -> Answer {
        self.deploy_at(&self.group("rg"), name, body).await
    }

    async fn deploy_at(&self, scope: &str, name: &str, body: Value) -> Answer {
        let answer = self.put(&deployment(scope, name), body).await;
        assert!(matches!(answer.status.as_u16(), 200 | 201), "{answer:?}");
        self.ended(scope, name).await
    }

    async fn ended(&self, scope: &str, name: &str) -> Answer {
        for _ in 0..1000 {
            let answer = self.get(&deployment(scope, name)).await;
            if answer.state() != "Running" {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still running: {name}");
    }

    async fn operations(&self, scope: &str, name: &str) -> Vec<Value> {
        let answer = self.get(&below(scope, name, "operations")).await;
        answer.body["value"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
    }

    async fn what_if(&self, name: &str, body: Value) -> Vec<Value> {
        let answer = self.call(Method::POST, &below(&self.group("rg"), name, "whatIf"), Some(body)).await;
        assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &json!("Succeeded")), "{answer:?}");
        answer.body["properties"]["changes"].as_array().unwrap().clone()
    }
}

impl Answer {
    fn state(&self) -> &str {
        self.body["properties"]["provisioningState"].as_str().unwrap_or_else(|| panic!("{self:?}"))
    }

    fn succeeded(self) -> Self {
        assert_eq!(self.state(), "Succeeded", "{:#}", self.body);
        self
    }
}

#[tokio::test]
async fn a_template_is_deployed_and_its_deployment_says_what_it_did() {
    let house = house().await;
    let body = with_parameters(
        template(json!({
            "parameters": {"prefix": {"type": "string"}, "size": {"type": "int", "defaultValue": 3}},
            "variables": {"name": "[concat(parameters('prefix'), '-id')]"},
            "resources": [
                identity("[variables('name')]", json!({"tags": {"size": "[string(parameters('size'))]"}})),
                identity("other", json!({"condition": "[greater(parameters('size'), 5)]"})),
                thing("after", json!({
                    "dependsOn": ["[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'other')]"],
                    "properties": {"who": "[reference(variables('name')).principalId]"},
                })),
            ],
            "outputs": {"id": {"type": "string", "value": "[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', variables('name'))]"}},
        })),
        json!({"prefix": {"value": "my"}, "size": {"value": null}}),
    );
    let put = house.put(&deployment(&house.group("RG").to_lowercase(), "main"), body.clone()).await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    assert_eq!(put.state(), "Succeeded", "small deployments are over when they are answered: {put:?}");
    assert_eq!(put.header("azure-asyncoperation"), "", "nothing is left to poll");
    let shown = house.get(&deployment(&house.group("rg"), "main")).await;
    assert_eq!(shown.body, put.body);
    assert_eq!(
        shown.body["id"],
        json!(format!("{}/providers/Microsoft.Resources/deployments/main", house.group("rg")))
    );
    insta::assert_json_snapshot!("deployment", shown.body, {".properties.correlationId" => "[correlation]"});
    let id = house.get(&house.identity_id("rg", "my-id")).await;
    assert_eq!(id.body["tags"], json!({"size": "3"}));
    let after = house.get(&thing_id(&house, "after")).await;
    assert_eq!(after.body["properties"]["who"], id.body["properties"]["principalId"]);
    assert_eq!(house.get(&house.identity_id("rg", "other")).await.status, StatusCode::NOT_FOUND);

    let operations = house.operations(&house.group("rg"), "main").await;
    insta::assert_json_snapshot!("operations", operations, {
        "[].id" => "[id]", "[].operationId" => "[id]",
        "[].properties.trackingId" => "[request]", "[].properties.serviceRequestId" => "[request]",
    });
    let short = format!("{}/deployments/main/operations?{API}", house.group("rg"));
    assert_eq!(house.get(&short).await.body["value"], json!(operations), "the path of old clients");
    let one = operations[0]["operationId"].as_str().unwrap();
    for path in [
        below(&house.group("rg"), "main", &format!("operations/{one}")),
        format!("{}/deployments/main/operations/{one}?{API}", house.group("rg")),
    ] {
        assert_eq!(house.get(&path).await.body, operations[0]);
    }

    let again = house.put(&deployment(&house.group("rg"), "main"), body).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(house.get(&house.identity_id("rg", "my-id")).await.body, id.body, "a second run changes nothing");
    assert_eq!(house.operations(&house.group("rg"), "main").await.len(), 2);
}

#[tokio::test]
async fn deployments_are_listed_checked_and_deleted() {
    let house = house().await;
    let rg = house.group("rg");
    house.deploy("one", incremental(template(json!({})))).await.succeeded();
    let broken = template(json!({"resources": [identity("xyz", json!({"location": "nowhere/x"}))]}));
    assert_eq!(house.deploy("two", incremental(broken)).await.state(), "Failed");
    let list = async |query: &str| {
        let path = format!("{rg}/providers/Microsoft.Resources/deployments/?{API}{query}");
        let answer = house.get(&path).await;
        let names = answer.body["value"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
        names.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, ["one", "two"]);
    assert_eq!(list("&$filter=provisioningState%20eq%20%27Failed%27").await, ["two"]);
    assert_eq!(list("&$top=1").await, ["one"]);
    let resources = house.get(&format!("{rg}/resources")).await;
    assert_eq!(resources.body["value"], json!([]), "a deployment is not among the group's resources");
    let head = async |name: &str| house.call(Method::HEAD, &deployment(&rg, name), None).await.status.as_u16();
    assert_eq!((head("one").await, head("none").await), (204, 404));
    assert_eq!(house.get(&deployment(&rg, "none")).await.code(), "DeploymentNotFound");
    assert_eq!(house.get(&deployment(&house.group("none"), "one")).await.code(), "ResourceGroupNotFound");
    let cancel = house.call(Method::POST, &below(&rg, "one", "cancel"), None).await;
    assert_eq!((cancel.status.as_u16(), cancel.code()), (409, "DeploymentCannotBeCanceled"));
    for _ in 0..2 {
        let deleted = house.call(Method::DELETE, &deployment(&rg, "one"), None).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(head("one").await, 404);
    assert_eq!(house.get(&below(&rg, "one", "operations")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_need_not_be_json() {
    let house = house().await;
    let body = "// as az sends it\n{ \"properties\": { mode: 'Incremental', template: { /* what? */ \"resources\": [],\n \
                \"$schema\": \"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#\", \
                contentVersion: \"1.0.0.0\", outputs: { text: { type: 'string', value: 'two\nlines' } } } } }";
    let request = http::Request::put(deployment(&house.group("rg"), "relaxed"))
        .header("host", "localhost:8443")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", house.token))
        .body(axum::body::Body::from(body))
        .unwrap();
    let answer = house.send(request).await;
    assert_eq!(answer.state(), "Succeeded", "{answer:?}");
    assert_eq!(answer.body["properties"]["outputs"]["text"], json!({"type": "String", "value": "two\nlines"}));
}

#[tokio::test]
async fn nothing_is_written_for_a_template_that_cannot_be_deployed() {
    let house = House::found().await;
    house.make_group("rg").await;
    let cases = [
        (json!({"resources": [identity("[nonsense()]", json!({}))]}), "InvalidTemplate", "$.resources[0].name"),
        (
            json!({"resources": [identity("aaa", json!({"dependsOn": ["bbb"]})), identity("bbb", json!({"dependsOn": ["aaa"]}))]}),
            "InvalidTemplate",
            "$.resources[0]",
        ),
        (json!({"parameters": {"p": {"type": "string"}}}), "InvalidTemplate", "$.parameters.p"),
        (
            json!({"resources": [identity("aaa", json!({})), thing("x", json!({}))]}),
            "InvalidResourceNamespace",
            "$.resources[1]",
        ),
        (
            json!({"resources": [identity("aaa", json!({})), {"type": "Microsoft.Storage/nonsense", "apiVersion": "2023-01-01", "name": "x"}]}),
            "InvalidResourceType",
            "$.resources[1]",
        ),
        (
            json!({"resources": [nested("n", json!({}), json!({"templateLink": {"uri": "https://example.org/t.json"}}))]}),
            "InvalidTemplate",
            "",
        ),
    ];
    for (sections, code, place) in cases {
        let body = incremental(template(sections.clone()));
        let put = house.put(&deployment(&house.group("rg"), "bad"), body.clone()).await;
        let validated = house.call(Method::POST, &below(&house.group("rg"), "bad", "validate"), Some(body)).await;
        for answer in [put, validated] {
            assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{sections}: {answer:?}");
            assert!(answer.body["error"]["target"].as_str().unwrap_or_default().starts_with(place), "{answer:?}");
        }
    }
    assert_eq!(house.get(&deployment(&house.group("rg"), "bad")).await.code(), "DeploymentNotFound");
    assert_eq!(house.get(&house.identity_id("rg", "aaa")).await.status, StatusCode::NOT_FOUND);
    let missing = house.put(&deployment(&house.group("none"), "x"), incremental(template(json!({})))).await;
    assert_eq!(missing.code(), "ResourceGroupNotFound");
    let named = house.put(&deployment(&house.group("rg"), "a*b"), incremental(template(json!({})))).await;
    assert_eq!(named.code(), "InvalidResourceName");
}

#[tokio::test]
async fn validate_says_what_would_be_deployed() {
    let house = house().await;
    let body = incremental(template(json!({"resources": [identity("one", json!({}))]})));
    let answer = house.call(Method::POST, &below(&house.group("rg"), "v", "validate"), Some(body)).await;
    assert_eq!((answer.status, answer.state()), (StatusCode::OK, "Succeeded"), "{answer:?}");
    assert_eq!(answer.body["properties"]["validatedResources"], json!([{"id": house.identity_id("rg", "one")}]));
    assert_eq!(house.get(&house.identity_id("rg", "one")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get(&deployment(&house.group("rg"), "v")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_failed_node_says_why_and_only_what_depends_on_it_is_left_out() {
    let house = house().await;
    let rg = house.group("rg");
    let body = incremental(template(json!({"resources": [
        identity("bad", json!({"location": "not/a place"})),
        identity("child-of-bad", json!({"dependsOn": ["bad"]})),
        identity("good", json!({})),
    ]})));
    let put = house.put(&deployment(&rg, "main"), body).await;
    assert_eq!(put.status, StatusCode::CREATED);
    assert_eq!(put.header("retry-after"), "1");
    let status = house.wait(&put).await;
    assert_eq!((status.status, &status.body["status"]), (StatusCode::OK, &json!("Failed")), "{status:?}");
    let ended = house.ended(&rg, "main").await;
    assert_eq!(status.body["error"], ended.body["properties"]["error"]);
    let error = &ended.body["properties"]["error"];
    assert_eq!(error["code"], "DeploymentFailed");
    assert_eq!(error["details"].as_array().unwrap().len(), 1, "{error}");
    let operations = house.operations(&rg, "main").await;
    assert_eq!(operations.len(), 2, "{operations:#?}");
    let bad = &operations[0]["properties"];
    assert_eq!((&bad["provisioningState"], &bad["statusCode"]), (&json!("Failed"), &json!("BadRequest")));
    assert_eq!(bad["statusMessage"]["error"], error["details"][0]);
    assert_eq!(bad["targetResource"]["id"], house.identity_id("rg", "bad"));
    assert_eq!(house.get(&house.identity_id("rg", "good")).await.status, StatusCode::OK);
    assert_eq!(house.get(&house.identity_id("rg", "child-of-bad")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn loops_and_outputs() {
    let house = house().await;
    let ended = house
        .deploy(
            "loops",
            incremental(template(json!({
                "resources": [
                    identity("[format('id-{0}', copyIndex())]", json!({"copy": {"name": "ids", "count": 5}})),
                    thing("last", json!({"dependsOn": ["ids"], "properties": {
                        "copy": [{"name": "items", "count": 2, "input": {"n": "[copyIndex('items')]"}}],
                    }})),
                ],
                "outputs": {"all": {"type": "array", "copy": {"count": 5,
                    "input": "[reference(resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', format('id-{0}', copyIndex()))).principalId]"}}},
            }))),
        )
        .await
        .succeeded();
    assert_eq!(ended.body["properties"]["outputs"]["all"]["value"].as_array().unwrap().len(), 5);
    assert_eq!(ended.body["properties"]["outputResources"].as_array().unwrap().len(), 6);
    let last = house.get(&thing_id(&house, "last")).await;
    assert_eq!(last.body["properties"]["items"], json!([{"n": 0}, {"n": 1}]));
}

#[tokio::test]
async fn nested_deployments_are_deployments_with_rights_and_operations_of_their_own() {
    let house = house().await;
    house.make_group("other").await;
    let inner = template(json!({
        "parameters": {"name": {"type": "string"}},
        "resources": [identity("[parameters('name')]", json!({"location": "[resourceGroup().location]"}))],
        "outputs": {"id": {"type": "string", "value": "[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', parameters('name'))]"}},
    }));
    let body = incremental(template(json!({
        "variables": {"suffix": "x"},
        "resources": [
            nested("inner", json!({"resourceGroup": "other"}), json!({
                "expressionEvaluationOptions": {"scope": "inner"}, "template": inner,
                "parameters": {"name": {"value": "[concat('id-', variables('suffix'))]"}},
            })),
            nested("outer", json!({}), json!({"template": template(json!({
                "resources": [thing("[concat('outer-', variables('suffix'))]", json!({}))],
            }))})),
            thing("user", json!({"properties": {"id": "[reference(resourceId('other', 'Microsoft.Resources/deployments', 'inner')).outputs.id.value]"}})),
        ],
    })));
    let ended = house.deploy("main", body).await.succeeded();
    let other = house.group("other");
    let inside = house.get(&deployment(&other, "inner")).await.succeeded();
    assert_eq!(inside.body["properties"]["outputs"]["id"]["value"], house.identity_id("other", "id-x"));
    assert_eq!(inside.body["properties"]["parameters"]["name"]["value"], "id-x");
    assert_eq!(inside.body["properties"]["correlationId"], ended.body["properties"]["correlationId"]);
    assert_eq!(house.operations(&other, "inner").await.len(), 1);
    assert_eq!(house.operations(&house.group("rg"), "main").await.len(), 3);
    assert_eq!(house.get(&thing_id(&house, "outer-x")).await.status, StatusCode::OK);
    let user = house.get(&thing_id(&house, "user")).await;
    assert_eq!(user.body["properties"]["id"], house.identity_id("other", "id-x"));
    let resources = ended.body["properties"]["outputResources"].to_string();
    assert!(resources.contains("id-x") && resources.contains("outer-x"), "{resources}");
}

#[tokio::test]
async fn a_subscription_deployment_makes_a_group_and_deploys_into_it() {
    let house = House::found().await;
    let subscription = format!("/subscriptions/{}", house.subscription);
    let body = json!({"location": "westeurope", "properties": {"mode": "Incremental", "template": template(json!({
        "resources": [
            {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "name": "made", "location": "westeurope"},
            nested("into", json!({"resourceGroup": "made", "dependsOn": ["made"]}), json!({
                "template": template(json!({"resources": [identity("one", json!({}))]})),
            })),
        ],
    }))}});
    let ended = house.deploy_at(&subscription, "sub", body.clone()).await.succeeded();
    assert_eq!(ended.body["location"], "westeurope");
    assert_eq!(house.get(&house.identity_id("made", "one")).await.status, StatusCode::OK);
    assert_eq!(house.operations(&subscription, "sub").await.len(), 2);
    let short = house.get(&format!("{subscription}/deployments/sub/operations?{API}")).await;
    assert_eq!(short.body["value"].as_array().unwrap().len(), 2);
    let mut moved = body;
    moved["location"] = json!("northeurope");
    let refused = house.put(&deployment(&subscription, "sub"), moved).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "InvalidDeploymentLocation"));
    let tenant = house
        .put(
            &deployment("", "t"),
            json!({"location": "westeurope", "properties": {"mode": "Incremental", "template": template(json!({}))}}),
        )
        .await;
    assert_eq!(tenant.status, StatusCode::FORBIDDEN, "the client owns a subscription, not the tenant");
}

#[tokio::test]
async fn every_node_needs_the_deployers_own_right() {
    let house = house().await;
    let (_, token) = house.stranger().await;
    let body = incremental(template(json!({"resources": [identity("one", json!({}))]})));
    for (method, path) in [
        (Method::PUT, deployment(&house.group("rg"), "x")),
        (Method::POST, below(&house.group("rg"), "x", "validate")),
        (Method::POST, below(&house.group("rg"), "x", "whatIf")),
        (Method::GET, format!("{}/deployments/x/operations?{API}", house.group("rg"))),
    ] {
        let answer = house.call_as(&token, method, &path, Some(body.clone()), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "AuthorizationFailed"), "{path}");
    }
    let second = uuid::Uuid::from_u128(0xdead);
    let foreign =
        nested("n", json!({"subscriptionId": second, "resourceGroup": "rg"}), json!({"template": template(json!({}))}));
    let ended = house.deploy("main", incremental(template(json!({"resources": [foreign]})))).await;
    assert_eq!(ended.body["properties"]["error"]["details"][0]["code"], "SubscriptionNotFound", "{ended:?}");
}

/// Two modules as Bicep compiles them: what the second is handed decides about no name in it, so its shape is known long
/// before the first is deployed.
#[tokio::test]
async fn a_module_is_handed_what_another_puts_out() {
    let house = house().await;
    let first = template(json!({
        "resources": [identity("id-a", json!({}))],
        "outputs": {"id": {"type": "string", "value": "[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'id-a')]"}},
    }));
    let second = template(json!({
        "parameters": {"seen": {"type": "string"}},
        "resources": [identity("id-b", json!({"tags": {"seen": "[parameters('seen')]"}}))],
        "outputs": {"seen": {"type": "string", "value": "[parameters('seen')]"}},
    }));
    let inner = |template: Value, parameters: Value| json!({"expressionEvaluationOptions": {"scope": "inner"}, "template": template, "parameters": parameters});
    let handed = json!({"seen": {"value": "[reference(resourceId('Microsoft.Resources/deployments', 'first'), '2022-09-01').outputs.id.value]"}});
    let body = incremental(template(json!({"resources": [
        nested("first", json!({}), inner(first, json!({}))),
        nested("second", json!({}), inner(second, handed)),
    ]})));
    let foreseen = house.what_if("main", body.clone()).await;
    let new = foreseen.iter().filter(|change| change["changeType"] == "Create").count();
    assert_eq!(new, 2, "the second is foreseen without what it will be handed: {foreseen:#?}");
    house.deploy("main", body.clone()).await.succeeded();
    let id = house.identity_id("rg", "id-a");
    assert_eq!(house.get(&house.identity_id("rg", "id-b")).await.body["tags"]["seen"], id);
    let inside = house.get(&deployment(&house.group("rg"), "second")).await;
    assert_eq!(inside.body["properties"]["outputs"]["seen"]["value"], id);
    let again = house.what_if("main", body).await;
    assert!(again.iter().all(|change| change["changeType"] == "NoChange"), "{again:#?}");
}

#[tokio::test]
async fn complete_mode_deletes_what_is_not_declared() {
    let house = house().await;
    let hub = json!({"type": "Microsoft.MachineLearningServices/workspaces", "apiVersion": "2024-10-01", "name": "hub", "location": "westeurope", "kind": "hub"});
    let project = json!({"type": "Microsoft.MachineLearningServices/workspaces", "apiVersion": "2024-10-01", "name": "project", "location": "westeurope", "kind": "project",
        "properties": {"hubResourceId": "[resourceId('Microsoft.MachineLearningServices/workspaces', 'hub')]"}, "dependsOn": ["hub"]});
    let all = template(json!({"resources": [identity("kept", json!({})), identity("gone", json!({})), hub, project]}));
    house.deploy("first", incremental(all)).await.succeeded();
    let mut body =
        incremental(template(json!({"resources": [identity("kept", json!({})), identity("new", json!({}))]})));
    body["properties"]["mode"] = json!("Complete");
    let changes = house.what_if("second", body.clone()).await;
    let mut kinds: Vec<(&str, &str)> = changes
        .iter()
        .map(|change| {
            let name = change["resourceId"].as_str().unwrap().rsplit('/').next().unwrap();
            // What the hub got by itself has random names.
            let own = ["hubstorage", "hubkeyvault"].into_iter().find(|own| name.starts_with(own));
            (own.unwrap_or(name), change["changeType"].as_str().unwrap())
        })
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            ("gone", "Delete"),
            ("hub", "Delete"),
            ("hubkeyvault", "Delete"),
            ("hubstorage", "Delete"),
            ("kept", "NoChange"),
            ("new", "Create"),
            ("project", "Delete"),
        ]
    );
    house.deploy("second", body).await.succeeded();
    let left = house.get(&format!("{}/resources", house.group("rg"))).await;
    let names: Vec<&str> =
        left.body["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["kept", "new"]);
    let deletions = house.operations(&house.group("rg"), "second").await;
    assert_eq!(deletions.iter().filter(|one| one["properties"]["provisioningOperation"] == "Delete").count(), 5);
}

#[tokio::test]
async fn what_if_shows_the_properties_that_would_change() {
    let house = house().await;
    house
        .deploy(
            "first",
            incremental(template(json!({"resources": [
                identity("same", json!({"tags": {"a": "1"}})),
                identity("changed", json!({"tags": {"a": "1", "b": "2"}})),
                thing("generic", json!({"properties": {"x": 1, "y": {"z": [1, 2]}}})),
                identity("left", json!({})),
            ]}))),
        )
        .await
        .succeeded();
    let body = incremental(template(json!({"resources": [
        identity("same", json!({"tags": {"a": "1"}})),
        identity("changed", json!({"tags": {"a": "3"}})),
        thing("generic", json!({"properties": {"y": {"z": [1, 2]}}})),
        identity("new", json!({})),
    ]})));
    let changes = house.what_if("second", body.clone()).await;
    let of = |name: &str| changes.iter().find(|change| change["resourceId"].as_str().unwrap().ends_with(name)).unwrap();
    assert_eq!(of("/same")["changeType"], "NoChange", "{:#}", of("/same"));
    assert_eq!(of("/left")["changeType"], "Ignore");
    assert_eq!((&of("/new")["changeType"], &of("/new")["after"]["location"]), (&json!("Create"), &json!("westeurope")));
    insta::assert_json_snapshot!(
        "what_if_delta",
        json!({"changed": of("/changed")["delta"], "generic": of("/generic")["delta"]})
    );
    let mut ids = body;
    ids["properties"]["whatIfSettings"] = json!({"resultFormat": "ResourceIdOnly"});
    let changes = house.what_if("second", ids).await;
    assert!(
        changes.iter().all(|change| change.get("after").is_none() && change.get("before").is_none()),
        "{changes:?}"
    );
    assert_eq!(house.get(&house.identity_id("rg", "new")).await.status, StatusCode::NOT_FOUND);
    let shown = house.get(&house.identity_id("rg", "changed")).await;
    assert_eq!(shown.body["tags"], json!({"a": "1", "b": "2"}), "nothing was written");
}

/// A chain of things, one after the other.
fn chain(count: usize) -> Value {
    template(json!({"resources": [thing("[format('t{0}', copyIndex())]", json!({
        "copy": {"name": "chain", "count": count, "mode": "serial", "batchSize": 1},
    }))]}))
}

#[tokio::test]
async fn a_run_goes_on_after_a_crash_where_it_was() {
    // More than are done before the answer.
    const STEPS: usize = 750;
    let mut house = house().await;
    let rg = house.group("rg");
    let mut resources = vec![nested(
        "inside",
        json!({}),
        json!({
            "expressionEvaluationOptions": {"scope": "inner"},
            "parameters": {"secret": {"value": "[parameters('secret')]"}},
            "template": template(json!({
                "parameters": {"secret": {"type": "securestring"}},
                "resources": [thing("[format('t{0}', copyIndex())]", json!({
                    "copy": {"name": "chain", "count": STEPS, "mode": "serial", "batchSize": 1},
                    "properties": {"length": "[length(parameters('secret'))]"},
                }))],
                "outputs": {"seen": {"type": "int", "value": "[length(parameters('secret'))]"}},
            })),
        }),
    )];
    resources.push(thing(
        "last",
        json!({"dependsOn": ["inside"], "properties": {"length": "[length(parameters('secret'))]"}}),
    ));
    let body = with_parameters(
        template(json!({"parameters": {"secret": {"type": "securestring"}}, "resources": resources})),
        json!({"secret": {"value": "canary-resume"}}),
    );
    let put = house.put(&deployment(&rg, "main"), body.clone()).await;
    assert_eq!(put.state(), "Running", "{put:?}");
    house.kill().await;
    let before = house.operations(&rg, "inside").await;
    assert!(!before.is_empty() && before.len() < STEPS, "stopped in the middle: {}", before.len());
    let twice = house.put(&deployment(&rg, "main"), body).await;
    assert_eq!((twice.status.as_u16(), twice.code()), (409, "DeploymentActive"), "{twice:?}");
    assert!(twice.body["error"]["message"].as_str().unwrap().contains("'main'"));
    house.clock.advance(jiff::SignedDuration::from_secs(60));
    house.start_again();
    house.ended(&rg, "main").await.succeeded();
    house.get(&deployment(&rg, "inside")).await.succeeded();
    let after = house.operations(&rg, "inside").await;
    assert_eq!(after.len(), STEPS);
    let kept = before.iter().filter(|one| one["properties"]["provisioningState"] == "Succeeded");
    for one in kept {
        let again = after.iter().find(|other| other["operationId"] == one["operationId"]).unwrap();
        assert_eq!(again, one, "what was done was not done again");
    }
    assert_eq!(house.get(&thing_id(&house, "last")).await.body["properties"]["length"], 13);
    let unfinished = house.store.unfinished_operations().await.unwrap();
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

#[tokio::test]
async fn a_running_deployment_can_be_canceled() {
    let house = house().await;
    let rg = house.group("rg");
    let put = house.put(&deployment(&rg, "main"), incremental(chain(700))).await;
    assert_eq!(put.state(), "Running", "{put:?}");
    let deleted = house.call(Method::DELETE, &deployment(&rg, "main"), None).await;
    assert_eq!((deleted.status.as_u16(), deleted.code()), (409, "DeploymentActive"));
    let cancel = house.call(Method::POST, &below(&rg, "main", "cancel"), None).await;
    assert_eq!(cancel.status, StatusCode::NO_CONTENT, "{cancel:?}");
    let ended = house.ended(&rg, "main").await;
    assert_eq!(ended.state(), "Canceled");
    assert_eq!(house.wait(&put).await.body["status"], "Canceled");
    assert!(house.operations(&rg, "main").await.len() < 700);
}

#[tokio::test]
async fn deleting_the_group_ends_a_run_in_it() {
    let house = house().await;
    let rg = house.group("rg");
    let put = house.put(&deployment(&rg, "main"), incremental(chain(700))).await;
    assert_eq!(put.state(), "Running", "{put:?}");
    let deletion = house.call(Method::DELETE, &rg, None).await;
    assert_eq!(house.wait(&deletion).await.body["status"], "Succeeded");
    assert_eq!(house.wait(&put).await.body["status"], "Failed");
    let left = house
        .store
        .resources(&bastide_store::ResourceQuery { prefix: Some(rg.to_lowercase()), ..Default::default() })
        .await
        .unwrap();
    assert!(left.is_empty(), "nothing comes back: {:?}", left.iter().map(|row| &row.id).collect::<Vec<_>>());
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let house = house().await;
    let rg = house.group("rg");
    let canaries = ["canary-parameter", "canary-object", "canary-default", "canary-outer"];
    let inner = template(json!({
        "parameters": {"password": {"type": "secureString"}},
        "resources": [thing("inner", json!({"properties": {"length": "[length(parameters('password'))]"}}))],
        "outputs": {
            "plain": {"type": "string", "value": "[parameters('password')]"},
            "secure": {"type": "secureString", "value": "[parameters('password')]"},
            "open": {"type": "string", "value": "[deployment().name]"},
        },
    }));
    let sections = json!({
        "parameters": {
            "password": {"type": "securestring"},
            "object": {"type": "secureObject"},
            "given": {"type": "secureString", "defaultValue": "canary-default"},
        },
        "resources": [
            nested("inner", json!({}), json!({
                "expressionEvaluationOptions": {"scope": "inner"}, "template": inner,
                "parameters": {"password": {"value": "[parameters('password')]"}},
            })),
            // The refusal of a name quotes the name.
            identity("quoted", json!({"location": "[concat('a/', parameters('password'))]"})),
            identity("[concat('id-', length(parameters('object').key))]", json!({"tags": {"n": "[string(length(parameters('given')))]"}})),
        ],
        "outputs": {
            "tainted": {"type": "string", "value": "[concat('x-', parameters('password'))]"},
            "object": {"type": "object", "value": "[parameters('object')]"},
            "from": {"type": "string", "value": "[reference('inner').outputs.plain.value]"},
            "open": {"type": "string", "value": "[reference('inner').outputs.open.value]"},
            "all": {"type": "string", "value": "[string(reference('inner').outputs)]"},
        },
    });
    let parameters = json!({"password": {"value": "canary-parameter"}, "object": {"value": {"key": "canary-object"}}});
    let mut answers = Vec::new();
    for (name, drop_bad) in [("failing", false), ("working", true)] {
        let mut sections = sections.clone();
        if drop_bad {
            sections["resources"].as_array_mut().unwrap().remove(1);
        }
        let body = with_parameters(template(sections), parameters.clone());
        answers.push(house.call(Method::POST, &below(&rg, name, "whatIf"), Some(body.clone())).await);
        answers.push(house.call(Method::POST, &below(&rg, name, "validate"), Some(body.clone())).await);
        answers.push(house.put(&deployment(&rg, name), body).await);
        let ended = house.ended(&rg, name).await;
        assert_eq!(ended.state(), if drop_bad { "Succeeded" } else { "Failed" }, "{ended:?}");
        answers.push(ended);
        answers.push(house.get(&below(&rg, name, "operations")).await);
        answers.push(house.call(Method::POST, &below(&rg, name, "exportTemplate"), None).await);
    }
    answers.push(house.get(&deployment(&rg, "inner")).await);
    answers.push(house.get(&below(&rg, "inner", "operations")).await);
    answers.push(house.call(Method::POST, &below(&rg, "inner", "exportTemplate"), None).await);
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:#?}");
    let mut database = Vec::new();
    for file in std::fs::read_dir(house.directory.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            database.extend(std::fs::read(path).unwrap());
        }
    }
    for canary in canaries {
        for answer in &answers {
            assert!(!answer.body.to_string().contains(canary), "{canary}: {:#}", answer.body);
        }
        let found = database.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{canary} is in the database");
    }
    let working = house.get(&deployment(&rg, "working")).await;
    let outputs = &working.body["properties"]["outputs"];
    for hidden in ["tainted", "from", "all"] {
        assert_eq!(outputs[hidden], json!({"type": "String"}), "{hidden}");
    }
    assert_eq!(outputs["open"], json!({"type": "String", "value": "inner"}), "what stands beside a secret is none");
    assert_eq!(working.body["properties"]["parameters"]["password"], json!({"type": "SecureString"}));
    assert_eq!(house.get(&house.identity_id("rg", "id-13")).await.body["tags"]["n"], "14");
}

#[tokio::test]
async fn linked_templates_come_from_the_mirror_only() {
    let house = house().await;
    let folder = house.directory.path().join("mirror/nested");
    std::fs::create_dir_all(&folder).unwrap();
    let linked = template(json!({"resources": [identity("linked", json!({}))]}));
    std::fs::write(folder.join("t.json"), linked.to_string()).unwrap();
    let link = |uri: &str| json!({"properties": {"mode": "Incremental", "templateLink": {"uri": uri, "contentVersion": "1.0.0.0"}}});
    let ended = house.deploy("linked", link("https://mirror.example/nested/t.json?sig=canary")).await.succeeded();
    assert_eq!(ended.body["properties"]["templateLink"], json!({"uri": "https://mirror.example/nested/t.json"}));
    assert_eq!(house.get(&house.identity_id("rg", "linked")).await.status, StatusCode::OK);
    let inside = nested("n", json!({}), json!({"templateLink": {"uri": "https://mirror.example/nested/t.json"}}));
    house.deploy("nested", incremental(template(json!({"resources": [inside]})))).await.succeeded();
    for uri in
        ["https://elsewhere.example/t.json", "http://127.0.0.1/t.json", "https://mirror.example.evil/nested/t.json"]
    {
        let refused = house.put(&deployment(&house.group("rg"), "bad"), link(uri)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (400, "InvalidTemplate"), "{uri}");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("not fetched from the network"), "{message}");
    }
}

#[tokio::test]
async fn many_nodes_are_deployed_side_by_side_and_quickly() {
    let house = house().await;
    let body = incremental(template(json!({"resources": [
        thing("[format('t{0}', copyIndex())]", json!({"copy": {"name": "many", "count": 500}})),
    ]})));
    let started = std::time::Instant::now();
    house.deploy("many", body).await.succeeded();
    let took = started.elapsed();
    assert_eq!(house.operations(&house.group("rg"), "many").await.len(), 500);
    println!("500 nodes in {took:?}");
    assert!(took < Duration::from_secs(30), "even unoptimised and on a busy machine: {took:?}");
}

/// A template of the Python SDK, from a folder named by `BASTIDE_SDK_TEMPLATES`
/// (`azure/ai/ml/_arm_deployments/arm_templates` of the pinned wheel).
fn sdk(name: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("BASTIDE_SDK_TEMPLATES").map(std::path::PathBuf::from) else {
        println!("skipped: BASTIDE_SDK_TEMPLATES does not name the folder of the SDK's templates");
        return None;
    };
    Some(serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap())
}

#[tokio::test]
async fn the_sdks_own_templates_make_a_hub_and_a_project() {
    let (Some(base), Some(project)) = (sdk("workspace_base.json"), sdk("workspace_project.json")) else { return };
    let house = House::found().await;
    house.make_group("rg").await;
    let values = |values: Value| -> Value {
        let wrap = |(name, value): (&String, &Value)| (name.clone(), json!({"value": value}));
        Value::Object(values.as_object().unwrap().iter().map(wrap).collect())
    };
    let hub = values(json!({
        "workspaceName": "hub", "friendlyName": "Hub", "description": "d", "location": "westeurope", "kind": "hub",
        "resourceGroupName": "rg", "tagValues": {"createdByToolkit": "sdk"}, "applicationInsightsOption": "none",
        "applicationInsightsName": "ignoredButCantBeEmpty", "containerRegistryOption": "none",
        "publicNetworkAccess": "Enabled", "endpoint_resource_id": "null",
        "managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}, "identity": {"type": "systemAssigned"},
        "primaryUserAssignedIdentity": "", "imageBuildCompute": "", "systemDatastoresAuthMode": "",
        "storageAccountName": "sahub4711", "keyVaultName": "kvhub4711", "confidential_data": "false",
        "encryption_status": "Disabled", "vnetOption": null, "subnetOption": null, "privateEndpointType": null,
        "associatedResourcePNA": null,
    }));
    let made = house.deploy("hub-4711", with_parameters(base, hub)).await.succeeded();
    let workspace = house.get(&house.hub("rg", "hub")).await;
    assert_eq!(workspace.body["kind"].as_str().unwrap().to_lowercase(), "hub", "{made:?}");
    let operations = house.operations(&house.group("rg"), "hub-4711").await;
    let mut types: Vec<&str> = operations
        .iter()
        .map(|one| one["properties"]["targetResource"]["resourceType"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    types.sort_unstable();
    assert_eq!(types, ["storageAccounts", "vaults", "workspaces"]);
    let parameters = values(json!({
        "workspace_hub": house.hub("rg", "hub"), "workspaceName": "project", "location": "westeurope",
        "resourceGroupName": "rg", "kind": "project", "friendlyName": "P", "description": "d", "tagValues": {},
        "publicNetworkAccess": "PublicNetworkAccessType.ENABLED",
    }));
    house.deploy("project-4711", with_parameters(project, parameters)).await.succeeded();
    let workspace = house.get(&house.hub("rg", "project")).await;
    assert_eq!(workspace.body["properties"]["hubResourceId"], house.hub("rg", "hub"));
}

#[tokio::test]
async fn what_a_list_function_answers_is_used_and_never_shown() {
    let house = house().await;
    let rg = house.group("rg");
    let account = json!({
        "type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": "sa4711",
        "location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"},
    });
    let key = "listKeys(resourceId('Microsoft.Storage/storageAccounts', 'sa4711'), '2023-01-01').keys[0].value";
    let body = incremental(template(json!({
        "resources": [account, thing("user", json!({"properties": {"length": format!("[length({key})]")}}))],
        "outputs": {"key": {"type": "string", "value": format!("[{key}]")}},
    })));
    let ended = house.deploy("main", body).await.succeeded();
    assert_eq!(ended.body["properties"]["outputs"]["key"], json!({"type": "String"}));
    let keys = house
        .call(
            Method::POST,
            &format!("{rg}/providers/Microsoft.Storage/storageAccounts/sa4711/listKeys?api-version=2023-01-01"),
            None,
        )
        .await;
    let key = keys.body["keys"][0]["value"].as_str().unwrap();
    let user = house.get(&thing_id(&house, "user")).await;
    assert_eq!(user.body["properties"]["length"], key.len(), "it is made first, then asked");
    for path in [deployment(&rg, "main"), below(&rg, "main", "operations")] {
        assert!(!house.get(&path).await.body.to_string().contains(key));
    }
}

#[tokio::test]
async fn the_tenants_owner_deploys_to_the_tenant() {
    let house = House::found().await;
    let token = house.log_in_admin().await;
    let group = json!({"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "name": "made", "location": "westeurope"});
    let inside = nested(
        "into",
        json!({"subscriptionId": house.subscription, "location": "westeurope"}),
        json!({"template": template(json!({"resources": [group]}))}),
    );
    let body = json!({"location": "westeurope", "properties": {"mode": "Incremental", "template": template(json!({
        "resources": [inside], "outputs": {"tenant": {"type": "string", "value": "[tenant().tenantId]"}},
    }))}});
    let put = house.call_as(&token, Method::PUT, &deployment("", "t"), Some(body), &[]).await;
    assert_eq!((put.status, put.state()), (StatusCode::CREATED, "Succeeded"), "{put:?}");
    assert_eq!(put.body["id"], "/providers/Microsoft.Resources/deployments/t");
    assert_eq!(put.body["properties"]["outputs"]["tenant"]["value"], house.tenant.to_string());
    let listed = house
        .call_as(&token, Method::GET, &format!("/providers/Microsoft.Resources/deployments?{API}"), None, &[])
        .await;
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1, "{listed:?}");
    let operations = house.call_as(&token, Method::GET, &below("", "t", "operations"), None, &[]).await;
    assert_eq!(operations.body["value"].as_array().unwrap().len(), 1, "{operations:?}");
    assert_eq!(house.get(&house.group("made")).await.status, StatusCode::OK);
    let subscription = format!("/subscriptions/{}", house.subscription);
    house.get(&deployment(&subscription, "into")).await.succeeded();
}

#[tokio::test]
async fn an_output_that_cannot_be_computed_fails_the_deployment() {
    let house = house().await;
    let ended = house
        .deploy(
            "main",
            incremental(template(json!({
                "resources": [thing("one", json!({"properties": {"a": 1}}))],
                "outputs": {"x": {"type": "string", "value": "[reference('one').nothing]"}},
            }))),
        )
        .await;
    let error = &ended.body["properties"]["error"];
    assert_eq!((ended.state(), &error["code"]), ("Failed", &json!("DeploymentOutputEvaluationFailed")), "{error}");
    assert_eq!(house.get(&thing_id(&house, "one")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_failure_inside_is_told_outside() {
    let house = house().await;
    let bad = template(json!({"resources": [identity("bad", json!({"location": "not/a place"}))]}));
    let body = incremental(template(json!({"resources": [nested("inside", json!({}), json!({"template": bad}))]})));
    let ended = house.deploy("main", body).await;
    let detail = &ended.body["properties"]["error"]["details"][0];
    assert_eq!((ended.state(), &detail["code"]), ("Failed", &json!("DeploymentFailed")), "{detail}");
    assert_eq!(detail["target"], format!("{}/providers/Microsoft.Resources/deployments/inside", house.group("rg")));
    assert_eq!(detail["details"].as_array().unwrap().len(), 1, "{detail}");
    assert_eq!(house.get(&deployment(&house.group("rg"), "inside")).await.state(), "Failed");
}

#[tokio::test]
async fn validation_refuses_a_name_that_its_type_does_not_allow() {
    let house = house().await;
    let body = incremental(template(json!({"resources": [identity("no", json!({}))]})));
    let answer = house.call(Method::POST, &below(&house.group("rg"), "main", "validate"), Some(body)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "InvalidResourceName"), "{answer:?}");
}
