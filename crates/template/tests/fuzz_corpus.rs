//! Replays what the fuzzer found worth keeping, so that every test run checks it without a fuzzer.

// The check is shared with the fuzz target, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/template.rs"]
mod template;

#[test]
fn templates() {
    replay::replay("template", 441, template::check);
}
