//! Replays what the fuzzers found worth keeping, so that every test run checks it without a fuzzer.

// The checks are shared with the fuzz targets, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/dns_answer.rs"]
mod dns_answer;
#[path = "../../../fuzz/checks/dns_question.rs"]
mod dns_question;
#[path = "../../../fuzz/checks/kernel_log.rs"]
mod kernel_log;

#[test]
fn questions_of_computes() {
    replay("dns_question", dns_question::check);
}

#[test]
fn answers_of_the_hosts_resolver() {
    replay("dns_answer", dns_answer::check);
}

#[test]
fn packets_of_the_kernel() {
    replay("kernel_log", kernel_log::check);
}

fn replay(target: &str, check: fn(&[u8])) {
    let mut replayed = 0;
    for kind in ["seeds", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target);
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let file = entry.unwrap().path();
            // Printed only when the check fails: names the culprit.
            println!("{}", file.display());
            check(&fs::read(&file).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed > 20, "only {replayed} inputs for {target}: is the corpus checked out?");
}
