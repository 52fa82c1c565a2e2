//! `bastide version`.

use std::process::ExitCode;

use crate::Outcome;

/// Prints the name and version on one line.
#[allow(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(crate) fn run() -> Outcome {
    println!("bastide {}", env!("CARGO_PKG_VERSION"));
    Ok(ExitCode::SUCCESS)
}
