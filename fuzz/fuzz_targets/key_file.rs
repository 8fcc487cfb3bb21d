//! Any bytes as a key file.
#![no_main]

#[path = "../checks/key_file.rs"]
mod key_file;

libfuzzer_sys::fuzz_target!(|text: &[u8]| key_file::check(text));
