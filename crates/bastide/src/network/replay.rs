//! `bastide network replay`: what has happened, against rules that somebody has in mind.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Hub, duration, field};
use crate::Outcome;
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    hub: Hub,
    /// The rules, JSON or YAML: an object with a rule under each name, as `managedNetwork.outboundRules` has them; also the
    /// body of a hub, or what `az ml workspace` reads and `suggest` prints.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Only what began within this time, such as 1h or 7d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<SignedDuration>,
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    let Arguments { hub, rules, since } = arguments;
    let text = std::fs::read_to_string(rules).map_err(|error| format!("cannot read {}: {error}", rules.display()))?;
    let read: Value = serde_saphyr::from_str(&text)?;
    let rules = proposed(read)?;
    let since = since.map(|time| (Timestamp::now() - time).to_string());
    let body = json!({"outboundRules": rules, "since": since});
    let answer = hub.ask(Method::POST, "replay", &[], Some(&body)).await?;
    hub.format.show(&answer, told)?;
    Ok(ExitCode::SUCCESS)
}

/// A file that says no rules.
#[derive(Debug, thiserror::Error)]
#[error(
    "there are no rules in the file. Write an object with a rule under each name, or managed_network with outbound_rules, \
     as 'bastide network suggest' prints it"
)]
struct NoRules;

/// The rules of a file, in the shape of the API.
fn proposed(read: Value) -> Result<Value, NoRules> {
    let of_body = read.pointer("/properties/managedNetwork").or_else(|| read.get("managedNetwork")).unwrap_or(&read);
    if let Some(rules) = of_body.get("outboundRules") {
        return Ok(rules.clone());
    }
    let of_az = read.get("managed_network").unwrap_or(&read).get("outbound_rules");
    if let Some(rules) = of_az.and_then(Value::as_array) {
        return rules.iter().map(of_yaml).collect::<Option<Map<_, _>>>().map(Value::Object).ok_or(NoRules);
    }
    let is_rules = read.as_object().is_some_and(|rules| rules.values().all(Value::is_object));
    if is_rules { Ok(read) } else { Err(NoRules) }
}

/// A rule as `az ml workspace` reads it: its name, and its properties in the shape of the API.
fn of_yaml(rule: &Value) -> Option<(String, Value)> {
    let name = rule.get("name")?.as_str()?.to_owned();
    let type_name = rule.get("type")?.as_str()?.replace('_', "");
    let destination = match rule.get("destination")? {
        Value::Object(fields) => fields.iter().map(|(name, value)| (camel(name), value.clone())).collect(),
        host => host.clone(),
    };
    Some((name, json!({"type": type_name, "destination": destination})))
}

/// `address_prefixes` as the API has it.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, rest) = word.split_at_checked(1).unwrap_or_default();
        name + &head.to_ascii_uppercase() + rest
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_in_every_shape_that_we_print() {
        let map = json!({"pypi": {"type": "FQDN", "destination": "pypi.org"}});
        for file in [
            map.clone(),
            json!({"outboundRules": map}),
            json!({"properties": {"managedNetwork": {"outboundRules": map}}}),
            json!({"managed_network": {"outbound_rules": [{"name": "pypi", "type": "FQDN", "destination": "pypi.org"}]}}),
        ] {
            assert_eq!(proposed(file.clone()).unwrap(), map, "{file}");
        }
        let yaml = "managed_network:\n  outbound_rules:\n  - name: ntp\n    type: service_tag\n    destination:\n      \
                    protocol: UDP\n      port_ranges: '123'\n      address_prefixes: ['192.0.2.1/32']\n";
        let destination = json!({"protocol": "UDP", "portRanges": "123", "addressPrefixes": ["192.0.2.1/32"]});
        assert_eq!(
            proposed(serde_saphyr::from_str(yaml).unwrap()).unwrap(),
            json!({"ntp": {"type": "servicetag", "destination": destination}})
        );
        for wrong in [json!([]), json!("pypi.org"), json!({"outbound_rules": [{"type": "fqdn"}]}), json!({"a": 1})] {
            assert!(proposed(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
