//! What must hold for any bytes that arrive. The fuzz target runs it on what it invents, `tests/corpus.rs` on the corpus.

use mcast::wire::{self, Header, Message};
use mcast::{exit::Exit, seal};

/// Panics if `datagram`, the content without its trailer, is handled wrongly.
pub(crate) fn check(datagram: &[u8]) {
    let _ = seal::open(datagram);
    let Ok((header, message)) = wire::parse(datagram) else { return };
    let written = write(&header, &message);
    assert_eq!(written.len(), datagram.len(), "{message:?} is written with another length");
    if !has_unknown_exit_code(&message) {
        assert_eq!(written, datagram, "{message:?} has two ways to be written");
    }
    let (header_again, again) = wire::parse(&written).expect("what was written can be parsed");
    assert_eq!(write(&header_again, &again), written);
}

fn write(header: &Header, message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(header.session, header.number, &mut bytes);
    bytes
}

/// Codes that this version does not know are read as [`Exit::Internal`], and written so.
fn has_unknown_exit_code(message: &Message<'_>) -> bool {
    let outcome = match message {
        Message::Confirm(confirm) => confirm.outcome,
        Message::Leave(leave) => leave.outcome,
        _ => return false,
    };
    outcome.exit == Exit::Internal
}
