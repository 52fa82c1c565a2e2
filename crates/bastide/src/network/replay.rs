//! `bastide network replay`: what has happened, against rules that somebody has in mind.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Hub, duration, field};
use crate::Outcome;
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    hub: Hub,
    /// The rules, JSON or YAML: an object with a rule under each name, as `managedNetwork.outboundRules` has them.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Only what began within this time, such as 1h or 7d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<SignedDuration>,
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    let Arguments { hub, rules, since } = arguments;
    let text = std::fs::read_to_string(rules)?;
    let read: Value = serde_saphyr::from_str(&text)?;
    let rules = read.get("outboundRules").cloned().unwrap_or(read);
    let since = since.map(|time| (Timestamp::now() - time).to_string());
    let body = json!({"outboundRules": rules, "since": since});
    let answer = hub.ask(Method::POST, "replay", &[], Some(&body)).await?;
    hub.format.show(&answer, told)?;
    Ok(ExitCode::SUCCESS)
}

fn told(answer: &Value) -> String {
    let mut told = String::new();
    for (list, heading) in [("cut", "Would have been cut:"), ("opened", "Would have been let through:")] {
        let lines = field(answer, list).as_array().map(Vec::as_slice).unwrap_or_default();
        if lines.is_empty() {
            continue;
        }
        let mut rows = vec![["DESTINATION", "PORT", "KIND", "RULE", "COUNT", "COMPUTES", "LAST"].map(str::to_owned)];
        rows.extend(lines.iter().map(row));
        told += &format!("{heading}\n{}", columns(&rows));
    }
    told += &format!(
        "{} flows examined, {} unchanged, {} that nothing can be said about.\n",
        text(field(answer, "examined")),
        text(field(answer, "unchanged")),
        text(field(answer, "unknown"))
    );
    if field(answer, "truncated") == &Value::Bool(true) {
        told += "There are more than are looked at in one go: ask for a shorter time with --since.\n";
    }
    told
}

fn row(line: &Value) -> [String; 7] {
    let computes = field(line, "computes").as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
    let of = |name: &str| text(field(line, name));
    [of("to"), of("port"), of("kind"), of("rule"), of("count"), computes, of("last")]
}
