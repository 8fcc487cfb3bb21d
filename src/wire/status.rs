//! How far the sender is: keep-alive, end, abort.

use std::fmt;
use std::time::Duration;

use super::cursor::{Malformed, Reader, Writer};
use super::ids::BlockNumber;
use super::text::Text;

/// The body of a keep-alive; its datagram number makes the loss of what came before it visible.
///
/// ```text
/// next block (8) | released (8) | GRTT, µs (4) | group size (4)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Every block before this one has been sent once, whole.
    pub next_block: BlockNumber,
    /// Blocks before this one can no longer be repaired: every receiver had them.
    pub released: BlockNumber,
    /// Group round-trip time.
    pub grtt: Duration,
    /// Receivers that do not have the whole stream yet: those that still report.
    pub group_size: u32,
}

impl Status {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let status = Self {
            next_block: BlockNumber(reader.u64("next block")?),
            released: BlockNumber(reader.u64("released")?),
            grtt: reader.micros("GRTT")?,
            group_size: reader.u32("group size")?,
        };
        if status.released > status.next_block {
            return Err(Malformed::Value("released"));
        }
        Ok(status)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.next_block.0);
        writer.u64(self.released.0);
        writer.micros(self.grtt);
        writer.u32(self.group_size);
    }
}

/// The stream is complete: a keep-alive that also says what the whole must look like.
///
/// ```text
/// status (24) | bytes (8) | digest algorithm (1) | digest (32)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// As in a keep-alive; the stream has `next_block` blocks.
    pub status: Status,
    /// Bytes in the stream.
    pub bytes: u64,
    /// Digest of the whole stream.
    pub digest: Digest,
}

/// A digest of the whole stream, XXH3 with 128 bits (algorithm 1), most significant byte first as `xxh128sum` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    const XXH3_128: u8 = 1;
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xxh3-128:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl End {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let status = Status::read(reader)?;
        let bytes = reader.u64("bytes")?;
        if reader.u8("digest algorithm")? != Digest::XXH3_128 {
            return Err(Malformed::Value("digest algorithm"));
        }
        Ok(Self { status, bytes, digest: Digest(reader.array("digest")?) })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        self.status.write(writer);
        writer.u64(self.bytes);
        writer.u8(Digest::XXH3_128);
        writer.bytes(&self.digest.0);
    }
}

/// The session failed; nobody gets the whole stream from it any more.
///
/// ```text
/// reason (1) | text length (1) | text
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort<'a> {
    /// What happened.
    pub reason: AbortReason,
    /// The same in words, for people.
    pub text: Text<'a>,
}

/// Why a sender gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AbortReason {
    /// The start window closed without enough receivers.
    NotStarted = 1,
    /// The operator or the system stopped the sender.
    Stopped = 2,
    /// The source could not be read to its end.
    SourceFailed = 3,
    /// Another sender holds the group, port and label.
    GroupTaken = 4,
    /// Anything else; the text says what.
    Other = 5,
}

impl<'a> Abort<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let reason = match reader.u8("reason")? {
            1 => AbortReason::NotStarted,
            2 => AbortReason::Stopped,
            3 => AbortReason::SourceFailed,
            4 => AbortReason::GroupTaken,
            5 => AbortReason::Other,
            _ => return Err(Malformed::Value("reason")),
        };
        Ok(Self { reason, text: Text::read(reader, "text")? })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.reason as u8);
        self.text.write(writer);
    }
}
