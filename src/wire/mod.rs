//! Bytes ⇄ messages. No state, no time, no randomness, and no panic, whatever the bytes.
//!
//! Every datagram is a [`Header`], a body and a trailer (see [`crate::seal`]). `docs/protocol.md` is the specification;
//! `tests/protocol` holds its examples against this module. [`parse`] allocates nothing: what a message carries is
//! borrowed from the datagram, and lists are walked where they lie.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod announce;
mod confirm;
mod cursor;
mod header;
mod ids;
mod join;
mod report;
mod roster;
mod seek;
mod status;
mod symbol;
mod text;

pub use announce::{Announce, Phase};
pub use confirm::{Confirm, Leave, Outcome, Stage};
pub use cursor::Malformed;
pub use header::{HEADER_LEN, Header, Kind, VERSION};
pub use ids::{BlockNumber, DatagramNumber, ReceiverId, SessionId};
pub use join::Join;
pub use report::{Need, Needs, Report};
pub use roster::{Entries, Roster, Standing};
pub use seek::Seek;
pub use status::{Abort, AbortReason, Digest, End, Status};
pub use symbol::{SYMBOL_HEADER_LEN, Symbol};
pub use text::{Label, MAX_LABEL_LEN, MAX_TEXT_LEN, Name, Text};

use cursor::{Reader, Writer};

/// Everything that can be in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Sender → group: a session exists; its parameters.
    Announce(Announce),
    /// Sender → group: a source symbol of a coding block.
    Source(Symbol<'a>),
    /// Sender → group: a repair symbol of a coding block.
    Repair(Symbol<'a>),
    /// Sender → group: how far the sender is.
    KeepAlive(Status),
    /// Sender → group: the stream is complete; its length and digest.
    End(End),
    /// Sender → group: answers to receivers, by their ids.
    Roster(Roster<'a>),
    /// Sender → group: the session failed.
    Abort(Abort<'a>),
    /// Receiver → sender: wants to take part.
    Join(Join),
    /// Receiver → sender: position, window, what is missing.
    Report(Report<'a>),
    /// Receiver → sender: the stream is verified; the sink is done.
    Confirm(Confirm),
    /// Receiver → sender: gives up, and why.
    Leave(Leave<'a>),
    /// Whoever looks for a session → group, or → a sender: who is there?
    Seek(Seek),
}

impl Message<'_> {
    /// The kind that the header names for this message.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Announce(_) => Kind::Announce,
            Self::Source(_) => Kind::Source,
            Self::Repair(_) => Kind::Repair,
            Self::KeepAlive(_) => Kind::KeepAlive,
            Self::End(_) => Kind::End,
            Self::Roster(_) => Kind::Roster,
            Self::Abort(_) => Kind::Abort,
            Self::Join(_) => Kind::Join,
            Self::Report(_) => Kind::Report,
            Self::Confirm(_) => Kind::Confirm,
            Self::Leave(_) => Kind::Leave,
            Self::Seek(_) => Kind::Seek,
        }
    }

    /// Appends header and body to `out`; the trailer is added by [`crate::seal`].
    pub fn write(&self, session: SessionId, number: DatagramNumber, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        Header { kind: self.kind(), session, number }.write(&mut writer);
        match self {
            Self::Announce(message) => message.write(&mut writer),
            Self::Source(message) | Self::Repair(message) => message.write(&mut writer),
            Self::KeepAlive(message) => message.write(&mut writer),
            Self::End(message) => message.write(&mut writer),
            Self::Roster(message) => message.write(&mut writer),
            Self::Abort(message) => message.write(&mut writer),
            Self::Join(message) => message.write(&mut writer),
            Self::Report(message) => message.write(&mut writer),
            Self::Confirm(message) => message.write(&mut writer),
            Self::Leave(message) => message.write(&mut writer),
            Self::Seek(message) => message.write(&mut writer),
        }
    }
}

/// Reads a datagram whose trailer has been verified and cut off.
///
/// # Errors
/// [`Malformed`] names the field that does not fit. The caller counts the datagram and drops it.
pub fn parse(datagram: &[u8]) -> Result<(Header, Message<'_>), Malformed> {
    let mut reader = Reader::new(datagram);
    let header = Header::read(&mut reader)?;
    let message = match header.kind {
        Kind::Announce => Message::Announce(Announce::read(&mut reader)?),
        Kind::Source => Message::Source(Symbol::read(&mut reader)?),
        Kind::Repair => Message::Repair(Symbol::read(&mut reader)?),
        Kind::KeepAlive => Message::KeepAlive(Status::read(&mut reader)?),
        Kind::End => Message::End(End::read(&mut reader)?),
        Kind::Roster => Message::Roster(Roster::read(&mut reader)?),
        Kind::Abort => Message::Abort(Abort::read(&mut reader)?),
        Kind::Join => Message::Join(Join::read(&mut reader)?),
        Kind::Report => Message::Report(Report::read(&mut reader)?),
        Kind::Confirm => Message::Confirm(Confirm::read(&mut reader)?),
        Kind::Leave => Message::Leave(Leave::read(&mut reader)?),
        Kind::Seek => Message::Seek(Seek::read(&mut reader)?),
    };
    reader.finish()?;
    Ok((header, message))
}
