#![no_main]

#[path = "../checks/condition.rs"]
mod condition;

libfuzzer_sys::fuzz_target!(|data: &[u8]| condition::check(data));
