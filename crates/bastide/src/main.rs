//! The `bastide` command: flags and glue. The work is done in the other crates.

mod access;
mod address;
mod agent;
mod audit;
mod bootstrap;
mod client;
mod configuration;
mod confine;
mod data_directory;
mod demo;
mod doctor;
mod env;
mod fetch_image;
mod firewall;
mod founding;
mod image;
mod logging;
mod ml;
mod network;
mod network_leg;
mod output;
mod privilege;
mod ready;
mod serve;
mod shell;
mod stop;
mod terminal;
mod token;
mod trust;
mod up;
mod version;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::ClientError;

/// A self-hosted AI hub that speaks the Azure Resource Manager protocol.
#[derive(Debug, Parser)]
#[command(name = "bastide", version, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a Bastide in the foreground until Ctrl-C.
    Up(up::Arguments),
    /// Run the API alone, without an agent: for more servers on one PostgreSQL database.
    Serve(serve::Arguments),
    /// Run the privileged half of this node alone: what programs the kernel.
    Agent(agent::Arguments),
    #[command(hide = true)]
    Firewall(firewall::Arguments),
    #[command(hide = true)]
    Image(image::Arguments),
    #[command(hide = true)]
    FetchImage(fetch_image::Arguments),
    /// Print the lines that point a client at a Bastide: eval "$(bastide env az)".
    Env(env::Arguments),
    /// Print an access token of the bootstrap client.
    Token(token::Arguments),
    /// Work with hubs and their computes: what az calls 'az ml', with the same arguments and files.
    Ml(ml::Arguments),
    /// Ask about the wall of a hub: what it would do, what it did.
    Network(network::Arguments),
    /// Ask why somebody may or may not do something.
    Access(access::Arguments),
    /// Prove that the audit chain is whole, or take it out.
    Audit(audit::Arguments),
    #[command(hide = true)]
    NetworkLeg(network_leg::Arguments),
    /// Try what Bastide needs of this host, and say what is missing.
    Doctor(doctor::Arguments),
    /// Print the version.
    Version,
}

fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    // Every key and every connection in this process uses this one provider; installing fails only when there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match command {
        Command::Up(arguments) => up::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Firewall(arguments) => firewall::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::FetchImage(arguments) => fetch_image::run(&arguments),
        Command::Env(arguments) => env::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Ml(arguments) => ml::run(&arguments),
        Command::Network(arguments) => network::run(&arguments),
        Command::NetworkLeg(arguments) => network_leg::run(&arguments),
        Command::Access(arguments) => access::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Version => version::run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("bastide: {}", sentence(error.as_ref()));
        exit_code(error.as_ref())
    })
}

/// As az has it: 3 when what was asked for is not there.
fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    match error.downcast_ref() {
        Some(ClientError::Refusal(refusal)) if refusal.is_missing() => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    }
}

/// How a command ends: with an exit code, or with a sentence on standard error and exit code 1.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// An error and what caused it on one line, leaving out causes that the text before already tells.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn an_error_is_told_in_one_line_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot start\nhere")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("the disk is full"));
        assert_eq!(sentence(&error), "cannot start here: the disk is full");
    }
}
