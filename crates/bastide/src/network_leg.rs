//! `bastide network-leg`: a leg with nothing in it, for tests of the wall. Not for users, and for root only.

use std::path::PathBuf;
use std::process::ExitCode;

use bastide_agent::Client;
use bastide_plan::hub_plan::HubId;
use bastide_plan::message::{Answer, Request};
use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use crate::Outcome;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give a hub a leg, and print its network namespace and address.
    Attach(Leg),
    /// Take it away again.
    Detach(Leg),
}

#[derive(Debug, Args)]
struct Leg {
    /// The data directory of the Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: PathBuf,
    /// The incarnation of the hub [default: the only one on this node].
    #[arg(long, value_name = "UUID")]
    hub: Option<Uuid>,
    /// The leg's name.
    name: String,
}

/// Asks the agent.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let (Command::Attach(leg) | Command::Detach(leg)) = &arguments.command;
    // Older than every server: it may ask, and changes no plan.
    let mut client = Client::connect(&leg.data_dir.join("run/agent.sock"), i64::MIN)?;
    let hub = match (leg.hub, client.hubs()) {
        (Some(hub), _) => HubId(hub),
        (None, [report]) => report.hub,
        (None, hubs) => {
            let ids: Vec<_> = hubs.iter().map(|report| report.hub.to_string()).collect();
            return Err(format!("this node has {} hubs ({}): name one with --hub", ids.len(), ids.join(", ")).into());
        }
    };
    let name = leg.name.clone();
    let request = match arguments.command {
        Command::Attach(_) => Request::Attach { hub, name },
        Command::Detach(_) => Request::Detach { hub, name },
    };
    if let Answer::Attached { leg, namespace } = client.ask(request)? {
        println!("{}", json!({ "namespace": namespace, "address": leg.address, "hub": hub }));
    }
    Ok(ExitCode::SUCCESS)
}
