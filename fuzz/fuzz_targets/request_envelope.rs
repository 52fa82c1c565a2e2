#![no_main]

#[path = "../checks/request_envelope.rs"]
mod request_envelope;

libfuzzer_sys::fuzz_target!(|data: &[u8]| request_envelope::check(data));
