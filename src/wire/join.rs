//! A receiver asks to take part.

use std::time::Duration;

use super::cursor::{Malformed, Reader, Writer};
use super::ids::ReceiverId;
use super::text::Name;

/// Sent by a receiver that has heard an announce on the group, until a roster answers it.
///
/// ```text
/// receiver (8) | window (4) | credit (4) | peer timeout, ms (4) | name length (1) | name
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who asks.
    pub receiver: ReceiverId,
    /// Blocks that it can hold before its sink takes any; at least 1.
    pub window: u32,
    /// Datagrams that may be under way to it: what its socket buffer holds; at least 1.
    pub credit: u32,
    /// Silence after which it takes the sender for dead.
    pub peer_timeout: Duration,
    /// How the report shall call it.
    pub name: Name,
}

impl Join {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let join = Self {
            receiver: ReceiverId(reader.u64("receiver")?),
            window: reader.u32("window")?,
            credit: reader.u32("credit")?,
            peer_timeout: reader.millis("peer timeout")?,
            name: Name::read(reader, "name")?,
        };
        if join.window == 0 {
            return Err(Malformed::Value("window"));
        }
        if join.credit == 0 {
            return Err(Malformed::Value("credit"));
        }
        Ok(join)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.receiver.0);
        writer.u32(self.window);
        writer.u32(self.credit);
        writer.millis(self.peer_timeout);
        self.name.write(writer);
    }
}
