//! `bastide access why`: why somebody may or may not do something, over the public API.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::Outcome;
use crate::client::Api;
use crate::output::{Format, columns};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say which role assignment lets somebody do something, through which group, or why none does and who could help.
    Why(Why),
}

#[derive(Debug, Args)]
struct Why {
    /// Who: an object id, a user name, or the name of an application [default: who asks].
    #[arg(long, value_name = "NAME|ID")]
    principal: Option<String>,
    /// What, such as Microsoft.MachineLearningServices/workspaces/write.
    #[arg(long)]
    action: String,
    /// Whether it is a data action.
    #[arg(long)]
    data_action: bool,
    /// Where: the id of a subscription, a resource group or a resource.
    #[arg(long, value_name = "ID")]
    scope: String,
    #[command(flatten)]
    format: Format,
    /// The data directory of a local Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Asks, and prints the answer. The exit code is 0 whatever it is: the question was answered.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let Command::Why(arguments) = &arguments.command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(ask(arguments))?;
    arguments.format.show(&answer, told)?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(arguments: &Why) -> Result<Value, Box<dyn std::error::Error>> {
    let mut query = Serializer::new(String::new());
    query.append_pair("api-version", "2022-04-01").append_pair("action", &arguments.action);
    if let Some(principal) = &arguments.principal {
        query.append_pair("principal", principal);
    }
    if arguments.data_action {
        query.append_pair("data", "true");
    }
    let scope = arguments.scope.trim_end_matches('/');
    let path = format!("{scope}/providers/Bastide.Authorization/whyAccess?{}", query.finish());
    Ok(Api::open(arguments.data_dir.as_deref()).await?.get(&path).await?)
}

fn told(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let verdict = if answer["allowed"] == true { "ALLOWED" } else { "DENIED" };
    let mut told = format!("{verdict}: {}\n", text(&answer["summary"]));
    let mut rows = vec![["OUTCOME", "ROLE", "SCOPE", "THROUGH", "ASSIGNMENT"].map(str::to_owned)];
    for step in answer["assignments"].as_array().into_iter().flatten() {
        let through = match (step["groupName"].as_str(), step["group"].as_str()) {
            (Some(name), _) => format!("group {name}"),
            (None, Some(id)) => format!("group {id}"),
            (None, None) if step["fromHub"] == true => "its hub".to_owned(),
            (None, None) => "-".to_owned(),
        };
        let role = step["roleName"].as_str().or(step["roleDefinitionId"].as_str()).unwrap_or("-").to_owned();
        rows.push([outcome(&step["outcome"]), role, text(&step["scope"]), through, text(&step["assignment"])]);
    }
    if rows.len() > 1 {
        told.push('\n');
        told += &columns(&rows);
    }
    for deny in answer["denies"].as_array().into_iter().flatten() {
        let name = text(&deny["denyAssignmentName"]);
        told += &format!("Blocked by deny assignment '{name}' at '{}'.\n", text(&deny["scope"]));
    }
    let names = answer["grantors"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
    let grantors = names.collect::<Vec<_>>().join(", ");
    if answer["allowed"] != true && !grantors.is_empty() {
        told += &format!("Access here can be granted by: {grantors}.\n");
    }
    told
}

fn outcome(outcome: &Value) -> String {
    let part = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
    match outcome["kind"].as_str() {
        Some("grants") => format!("grants by {}", part("pattern")),
        Some("subtracted") => format!("taken back by {}", part("by")),
        Some("condition") => "condition not fulfilled".to_owned(),
        Some("roleUnknown") => "role is gone".to_owned(),
        _ => "does not cover it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_grounds_and_who_could_help() {
        let told = told(&json!({
            "allowed": false,
            "summary": "The role 'Reader' at '/subscriptions/s' does not cover it.",
            "assignments": [{
                "outcome": {"kind": "notCovered"}, "roleName": "Reader", "scope": "/subscriptions/s",
                "group": "g", "groupName": "team", "assignment": "a1",
            }],
            "denies": [],
            "grantors": [{"name": "ada"}, {"name": null}, {"name": "bob"}],
        }));
        let expected = "DENIED: The role 'Reader' at '/subscriptions/s' does not cover it.\n\
            \n\
            OUTCOME            ROLE    SCOPE             THROUGH     ASSIGNMENT\n\
            does not cover it  Reader  /subscriptions/s  group team  a1\n\
            Access here can be granted by: ada, bob.\n";
        assert_eq!(told, expected);
    }
}
