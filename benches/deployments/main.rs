//! How long a deployment of many resources takes: from sending its PUT until a GET says that it has ended.
//!
//! `cargo bench -p bastide-benches --bench deployments` builds the release binary and starts it on a data directory of
//! its own below the build directory; `BASTIDE_BIN` names another binary. Prints a table and succeeds whatever the
//! numbers are: on a busy machine they say little. Reading and planning alone is measured by `plan` in
//! `crates/template/benches`.

use std::time::{Duration, Instant};

use bastide_benches::Outcome;
use bastide_benches::api::{DEPLOYMENTS, GROUPS, IDENTITIES, group};
use bastide_benches::client::Client;
use bastide_benches::numbers::{median, percentile};
use bastide_benches::report::Aim;
use bastide_benches::stage::Stage;
use serde::Deserialize;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut stage = Stage::begin("deployments", env!("CARGO_TARGET_TMPDIR"))?;
    let server = stage.directory("deployments")?.start().await?;
    let client = Client::sign_in(&server).await?;
    let report = &mut stage.report;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        report.progress(&format!("round {} of {ROUNDS}", round + 1));
        times.push(deploy(&client, &format!("bench-{round}")).await?.as_secs_f64());
    }
    let time = median(&mut times);
    report.add(
        &format!("deployment of {RESOURCES} identities, median of {ROUNDS} [s]"),
        format!("{time:.2}"),
        Some(Aim::new("< 2", time < 2.0)),
    );
    report.add("    slowest [s]", format!("{:.2}", percentile(&mut times, 100)), None);
    report.print();
    server.stop().await
}

/// Deploys to a new resource group and makes sure that everything is there.
async fn deploy(client: &Client, name: &str) -> Outcome<Duration> {
    let group = group(name);
    client.put(&group, GROUPS, &json!({"location": "local"})).await?;
    let deployment = format!("{group}/providers/Microsoft.Resources/deployments/main");
    let body = json!({"properties": {"mode": "Incremental", "template": template()}});
    let started = Instant::now();
    client.put(&deployment, DEPLOYMENTS, &body).await?;
    let ended = loop {
        let deployment: Value = client.get(&deployment, DEPLOYMENTS).await?;
        match deployment.pointer("/properties/provisioningState").and_then(Value::as_str) {
            Some("Succeeded") => break started.elapsed(),
            Some("Accepted" | "Running") if started.elapsed() < PATIENCE => tokio::time::sleep(POLLING).await,
            _ => return Err(format!("the deployment did not succeed: {deployment}").into()),
        }
    };
    let mut page: Page = client.get(&format!("{group}/resources"), GROUPS).await?;
    let mut found = page.value.len();
    while let Some(link) = page.next_link {
        page = client.follow(&link).await?;
        found += page.value.len();
    }
    if found != RESOURCES {
        return Err(format!("{found} resources are there, not {RESOURCES}").into());
    }
    Ok(ended)
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    value: Vec<Value>,
    next_link: Option<String>,
}

/// A loop of nested deployments, each a loop of identities.
fn template() -> Value {
    json!({
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "resources": [{
            "type": "Microsoft.Resources/deployments",
            "apiVersion": DEPLOYMENTS,
            "name": "[format('part-{0}', copyIndex())]",
            "copy": {"name": "parts", "count": PARTS},
            "properties": {
                "mode": "Incremental",
                "expressionEvaluationOptions": {"scope": "inner"},
                "parameters": {"part": {"value": "[copyIndex()]"}},
                "template": {
                    "$schema": SCHEMA,
                    "contentVersion": "1.0.0.0",
                    "parameters": {"part": {"type": "int"}},
                    "resources": [{
                        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
                        "apiVersion": IDENTITIES,
                        "name": "[format('id-{0}-{1:D3}', parameters('part'), copyIndex())]",
                        "location": "[resourceGroup().location]",
                        "tags": {"part": "[string(parameters('part'))]"},
                        "copy": {"name": "identities", "count": RESOURCES / PARTS},
                    }],
                },
            },
        }],
    })
}

const ROUNDS: usize = 5;
const RESOURCES: usize = 500;
const PARTS: usize = 5;

/// How often the end is asked for: often enough not to be seen in the numbers.
const POLLING: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(2);

const SCHEMA: &str = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#";
