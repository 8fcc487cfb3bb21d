//! How much parity follows a block that nobody has asked for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;
use crate::wire::{BlockNumber, ReceiverId};

/// Follows what blocks have needed of late, so that the next one has most of it before anyone has to ask.
///
/// Of each block that was sent with so many unasked repair symbols, one thing shows: whether somebody needed more, and how
/// many. From this alone, steps up and down find the number at which what is sent in vain is worth what it saves, whatever
/// the losses are like (H. Robbins and S. Monro, "A stochastic approximation method", 1951). A path without loss needs
/// none, and gets none; a crowd, of whom somebody always loses something, gets nearly all that its worst-off member needs.
#[derive(Debug)]
pub(super) struct Parity {
    level: f64,
    /// Symbols that a block may get in vain, in the mean: this many, and [`Parity::VAIN_SHARE`] of the level.
    vain: f64,
    /// By how many symbols blocks fell short, when they did. Where needs differ by so much from block to block, those that
    /// have enough will have as many too many.
    shortfall: f64,
    /// Blocks in a row that needed more.
    short: u32,
    /// Whose need raised the level last.
    raised_by: Option<ReceiverId>,
    /// Blocks of which somebody may still need more, in order; those that the sender holds, at most.
    open: VecDeque<Open>,
    /// The number of blocks at the front that have all shown something.
    judged: usize,
}

#[derive(Debug)]
struct Open {
    block: BlockNumber,
    sent: Time,
    unasked: usize,
    shown: Shown,
}

/// What has shown of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Nothing,
    /// Somebody needed more.
    Short,
    /// A later block was short and this one, as far as anybody has said, was not; by so much that took the level down.
    Enough(f64),
}

impl Parity {
    /// What may be sent in vain while little is lost: less than half a percent of the traffic.
    const VAIN: f64 = 0.0045;
    /// Where much is lost, a little more of what is sent for it.
    const VAIN_SHARE: f64 = 1.0 / 16.0;
    /// Symbols by which a short block raises the level: it follows within a dozen blocks, and does not jump at one burst.
    const STEP: f64 = 0.2;
    /// After this many short blocks in a row, chance is not the reason: the level rises by an eighth at a time.
    const IN_A_ROW: u32 = 4;
    /// Round trips after which nobody will need more of a block: one, and the longest backoff, and as much again.
    const ROUNDS: u32 = 10;

    /// For blocks of `full` symbols.
    pub(super) fn new(full: usize) -> Self {
        Self {
            level: 0.0,
            vain: full as f64 * Self::VAIN,
            shortfall: 0.0,
            short: 0,
            raised_by: None,
            open: VecDeque::new(),
            judged: 0,
        }
    }

    /// Repair symbols for a block of `symbols` out of `full`, `most` of them there are.
    pub(super) fn symbols(&self, symbols: usize, full: usize, most: usize) -> usize {
        (self.level as usize * symbols / full.max(1)).min(most)
    }

    /// A full block has been sent.
    pub(super) fn handle_sent(&mut self, now: Time, block: BlockNumber, unasked: usize) {
        self.open.push_back(Open { block, sent: now, unasked, shown: Shown::Nothing });
    }

    /// Somebody needed so many more of a block than it had got unasked.
    pub(super) fn handle_short(&mut self, block: BlockNumber, by: usize, receiver: ReceiverId) {
        let at = self.open.partition_point(|open| open.block < block);
        let Some(open) = self.open.get_mut(at).filter(|open| open.block == block) else { return };
        match std::mem::replace(&mut open.shown, Shown::Short) {
            Shown::Short => return,
            Shown::Enough(step) => self.level += step,
            Shown::Nothing => {}
        }
        let unasked = open.unasked;
        // Needs are told in order, so what came before had enough. To wait until that is certain would, until then, let
        // the few that fall short speak for all.
        for before in self.judged..at {
            self.handle_enough(before);
        }
        let is_judged = |open: &Open| open.shown != Shown::Nothing;
        self.judged += self.open.iter().skip(self.judged).take_while(|open| is_judged(open)).count();
        // What was sent at a lower level has nothing to say about this one.
        if unasked < self.level as usize {
            return;
        }
        self.shortfall += (by as f64 - self.shortfall) / 16.0;
        self.short = self.short.saturating_add(1);
        self.level += if self.short > Self::IN_A_ROW { Self::STEP.max(self.level / 8.0) } else { Self::STEP };
        self.raised_by = Some(receiver);
    }

    /// Of blocks that were sent long ago or that everybody has, nobody will need more.
    pub(super) fn settle(&mut self, now: Time, grtt: Duration, released: BlockNumber) {
        while let Some(open) = self.open.front()
            && (open.block < released || now.since(open.sent) > grtt * Self::ROUNDS)
        {
            self.handle_enough(0);
            self.open.pop_front();
            self.judged = self.judged.saturating_sub(1);
        }
    }

    fn handle_enough(&mut self, at: usize) {
        let Some(open) = self.open.get_mut(at) else { return };
        if open.shown != Shown::Nothing || open.unasked > self.level as usize {
            return;
        }
        self.short = 0;
        // Where steps up and down balance, short × STEP = enough × step: so enough × in vain = short × vain.
        let in_vain = self.shortfall.min(self.level).max(1.0);
        let step = Self::STEP * in_vain / (self.vain + self.level * Self::VAIN_SHARE);
        let step = step.min(1.0 + self.level / 4.0).min(self.level);
        self.level -= step;
        open.shown = Shown::Enough(step);
    }

    /// For whom unasked symbols are sent, more than for others.
    pub(super) const fn raised_by(&self) -> Option<ReceiverId> {
        self.raised_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of what is sent unasked, and of what of it was in vain, when what blocks need is `draw`n and shows ten
    /// blocks later. And how many blocks it took to send half of that mean for the first time.
    fn play(mut draw: impl FnMut(&mut fastrand::Rng) -> usize) -> (f64, f64, usize) {
        let (mut parity, mut rng) = (Parity::new(88), fastrand::Rng::with_seed(1));
        let mut history = Vec::new();
        for block in 0..5_000_u64 {
            let now = Time::from_nanos(block * 1_000_000);
            let unasked = parity.symbols(88, 88, 168);
            parity.handle_sent(now, BlockNumber(block), unasked);
            history.push((unasked, draw(&mut rng)));
            if let Some(old) = block.checked_sub(5)
                && history[old as usize].1 > history[old as usize].0
            {
                let (unasked, needed) = history[old as usize];
                parity.handle_short(BlockNumber(old), needed - unasked, ReceiverId(0));
            }
            parity.settle(now, Duration::from_millis(1), BlockNumber(0));
            assert!(parity.open.len() < 20);
        }
        let later = &history[1_000..];
        let sent: usize = later.iter().map(|(unasked, _)| unasked).sum();
        let vain: usize = later.iter().map(|(unasked, needed)| unasked.saturating_sub(*needed)).sum();
        let mean = sent as f64 / later.len() as f64;
        let half = history.iter().position(|(unasked, _)| *unasked as f64 >= mean / 2.0);
        (mean, vain as f64 / later.len() as f64, half.unwrap_or(0))
    }

    #[test]
    fn the_level_follows_what_blocks_need_and_little_is_sent_in_vain() {
        // Lost by one receiver of 88 symbols.
        let lost = |rng: &mut fastrand::Rng, share: f64| (0..88).filter(|_| rng.f64() < share).count();
        assert_eq!(play(|_| 0), (0.0, 0.0, 0));
        let (sent, vain, _) = play(|rng| lost(rng, 0.001));
        assert!(sent < 0.1 && vain < 0.1, "{sent} {vain}");
        let (sent, vain, _) = play(|rng| lost(rng, 0.01));
        assert!(sent < 0.8 && vain < 0.4, "{sent} {vain}");
        let (sent, vain, half) = play(|rng| lost(rng, 0.2));
        assert!((12.0..18.0).contains(&sent) && vain < 2.0 && half < 100, "{sent} {vain} {half}");
        let (sent, vain, half) = play(|rng| 5 + rng.usize(0..3));
        assert!((5.0..6.6).contains(&sent) && vain < 0.6 && half < 50, "{sent} {vain} {half}");
        // Bursts are not worth what would be in vain without them, unless they are the rule.
        let (sent, _, _) = play(|rng| if rng.u8(0..20) == 0 { 60 } else { 0 });
        assert!(sent < 0.1, "{sent}");
        let (sent, vain, _) = play(|rng| if rng.u8(0..5) == 0 { 0 } else { 17 });
        assert!(sent > 1.0 && vain < 0.9, "{sent} {vain}");
        let (sent, vain, _) = play(|rng| if rng.u8(0..50) == 0 { 0 } else { 17 + rng.usize(0..5) });
        assert!(sent > 10.0 && vain < 1.5, "{sent} {vain}");
    }

    #[test]
    fn a_need_that_shows_too_late_or_twice_changes_nothing() {
        let mut parity = Parity::new(88);
        parity.handle_sent(Time::ZERO, BlockNumber(3), 0);
        parity.handle_short(BlockNumber(2), 1, ReceiverId(0));
        assert_eq!(parity.raised_by(), None);
        parity.handle_short(BlockNumber(3), 1, ReceiverId(1));
        parity.handle_short(BlockNumber(3), 1, ReceiverId(2));
        assert_eq!(parity.raised_by(), Some(ReceiverId(1)));
        parity.settle(Time::ZERO, Duration::ZERO, BlockNumber(4));
        parity.handle_short(BlockNumber(3), 1, ReceiverId(2));
        assert_eq!(parity.raised_by(), Some(ReceiverId(1)));
    }
}
