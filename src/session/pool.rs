//! What the paths of a crowd that are being checked lose together.
//!
//! In a crowd it takes long until one path has lost enough to tell its own losses from the rate's. All that are checked at
//! the same time have lost enough together much sooner; and were the rate at fault, losing less would be common to them.

use super::path::{Common, Sample};

/// One check of many paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    paths: usize,
    sent: f64,
    lost: f64,
    expected: f64,
    is_settled: bool,
    /// What the last check has found.
    common: Option<Common>,
}

impl Pool {
    /// Nothing is known.
    pub(super) const NONE: Self =
        Self { paths: 0, sent: 0.0, lost: 0.0, expected: 0.0, is_settled: false, common: None };
    /// With so many paths it is a crowd.
    const PATHS: usize = 8;
    /// So much of what was lost before has to be lost still: checks begin where most was lost by chance, and what is more
    /// than all lose in the mean is not explained by it.
    const STILL: f64 = 0.5;

    /// A check begins.
    pub(super) const fn begin(&mut self) {
        *self = Self { common: self.common, ..Self::NONE };
    }

    /// A path has its limit, or the rate has become another: what was found is no longer sure.
    pub(super) const fn forget(&mut self) {
        *self = Self::NONE;
    }

    /// Adds what one path says, if `losses` expected ones are enough not to be chance. Returns what all of them lose
    /// whatever the rate, once in a check: when that has become clear.
    pub(super) fn add(&mut self, sample: Sample, losses: f64) -> Option<Common> {
        self.paths += usize::from(sample.is_first);
        self.sent += sample.sent;
        self.lost += sample.lost;
        self.expected += sample.expected;
        let is_clear = self.paths >= Self::PATHS && self.expected >= losses;
        if self.is_settled || !is_clear || self.lost < self.expected * Self::STILL {
            return None;
        }
        self.is_settled = true;
        self.common = Some(Common { share: self.lost / self.sent });
        self.common
    }

    /// What all paths lose whatever the rate, as far as that is known.
    pub(super) const fn common(&self) -> Option<Common> {
        self.common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds what `paths` paths say that lost a fifth before and lose this share now, 50 datagrams each.
    fn check(pool: &mut Pool, paths: usize, lost: f64) -> Option<Common> {
        pool.begin();
        let sample = Sample { is_first: true, sent: 50.0, lost: 50.0 * lost, expected: 10.0 };
        (0..paths).filter_map(|_| pool.add(sample, 60.0)).last()
    }

    #[test]
    fn what_many_paths_lose_still_is_their_own() {
        let mut pool = Pool::NONE;
        assert_eq!(check(&mut pool, 20, 0.2).map(|common| common.share), Some(0.2));
        assert!(pool.common().is_some());
        pool.forget();
        assert!(pool.common().is_none());
    }

    #[test]
    fn few_paths_few_losses_or_much_less_than_before_say_nothing() {
        let mut pool = Pool::NONE;
        assert!(check(&mut pool, Pool::PATHS - 1, 0.2).is_none());
        assert!(check(&mut pool, 20, 0.09).is_none());
        pool.begin();
        let sample = Sample { is_first: true, sent: 5.0, lost: 1.0, expected: 1.0 };
        assert!((0..20).all(|_| pool.add(sample, 60.0).is_none()));
        assert!(pool.common().is_none());
    }

    #[test]
    fn a_check_says_so_once_and_the_next_one_again() {
        let mut pool = Pool::NONE;
        let sample = Sample { is_first: true, sent: 50.0, lost: 10.0, expected: 10.0 };
        let says = |pool: &mut Pool| (0..20).filter(|_| pool.add(sample, 60.0).is_some()).count();
        assert_eq!(says(&mut pool), 1);
        pool.begin();
        assert!(pool.common().is_some(), "known from before");
        assert_eq!(says(&mut pool), 1);
    }
}
