//! What receivers say, opened: with a key, only what is sealed by theirs and newer than all they have said before.

use std::collections::BTreeMap;

use super::super::MAX_RECEIVERS;
use crate::seal::{self, Opener, Party, Seal};
use crate::wire::{DatagramNumber, Header, Kind, ReceiverId, SessionId};

/// The receivers that have been heard in this session, whatever became of them: a join that is said again must not bring
/// back one that has left.
#[derive(Debug)]
pub(super) struct Voices {
    seal: Seal,
    session: SessionId,
    /// With a key only.
    heard: BTreeMap<ReceiverId, Voice>,
}

#[derive(Debug)]
struct Voice {
    opener: Opener,
    newest: DatagramNumber,
}

/// Why a datagram is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// It is not from whom it says, or nobody knows that one.
    Forged,
    /// It has come before, or something newer has.
    Repeated,
}

impl Voices {
    /// Receivers that are remembered, at most: all that may be in the session, and as many that have left it. Only who has
    /// the key can fill it; when it is full, nobody new is heard.
    const MOST_VOICES: usize = 2 * MAX_RECEIVERS;

    pub(super) const fn new(seal: Seal, session: SessionId) -> Self {
        Self { seal, session, heard: BTreeMap::new() }
    }

    /// Header and body of what a receiver says in this session. Nobody is remembered for what is not sealed right.
    pub(super) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a [u8], Unheard> {
        if self.seal.key().is_none() {
            return seal::open(datagram).ok_or(Unheard::Forged);
        }
        let header = Header::peek(datagram).ok_or(Unheard::Forged)?;
        let receiver = ReceiverId::peek(datagram).ok_or(Unheard::Forged)?;
        if let Some(voice) = self.heard.get_mut(&receiver) {
            // Before the work of opening it, since it changes nothing either way.
            if header.number <= voice.newest {
                return Err(Unheard::Repeated);
            }
            let content = voice.opener.open(datagram).ok_or(Unheard::Forged)?;
            voice.newest = header.number;
            return Ok(content);
        }
        // A receiver begins with a join.
        if header.kind != Kind::Join || self.heard.len() >= Self::MOST_VOICES {
            return Err(Unheard::Forged);
        }
        let mut opener = self.seal.opener(self.session, Party::Receiver(receiver));
        let content = opener.open(datagram).ok_or(Unheard::Forged)?;
        self.heard.insert(receiver, Voice { opener, newest: header.number });
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::seal::{GroupKey, KEY_LEN, Secret};
    use crate::wire::{Confirm, Join, Message, Name, Outcome, Stage};

    const SESSION: SessionId = SessionId([7; 16]);

    fn key() -> Seal {
        Seal::Aead(GroupKey::new(&Secret::new([9; KEY_LEN])))
    }

    /// What a receiver with the key says.
    fn said(receiver: u64, number: u64, message: &Message<'_>) -> Vec<u8> {
        let mut datagram = Vec::new();
        message.write(SESSION, DatagramNumber(number), &mut datagram);
        key().sealer(SESSION, Party::Receiver(ReceiverId(receiver))).seal_appended(&mut datagram, 0);
        datagram
    }

    fn join(receiver: u64, number: u64) -> Vec<u8> {
        let name = Name::new("db2").unwrap();
        let (window, credit, peer_timeout) = (1, 1, Duration::ZERO);
        let join = Join { receiver: ReceiverId(receiver), window, credit, peer_timeout, name };
        said(receiver, number, &Message::Join(join))
    }

    fn confirm(receiver: u64, number: u64) -> Vec<u8> {
        let outcome = Outcome {
            exit: crate::exit::Exit::Complete,
            bytes: 0,
            lost_symbols: 0,
            dropped: 0,
            nacks: 0,
            stalled: Duration::ZERO,
        };
        let confirm = Confirm { receiver: ReceiverId(receiver), stage: Stage::Done, outcome };
        said(receiver, number, &Message::Confirm(confirm))
    }

    #[test]
    fn a_receiver_is_heard_once_it_has_joined_and_each_word_of_it_once() {
        let mut voices = Voices::new(key(), SESSION);
        assert_eq!(voices.open(&mut confirm(1, 5)).err(), Some(Unheard::Forged), "it has not joined");
        assert!(voices.open(&mut join(1, 3)).is_ok());
        assert!(voices.open(&mut confirm(1, 5)).is_ok());
        assert_eq!(voices.open(&mut confirm(1, 5)).err(), Some(Unheard::Repeated));
        assert_eq!(voices.open(&mut join(1, 4)).err(), Some(Unheard::Repeated));
        assert_eq!(voices.open(&mut confirm(2, 6)).err(), Some(Unheard::Forged), "another one has");
        // What is forged does not make true words old.
        let mut forged = confirm(1, 9);
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(voices.open(&mut forged).err(), Some(Unheard::Forged));
        assert!(voices.open(&mut confirm(1, 6)).is_ok());
    }

    #[test]
    fn who_has_the_key_and_many_names_fills_a_bounded_table() {
        let mut voices = Voices::new(key(), SESSION);
        for receiver in 0..Voices::MOST_VOICES as u64 {
            assert!(voices.open(&mut join(receiver, 1)).is_ok());
        }
        assert_eq!(voices.open(&mut join(u64::MAX, 1)).err(), Some(Unheard::Forged));
        assert!(voices.open(&mut confirm(0, 2)).is_ok());
    }
}
