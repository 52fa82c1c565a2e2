//! `bastide fetch-image`: asks one registry for one image, started by the agent, as a user of its own, and by nobody else.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bastide_image::description::Platform;
use bastide_plan::reference::Reference;
use bastide_plan::registry_access::RegistryAccess;
use bastide_registry::Limits;
use clap::Args;

use crate::Outcome;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The image. An archive of it is written to standard input, which is a file.
    reference: Reference,
    /// Only say what it is.
    #[arg(long)]
    resolve: bool,
    /// How the registry is asked, in JSON: a file, or a pipe that the agent has filled.
    #[arg(long, value_name = "FILE")]
    access: Option<PathBuf>,
}

/// Says in lines how far it is, or what the image is.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let reference = &arguments.reference;
        let access = match &arguments.access {
            Some(file) => serde_json::from_reader(File::open(file)?)?,
            None => RegistryAccess::default(),
        };
        if arguments.resolve {
            println!("resolved {}", bastide_registry::resolve(reference, &access).await?);
            return Ok(ExitCode::SUCCESS);
        }
        let archive = BufWriter::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
        let tell = |percent| println!("fetched {percent}");
        bastide_registry::fetch(reference, &access, &Platform::of_this_node(), LIMITS, archive, tell).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// More than the largest images of notebooks, packed; layers as the reader of images has them.
const LIMITS: Limits = Limits { bytes: 20 << 30, layers: 256 };
