//! Replays what the fuzzers found worth keeping, so that every test run checks it without a fuzzer.

// The checks are shared with the fuzz targets, where a panic is how a finding is reported.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/checks/client_hello.rs"]
mod client_hello;
#[path = "../../../fuzz/checks/http_request.rs"]
mod http_request;
#[path = "../../../fuzz/checks/http_response.rs"]
mod http_response;
#[path = "../../../fuzz/checks/name.rs"]
mod name;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/second_hello.rs"]
mod second_hello;

use replay::replay;

#[test]
fn client_hellos() {
    replay("client_hello", 61, client_hello::check);
}

#[test]
fn second_hellos() {
    replay("second_hello", 68, second_hello::check);
}

#[test]
fn http_requests() {
    replay("http_request", 261, http_request::check);
}

#[test]
fn http_responses() {
    replay("http_response", 135, http_response::check);
}

#[test]
fn names() {
    replay("name", 83, name::check);
}
