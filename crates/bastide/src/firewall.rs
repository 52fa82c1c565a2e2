//! `bastide firewall`: the unprivileged worker of one hub, started by the agent and by nobody else.

use std::os::fd::RawFd;
use std::process::ExitCode;

use clap::Args;

use crate::logging::{self, LogFormat};
use crate::{Outcome, ready};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The socket to the agent.
    #[arg(long, value_name = "N")]
    control_fd: RawFd,
}

/// Runs until the agent is gone.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let control = ready::claim(arguments.control_fd)?;
    logging::start(LogFormat::default());
    bastide_firewall::run(control)?;
    Ok(ExitCode::SUCCESS)
}
