//! The path to one receiver, as its reports show it: loss, delay, and the share that it loses at any rate.

use std::time::Duration;

use super::{Sample, Sending};
use crate::time::Time;
use crate::wire::DatagramNumber;

/// The path to one receiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// The last report.
    pub(super) last: Option<Sample>,
    /// The report before the present round of the search, and which round that is ([`super::open`]).
    pub(super) before: Option<Sample>,
    pub(super) round: u64,
    /// Whether it keeps up in that round; `None` until it has said so.
    pub(super) vote: Option<bool>,
    base: Base,
    /// The report with which the interval under way began.
    start: Option<Sample>,
    /// The shortest round trip in that interval, and how many reports it has.
    least: Duration,
    reports: u32,
    /// The delay in the interval before.
    delay: Duration,
    /// The loss that does not depend on the rate.
    pub(super) own: OwnLoss,
    /// The intervals in a row that lost more than that.
    pub(super) signs: Signs,
    /// Its losses in the probe that is under way ([`super::probe`]); `None` if the probe does not ask it.
    pub(super) answer: Option<super::probe::Answer>,
    unevenness: Unevenness,
}

/// The datagrams between two reports of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    /// Datagrams.
    pub(super) sent: u64,
    pub(super) arrived: u64,
    /// The longer of the time in which they were sent and the time in which they were seen.
    pub(super) span: Duration,
    /// When the first of them was sent.
    pub(super) since: Time,
    /// The difference between its shortest round trip and the shortest of the last ten to twenty seconds.
    pub(super) delay: Duration,
    /// The delay is more than in the interval before.
    pub(super) is_rising: bool,
    /// Whether a queue has stood all the time, where there were reports enough to tell.
    pub(super) queue: Option<bool>,
}

/// Intervals in a row that lost more than the path's own loss explains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    /// How many.
    pub(super) count: u32,
    /// The last two of them, joined.
    pub(super) seen: Option<Interval>,
    /// The last one.
    last: Option<Interval>,
    /// Seconds of the path's time that were lost with datagrams.
    pub(super) wasted: f64,
}

/// The share of datagrams that a path loses at any rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnLoss {
    pub(super) share: f64,
    /// Datagrams from which it was learnt.
    learnt: u64,
}

/// The shortest round trip of the last ten to twenty seconds.
#[derive(Clone, Copy, Debug)]
struct Base {
    /// The shortest in the present window and in the one before it.
    present: Duration,
    before: Duration,
    /// When the present window ends.
    ends: Time,
}

/// How unevenly a path loses, from the differences between neighbouring intervals.
#[derive(Clone, Copy, Debug, Default)]
struct Unevenness {
    /// Sent and lost in the last interval.
    last: Option<(f64, f64)>,
    /// Samples of the dispersion that may still turn out to be a full queue's: their sum and number.
    doubtful: (f64, f64),
}

impl Path {
    /// An interval lasts at least so long, so that a late process is not taken for a full queue …
    pub(super) const INTERVAL: Duration = Duration::from_millis(20);
    /// … and has at least so many datagrams, so that one that is lost is a few per cent.
    pub(super) const ENOUGH: u64 = 32;
    /// A shortest round trip that is longer than usual by more than this shows a queue that stands: ten full frames take
    /// less at 200 Mbit/s.
    pub(super) const QUEUE: Duration = Duration::from_micros(500);
    /// The shortest of fewer round trips says nothing about a queue.
    pub(super) const REPORTS: u32 = 4;

    /// Takes note of a report. Returns the one before it; `None` if this is the first one, or if it is older than another.
    pub(super) fn note(&mut self, sample: Sample) -> Option<Sample> {
        if self.last.is_some_and(|last| sample.highest <= last.highest || sample.arrived < last.arrived) {
            return None;
        }
        self.base.note(sample.seen_at, sample.round_trip());
        self.last.replace(sample)
    }

    /// By how much the round trip of a report is longer than the base.
    pub(super) fn delay(&self, sample: &Sample) -> Duration {
        sample.round_trip().saturating_sub(self.base.get())
    }

    /// The base: the shortest round trip of the last ten to twenty seconds.
    pub(super) fn base(&self) -> Duration {
        self.base.get()
    }

    /// The interval that this report ends, if it ends one. No interval begins before datagram `from`.
    pub(super) fn interval(&mut self, sample: Sample, from: DatagramNumber) -> Option<Interval> {
        let Some(start) = self.start.filter(|start| start.highest >= from) else {
            self.begin((sample.highest >= from).then_some(sample));
            // The interval before was at another rate.
            self.delay = Duration::MAX;
            return None;
        };
        self.least = self.least.min(sample.round_trip());
        self.reports += 1;
        let sent = sample.highest.0 - start.highest.0;
        let span = sample.span_since(&start);
        if span < Self::INTERVAL || sent < Self::ENOUGH {
            return None;
        }
        let delay = self.least.saturating_sub(self.base.get());
        let interval = Interval {
            sent,
            arrived: sample.arrived - start.arrived,
            span,
            since: start.sent_at,
            delay,
            is_rising: delay > self.delay,
            queue: (self.reports >= Self::REPORTS).then_some(delay > Self::QUEUE),
        };
        self.delay = delay;
        self.begin(Some(sample));
        Some(interval)
    }

    fn begin(&mut self, start: Option<Sample>) {
        (self.start, self.least, self.reports) = (start, Duration::MAX, 0);
    }

    /// Adds an interval that lost more than usual to the signs, with what it lost beyond the path's own loss.
    pub(super) fn add_sign(&mut self, interval: Interval) {
        let signs = &mut self.signs;
        signs.count += 1;
        signs.seen = Some(signs.last.map_or(interval, |last| interval.joined(&last)));
        signs.last = Some(interval);
        signs.wasted += (interval.lost() - self.own.share) * interval.span.as_secs_f64();
    }

    /// The signs have come to an end, or the rate has become another.
    pub(super) fn clear_signs(&mut self) {
        self.signs = Signs::default();
    }

    /// Takes one more sample of how unevenly this path loses, unless a queue may have been full.
    pub(super) fn note_unevenness(&mut self, interval: &Interval, may_queue: bool) {
        if may_queue {
            self.unevenness = Unevenness::default();
        } else {
            self.unevenness.note(interval);
        }
    }

    /// Returns the sum and the number of the doubtful samples of the dispersion, and forgets them here.
    pub(super) fn take_dispersion(&mut self) -> (f64, f64) {
        std::mem::take(&mut self.unevenness.doubtful)
    }

    /// A queue was full: what was lost in it says nothing of how the path loses.
    pub(super) fn forget_unevenness(&mut self) {
        self.unevenness = Unevenness::default();
    }

    /// The mean of the doubtful samples of the dispersion, if there are enough of them.
    pub(super) fn doubtful_dispersion(&self) -> Option<f64> {
        let (sum, samples) = self.unevenness.doubtful;
        (samples >= Unevenness::LIKELY).then(|| sum / samples)
    }
}

impl Interval {
    /// The share that was lost. Datagrams that overtake others make it negative; nobody can claim more than twice of all.
    pub(super) fn lost(&self) -> f64 {
        (1.0 - self.arrived as f64 / self.sent.max(1) as f64).max(-1.0)
    }

    /// Bits per second that were sent.
    pub(super) fn rate(&self, sending: &Sending) -> f64 {
        self.sent as f64 * sending.datagram / self.span.as_secs_f64().max(1e-6)
    }

    /// Bits per second that arrived.
    pub(super) fn came(&self, sending: &Sending) -> f64 {
        self.rate(sending) * (1.0 - self.lost())
    }

    /// This one and one before it.
    fn joined(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent + earlier.sent,
            arrived: self.arrived + earlier.arrived,
            span: self.span + earlier.span,
            since: earlier.since,
            delay: self.delay.min(earlier.delay),
            is_rising: self.is_rising,
            queue: self.queue.zip(earlier.queue).map(|(this, other)| this && other),
        }
    }
}

impl OwnLoss {
    /// A smaller excess is neither worth a probe nor certain: a datagram of 32 is 3 %.
    pub(super) const LEAST: f64 = 0.02;
    /// A path that loses more than this is not worth sending to.
    const MOST: f64 = 0.9;
    /// Datagrams that the mean goes back to.
    const MEMORY: u64 = 5_000;
    /// Standard deviations beyond which a loss is no chance: one interval in 30,000.
    const DEVIATIONS: f64 = 4.0;
    /// At each sign that a queue is full, this is left of it: some of it may have been lost in that queue.
    const FADES: f64 = 0.9;

    /// Known from so many datagrams.
    pub(super) fn of(share: f64, learnt: u64) -> Self {
        Self { share: share.clamp(0.0, Self::MOST), learnt }
    }

    /// Whether this and chance do not explain what an interval lost. `dispersion` is by how much the variance exceeds that
    /// of losses which come one by one.
    pub(super) fn is_exceeded(&self, interval: &Interval, dispersion: f64) -> bool {
        interval.lost() > self.share + self.chance(interval, dispersion).max(Self::LEAST)
    }

    /// By how much the loss of an interval may differ from this by chance.
    fn chance(&self, interval: &Interval, dispersion: f64) -> f64 {
        let sent = interval.sent as f64;
        let variance = dispersion * self.share.max(1.0 / sent) * (1.0 - self.share) / sent;
        Self::DEVIATIONS * variance.sqrt()
    }

    /// Learns from an interval in which the rate was not at fault. If it lost so little that chance does not explain it, the
    /// path has changed, and the share that was known before is forgotten.
    pub(super) fn learn(&mut self, interval: &Interval, dispersion: f64) {
        if interval.lost() < self.share - self.chance(interval, dispersion) {
            self.learnt = 0;
        }
        let weight = interval.sent as f64 / (self.learnt.min(Self::MEMORY) + interval.sent) as f64;
        let share = self.share + (interval.lost() - self.share) * weight;
        *self = Self::of(share, self.learnt.saturating_add(interval.sent));
    }

    pub(super) fn fade(&mut self) {
        self.share *= Self::FADES;
    }
}

impl Default for Base {
    fn default() -> Self {
        Self { present: Duration::MAX, before: Duration::MAX, ends: Time::ZERO }
    }
}

impl Base {
    /// A path whose round trips have become longer for good is known as such after one to two windows (BBR's window of the
    /// shortest round trip).
    const WINDOW: Duration = Duration::from_secs(10);

    fn note(&mut self, now: Time, round_trip: Duration) {
        if now >= self.ends {
            let before = if self.ends == Time::ZERO { Duration::MAX } else { self.present };
            *self = Self { present: round_trip, before, ends: now + Self::WINDOW };
        }
        self.present = self.present.min(round_trip);
    }

    fn get(&self) -> Duration {
        self.present.min(self.before)
    }
}

impl Unevenness {
    /// A mean of fewer samples than this says nothing.
    const LIKELY: f64 = 2.0;
    /// No sample counts for more: bursts of 32 datagrams.
    const MOST: f64 = 64.0;

    fn note(&mut self, interval: &Interval) {
        let (sent, lost) = (interval.sent as f64, interval.lost().max(0.0) * interval.sent as f64);
        let Some((before, lost_before)) = self.last.replace((sent, lost)) else { return };
        let share = (lost + lost_before) / (sent + before);
        if share > 0.0 && share < 1.0 {
            let distance = lost / sent - lost_before / before;
            let chance = share * (1.0 - share) * (1.0 / sent + 1.0 / before);
            self.doubtful.0 += (distance * distance / chance).min(Self::MOST);
            self.doubtful.1 += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    const FROM: DatagramNumber = DatagramNumber(0);
    const MS: Duration = Duration::from_millis(1);

    fn take(path: &mut Path, sample: Sample, from: DatagramNumber) -> Option<Interval> {
        path.note(sample)?;
        path.interval(sample, from)
    }

    /// A path that has reported datagram 0, of which an interval has begun.
    fn begun(round_trip: Duration) -> Path {
        let mut path = Path::default();
        let first = sample(0, 0, Duration::ZERO, round_trip);
        path.note(first);
        assert_eq!(path.interval(first, FROM), None);
        path
    }

    fn interval(sent: u64, lost: u64) -> Interval {
        Interval {
            sent,
            arrived: sent - lost,
            span: Path::INTERVAL,
            since: Time::ZERO,
            delay: Duration::ZERO,
            is_rising: false,
            queue: Some(false),
        }
    }

    #[test]
    fn interval_ends_once_it_has_lasted_and_has_datagrams_enough() {
        let mut fast = begun(MS);
        let most = Path::ENOUGH * 10;
        assert_eq!(take(&mut fast, sample(most, most, Path::INTERVAL - MS, MS), FROM), None);
        let ended = take(&mut fast, sample(most + 1, most, Path::INTERVAL, MS), FROM).unwrap();
        assert_eq!((ended.sent, ended.arrived, ended.span), (most + 1, most, Path::INTERVAL));
        assert_eq!(ended.since, sample(0, 0, Duration::ZERO, MS).sent_at);

        let mut slow = begun(MS);
        let last = Path::ENOUGH;
        assert_eq!(take(&mut slow, sample(last - 1, last - 1, Path::INTERVAL * 9, MS), FROM), None);
        let ended = take(&mut slow, sample(last, last - 1, Path::INTERVAL * 10, MS), FROM).unwrap();
        assert_eq!((ended.sent, ended.arrived, ended.span), (last, last - 1, Path::INTERVAL * 10));
    }

    #[test]
    fn interval_begins_where_the_one_before_has_ended() {
        let mut path = begun(MS);
        assert!(take(&mut path, sample(100, 90, Path::INTERVAL, MS), FROM).is_some());
        let second = take(&mut path, sample(300, 280, Path::INTERVAL * 2, MS), FROM).unwrap();
        assert_eq!((second.sent, second.arrived, second.span), (200, 190, Path::INTERVAL));
    }

    #[test]
    fn interval_is_as_long_as_the_longer_of_sending_and_of_seeing() {
        // All of it arrives at once, with the last datagram.
        let mut burst = begun(Path::INTERVAL * 2);
        let ended = take(&mut burst, sample(100, 100, Path::INTERVAL * 2, MS), FROM).unwrap();
        assert_eq!(ended.span, Path::INTERVAL * 2);
        let mut queued = begun(MS);
        let ended = take(&mut queued, sample(100, 100, Path::INTERVAL, MS + Path::INTERVAL), FROM).unwrap();
        assert_eq!(ended.span, Path::INTERVAL * 2);
    }

    #[test]
    fn no_interval_begins_before_the_first_datagram_of_a_rate() {
        let from = DatagramNumber(100);
        let mut path = Path::default();
        let at = |number: u64| sample(number, number, Path::INTERVAL * number as u32, MS);
        path.note(at(1));
        assert_eq!(path.interval(at(1), from), None);
        assert_eq!(take(&mut path, at(99), from), None);
        assert_eq!(take(&mut path, at(100), from), None);
        let ended = take(&mut path, at(200), from).unwrap();
        assert_eq!((ended.sent, ended.since), (100, at(100).sent_at));
        // The rate becomes another one, and the interval that began at datagram 200 is none any more.
        assert_eq!(take(&mut path, at(300), DatagramNumber(250)), None);
        assert_eq!(take(&mut path, at(400), DatagramNumber(250)).unwrap().sent, 100);
    }

    #[test]
    fn report_that_is_older_than_another_is_ignored() {
        let mut path = Path::default();
        let newest = sample(100, 80, MS * 100, MS * 5);
        assert_eq!(path.note(newest), None);
        for stale in
            [sample(99, 80, MS * 99, MS), sample(100, 90, MS * 100, MS), sample(101, 79, MS * 101, MS)]
        {
            assert_eq!(path.note(stale), None, "{stale:?}");
            assert_eq!(path.last, Some(newest), "{stale:?}");
            assert_eq!(path.base(), MS * 5, "{stale:?}");
        }
        assert_eq!(path.note(sample(101, 80, MS * 101, MS)), Some(newest));
        assert_eq!(path.base(), MS);
    }

    /// What an interval says of a queue, whose reports take so much longer than the base.
    fn queue_after(delays: &[Duration]) -> Option<bool> {
        let mut path = begun(MS);
        let mut queue = None;
        for (number, delay) in (1..).zip(delays) {
            let (highest, sent_at) = (number * 100, Path::INTERVAL / 10 * number as u32);
            let is_last = number == delays.len() as u64;
            let sent_at = if is_last { Path::INTERVAL } else { sent_at };
            let ended = take(&mut path, sample(highest, highest, sent_at, MS + *delay), FROM);
            assert_eq!(ended.is_some(), is_last);
            queue = ended.and_then(|ended| ended.queue);
        }
        queue
    }

    #[test]
    fn queue_is_known_from_four_reports_on() {
        let long = Path::QUEUE * 2;
        let reports = Path::REPORTS as usize;
        assert_eq!(queue_after(&vec![long; reports - 1]), None);
        assert_eq!(queue_after(&vec![long; reports]), Some(true));
        assert_eq!(queue_after(&vec![Path::QUEUE; reports]), Some(false));
        let mut once_empty = vec![long; reports];
        once_empty[1] = Duration::ZERO;
        assert_eq!(queue_after(&once_empty), Some(false));
    }

    #[test]
    fn delay_is_not_rising_in_the_first_interval_of_a_rate() {
        let mut path = begun(MS);
        let mut number = 0;
        let mut ends = |delay: u32, from: u64| {
            number += 1;
            let report = sample(number * 100, number * 100, MS * 100 * number as u32, MS * (1 + delay));
            take(&mut path, report, DatagramNumber(from)).map(|ended| (ended.delay, ended.is_rising))
        };
        assert_eq!(ends(3, 0), Some((MS * 3, false)));
        assert_eq!(ends(5, 0), Some((MS * 5, true)));
        assert_eq!(ends(5, 0), Some((MS * 5, false)));
        assert_eq!(ends(4, 0), Some((MS * 4, false)));
        // Another rate from datagram 450 on.
        assert_eq!(ends(4, 450), None);
        assert_eq!(ends(9, 450), Some((MS * 9, false)));
        assert_eq!(ends(10, 450), Some((MS * 10, true)));
    }

    #[test]
    fn shortest_round_trip_is_forgotten_after_two_windows() {
        let mut base = Base::default();
        let start = Time::ZERO + Duration::from_secs(3);
        base.note(start, MS);
        base.note(start + Base::WINDOW - MS, MS * 5);
        assert_eq!(base.get(), MS);
        base.note(start + Base::WINDOW, MS * 5);
        base.note(start + Base::WINDOW * 2 - MS, MS * 5);
        assert_eq!(base.get(), MS);
        base.note(start + Base::WINDOW * 2, MS * 6);
        assert_eq!(base.get(), MS * 5);
        base.note(start + Base::WINDOW * 2 + MS, MS * 2);
        assert_eq!(base.get(), MS * 2);
    }

    #[test]
    fn delay_is_what_a_round_trip_takes_beyond_the_shortest() {
        let mut path = begun(MS * 3);
        assert_eq!(path.delay(&sample(1, 1, MS, MS * 10)), MS * 7);
        assert_eq!(path.delay(&sample(1, 1, MS, MS * 2)), Duration::ZERO);
        path.note(sample(1, 1, MS, MS * 2));
        assert_eq!(path.delay(&sample(2, 2, MS, MS * 10)), MS * 8);
    }

    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    #[test]
    fn own_loss_is_a_mean_that_goes_back_to_so_many_datagrams() {
        let mut own = OwnLoss::default();
        own.learn(&interval(100, 10), 1.0);
        assert_close(own.share, 0.1);
        own.learn(&interval(300, 15), 1.0);
        assert_close(own.share, 0.0625);
        let mut own = OwnLoss::default();
        own.learn(&interval(OwnLoss::MEMORY * 100, 0), 1.0);
        own.learn(&interval(OwnLoss::MEMORY, OwnLoss::MEMORY / 5), 1.0);
        assert_close(own.share, 0.1);
    }

    #[test]
    fn own_loss_is_forgotten_at_once_where_chance_does_not_explain_how_little_is_lost() {
        let after = |lost, dispersion| {
            let mut own = OwnLoss::of(0.2, 5_000);
            own.learn(&interval(200, lost), dispersion);
            own.share
        };
        assert_close(after(0, 1.0), 0.0);
        assert!(after(0, 16.0) > 0.19 && after(30, 1.0) > 0.19);
    }

    #[test]
    fn own_loss_is_a_share_that_leaves_something() {
        let mut own = OwnLoss::default();
        own.learn(&interval(100, 100), 1.0);
        assert_close(own.share, OwnLoss::MOST);
        let overtaken = Interval { arrived: 500, ..interval(100, 0) };
        assert_close(overtaken.lost(), -1.0);
        own.learn(&overtaken, 1.0);
        own.learn(&overtaken, 1.0);
        assert_close(own.share, 0.0);
    }

    #[test]
    fn own_loss_is_exceeded_by_more_than_two_per_cent_and_chance() {
        let own = OwnLoss::of(0.2, 1_000);
        let (many, few) = (1_000_000, 100);
        let beyond = |sent: u64, excess: f64| interval(sent, ((0.2 + excess) * sent as f64).round() as u64);
        assert!(!own.is_exceeded(&beyond(many, OwnLoss::LEAST * 0.9), 1.0));
        assert!(own.is_exceeded(&beyond(many, OwnLoss::LEAST * 1.1), 1.0));
        let chance = OwnLoss::DEVIATIONS * (0.2 * 0.8 / few as f64).sqrt();
        assert!(chance > OwnLoss::LEAST * 2.0);
        assert!(!own.is_exceeded(&beyond(few, chance - 0.02), 1.0));
        assert!(own.is_exceeded(&beyond(few, chance + 0.02), 1.0));
        // Losses that come in bursts vary more: four times the variance is twice the deviation.
        assert!(!own.is_exceeded(&beyond(few, chance * 2.0 - 0.02), 4.0));
        assert!(own.is_exceeded(&beyond(few, chance * 2.0 + 0.02), 4.0));
    }

    #[test]
    fn single_loss_does_not_exceed_an_own_loss_of_nothing() {
        let own = OwnLoss::default();
        assert!(!own.is_exceeded(&interval(Path::ENOUGH, 1), 1.0));
        assert!(!own.is_exceeded(&interval(Path::ENOUGH, 0), 1.0));
        assert!(own.is_exceeded(&interval(Path::ENOUGH, Path::ENOUGH / 4), 1.0));
    }

    #[test]
    fn own_loss_fades() {
        let mut own = OwnLoss::of(0.2, 1_000);
        own.fade();
        assert_close(own.share, 0.2 * OwnLoss::FADES);
        own.fade();
        assert!(own.share < 0.2 * OwnLoss::FADES);
    }

    #[test]
    fn signs_join_the_last_two_intervals() {
        let mut path = Path { own: OwnLoss::of(0.1, 1_000), ..Path::default() };
        path.add_sign(interval(1_000, 1_000));
        path.add_sign(Interval { queue: Some(false), since: Time::ZERO + MS, ..interval(100, 20) });
        path.add_sign(Interval { queue: Some(true), since: Time::ZERO + MS * 2, ..interval(300, 60) });
        let seen = path.signs.seen.unwrap();
        assert_eq!((path.signs.count, seen.sent, seen.arrived), (3, 400, 320));
        assert_eq!((seen.span, seen.since, seen.queue), (Path::INTERVAL * 2, Time::ZERO + MS, Some(false)));
        let wasted = (0.9 + 0.1 + 0.1) * Path::INTERVAL.as_secs_f64();
        assert_close(path.signs.wasted, wasted);
        path.clear_signs();
        assert!(path.signs.count == 0 && path.signs.seen.is_none() && path.signs.wasted == 0.0);
        path.add_sign(interval(100, 20));
        assert_eq!(path.signs.seen.map(|seen| seen.sent), Some(100));
    }

    fn dispersion_of(losses: [u64; 6]) -> Option<f64> {
        let mut path = Path::default();
        for lost in losses {
            path.note_unevenness(&interval(100, lost), false);
        }
        path.doubtful_dispersion()
    }

    #[test]
    fn losses_in_bursts_show_a_dispersion_and_even_losses_do_not() {
        assert!(dispersion_of([0, 20, 0, 20, 0, 20]).unwrap() > 10.0);
        assert!(dispersion_of([10, 11, 9, 10, 12, 10]).unwrap() < 1.0);
        assert!(dispersion_of([0, 99, 0, 99, 0, 99]).unwrap() <= Unevenness::MOST);
        assert_eq!(dispersion_of([0; 6]), None);
    }

    #[test]
    fn few_intervals_show_no_dispersion() {
        let mut path = Path::default();
        let mut shown = Vec::new();
        for lost in [0, 20, 0] {
            path.note_unevenness(&interval(100, lost), false);
            shown.push(path.doubtful_dispersion().is_some());
        }
        assert_eq!(shown, [false, false, true]);
        let (sum, samples) = path.take_dispersion();
        assert!(sum > 0.0 && samples == 2.0);
        assert_eq!(path.take_dispersion(), (0.0, 0.0));
    }

    #[test]
    fn interval_with_a_full_queue_says_nothing_of_the_dispersion() {
        let mut path = Path::default();
        for lost in [0, 20, 0] {
            path.note_unevenness(&interval(100, lost), false);
        }
        path.note_unevenness(&interval(100, 50), true);
        assert_eq!(path.take_dispersion(), (0.0, 0.0));
        // Nor is the next one compared with it.
        path.note_unevenness(&interval(100, 0), false);
        assert_eq!(path.take_dispersion(), (0.0, 0.0));
    }
}
