#![no_main]

#[path = "../checks/http_request.rs"]
mod http_request;

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_request::check(data));
