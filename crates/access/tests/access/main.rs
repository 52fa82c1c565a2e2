//! The behaviour of the access crate, through its public face.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;
mod conditions;
mod decisions;
mod properties;
mod vectors;
