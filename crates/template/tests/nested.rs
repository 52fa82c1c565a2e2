//! Deployments inside deployments.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use bastide_template::{Answer, Facts, Need, NodeKind, Nothing, Stop};
use serde_json::{Value, json};
use support::{
    SUBSCRIPTION, context, facts, needs, node, order, plan, plan_in, refusal, resources, subscription_context,
    template, thing, try_plan,
};

fn deployment(name: &str, members: Value, properties: Value) -> Value {
    let mut resource = json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": name,
        "properties": properties});
    resource.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    resource
}

#[test]
fn an_inner_template_has_parameters_and_a_group_of_its_own() {
    let inner = template(json!({
        "parameters": {"name": {"type": "string"}, "live": {"type": "string"}, "size": {"type": "string", "defaultValue": "small"}},
        "variables": {"v": "inner"},
        "resources": [thing("[parameters('name')]", json!({"location": "[resourceGroup().location]", "properties": {
            "v": "[variables('v')]", "group": "[resourceGroup().name]", "deployment": "[deployment().name]",
            "live": "[parameters('live')]", "size": "[parameters('size')]"}}))],
        "outputs": {"id": {"type": "string", "value": "[resourceId('Microsoft.Test/things', parameters('name'))]"}},
    }));
    let planned = plan(template(json!({
        "variables": {"v": "outer"},
        "resources": [
            thing("first", json!({})),
            deployment("sub", json!({"resourceGroup": "other"}), json!({
                "expressionEvaluationOptions": {"scope": "inner"}, "mode": "Incremental", "template": inner,
                "parameters": {"name": {"value": "[concat('n', '1')]"}, "live": {"value": "[reference('first').x]"},
                    "size": "[createObject('value', null())]"}})),
            thing("last", json!({"properties": {"id": "[reference('sub').outputs.id.value]"}})),
        ],
    })))
    .expect("a plan");
    assert_eq!(order(&planned), ["first", "sub", "last"]);
    let sub = node(&planned, "sub");
    let other = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/other");
    assert_eq!(sub.id, format!("{other}/providers/Microsoft.Resources/deployments/sub"));
    assert_eq!(sub.kind, NodeKind::Deployment);
    let shape = sub.nested().expect("its shape does not wait for live state");
    assert_eq!(shape.nodes()[0].id, format!("{other}/providers/Microsoft.Test/things/n1"));
    assert_eq!(shape.deployment_id(), sub.id);

    let known = facts([
        ("Microsoft.Test/things/first", "2024-01-01", json!({"properties": {"x": "live!"}})),
        (&other, "2022-09-01", json!({"location": "northeurope"})),
    ]);
    let inner = sub.expand(&known).expect("everything is known").expect("a deployment");
    assert_eq!(
        inner.nodes()[0].body(&known).expect("a body").value,
        json!({"location": "northeurope", "properties": {"v": "inner", "group": "other", "deployment": "sub",
            "live": "live!", "size": "small"}})
    );
    let outputs = inner.outputs(&known).expect("outputs");
    assert_eq!(outputs[0].value, format!("{other}/providers/Microsoft.Test/things/n1"));
    assert_eq!(inner.parameters()["live"], json!({"type": "String", "value": "live!"}));
}

#[test]
fn an_outer_template_means_what_its_parent_means() {
    let outer = template(json!({
        "variables": {"v": "inner"},
        "resources": [
            thing("[concat(variables('v'), copyIndex())]", json!({"properties": {"group": "[resourceGroup().name]",
                "x": "[reference('first').x]", "name": "[deployment().name]"}})),
            thing("b", json!({"properties": {"x": "[reference('b2').x]"}})),
            thing("b2", json!({})),
        ],
        "outputs": {"i": {"type": "int", "value": "[copyIndex()]"}},
    }));
    let planned = plan(template(json!({
        "variables": {"v": "outer"},
        "resources": [
            thing("first", json!({})),
            deployment("[concat('sub', copyIndex())]", json!({"resourceGroup": "other", "copy": {"name": "c", "count": 2}}),
                json!({"mode": "Incremental", "template": outer})),
        ],
    })))
    .expect("a plan");
    let sub = node(&planned, "sub1");
    assert_eq!(sub.depends_on, [0], "an implicit dependency of a nested template is its deployment's");
    let inner = sub.nested().expect("known");
    assert_eq!(order(inner), ["outer1", "b2", "b"]);
    assert!(inner.nodes()[0].id.contains("/resourceGroups/other/"), "{}", inner.nodes()[0].id);
    let known = facts([("Microsoft.Test/things/first", "2024-01-01", json!({"properties": {"x": 5}}))]);
    let made = inner.nodes()[0].body(&known).expect("a body").value;
    assert_eq!(made["properties"], json!({"group": "rg", "x": 5, "name": "main"}));
    assert_eq!(inner.outputs(&known).expect("outputs")[0].value, 1);
}

#[test]
fn what_is_handed_down_is_known_before_anything_inside_is_deployed() {
    let inner = template(json!({
        "parameters": {"a": {"type": "string"}, "b": {"type": "string"}},
        "resources": [thing("n", json!({"properties": {"a": "[parameters('a')]", "b": "[parameters('b')]"}}))],
    }));
    let planned = plan(resources(json!([
        thing("first", json!({})),
        thing("second", json!({})),
        deployment(
            "sub",
            json!({}),
            json!({
            "expressionEvaluationOptions": {"scope": "inner"}, "template": inner,
            "parameters": {"a": {"value": "[reference('first').x]"}, "b": {"value": "[reference('second').x]"}}})
        ),
    ])))
    .expect("a plan");
    let sub = node(&planned, "sub");
    assert!(sub.nested().is_some(), "its shape hangs on neither");
    let wanted = needs(sub.expand(&Nothing).expect_err("its parameters wait"));
    assert_eq!(wanted.len(), 2, "both are asked for at once: {wanted:?}");
    let known = facts(["first", "second"].map(|name| {
        let id: &str = if name == "first" { "Microsoft.Test/things/first" } else { "Microsoft.Test/things/second" };
        (id, "2024-01-01", json!({"properties": {"x": name}}))
    }));
    let inside = sub.expand(&known).expect("everything is known").expect("a deployment");
    // What it was handed it has: nothing of the world is asked for again.
    let body = inside.nodes()[0].body(&Nothing).expect("a body").value;
    assert_eq!(body["properties"], json!({"a": "first", "b": "second"}));
}

#[test]
fn a_computed_template_is_its_own_also_in_outer_scope() {
    let file = json!({
        "contentVersion": "1.0.0.0", "parameters": {"name": {"type": "string"}},
        "resources": [thing("[[parameters('name')]", json!({"properties": {"x": "[[deployment().name]"}}))],
    });
    let planned = plan(template(json!({
        "variables": {"file": file},
        "resources": [deployment("sub", json!({}), json!({
            "expressionEvaluationOptions": {"scope": "Outer"}, "template": "[variables('file')]",
            "parameters": {"name": {"value": "n"}}}))],
    })))
    .expect("a plan");
    let inner = node(&planned, "sub").nested().expect("known");
    assert_eq!(order(inner), ["n"]);
    assert_eq!(inner.nodes()[0].body(&Nothing).expect("a body").value["properties"]["x"], "sub");
}

#[test]
fn a_shape_that_waits_for_live_state_is_planned_later() {
    let inner = template(json!({"parameters": {"n": {"type": "int"}},
        "resources": [thing("[concat('n', copyIndex())]", json!({"copy": {"name": "c", "count": "[parameters('n')]"}}))]}));
    let planned = plan(resources(json!([
        thing("first", json!({})),
        deployment(
            "sub",
            json!({}),
            json!({"expressionEvaluationOptions": {"scope": "Inner"}, "template": inner,
            "parameters": {"n": {"value": "[reference('first').count]"}}})
        ),
    ])))
    .expect("a plan");
    let sub = node(&planned, "sub");
    assert!(sub.nested().is_none());
    assert_eq!(sub.depends_on, [0]);
    assert_eq!(needs(sub.expand(&Nothing).expect_err("live state is wanted")).len(), 1);
    let known = facts([("Microsoft.Test/things/first", "2024-01-01", json!({"properties": {"count": 2}}))]);
    let inner = sub.expand(&known).expect("known").expect("a deployment");
    assert_eq!(order(&inner), ["n0", "n1"]);
}

#[test]
fn nested_deployments_are_checked_as_far_as_possible() {
    let broken = |inner: Value, properties: Value| {
        let mut properties = properties;
        properties["template"] = inner;
        properties["expressionEvaluationOptions"] = json!({"scope": "inner"});
        refusal(resources(json!([deployment("sub", json!({}), properties)])))
    };
    let error = broken(resources(json!([thing("a", json!({"properties": {"x": "[add(1, 'x')]"}}))])), json!({}));
    assert_eq!(error.place, "$.resources[0].properties.template.resources[0].properties.x");
    let error = broken(template(json!({"parameters": {"p": {"type": "string"}}})), json!({}));
    assert!(error.message.contains("'p' is not provided"), "{}", error.message);
    let error = broken(template(json!({})), json!({"parameters": {"q": {"value": 1}}}));
    assert_eq!(error.place, "$.resources[0].properties.parameters.q");
    let error = broken(template(json!({})), json!({"mode": "Sometimes"}));
    assert!(error.message.contains("'Incremental' or 'Complete'"), "{}", error.message);
    let error = broken(template(json!({})), json!({"unheard": "of"}));
    assert!(error.message.contains("no property 'unheard'"), "{}", error.message);
}

#[test]
fn a_subscription_template_makes_a_group_and_deploys_into_it() {
    let planned = plan_in(
        subscription_context(),
        resources(json!([
            deployment("inside", json!({"resourceGroup": "new"}), json!({
                "expressionEvaluationOptions": {"scope": "inner"}, "template": resources(json!([thing("a", json!({}))]))})),
            {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "name": "new", "location": "x"},
            deployment("after", json!({"location": "x", "dependsOn": ["[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'new')]"]}),
                json!({"template": template(json!({}))})),
        ])),
        json!({}),
    )
    .expect("a plan");
    assert_eq!(order(&planned), ["new", "inside", "after"], "a deployment into a group waits for the group");
    assert_eq!(node(&planned, "new").id, format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/new"));
    assert_eq!(node(&planned, "after").depends_on, [1]);
    let after = node(&planned, "after").nested().expect("known").context().deployment.clone();
    assert_eq!(after.location.as_deref(), Some("x"));
}

#[test]
fn linked_templates_are_asked_for_while_planning() {
    let template =
        resources(json!([deployment("sub", json!({}), json!({"templateLink": {"uri": "https://x/y/main.json"}}))]));
    let stop = try_plan(context(), template.clone(), &json!({}), &Nothing).expect_err("the document is wanted");
    let need = Need::Document { uri: "https://x/y/main.json".to_owned() };
    assert_eq!(needs(stop), std::slice::from_ref(&need));
    let mut known = Facts::default();
    known.insert(need.clone(), Answer::Failed("Links to x are not allowed.".to_owned()));
    let Err(Stop::Invalid(error)) = try_plan(context(), template.clone(), &json!({}), &known) else {
        panic!("allowed")
    };
    assert!(error.message.contains("not allowed"));
    let linked =
        resources(json!([deployment("deep", json!({}), json!({"templateLink": {"relativePath": "deep.json"}}))]));
    known.insert(need, Answer::Known { value: linked, secret: false });
    let stop = try_plan(context(), template, &json!({}), &known).expect_err("another document is wanted");
    assert_eq!(needs(stop), [Need::Document { uri: "https://x/y/deep.json".to_owned() }]);
}

#[test]
fn an_outer_template_may_take_its_shape_from_live_state() {
    let outer = resources(json!([thing("[reference('first').name]", json!({}))]));
    let planned =
        plan(resources(json!([deployment("sub", json!({}), json!({"template": outer})), thing("first", json!({})),])))
            .expect("a plan");
    let sub = node(&planned, "sub");
    assert!(sub.nested().is_none());
    assert_eq!(sub.depends_on, [1]);
    let known = facts([("Microsoft.Test/things/first", "2024-01-01", json!({"properties": {"name": "n"}}))]);
    assert_eq!(order(&sub.expand(&known).expect("known").expect("a deployment")), ["n"]);
}
