//! `bastide access ...`: who may do what and why, and how somebody comes by a role. Over the public API.

mod request;
mod user;
mod why;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::Outcome;
use crate::output::Format;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say which role assignment lets somebody do something, through which group, or why none does and who could help.
    Why(why::Arguments),
    /// List who has access to a hub and its projects, or to any other scope, and through what.
    Users(Place),
    /// Ask for a role; somebody who may assign it decides.
    Ask(request::Ask),
    /// List what was asked for at a scope and below it.
    Requests(Place),
    /// Approve what was asked for: the role is assigned.
    Approve(request::Decide),
    /// Say no to what was asked for.
    Deny(request::Decide),
}

/// Where, and how the answer looks.
#[derive(Debug, Args)]
struct Place {
    /// Where: the id of a subscription, a resource group or a resource.
    #[arg(long, value_name = "ID", value_parser = scope)]
    scope: String,
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
        Command::Why(arguments) => runtime.block_on(why::run(arguments)),
        Command::Users(place) => runtime.block_on(user::list(place)),
        Command::Ask(arguments) => runtime.block_on(request::ask(arguments)),
        Command::Requests(place) => runtime.block_on(request::list(place)),
        Command::Approve(arguments) => runtime.block_on(request::decide(arguments, "approve")),
        Command::Deny(arguments) => runtime.block_on(request::decide(arguments, "deny")),
    }
}

/// An id as it begins a path.
fn scope(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && !text.contains(['?', '#']) && !text.contains(char::is_whitespace);
    match is_path {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => {
            Err("a scope is an id that begins with '/', such as /subscriptions/{id}/resourceGroups/{name}".to_owned())
        }
    }
}

/// What is at a place in an answer; null where nothing is.
fn at<'a>(answer: &'a Value, pointer: &str) -> &'a Value {
    answer.pointer(pointer).unwrap_or(&Value::Null)
}

/// The version of the API that is spoken.
const API_VERSION: &str = "2022-04-01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_an_id() {
        assert_eq!(scope("/subscriptions/s/"), Ok("/subscriptions/s".to_owned()));
        for odd in ["rg", "subscriptions/s", "/a?b", "/a b", "https://host/x"] {
            assert!(scope(odd).is_err(), "{odd}");
        }
    }
}
