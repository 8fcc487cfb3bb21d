//! Puts coding blocks together out of symbols in any order, and gives them out in the order of the stream.

mod landing;

use std::collections::VecDeque;
use std::ops::Range;

pub(super) use self::landing::Run;
use crate::fec::{Block, Codec, Layout, MAX_SYMBOLS, SymbolSet};
use crate::wire::{BlockNumber, Kind, Need, Symbol};

/// Blocks from the one that the sink takes next on. Holds at most `window` blocks, those in the sink included.
#[derive(Debug)]
pub(super) struct Assembly {
    layout: Layout,
    block_symbols: u8,
    window: usize,
    /// Blocks before this one have been taken by the sink.
    position: BlockNumber,
    /// Number of the front slot: the next block to give out.
    first: BlockNumber,
    /// Blocks before this one are complete.
    received: BlockNumber,
    slots: VecDeque<Slot>,
    /// One place beyond the source symbol that is furthest in the stream: where the next will probably belong.
    next: (BlockNumber, usize),
    /// The rooms that were offered last to batches of datagrams: places of one block each.
    rooms: Vec<(BlockNumber, Range<usize>)>,
    /// A copy of the first datagram in a room.
    first_landed: Vec<u8>,
    /// Buffers that the sink gave back.
    free: Vec<Block>,
    /// Buffers for repair symbols.
    free_repairs: Vec<Vec<u8>>,
    codec: Codec,
}

#[derive(Debug)]
enum Slot {
    /// No symbol of it has come.
    Unseen,
    /// The same, and this is where they may land.
    Reserved(Block),
    Partial(Box<Partial>),
    Complete(Block),
}

#[derive(Debug)]
struct Partial {
    block: Block,
    have: SymbolSet,
    repairs: Vec<(usize, Vec<u8>)>,
    /// The highest repair symbol seen, from 1; tells how much parity is left.
    parity_seen: usize,
    /// Reports that asked for it.
    asked: u8,
    /// Symbols in a row that say the block has another length.
    contradictions: u8,
}

/// What became of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It helps.
    Useful,
    /// It is not needed (any more).
    Needless,
    /// It lies beyond the window.
    Beyond,
    /// It contradicts its block or the session.
    Malformed,
}

impl Assembly {
    /// Times that a block is asked for by number before its missing symbols are named.
    const ASKS_BEFORE_NAMES: u8 = 4;
    /// After more symbols of another length, it was the first ones of the block that lied.
    const MOST_CONTRADICTIONS: u8 = 3;

    /// Bytes of the buffer that the smallest block takes: it is as much work to keep an account of a small one as of a large
    /// one, and a sender chooses how small they are.
    const LEAST: usize = 512;

    /// `buffer` bytes hold the blocks, at least two of them; they have the shape of the sender's batches.
    ///
    /// `None` if they do not fit.
    pub(super) fn new(layout: Layout, block_symbols: u8, buffer: usize) -> Option<Self> {
        let block = layout.stride() * usize::from(block_symbols);
        let window = buffer / block.max(Self::LEAST);
        (window >= 2).then(|| Self {
            layout,
            block_symbols,
            window,
            position: BlockNumber(0),
            first: BlockNumber(0),
            received: BlockNumber(0),
            slots: VecDeque::new(),
            next: (BlockNumber(0), 0),
            rooms: Vec::new(),
            first_landed: Vec::new(),
            free: Vec::new(),
            free_repairs: Vec::new(),
            codec: Codec::new(),
        })
    }

    /// Counts blocks from this number on; nothing has come yet.
    pub(super) fn begin_at(&mut self, first: BlockNumber) {
        (self.position, self.first, self.received, self.next) = (first, first, first, (first, 0));
    }

    pub(super) const fn symbol_size(&self) -> u64 {
        self.layout.symbol_size as u64
    }

    pub(super) const fn window(&self) -> usize {
        self.window
    }

    pub(super) const fn received(&self) -> BlockNumber {
        self.received
    }

    pub(super) const fn position(&self) -> BlockNumber {
        self.position
    }

    /// The next block that [`Self::poll_block`] gives out.
    pub(super) const fn first(&self) -> BlockNumber {
        self.first
    }

    /// Complete blocks that the sink has not taken yet.
    pub(super) const fn waiting(&self) -> u64 {
        self.received.0 - self.position.0
    }

    pub(super) fn handle_symbol(&mut self, kind: Kind, symbol: &Symbol<'_>) -> Taken {
        if symbol.block < self.received {
            return Taken::Needless;
        }
        // Relative to the front, which is at most `received`; the window counts from the sink's position.
        let ahead = symbol.block.0 - self.first.0;
        let in_sink = self.first.0 - self.position.0;
        if ahead >= (self.window as u64).saturating_sub(in_sink) {
            return Taken::Beyond;
        }
        let length = symbol.block_len as usize;
        let symbol_size = self.layout.symbol_size;
        if length > symbol_size * usize::from(self.block_symbols) {
            return Taken::Malformed;
        }
        let at = ahead as usize;
        while self.slots.len() <= at {
            self.slots.push_back(Slot::Unseen);
        }
        if matches!(self.slots[at], Slot::Unseen | Slot::Reserved(_)) {
            if !fits(kind, symbol, length.div_ceil(symbol_size), symbol_size) {
                return Taken::Malformed;
            }
            self.begin(at, length);
        }
        let Slot::Partial(partial) = &mut self.slots[at] else { return Taken::Needless };
        if !fits(kind, symbol, length.div_ceil(symbol_size), symbol_size) {
            return Taken::Malformed;
        }
        if partial.block.len() != length {
            partial.contradictions += 1;
            if partial.contradictions <= Self::MOST_CONTRADICTIONS {
                return Taken::Malformed;
            }
            partial.restart(length, &mut self.free_repairs);
        }
        partial.contradictions = 0;
        if !partial.take(kind, symbol, &mut self.free_repairs) {
            return Taken::Needless;
        }
        let (symbols, complete) = (partial.block.symbols(), partial.missing() == 0);
        if kind == Kind::Source {
            self.advance(symbol.block, usize::from(symbol.symbol) + 1, symbols);
        }
        if complete {
            self.complete(at);
        }
        Taken::Useful
    }

    /// A buffer for a block.
    fn buffer(&mut self) -> Block {
        let new = || Block::new(self.layout, usize::from(self.block_symbols));
        self.free.pop().unwrap_or_else(new)
    }

    /// The first symbol of a block of `length` bytes is there.
    fn begin(&mut self, at: usize, length: usize) {
        let mut block = match std::mem::replace(&mut self.slots[at], Slot::Unseen) {
            Slot::Reserved(block) => block,
            _ => self.buffer(),
        };
        block.set_len(length);
        self.slots[at] = Slot::Partial(Box::new(Partial::new(block)));
    }

    /// Source symbols of `block` up to `end` have come, of `symbols`.
    fn advance(&mut self, block: BlockNumber, end: usize, symbols: usize) {
        let next = if end >= symbols { (block.plus(1), 0) } else { (block, end) };
        self.next = self.next.max(next);
    }

    /// The first incomplete block of those from `from` on and before `to`.
    pub(super) fn first_missing(&self, from: BlockNumber, to: BlockNumber) -> Option<BlockNumber> {
        let mut block = from.max(self.received);
        while block < to {
            let at = (block.0 - self.first.0) as usize;
            if !matches!(self.slots.get(at), Some(Slot::Complete(_))) {
                return Some(block);
            }
            block = block.plus(1);
        }
        None
    }

    /// The next block of the stream, if it is complete.
    pub(super) fn poll_block(&mut self) -> Option<Block> {
        if !matches!(self.slots.front(), Some(Slot::Complete(_))) {
            return None;
        }
        let Some(Slot::Complete(block)) = self.slots.pop_front() else { return None };
        self.first = self.first.plus(1);
        Some(block)
    }

    /// The sink has taken the oldest block that was given out.
    pub(super) fn handle_consumed(&mut self, block: Block) {
        if self.position < self.first {
            self.position = self.position.plus(1);
            self.free.push(block);
        }
    }

    /// Fills `needs` with the incomplete blocks before `settled`, as many as `room` bytes hold.
    pub(super) fn needs(&mut self, settled: BlockNumber, mut room: usize, needs: &mut Vec<Need>) {
        needs.clear();
        let start = (self.received.0 - self.first.0) as usize;
        let count = settled.0.saturating_sub(self.received.0).min(self.window as u64) as u32;
        for offset in 0..count {
            let (missing, symbols) = match self.slots.get_mut(start + offset as usize) {
                Some(Slot::Complete(_)) => continue,
                // How long it is nobody here knows; the sender does.
                Some(Slot::Unseen | Slot::Reserved(_)) | None => (usize::from(self.block_symbols), None),
                Some(Slot::Partial(partial)) => partial.need(),
            };
            let need = Need { offset, missing: u8::try_from(missing).unwrap_or(u8::MAX), symbols };
            let Some(left) = room.checked_sub(need.encoded_len()) else { break };
            room = left;
            needs.push(need);
        }
    }

    fn complete(&mut self, at: usize) {
        let Slot::Partial(partial) = std::mem::replace(&mut self.slots[at], Slot::Unseen) else { return };
        let mut partial = *partial;
        if !partial.repairs.is_empty() {
            let repairs: Vec<_> = partial.repairs.iter().map(|(at, bytes)| (*at, bytes.as_slice())).collect();
            if let Err(error) = self.codec.reconstruct(&mut partial.block, &partial.have, &repairs) {
                // Cannot happen with enough distinct symbols; if it does, ask for others.
                tracing::error!(%error, "block could not be reconstructed");
                partial.repairs.clear();
                self.slots[at] = Slot::Partial(Box::new(partial));
                return;
            }
            self.free_repairs.extend(partial.repairs.drain(..).map(|(_, bytes)| bytes));
            self.free_repairs.truncate(MAX_SYMBOLS);
        }
        self.slots[at] = Slot::Complete(partial.block);
        let mut next = (self.received.0 - self.first.0) as usize;
        while let Some(Slot::Complete(_)) = self.slots.get(next) {
            next += 1;
            self.received = self.received.plus(1);
        }
    }
}

impl Partial {
    fn new(block: Block) -> Self {
        Self {
            block,
            have: SymbolSet::new(),
            repairs: Vec::new(),
            parity_seen: 0,
            asked: 0,
            contradictions: 0,
        }
    }

    /// Forgets all symbols: the block has `length` bytes.
    fn restart(&mut self, length: usize, spare: &mut Vec<Vec<u8>>) {
        self.block.set_len(length);
        self.have = SymbolSet::new();
        spare.extend(self.repairs.drain(..).map(|(_, bytes)| bytes));
        spare.truncate(MAX_SYMBOLS);
        self.parity_seen = 0;
    }

    fn missing(&self) -> usize {
        self.block.symbols().saturating_sub(self.have.len() + self.repairs.len())
    }

    /// True if the symbol was new.
    fn take(&mut self, kind: Kind, symbol: &Symbol<'_>, spare: &mut Vec<Vec<u8>>) -> bool {
        let index = usize::from(symbol.symbol);
        if kind == Kind::Source {
            if !self.have.insert(index) {
                return false;
            }
            self.block.payload_mut(index).copy_from_slice(symbol.payload);
            return true;
        }
        let repair = index - self.block.symbols();
        self.parity_seen = self.parity_seen.max(repair + 1);
        if self.repairs.iter().any(|(other, _)| *other == repair) {
            return false;
        }
        let mut bytes = spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(symbol.payload);
        self.repairs.push((repair, bytes));
        true
    }

    fn need(&mut self) -> (usize, Option<SymbolSet>) {
        let missing = self.missing();
        let used_up = self.parity_seen + missing > self.block.max_repairs();
        self.asked = self.asked.saturating_add(1);
        let named = used_up || self.asked > Assembly::ASKS_BEFORE_NAMES;
        (missing, named.then(|| self.have.missing(self.block.symbols())))
    }
}

/// Whether a symbol's kind, number and length agree with a block of `symbols` source symbols.
fn fits(kind: Kind, symbol: &Symbol<'_>, symbols: usize, symbol_size: usize) -> bool {
    let index = usize::from(symbol.symbol);
    let length = symbol.block_len as usize;
    let expected = match kind {
        Kind::Source if index < symbols => (length - index * symbol_size).min(symbol_size),
        Kind::Repair if index >= symbols => length.min(symbol_size),
        _ => return false,
    };
    symbol.payload.len() == expected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::layout;

    #[test]
    fn smallest_blocks_take_no_more_memory_than_the_buffer() {
        let block = layout(64).stride();
        let assembly = Assembly::new(layout(64), 1, 1 << 20).expect("fits");
        let account = size_of::<Slot>() * 2 + size_of::<Partial>();
        assert!(assembly.window * (block + account) <= 1 << 20, "{block} and {account} bytes");
    }

    fn symbol(block: u64, index: u8, payload: &[u8], block_len: u32) -> Symbol<'_> {
        Symbol { substream: 0, symbol: index, block_len, block: BlockNumber(block), payload }
    }

    #[test]
    fn blocks_come_out_in_order_whatever_the_order_of_symbols() {
        let mut assembly = Assembly::new(layout(64), 2, 64 * 1024).expect("fits");
        let (a, b) = ([1; 64], [2; 10]);
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(1, 0, &b, 10)), Taken::Useful);
        assert!(assembly.poll_block().is_none());
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(0, 1, &b, 74)), Taken::Useful);
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(0, 1, &b, 74)), Taken::Needless);
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(0, 0, &a, 74)), Taken::Useful);
        assert_eq!(assembly.received(), BlockNumber(2));
        let block = assembly.poll_block().expect("first");
        assert_eq!(block.payloads().flatten().copied().collect::<Vec<_>>(), [&a[..], &b].concat());
        assembly.handle_consumed(block);
        assert_eq!(assembly.position(), BlockNumber(1));
        assert_eq!(assembly.poll_block().map(|block| block.len()), Some(10));
    }

    #[test]
    fn a_block_whose_first_symbol_lied_is_put_together_all_the_same() {
        let mut assembly = Assembly::new(layout(64), 8, 64 * 1024).expect("fits");
        let full = [3; 64];
        assert_eq!(
            assembly.handle_symbol(Kind::Source, &symbol(0, 0, &full[..5], 5 + 128)),
            Taken::Malformed
        );
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(0, 1, &full, 5 + 128)), Taken::Useful);
        for index in 0..8 {
            assembly.handle_symbol(Kind::Source, &symbol(0, index, &full, 512));
        }
        for index in 0..3 {
            // Another lie changes nothing any more.
            assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(0, 0, &full, 448)), Taken::Malformed);
            assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(0, index, &full, 512)), Taken::Useful);
        }
        let block = assembly.poll_block().expect("complete");
        assert!(block.len() == 512 && block.payloads().all(|payload| payload == full));
    }

    #[test]
    fn what_contradicts_its_block_or_lies_beyond_the_window_changes_nothing() {
        let mut assembly = Assembly::new(layout(64), 2, 4 * Assembly::LEAST).expect("fits");
        let window = assembly.window() as u64;
        let full = [0; 64];
        for (bad, kind) in [
            (symbol(0, 0, &full[..63], 128), Kind::Source),
            (symbol(0, 2, &full, 128), Kind::Source),
            (symbol(0, 1, &full, 128), Kind::Repair),
            (symbol(0, 0, &full, 129), Kind::Source),
            (symbol(0, 0, &full, u32::MAX), Kind::Source),
        ] {
            assert_eq!(assembly.handle_symbol(kind, &bad), Taken::Malformed, "{bad:?}");
        }
        // Nor is it kept as what the block is like.
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(0, 0, &full, 64)), Taken::Useful);
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(window, 0, &full, 128)), Taken::Beyond);
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(u64::MAX, 0, &full, 128)), Taken::Beyond);
        assert_eq!(assembly.handle_symbol(Kind::Source, &symbol(window - 1, 0, &full, 128)), Taken::Useful);
        assert_eq!(
            assembly.handle_symbol(Kind::Source, &symbol(window - 1, 1, &full[..1], 65)),
            Taken::Malformed
        );
        let mut needs = Vec::new();
        assembly.needs(BlockNumber(u64::MAX), 1_000, &mut needs);
        assert_eq!(needs.len() as u64, window);
        assert_eq!(needs.iter().map(|need| need.missing).min(), Some(1));
    }

    #[test]
    fn blocks_in_the_sink_take_up_the_window_until_they_come_back() {
        let mut assembly = Assembly::new(layout(64), 1, 4 * Assembly::LEAST).expect("fits");
        let full = [0; 64];
        let send = |assembly: &mut Assembly, block| {
            assembly.handle_symbol(Kind::Source, &symbol(block, 0, &full, 64))
        };
        assert_eq!([0, 1].map(|block| send(&mut assembly, block)), [Taken::Useful; 2]);
        let blocks = [assembly.poll_block(), assembly.poll_block()].map(|block| block.expect("complete"));
        assert_eq!([3, 4].map(|block| send(&mut assembly, block)), [Taken::Useful, Taken::Beyond]);
        let [first, second] = blocks;
        assembly.handle_consumed(first);
        assert_eq!([4, 5].map(|block| send(&mut assembly, block)), [Taken::Useful, Taken::Beyond]);
        // More than was given out does not come back.
        assembly.handle_consumed(second);
        assembly.handle_consumed(Block::new(layout(64), 1));
        assert_eq!(assembly.position(), BlockNumber(2));
        assert_eq!([5, 6].map(|block| send(&mut assembly, block)), [Taken::Useful, Taken::Beyond]);
    }

    #[test]
    fn symbols_are_named_once_parity_is_used_up_or_asking_has_not_helped() {
        let full = [0; 64];
        let of = |symbols: u8, there: u8, repair: Option<u8>| {
            let mut assembly = Assembly::new(layout(64), symbols, 64 * 1024).expect("fits");
            let length = u32::from(symbols) * 64;
            for index in 0..there {
                assembly.handle_symbol(Kind::Source, &symbol(0, index, &full, length));
            }
            if let Some(index) = repair {
                assert_eq!(
                    assembly.handle_symbol(Kind::Repair, &symbol(0, index, &full, length)),
                    Taken::Useful
                );
            }
            let ask = |assembly: &mut Assembly| {
                let mut needs = Vec::new();
                assembly.needs(BlockNumber(1), 1_000, &mut needs);
                needs.first().map(|need| (need.missing, need.symbols.is_some()))
            };
            (0..6).map(|_| ask(&mut assembly)).collect::<Vec<_>>()
        };
        let (by_number, by_name) = (|missing| Some((missing, false)), |missing| Some((missing, true)));
        // There is plenty of parity, and still the answers do not come.
        assert_eq!(of(64, 60, None), [[by_number(4); 4].as_slice(), &[by_name(4); 2]].concat());
        // Six repair symbols there are, of which two have passed unseen: three are left, and then four are needed.
        assert_eq!(of(128, 126, Some(254))[0], by_number(1));
        assert_eq!(of(128, 125, Some(254))[0], by_name(2));
    }

    #[test]
    fn a_repair_symbol_that_comes_again_is_none_and_buffers_for_them_are_bounded() {
        let (symbols, blocks) = (100_u8, 3);
        let length = u32::from(symbols) * 64;
        let mut block = Block::new(layout(64), usize::from(symbols));
        block.set_len(length as usize);
        let (mut codec, mut repairs) = (Codec::new(), vec![[0; 64]; usize::from(symbols)]);
        for (index, repair) in repairs.iter_mut().enumerate() {
            codec.encode(&block, index, repair).expect("there are as many");
        }
        let mut assembly = Assembly::new(layout(64), symbols, 1 << 20).expect("fits");
        // All but one of each block, each twice; then the last ones.
        let last = repairs.len() - 1;
        for wanted in [0..last, last..last + 1] {
            for number in 0..blocks {
                for index in wanted.clone() {
                    let repair = symbol(number, symbols + index as u8, &repairs[index], length);
                    assert_eq!(assembly.handle_symbol(Kind::Repair, &repair), Taken::Useful);
                    assert_eq!(assembly.handle_symbol(Kind::Repair, &repair), Taken::Needless);
                }
            }
        }
        assert_eq!(assembly.received(), BlockNumber(blocks));
        let mended = assembly.poll_block().expect("complete");
        assert!(mended.payloads().eq(block.payloads()));
        assert!(assembly.free_repairs.len() <= MAX_SYMBOLS, "{}", assembly.free_repairs.len());
    }
}
