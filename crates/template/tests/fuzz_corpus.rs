//! Replays what the fuzzer found worth keeping, so that every test run checks it without a fuzzer.

// The check is shared with the fuzz target, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/template.rs"]
mod template;

#[test]
fn templates() {
    let mut replayed = 0;
    for kind in ["seeds", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join("template");
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let file = entry.unwrap().path();
            // Printed only when the check fails: names the culprit.
            println!("{}", file.display());
            template::check(&fs::read(&file).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed > 20, "only {replayed} inputs: is the corpus checked out?");
}
