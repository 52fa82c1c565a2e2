//! What founding and changing a hub takes: a PUT over TLS, from sending it to its terminal answer.
//!
//! `cargo bench -p bastide-benches --bench hubs` builds the release binary and starts it on a data directory of its own
//! below the build directory; `BASTIDE_BIN` names another binary. Prints a table and succeeds whatever the numbers are:
//! on a busy machine they say little.

#[expect(dead_code, reason = "another bench measures more")]
#[path = "../front_door/client.rs"]
mod client;
#[expect(dead_code, reason = "another bench measures more")]
#[path = "../front_door/numbers.rs"]
mod numbers;
#[path = "../front_door/report.rs"]
mod report;
#[expect(dead_code, reason = "another bench measures more")]
#[path = "../front_door/server.rs"]
mod server;

use std::error::Error;
use std::time::Instant;

use serde_json::{Map, Value, json};

use client::Client;
use numbers::{median, percentile};
use report::{Aim, Report};
use server::{Binary, DataDirectory};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    // The client's cryptography; installing fails only when it is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let binary = Binary::find()?;
    // Below the build's own directory: /tmp is often memory, which flushes for nothing.
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Report::begin("hubs");
    let server = DataDirectory::new(&binary, disk.path().join("hubs"))?.start().await?;
    let client = Client::sign_in(&server).await?;
    client.put("/resourceGroups/bench", GROUPS, &json!({"location": "local"})).await?;
    let plain = json!({"location": "local", "kind": "Hub"});
    let many = json!({"location": "local", "kind": "Hub", "properties": {"managedNetwork": network(RULES)}});
    let mut founded = Vec::new();
    let mut ruled = Vec::new();
    let mut repeated = Vec::new();
    for round in 0..ROUNDS {
        report.progress(&format!("round {} of {ROUNDS}", round + 1));
        founded.push(put(&client, &format!("plain-{round}"), &plain).await?);
        let name = format!("many-{round}");
        ruled.push(put(&client, &name, &many).await?);
        repeated.push(put(&client, &name, &many).await?);
        let hub: Value = client.get(&path(&name), WORKSPACES).await?;
        let rules = hub.pointer("/properties/managedNetwork/outboundRules").and_then(Value::as_object);
        let found = rules.into_iter().flatten().filter(|(name, _)| name.starts_with("rule-")).count();
        if found != RULES {
            return Err(format!("{found} rules are there, not {RULES}").into());
        }
    }
    report.add(
        &format!("a new hub with its storage account and vault, median of {ROUNDS} [ms]"),
        format!("{:.1}", median(&mut founded)),
        None,
    );
    for (what, times) in [("a new hub with", &mut ruled), ("the same again,", &mut repeated)] {
        let time = median(times);
        report.add(
            &format!("{what} {RULES} rules, median of {ROUNDS} [ms]"),
            format!("{time:.1}"),
            Some(Aim::new("< 100", time < 100.0)),
        );
        report.add("    slowest [ms]", format!("{:.1}", percentile(times, 100)), None);
    }
    report.print();
    server.stop().await
}

/// Milliseconds until the answer, which is terminal: it has no operation to follow.
async fn put(client: &Client, name: &str, body: &Value) -> Outcome<f64> {
    let started = Instant::now();
    client.put(&path(name), WORKSPACES, body).await?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}

fn path(name: &str) -> String {
    format!("/resourceGroups/bench/providers/Microsoft.MachineLearningServices/workspaces/{name}")
}

fn network(rules: usize) -> Value {
    let rules: Map<String, Value> = (0..rules)
        .map(|index| {
            let destination = format!("host-{index}.example.com");
            (format!("rule-{index}"), json!({"type": "FQDN", "destination": destination}))
        })
        .collect();
    json!({"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": rules})
}

const ROUNDS: usize = 11;
const RULES: usize = 1000;
const GROUPS: &str = "2024-11-01";
const WORKSPACES: &str = "2025-12-01";
