#![no_main]

#[path = "../checks/second_hello.rs"]
mod second_hello;

libfuzzer_sys::fuzz_target!(|data: &[u8]| second_hello::check(data));
