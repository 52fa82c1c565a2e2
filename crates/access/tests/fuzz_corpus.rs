//! Replays what the fuzzer starts from and found worth keeping, so that every test run checks it without a fuzzer.

// The check is shared with the fuzz target, where a panic is how a finding is reported.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a finding is reported by a panic")]

use std::path::Path;

#[path = "../../../fuzz/checks/condition.rs"]
mod condition;

#[test]
fn conditions() {
    let mut seen = 0;
    for kind in ["seeds", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join("condition");
        // What a fuzzer found is committed only when it found something.
        let Ok(files) = std::fs::read_dir(folder) else { continue };
        for file in files {
            condition::check(&std::fs::read(file.unwrap().path()).unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 29, "the seeds are gone: {seen}");
}
