//! Images from registries (OCI distribution specification 1.1): fetched without a daemon, as an archive that the reader of
//! images takes like any other.
//!
//! What a registry sends is a stranger's word: every part is to be what its digest says, and no longer than was announced.
//! Whoever calls this has installed a cryptographic provider for the process, and asks only registries that somebody admits.

mod archive;
mod challenge;
mod client;
mod fetch;

pub use client::FetchError;
pub use fetch::{Limits, fetch, resolve};
