//! What a path loses whatever the rate: how much, how evenly, and what is chance.

use std::time::Duration;

use super::Interval;
use crate::time::Time;

/// The share of datagrams that a path loses whatever the rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    pub(super) share: f64,
    /// Mean distance of an interval from it.
    deviation: f64,
    /// Mean share of an interval that should have come before.
    late: f64,
    /// Datagrams from which it was learnt.
    pub(super) learnt: u64,
    /// Seconds of the path's time that were lost with datagrams since a check.
    pub(super) wasted: f64,
    /// When a check has confirmed it last, and when to check it again.
    check_at: Time,
    pause: Duration,
    pub(super) clumps: Clumps,
}

impl Noise {
    /// Nothing is known.
    pub(super) const NONE: Self = Self {
        share: 0.0,
        deviation: 0.0,
        late: 0.0,
        learnt: 0,
        wasted: 0.0,
        check_at: Time::ZERO,
        pause: Self::FIRST_PAUSE,
        clumps: Clumps::NONE,
    };
    /// Less is neither worth a check, nor to be told from chance.
    pub(super) const LEAST: f64 = 0.02;
    /// At the start, a path that loses less than this may still be asked for more.
    const LEAST_AT_START: f64 = 0.3;
    /// A path that loses more than this is not worth sending to.
    const MOST: f64 = 0.9;
    /// Datagrams that an estimate goes back to.
    const MEMORY: u64 = 5_000;
    /// Datagrams lost that make a share of them certain enough.
    pub(super) const SAMPLE: f64 = 25.0;
    /// Noise is checked when it is found, and again after this pause, doubled each time up to the longest.
    const FIRST_PAUSE: Duration = Duration::from_millis(500);
    /// Four standard deviations of a normal distribution are ten times the mean of its negative half.
    const LATE: f64 = 10.0;
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);
    /// A check is followed by as many times its duration without.
    const RARELY: u32 = 20;

    /// Whether chance does not explain what was lost.
    pub(super) fn is_exceeded(&self, interval: &Interval, starting: bool, clumps: f64) -> bool {
        let sent = interval.sent as f64;
        // Four standard deviations: once in some hours.
        let chance = 4.0 * (clumps * self.share.max(1.0 / sent) * (1.0 - self.share) / sent).sqrt();
        if starting {
            return interval.lost() > Self::LEAST_AT_START.max(self.share + chance);
        }
        interval.lost()
            > self.share + chance.max(self.deviation * 3.0).max(self.late * Self::LATE).max(Self::LEAST)
    }

    pub(super) fn learn(&mut self, interval: &Interval) {
        let weight = interval.sent as f64 / (self.learnt.min(Self::MEMORY) + interval.sent) as f64;
        self.learnt = self.learnt.saturating_add(interval.sent);
        self.wasted += interval.lost().max(0.0) * interval.span.as_secs_f64();
        self.deviation += ((interval.lost() - self.share).abs() - self.deviation) * weight;
        self.share = (self.share + (interval.lost() - self.share) * weight).clamp(0.0, Self::MOST);
    }

    /// Whether as much is lost in this interval as was lost of `sent` datagrams before, but for chance.
    pub(super) fn compare(
        &self,
        share: f64,
        sent: u64,
        interval: &Interval,
        deviations: f64,
        clumps: f64,
    ) -> Compared {
        let samples = 1.0 / sent.max(1) as f64 + 1.0 / interval.sent as f64;
        let chance = deviations * (clumps * share * (1.0 - share) * samples).sqrt() + self.deviation * 1.5;
        let lost = interval.lost();
        // Where losses come in bursts, more of them say nothing of the rate.
        if lost <= share - chance || (lost >= share + chance && clumps < Clumps::MANY) {
            Compared::Other
        } else if lost > share / 3.0 {
            Compared::Same
        } else {
            Compared::Unclear
        }
    }

    /// There is no more than in this interval.
    pub(super) fn correct(&mut self, interval: &Interval, deviations: f64, clumps: f64) {
        let compared = self.compare(self.share, self.learnt, interval, deviations, clumps);
        if self.share > interval.lost() && compared != Compared::Same {
            (self.share, self.learnt) = (interval.lost().clamp(0.0, Self::MOST), interval.sent);
        }
    }

    /// What was seen was the path's own, and is still there.
    pub(super) fn replace(&mut self, seen: &Interval, interval: &Interval) {
        self.deviation = self.deviation.max((seen.lost() - interval.lost()).abs() / 2.0);
        (self.share, self.learnt) = (interval.lost().clamp(0.0, Self::MOST), interval.sent);
    }

    /// Where datagrams overtake each other, what is missing comes with the next interval.
    pub(super) fn note_late(&mut self, interval: &Interval) {
        self.late += (f64::max(-interval.lost(), 0.0) - self.late) / 16.0;
    }

    /// Whether it is time to check it again; where another path is being checked anyway, that may be earlier.
    pub(super) fn is_doubtful(&self, now: Time, checking: bool, clumps: f64) -> bool {
        let early = if checking { self.pause / 4 } else { Duration::ZERO };
        self.share > Self::LEAST
            && self.learnt as f64 * self.share > Self::SAMPLE * clumps
            && now + early >= self.check_at
    }

    /// A check that took so long has found it to be there still.
    pub(super) fn confirm(&mut self, now: Time, took: Duration) {
        // Where answers are slow, as in a crowd, checks must not take up all the time.
        self.wasted = 0.0;
        self.pause = self.pause.max(took * Self::RARELY);
        self.check_at = now + self.pause;
        self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
    }
}

/// What the paths of a crowd lose whatever the rate.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Common {
    /// The mean of those that were checked.
    pub(in crate::session) share: f64,
}

impl Common {
    /// Whether that, and chance, explains what was lost.
    pub(super) fn explains(&self, interval: &Interval, deviations: f64, clumps: f64) -> bool {
        let chance = deviations * (clumps * self.share * (1.0 - self.share) / interval.sent as f64).sqrt();
        interval.lost() <= self.share + chance
    }
}

/// What a path loses, beside what it lost before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    Other,
    /// It may be less, but chance may be the reason.
    Unclear,
}

/// How losses come: each datagram by itself, or many at once as on a wireless link.
///
/// Where bursts of some length come at random, what an interval loses varies more than if each datagram were lost by itself:
/// its variance is greater by a factor, the same for any length of interval beyond the bursts'. That factor is followed
/// here, from the differences between neighbouring intervals, which do not depend on how much is lost in the mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clumps {
    factor: f64,
    /// Samples that it is the mean of, or goes back to.
    samples: f64,
    /// Sent and lost in the last interval.
    last: Option<(f64, f64)>,
    /// Samples of the factor that may show a path that became full, their sum and number.
    doubtful: (f64, f64),
    /// Those among them from while much was lost all the time: a path that is full loses evenly then.
    steady: (f64, f64),
}

impl Clumps {
    pub(super) const NONE: Self =
        Self { factor: 1.0, samples: 1.0, last: None, doubtful: (0.0, 0.0), steady: (0.0, 0.0) };
    /// Samples that an estimate goes back to.
    const MEMORY: f64 = 32.0;
    /// As much as bursts of half as many datagrams.
    const MOST: f64 = 1_000.0;
    /// Beyond this factor, bursts are the rule.
    pub(super) const MANY: f64 = 3.0;
    /// A path that becomes full does so within two intervals.
    const STEADY: u32 = 2;
    /// So many samples of the steady ones say something.
    const LIKELY: f64 = 2.0;

    /// The factor, or what it looks like now where samples that may yet turn out to be a full path say more.
    pub(super) fn factor(&self) -> f64 {
        let (sum, samples) = self.steady;
        if samples >= Self::LIKELY { self.factor.max((sum / samples).min(Self::MOST)) } else { self.factor }
    }

    /// Another interval has passed, the last of so many in a row that lost much.
    pub(super) fn note(&mut self, interval: &Interval, signs: u32) {
        if signs < Self::STEADY {
            self.steady = (0.0, 0.0);
        }
        let (sent, lost) = (interval.sent as f64, interval.lost().max(0.0) * interval.sent as f64);
        if let Some((before, lost_before)) = self.last.replace((sent, lost)) {
            let share = (lost + lost_before) / (sent + before);
            if share > 0.0 && share < 1.0 {
                let distance = lost / sent - lost_before / before;
                let chance = share * (1.0 - share) * (1.0 / sent + 1.0 / before);
                let sample = distance * distance / chance;
                self.doubtful = (self.doubtful.0 + sample, self.doubtful.1 + 1.0);
                if signs >= Self::STEADY {
                    self.steady = (self.steady.0 + sample, self.steady.1 + 1.0);
                }
            }
        }
    }

    /// What has been lost was not the rate's fault.
    pub(super) fn learn(&mut self) {
        let (sum, samples) = std::mem::take(&mut self.doubtful);
        if samples > 0.0 {
            self.factor = (self.factor * self.samples + sum) / (self.samples + samples);
            self.factor = self.factor.clamp(1.0, Self::MOST);
            self.samples = (self.samples + samples).min(Self::MEMORY);
        }
    }

    /// What has been lost says nothing.
    pub(super) const fn forget(&mut self) {
        (self.doubtful, self.steady) = ((0.0, 0.0), (0.0, 0.0));
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factor of a path that loses a twentieth, in bursts that end with this probability after each datagram.
    fn factor(end: f64) -> f64 {
        let (mut clumps, mut rng, mut bad) = (Clumps::NONE, fastrand::Rng::with_seed(1), false);
        let mut mean = 0.0;
        for round in 0..2_000 {
            let sent = 400;
            let came = |_: &u64| {
                bad = rng.f64() < if bad { 1.0 - end } else { end * 0.05 / 0.95 };
                !bad
            };
            let arrived = (0..sent).filter(came).count() as u64;
            let span = Duration::from_millis(20);
            clumps.note(&Interval { sent, arrived, span, delay: Duration::ZERO }, 0);
            clumps.learn();
            if round >= 100 {
                mean += clumps.factor() / 1_900.0;
            }
        }
        mean
    }

    #[test]
    fn bursts_are_told_from_losses_that_come_one_by_one() {
        let (alone, bursts) = (factor(0.95), factor(1.0 / 16.0));
        assert!(alone < 1.3, "{alone}");
        // Twice their length, less one, and less for what the mean shares.
        assert!((20.0..32.0).contains(&bursts), "{bursts}");
    }

    #[test]
    fn what_may_have_been_a_full_queue_changes_nothing() {
        let mut clumps = Clumps::NONE;
        for arrived in [400, 400, 100, 80, 400] {
            clumps.note(&Interval { sent: 400, arrived, span: Duration::ZERO, delay: Duration::ZERO }, 0);
        }
        clumps.forget();
        clumps.learn();
        assert_eq!(clumps.factor(), 1.0);
    }

    fn interval(sent: u64, arrived: u64) -> Interval {
        Interval { sent, arrived, span: Duration::from_millis(20), delay: Duration::ZERO }
    }

    /// A path that has lost so much for long, as evenly as can be.
    fn losing(share: f64) -> Noise {
        Noise { share, learnt: 5_000, ..Noise::NONE }
    }

    /// The least of a thousand whose loss is beyond what is usual.
    fn exceeds(noise: &Noise, starting: bool, clumps: f64) -> u64 {
        (0..1_000).find(|lost| noise.is_exceeded(&interval(1_000, 1_000 - lost), starting, clumps)).unwrap()
    }

    #[test]
    fn what_is_more_than_usual_is_more_than_chance_and_more_than_the_path_varies() {
        assert!((20..=21).contains(&exceeds(&Noise::NONE, false, 1.0)));
        // Four standard deviations of 9.5 in a thousand, or more where losses come in bursts.
        assert_eq!(exceeds(&losing(0.1), false, 1.0), 138);
        assert_eq!(exceeds(&losing(0.1), false, 9.0), 214);
        assert_eq!(exceeds(&Noise { deviation: 0.05, ..losing(0.1) }, false, 1.0), 251);
        assert_eq!(exceeds(&Noise { late: 0.02, ..losing(0.1) }, false, 1.0), 301);
        // Of few, one may be lost by chance wherever nothing is.
        assert!(!Noise::NONE.is_exceeded(&interval(32, 31), false, 1.0));
        assert!(!Noise::NONE.is_exceeded(&interval(32, 28), false, 1.0));
        assert!(Noise::NONE.is_exceeded(&interval(32, 27), false, 1.0));
        // At the start, a third less comes through where the rate is too fast by half.
        assert!((300..=301).contains(&exceeds(&Noise::NONE, true, 1.0)));
        assert_eq!(exceeds(&losing(0.4), true, 1.0), 462);
    }

    #[test]
    fn what_comes_an_interval_late_is_followed_slowly() {
        let mut noise = Noise::NONE;
        noise.note_late(&interval(100, 116));
        assert!((noise.late - 0.01).abs() < 1e-9, "{noise:?}");
        noise.note_late(&interval(100, 84));
        assert!(noise.late < 0.01 && noise.late > 0.009, "{noise:?}");
    }

    #[test]
    fn an_estimate_goes_back_to_so_many_datagrams() {
        let mut noise = Noise::NONE;
        for _ in 0..100 {
            noise.learn(&interval(1_000, 900));
        }
        assert!((noise.share - 0.1).abs() < 1e-9 && noise.deviation < 0.002, "{noise:?}");
        for _ in 0..5 {
            noise.learn(&interval(1_000, 700));
        }
        // 0.3 - 0.2 · (5/6)⁵
        assert!((noise.share - 0.2196).abs() < 0.001, "{noise:?}");
        assert!(noise.deviation > 0.05, "{noise:?}");
    }

    #[test]
    fn as_much_is_lost_where_chance_explains_the_difference() {
        let noise = losing(0.1);
        // Two standard deviations of 500 beside 5,000 are 0.0281.
        let compare = |lost: u64| noise.compare(0.1, 5_000, &interval(500, 500 - lost), 2.0, 1.0);
        assert_eq!(
            [35, 36, 64, 65].map(compare),
            [Compared::Other, Compared::Same, Compared::Same, Compared::Other]
        );
        // A path that varies does so again, and where next to nothing is left, it cannot be said.
        let noise = Noise { deviation: 0.04, ..losing(0.1) };
        let compare = |lost: u64| noise.compare(0.1, 5_000, &interval(500, 500 - lost), 2.0, 1.0);
        assert_eq!(
            [5, 15, 17, 93].map(compare),
            [Compared::Other, Compared::Unclear, Compared::Same, Compared::Same]
        );
        // What is there no more is forgotten, what may be chance is not.
        for (lost, share) in [(30, 0.06), (45, 0.1), (70, 0.1)] {
            let mut noise = losing(0.1);
            noise.correct(&interval(500, 500 - lost), 2.0, 1.0);
            assert!((noise.share - share).abs() < 1e-9, "{lost}: {noise:?}");
        }
    }

    #[test]
    fn what_was_seen_twice_varies_by_half_of_the_difference() {
        let mut noise = Noise::NONE;
        noise.replace(&interval(100, 70), &interval(400, 320));
        assert!((noise.share - 0.2).abs() < 1e-9 && (noise.deviation - 0.05).abs() < 1e-9, "{noise:?}");
        assert_eq!(noise.learnt, 400);
    }

    #[test]
    fn old_answers_are_doubted_less_and_less_often() {
        let ms = |n: u64| Time::ZERO + Duration::from_millis(n);
        let mut noise = losing(0.1);
        assert!(noise.is_doubtful(ms(1), false, 1.0));
        noise.confirm(ms(1_000), Duration::from_millis(10));
        assert!(!noise.is_doubtful(ms(1_499), false, 1.0) && noise.is_doubtful(ms(1_500), false, 1.0));
        // A quarter of what the next pause will be earlier where there is a check anyway.
        assert!(!noise.is_doubtful(ms(1_249), true, 1.0) && noise.is_doubtful(ms(1_250), true, 1.0));
        noise.confirm(ms(2_000), Duration::from_millis(10));
        assert!(!noise.is_doubtful(ms(2_999), false, 1.0) && noise.is_doubtful(ms(3_000), false, 1.0));
        // A check that takes long is followed by twenty times as long without, up to a minute the next time.
        noise.confirm(ms(10_000), Duration::from_secs(2));
        assert!(!noise.is_doubtful(ms(49_999), false, 1.0) && noise.is_doubtful(ms(50_000), false, 1.0));
        noise.confirm(ms(100_000), Duration::ZERO);
        assert!(!noise.is_doubtful(ms(159_999), false, 1.0) && noise.is_doubtful(ms(160_000), false, 1.0));
        // Little loss, and what is not known well, is not worth a check.
        assert!(!losing(0.02).is_doubtful(ms(1), false, 1.0));
        assert!(!Noise { learnt: 250, ..losing(0.1) }.is_doubtful(ms(1), false, 1.0));
        assert!(!Noise { learnt: 500, ..losing(0.1) }.is_doubtful(ms(1), false, 2.0));
    }

    #[test]
    fn bursts_that_are_over_are_forgotten_and_none_counts_for_more_than_there_are() {
        let mut clumps = Clumps::NONE;
        let pass = |clumps: &mut Clumps, lost: [u64; 2], times| {
            for lost in [lost; 1].iter().cycle().take(times).flatten() {
                clumps.note(&interval(1_000, 1_000 - lost), 0);
                clumps.learn();
            }
            clumps.factor()
        };
        assert!(pass(&mut clumps, [0, 999], 100) > 300.0);
        assert!(clumps.factor() <= Clumps::MOST);
        assert!(pass(&mut clumps, [50, 50], 100) < 3.0, "{clumps:?}");
        // After a queue that may have been full, the next interval has nothing to be compared with.
        clumps = Clumps::NONE;
        clumps.note(&interval(1_000, 100), 0);
        clumps.forget();
        clumps.note(&interval(1_000, 1_000), 0);
        clumps.learn();
        assert_eq!(clumps.factor(), 1.0);
    }

    #[test]
    fn what_is_lost_unevenly_all_the_time_looks_like_bursts_and_a_path_that_became_full_does_not() {
        let note = |clumps: &mut Clumps, arrived: u64, signs: u32| {
            clumps.note(&Interval { sent: 400, arrived, span: Duration::ZERO, delay: Duration::ZERO }, signs);
        };
        let (mut bursts, mut full) = (Clumps::NONE, Clumps::NONE);
        for (signs, (uneven, even)) in (0..).zip([(300, 100), (390, 41), (250, 39), (370, 41)]) {
            note(&mut bursts, uneven, signs);
            note(&mut full, even, signs);
        }
        assert!(bursts.factor() > Clumps::MANY, "{}", bursts.factor());
        assert!(full.factor() < Clumps::MANY, "{}", full.factor());
    }
}
