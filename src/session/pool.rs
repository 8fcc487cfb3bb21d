//! What the paths of a crowd that are being checked lose together.
//!
//! In a crowd it takes long until one path has lost enough to tell its own losses from the rate's. All that are checked at
//! the same time have lost enough together much sooner; and were the rate at fault, losing less would be common to them.

use super::path::{Common, Sample};

/// One check of many paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    /// Which check this is, from 1 on.
    check: u64,
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
        Self { check: 0, paths: 0, sent: 0.0, lost: 0.0, expected: 0.0, is_settled: false, common: None };
    /// With so many paths it is a crowd.
    const PATHS: usize = 8;
    /// So much of what was lost before has to be lost still: checks begin where most was lost by chance, and what is more
    /// than all lose in the mean is not explained by it.
    const STILL: f64 = 0.5;

    /// A check begins.
    pub(super) const fn begin(&mut self) {
        *self = Self { check: self.check + 1, common: self.common, ..Self::NONE };
    }

    /// A path has its limit, or the rate has become another: what was found is no longer sure.
    pub(super) const fn forget(&mut self) {
        *self = Self { check: self.check, ..Self::NONE };
    }

    /// Adds what one path says, which was `counted` last in that check; `losses` expected ones are enough not to be chance.
    /// Returns what all of them lose whatever the rate, once in a check: when that has become clear.
    pub(super) fn add(&mut self, counted: &mut u64, sample: Sample, losses: f64) -> Option<Common> {
        // One path, however often it begins anew meanwhile, is no crowd.
        self.paths += usize::from(std::mem::replace(counted, self.check) != self.check);
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

    /// Of ten datagrams each path lost two before.
    const SAMPLE: Sample = Sample { sent: 50.0, lost: 10.0, expected: 10.0 };

    /// Adds what so many paths say, each once.
    fn add(pool: &mut Pool, paths: usize, sample: Sample) -> Option<Common> {
        (0..paths).filter_map(|_| pool.add(&mut 0, sample, 60.0)).last()
    }

    /// A check of so many paths, which lose this share now.
    fn check(pool: &mut Pool, paths: usize, lost: f64) -> Option<Common> {
        pool.begin();
        add(pool, paths, Sample { lost: 50.0 * lost, ..SAMPLE })
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
        assert!(add(&mut pool, 20, Sample { sent: 5.0, lost: 1.0, expected: 1.0 }).is_none());
        assert!(pool.common().is_none());
    }

    #[test]
    fn a_path_counts_once_however_often_it_speaks_and_again_in_the_next_check() {
        let mut pool = Pool::NONE;
        let mut counted = 0;
        for check in 0..3 {
            pool.begin();
            assert!((0..50).all(|_| pool.add(&mut counted, SAMPLE, 60.0).is_none()));
            assert!(add(&mut pool, Pool::PATHS - 2, SAMPLE).is_none());
            assert!(add(&mut pool, 1, SAMPLE).is_some(), "{check}");
        }
        // What was found is forgotten, who was counted is not.
        pool.forget();
        assert!((0..50).all(|_| pool.add(&mut counted, SAMPLE, 60.0).is_none()));
        assert!(add(&mut pool, Pool::PATHS - 1, SAMPLE).is_none());
        assert!(add(&mut pool, 1, SAMPLE).is_some());
    }

    #[test]
    fn a_check_says_so_once_and_the_next_one_again() {
        let mut pool = Pool::NONE;
        let says = |pool: &mut Pool| {
            pool.begin();
            (0..20).filter(|_| pool.add(&mut 0, SAMPLE, 60.0).is_some()).count()
        };
        assert_eq!(says(&mut pool), 1);
        pool.begin();
        assert!(pool.common().is_some(), "known from before");
        assert_eq!(says(&mut pool), 1);
    }
}
