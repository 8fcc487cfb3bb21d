//! Recordings of other days, played at any time to a session that has a key.
#![no_main]

#[path = "../checks/replay.rs"]
mod replay;

libfuzzer_sys::fuzz_target!(|records: &[u8]| replay::check(records));
