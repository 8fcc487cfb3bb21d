//! The sender's answers to its receivers: one datagram to the group answers many.

use super::cursor::{Malformed, Reader, Writer};
use super::ids::ReceiverId;

/// Answers to joins, confirmations and leaves, and notice of evictions.
///
/// ```text
/// count (2) | count × [ receiver (8) | standing (1) ]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roster<'a> {
    /// The answers.
    pub entries: Entries<'a>,
}

/// Where a receiver stands with the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// Its join counts.
    Admitted = 1,
    /// Its join came after the start.
    RefusedStarted = 2,
    /// The sender's table is full.
    RefusedFull = 3,
    /// Evicted: not heard for the peer timeout.
    EvictedSilent = 4,
    /// Evicted: it held up the others for longer than the operator allows.
    EvictedStalled = 5,
    /// Its leave was heard.
    Left = 6,
    /// Its first confirmation was heard.
    Verified = 7,
    /// Its second confirmation was heard; the receiver may go.
    Done = 8,
    /// Its question was heard, and this sender is there. It is no member.
    Present = 9,
}

const ENTRY_LEN: usize = 9;

/// The entries of a roster, where they lie in the datagram or as they are about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries<'a> {
    /// As received; length and standings have been checked.
    Received(&'a [u8]),
    /// To be sent.
    Given(&'a [(ReceiverId, Standing)]),
}

impl<'a> Roster<'a> {
    /// Entries that fit into a datagram of `room` bytes for header and body.
    pub const fn capacity(room: usize) -> usize {
        room.saturating_sub(super::HEADER_LEN + 2) / ENTRY_LEN
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = usize::from(reader.u16("count")?);
        let bytes = reader.bytes(count.saturating_mul(ENTRY_LEN), "entries")?;
        let entries = Entries::Received(bytes);
        if entries.iter().count() != count {
            return Err(Malformed::Value("standing"));
        }
        Ok(Self { entries })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u16(u16::try_from(self.entries.iter().count()).unwrap_or(u16::MAX));
        for (receiver, standing) in self.entries.iter().take(usize::from(u16::MAX)) {
            writer.u64(receiver.0);
            writer.u8(standing as u8);
        }
    }
}

impl<'a> Entries<'a> {
    /// Receivers and their standings, in order.
    pub fn iter(self) -> impl Iterator<Item = (ReceiverId, Standing)> + 'a {
        let (received, given) = match self {
            Self::Received(bytes) => (bytes, &[][..]),
            Self::Given(entries) => (&[][..], entries),
        };
        received.as_chunks::<ENTRY_LEN>().0.iter().filter_map(decode).chain(given.iter().copied())
    }

    /// The standing of `receiver`, if the roster has it.
    pub fn standing_of(self, receiver: ReceiverId) -> Option<Standing> {
        self.iter().find(|(id, _)| *id == receiver).map(|(_, standing)| standing)
    }
}

fn decode(entry: &[u8; ENTRY_LEN]) -> Option<(ReceiverId, Standing)> {
    let mut reader = Reader::new(entry);
    let receiver = ReceiverId(reader.u64("receiver").ok()?);
    let standing = match reader.u8("standing").ok()? {
        1 => Standing::Admitted,
        2 => Standing::RefusedStarted,
        3 => Standing::RefusedFull,
        4 => Standing::EvictedSilent,
        5 => Standing::EvictedStalled,
        6 => Standing::Left,
        7 => Standing::Verified,
        8 => Standing::Done,
        9 => Standing::Present,
        _ => return None,
    };
    Some((receiver, standing))
}
