//! What every runtime of instances must keep, and what the one for this node must withstand.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests fail by panicking, and are not documented for others"
)]

mod at_once;
mod attacks;
mod contract;
mod kills;
mod life;
mod support;
