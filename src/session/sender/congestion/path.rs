//! The path to one receiver, as its reports show it: intervals, delay, and losses that are more than usual.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::own_loss::OwnLoss;
use super::{Sample, Sending};
use crate::time::Time;
use crate::wire::DatagramNumber;

/// The path to one receiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// The last report.
    pub(super) last: Option<Sample>,
    /// Whether that was the first one: there is no other round trip to compare it with.
    pub(super) is_new: bool,
    /// The report before the present round of the search, and which round that is ([`super::open`]).
    pub(super) before: Option<Sample>,
    pub(super) round: u64,
    /// Whether it keeps up in that round; `None` until it has said so.
    pub(super) vote: Option<bool>,
    base: Base,
    /// The report with which the interval under way began, and the shortest round trip since.
    start: Option<Sample>,
    least: Duration,
    /// The delay in the interval before.
    delay: Duration,
    /// The loss that does not depend on the rate.
    pub(super) own: OwnLoss,
    /// The intervals in a row that lost more than that.
    pub(super) signs: Signs,
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
}

/// Intervals in a row that lost more than the path's own loss explains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    /// How many.
    pub(super) count: u32,
    /// All of them, joined.
    pub(super) seen: Option<Interval>,
    /// Seconds of the path's time that were lost with datagrams.
    pub(super) wasted: f64,
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

impl Path {
    /// An interval lasts at least so long, so that a late process is not taken for a full queue …
    pub(super) const INTERVAL: Duration = Duration::from_millis(20);
    /// … and has at least so many datagrams, so that one that is lost is a few per cent.
    pub(super) const ENOUGH: u64 = 32;
    /// A shortest round trip that is longer than usual by more than this shows a queue that stands: ten full frames take
    /// less at 200 Mbit/s.
    pub(super) const QUEUE: Duration = Duration::from_micros(500);

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
            (self.before, self.start) = (None, None);
        } else {
            self.base.note(sample.seen_at, sample.round_trip());
        }
        self.is_new = self.last.is_none();
        self.last = Some(sample);
        !contradicts
    }

    /// By how much the round trip of a report is longer than the base.
    pub(super) fn delay(&self, sample: &Sample) -> Duration {
        sample.round_trip().saturating_sub(self.base())
    }

    /// The base: the shortest round trip of the last ten to twenty seconds.
    pub(super) fn base(&self) -> Duration {
        self.base.present.min(self.base.before)
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
        let sent = sample.highest.0 - start.highest.0;
        let span = sample.span_since(&start);
        if span < Self::INTERVAL || sent < Self::ENOUGH {
            return None;
        }
        let delay = self.least.saturating_sub(self.base());
        let interval = Interval {
            sent,
            // Datagrams that overtake others can make it more than was sent. A receiver that claims more than twice as
            // much is not believed.
            arrived: (sample.arrived - start.arrived).min(sent * 2),
            span,
            since: start.sent_at,
            delay,
            is_rising: delay > self.delay,
        };
        self.delay = delay;
        self.begin(Some(sample));
        Some(interval)
    }

    fn begin(&mut self, start: Option<Sample>) {
        (self.start, self.least) = (start, Duration::MAX);
    }

    /// Adds an interval that lost more than usual to the signs, with what it lost beyond the path's own loss.
    pub(super) fn add_sign(&mut self, interval: &Interval) {
        let signs = &mut self.signs;
        signs.count += 1;
        signs.seen = Some(signs.seen.map_or(*interval, |seen| interval.joined(&seen)));
        signs.wasted += (interval.lost() - self.own.share) * interval.span.as_secs_f64();
    }

    /// The signs have come to an end, or the rate has become another.
    pub(super) fn clear_signs(&mut self) {
        self.signs = Signs::default();
    }
}

impl Interval {
    /// The share that was lost. It is negative if some datagrams have overtaken others.
    pub(super) fn lost(&self) -> f64 {
        1.0 - self.arrived as f64 / self.sent.max(1) as f64
    }

    /// Bits per second that were sent.
    pub(super) fn rate(&self, sending: &Sending) -> f64 {
        self.sent as f64 * sending.datagram / self.span.as_secs_f64().max(1e-6)
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
        }
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
}
