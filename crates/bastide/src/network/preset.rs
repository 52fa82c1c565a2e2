//! `bastide network preset ...` and `bastide network cost`: lists of hosts applied in one call, and what the network of a
//! hub would cost in the cloud.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{Hub, field};
use crate::Outcome;
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the presets, and what of each the hub lacks.
    List(Hub),
    /// Add the rules of a preset that the hub lacks, all at once.
    Apply(Apply),
}

#[derive(Debug, Args)]
struct Apply {
    /// The preset.
    #[arg(value_name = "PRESET")]
    preset: String,
    /// Say what would be added, and add nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    hub: Hub,
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::List(hub) => {
            let answer = hub.ask(Method::GET, "presets", &[], None).await?;
            hub.format.show(&answer, presets)?;
        }
        Command::Apply(Apply { preset, dry_run, hub }) => {
            let body = json!({"preset": preset, "dryRun": dry_run});
            let answer = hub.ask(Method::POST, "applyPreset", &[], Some(&body)).await?;
            hub.format.show(&answer, applied)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn cost(hub: &Hub) -> Outcome {
    let answer = hub.ask(Method::GET, "cost", &[], None).await?;
    hub.format.show(&answer, costs)?;
    Ok(ExitCode::SUCCESS)
}

fn presets(answer: &Value) -> String {
    let mut rows = vec![["PRESET", "VERSION", "RULES", "MISSING HERE", "TITLE"].map(str::to_owned)];
    rows.extend(field(answer, "value").as_array().into_iter().flatten().map(|preset| {
        let of = |name: &str| text(field(preset, name));
        let rules = field(preset, "rules").as_array().map_or(0, Vec::len).to_string();
        [of("name"), of("version"), rules, of("missing"), of("title")]
    }));
    columns(&rows)
}

fn applied(answer: &Value) -> String {
    let mut told = format!("{} of {}\n", text(field(answer, "preset")), text(field(answer, "version")));
    for (name, rule) in field(answer, "added").as_object().into_iter().flatten() {
        let _ = writeln!(told, "+ {name}: {}", text(field(rule, "destination")));
    }
    for risk in field(answer, "risks").as_array().into_iter().flatten() {
        let _ = writeln!(told, "! {}: {}", text(field(risk, "destination")), text(field(risk, "risk")));
    }
    for destination in field(answer, "present").as_array().into_iter().flatten() {
        let _ = writeln!(told, "= {}", text(destination));
    }
    for left in field(answer, "leftOut").as_array().into_iter().flatten() {
        let _ = writeln!(told, "! {}: {}", text(field(left, "destination")), text(field(left, "reason")));
    }
    if field(answer, "dryRun") == &Value::Bool(true) {
        told += "Nothing was changed.\n";
    }
    told
}

fn costs(answer: &Value) -> String {
    let mut rows = vec![["IN THE CLOUD", "COUNT", "A MONTH", "BECAUSE"].map(str::to_owned)];
    rows.extend(field(answer, "lines").as_array().into_iter().flatten().map(|line| {
        let of = |name: &str| text(field(line, name));
        [of("item"), of("count"), of("monthly"), of("because")]
    }));
    let cloud = field(answer, "cloud");
    let prices = field(answer, "prices");
    format!(
        "{}{} {} a month there, nothing here. {} (prices of {})\n",
        columns(&rows),
        text(field(cloud, "monthly")),
        text(field(cloud, "currency")),
        text(field(answer, "reason")),
        text(field(prices, "asOf")),
    )
}
