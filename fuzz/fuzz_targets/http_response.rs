#![no_main]

#[path = "../checks/http_response.rs"]
mod http_response;

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_response::check(data));
