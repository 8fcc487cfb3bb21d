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

    /// Copies `bytes` to the end of the block, as many as there is room for; returns how many those were.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        for room in self.spare_mut(self.len) {
            let (now, later) = rest.split_at(room.len().min(rest.len()));
            room[..now.len()].copy_from_slice(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let copied = bytes.len() - rest.len();
        self.len += copied;
        copied
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

    /// The datagrams of these places, whether the block has so many symbols or not, as a batch of datagrams lands there;
    /// nothing beyond the capacity. What lies there afterwards is part of the block once [`Block::set_len`] says so.
    pub fn landing_mut(&mut self, places: Range<usize>) -> &mut [u8] {
        let stride = self.layout.stride();
        let end = places.end.min(self.capacity());
        self.buffer.get_mut(places.start.min(end) * stride..end * stride).unwrap_or_default()
    }

    /// What [`Block::landing_mut`] gave.
    pub fn landing(&self, places: Range<usize>) -> &[u8] {
        let stride = self.layout.stride();
        let end = places.end.min(self.capacity());
        self.buffer.get(places.start.min(end) * stride..end * stride).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAYOUT: Layout = Layout { symbol_size: 10, head: 3, tail: 2 };

    #[test]
    fn datagrams_of_a_range_are_the_wire_bytes_one_after_the_other() {
        let mut block = Block::new(LAYOUT, 4);
        block.set_len(34);
        for symbol in 0..4 {
            block.datagram_mut(symbol).fill(b'0' + symbol as u8);
            block.payload_mut(symbol).fill(b'a' + symbol as u8);
        }
        assert_eq!(block.datagrams(0..2), b"000aaaaaaaaaa00111bbbbbbbbbb11");
        assert_eq!(block.datagrams(2..4), b"222cccccccccc22333dddd33");
        assert_eq!(block.datagrams(3..9), b"333dddd33");
        assert_eq!(block.datagrams(2..2), b"");
        assert_eq!(block.datagrams(4..5), b"");
        assert_eq!(block.datagram_mut(4), b"");
        assert_eq!(block.datagram_mut(usize::MAX), b"");
    }

    proptest! {
        #[test]
        fn what_is_read_into_the_spare_room_comes_out_of_the_payloads(
            symbol_size in 1..40_usize, head in 0..5_usize, tail in 0..5_usize, capacity in 1..=MAX_SYMBOLS,
            cuts in proptest::collection::vec(0..5_000_usize, 0..6),
        ) {
            let mut block = Block::new(Layout { symbol_size, head, tail }, capacity);
            let mut next = 0_u8;
            let mut expected = Vec::new();
            for cut in cuts {
                let from = block.len();
                let room: usize = block.spare_mut(from).map(|part| part.len()).sum();
                prop_assert_eq!(room, block.capacity_bytes() - from);
                let mut rest = cut.min(room);
                block.set_len(from + rest);
                for part in block.spare_mut(from) {
                    let part_len = rest.min(part.len());
                    for byte in &mut part[..part_len] {
                        *byte = next;
                        expected.push(next);
                        next = next.wrapping_add(1);
                    }
                    rest -= part_len;
                }
                let lens: usize = (0..block.symbols()).map(|symbol| block.symbol_len(symbol)).sum();
                prop_assert_eq!(lens, block.len());
                prop_assert_eq!(block.payloads().flatten().copied().collect::<Vec<_>>(), expected.clone());
            }
        }
    }

    #[test]
    fn appended_bytes_follow_what_is_there_and_stop_at_the_capacity() {
        let mut block = Block::new(LAYOUT, 2);
        assert_eq!(block.append(b"pg_dump"), 7);
        assert_eq!(block.append(b""), 0);
        assert_eq!(block.append(b" | mcast-send"), 13);
        assert_eq!(block.append(b"!"), 0);
        assert_eq!(block.payloads().collect::<Vec<_>>(), [b"pg_dump | ", b"mcast-send"]);
    }

    #[test]
    fn values_out_of_range_are_clamped() {
        let mut block = Block::new(Layout { symbol_size: 0, head: 0, tail: 0 }, 1000);
        assert_eq!((block.layout().symbol_size, block.capacity()), (1, MAX_SYMBOLS));
        block.set_len(usize::MAX);
        assert_eq!((block.len(), block.symbols(), block.max_repairs()), (MAX_SYMBOLS, MAX_SYMBOLS, 0));
        assert_eq!(block.spare_mut(usize::MAX).count(), 0);
        assert_eq!(Block::new(LAYOUT, 0).capacity(), 1);
    }

    #[test]
    fn a_block_of_one_short_symbol_has_short_repairs() {
        let mut block = Block::new(LAYOUT, 4);
        assert_eq!((block.symbols(), block.repair_len(), block.max_repairs()), (0, 0, 0));
        block.set_len(7);
        assert_eq!((block.symbols(), block.repair_len(), block.symbol_len(0)), (1, 7, 7));
        block.set_len(11);
        assert_eq!((block.symbols(), block.repair_len(), block.symbol_len(1)), (2, 10, 1));
    }
}
