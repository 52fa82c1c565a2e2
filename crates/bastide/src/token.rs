//! `bastide token`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::Outcome;
use crate::client::Target;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What the token is for [default: the endpoint].
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    /// The data directory of a local Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// The token that was given from outside is for one resource only.
#[derive(Debug, thiserror::Error)]
#[error(
    "BASTIDE_TOKEN is the only token at hand and --resource asks for another: name a data directory with --data-dir"
)]
struct OnlyOneToken;

/// Prints an access token on one line.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let resource = arguments.resource.as_deref();
    let token = match Target::find(arguments.data_dir.as_deref())? {
        Target::Local(bootstrap) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(bootstrap.token(resource))?
        }
        Target::Remote(remote) if resource.is_none() => remote.token,
        Target::Remote(_) => return Err(OnlyOneToken.into()),
    };
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}
