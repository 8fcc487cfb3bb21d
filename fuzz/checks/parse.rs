//! What must hold for any bytes that arrive. The fuzz target runs it on what it invents, `tests/corpus.rs` on the corpus.

use mcast::seal;
use mcast::wire::{self, Header, Message};

/// Panics if `datagram`, the content without its trailer, is handled wrongly.
pub(crate) fn check(datagram: &[u8]) {
    let _ = seal::open(datagram);
    let Ok((header, message)) = wire::parse(datagram) else { return };
    let written = write(&header, &message);
    assert_eq!(written, datagram, "{message:?} has two ways to be written");
}

fn write(header: &Header, message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(header.session, header.number, &mut bytes);
    bytes
}
