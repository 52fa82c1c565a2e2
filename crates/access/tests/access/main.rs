//! The behaviour of the access crate, through its public face.

mod common;
mod conditions;
mod decisions;
mod properties;
mod vectors;
