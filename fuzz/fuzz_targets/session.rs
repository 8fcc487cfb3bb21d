//! Any datagrams into a session, from anyone who knows its id.
#![no_main]

#[path = "../checks/session.rs"]
mod session;

libfuzzer_sys::fuzz_target!(|records: &[u8]| session::check(records));
