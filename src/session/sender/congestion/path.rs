//! The path to one receiver, as its reports show it: loss, delay, and the share that it loses at any rate.

#[cfg(test)]
mod tests;

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

    /// Takes note of a report. Returns false if it is older than another one, or contradicts it.
    ///
    /// A report with a higher number and fewer arrivals than the one before shows that one of the two is forged. Neither is
    /// believed, and the path begins anew with the later one: if the forged one counted for ever, all true ones would be
    /// taken for old.
    pub(super) fn note(&mut self, sample: Sample) -> bool {
        if self.last.is_some_and(|last| sample.highest <= last.highest) {
            return false;
        }
        let contradicts = self.last.is_some_and(|last| sample.arrived < last.arrived);
        if contradicts {
            (self.before, self.start, self.answer) = (None, None, None);
        } else {
            self.base.note(sample.seen_at, sample.round_trip());
        }
        self.last = Some(sample);
        !contradicts
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
    /// If the round trips of a path become longer for good, the base follows after one to two windows. BBR has a window of
    /// this length.
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
