//! How far the sender is, and up to where what has not come will not come any more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;
use crate::wire::{BlockNumber, DatagramNumber};

/// With the datagram of this number, everything before this block had been sent once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) number: DatagramNumber,
    pub(super) block: BlockNumber,
}

/// Follows the sender's edge, and behind it the settled edge, by as much time as the network reorders.
///
/// On most LANs nothing is reordered, and a gap is a loss at once. When a datagram comes after it has been given up, the
/// delay grows to a little more than it was late by, and shrinks while none does.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    current: Edge,
    settled: Edge,
    /// Edges on their way to being settled: the time from which the newest of them counts.
    maturing: VecDeque<(Time, Time, Edge)>,
    delay: Duration,
    adapted: Time,
    /// When a number was the highest, for telling how late others are; bounded by [`Horizon::MARKS`].
    passed: VecDeque<(Time, DatagramNumber)>,
}

impl Horizon {
    const FIRST_DELAY: Duration = Duration::from_millis(1);
    const MAX_DELAY: Duration = Duration::from_millis(250);
    /// Below this, the delay is dropped altogether.
    const MIN_DELAY: Duration = Duration::from_micros(200);
    /// How finely edges are followed while they mature.
    const STEPS: u32 = 8;
    /// Moments of which the highest number is remembered, and the time between them: [`Horizon::MAX_DELAY`] back.
    const MARKS: usize = 500;
    const MARK_EVERY: Duration = Duration::from_micros(500);
    /// One datagram alone makes the delay this much longer at most: it may be an odd one.
    const MOST_GROWTH: u32 = 4;

    pub(super) const fn highest(&self) -> DatagramNumber {
        self.current.number
    }

    pub(super) const fn settled(&self) -> Edge {
        self.settled
    }

    /// The datagram `number` shows that everything before `block` had been sent once.
    pub(super) fn handle_proof(&mut self, now: Time, number: DatagramNumber, block: BlockNumber) {
        if number > self.current.number
            && self.passed.back().is_none_or(|(last, _)| now.since(*last) >= Self::MARK_EVERY)
        {
            if self.passed.len() == Self::MARKS {
                self.passed.pop_front();
            }
            self.passed.push_back((now, number));
        }
        self.current.number = self.current.number.max(number);
        self.current.block = self.current.block.max(block);
        if self.delay.is_zero() {
            self.settled = self.current;
            return;
        }
        let step = self.delay / Self::STEPS;
        match self.maturing.back_mut() {
            Some((begun, latest, edge)) if now.since(*begun) < step => (*latest, *edge) = (now, self.current),
            _ => self.maturing.push_back((now, now, self.current)),
        }
    }

    /// A datagram came after one with a higher number.
    pub(super) fn handle_late(&mut self, now: Time, number: DatagramNumber) {
        let after = self.passed.partition_point(|(_, passed)| *passed <= number);
        let passed = self.passed.get(after).or(self.passed.back()).map_or(now, |(at, _)| *at);
        let wanted = now.since(passed) * 5 / 4;
        // One that was not settled as lost did no harm.
        if number > self.settled.number || wanted < self.delay {
            return;
        }
        let most = (self.delay * Self::MOST_GROWTH).clamp(Self::FIRST_DELAY, Self::MAX_DELAY);
        self.delay = wanted.clamp(Self::FIRST_DELAY, most);
        self.adapted = now;
    }

    /// Settles what has matured.
    pub(super) fn settle(&mut self, now: Time) {
        while let Some((_, latest, edge)) = self.maturing.front()
            && now >= *latest + self.delay
        {
            self.settled = *edge;
            self.maturing.pop_front();
        }
        if !self.delay.is_zero() && now.since(self.adapted) > Duration::from_secs(2) {
            self.adapted = now;
            self.delay = self.delay * 3 / 4;
            if self.delay < Self::MIN_DELAY {
                self.delay = Duration::ZERO;
                self.maturing.clear();
                self.settled = self.current;
            }
        }
    }

    /// When something matures.
    pub(super) fn next(&self) -> Option<Time> {
        self.maturing.front().map(|(_, latest, _)| *latest + self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Time {
        Time::from_nanos(n * 1_000_000)
    }

    #[test]
    fn without_reordering_a_gap_is_a_loss_at_once() {
        let mut horizon = Horizon::default();
        horizon.handle_proof(ms(1), DatagramNumber(7), BlockNumber(2));
        horizon.settle(ms(1));
        assert_eq!(horizon.settled(), Edge { number: DatagramNumber(7), block: BlockNumber(2) });
        assert_eq!(horizon.next(), None);
    }

    #[test]
    fn after_reordering_losses_are_believed_later_and_nothing_is_forgotten() {
        let mut horizon = Horizon::default();
        horizon.handle_proof(ms(1), DatagramNumber(7), BlockNumber(2));
        horizon.handle_late(ms(1), DatagramNumber(5));
        horizon.handle_proof(ms(2), DatagramNumber(9), BlockNumber(3));
        horizon.settle(ms(2));
        assert_eq!(horizon.settled().number, DatagramNumber(7));
        let due = horizon.next().expect("something matures");
        horizon.settle(due);
        assert_eq!(horizon.settled(), Edge { number: DatagramNumber(9), block: BlockNumber(3) });
    }

    /// A horizon that has seen every number up to `last`, one a millisecond.
    fn seen(last: u64) -> Horizon {
        let mut horizon = Horizon::default();
        for number in 1..=last {
            horizon.handle_proof(ms(number), DatagramNumber(number), BlockNumber(0));
            horizon.settle(ms(number));
        }
        horizon
    }

    #[test]
    fn the_delay_follows_what_comes_late_step_by_step_and_not_without_bound() {
        let mut horizon = seen(1_000);
        let mut delays = Vec::new();
        for _ in 0..6 {
            horizon.handle_late(ms(1_000), DatagramNumber(880));
            delays.push(horizon.delay.as_millis());
        }
        // Late by 119 ms, and a quarter of that.
        assert_eq!(delays, [1, 4, 16, 64, 148, 148]);
        // What is late by less changes nothing.
        horizon.handle_late(ms(1_000), DatagramNumber(990));
        assert_eq!(horizon.delay.as_millis(), 148);
        for _ in 0..6 {
            horizon.handle_late(ms(1_000), DatagramNumber(1));
        }
        assert_eq!(horizon.delay, Horizon::MAX_DELAY);
    }

    #[test]
    fn what_comes_late_and_was_not_yet_taken_for_lost_does_no_harm() {
        let mut horizon = seen(100);
        for _ in 0..3 {
            horizon.handle_late(ms(100), DatagramNumber(90));
        }
        let delay = horizon.delay;
        horizon.handle_proof(ms(101), DatagramNumber(110), BlockNumber(0));
        horizon.handle_late(ms(150), DatagramNumber(105));
        assert_eq!(horizon.delay, delay);
    }

    #[test]
    fn where_nothing_comes_late_any_more_a_gap_is_a_loss_at_once_again() {
        let mut horizon = seen(100);
        horizon.handle_late(ms(100), DatagramNumber(50));
        horizon.handle_late(ms(100), DatagramNumber(50));
        assert!(!horizon.delay.is_zero());
        for number in 101..40_000 {
            let waits = !horizon.delay.is_zero();
            horizon.handle_proof(ms(number), DatagramNumber(number), BlockNumber(number));
            horizon.settle(ms(number));
            if horizon.delay.is_zero() {
                let edge = Edge { number: DatagramNumber(number), block: BlockNumber(number) };
                assert_eq!((horizon.settled(), horizon.next()), (edge, None), "{waits}");
            }
        }
        assert!(horizon.delay.is_zero());
    }

    #[test]
    fn what_is_sent_is_settled_after_the_delay_and_not_much_later() {
        let mut horizon = seen(100);
        for _ in 0..3 {
            horizon.handle_late(ms(100), DatagramNumber(50));
        }
        let delay = horizon.delay;
        assert_eq!(delay, Duration::from_millis(16));
        for at in 101..1_000 {
            horizon.handle_proof(ms(at), DatagramNumber(at), BlockNumber(0));
            horizon.settle(ms(at));
            // One a millisecond, and a step is two.
            let settled = horizon.settled().number.0;
            assert!(settled <= 100 || settled + 16 <= at, "{settled} at {at}");
            assert!(settled + 16 + 3 >= at || at < 120, "{settled} at {at}");
        }
        // However fast they come, no more moments are remembered.
        for at in 0..600_000 {
            let at = 1_000_000 + at * 2;
            horizon.handle_proof(Time::from_nanos(at * 1_000), DatagramNumber(at), BlockNumber(0));
            assert!(horizon.passed.len() <= Horizon::MARKS && horizon.maturing.len() <= 1_000);
        }
    }
}
