#![no_main]

#[path = "../checks/kernel_log.rs"]
mod kernel_log;

libfuzzer_sys::fuzz_target!(|data: &[u8]| kernel_log::check(data));
