//! `bastide ml ...`: the commands of `az ml`, with their arguments and files, over the public API.

mod compute;
mod edit;
mod place;
mod progress;

use clap::{Args, Subcommand};

use crate::Outcome;

pub(crate) use compute::{SessionError, capture};
pub(crate) use place::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    area: Area,
}

#[derive(Debug, Subcommand)]
enum Area {
    /// Compute instances and clusters: make them, start and stop them, get into them.
    Compute(compute::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Area::Compute(arguments) = &arguments.area;
    let outcome = runtime.block_on(compute::run(arguments));
    // A read of standard input that nobody ends must not keep the process.
    runtime.shutdown_background();
    outcome
}
