//! The share of datagrams that a path loses at any rate.

use super::Congestion;
use super::path::Interval;

/// The share of datagrams that a path loses at any rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnLoss {
    pub(super) share: f64,
    /// Datagrams from which it was learnt.
    learnt: u64,
}

impl OwnLoss {
    /// Datagrams that the mean goes back to.
    const MEMORY: u64 = 5_000;
    /// Standard deviations beyond which a loss is no chance: one interval in 30,000.
    const DEVIATIONS: f64 = 4.0;
    /// At each sign that a queue is full, this is left of it: some of it may have been lost in that queue.
    const FADES: f64 = 0.7;

    /// Whether an interval lost more than this and chance explain.
    pub(super) fn is_exceeded(&self, interval: &Interval) -> bool {
        let sent = interval.sent as f64;
        let variance = self.share.max(1.0 / sent) * (1.0 - self.share) / sent;
        interval.lost() > self.share + Self::DEVIATIONS * variance.sqrt()
    }

    /// Learns from an interval in which the rate was not at fault.
    pub(super) fn learn(&mut self, interval: &Interval) {
        let weight = interval.sent as f64 / (self.learnt.min(Self::MEMORY) + interval.sent) as f64;
        self.share =
            (self.share + (interval.lost() - self.share) * weight).clamp(0.0, 1.0 - Congestion::DEEPEST);
        self.learnt = self.learnt.saturating_add(interval.sent);
    }

    /// Takes the loss of an interval for the path's own, and forgets what was known before.
    pub(super) fn set(&mut self, interval: &Interval) {
        self.learnt = 0;
        self.learn(interval);
    }

    pub(super) fn fade(&mut self) {
        self.share *= Self::FADES;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::own_loss;
    use super::*;

    /// An interval in which `sent` datagrams were sent and `lost` of them were lost.
    fn interval(sent: u64, lost: u64) -> Interval {
        Interval { sent, arrived: sent - lost, ..super::super::tests::interval(1e6, 0.0) }
    }

    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    #[test]
    fn own_loss_is_a_mean_that_goes_back_to_so_many_datagrams() {
        let mut own = OwnLoss::default();
        own.learn(&interval(100, 10));
        assert_close(own.share, 0.1);
        own.learn(&interval(300, 15));
        assert_close(own.share, 0.0625);
        let mut own = OwnLoss::default();
        own.learn(&interval(OwnLoss::MEMORY * 100, 0));
        own.learn(&interval(OwnLoss::MEMORY, OwnLoss::MEMORY / 5));
        assert_close(own.share, 0.1);
    }

    #[test]
    fn own_loss_that_is_set_does_not_depend_on_what_was_known() {
        let mut own = own_loss(0.5);
        own.set(&interval(100, 10));
        assert_close(own.share, 0.1);
        own.learn(&interval(100, 30));
        assert_close(own.share, 0.2);
    }

    #[test]
    fn own_loss_is_a_share_that_leaves_a_tenth() {
        let mut own = OwnLoss::default();
        own.learn(&interval(100, 100));
        assert_close(own.share, 1.0 - Congestion::DEEPEST);
        let overtaken = Interval { arrived: 200, ..interval(100, 0) };
        own.learn(&overtaken);
        own.learn(&overtaken);
        assert_close(own.share, 0.0);
    }

    #[test]
    fn own_loss_is_exceeded_by_more_than_chance() {
        let own = own_loss(0.2);
        let beyond = |excess: f64| interval(100, ((0.2 + excess) * 100.0).round() as u64);
        let chance = OwnLoss::DEVIATIONS * (0.2 * 0.8 / 100.0_f64).sqrt();
        assert!(!own.is_exceeded(&beyond(chance - 0.02)));
        assert!(own.is_exceeded(&beyond(chance + 0.02)));
    }

    #[test]
    fn some_losses_do_not_exceed_an_own_loss_of_nothing() {
        let own = OwnLoss::default();
        assert!(!own.is_exceeded(&interval(32, 0)));
        assert!(!own.is_exceeded(&interval(32, 3)));
        assert!(own.is_exceeded(&interval(32, 5)));
    }

    #[test]
    fn own_loss_fades() {
        let mut own = own_loss(0.2);
        own.fade();
        assert_close(own.share, 0.2 * OwnLoss::FADES);
        own.fade();
        assert!(own.share < 0.2 * OwnLoss::FADES);
    }
}
