//! `bastide access why`: why somebody may or may not do something.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::{API_VERSION, Place};
use crate::Outcome;
use crate::client::Api;
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Who: an object id, a user name, or the name of an application [default: who asks].
    #[arg(long, value_name = "NAME|ID")]
    principal: Option<String>,
    /// What, such as Microsoft.MachineLearningServices/workspaces/write.
    #[arg(long)]
    action: String,
    /// Whether it is a data action.
    #[arg(long)]
    data_action: bool,
    #[command(flatten)]
    place: Place,
}

/// The exit code is 0 whatever the answer is: the question was answered.
pub(super) async fn run(Arguments { principal, action, data_action, place }: &Arguments) -> Outcome {
    let mut query = Serializer::new(String::new());
    query.append_pair("api-version", API_VERSION).append_pair("action", action);
    if let Some(principal) = principal {
        query.append_pair("principal", principal);
    }
    if *data_action {
        query.append_pair("data", "true");
    }
    let path = format!("{}/providers/Bastide.Authorization/whyAccess?{}", place.scope, query.finish());
    let answer = Api::open(place.data_dir.as_deref()).await?.get(&path).await?;
    place.format.show(&answer, told)?;
    Ok(ExitCode::SUCCESS)
}

fn told(answer: &Value) -> String {
    let verdict = if answer["allowed"] == true { "ALLOWED" } else { "DENIED" };
    let mut told = format!("{verdict}: {}\n", text(&answer["summary"]));
    let mut rows = vec![["OUTCOME", "ROLE", "SCOPE", "THROUGH", "ASSIGNMENT"].map(str::to_owned)];
    for step in answer["assignments"].as_array().into_iter().flatten() {
        let through = match (step["groupName"].as_str(), step["group"].as_str()) {
            (Some(_), _) => format!("group {}", text(&step["groupName"])),
            (None, Some(_)) => format!("group {}", text(&step["group"])),
            (None, None) if step["fromHub"] == true => "its hub".to_owned(),
            (None, None) => "-".to_owned(),
        };
        let role = if step["roleName"].is_null() { &step["roleDefinitionId"] } else { &step["roleName"] };
        rows.push([outcome(&step["outcome"]), text(role), text(&step["scope"]), through, text(&step["assignment"])]);
    }
    if rows.len() > 1 {
        told.push('\n');
        told += &columns(&rows);
    }
    for deny in answer["denies"].as_array().into_iter().flatten() {
        let name = text(&deny["denyAssignmentName"]);
        told += &format!("Blocked by deny assignment '{name}' at '{}'.\n", text(&deny["scope"]));
    }
    let names = answer["grantors"].as_array().into_iter().flatten().map(|one| text(&one["name"]));
    let grantors = names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ");
    if answer["allowed"] != true && !grantors.is_empty() {
        told += &format!("Access here can be granted by: {grantors}.\n");
    }
    told
}

fn outcome(outcome: &Value) -> String {
    let part = |name: &str| text(&outcome[name]);
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
