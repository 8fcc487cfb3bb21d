//! Any datagrams into a session that has a key, from those who have it and those who have not.
#![no_main]

#[path = "../checks/keyed.rs"]
mod keyed;

libfuzzer_sys::fuzz_target!(|records: &[u8]| keyed::check(records));
