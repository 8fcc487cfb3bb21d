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
