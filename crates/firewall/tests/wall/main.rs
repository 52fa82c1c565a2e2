//! Attacks on the firewall from inside a compute's network namespace, by the rows of the catalogue in egress.md 6, against
//! an internet that the test makes (198.18.0.0/15).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod client;
mod http;
mod internet;
mod lab;
mod names;
mod relay;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod withdrawal;
