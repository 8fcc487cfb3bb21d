//! How a receiver ends: confirmed twice, or left.

use super::cursor::{Malformed, Reader, Writer};
use super::ids::ReceiverId;
use super::text::Text;
use crate::exit::Exit;

/// What a receiver has to show at its end.
///
/// ```text
/// exit code (1) | bytes (8) | lost symbols (8) | dropped (8) | reports (8) | stalled, ms (4)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code, as its own process will return it.
    pub exit: Exit,
    /// Bytes that its sink took.
    pub bytes: u64,
    /// Symbols that it took for lost.
    pub lost_symbols: u64,
    /// Datagrams among them that its socket buffer had no room for, as far as the system tells.
    pub dropped: u64,
    /// Reports with needs (NACKs) that it sent.
    pub nacks: u64,
    /// Time for which its sink held it up.
    pub stalled: std::time::Duration,
}

/// Sent until a roster answers it.
///
/// ```text
/// receiver (8) | stage (1) | outcome (37)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// Who confirms.
    pub receiver: ReceiverId,
    /// Which of the two confirmations.
    pub stage: Stage,
    /// The state of things; at [`Stage::Verified`] the exit code is still to come and is 0.
    pub outcome: Outcome,
}

/// The two confirmations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Every byte is here, length and digest agree with the sender's.
    Verified = 1,
    /// The sink has ended; its result is the outcome's exit code.
    Done = 2,
}

/// The receiver gives up before the end of the stream. Sent until a roster answers it, or for a second.
///
/// ```text
/// receiver (8) | outcome (37) | text length (1) | text
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave<'a> {
    /// Who leaves.
    pub receiver: ReceiverId,
    /// How it ends.
    pub outcome: Outcome,
    /// Why, in words.
    pub text: Text<'a>,
}

impl Outcome {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            exit: Exit::from_code(reader.u8("exit code")?).ok_or(Malformed::Value("exit code"))?,
            bytes: reader.u64("bytes")?,
            lost_symbols: reader.u64("lost symbols")?,
            dropped: reader.u64("dropped")?,
            nacks: reader.u64("reports")?,
            stalled: reader.millis("stalled")?,
        })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.exit.code());
        writer.u64(self.bytes);
        writer.u64(self.lost_symbols);
        writer.u64(self.dropped);
        writer.u64(self.nacks);
        writer.millis(self.stalled);
    }
}

impl Confirm {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let receiver = ReceiverId(reader.u64("receiver")?);
        let stage = match reader.u8("stage")? {
            1 => Stage::Verified,
            2 => Stage::Done,
            _ => return Err(Malformed::Value("stage")),
        };
        Ok(Self { receiver, stage, outcome: Outcome::read(reader)? })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.receiver.0);
        writer.u8(self.stage as u8);
        self.outcome.write(writer);
    }
}

impl<'a> Leave<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let receiver = ReceiverId(reader.u64("receiver")?);
        let outcome = Outcome::read(reader)?;
        Ok(Self { receiver, outcome, text: Text::read(reader, "text")? })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.receiver.0);
        self.outcome.write(writer);
        self.text.write(writer);
    }
}
