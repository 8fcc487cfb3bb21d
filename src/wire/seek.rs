//! A party looks for a session, or for the one behind an announce.

use super::cursor::{Malformed, Reader, Writer};
use super::ids::ReceiverId;
use super::text::Name;
use super::{Announce, HEADER_LEN};

/// Sent to the group by a receiver that has found no session yet, under a session id that it has drawn itself, and to
/// another's sender by one that has to know whether that is really there. A sender answers with an announce.
///
/// ```text
/// receiver (8) | name length (1) | name | zeros
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seek {
    /// Who asks.
    pub receiver: ReceiverId,
    /// How people call it.
    pub name: Name,
}

impl Seek {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let seek = Self { receiver: ReceiverId(reader.u64("receiver")?), name: Name::read(reader, "name")? };
        reader.zeros(Announce::LEN, "padding")?;
        Ok(seek)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.receiver.0);
        self.name.write(writer);
        writer.zeros(Announce::LEN);
    }
}

const _: () = assert!(Announce::LEN >= HEADER_LEN + 8 + 1 + super::MAX_LABEL_LEN);
