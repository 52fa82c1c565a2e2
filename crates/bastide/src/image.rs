//! `bastide image`: the confined reader of one image, started by the agent and by nobody else.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use bastide_image::archive::Archive;
use bastide_image::confine::confine;
use bastide_image::description::Platform;
use bastide_image::layer::Owners;
use clap::Args;

use crate::Outcome;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The empty directory to unpack it into. The archive is standard input.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
}

/// Unpacks an image, and says in one line what is known of it.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    confine(&arguments.root)?;
    let archive = Archive::open(File::from(io::stdin().as_fd().try_clone_to_owned()?))?;
    let root = OwnedFd::from(File::open("/")?);
    let unpacked = bastide_image::unpack(&archive, &Platform::of_this_node(), &root, Owners::OfTheImage)?;
    println!("unpacked {}", serde_json::to_string(&unpacked)?);
    Ok(ExitCode::SUCCESS)
}
