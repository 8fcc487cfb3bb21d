//! Stream data: source symbols and repair symbols of coding blocks.

use super::cursor::{Malformed, Reader, Writer};
use super::header::{HEADER_LEN, Kind};
use super::ids::{BlockNumber, DatagramNumber, SessionId};

/// Bytes before the payload of a symbol's datagram, header included.
pub const SYMBOL_HEADER_LEN: usize = HEADER_LEN + 14;

/// A symbol and its place.
///
/// ```text
///  26         27       28                 32            40
/// +----------+--------+------------------+-------------+----------
/// | substream| symbol | block length (4) | block (8)   | payload …
/// +----------+--------+------------------+-------------+----------
/// ```
///
/// A source symbol i carries bytes i × symbol size … of its block; only the last of a block may be shorter. A repair
/// symbol is numbered from k on, where k = ⌈block length ÷ symbol size⌉, and is as long as the block's longest symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Which of several streams in the session; only 0 is used so far.
    pub substream: u8,
    /// Place in the block: below k a source symbol, from k on a repair symbol.
    pub symbol: u8,
    /// Bytes of stream in this block, at least 1.
    pub block_len: u32,
    /// Which coding block.
    pub block: BlockNumber,
    /// The symbol.
    pub payload: &'a [u8],
}

impl<'a> Symbol<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let substream = reader.u8("substream")?;
        if substream != 0 {
            return Err(Malformed::Value("substream"));
        }
        let symbol = reader.u8("symbol")?;
        let block_len = reader.u32("block length")?;
        if block_len == 0 {
            return Err(Malformed::Value("block length"));
        }
        let block = BlockNumber(reader.u64("block")?);
        let payload = reader.rest();
        if payload.is_empty() {
            return Err(Malformed::Cut("payload"));
        }
        Ok(Self { substream, symbol, block_len, block, payload })
    }

    /// Writes header and place of a symbol before a payload that already lies where it is sent from.
    ///
    /// Bytes of `datagram` from [`SYMBOL_HEADER_LEN`] on are not touched; a shorter `datagram` is left alone.
    pub fn write_header(
        kind: Kind,
        session: SessionId,
        number: DatagramNumber,
        block: BlockNumber,
        block_len: u32,
        symbol: u8,
        datagram: &mut [u8],
    ) {
        let Some(room) = datagram.first_chunk_mut::<SYMBOL_HEADER_LEN>() else { return };
        // Five words, put together in registers: this is done for every datagram.
        let session = u128::from_be_bytes(session.0);
        let words = [
            u64::from_be_bytes([super::VERSION, kind as u8, 0, 0, 0, 0, 0, 0]) | (session >> 80) as u64,
            (session >> 16) as u64,
            (session as u64) << 48 | number.0 >> 16,
            number.0 << 48 | u64::from(symbol) << 32 | u64::from(block_len),
            block.0,
        ];
        for (to, from) in room.as_chunks_mut().0.iter_mut().zip(words) {
            *to = from.to_be_bytes();
        }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.substream);
        writer.u8(self.symbol);
        writer.u32(self.block_len);
        writer.u64(self.block.0);
        writer.bytes(self.payload);
    }
}
