//! `bastide network history|diff|rollback` and `ask|requests|approve|deny`: the rules of a hub as they change.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{API_VERSION, Hub, duration, field};
use crate::Outcome;
use crate::client::{Api, segment};
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The revision to compare from, as 'history' lists them.
    #[arg(long, value_name = "REVISION")]
    from: i64,
    /// The revision to compare with [default: the rules as they are].
    #[arg(long, value_name = "REVISION")]
    to: Option<i64>,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Back to the rules right after this revision [default: to those before the latest change].
    #[arg(long, value_name = "REVISION")]
    revision: Option<i64>,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, Args)]
pub(super) struct Toggle {
    /// The rule.
    #[arg(value_name = "RULE")]
    rule: String,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, Args)]
pub(super) struct Ask {
    /// The host that is to be reached.
    #[arg(long, value_name = "NAME")]
    to: String,
    /// For how long, such as 2h [default: for good].
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<SignedDuration>,
    /// What it is needed for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    because: String,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, Args)]
pub(super) struct Decide {
    /// The request, as 'requests' lists them.
    #[arg(value_name = "REQUEST")]
    request: String,
    /// For how long, such as 2h [default: as asked].
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<SignedDuration>,
    #[command(flatten)]
    hub: Hub,
}

pub(super) async fn history(hub: &Hub) -> Outcome {
    let answer = hub.ask(Method::GET, "revisions", &[], None).await?;
    hub.format.show(&answer, |answer| {
        let mut rows = vec![["REVISION", "AT", "BY", "CHANGES"].map(str::to_owned)];
        rows.extend(field(answer, "value").as_array().into_iter().flatten().map(|revision| {
            let of = |name: &str| text(field(revision, name));
            [of("revision"), of("at"), of("by"), words(field(revision, "changes"))]
        }));
        columns(&rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn diff(Diff { from, to, hub }: &Diff) -> Outcome {
    let mut query = vec![("from", from.to_string())];
    query.extend(to.map(|to| ("to", to.to_string())));
    let answer = hub.ask(Method::GET, "diff", &query, None).await?;
    hub.format.show(&answer, changes)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn rollback(Rollback { revision, hub }: &Rollback) -> Outcome {
    let answer = hub.ask(Method::POST, "rollback", &[], Some(&json!({"revision": revision}))).await?;
    hub.format.show(&answer, changes)?;
    Ok(ExitCode::SUCCESS)
}

/// What else the rule says stays as it is (mission.md G12).
pub(super) async fn toggle(Toggle { rule, hub }: &Toggle, is_enabled: bool) -> Outcome {
    let api = Api::open(hub.data_dir.as_deref()).await?;
    let path = format!("{}/outboundRules/{}?api-version={API_VERSION}", hub.id(&api).await?, segment(rule));
    let mut properties = api.get(&path).await?.get("properties").cloned().unwrap_or_default();
    if let Some(fields) = properties.as_object_mut() {
        let extension = fields.entry("bastide").or_insert_with(|| json!({}));
        if let Some(extension) = extension.as_object_mut() {
            extension.insert("enabled".to_owned(), is_enabled.into());
        }
    }
    let answer = api.ask(Method::PUT, &path, Some(&json!({"properties": properties}))).await?.body;
    hub.format.show(&answer, |answer| {
        let of = |name: &str| text(field(field(answer, "properties"), name));
        let why = of("errorInformation");
        let why = if why.is_empty() { why } else { format!(": {why}") };
        format!("{} is {}{why}\n", text(field(answer, "name")), of("status"))
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn ask(Ask { to, time, because, hub }: &Ask) -> Outcome {
    let body = json!({"destination": to, "justification": because, "minutes": minutes(*time)});
    let answer = hub.ask(Method::POST, "ask", &[], Some(&body)).await?;
    hub.format.show(&answer, |answer| format!("Asked: {}\n", request(answer)))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn requests(hub: &Hub) -> Outcome {
    let answer = hub.ask(Method::GET, "requests", &[], None).await?;
    hub.format.show(&answer, |answer| {
        let mut rows = vec![["REQUEST", "STATUS", "DESTINATION", "FOR", "BY", "BECAUSE"].map(str::to_owned)];
        rows.extend(field(answer, "value").as_array().into_iter().flatten().map(|asked| {
            let of = |name: &str| text(field(asked, name));
            let time = field(asked, "minutes").as_i64().map_or("good".to_owned(), |minutes| format!("{minutes} min"));
            [of("id"), of("status"), of("destination"), time, of("askedByName"), of("justification")]
        }));
        columns(&rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn decide(Decide { request: id, time, hub }: &Decide, word: &str) -> Outcome {
    let what = format!("requests/{}/{word}", segment(id));
    let answer = hub.ask(Method::POST, &what, &[], Some(&json!({"minutes": minutes(*time)}))).await?;
    hub.format.show(&answer, |answer| format!("{}: {}\n", text(field(answer, "status")), request(answer)))?;
    Ok(ExitCode::SUCCESS)
}

/// A request in a few words.
fn request(answer: &Value) -> String {
    let of = |name: &str| text(field(answer, name));
    let until = if of("expiresOn").is_empty() { String::new() } else { format!(" until {}", of("expiresOn")) };
    format!("{} ({}){until}", of("destination"), of("id"))
}

/// Whole minutes, one at least.
fn minutes(time: Option<SignedDuration>) -> Option<i64> {
    time.map(|time| time.as_secs().div_euclid(60).max(1))
}

fn words(changes: &Value) -> String {
    let count = |name: &str| field(changes, name).as_array().map_or(0, Vec::len);
    format!("+{} -{} ~{}", count("added"), count("removed"), count("changed"))
}

fn changes(answer: &Value) -> String {
    let mut told = String::new();
    for (sign, kind, side) in [("+", "added", "after"), ("-", "removed", "before"), ("~", "changed", "after")] {
        for change in field(field(answer, "changes"), kind).as_array().into_iter().flatten() {
            let destination = shown(field(field(change, side), "destination"));
            let _ = writeln!(told, "{sign} {}: {destination}{}", text(field(change, "name")), details(change));
        }
    }
    if told.is_empty() { "No difference.\n".to_owned() } else { told }
}

/// What of a rule that stays says something else.
fn details(change: &Value) -> String {
    let (before, after) = (field(change, "before"), field(change, "after"));
    let (Some(was), Some(is)) = (before.as_object(), after.as_object()) else { return String::new() };
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let differs = names.into_iter().filter(|name| was.get(*name) != is.get(*name));
    let details: Vec<String> = differs
        .map(|name| format!("{name} was {}, is {}", shown(field(before, name)), shown(field(after, name))))
        .collect();
    format!(" ({})", details.join("; "))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(_) => text(value),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_of_a_rule_is_told() {
        let rule = |extension: Value| json!({"type": "FQDN", "destination": "pypi.org", "bastide": extension});
        let change = json!({"name": "pypi", "before": rule(Value::Null), "after": rule(json!({"enabled": false}))});
        let told = changes(&json!({"changes": {"added": [], "removed": [], "changed": [change]}}));
        assert_eq!(told, "~ pypi: pypi.org (bastide was not set, is {\"enabled\":false})\n");
    }

    #[test]
    fn times_are_whole_minutes() {
        assert_eq!(minutes(Some(SignedDuration::from_hours(2))), Some(120));
        assert_eq!(minutes(Some(SignedDuration::from_secs(90))), Some(1));
        assert_eq!(minutes(Some(SignedDuration::from_secs(5))), Some(1));
        assert_eq!(minutes(None), None);
    }
}
