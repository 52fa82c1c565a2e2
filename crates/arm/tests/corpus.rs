//! Replays what the fuzzers found worth keeping, so that every test run checks it without a fuzzer.

// The checks are shared with the fuzz targets, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/checks/filter.rs"]
mod filter;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/request_envelope.rs"]
mod request_envelope;
#[path = "../../../fuzz/checks/resource_id.rs"]
mod resource_id;

use replay::replay;

#[test]
fn resource_ids() {
    replay("resource_id", 120, resource_id::check);
}

#[test]
fn request_envelopes() {
    replay("request_envelope", 298, request_envelope::check);
}

#[test]
fn filters() {
    replay("filter", 61, filter::check);
}
