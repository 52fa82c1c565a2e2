//! Replays what the fuzzers found worth keeping, so that every test run checks it without a fuzzer.

// The checks are shared with the fuzz targets, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/filter.rs"]
mod filter;
#[path = "../../../fuzz/checks/request_envelope.rs"]
mod request_envelope;
#[path = "../../../fuzz/checks/resource_id.rs"]
mod resource_id;

#[test]
fn resource_ids() {
    replay("resource_id", resource_id::check);
}

#[test]
fn request_envelopes() {
    replay("request_envelope", request_envelope::check);
}

#[test]
fn filters() {
    replay("filter", filter::check);
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
