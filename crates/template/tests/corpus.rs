//! Templates of other people: every `*.json` under the folder that `BASTIDE_TEMPLATES` names is read and planned with
//! made-up values for its required parameters. Prints one line each; fails when one cannot be read.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use std::path::{Path, PathBuf};

use bastide_template::{Context, Limits, Plan, Stop, Template, relaxed};
use serde_json::{Map, Value, json};

use support::{context, subscription_context, try_plan};

#[test]
fn every_template_reads() {
    let Some(folder) = std::env::var_os("BASTIDE_TEMPLATES").map(PathBuf::from) else {
        println!("skipped: BASTIDE_TEMPLATES does not name a folder of templates");
        return;
    };
    let mut unread = Vec::new();
    for path in templates(&folder) {
        let text = std::fs::read(&path).expect("a file");
        let Ok(document) = relaxed::parse(&text, &Limits::default()) else {
            unread.push(path);
            continue;
        };
        let is_template = document["$schema"].as_str().is_some_and(|schema| schema.contains("eploymentTemplate.json"));
        if !is_template {
            continue;
        }
        if let Err(error) = Template::read(document.clone(), &Limits::default()) {
            println!("UNREAD {}: {error}", path.display());
            unread.push(path);
            continue;
        }
        println!("{} {}", path.display(), outcome(document));
    }
    assert!(unread.is_empty(), "{unread:?}");
}

fn templates(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn outcome(document: Value) -> String {
    let schema = document["$schema"].as_str().unwrap_or_default().to_lowercase();
    let context = if schema.contains("subscriptiondeployment") { subscription_context() } else { context() };
    let context = if schema.contains("managementgroupdeployment") { management_group() } else { context };
    let context = if schema.contains("tenantdeployment") { tenant() } else { context };
    let parameters = invented(&document);
    match try_plan(context, document, &parameters, &bastide_template::Nothing) {
        Ok(plan) => format!("{} resources, {} deferred", count(&plan), deferred(&plan)),
        Err(Stop::Missing(needs)) => format!("WAITS for {:?}", needs.certain),
        Err(Stop::Invalid(error)) => format!("REFUSED {error}"),
    }
}

fn tenant() -> Context {
    Context { subscription: None, ..subscription_context() }
}

fn management_group() -> Context {
    let mut context = subscription_context();
    context.subscription = None;
    context.management_group = Some("mg".to_owned());
    context
}

fn count(plan: &Plan) -> usize {
    plan.nodes().iter().map(|node| 1 + node.nested().map_or(0, count)).sum()
}

fn deferred(plan: &Plan) -> usize {
    let own = |node: &bastide_template::Node| match node.nested() {
        Some(nested) => deferred(nested),
        None => usize::from(node.kind == bastide_template::NodeKind::Deployment),
    };
    plan.nodes().iter().map(own).sum()
}

/// A value of its type for each parameter that needs one.
fn invented(document: &Value) -> Value {
    let none = Map::new();
    let declared = document["parameters"].as_object().unwrap_or(&none);
    let required = declared.iter().filter(|(_, schema)| schema.get("defaultValue").is_none());
    let values = required.map(|(name, schema)| (name.clone(), json!({"value": value(name, schema, document)})));
    Value::Object(values.collect())
}

fn value(name: &str, schema: &Value, document: &Value) -> Value {
    if schema["nullable"] == true {
        return Value::Null;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return value(name, document.pointer(&reference[1..]).unwrap_or(&Value::Null), document);
    }
    if let Some(first) = schema["allowedValues"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str().unwrap_or_default().to_lowercase().as_str() {
        "string" if name.to_lowercase().contains("resourceid") => json!(RESOURCE_ID),
        "string" if name == "addressPrefixes" => json!("10.0.0.0/16"),
        "string" | "securestring" => {
            let length =
                schema["minLength"].as_u64().unwrap_or(0).max(3).min(schema["maxLength"].as_u64().unwrap_or(99));
            json!("abcdefghijklmnopqrstuvwxyz0123456789abcdefgh"[..usize::try_from(length).expect("short")])
        }
        "int" => schema["minValue"].as_i64().unwrap_or(1).into(),
        "bool" => Value::Bool(true),
        "array" if schema["items"].is_object() => Value::Array(vec![value(name, &schema["items"], document)]),
        "array" => Value::Array(vec![]),
        _ => {
            let schema = match schema["discriminator"]["mapping"].as_object().and_then(|mapping| mapping.iter().next())
            {
                Some((tag, chosen)) => {
                    let mut made = value(tag, chosen, document);
                    let name = schema["discriminator"]["propertyName"].as_str().expect("a name");
                    made[name] = json!(tag);
                    return made;
                }
                None => schema,
            };
            let none = Map::new();
            let members = schema["properties"].as_object().unwrap_or(&none);
            let made = members.iter().map(|(name, schema)| (name.clone(), value(name, schema, document)));
            Value::Object(made.filter(|(_, value)| !value.is_null()).collect())
        }
    }
}

const RESOURCE_ID: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.Test/things/made-up";
