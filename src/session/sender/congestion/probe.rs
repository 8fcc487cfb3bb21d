//! The experiment that tells a path's own loss from the rate's: the rate is lowered for a moment below what came through.
//!
//! If a path goes on losing the same share, that share is its own loss. If its losses go away, the rate was too fast for it,
//! and the rate that came through before is its capacity. All paths that lose more than usual answer together. In a crowd it
//! takes long until one of them has lost enough to be sure; all together have lost enough much sooner.

use std::time::Duration;

use super::path::{Interval, Path};
use super::{Congestion, Sample, Sending};
use crate::time::Time;
use crate::wire::DatagramNumber;

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// The path whose signs have made it begin.
    pub(super) slot: usize,
    /// Bits per second that this path carries if the rate is at fault, and bits per second that are sent meanwhile.
    capacity: f64,
    pub(super) rate: f64,
    since: Time,
    /// No datagram before this one tells about it.
    from: DatagramNumber,
    /// The shortest delay of the path at `slot`.
    delay: Option<Duration>,
    /// Of all paths that show signs, the datagrams that were sent and those that were lost.
    sent: f64,
    lost: f64,
    /// The middle between the losses to expect if the rate is at fault and those to expect if it is not.
    middle: f64,
}

/// How a probe ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The rate was too fast for the path whose signs have made it begin. It carries so many bits per second.
    Full(f64),
    /// The paths lose what they lost at any rate.
    Own,
    /// Fewer datagrams than [`Path::ENOUGH`] were answered for.
    Nothing,
}

impl Probe {
    /// The share of what came through that is sent: queues drain, and a difference shows.
    const SHARE: f64 = 0.8;
    /// Least sample, datagrams. It measures a loss of 20 % with a standard deviation of 2 %.
    const FEWEST: f64 = 400.0;
    /// Late hosts and bursts have passed after this time.
    const SHORTEST: Duration = Duration::from_millis(40);
    /// A path that is slower than this gives its answer with fewer datagrams.
    const LONGEST: Duration = Duration::from_millis(500);

    /// A probe because of what a path has `seen` at this `rate`, of which `own` is the share that it loses at any rate.
    pub(super) fn new(slot: usize, seen: &Interval, own: f64, rate: f64, sending: &Sending) -> Self {
        let came = rate * (1.0 - seen.lost()).max(Congestion::DEEPEST);
        Self {
            slot,
            capacity: (came / (1.0 - own)).min(rate),
            rate: came * Self::SHARE,
            since: sending.now,
            from: sending.next,
            delay: None,
            sent: 0.0,
            lost: 0.0,
            middle: 0.0,
        }
    }

    /// Takes a report of a path into account, before which `last` was its last one. Returns how the probe has ended, if it
    /// has.
    pub(super) fn handle_sample(
        &mut self,
        slot: usize,
        path: &Path,
        last: Option<Sample>,
        sample: Sample,
        sending: &Sending,
    ) -> Option<Verdict> {
        if slot == self.slot && sample.highest >= self.from {
            let delay = path.delay(&sample);
            self.delay = Some(self.delay.map_or(delay, |least| least.min(delay)));
        }
        if let Some(last) = last.filter(|last| last.highest >= self.from)
            && let Some(seen) = path.signs.seen
        {
            self.count(&last, &sample, seen.lost(), path.own.share);
        }
        let took = sending.now.since(self.since);
        let is_over =
            took >= Self::LONGEST + sending.answer || (self.sent >= Self::FEWEST && took >= Self::SHORTEST);
        is_over.then(|| self.verdict())
    }

    /// Adds what a path has lost that lost the share `seen` before, of which `own` is lost at any rate.
    fn count(&mut self, last: &Sample, sample: &Sample, seen: f64, own: f64) {
        let sent = (sample.highest.0 - last.highest.0) as f64;
        self.sent += sent;
        // Datagrams that were overtaken make up for losses that were counted before, so this may be below zero. A path
        // cannot deliver more than twice of what was sent, whatever a receiver claims.
        self.lost += (sent - (sample.arrived - last.arrived) as f64).max(-sent);
        self.middle += sent * f64::midpoint(seen, own);
    }

    fn verdict(&self) -> Verdict {
        // A queue that stands even at this rate may be what loses. Then the path's own loss cannot be told.
        let queues = self.delay.is_some_and(|delay| delay > Path::QUEUE);
        if self.sent < Path::ENOUGH as f64 {
            Verdict::Nothing
        } else if self.lost < self.middle || queues {
            Verdict::Full(self.capacity)
        } else {
            Verdict::Own
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DATAGRAM, at, interval, own_loss, sample, sending};
    use super::*;

    const RATE: f64 = 1e9;
    const MS: Duration = Duration::from_millis(1);
    const BASE: Duration = Duration::from_millis(1);
    /// The first datagram of the probe.
    const FROM: u64 = 5_000;

    /// A probe under way, because of what the path at place 0 has lost.
    struct Trial {
        probe: Probe,
        paths: Vec<Path>,
    }

    impl Trial {
        /// Of paths which all lose the same.
        fn of(paths: usize, own: f64, seen: f64) -> Self {
            let mut path = Path::default();
            path.own = own_loss(own);
            path.note(sample(1, 1, Duration::ZERO, BASE));
            path.add_sign(&interval(RATE, seen));
            let seen = path.signs.seen.unwrap();
            let probe = Probe::new(0, &seen, own, RATE, &sending(at(Duration::ZERO), FROM, paths));
            Self { probe, paths: vec![path; paths] }
        }

        /// One whose paths have reported its beginning.
        fn begun(paths: usize, own: f64, seen: f64) -> Self {
            let mut trial = Self::of(paths, own, seen);
            for slot in 0..paths {
                assert_eq!(trial.report(slot, MS, 0, 0.0, Duration::ZERO), None);
            }
            trial
        }

        /// A report after so much time, and so many datagrams of which some were lost.
        fn report(
            &mut self,
            slot: usize,
            time: Duration,
            sent: u64,
            lost: f64,
            delay: Duration,
        ) -> Option<Verdict> {
            let arrived = (FROM + sent).saturating_add_signed(-(sent as f64 * lost).round() as i64);
            let report = sample(FROM + sent, arrived, time, BASE + delay);
            let now = sending(at(time), FROM + sent + 1, self.paths.len());
            let path = &mut self.paths[slot];
            let last = path.last;
            path.note(report);
            self.probe.handle_sample(slot, path, last, report, &now)
        }

        /// How it ends if path 0 reports every 5 ms, and when.
        fn run(&mut self, lost: f64, delay: Duration) -> (Verdict, Duration) {
            let mut time = Duration::ZERO;
            loop {
                let sent = self.probe.rate * time.as_secs_f64() / DATAGRAM;
                if let Some(verdict) = self.report(0, time, sent as u64, lost, delay) {
                    return (verdict, time);
                }
                time += MS * 5;
            }
        }
    }

    fn assert_full(verdict: Verdict, expected: f64) {
        let Verdict::Full(capacity) = verdict else { panic!("{verdict:?}") };
        assert!((capacity / RATE / expected - 1.0).abs() < 0.01, "{} of the rate", capacity / RATE);
    }

    #[test]
    fn probe_sends_less_than_what_came_through() {
        let rate = Trial::of(1, 0.0, 0.25).probe.rate / RATE;
        assert!((rate / (0.75 * Probe::SHARE) - 1.0).abs() < 0.01, "{rate}");
        let rate = Trial::of(1, 0.0, 1.0).probe.rate / RATE;
        assert!((rate / (Congestion::DEEPEST * Probe::SHARE) - 1.0).abs() < 0.01, "{rate}");
    }

    #[test]
    fn losses_that_have_gone_were_the_fault_of_the_rate() {
        assert_full(Trial::of(1, 0.0, 0.2).run(0.0, Duration::ZERO).0, 0.8);
        assert_full(Trial::of(1, 0.0, 0.5).run(0.1, Duration::ZERO).0, 0.5);
    }

    #[test]
    fn losses_that_are_as_many_are_the_paths_own() {
        for share in [0.05, 0.2, 0.5] {
            assert_eq!(Trial::of(1, 0.0, share).run(share, Duration::ZERO).0, Verdict::Own);
        }
        assert_eq!(Trial::of(1, 0.1, 0.3).run(0.3, Duration::ZERO).0, Verdict::Own);
    }

    #[test]
    fn losses_beyond_an_own_loss_that_have_gone_were_the_fault_of_the_rate() {
        // A path that loses a tenth at any rate carries more than what comes through.
        assert_full(Trial::of(1, 0.1, 0.15).run(0.1, Duration::ZERO).0, 0.85 / 0.9);
        assert_full(Trial::of(1, 0.1, 0.28).run(0.1, Duration::ZERO).0, 0.8);
    }

    #[test]
    fn probe_finds_no_more_than_what_was_sent() {
        // The own loss is said to be larger than the loss that was seen.
        assert_full(Trial::of(1, 0.3, 0.2).run(-0.1, Duration::ZERO).0, 1.0);
    }

    #[test]
    fn queue_that_stands_during_a_probe_is_the_fault_of_the_rate() {
        assert_full(Trial::of(1, 0.0, 0.2).run(0.2, Path::QUEUE * 2).0, 0.8);
        let mut once_empty = Trial::of(1, 0.0, 0.2);
        once_empty.report(0, Duration::ZERO, 0, 0.2, Path::QUEUE / 2);
        once_empty.paths[0].last = None;
        assert_eq!(once_empty.run(0.2, Path::QUEUE * 2).0, Verdict::Own);
    }

    #[test]
    fn probe_without_answers_ends_without_a_verdict() {
        let answer = sending(Time::ZERO, 0, 1).answer;
        let end = Probe::LONGEST + answer;
        let mut trial = Trial::begun(1, 0.0, 0.2);
        assert_eq!(trial.report(0, end - MS, Path::ENOUGH - 2, 1.0, Duration::ZERO), None);
        assert_eq!(trial.report(0, end, Path::ENOUGH - 1, 1.0, Duration::ZERO), Some(Verdict::Nothing));
    }

    #[test]
    fn slow_path_answers_with_few_datagrams_once_the_probe_has_lasted() {
        let end = Probe::LONGEST + sending(Time::ZERO, 0, 1).answer;
        let after = |lost| {
            let mut trial = Trial::begun(1, 0.0, 0.2);
            let few = Probe::FEWEST as u64 / 2;
            assert_eq!(trial.report(0, end - MS, few, lost, Duration::ZERO), None);
            trial.report(0, end, few + 1, lost, Duration::ZERO).unwrap()
        };
        assert_full(after(0.0), 0.8);
        assert_eq!(after(0.2), Verdict::Own);
    }

    #[test]
    fn fast_path_is_not_judged_before_bursts_have_passed() {
        for lost in [0.0, 0.2] {
            let (_, time) = Trial::of(1, 0.0, 0.2).run(lost, Duration::ZERO);
            assert_eq!(time, Probe::SHORTEST);
        }
    }

    #[test]
    fn datagrams_from_before_the_probe_do_not_count() {
        let mut trial = Trial::of(1, 0.0, 0.2);
        trial.probe.from = DatagramNumber(FROM + 1_000);
        assert_eq!(trial.report(0, MS * 30, 900, 0.2, Duration::ZERO), None);
        // It has begun before.
        assert_eq!(trial.report(0, MS * 31, 1_100, 0.2, Duration::ZERO), None);
        assert_eq!((trial.probe.sent, trial.probe.lost), (0.0, 0.0));
        assert_eq!(trial.report(0, MS * 32, 1_200, 0.2, Duration::ZERO), None);
        assert_eq!((trial.probe.sent, trial.probe.lost), (100.0, 20.0));
    }

    #[test]
    fn paths_answer_together() {
        let (paths, each) = (16, Probe::FEWEST as u64 / 8);
        let after = |lost: f64| {
            let mut trial = Trial::begun(paths, 0.0, 0.2);
            (0..paths).find_map(|slot| {
                let verdict = trial.report(slot, Probe::SHORTEST, each, lost, Duration::ZERO);
                verdict.map(|verdict| (slot + 1, verdict))
            })
        };
        assert_eq!(after(0.2), Some((8, Verdict::Own)));
        assert_full(after(0.0).unwrap().1, 0.8);
    }

    #[test]
    fn path_without_signs_is_not_asked() {
        let mut trial = Trial::of(2, 0.0, 0.2);
        trial.paths[1].clear_signs();
        trial.report(1, MS, 0, 0.0, Duration::ZERO);
        trial.report(1, MS * 2, 1_000, 0.5, Duration::ZERO);
        assert_eq!(trial.probe.sent, 0.0);
    }

    #[test]
    fn receiver_that_claims_more_than_was_sent_makes_up_for_as_much_at_most() {
        let mut trial = Trial::begun(1, 0.0, 0.3);
        trial.report(0, MS * 2, 100, -50.0, Duration::ZERO);
        assert_eq!((trial.probe.sent, trial.probe.lost), (100.0, -100.0));
    }
}
