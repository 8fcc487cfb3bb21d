//! Any bytes as a datagram.
#![no_main]

#[path = "../checks/parse.rs"]
mod parse;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| parse::check(datagram));
