//! Which of a peer's recent datagram numbers have been seen.

use crate::wire::DatagramNumber;

/// A sliding window over the last [`NumberWindow::SPAN`] numbers.
#[derive(Clone, Debug)]
pub(super) struct NumberWindow {
    seen: Box<[u64; Self::SPAN / 64]>,
    highest: Option<u64>,
}

/// What a number was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Higher than all before.
    Newest,
    /// Lower than the highest, and seen for the first time.
    Late,
    /// Seen before.
    Duplicate,
    /// Too far behind to tell.
    Ancient,
}

impl NumberWindow {
    /// Numbers remembered. Reordering over more than this is taken for duplication when datagrams are counted.
    pub(super) const SPAN: usize = 16_384;

    pub(super) fn new() -> Self {
        Self { seen: Box::new([0; Self::SPAN / 64]), highest: None }
    }

    /// The highest number seen.
    pub(super) fn highest(&self) -> Option<DatagramNumber> {
        self.highest.map(DatagramNumber)
    }

    pub(super) fn insert(&mut self, number: DatagramNumber) -> Arrival {
        let number = number.0;
        match self.highest {
            Some(highest) if number <= highest => match highest - number < Self::SPAN as u64 {
                true if self.mark(number) => Arrival::Late,
                true => Arrival::Duplicate,
                false => Arrival::Ancient,
            },
            before => {
                self.forget(before.map_or(0, |highest| highest + 1), number);
                self.highest = Some(number);
                self.mark(number);
                Arrival::Newest
            }
        }
    }

    /// Marks `count` numbers from `first` on, if all of them are higher than all before.
    pub(super) fn insert_newest(&mut self, first: DatagramNumber, count: u64) -> bool {
        let Some(last) = count.checked_sub(1).and_then(|more| first.0.checked_add(more)) else {
            return false;
        };
        if self.highest.is_some_and(|highest| first.0 <= highest) {
            return false;
        }
        self.forget(self.highest.map_or(0, |highest| highest + 1), last);
        self.highest = Some(last);
        for number in last.saturating_sub(count.min(Self::SPAN as u64) - 1)..=last {
            self.mark(number);
        }
        true
    }

    /// Clears what the numbers from `from` up to `to` leave behind of those a span ago.
    fn forget(&mut self, from: u64, to: u64) {
        if to - from >= Self::SPAN as u64 {
            self.seen.fill(0);
            return;
        }
        // Bit by bit: gaps are short.
        for number in from..=to {
            let (word, bit) = Self::place(number);
            self.seen[word] &= !(1 << bit);
        }
    }

    /// True if the number was not marked yet.
    fn mark(&mut self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        let fresh = self.seen[word] & (1 << bit) == 0;
        self.seen[word] |= 1 << bit;
        fresh
    }

    const fn place(number: u64) -> (usize, u32) {
        let slot = (number % Self::SPAN as u64) as usize;
        (slot / 64, (slot % 64) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(window: &mut NumberWindow, number: u64) -> Arrival {
        window.insert(DatagramNumber(number))
    }

    #[test]
    fn each_number_is_new_once_in_whatever_order() {
        let mut window = NumberWindow::new();
        assert_eq!(insert(&mut window, 0), Arrival::Newest);
        assert_eq!(insert(&mut window, 0), Arrival::Duplicate);
        assert_eq!(insert(&mut window, 70), Arrival::Newest);
        assert_eq!(insert(&mut window, 69), Arrival::Late);
        assert_eq!(insert(&mut window, 69), Arrival::Duplicate);
        assert_eq!(insert(&mut window, 70), Arrival::Duplicate);
        let far = 70 + NumberWindow::SPAN as u64;
        assert_eq!(insert(&mut window, far), Arrival::Newest);
        assert_eq!(insert(&mut window, 70), Arrival::Ancient);
        assert_eq!(insert(&mut window, 71), Arrival::Late);
        assert_eq!(insert(&mut window, u64::MAX), Arrival::Newest);
        assert_eq!(insert(&mut window, u64::MAX), Arrival::Duplicate);
    }

    #[test]
    fn a_slot_is_clean_when_the_window_comes_round_again() {
        let mut window = NumberWindow::new();
        for number in 0..NumberWindow::SPAN as u64 * 3 {
            assert_eq!(insert(&mut window, number * 2), Arrival::Newest);
        }
        let last = NumberWindow::SPAN as u64 * 6 - 2;
        assert_eq!(insert(&mut window, last - 1), Arrival::Late);
        assert_eq!(insert(&mut window, last - 2), Arrival::Duplicate);
    }
}
