//! What must hold for any bytes that arrive. The fuzz target runs it on what it invents, `tests/corpus.rs` on the corpus.

use mcast::seal::{self, Accept, GroupKey, Party, Seal, Secret};
use mcast::wire::{self, Header, Message, ReceiverId};

/// Panics if `datagram`, the content without its trailer, is handled wrongly.
pub(crate) fn check(datagram: &[u8]) {
    let _ = seal::open(datagram);
    check_sealed(datagram);
    let Ok((header, message)) = wire::parse(datagram) else { return };
    let written = write(&header, &message);
    assert_eq!(written, datagram, "{message:?} has two ways to be written");
}

/// Nothing that its key has not sealed is believed, whoever it claims to be from, and whatever key it names.
fn check_sealed(datagram: &[u8]) {
    let key = GroupKey::new(&Secret::new([0x6b; 32]));
    let (seal, accept) = (Seal::Aead(key.clone()), Accept::Aead(vec![key]));
    let _ = (accept.stranger(datagram), Accept::Crc.stranger(datagram), accept.seal_of(datagram).is_some());
    let Some(header) = Header::peek(datagram) else { return };
    let receiver = ReceiverId::peek(datagram).unwrap_or(ReceiverId(0));
    for party in [Party::Sender, Party::Receiver(receiver)] {
        let mut opener = seal.opener(header.session, party);
        assert_eq!(opener.open(&mut datagram.to_vec()), None);
    }
}

fn write(header: &Header, message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(header.session, header.number, &mut bytes);
    bytes
}
