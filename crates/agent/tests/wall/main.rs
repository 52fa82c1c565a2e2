//! The wall, tried from inside a leg against a hostile internet. Every test has a host of its own: a network and mount
//! namespace, in which the agent runs as it would on a node.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests fail by panicking, and are not documented for others"
)]

mod drift;
mod egress;
mod flows;
mod host;
mod life;
mod real;
mod scale;
mod stub;
mod support;
mod trouble;
