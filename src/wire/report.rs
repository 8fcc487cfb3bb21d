//! What a receiver has, can take and misses: position, window and NACKs in one message.

use std::time::Duration;

use super::cursor::{Malformed, Reader, Writer};
use super::ids::{BlockNumber, DatagramNumber, ReceiverId};
use crate::fec::{MAX_SYMBOLS, SymbolSet};

/// Sent as data arrives, when symbols are missing, when the sink takes blocks, and as a sign of life.
///
/// ```text
/// receiver (8) | highest (8) | settled (8) | arrived (8) | held, µs (4) | waited, µs (4)
/// | received (8) | position (8) | bytes (8) | window (4) | credit (4)
/// | lost symbols (8) | dropped (8) | stalled, ms (4)
/// | count (2) | count × [ block, from received on (4) | missing (1) | bitmap length (1) | bitmap (0 to 32) ]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Who reports.
    pub receiver: ReceiverId,
    /// The highest of the sender's datagram numbers that arrived.
    pub highest: DatagramNumber,
    /// Everything up to this number has arrived or is taken for lost; `needs` is the truth as of here.
    pub settled: DatagramNumber,
    /// Datagrams of the session that arrived, duplicates not counted.
    pub arrived: u64,
    /// Time between the receiver's look at `highest` and this report.
    pub held: Duration,
    /// Time between the arrival of `highest` at the receiver's host and its look: no fault of the path's.
    pub waited: Duration,
    /// Every block before this one is complete.
    pub received: BlockNumber,
    /// Every block before this one has been taken by the sink; never beyond `received`.
    pub position: BlockNumber,
    /// Bytes of stream that the sink has taken.
    pub bytes: u64,
    /// Blocks from `position` on that the receiver can hold; at least 1.
    pub window: u32,
    /// Datagrams that may be under way to it; at least 1.
    pub credit: u32,
    /// Source and repair symbols taken for lost so far.
    pub lost_symbols: u64,
    /// Datagrams that its socket buffer had no room for, as far as the system tells.
    pub dropped: u64,
    /// Time for which its sink has held it up so far.
    pub stalled: Duration,
    /// Blocks that miss symbols, in order.
    pub needs: Needs<'a>,
}

/// A block that misses symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Blocks from the report's `received` on.
    pub offset: u32,
    /// More symbols, source or repair, that complete the block; at least 1.
    pub missing: u8,
    /// Which source symbols are missing, given once repair symbols may be used up.
    pub symbols: Option<SymbolSet>,
}

/// The needs of a report, where they lie in the datagram or as they are about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs<'a> {
    /// As received; the entries have been checked.
    Received(&'a [u8]),
    /// To be sent.
    Given(&'a [Need]),
}

impl<'a> Report<'a> {
    /// Header and fixed fields, before the list of needs.
    pub const FIXED_LEN: usize = super::HEADER_LEN + 94;

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let receiver = ReceiverId(reader.u64("receiver")?);
        let highest = DatagramNumber(reader.u64("highest")?);
        let settled = DatagramNumber(reader.u64("settled")?);
        let arrived = reader.u64("arrived")?;
        let held = reader.micros("held")?;
        let waited = reader.micros("waited")?;
        let received = BlockNumber(reader.u64("received")?);
        let position = BlockNumber(reader.u64("position")?);
        let bytes = reader.u64("bytes")?;
        let window = reader.u32("window")?;
        let credit = reader.u32("credit")?;
        let lost_symbols = reader.u64("lost symbols")?;
        let dropped = reader.u64("dropped")?;
        let stalled = reader.millis("stalled")?;
        let count = reader.u16("count")?;
        if settled > highest {
            return Err(Malformed::Value("settled"));
        }
        if position > received {
            return Err(Malformed::Value("position"));
        }
        if window == 0 {
            return Err(Malformed::Value("window"));
        }
        if credit == 0 {
            return Err(Malformed::Value("credit"));
        }
        let needs = Needs::read(reader, count)?;
        Ok(Self {
            receiver,
            highest,
            settled,
            arrived,
            held,
            waited,
            received,
            position,
            bytes,
            window,
            credit,
            lost_symbols,
            dropped,
            stalled,
            needs,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.receiver.0);
        writer.u64(self.highest.0);
        writer.u64(self.settled.0);
        writer.u64(self.arrived);
        writer.micros(self.held);
        writer.micros(self.waited);
        writer.u64(self.received.0);
        writer.u64(self.position.0);
        writer.u64(self.bytes);
        writer.u32(self.window);
        writer.u32(self.credit);
        writer.u64(self.lost_symbols);
        writer.u64(self.dropped);
        writer.millis(self.stalled);
        writer.u16(u16::try_from(self.needs.iter().count()).unwrap_or(u16::MAX));
        self.needs.iter().take(usize::from(u16::MAX)).for_each(|need| need.write(writer));
    }
}

impl Need {
    /// Bytes that this entry takes in a report.
    pub fn encoded_len(&self) -> usize {
        6_usize.saturating_add(self.symbols.map_or(0, |symbols| to_bitmap(&symbols).1))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let offset = reader.u32("block offset")?;
        let missing = reader.u8("missing")?;
        if missing == 0 {
            return Err(Malformed::Value("missing"));
        }
        let symbols = match reader.u8("bitmap length")? {
            0 => None,
            length => {
                let bytes = reader.bytes(usize::from(length), "bitmap")?;
                Some(from_bitmap(bytes).ok_or(Malformed::Value("bitmap"))?)
            }
        };
        Ok(Self { offset, missing, symbols })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.offset);
        writer.u8(self.missing);
        let Some(symbols) = &self.symbols else {
            writer.u8(0);
            return;
        };
        let (bytes, length) = to_bitmap(symbols);
        writer.u8(u8::try_from(length).unwrap_or(u8::MAX));
        writer.bytes(bytes.get(..length).unwrap_or_default());
    }
}

impl<'a> Needs<'a> {
    fn read(reader: &mut Reader<'a>, count: u16) -> Result<Self, Malformed> {
        let all = reader.rest();
        let mut entries = Reader::new(all);
        let mut after = None;
        for _ in 0..count {
            let need = Need::read(&mut entries)?;
            // Order makes repetition impossible, so that a report asks for a block at most once.
            if after.is_some_and(|before| need.offset <= before) {
                return Err(Malformed::Value("block offset"));
            }
            after = Some(need.offset);
        }
        entries.finish()?;
        Ok(Self::Received(all))
    }

    /// The needs, in order.
    pub fn iter(self) -> impl Iterator<Item = Need> + 'a {
        let (received, given) = match self {
            Self::Received(bytes) => (bytes, &[][..]),
            Self::Given(needs) => (&[][..], needs),
        };
        let mut reader = Reader::new(received);
        std::iter::from_fn(move || Need::read(&mut reader).ok()).chain(given.iter().copied())
    }
}

const BITMAP_LEN: usize = MAX_SYMBOLS / 8;

/// Bit j of byte i stands for symbol 8 i + j; zero bytes at the end are left out.
fn to_bitmap(symbols: &SymbolSet) -> ([u8; BITMAP_LEN], usize) {
    let mut bytes = [0; BITMAP_LEN];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(symbols.words()) {
        *chunk = word.to_le_bytes();
    }
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    (bytes, length)
}

fn from_bitmap(bytes: &[u8]) -> Option<SymbolSet> {
    let mut padded = [0; BITMAP_LEN];
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    // One way to write each set, so that what is parsed and written again is the same.
    bytes.last().filter(|last| **last != 0)?;
    let mut words = [0; MAX_SYMBOLS / 64];
    for (word, chunk) in words.iter_mut().zip(padded.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    Some(SymbolSet::from_words(words))
}
