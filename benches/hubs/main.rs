//! What founding and changing a hub takes: a PUT over TLS, from sending it to its terminal answer. And, when root runs it,
//! what asking a hub with many rules takes whether it would let a connection through.
//!
//! `cargo bench -p bastide-benches --bench hubs` builds the release binary and starts it on a data directory of its own
//! below the build directory; `BASTIDE_BIN` names another binary. Prints a table and succeeds whatever the numbers are:
//! on a busy machine they say little.

use std::time::Instant;

use bastide_benches::Outcome;
use bastide_benches::api::{WORKSPACES, hub};
use bastide_benches::client::Client;
use bastide_benches::numbers::{median, percentile};
use bastide_benches::report::Aim;
use bastide_benches::stage::Stage;
use serde_json::{Map, Value, json};

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut stage = Stage::begin("hubs", env!("CARGO_TARGET_TMPDIR"))?;
    let server = stage.directory("hubs")?.start().await?;
    let client = Client::sign_in(&server).await?;
    client.found_group().await?;
    let report = &mut stage.report;
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
        let found: Value = client.get(&hub(&name), WORKSPACES).await?;
        let rules = found.pointer("/properties/managedNetwork/outboundRules").and_then(Value::as_object);
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
    server.stop().await?;
    if rustix::process::geteuid().is_root() {
        explain(&mut stage).await?;
    } else {
        println!("explain: not measured, because only root can put up a wall");
    }
    stage.report.print();
    Ok(())
}

/// The firewall of a hub says what it would do, asked over TLS by way of server and agent.
async fn explain(stage: &mut Stage) -> Outcome<()> {
    stage.report.progress("explain");
    let server = stage.directory("explain")?.behind_the_wall().start().await?;
    let client = Client::sign_in(&server).await?;
    client.found_group().await?;
    let properties = json!({"managedNetwork": network(MANY), "provisionNetworkNow": true});
    let body = json!({"location": "local", "kind": "Hub", "properties": properties});
    client.put(&hub("explain"), WORKSPACES, &body).await?;
    let path = format!("{}/bastide/explain", hub("explain"));
    let mut times = Vec::new();
    for number in 0..QUESTIONS {
        let is_approved = number % 2 == 0;
        let to = format!("to=host-{number}.example.{}", if is_approved { "com" } else { "org" });
        let started = Instant::now();
        let said: Value = client.ask(&path, WORKSPACES, &to).await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        if said.pointer("/allowed").and_then(Value::as_bool) != Some(is_approved) {
            return Err(format!("{to} is not explained as it is: {said}").into());
        }
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    stage.report.add(
        &format!("explain among {MANY} rules over TLS, p50, p99 of {QUESTIONS} [ms]"),
        format!("{p50:.1}, {p99:.1}"),
        Some(Aim::new("< 5", p50 < 5.0)),
    );
    server.stop().await
}

/// Milliseconds until the answer, which is terminal: it has no operation to follow.
async fn put(client: &Client, name: &str, body: &Value) -> Outcome<f64> {
    let started = Instant::now();
    client.put(&hub(name), WORKSPACES, body).await?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
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
/// Rules of the hub that is asked, and questions.
const MANY: usize = 10_000;
const QUESTIONS: usize = 500;
