//! Finds a rate that the slowest path carries, from what each receiver got of what was sent.
//!
//! The local queue's back-pressure and the receivers' credit limit the sender without any loss; this controller is for
//! what those do not see: a slower port somewhere behind the sender's. Loss alone does not prove congestion: a lossy
//! path loses the same share at any rate. So loss makes the controller try the rate that got through, and what is
//! still lost then is that path's own noise, which is expected from there on.

use std::time::Duration;

use super::pacer::Rate;
use crate::time::Time;
use crate::wire::{DatagramNumber, ReceiverId};

/// What one receiver's path has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathLoss {
    /// Start of the current interval, once there has been a report: time, datagrams sent and arrived by then.
    since: Option<(Time, u64, u64)>,
    /// Share lost whatever the rate.
    noise: f64,
    /// The next interval shows the noise: the rate has just been cut.
    measuring_noise: bool,
    /// Nothing sent before this number tells about the present rate.
    not_before: DatagramNumber,
}

/// An interval's verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Clean,
    /// More was lost than the path's noise; this many datagrams per second came through.
    Congested {
        arrived_per_second: f64,
    },
}

/// The rate of the session.
#[derive(Debug)]
pub(super) struct RateController {
    ceiling: Option<Rate>,
    cap: Option<Rate>,
    /// Whose path the cap is for.
    capped_by: Option<ReceiverId>,
    /// Factor by which the next clean interval raises the cap.
    growth: f64,
    grow_at: Time,
}

impl PathLoss {
    /// Loss beyond the noise that counts as congestion.
    const EXCESS: f64 = 0.05;
    /// Datagrams that an interval must cover to say anything: at 5 % noise, chance adds [`Self::EXCESS`] in one
    /// interval of several thousand.
    const ENOUGH: u64 = 300;

    pub(super) const fn new() -> Self {
        Self { since: None, noise: 0.0, measuring_noise: false, not_before: DatagramNumber(0) }
    }

    fn restart(&mut self, now: Time, sent: u64, arrived: u64) {
        self.since = Some((now, sent, arrived));
    }

    /// A report says that of everything up to `highest`, `arrived` datagrams came through.
    fn handle_report(
        &mut self,
        now: Time,
        interval: Duration,
        highest: DatagramNumber,
        arrived: u64,
    ) -> Option<Verdict> {
        let sent = highest.0.saturating_add(1);
        let known = self.since.filter(|(_, _, before)| highest >= self.not_before && arrived >= *before);
        let Some((since, sent_before, arrived_before)) = known else {
            self.restart(now, sent, arrived);
            return None;
        };
        let (span, sent_now, arrived_now) =
            (now.since(since), sent.saturating_sub(sent_before), arrived - arrived_before);
        if span < interval || sent_now < Self::ENOUGH {
            if span > interval * 20 {
                // Too slow to tell: neither a full line nor a full queue.
                self.restart(now, sent, arrived);
            }
            return None;
        }
        let loss = (1.0 - arrived_now as f64 / sent_now as f64).clamp(0.0, 1.0);
        self.restart(now, sent, arrived);
        if std::mem::take(&mut self.measuring_noise) {
            self.noise = loss.min(0.9);
            return Some(Verdict::Clean);
        }
        if loss > self.noise + Self::EXCESS {
            return Some(Verdict::Congested { arrived_per_second: arrived_now as f64 / span.as_secs_f64() });
        }
        self.noise = self.noise.min(loss * 0.25 + self.noise * 0.75);
        Some(Verdict::Clean)
    }
}

impl RateController {
    const FIRST_GROWTH: f64 = 1.02;
    const DRAIN: f64 = 0.95;
    const MOST_GROWTH: f64 = 1.5;
    /// Datagrams that pass after a cut before the path is looked at again: what was queued before is not news.
    const DRAINING: u64 = 100;
    /// One cut takes at most this share away, so that a burst of loss does not stop the session.
    const DEEPEST_CUT: f64 = 0.4;

    pub(super) const fn new(ceiling: Option<Rate>) -> Self {
        Self { ceiling, cap: None, capped_by: None, growth: Self::FIRST_GROWTH, grow_at: Time::ZERO }
    }

    /// What the pacer is to keep; `None`: only back-pressure limits.
    pub(super) fn rate(&self) -> Option<Rate> {
        match (self.cap, self.ceiling) {
            (Some(cap), Some(ceiling)) => Some(cap.min(ceiling)),
            (cap, ceiling) => cap.or(ceiling),
        }
    }

    /// This receiver takes part no more; what only its path could not carry, the others' may.
    pub(super) fn handle_gone(&mut self, receiver: ReceiverId) {
        if self.capped_by == Some(receiver) {
            (self.cap, self.capped_by) = (None, None);
        }
    }

    /// Takes a receiver's report into account. `sent` is the number of the next datagram, `size` the bytes of a full
    /// one, `sending` the rate of late.
    #[expect(clippy::too_many_arguments, reason = "one call site; each is a plain number")]
    pub(super) fn handle_report(
        &mut self,
        now: Time,
        grtt: Duration,
        receiver: ReceiverId,
        path: &mut PathLoss,
        highest: DatagramNumber,
        arrived: u64,
        next: DatagramNumber,
        size: u64,
        sending: Option<Rate>,
    ) {
        let interval = (grtt * 4).clamp(Duration::from_millis(20), Duration::from_secs(2));
        match path.handle_report(now, interval, highest, arrived) {
            None => {}
            Some(Verdict::Congested { arrived_per_second }) => {
                // A little less than what got through, so that the queue that overflowed drains.
                let got_through = arrived_per_second * size as f64 * 8.0 * Self::DRAIN;
                let before = self.cap.or(sending).map_or(0.0, |rate| rate.bits_per_second() as f64);
                let cap = got_through.max(before * Self::DEEPEST_CUT);
                let cap = self.cap.map_or(cap, |before| cap.min(before.bits_per_second() as f64));
                self.cap = Some(Rate::from_bits_per_second(cap as u64));
                self.capped_by = Some(receiver);
                self.growth = Self::FIRST_GROWTH;
                self.grow_at = now + interval * 4;
                path.not_before = next.plus(Self::DRAINING);
                path.measuring_noise = true;
            }
            Some(Verdict::Clean) => {
                let Some(cap) = self.cap else { return };
                if now < self.grow_at {
                    return;
                }
                // A cap far above what is sent limits nothing any more.
                if sending.is_some_and(|sending| cap.bits_per_second() / 4 > sending.bits_per_second()) {
                    self.cap = None;
                    return;
                }
                self.cap =
                    Some(Rate::from_bits_per_second((cap.bits_per_second() as f64 * self.growth) as u64));
                self.growth = (1.0 + (self.growth - 1.0) * 1.5).min(Self::MOST_GROWTH);
                self.grow_at = now + interval;
            }
        }
    }
}
