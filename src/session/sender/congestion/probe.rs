//! The experiment that tells a path's own loss from the rate's: the rate is lowered for a moment below what came through.
//!
//! If a path goes on losing the same share, that share is its own loss. If its losses go away, the rate was too fast for it,
//! and the rate that came through before is its capacity. All paths that lose more than usual answer together. In a crowd it
//! takes long until one of them has lost enough to be sure; all together have lost enough much sooner.

use std::time::Duration;

use super::path::{Interval, OwnLoss, Path};
use super::{Sample, Sending};
use crate::time::Time;
use crate::wire::DatagramNumber;

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// The path whose signs have made it begin, and what they are.
    pub(super) slot: usize,
    seen: Interval,
    /// The share of datagrams that this path was known to lose at any rate.
    own: f64,
    /// Bits per second that are sent, and those that came through before.
    pub(super) rate: f64,
    came: f64,
    since: Time,
    /// No datagram before this one tells about it.
    from: DatagramNumber,
    /// By how much the variance of losses exceeds that of losses which come one by one.
    dispersion: f64,
    total: Tally,
    /// Paths that have answered.
    paths: usize,
    /// The shortest delay of the path at `slot`, and the number of its reports.
    delay: Duration,
    reports: u32,
}

/// The losses of one path before a probe and in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// The share of datagrams that it lost before, and the share that it was known to lose at any rate.
    seen: f64,
    own: f64,
    start: Option<Sample>,
    tally: Tally,
}

/// Sums over the datagrams of a probe.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    sent: f64,
    lost: f64,
    /// The middle between the losses to expect if the rate is at fault and those to expect if it is not.
    middle: f64,
    /// Losses that tell one from the other: those beyond the path's own, less the more of its own there are.
    telling: f64,
}

/// How a probe ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The rate was too fast for this path, which carries so many bits per second.
    Full { slot: usize, capacity: f64 },
    /// The paths lose what they lost at any rate: this share of all that was sent to so many paths.
    Own { share: f64, paths: usize },
    /// Fewer datagrams than [`Path::ENOUGH`] were answered for.
    Nothing,
}

impl Probe {
    /// The share of what came through that is sent: queues drain, and a difference shows.
    const SHARE: f64 = 0.8;
    /// At least this share of what was sent counts as come through, whatever a receiver claims.
    const DEEPEST: f64 = 0.1;
    /// With telling losses as many as this, times the square of the deviations that are chance, those deviations make up
    /// less than four fifths of them.
    const CERTAIN: f64 = 1.6;
    /// Least sample, datagrams. It measures a loss of 20 % with a standard deviation of 2 %.
    pub(super) const FEWEST: u64 = 400;
    /// Late hosts and bursts have passed after this time.
    const SHORTEST: Duration = Duration::from_millis(40);
    /// A path that is slower than this gives its answer with fewer datagrams.
    const LONGEST: Duration = Duration::from_millis(500);
    /// One path of many is judged by itself once it alone is more than certain, by this factor.
    const ALONE: f64 = 2.0;
    /// With so many paths it is a crowd.
    pub(super) const CROWD: usize = 8;

    /// A probe because of what this path has lost, at `dispersion`.
    pub(super) fn new(
        slot: usize,
        seen: Interval,
        own: f64,
        rate: f64,
        dispersion: f64,
        sending: &Sending,
    ) -> Self {
        let came = rate * (1.0 - seen.lost()).max(Self::DEEPEST);
        Self {
            slot,
            seen,
            own,
            rate: came * Self::SHARE,
            came,
            since: sending.now,
            from: sending.next,
            dispersion,
            total: Tally::default(),
            paths: 0,
            delay: Duration::MAX,
            reports: 0,
        }
    }

    /// Seconds of what the path delivers now that a probe costs if the rate is not at fault: while so many paths answer,
    /// and until that is known.
    pub(super) fn cost(seen: &Interval, own: f64, dispersion: f64, paths: usize, sending: &Sending) -> f64 {
        let came = 1.0 - seen.lost();
        let per_second = seen.rate(sending) / sending.datagram * came * Self::SHARE * paths.max(1) as f64;
        let telling = Tally::telling_of(seen.lost(), own).max(OwnLoss::LEAST / 2.0);
        let sample = (Self::certain(dispersion, sending) / telling).max(Self::FEWEST as f64);
        let takes = sample / per_second.max(1.0);
        let takes = takes.clamp(Self::SHORTEST.as_secs_f64(), Self::LONGEST.as_secs_f64());
        came * (1.0 - came * Self::SHARE) * (takes + sending.answer.as_secs_f64())
    }

    fn certain(dispersion: f64, sending: &Sending) -> f64 {
        sending.chance().powi(2) * Self::CERTAIN * dispersion
    }

    /// Takes a report of a path into account. Returns how the probe has ended, if it has.
    pub(super) fn handle_sample(
        &mut self,
        slot: usize,
        path: &mut Path,
        sample: Sample,
        sending: &Sending,
    ) -> Option<Verdict> {
        let took = sending.now.since(self.since);
        let is_late = took >= Self::LONGEST + sending.answer;
        if sample.highest >= self.from {
            if slot == self.slot {
                self.delay = self.delay.min(path.delay(&sample));
                self.reports += 1;
            }
            if let Some(answer) = &mut path.answer {
                self.count(answer, sample);
                let certain = Self::certain(self.dispersion, sending) * Self::ALONE;
                let is_sure = answer.tally.is_enough(certain) && took >= Self::SHORTEST;
                if is_sure && answer.tally.is_less() {
                    let capacity = (self.came_through(answer.seen) / (1.0 - answer.own)).min(self.before());
                    return Some(Verdict::Full { slot, capacity });
                }
            }
        }
        let is_sure = self.total.is_enough(Self::certain(self.dispersion, sending)) && took >= Self::SHORTEST;
        (is_sure || is_late).then(|| self.verdict())
    }

    /// Adds what a path says to its own answer and to that of all.
    fn count(&mut self, answer: &mut Answer, sample: Sample) {
        let Some(last) = answer.start.replace(sample) else { return };
        self.paths += usize::from(answer.tally.sent == 0.0);
        let sent = (sample.highest.0 - last.highest.0) as f64;
        // Datagrams that were overtaken make up for losses that were counted before, so `lost` may be below zero. A path
        // cannot deliver more than twice of what was sent, whatever a receiver claims.
        let lost = (sent - (sample.arrived - last.arrived) as f64).max(-sent);
        let part = Tally {
            sent,
            lost,
            middle: sent * f64::midpoint(answer.seen, answer.own),
            telling: sent * Tally::telling_of(answer.seen, answer.own),
        };
        answer.tally.add(&part);
        self.total.add(&part);
    }

    /// Bits per second that were sent before the probe.
    fn before(&self) -> f64 {
        self.came / (1.0 - self.seen.lost()).max(Self::DEEPEST)
    }

    /// Bits per second that came through before the probe on a path that lost this share.
    fn came_through(&self, lost: f64) -> f64 {
        self.before() * (1.0 - lost).max(Self::DEEPEST)
    }

    fn verdict(&self) -> Verdict {
        if self.total.sent < Path::ENOUGH as f64 {
            return Verdict::Nothing;
        }
        let capacity = (self.came / (1.0 - self.own)).min(self.before());
        if self.total.is_less() {
            return Verdict::Full { slot: self.slot, capacity };
        }
        // A queue that stands even at this rate may be what loses. Then the path's own loss cannot be told.
        let still = Path::QUEUE.max(self.seen.delay / 2);
        if self.reports >= Path::REPORTS && self.delay > still {
            return Verdict::Full { slot: self.slot, capacity };
        }
        Verdict::Own { share: self.total.lost / self.total.sent, paths: self.paths }
    }
}

impl Answer {
    /// The question to a path that shows signs of loss; `None` if it shows none.
    pub(super) fn new(path: &Path) -> Option<Self> {
        let seen = path.signs.seen?;
        Some(Self { seen: seen.lost(), own: path.own.share, start: None, tally: Tally::default() })
    }

    /// The own loss that follows, if the path was sent datagrams enough.
    pub(super) fn own_loss(&self) -> Option<OwnLoss> {
        let enough = self.tally.sent >= Probe::FEWEST as f64;
        enough.then(|| OwnLoss::of(self.tally.lost / self.tally.sent, self.tally.sent as u64))
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.middle += other.middle;
        self.telling += other.telling;
    }

    /// The losses of one datagram that tell a loss of `seen` from one of `own`: the square of the difference by the variance.
    fn telling_of(seen: f64, own: f64) -> f64 {
        (seen - own).max(0.0).powi(2) / seen.max(OwnLoss::LEAST)
    }

    fn is_enough(&self, certain: f64) -> bool {
        self.sent >= Probe::FEWEST as f64 && self.telling >= certain
    }

    /// Less was lost than if the rate were not at fault.
    fn is_less(&self) -> bool {
        self.lost < self.middle
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DATAGRAM, at, sample, sending};
    use super::*;

    const RATE: f64 = 1e9;
    const MS: Duration = Duration::from_millis(1);
    const BASE: Duration = Duration::from_millis(1);
    /// The first datagram of the probe.
    const FROM: u64 = 5_000;

    fn interval(lost: f64) -> Interval {
        let sent = RATE * Path::INTERVAL.as_secs_f64() / DATAGRAM;
        Interval {
            sent: sent as u64,
            arrived: (sent as u64 as f64 * (1.0 - lost)).round() as u64,
            span: Path::INTERVAL,
            since: at(Duration::ZERO),
            delay: Duration::ZERO,
            is_rising: false,
            queue: None,
        }
    }

    /// A probe under way, because of what the path at place 0 has lost.
    struct Trial {
        probe: Probe,
        paths: Vec<Path>,
        receivers: usize,
    }

    impl Trial {
        /// Of paths which all lose the same.
        fn of(paths: usize, own: f64, seen: f64) -> Self {
            let mut path = Path::default();
            path.own = OwnLoss::of(own, 1_000);
            path.note(sample(1, 1, Duration::ZERO, BASE));
            path.add_sign(interval(seen));
            path.answer = Answer::new(&path);
            let seen = path.signs.seen.unwrap();
            let probe = Probe::new(0, seen, own, RATE, 1.0, &sending(at(Duration::ZERO), FROM, paths));
            Self { probe, paths: vec![path; paths], receivers: paths }
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
            let path = &mut self.paths[slot];
            path.note(report);
            self.probe.handle_sample(slot, path, report, &sending(at(time), FROM + sent + 1, self.receivers))
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
        let Verdict::Full { slot: 0, capacity } = verdict else { panic!("{verdict:?}") };
        assert!((capacity / RATE / expected - 1.0).abs() < 0.01, "{} of the rate", capacity / RATE);
    }

    fn assert_own(verdict: Verdict, expected: f64, answered: usize) {
        let Verdict::Own { share, paths } = verdict else { panic!("{verdict:?}") };
        assert!((share - expected).abs() < 0.005, "{share} is not {expected}");
        assert_eq!(paths, answered);
    }

    #[test]
    fn probe_sends_less_than_what_came_through() {
        let rate = Trial::of(1, 0.0, 0.25).probe.rate / RATE;
        assert!((rate / (0.75 * Probe::SHARE) - 1.0).abs() < 0.01, "{rate}");
        let rate = Trial::of(1, 0.0, 1.0).probe.rate / RATE;
        assert!((rate / (Probe::DEEPEST * Probe::SHARE) - 1.0).abs() < 0.01, "{rate}");
    }

    #[test]
    fn losses_that_have_gone_were_the_fault_of_the_rate() {
        assert_full(Trial::of(1, 0.0, 0.2).run(0.0, Duration::ZERO).0, 0.8);
        assert_full(Trial::of(1, 0.0, 0.5).run(0.1, Duration::ZERO).0, 0.5);
    }

    #[test]
    fn losses_that_are_as_many_are_the_paths_own() {
        for share in [0.05, 0.2, 0.5] {
            assert_own(Trial::of(1, 0.0, share).run(share, Duration::ZERO).0, share, 1);
        }
        assert_own(Trial::of(1, 0.1, 0.3).run(0.3, Duration::ZERO).0, 0.3, 1);
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
        let mut trial = Trial::of(1, 0.3, 0.2);
        trial.probe.rate /= 20.0;
        assert_full(trial.run(0.0, Duration::ZERO).0, 1.0);
    }

    #[test]
    fn queue_that_stands_during_a_probe_is_the_fault_of_the_rate() {
        assert_full(Trial::of(1, 0.0, 0.2).run(0.2, Path::QUEUE * 2).0, 0.8);
        assert_own(Trial::of(1, 0.0, 0.2).run(0.2, Path::QUEUE / 2).0, 0.2, 1);
    }

    #[test]
    fn queue_that_is_half_of_what_it_was_does_not_stand() {
        let queued = |delay| {
            let mut trial = Trial::of(1, 0.0, 0.2);
            trial.probe.seen.delay = MS * 20;
            trial.run(0.2, delay).0
        };
        assert_own(queued(MS * 9), 0.2, 1);
        assert_full(queued(MS * 11), 0.8);
    }

    #[test]
    fn few_reports_do_not_show_a_queue_that_stands() {
        let after = |reports: u32| {
            let mut trial = Trial::of(1, 0.0, 0.2);
            for report in 0..reports - 1 {
                let sent = u64::from(report) * 100;
                assert_eq!(trial.report(0, MS * report, sent, 0.2, MS * 3), None);
            }
            trial.report(0, Probe::SHORTEST, 100_000, 0.2, MS * 3).unwrap()
        };
        assert_own(after(Path::REPORTS - 1), 0.2, 1);
        assert_full(after(Path::REPORTS), 0.8);
    }

    #[test]
    fn probe_without_answers_ends_without_a_verdict() {
        let answer = sending(Time::ZERO, 0, 1).answer;
        let end = Probe::LONGEST + answer;
        let mut trial = Trial::of(1, 0.0, 0.2);
        assert_eq!(trial.report(0, MS, 0, 0.0, Duration::ZERO), None);
        assert_eq!(trial.report(0, end - MS, Path::ENOUGH - 2, 1.0, Duration::ZERO), None);
        assert_eq!(trial.report(0, end, Path::ENOUGH - 1, 1.0, Duration::ZERO), Some(Verdict::Nothing));
    }

    #[test]
    fn slow_path_answers_with_few_datagrams_once_the_probe_has_lasted() {
        let end = Probe::LONGEST + sending(Time::ZERO, 0, 1).answer;
        let after = |lost| {
            let mut trial = Trial::of(1, 0.0, 0.2);
            assert_eq!(trial.report(0, MS, 0, 0.0, Duration::ZERO), None);
            assert_eq!(trial.report(0, end - MS, Probe::FEWEST / 2, lost, Duration::ZERO), None);
            trial.report(0, end, Probe::FEWEST / 2, lost, Duration::ZERO).unwrap()
        };
        assert_full(after(0.0), 0.8);
        assert_own(after(0.2), 0.2, 1);
    }

    #[test]
    fn fast_path_is_not_judged_before_bursts_have_passed() {
        for lost in [0.0, 0.2] {
            let (_, time) = Trial::of(1, 0.0, 0.2).run(lost, Duration::ZERO);
            assert_eq!(time, Probe::SHORTEST);
        }
    }

    #[test]
    fn probe_takes_longer_where_less_was_lost() {
        let (_, large) = Trial::of(1, 0.0, 0.2).run(0.2, Duration::ZERO);
        let mut slow = Trial::of(1, 0.17, 0.2);
        slow.probe.rate /= 20.0;
        let (verdict, small) = slow.run(0.2, Duration::ZERO);
        assert!(small > large * 2, "{small:?} after {large:?}");
        assert_own(verdict, 0.2, 1);
    }

    #[test]
    fn datagrams_from_before_the_probe_do_not_count() {
        let mut trial = Trial::of(1, 0.0, 0.2);
        for number in 2..FROM {
            let late = sample(number, 1, MS * 45, BASE);
            let path = &mut trial.paths[0];
            path.note(late);
            assert_eq!(trial.probe.handle_sample(0, path, late, &sending(at(MS * 45), FROM, 1)), None);
        }
        assert_eq!(trial.probe.total.sent, 0.0);
    }

    #[test]
    fn paths_of_a_crowd_answer_together() {
        let crowd = Probe::CROWD * 2;
        let each = Probe::FEWEST / 8;
        let after = |lost: f64| {
            let mut trial = Trial::of(crowd, 0.0, 0.2);
            for slot in 0..crowd {
                assert_eq!(trial.report(slot, MS, 0, 0.0, Duration::ZERO), None);
            }
            (0..crowd).find_map(|slot| {
                let verdict = trial.report(slot, Probe::SHORTEST, each, lost, Duration::ZERO);
                verdict.map(|verdict| (slot + 1, verdict))
            })
        };
        let (answered, verdict) = after(0.2).unwrap();
        assert!(answered <= crowd && answered as u64 * each >= Probe::FEWEST);
        assert_own(verdict, 0.2, answered);
        assert_full(after(0.0).unwrap().1, 0.8);
    }

    #[test]
    fn path_that_loses_less_in_a_crowd_that_does_not_is_found() {
        let crowd = Probe::CROWD * 2;
        let found = |lost| {
            let mut trial = Trial::of(crowd, 0.0, 0.3);
            for slot in 0..crowd {
                assert_eq!(trial.report(slot, MS, 0, 0.0, Duration::ZERO), None);
                let lost = if slot == 5 { lost } else { 0.3 };
                assert_eq!(trial.report(slot, MS * 20, 2_000, lost, Duration::ZERO), None);
            }
            trial.report(5, Probe::SHORTEST, 4_000, lost, Duration::ZERO).unwrap()
        };
        let Verdict::Full { slot: 5, capacity } = found(0.0) else { panic!("{:?}", found(0.0)) };
        assert!((capacity / RATE / 0.7 - 1.0).abs() < 0.01);
        assert_own(found(0.3), 0.3, crowd);
    }

    #[test]
    fn path_of_a_crowd_is_judged_alone_only_beyond_all_doubt() {
        let crowd = Probe::CROWD * 2;
        let seen = OwnLoss::LEAST;
        let found = |doubts: f64| {
            let mut trial = Trial::of(crowd, 0.0, seen);
            let now = sending(Time::ZERO, 0, crowd);
            let sent = (Probe::certain(1.0, &now) / Tally::telling_of(seen, 0.0) * doubts) as u64;
            assert!(sent > Probe::FEWEST);
            for slot in 0..crowd {
                assert_eq!(trial.report(slot, MS, 0, 0.0, Duration::ZERO), None);
                let (sent, lost) = if slot == 5 { (sent - 1, 0.0) } else { (9_000, seen) };
                assert_eq!(trial.report(slot, MS * 20, sent, lost, Duration::ZERO), None);
            }
            trial.report(5, Probe::SHORTEST, sent, 0.0, Duration::ZERO).unwrap()
        };
        assert!(matches!(found(Probe::ALONE * 0.9), Verdict::Own { .. }));
        assert!(matches!(found(Probe::ALONE * 1.1), Verdict::Full { slot: 5, .. }));
    }

    #[test]
    fn receiver_that_claims_more_than_was_sent_makes_up_for_as_much_at_most() {
        let mut trial = Trial::of(1, 0.0, 0.3);
        trial.report(0, MS, 0, 0.0, Duration::ZERO);
        trial.report(0, MS * 2, 100, -50.0, Duration::ZERO);
        assert_eq!((trial.probe.total.sent, trial.probe.total.lost), (100.0, -100.0));
    }

    #[test]
    fn capacity_does_not_depend_on_the_path_whose_report_ends_the_probe() {
        let mut trial = Trial::of(2, 0.0, 0.2);
        trial.paths[1].own = OwnLoss::of(0.15, 1_000);
        for slot in 0..2 {
            assert_eq!(trial.report(slot, MS, 0, 0.0, Duration::ZERO), None);
        }
        assert_eq!(trial.report(0, MS * 20, Probe::FEWEST, 0.0, Duration::ZERO), None);
        assert_full(trial.report(1, Probe::SHORTEST, 10, 0.0, Duration::ZERO).unwrap(), 0.8);
    }

    #[test]
    fn answer_of_one_path_is_its_own_loss_if_there_is_enough_of_it() {
        let after = |sent| {
            let mut trial = Trial::of(1, 0.0, 0.3);
            trial.report(0, MS, 0, 0.0, Duration::ZERO);
            trial.report(0, MS * 2, sent, 0.25, Duration::ZERO);
            trial.paths[0].answer.unwrap().own_loss().map(|own| own.share)
        };
        assert_eq!(after(Probe::FEWEST - 1), None);
        assert_eq!(after(Probe::FEWEST), Some(0.25));
    }

    #[test]
    fn path_without_signs_is_not_asked() {
        assert!(Answer::new(&Path::default()).is_none());
    }

    #[test]
    fn probe_costs_what_is_not_delivered_meanwhile() {
        let now = sending(Time::ZERO, 0, 1);
        let lost = 0.2;
        let less = (1.0 - lost) * (1.0 - (1.0 - lost) * Probe::SHARE);
        let assert_takes = |cost: f64, takes: Duration| {
            let expected = less * (takes + now.answer).as_secs_f64();
            assert!((cost / expected - 1.0).abs() < 0.01, "{cost} instead of {expected}");
        };
        assert_takes(Probe::cost(&interval(lost), 0.0, 1.0, 1, &now), Probe::SHORTEST);
        let slow = Interval { sent: 100, arrived: 80, span: Duration::from_secs(10), ..interval(lost) };
        assert_takes(Probe::cost(&slow, 0.0, 1.0, 1, &now), Probe::LONGEST);
    }

    #[test]
    fn probe_costs_more_where_less_is_known() {
        // At a tenth of the rate, a probe is neither as short nor as long as can be.
        let now = sending(Time::ZERO, 0, 1);
        let seen = Interval { span: Path::INTERVAL * 40, ..interval(0.2) };
        let usual = Probe::cost(&seen, 0.0, 1.0, 1, &now);
        assert!(Probe::cost(&seen, 0.0, 1.0, 3, &now) < usual);
        assert!(Probe::cost(&seen, 0.0, 20.0, 1, &now) > usual);
        assert!(Probe::cost(&seen, 0.15, 1.0, 1, &now) > usual);
        assert!(Probe::cost(&seen, 0.0, 20.0, 1, &sending(Time::ZERO, 0, 1_000)) > usual);
    }
}
