//! A coding block: up to 256 source symbols in one buffer, each with room for what goes around it on the wire.

use std::ops::Range;

use super::MAX_SYMBOLS;

/// Where the symbols lie in a block's buffer, in bytes: `head` before each payload, `tail` after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Payload of a symbol; only a block's last symbol may have less.
    pub symbol_size: usize,
    /// Room for the datagram's header.
    pub head: usize,
    /// Room for the datagram's trailer.
    pub tail: usize,
}

impl Layout {
    /// Distance in bytes from one symbol to the next, which is also the size of a full symbol's datagram.
    pub const fn stride(&self) -> usize {
        self.head + self.symbol_size + self.tail
    }
}

/// Source symbols of one coding block, `len` bytes of stream, in the shape of a batch of datagrams.
///
/// The buffer is allocated once and never grows: `capacity × stride` bytes. It is zeroed by the operating system, page
/// by page at first use, so that a block which stays short costs what it holds.
#[derive(Debug)]
pub struct Block {
    layout: Layout,
    /// Bytes of stream, at most `capacity_bytes`.
    len: usize,
    buffer: Box<[u8]>,
}

impl Block {
    /// An empty block with room for `capacity` source symbols; `capacity` is taken as at least 1 and at most
    /// [`MAX_SYMBOLS`], `symbol_size` as at least 1.
    pub fn new(layout: Layout, capacity: usize) -> Self {
        let layout = Layout { symbol_size: layout.symbol_size.max(1), ..layout };
        let buffer = vec![0; layout.stride() * capacity.clamp(1, MAX_SYMBOLS)].into_boxed_slice();
        Self { layout, len: 0, buffer }
    }

    /// Where the symbols lie.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Source symbols that there is room for.
    pub const fn capacity(&self) -> usize {
        self.buffer.len() / self.layout.stride()
    }

    /// Bytes of stream that there is room for.
    pub const fn capacity_bytes(&self) -> usize {
        self.capacity() * self.layout.symbol_size
    }

    /// Bytes of stream in the block.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the block has no byte of stream.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says that the block has `bytes` bytes of stream; more than the capacity is taken as the capacity.
    pub fn set_len(&mut self, bytes: usize) {
        self.len = bytes.min(self.capacity_bytes());
    }

    /// Source symbols in the block, k in the literature.
    pub const fn symbols(&self) -> usize {
        self.len.div_ceil(self.layout.symbol_size)
    }

    /// Repair symbols that this block can have.
    pub const fn max_repairs(&self) -> usize {
        match self.symbols() {
            0 => 0,
            symbols => MAX_SYMBOLS - symbols,
        }
    }

    /// Bytes of the source symbol `symbol`: the symbol size, less for the block's last, 0 outside the block.
    pub fn symbol_len(&self, symbol: usize) -> usize {
        self.len.saturating_sub(symbol.saturating_mul(self.layout.symbol_size)).min(self.layout.symbol_size)
    }

    /// Bytes of each repair symbol: the symbol size, or less where the block has only one short symbol.
    pub fn repair_len(&self) -> usize {
        self.len.min(self.layout.symbol_size)
    }

    /// The bytes of stream in source symbol `symbol`; none outside the block.
    pub fn payload(&self, symbol: usize) -> &[u8] {
        &self.buffer[self.payload_range(symbol)]
    }

    /// The bytes of stream in source symbol `symbol`, to be written; none outside the block.
    pub fn payload_mut(&mut self, symbol: usize) -> &mut [u8] {
        let range = self.payload_range(symbol);
        &mut self.buffer[range]
    }

    /// All payloads in order, as `writev` takes them.
    pub fn payloads(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.symbols()).map(|symbol| self.payload(symbol))
    }

    /// The datagram of source symbol `symbol`: head, payload, tail; nothing outside the block.
    pub fn datagram_mut(&mut self, symbol: usize) -> &mut [u8] {
        let range = self.datagram_range(symbol..symbol.saturating_add(1));
        &mut self.buffer[range]
    }

    /// The datagrams of these source symbols, one after the other: all of [`Layout::stride`] bytes but the block's
    /// last. What lies outside the block is left out.
    pub fn datagrams(&self, symbols: Range<usize>) -> &[u8] {
        &self.buffer[self.datagram_range(symbols)]
    }

    /// Room for stream from byte `from` of the block up to its capacity, as `readv` takes it; whatever lies there
    /// is overwritten. [`Block::set_len`] then says how much came.
    pub fn spare_mut(&mut self, from: usize) -> impl Iterator<Item = &mut [u8]> {
        let Layout { symbol_size, head, .. } = self.layout;
        let mut offset = from % symbol_size;
        self.buffer
            .chunks_exact_mut(self.layout.stride())
            .skip(from / symbol_size)
            .map(move |datagram| &mut datagram[head + std::mem::take(&mut offset)..head + symbol_size])
    }

    fn payload_range(&self, symbol: usize) -> Range<usize> {
        match self.symbol_len(symbol) {
            0 => 0..0,
            len => {
                let start = symbol * self.layout.stride() + self.layout.head;
                start..start + len
            }
        }
    }

    fn datagram_range(&self, symbols: Range<usize>) -> Range<usize> {
        let last = match symbols.end.min(self.symbols()).checked_sub(1) {
            Some(last) if last >= symbols.start => last,
            _ => return 0..0,
        };
        symbols.start * self.layout.stride()..self.payload_range(last).end + self.layout.tail
    }
}
