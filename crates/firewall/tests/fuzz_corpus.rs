//! Replays what the fuzzers found worth keeping, so that every test run checks it without a fuzzer.

// The checks are shared with the fuzz targets, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/checks/dns_answer.rs"]
mod dns_answer;
#[path = "../../../fuzz/checks/dns_question.rs"]
mod dns_question;
#[path = "../../../fuzz/checks/kernel_log.rs"]
mod kernel_log;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn questions_of_computes() {
    replay("dns_question", 191, dns_question::check);
}

#[test]
fn answers_of_the_hosts_resolver() {
    replay("dns_answer", 342, dns_answer::check);
}

#[test]
fn packets_of_the_kernel() {
    replay("kernel_log", 44, kernel_log::check);
}
