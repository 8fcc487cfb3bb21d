//! A session exists, and these are its parameters.

use std::time::Duration;

use super::HEADER_LEN;
use super::cursor::{Malformed, Reader, Writer};
use super::ids::ReceiverId;
use super::text::{Label, MAX_LABEL_LEN, Name};

/// Sent while the start window is open, in answer to joins, and now and then afterwards for those who come late.
///
/// ```text
/// phase (1) | block symbols (1) | symbol size (2) | join spread, ms (4) | peer timeout, ms (4) | age, ms (4)
/// | GRTT, µs (4) | group size (4) | echo (8) | label length (1) | label | name length (1) | name | zeros
/// ```
///
/// All announces have the length of one with the longest label, so that no answer of a receiver is longer. The sender's
/// name takes what the label leaves of that length, and is left out where it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Whether receivers are still admitted.
    pub phase: Phase,
    /// Source symbols in a full coding block, 1 to 255.
    pub block_symbols: u8,
    /// Bytes of stream in a full source symbol, at least [`Announce::MIN_SYMBOL_SIZE`].
    pub symbol_size: u16,
    /// Receivers spread their joins at random over this time.
    pub join_spread: Duration,
    /// Silence after which the sender takes a receiver for dead.
    pub peer_timeout: Duration,
    /// Time since the sender was launched; the older of two senders with one label prevails.
    pub age: Duration,
    /// Group round-trip time.
    pub grtt: Duration,
    /// Receivers admitted that do not have the whole stream yet.
    pub group_size: u32,
    /// The seek that this answers, by the id in it; 0 if none.
    pub echo: ReceiverId,
    /// The name of the stream.
    pub label: Label,
    /// Name of the sender; `None` if it has none, or one that does not fit beside the label.
    pub name: Option<Name>,
}

/// Where a session stands, as far as those outside it care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The start window is open.
    Waiting = 0,
    /// The session has started; nobody is admitted any more.
    Started = 1,
}

impl Announce {
    /// The smallest symbol size that is accepted: smaller ones drown in headers.
    pub const MIN_SYMBOL_SIZE: u16 = 64;

    /// Bytes of header and body.
    pub const LEN: usize = HEADER_LEN + 32 + 1 + MAX_LABEL_LEN;

    /// Characters that label and name may have together.
    pub const NAMES_LEN: usize = MAX_LABEL_LEN - 1;

    /// Whether an announce can carry this name beside this label.
    pub fn has_room_for(label: &str, name: &str) -> bool {
        label.len().saturating_add(name.len()) <= Self::NAMES_LEN
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let phase = match reader.u8("phase")? {
            0 => Phase::Waiting,
            1 => Phase::Started,
            _ => return Err(Malformed::Value("phase")),
        };
        let block_symbols = reader.u8("block symbols")?;
        if block_symbols == 0 {
            return Err(Malformed::Value("block symbols"));
        }
        let symbol_size = reader.u16("symbol size")?;
        if symbol_size < Self::MIN_SYMBOL_SIZE {
            return Err(Malformed::Value("symbol size"));
        }
        let announce = Self {
            phase,
            block_symbols,
            symbol_size,
            join_spread: reader.millis("join spread")?,
            peer_timeout: reader.millis("peer timeout")?,
            age: reader.millis("age")?,
            grtt: reader.micros("GRTT")?,
            group_size: reader.u32("group size")?,
            echo: ReceiverId(reader.u64("echo")?),
            label: Label::read(reader, "label")?,
            name: Name::read_optional(reader, "name")?,
        };
        reader.zeros(Self::LEN, "padding")?;
        Ok(announce)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.phase as u8);
        writer.u8(self.block_symbols);
        writer.u16(self.symbol_size);
        writer.millis(self.join_spread);
        writer.millis(self.peer_timeout);
        writer.millis(self.age);
        writer.micros(self.grtt);
        writer.u32(self.group_size);
        writer.u64(self.echo.0);
        self.label.write(writer);
        if let Some(name) = self.name.filter(|name| Self::has_room_for(self.label.as_str(), name.as_str())) {
            name.write(writer);
        }
        writer.zeros(Self::LEN);
    }
}
