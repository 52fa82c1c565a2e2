//! Helpers for the tests of templates.

#![allow(dead_code, reason = "every test file uses some of them")]

use std::sync::Arc;

use bastide_template::{
    Context, Deployment, Endpoints, Facts, Limits, Live, Mode, Need, Node, Nothing, Plan, Request, ResourceGroup, Stop,
    Subscription, Template, TemplateError, environment,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
pub const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg";

/// A deployment `main` to the group `rg` in `westeurope`, at a fixed time.
pub fn context() -> Context {
    Context {
        tenant_id: "00000000-0000-0000-0000-00000000000a".to_owned(),
        subscription: Some(Subscription { id: SUBSCRIPTION.to_owned(), display_name: "Test".to_owned() }),
        group: Some(ResourceGroup {
            name: "rg".to_owned(),
            location: Some("westeurope".to_owned()),
            tags: json!({"team": "a"}),
            managed_by: None,
        }),
        management_group: None,
        deployment: Deployment { name: "main".to_owned(), location: None, mode: Mode::Incremental, template_uri: None },
        deployer: json!({"objectId": "00000000-0000-0000-0000-00000000000b"}),
        environment: environment(&Endpoints {
            portal: "https://portal.example".to_owned(),
            resource_manager: "https://management.example/".to_owned(),
            login: "https://login.example/".to_owned(),
            audience: "https://management.example".to_owned(),
            graph: "https://graph.example/".to_owned(),
            storage: "storage.example".to_owned(),
            vault: ".vault.example".to_owned(),
            registry: ".registry.example".to_owned(),
        }),
        providers: Map::from_iter([(
            "microsoft.test".to_owned(),
            json!({"namespace": "Microsoft.Test", "resourceTypes": [{"resourceType": "things", "apiVersions": ["2024-01-01"]}]}),
        )]),
        roles: [("contributor".to_owned(), "b24988ac-6180-42a0-ab88-20f7382dd24c".to_owned())].into(),
        now: "2024-02-29T13:05:09.25Z".parse().expect("a timestamp"),
        seed: Uuid::from_u128(7),
    }
}

/// The same deployment, to the subscription.
pub fn subscription_context() -> Context {
    let mut context = context();
    context.group = None;
    context.deployment.location = Some("northeurope".to_owned());
    context
}

/// A template of these sections.
pub fn template(sections: Value) -> Value {
    let mut template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [],
    });
    merge(&mut template, sections);
    template
}

/// A template of these resources.
pub fn resources(resources: Value) -> Value {
    template(json!({ "resources": resources }))
}

/// A resource of a type nobody knows, with these further members.
pub fn thing(name: &str, members: Value) -> Value {
    let mut resource = json!({"type": "Microsoft.Test/things", "apiVersion": "2024-01-01", "name": name});
    merge(&mut resource, members);
    resource
}

fn merge(target: &mut Value, members: Value) {
    if let (Some(target), Value::Object(members)) = (target.as_object_mut(), members) {
        target.extend(members);
    }
}

pub fn plan(template: Value) -> Result<Plan, TemplateError> {
    plan_with(template, json!({}))
}

pub fn plan_with(template: Value, parameters: Value) -> Result<Plan, TemplateError> {
    plan_in(context(), template, parameters)
}

pub fn plan_in(context: Context, template: Value, parameters: Value) -> Result<Plan, TemplateError> {
    match try_plan(context, template, &parameters, &Nothing) {
        Ok(plan) => Ok(plan),
        Err(Stop::Invalid(error)) => Err(*error),
        Err(Stop::Missing(needs)) => panic!("planning waits for {needs:?}"),
    }
}

pub fn try_plan(context: Context, template: Value, parameters: &Value, live: &dyn Live) -> Result<Plan, Stop> {
    let limits = Limits::default();
    let template: Arc<Template> = Template::read(template, &limits)?;
    Plan::new(Request { template, parameters, context, live, limits })
}

/// The error a template must end in.
pub fn refusal(template: Value) -> TemplateError {
    plan(template).expect_err("the template is wrong")
}

/// The body of a node that needs no live state.
pub fn body(node: &Node) -> Value {
    node.body(&Nothing).expect("the body needs no live state").value
}

/// The names of all nodes, in the order in which they may be deployed.
pub fn order(plan: &Plan) -> Vec<&str> {
    plan.order().iter().map(|position| plan.nodes()[*position].name.as_str()).collect()
}

/// The names of the nodes that come before the node of this name.
pub fn before<'a>(plan: &'a Plan, name: &str) -> Vec<&'a str> {
    node(plan, name).depends_on.iter().map(|position| plan.nodes()[*position].name.as_str()).collect()
}

pub fn node<'a>(plan: &'a Plan, name: &str) -> &'a Node {
    plan.nodes().iter().find(|node| node.name == name).unwrap_or_else(|| panic!("there is no node '{name}'"))
}

/// What a stop is waiting for.
pub fn needs(stop: Stop) -> Vec<Need> {
    match stop {
        Stop::Missing(needs) => needs.certain,
        Stop::Invalid(error) => panic!("{error}"),
    }
}

/// Facts about resources, by id below the group `rg`.
pub fn facts<const N: usize>(resources: [(&str, &str, Value); N]) -> Facts {
    let mut facts = Facts::default();
    for (id, api_version, value) in resources {
        let id = if id.starts_with('/') { id.to_owned() } else { format!("{GROUP}/providers/{id}") };
        let need = Need::Resource { id, api_version: Some(api_version.to_owned()) };
        facts.insert(need, bastide_template::Answer::Known { value, secret: false });
    }
    facts
}

/// The value of an expression, as an output of a template with these other sections.
pub fn evaluate_with(expression: &str, sections: Value) -> Result<Value, TemplateError> {
    let variables = json!({"outcome": {"value": expression}});
    let mut template = template(json!({"outputs": {"outcome": {"type": "object", "value": variables["outcome"]}}}));
    merge(&mut template, sections);
    let plan = plan(template)?;
    match plan.outputs(&Nothing) {
        Ok(outputs) => Ok(outputs[0].value["value"].clone()),
        Err(Stop::Invalid(error)) => Err(*error),
        Err(Stop::Missing(needs)) => panic!("'{expression}' waits for {needs:?}"),
    }
}

pub fn evaluate(expression: &str) -> Result<Value, TemplateError> {
    evaluate_with(expression, json!({}))
}
