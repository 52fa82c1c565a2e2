//! Replays what the fuzzer starts from and found worth keeping, so that every test run checks it without a fuzzer.

// The check is shared with the fuzz target, where a panic is how a finding is reported.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a finding is reported by a panic")]

#[path = "../../../fuzz/checks/condition.rs"]
mod condition;
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[test]
fn conditions() {
    replay::replay("condition", 240, condition::check);
}
