//! Replays what the fuzzers found worth keeping, so that every test run checks it without a fuzzer.

// The checks are shared with the fuzz targets, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/client_hello.rs"]
mod client_hello;
#[path = "../../../fuzz/checks/http_request.rs"]
mod http_request;
#[path = "../../../fuzz/checks/http_response.rs"]
mod http_response;
#[path = "../../../fuzz/checks/name.rs"]
mod name;
#[path = "../../../fuzz/checks/second_hello.rs"]
mod second_hello;

#[test]
fn client_hellos() {
    replay("client_hello", client_hello::check);
}

#[test]
fn second_hellos() {
    replay("second_hello", second_hello::check);
}

#[test]
fn http_requests() {
    replay("http_request", http_request::check);
}

#[test]
fn http_responses() {
    replay("http_response", http_response::check);
}

#[test]
fn names() {
    replay("name", name::check);
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
