//! Replays what the fuzzers found worth keeping, so that every test run checks it without a fuzzer.

// The checks are shared with the fuzz targets, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/checks/layer.rs"]
mod layer;
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[test]
fn layers() {
    replay::replay("layer", 8, layer::check);
}
