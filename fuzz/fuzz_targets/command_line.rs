//! Any words as a command line.
#![no_main]

#[path = "../checks/command_line.rs"]
mod command_line;

libfuzzer_sys::fuzz_target!(|words: &[u8]| command_line::check(words));
