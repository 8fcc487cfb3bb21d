//! What surrounds a datagram: a CRC-32 in plain mode, the tag of an AEAD with a key.
//!
//! ```text
//! plain       header (26) ¦ body                                          ¦ CRC-32 (4)
//! with a key  header (26) ¦ receiver (8) ¦ rest of the body, encrypted    ¦ key id (8) ¦ tag (16)
//!                           from receivers                                  announce, seek
//! ```
//!
//! Which of the two it is follows from what each host was told, never from a datagram. With a key, all that is not
//! encrypted is associated data: nothing can be changed. `docs/security.md` has the schedule of keys and why it is so.

mod aead;
mod crc;
mod key;
mod key_text;

pub use aead::{DATAGRAMS_A_KEY, Opener, Sealer};
pub use crc::{TRAILER_LEN, open, seal, seal_appended};
pub use key::{GroupKey, KeyId};
pub use key_text::{BadKey, KEY_LEN, Secret};

use crate::wire::{ReceiverId, SessionId};

/// How a party protects what it says, and what it believes.
#[derive(Clone, Debug, Default)]
pub enum Seal {
    /// A CRC-32: against accidents only.
    #[default]
    Crc,
    /// AES-128-GCM under keys that follow from this one.
    Aead(GroupKey),
}

/// What a receiver believes.
#[derive(Clone, Debug, Default)]
pub enum Accept {
    /// Whatever has the right CRC-32.
    #[default]
    Crc,
    /// Whatever one of these keys has sealed; nothing, where there is none.
    Aead(Vec<GroupKey>),
}

impl Accept {
    /// What there is to say of the seal of an announce or a seek that is not believed. Nothing of it is certain: it is a
    /// hint for people.
    pub fn stranger(&self, datagram: &[u8]) -> Option<Stranger> {
        let plain = open(datagram).is_some();
        match self {
            Self::Crc if plain => None,
            Self::Aead(_) if plain => Some(Stranger::WithoutKey),
            Self::Crc => KeyId::named_by(datagram).map(Stranger::WithKey),
            Self::Aead(keys) => {
                let named = KeyId::named_by(datagram)?;
                keys.iter().all(|key| key.id() != named).then_some(Stranger::WithKey(named))
            }
        }
    }

    /// The keys, as people call them.
    pub fn ids(&self) -> String {
        match self {
            Self::Crc => "none".to_owned(),
            Self::Aead(keys) => keys.iter().map(|key| key.id().to_string()).collect::<Vec<_>>().join(", "),
        }
    }

    /// All the ways in which somebody who looks for a session may ask.
    pub fn seals(&self) -> Vec<Seal> {
        match self {
            Self::Crc => vec![Seal::Crc],
            Self::Aead(keys) => keys.iter().cloned().map(Seal::Aead).collect(),
        }
    }

    /// How an announce must be sealed to be believed; `None` if it names none of the keys.
    pub fn seal_of(&self, announce: &[u8]) -> Option<Seal> {
        match self {
            Self::Crc => Some(Seal::Crc),
            Self::Aead(keys) => {
                let named = KeyId::named_by(announce)?;
                keys.iter().find(|key| key.id() == named).cloned().map(Seal::Aead)
            }
        }
    }
}

impl From<&Seal> for Accept {
    fn from(seal: &Seal) -> Self {
        match seal {
            Seal::Crc => Self::Crc,
            Seal::Aead(key) => Self::Aead(vec![key.clone()]),
        }
    }
}

/// Whose datagrams cannot be opened, or are not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Speaks in plain mode.
    WithoutKey,
    /// Names this key.
    WithKey(KeyId),
}

/// Who speaks. Each party has keys of its own in each session, and counts its datagrams by itself, so no key meets a
/// number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The session's sender.
    Sender,
    /// One of its receivers.
    Receiver(ReceiverId),
}

impl Seal {
    /// Bytes after the body of a symbol or any other message that names no key.
    pub const fn trailer_len(&self) -> usize {
        match self {
            Self::Crc => TRAILER_LEN,
            Self::Aead(_) => aead::TAG_LEN,
        }
    }

    /// Seals what `party` says in `session`.
    pub fn sealer(&self, session: SessionId, party: Party) -> Sealer {
        match self {
            Self::Crc => Sealer::crc(),
            Self::Aead(key) => Sealer::aead(key, session, party),
        }
    }

    /// Opens what `party` says in `session`.
    pub fn opener(&self, session: SessionId, party: Party) -> Opener {
        match self {
            Self::Crc => Opener::crc(),
            Self::Aead(key) => Opener::aead(key, session, party),
        }
    }

    /// The key, if there is one.
    pub const fn key(&self) -> Option<&GroupKey> {
        match self {
            Self::Crc => None,
            Self::Aead(key) => Some(key),
        }
    }
}
