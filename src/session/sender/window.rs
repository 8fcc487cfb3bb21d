//! The blocks between what the source has given and what every receiver has: sent once, repaired on request.

use std::collections::{BTreeSet, VecDeque};

use crate::fec::{Block, SymbolSet};
use crate::wire::{BlockNumber, DatagramNumber, ReceiverId};

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
    /// Blocks that had needs beyond a receiver's budget, and may still have.
    deferred: BTreeSet<BlockNumber>,
    /// Source symbols in all blocks so far.
    symbols: u64,
}

/// What a receiver misses of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    /// Who.
    pub(super) receiver: ReceiverId,
    /// How many symbols.
    pub(super) count: usize,
    /// Which source symbols, if it says so.
    pub(super) symbols: Option<SymbolSet>,
    /// It has seen everything up to this number, or taken it for lost.
    pub(super) settled: DatagramNumber,
}

/// What became of a need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    /// Symbols queued for it.
    pub(super) symbols: usize,
    /// This is the first need beyond what the block had got unasked.
    pub(super) short: bool,
}

/// A block and what has been sent to repair it.
#[derive(Debug)]
pub(super) struct SentBlock {
    pub(super) block: Block,
    /// Source symbols in all blocks before.
    symbols_before: u64,
    /// The next repair symbol that has never been sent.
    next_repair: usize,
    /// Fresh repair symbols to send.
    queued: usize,
    /// Source symbols to send again.
    queued_symbols: SymbolSet,
    /// What was sent, newest last; older than [`SentBlock::LOG`] entries is taken as settled.
    log: VecDeque<Repaired>,
    /// Repair symbols among `queued` that nobody had asked for.
    unasked_queued: usize,
    /// Somebody needed more than those.
    fell_short: bool,
    /// The largest need beyond a budget.
    deferred: Option<Missing>,
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
        let symbols_before = self.symbols;
        self.symbols = symbols_before.saturating_add(block.symbols() as u64);
        self.blocks.push_back(SentBlock::new(block, symbols_before));
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

    /// Source symbols in all blocks before this one; 0 if it was released long ago.
    pub(super) fn symbols_before(&self, block: BlockNumber) -> u64 {
        let index = block.distance_from(self.released).and_then(|index| usize::try_from(index).ok());
        match index {
            Some(index) => self.blocks.get(index).map_or(self.symbols, |sent| sent.symbols_before),
            None => 0,
        }
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

    /// The first pass has got this much further in its block. Returns the block that this completes.
    pub(super) fn handle_sent(&mut self, symbols: usize) -> Option<BlockNumber> {
        self.next_symbol += symbols;
        let (block, next) = (self.next_block, self.next_symbol);
        self.at(block).filter(|sent| sent.block.symbols() <= next)?;
        self.next_block = block.plus(1);
        self.next_symbol = 0;
        Some(block)
    }

    /// Queues so many repair symbols of a block that nobody has asked for.
    pub(super) fn queue_unasked(&mut self, block: BlockNumber, symbols: usize) {
        let Some(sent) = self.at(block) else { return };
        (sent.unasked_queued, sent.queued) = (symbols, symbols);
        if symbols > 0 {
            self.to_repair.insert(block);
        }
    }

    /// A receiver misses something of `block`. What is queued or under way to it already is not sent again, and of the
    /// rest no more than `budget` symbols before the first pass must pause.
    pub(super) fn handle_need(&mut self, block: BlockNumber, missing: Missing, budget: usize) -> Granted {
        // A block whose first pass is not over needs no repair yet.
        if block >= self.next_block {
            return Granted::default();
        }
        let Some(sent) = self.at(block) else { return Granted::default() };
        let granted = sent.handle_need(missing, budget);
        let (queued, deferred) = (!sent.is_repaired(), sent.deferred.is_some());
        if queued {
            self.to_repair.insert(block);
        }
        if deferred {
            self.deferred.insert(block);
        }
        granted
    }

    /// The first pass cannot go on: queues the oldest need that was beyond a budget.
    pub(super) fn queue_deferred(&mut self) {
        while self.to_repair.is_empty()
            && let Some(block) = self.deferred.pop_first()
        {
            if let Some(missing) = self.at(block).and_then(|sent| sent.deferred.take()) {
                self.handle_need(block, missing, usize::MAX);
            }
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
        self.deferred.remove(&self.released);
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

    fn new(block: Block, symbols_before: u64) -> Self {
        Self {
            block,
            symbols_before,
            next_repair: 0,
            queued: 0,
            queued_symbols: SymbolSet::new(),
            log: VecDeque::new(),
            unasked_queued: 0,
            fell_short: false,
            deferred: None,
        }
    }

    fn handle_need(&mut self, missing: Missing, budget: usize) -> Granted {
        let Missing { receiver, count, symbols, settled } = missing;
        let count = count.min(self.block.symbols());
        let symbols = symbols.or_else(|| (count == self.block.symbols()).then(|| SymbolSet::below(count)));
        let wanted = self.wanted(count, symbols, settled);
        let granted = wanted.min(budget);
        if granted < wanted {
            // Another receiver's larger need stays. Of one receiver the newer need counts.
            let stays = self
                .deferred
                .is_some_and(|before| before.receiver != receiver && before.count > missing.count);
            if !stays {
                self.deferred = Some(missing);
            }
        } else if self.deferred.is_some_and(|before| before.receiver == receiver) {
            self.deferred = None;
        }
        let fresh = self.block.max_repairs().saturating_sub(self.next_repair + self.queued);
        self.queued += granted.min(fresh);
        // Parity is used up: what is missing has to be named, unless it is everything.
        if let Some(symbols) = symbols
            && granted > fresh
        {
            self.queue_symbols(granted - fresh, symbols, settled);
        }
        let short = granted > 0 && !self.fell_short;
        self.fell_short |= short;
        Granted { symbols: granted, short }
    }

    /// Of `count` missing symbols, those that are neither queued nor under way.
    fn wanted(&self, count: usize, symbols: Option<SymbolSet>, settled: DatagramNumber) -> usize {
        let helps = |what: Sending| match (what, symbols) {
            (Sending::Repair(_), _) => true,
            (Sending::Symbol(symbol), Some(set)) => set.contains(symbol),
            (Sending::Symbol(_), None) => false,
        };
        let under_way = self.under_way(settled).filter(|sent| helps(sent.what)).count();
        let queued_symbols =
            self.queued_symbols.iter().filter(|symbol| helps(Sending::Symbol(*symbol))).count();
        count.saturating_sub(under_way + self.queued + queued_symbols)
    }

    fn queue_symbols(&mut self, count: usize, symbols: SymbolSet, settled: DatagramNumber) {
        let on_their_way: SymbolSet = self
            .under_way(settled)
            .filter_map(|sent| match sent.what {
                Sending::Symbol(symbol) => Some(symbol),
                Sending::Repair(_) => None,
            })
            .collect();
        let mut rest = count;
        let wanted = symbols.difference(&on_their_way);
        for symbol in wanted.iter().take_while(|symbol| *symbol < self.block.symbols()) {
            if rest > 0 && self.queued_symbols.insert(symbol) {
                rest -= 1;
            }
        }
    }

    /// What was sent with a number beyond `settled`.
    fn under_way(&self, settled: DatagramNumber) -> impl Iterator<Item = &Repaired> {
        self.log.iter().rev().take_while(move |sent| sent.number > settled)
    }

    /// Takes the next queued piece; it leaves with this number. With it comes whether somebody has asked for it.
    pub(super) fn take_queued(&mut self, number: DatagramNumber) -> Option<(Sending, bool)> {
        let asked = self.unasked_queued == 0;
        self.unasked_queued = self.unasked_queued.saturating_sub(1);
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
        Some((what, asked))
    }

    pub(super) fn is_repaired(&self) -> bool {
        self.queued == 0 && self.queued_symbols.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::Layout;

    fn block(symbols: usize) -> Block {
        let mut block = Block::new(Layout { symbol_size: 64, head: 0, tail: 0 }, symbols);
        block.set_len(symbols * 64);
        block
    }

    /// One block, which has been sent.
    fn window(symbols: usize) -> SendWindow {
        let mut window = SendWindow::default();
        window.push(block(symbols));
        window.handle_sent(symbols);
        window
    }

    fn set(symbols: &[usize]) -> SymbolSet {
        symbols.iter().copied().collect()
    }

    /// Sends all that is queued, numbered from `number` on.
    fn drain(window: &mut SendWindow, number: u64) -> Vec<Sending> {
        let mut pieces = Vec::new();
        while let Some((block, sent)) = window.repairing() {
            let piece = sent.take_queued(DatagramNumber(number + pieces.len() as u64));
            pieces.extend(piece.map(|(what, _)| what));
            if sent.is_repaired() {
                window.repaired(block);
            }
        }
        pieces
    }

    fn need(
        window: &mut SendWindow,
        block: u64,
        count: usize,
        symbols: Option<SymbolSet>,
        settled: u64,
    ) -> Granted {
        let missing = Missing { receiver: ReceiverId(0), count, symbols, settled: DatagramNumber(settled) };
        window.handle_need(BlockNumber(block), missing, usize::MAX)
    }

    #[test]
    fn needs_of_several_receivers_cost_their_maximum() {
        let mut window = window(64);
        for missing in [1, 3, 2] {
            need(&mut window, 0, missing, None, 63);
        }
        let sent: Vec<_> = (0..3).map(Sending::Repair).collect();
        assert_eq!(drain(&mut window, 64), sent);
    }

    #[test]
    fn what_is_under_way_is_not_sent_again_and_what_was_lost_is() {
        let mut window = window(64);
        need(&mut window, 0, 2, None, 63);
        assert_eq!(drain(&mut window, 64).len(), 2);
        // A report from before the repairs, and one from between them.
        need(&mut window, 0, 2, None, 63);
        need(&mut window, 0, 1, None, 64);
        assert_eq!(drain(&mut window, 66), []);
        // Both have passed, one was lost.
        need(&mut window, 0, 1, None, 65);
        assert_eq!(drain(&mut window, 66), [Sending::Repair(2)]);
    }

    #[test]
    fn named_source_symbols_follow_when_parity_is_used_up() {
        let mut window = window(250);
        let missing = set(&[3, 9, 200, 249]);
        need(&mut window, 0, 8, None, 300);
        assert_eq!(drain(&mut window, 301).len(), 6);
        need(&mut window, 0, 4, Some(missing), 306);
        let symbols: Vec<_> = missing.iter().map(Sending::Symbol).collect();
        assert_eq!(drain(&mut window, 307), symbols);
        need(&mut window, 0, 4, Some(missing), 306);
        assert_eq!(drain(&mut window, 311), []);
    }

    #[test]
    fn demands_for_the_future_or_for_the_impossible_are_bounded() {
        let mut window = window(64);
        need(&mut window, 1, 255, None, 63);
        need(&mut window, u64::MAX, 255, None, 63);
        assert_eq!(drain(&mut window, 64), []);
        need(&mut window, 0, usize::MAX, None, 63);
        assert_eq!(drain(&mut window, 64).len(), 64);
    }

    #[test]
    fn what_was_sent_unasked_answers_needs_and_what_goes_beyond_is_told_once() {
        let mut window = window(64);
        window.queue_unasked(BlockNumber(0), 3);
        // Before they left, and after: whoever has not seen them pass has them still to come.
        assert_eq!(need(&mut window, 0, 2, None, 63), Granted::default());
        assert_eq!(drain(&mut window, 64).len(), 3);
        assert_eq!(need(&mut window, 0, 3, None, 63), Granted::default());
        assert_eq!(need(&mut window, 0, 1, None, 66), Granted { symbols: 1, short: true });
        assert_eq!(need(&mut window, 0, 2, None, 66), Granted { symbols: 1, short: false });
        assert_eq!(drain(&mut window, 67), [Sending::Repair(3), Sending::Repair(4)]);
    }

    #[test]
    fn smaller_need_of_another_receiver_does_not_replace_a_larger_deferred_one() {
        for order in [[20, 5], [5, 20]] {
            let mut window = window(64);
            for (receiver, count) in (1..).zip(order) {
                let settled = DatagramNumber(63);
                let missing = Missing { receiver: ReceiverId(receiver), count, symbols: None, settled };
                assert_eq!(window.handle_need(BlockNumber(0), missing, 0).symbols, 0);
            }
            window.queue_deferred();
            assert_eq!(drain(&mut window, 64).len(), 20, "{order:?}");
        }
    }

    #[test]
    fn what_goes_beyond_a_budget_waits_until_the_first_pass_must() {
        let mut window = window(64);
        let missing = |receiver, count, settled| Missing {
            receiver: ReceiverId(receiver),
            count,
            symbols: None,
            settled: DatagramNumber(settled),
        };
        let block = BlockNumber(0);
        assert_eq!(window.handle_need(block, missing(1, 20, 63), 2).symbols, 2);
        assert_eq!(drain(&mut window, 64).len(), 2);
        // Another one asks for some of the same, within its own budget.
        assert_eq!(window.handle_need(block, missing(2, 5, 63), 9).symbols, 3);
        assert_eq!(drain(&mut window, 66).len(), 3);
        assert!(window.repairing().is_none());
        window.queue_deferred();
        assert_eq!(drain(&mut window, 69).len(), 15);
        window.queue_deferred();
        assert!(window.repairing().is_none());
        // What it asks for later takes the place of what it asked for before.
        assert_eq!(window.handle_need(block, missing(1, 20, 83), 0).symbols, 0);
        assert_eq!(window.handle_need(block, missing(1, 1, 84), 9).symbols, 1);
        assert_eq!(drain(&mut window, 84).len(), 1);
        window.queue_deferred();
        assert!(window.repairing().is_none());
    }

    #[test]
    fn a_block_under_way_for_the_first_time_is_not_repaired() {
        let mut window = window(64);
        window.push(block(64));
        window.handle_sent(10);
        assert_eq!(need(&mut window, 1, 5, None, 73), Granted::default());
        window.handle_sent(54);
        assert_eq!(need(&mut window, 1, 5, None, 127).symbols, 5);
    }

    #[test]
    fn no_more_repair_symbols_are_queued_than_there_are() {
        let mut window = window(250);
        assert_eq!(need(&mut window, 0, 4, None, 249).symbols, 4);
        need(&mut window, 0, 9, None, 249);
        assert_eq!(drain(&mut window, 250), (0..6).map(Sending::Repair).collect::<Vec<_>>());
    }
    #[test]
    fn what_all_have_is_released_once_it_was_sent_and_its_repairs_stop_no_others() {
        let mut window = window(64);
        let missing =
            Missing { receiver: ReceiverId(0), count: 3, symbols: None, settled: DatagramNumber(63) };
        assert_eq!(window.handle_need(BlockNumber(0), missing, 1).symbols, 1);
        window.push(block(64));
        window.handle_sent(63);
        assert!(window.release(BlockNumber(2)).is_some());
        assert!(window.release(BlockNumber(2)).is_none(), "it has not been sent whole");
        window.handle_sent(1);
        assert!(window.to_repair.is_empty() && window.deferred.is_empty());
        assert_eq!(need(&mut window, 1, 2, None, 127).symbols, 2);
        assert_eq!(drain(&mut window, 128), [Sending::Repair(0), Sending::Repair(1)]);
    }

    #[test]
    fn symbols_that_are_named_answer_who_misses_just_those() {
        let mut window = window(250);
        assert_eq!(need(&mut window, 0, 6, None, 249).symbols, 6);
        drain(&mut window, 250);
        // Queued: who misses the same gets no more of it, who misses others gets those.
        assert_eq!(need(&mut window, 0, 2, Some(set(&[3, 9])), 255).symbols, 2);
        assert_eq!(need(&mut window, 0, 2, Some(set(&[3, 9])), 255).symbols, 0);
        assert_eq!(need(&mut window, 0, 1, Some(set(&[4])), 255).symbols, 1);
        assert_eq!(drain(&mut window, 256), [3, 4, 9].map(Sending::Symbol));
        // Under way: the same.
        assert_eq!(need(&mut window, 0, 4, Some(set(&[3, 4, 9, 200])), 255).symbols, 1);
        assert_eq!(need(&mut window, 0, 1, Some(set(&[7])), 255).symbols, 1);
        assert_eq!(drain(&mut window, 259), [7, 200].map(Sending::Symbol));
    }

    #[test]
    fn a_round_of_repairs_for_every_symbol_of_a_block_is_remembered() {
        let mut window = window(88);
        assert_eq!(need(&mut window, 0, 88, None, 87).symbols, 88);
        drain(&mut window, 88);
        assert_eq!(need(&mut window, 0, 88, None, 87).symbols, 0);
        assert_eq!(need(&mut window, 0, 80, None, 87 + 80).symbols, 72);
    }

    #[test]
    fn what_was_sent_unasked_is_told_from_what_was_asked_for() {
        let mut window = window(64);
        window.queue_unasked(BlockNumber(0), 2);
        need(&mut window, 0, 3, None, 63);
        let (_, sent) = window.repairing().unwrap();
        let asked = (64..67).map(|number| sent.take_queued(DatagramNumber(number)).unwrap().1);
        assert_eq!(asked.collect::<Vec<_>>(), [false, false, true]);
    }
}
