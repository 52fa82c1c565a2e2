//! `bastide network ...`: what the wall of a hub would do, and what it did. Over the public API.

mod change;
mod flows;
mod isolation;
mod preset;
mod replay;
mod service_tags;
mod suggest;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use jiff::SignedDuration;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use crate::Outcome;
use crate::client::{Api, ClientError, segment};
use crate::output::{Format, text};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a connection from inside a hub would be let through, by which rule, and what to add if not.
    Explain(Explain),
    /// List connections and DNS questions from inside a hub, the latest last.
    Flows(flows::Arguments),
    /// Say what rules that you have in mind would have cut or let through of what has happened.
    Replay(replay::Arguments),
    /// Turn what was refused into the smallest set of rules that lets it through, each with its evidence.
    Suggest(suggest::Arguments),
    /// List what was changed of a hub's rules, when and by whom.
    History(Hub),
    /// Compare the rules of a hub at two revisions.
    Diff(change::Diff),
    /// Take back the latest change of a hub's rules, or all after a revision.
    Rollback(change::Rollback),
    /// Put a rule in force again that was disabled.
    Enable(change::Toggle),
    /// Take a rule out of force and leave it where it is; its live connections go.
    Disable(change::Toggle),
    /// Ask for a way out to a host, for a time or for good.
    Ask(change::Ask),
    /// List what was asked for.
    Requests(Hub),
    /// Approve what was asked for.
    Approve(change::Decide),
    /// Say no to what was asked for.
    Deny(change::Decide),
    /// Show how isolated a hub is, lift that for a time, bring it back.
    Isolation(isolation::Arguments),
    /// Add what a purpose needs - Python packages, Visual Studio Code, Hugging Face - in one call.
    Preset(preset::Arguments),
    /// Say what the network of a hub would cost in the cloud.
    Cost(Hub),
    /// Say what service tags mean: import packs of them, and look at those there are.
    ServiceTags(service_tags::Arguments),
}

#[derive(Debug, Args)]
struct Explain {
    #[command(flatten)]
    hub: Hub,
    /// From which compute [default: any].
    #[arg(long, value_name = "NAME")]
    compute: Option<String>,
    /// The destination: a host name or an IPv4 address, with or without a port [default port: 443]; or a URL.
    #[arg(long, value_name = "NAME[:PORT]")]
    to: String,
}

#[derive(Debug, Args)]
struct Hub {
    /// The hub.
    #[arg(long, short = 'w', value_name = "NAME")]
    workspace_name: String,
    /// Its resource group.
    #[arg(long, short = 'g', value_name = "NAME")]
    resource_group: String,
    /// Its subscription [default: the bootstrap client's, or the only one].
    #[arg(long, value_name = "ID")]
    subscription: Option<Uuid>,
    #[command(flatten)]
    format: Format,
    /// The data directory of a local Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Asks, and prints the answer.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &arguments.command {
        Command::Explain(arguments) => runtime.block_on(explain(arguments)),
        Command::Flows(arguments) => runtime.block_on(flows::run(arguments)),
        Command::Replay(arguments) => runtime.block_on(replay::run(arguments)),
        Command::Suggest(arguments) => runtime.block_on(suggest::run(arguments)),
        Command::History(hub) => runtime.block_on(change::history(hub)),
        Command::Diff(arguments) => runtime.block_on(change::diff(arguments)),
        Command::Rollback(arguments) => runtime.block_on(change::rollback(arguments)),
        Command::Enable(arguments) => runtime.block_on(change::toggle(arguments, true)),
        Command::Disable(arguments) => runtime.block_on(change::toggle(arguments, false)),
        Command::Ask(arguments) => runtime.block_on(change::ask(arguments)),
        Command::Requests(hub) => runtime.block_on(change::requests(hub)),
        Command::Approve(arguments) => runtime.block_on(change::decide(arguments, "approve")),
        Command::Deny(arguments) => runtime.block_on(change::decide(arguments, "deny")),
        Command::Isolation(arguments) => runtime.block_on(isolation::run(arguments)),
        Command::Preset(arguments) => runtime.block_on(preset::run(arguments)),
        Command::Cost(hub) => runtime.block_on(preset::cost(hub)),
        Command::ServiceTags(arguments) => runtime.block_on(service_tags::run(arguments)),
    }
}

/// The exit code is 0 whatever the verdict: the question was answered.
async fn explain(arguments: &Explain) -> Outcome {
    let (to, port) = destination(&arguments.to);
    let mut query = vec![("to", to)];
    query.extend(port.map(|port| ("port", port)));
    query.extend(arguments.compute.clone().map(|compute| ("compute", compute)));
    let hub = &arguments.hub;
    let answer = ask(hub, "explain", &query).await?;
    hub.format.show(&answer, |answer| verdict(answer) + &way_to_ask(answer, hub))?;
    Ok(ExitCode::SUCCESS)
}

/// Host and port of what somebody typed, or copied from a browser.
fn destination(text: &str) -> (String, Option<String>) {
    let text = text.trim();
    if let Some(url) = Url::parse(text).ok().filter(|url| url.has_host() && text.contains("://")) {
        let port = url.port_or_known_default().map(|port| port.to_string());
        return (url.host_str().unwrap_or_default().to_owned(), port);
    }
    match text.rsplit_once(':') {
        // An IPv6 address without brackets has colons and no port.
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host.to_owned(), Some(port.to_owned())),
        _ => (text.to_owned(), None),
    }
}

/// How to ask for what is missing, if asking brings it: an approval opens the ports of the web.
fn way_to_ask(answer: &Value, Hub { workspace_name, resource_group, .. }: &Hub) -> String {
    let suggestion = field(answer, "suggestion");
    if text(field(suggestion, "ruleType")) != "FQDN" || !field(suggestion, "port").is_null() {
        return String::new();
    }
    let name = text(field(suggestion, "destination"));
    format!("To ask for it: bastide network ask -g {resource_group} -w {workspace_name} --to {name}\n")
}

/// What `explain` has found, in a sentence or two.
pub(crate) fn verdict(answer: &Value) -> String {
    let verdict = if field(answer, "allowed") == &Value::Bool(true) { "ALLOWED" } else { "DENIED" };
    let rule = field(answer, "rule").as_str().map(|rule| format!(" by rule '{rule}'")).unwrap_or_default();
    let mut told = format!("{verdict}{rule}: {}\n", text(field(answer, "reason")));
    if let Some(suggestion) = field(answer, "suggestion").as_object() {
        let destination = suggestion.get("destination").map(text).unwrap_or_default();
        let kind = suggestion.get("ruleType").map(text).unwrap_or_default();
        let port = suggestion.get("port").map(text).filter(|port| !port.is_empty());
        told += &match (port, answer.get("rule").and_then(Value::as_str)) {
            (None, _) => format!("To let it through: add a rule of type {kind} with destination '{destination}'.\n"),
            (Some(port), Some(rule)) => {
                format!(
                    "To let it through: list port {port}, beside those it has, in bastide.ports of rule '{rule}'.\n"
                )
            }
            (Some(port), None) if kind == "FQDN" => format!(
                "To let it through: add a rule of type {kind} with destination '{destination}' and bastide.ports [{port}].\n"
            ),
            (Some(port), None) => format!(
                "To let it through: add a rule of type {kind} with addressPrefixes ['{destination}'], protocol TCP and \
                 portRanges '{port}'.\n"
            ),
        };
    }
    told
}

async fn ask(hub: &Hub, what: &str, query: &[(&str, String)]) -> Result<Value, Box<dyn std::error::Error>> {
    hub.ask(Method::GET, what, query, None).await
}

impl Hub {
    /// What the API answers to a request about the network of the hub.
    async fn ask(
        &self,
        method: Method,
        what: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Box<dyn std::error::Error>> {
        let api = Api::open(self.data_dir.as_deref()).await?;
        let path = self.path(&api, what, query).await?;
        Ok(api.ask(method, &path, body).await?.body)
    }

    /// The answer to a GET that may go on for as long as anybody reads it.
    async fn open(
        &self,
        what: &str,
        query: &[(&str, String)],
    ) -> Result<reqwest::Response, Box<dyn std::error::Error>> {
        let api = Api::open(self.data_dir.as_deref()).await?;
        let path = self.path(&api, what, query).await?;
        Ok(api.open_body(&path).await?)
    }

    async fn path(&self, api: &Api, what: &str, query: &[(&str, String)]) -> Result<String, ClientError> {
        let mut pairs = Serializer::new(String::new());
        pairs.append_pair("api-version", API_VERSION).extend_pairs(query);
        Ok(format!("{}/bastide/{what}?{}", self.id(api).await?, pairs.finish()))
    }

    async fn id(&self, api: &Api) -> Result<String, ClientError> {
        let subscription = api.subscription(self.subscription).await?;
        let (group, name) = (segment(&self.resource_group), segment(&self.workspace_name));
        Ok(format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices/workspaces\
             /{name}"
        ))
    }
}

fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

/// `90s`, `10m`, `1h`, `2d`.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let refuse = || format!("'{text}' is not a time such as 90s, 10m, 1h or 2d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refuse)?;
    let seconds: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(refuse()),
    };
    let number: i64 = number.parse().ok().filter(|number| (0..=100_000).contains(number)).ok_or_else(refuse)?;
    Ok(SignedDuration::from_secs(number * seconds))
}

const API_VERSION: &str = "2026-11-01";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn destinations_are_read_as_people_have_them() {
        let read = |text: &str| {
            let (host, port) = destination(text);
            format!("{host} {}", port.unwrap_or_default())
        };
        let cases = [
            ("pypi.org", "pypi.org "),
            ("pypi.org:22", "pypi.org 22"),
            ("https://pypi.org/simple", "pypi.org 443"),
            ("http://pypi.org:8080/", "pypi.org 8080"),
            ("198.18.0.1:80", "198.18.0.1 80"),
            ("::1", "::1 "),
            ("[::1]:443", "[::1] 443"),
            ("[::1]", "[::1] "),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_would_let_it_through_is_said_whole() {
        let told = |rule: Value, suggestion: Value| {
            verdict(&json!({"allowed": false, "rule": rule, "reason": "No.", "suggestion": suggestion}))
        };
        let name = |port: Value| json!({"ruleType": "FQDN", "destination": "git.example", "port": port});
        assert!(told(Value::Null, name(Value::Null)).ends_with("of type FQDN with destination 'git.example'.\n"));
        assert!(told(Value::Null, name(json!(9418))).contains("bastide.ports [9418]"));
        assert!(
            told(json!("git"), name(json!(22)))
                .contains("list port 22, beside those it has, in bastide.ports of rule 'git'")
        );
        let address = json!({"ruleType": "ServiceTag", "destination": "192.0.2.1/32", "port": 22});
        assert!(
            told(Value::Null, address).contains("addressPrefixes ['192.0.2.1/32'], protocol TCP and portRanges '22'")
        );
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("10m"), Ok(SignedDuration::from_mins(10)));
        assert_eq!(duration("2d"), Ok(SignedDuration::from_hours(48)));
        for wrong in ["", "10", "m", "-1m", "1w", "9999999999999h", "1µ"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
