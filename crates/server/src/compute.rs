//! Computes: what is done with them while they run.

pub mod frame;
pub(crate) mod operation;
