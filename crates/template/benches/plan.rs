//! How long reading, planning and evaluating templates takes: `cargo bench -p bastide-template`.
//!
//! Uses the hub template of the Python SDK when `BASTIDE_SDK_TEMPLATES` names its folder, and always templates of its
//! own: one of the SDK's size, one of 500 resources made by nested loops.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop, and prints its numbers")]

use std::time::{Duration, Instant};

use bastide_template::{Limits, Nothing, Plan, Request, Template};
use serde_json::{Map, Value, json};

#[path = "../../../fuzz/checks/context.rs"]
mod context;

use context::context;

fn main() {
    report("own template of the SDK's size", &like_the_sdk().to_string(), &json!({}), Duration::from_millis(5));
    report("500 resources by nested loops", &five_hundred().to_string(), &json!({}), Duration::from_millis(100));
    if let Some(folder) = std::env::var_os("BASTIDE_SDK_TEMPLATES") {
        let path = std::path::Path::new(&folder).join("workspace_base.json");
        let text = std::fs::read_to_string(path).expect("the SDK's template is in the folder");
        report("the SDK's hub template", &text, &hub(), Duration::from_millis(5));
    } else {
        println!("skipped the SDK's template: BASTIDE_SDK_TEMPLATES does not name its folder");
    }
}

fn report(what: &str, text: &str, parameters: &Value, promise: Duration) {
    let mut times: Vec<Duration> = (0..100).map(|_| once(text, parameters)).collect();
    times.sort();
    let (median, worst) = (times.get(50).copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
    let verdict = if median <= promise { "kept" } else { "BROKEN" };
    println!("{what}: {} bytes, median {median:?}, worst {worst:?}; promise {promise:?} {verdict}", text.len());
}

/// Reads, plans and evaluates every body.
fn once(text: &str, parameters: &Value) -> Duration {
    let start = Instant::now();
    let limits = Limits::default();
    let template = Template::parse(text.as_bytes(), &limits).expect("the template reads");
    let plan = Plan::new(Request { template, parameters, context: context(), live: &Nothing, limits }).expect("a plan");
    for node in plan.nodes() {
        node.body(&Nothing).expect("a body");
    }
    start.elapsed()
}

fn like_the_sdk() -> Value {
    let mut parameters = Map::new();
    for index in 0..84 {
        let declaration = json!({"type": "string", "defaultValue": format!("[concat('p', uniqueString(resourceGroup().id, '{index}'))]"),
            "metadata": {"description": "x".repeat(300)}});
        parameters.insert(format!("p{index}"), declaration);
    }
    let resources: Vec<Value> = (0..16)
        .map(|index| {
            let mut properties = Map::new();
            for other in 0..30 {
                let expression = format!(
                    "[if(and(equals(parameters('p{other}'), 'x'), not(empty(variables('id')))), json('null'), toLower(concat(parameters('p{index}'), variables('id'))))]"
                );
                properties.insert(format!("x{other}"), json!(expression));
            }
            json!({"type": "Microsoft.Test/things", "apiVersion": "2024-01-01", "name": format!("[concat('r', '{index}')]"),
                "condition": "[not(equals(parameters('p1'), 'never'))]", "properties": properties,
                "dependsOn": [format!("[resourceId('Microsoft.Test/things', 'r{}')]", index + 1)]})
        })
        .collect();
    json!({"contentVersion": "1.0.0.0", "parameters": parameters, "resources": resources,
        "variables": {"id": "[resourceId('Microsoft.Test/things', parameters('p3'))]"}})
}

fn five_hundred() -> Value {
    let input =
        json!({"name": "[format('{0}-{1:D3}', copyIndex('made'), copyIndex('parts'))]", "tags": "[variables('tags')]"});
    json!({"contentVersion": "1.0.0.0", "variables": {"tags": {"a": "[uniqueString(resourceGroup().id)]"}},
        "resources": [{"type": "Microsoft.Test/things", "apiVersion": "2024-01-01", "name": "[format('r{0:D3}', copyIndex())]",
            "copy": {"name": "made", "count": 500}, "properties": {"copy": [{"name": "parts", "count": 20, "input": input}]}}]})
}

fn hub() -> Value {
    json!({
        "workspaceName": {"value": "hub"}, "friendlyName": {"value": "Hub"}, "description": {"value": "d"},
        "location": {"value": "westeurope"}, "kind": {"value": "hub"}, "resourceGroupName": {"value": "rg"},
        "tagValues": {"value": {}}, "applicationInsightsOption": {"value": "none"},
        "containerRegistryOption": {"value": "none"}, "storageAccountName": {"value": "sahub"},
        "keyVaultName": {"value": "kvhub"}, "identity": {"value": {"type": "systemAssigned"}},
    })
}
