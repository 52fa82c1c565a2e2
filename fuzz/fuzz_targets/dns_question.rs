#![no_main]

#[path = "../checks/dns_question.rs"]
mod dns_question;

libfuzzer_sys::fuzz_target!(|data: &[u8]| dns_question::check(data));
