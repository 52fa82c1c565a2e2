#![no_main]

#[path = "../checks/resource_id.rs"]
mod resource_id;

libfuzzer_sys::fuzz_target!(|data: &[u8]| resource_id::check(data));
