//! What one receiver's needs may cost the others.

/// Repair symbols that are sent for one receiver before the first pass goes on.
///
/// A receiver that loses a lot, or says so, gets one in [`RepairBudget::SHARE`] of what the others get, and what it has
/// not used so far of that. What it needs beyond waits until the first pass has nothing to send or must not go on: then
/// the line is its own. So an honest receiver is served as fast as the session could serve it, and a liar costs the others
/// a tenth.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepairBudget {
    /// In symbols times `SHARE`; below 0 where something was sent on its behalf that it did not ask for.
    saved: i64,
    /// Symbols of the first pass that were counted in.
    counted: u64,
}

impl RepairBudget {
    /// Symbols of the first pass for one of repair.
    const SHARE: u64 = 10;

    /// A budget that begins with `symbols`.
    pub(super) fn new(symbols: u64) -> Self {
        Self { saved: to_signed(symbols.saturating_mul(Self::SHARE)), counted: 0 }
    }

    /// Symbols that may go, when the first pass has sent `first_pass`; no more than `most` are ever saved.
    pub(super) fn available(&mut self, first_pass: u64, most: u64) -> usize {
        let earned = first_pass.saturating_sub(self.counted);
        self.counted = first_pass;
        let most = to_signed(most.saturating_mul(Self::SHARE));
        self.saved = self.saved.saturating_add(to_signed(earned)).min(most);
        usize::try_from(self.saved / to_signed(Self::SHARE)).unwrap_or(0)
    }

    /// So many were sent, or are about to be.
    pub(super) fn take(&mut self, symbols: usize) {
        self.saved = self.saved.saturating_sub(to_signed((symbols as u64).saturating_mul(Self::SHARE)));
    }
}

fn to_signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_first_pass_is_for_one_receiver() {
        let mut budget = RepairBudget::new(8);
        assert_eq!(budget.available(0, 100), 8);
        budget.take(8);
        assert_eq!(budget.available(9, 100), 0);
        assert_eq!(budget.available(25, 100), 2);
        assert_eq!(budget.available(25, 100), 2);
        assert_eq!(budget.available(1_000_000, 100), 100);
        budget.take(150);
        assert_eq!(budget.available(1_000_400, 100), 0);
        assert_eq!(budget.available(1_000_600, 100), 10);
        budget.take(usize::MAX);
        assert_eq!(budget.available(u64::MAX / 4, 100), 0);
    }
}
