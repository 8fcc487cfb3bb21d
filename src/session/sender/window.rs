//! The blocks between what the source has given and what every receiver has: sent once, repaired on request.

use std::collections::{BTreeSet, VecDeque};

use crate::fec::{Block, SymbolSet};
use crate::wire::{BlockNumber, DatagramNumber};

/// Blocks in order of the stream. Bounded by the number of buffers that exist, see [`super::Config::window`].
#[derive(Debug, Default)]
pub(super) struct SendWindow {
    /// Number of the front block.
    released: BlockNumber,
    blocks: VecDeque<SentBlock>,
    /// Where the first pass stands: block and symbol to send next.
    next_block: BlockNumber,
    next_symbol: usize,
    /// Blocks with something queued.
    to_repair: BTreeSet<BlockNumber>,
}

/// A block and what has been sent to repair it.
#[derive(Debug)]
pub(super) struct SentBlock {
    pub(super) block: Block,
    /// The next repair symbol that has never been sent.
    next_repair: usize,
    /// Fresh repair symbols to send.
    queued: usize,
    /// Source symbols to send again.
    queued_symbols: SymbolSet,
    /// What was sent, newest last; older than [`SentBlock::LOG`] entries is taken as settled.
    log: VecDeque<Repaired>,
}

#[derive(Clone, Copy, Debug)]
struct Repaired {
    number: DatagramNumber,
    what: Sending,
}

/// A piece of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// Repair symbol, from 0.
    Repair(usize),
    /// Source symbol, once more.
    Symbol(usize),
}

impl SendWindow {
    /// Empty, with this number for the first block.
    pub(super) fn beginning_at(first: BlockNumber) -> Self {
        Self { released: first, next_block: first, ..Self::default() }
    }

    pub(super) fn push(&mut self, block: Block) {
        self.blocks.push_back(SentBlock::new(block));
    }

    /// Number of the first block that is still held.
    pub(super) const fn released(&self) -> BlockNumber {
        self.released
    }

    /// Every block before this one has been sent once, whole.
    pub(super) const fn next_block(&self) -> BlockNumber {
        self.next_block
    }

    /// Blocks that are held.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// One more than the last block that the source gave.
    pub(super) fn end(&self) -> BlockNumber {
        self.released.plus(self.blocks.len() as u64)
    }

    /// Whether the first pass has caught up with the source.
    pub(super) fn all_sent(&self) -> bool {
        self.next_block == self.end()
    }

    /// What the first pass sends next: block, its number, symbol.
    pub(super) fn unsent(&mut self) -> Option<(&mut Block, BlockNumber, usize)> {
        let (number, symbol) = (self.next_block, self.next_symbol);
        self.at(number).map(|sent| (&mut sent.block, number, symbol))
    }

    pub(super) fn block(&self, number: BlockNumber) -> Option<&Block> {
        let index = usize::try_from(number.distance_from(self.released)?).ok()?;
        self.blocks.get(index).map(|sent| &sent.block)
    }

    /// The first pass has got this much further in its block.
    pub(super) fn handle_sent(&mut self, symbols: usize) {
        self.next_symbol += symbols;
        let (block, next) = (self.next_block, self.next_symbol);
        if self.at(block).is_some_and(|sent| sent.block.symbols() <= next) {
            self.next_block = block.plus(1);
            self.next_symbol = 0;
        }
    }

    /// A receiver that has seen everything up to `settled` misses `missing` symbols of `block`, namely `symbols` if it
    /// says so. What is queued or under way to it already is not sent again.
    pub(super) fn handle_need(
        &mut self,
        block: BlockNumber,
        missing: usize,
        symbols: Option<SymbolSet>,
        settled: DatagramNumber,
    ) {
        // A block whose first pass is not over needs no repair yet.
        if block >= self.next_block {
            return;
        }
        let Some(sent) = self.at(block) else { return };
        if sent.handle_need(missing, symbols, settled) {
            self.to_repair.insert(block);
        }
    }

    /// The oldest block that is to be repaired, and its number.
    pub(super) fn repairing(&mut self) -> Option<(BlockNumber, &mut SentBlock)> {
        let number = *self.to_repair.first()?;
        let index = usize::try_from(number.distance_from(self.released)?).ok()?;
        self.blocks.get_mut(index).map(|sent| (number, sent))
    }

    /// `block` has nothing queued any more.
    pub(super) fn repaired(&mut self, block: BlockNumber) {
        self.to_repair.remove(&block);
    }

    /// Gives up the front block if it lies before `received`, which every receiver has.
    pub(super) fn release(&mut self, received: BlockNumber) -> Option<Block> {
        if self.released >= received || self.released >= self.next_block {
            return None;
        }
        let sent = self.blocks.pop_front()?;
        self.to_repair.remove(&self.released);
        self.released = self.released.plus(1);
        Some(sent.block)
    }

    fn at(&mut self, number: BlockNumber) -> Option<&mut SentBlock> {
        let index = usize::try_from(number.distance_from(self.released)?).ok()?;
        self.blocks.get_mut(index)
    }
}

impl SentBlock {
    /// Pieces of repair remembered for a block.
    const LOG: usize = 512;

    fn new(block: Block) -> Self {
        Self { block, next_repair: 0, queued: 0, queued_symbols: SymbolSet::new(), log: VecDeque::new() }
    }

    /// True if something is queued afterwards.
    fn handle_need(&mut self, missing: usize, symbols: Option<SymbolSet>, settled: DatagramNumber) -> bool {
        let missing = missing.min(self.block.symbols());
        let symbols =
            symbols.or_else(|| (missing == self.block.symbols()).then(|| SymbolSet::below(missing)));
        let helps = |what: Sending| match (what, symbols) {
            (Sending::Repair(_), _) => true,
            (Sending::Symbol(symbol), Some(set)) => set.contains(symbol),
            (Sending::Symbol(_), None) => false,
        };
        let under_way = self
            .log
            .iter()
            .rev()
            .take_while(|sent| sent.number > settled)
            .filter(|sent| helps(sent.what))
            .count();
        let queued_symbols =
            self.queued_symbols.iter().filter(|symbol| helps(Sending::Symbol(*symbol))).count();
        let wanted = missing.saturating_sub(under_way + self.queued + queued_symbols);
        let fresh = self.block.max_repairs().saturating_sub(self.next_repair + self.queued);
        self.queued += wanted.min(fresh);
        // Parity is used up: what is missing has to be named, unless it is everything.
        let mut rest = wanted.saturating_sub(fresh);
        if rest > 0
            && let Some(symbols) = symbols
        {
            let on_their_way: SymbolSet = self
                .log
                .iter()
                .rev()
                .take_while(|sent| sent.number > settled)
                .filter_map(|sent| match sent.what {
                    Sending::Symbol(symbol) => Some(symbol),
                    Sending::Repair(_) => None,
                })
                .collect();
            for symbol in
                symbols.difference(&on_their_way).iter().take_while(|symbol| *symbol < self.block.symbols())
            {
                if rest > 0 && self.queued_symbols.insert(symbol) {
                    rest -= 1;
                }
            }
        }
        self.queued > 0 || !self.queued_symbols.is_empty()
    }

    /// Takes the next queued piece; it leaves with this number.
    pub(super) fn take_queued(&mut self, number: DatagramNumber) -> Option<Sending> {
        let what = if self.queued > 0 {
            self.queued -= 1;
            self.next_repair += 1;
            Sending::Repair(self.next_repair - 1)
        } else {
            let symbol = self.queued_symbols.iter().next()?;
            self.queued_symbols.remove(symbol);
            Sending::Symbol(symbol)
        };
        if self.log.len() == Self::LOG {
            self.log.pop_front();
        }
        self.log.push_back(Repaired { number, what });
        Some(what)
    }

    pub(super) fn is_repaired(&self) -> bool {
        self.queued == 0 && self.queued_symbols.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::Layout;

    fn window(symbols: usize) -> SendWindow {
        let mut block = Block::new(Layout { symbol_size: 64, head: 0, tail: 0 }, symbols);
        block.set_len(symbols * 64);
        let mut window = SendWindow::default();
        window.push(block);
        window.handle_sent(symbols);
        window
    }

    /// Sends all that is queued, numbered from `number` on.
    fn drain(window: &mut SendWindow, number: u64) -> Vec<Sending> {
        let mut pieces = Vec::new();
        while let Some((block, sent)) = window.repairing() {
            pieces.extend(sent.take_queued(DatagramNumber(number + pieces.len() as u64)));
            if sent.is_repaired() {
                window.repaired(block);
            }
        }
        pieces
    }

    #[test]
    fn needs_of_several_receivers_cost_their_maximum() {
        let mut window = window(64);
        for missing in [1, 3, 2] {
            window.handle_need(BlockNumber(0), missing, None, DatagramNumber(63));
        }
        let sent: Vec<_> = (0..3).map(Sending::Repair).collect();
        assert_eq!(drain(&mut window, 64), sent);
    }

    #[test]
    fn what_is_under_way_is_not_sent_again_and_what_was_lost_is() {
        let mut window = window(64);
        window.handle_need(BlockNumber(0), 2, None, DatagramNumber(63));
        assert_eq!(drain(&mut window, 64).len(), 2);
        // A report from before the repairs, and one from between them.
        window.handle_need(BlockNumber(0), 2, None, DatagramNumber(63));
        window.handle_need(BlockNumber(0), 1, None, DatagramNumber(64));
        assert_eq!(drain(&mut window, 66), []);
        // Both have passed, one was lost.
        window.handle_need(BlockNumber(0), 1, None, DatagramNumber(65));
        assert_eq!(drain(&mut window, 66), [Sending::Repair(2)]);
    }

    #[test]
    fn named_source_symbols_follow_when_parity_is_used_up() {
        let mut window = window(250);
        let mut missing = SymbolSet::new();
        for symbol in [3, 9, 200, 249] {
            missing.insert(symbol);
        }
        window.handle_need(BlockNumber(0), 8, None, DatagramNumber(300));
        assert_eq!(drain(&mut window, 301).len(), 6);
        window.handle_need(BlockNumber(0), 4, Some(missing), DatagramNumber(306));
        let symbols: Vec<_> = missing.iter().map(Sending::Symbol).collect();
        assert_eq!(drain(&mut window, 307), symbols);
        window.handle_need(BlockNumber(0), 4, Some(missing), DatagramNumber(306));
        assert_eq!(drain(&mut window, 311), []);
    }

    #[test]
    fn demands_for_the_future_or_for_the_impossible_are_bounded() {
        let mut window = window(64);
        window.handle_need(BlockNumber(1), 255, None, DatagramNumber(63));
        window.handle_need(BlockNumber(u64::MAX), 255, None, DatagramNumber(63));
        assert_eq!(drain(&mut window, 64), []);
        window.handle_need(BlockNumber(0), usize::MAX, None, DatagramNumber(63));
        assert_eq!(drain(&mut window, 64).len(), 64);
    }
}
