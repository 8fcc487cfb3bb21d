//! The phase without a known limit: the rate is doubled, round by round, as long as every path keeps up with it.
//!
//! It is the delivered rate that tells whether one does, as in BBR's startup: before a deep queue nothing is lost for a
//! long time, but what is delivered stays behind what is sent.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::path::Path;
use super::{Congestion, Sample, Sending};
use crate::session::Rate;
use crate::time::Time;
use crate::wire::DatagramNumber;

/// The search for a rate that is too fast for some path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Bits per second, and what the operator allows at most.
    pub(super) rate: f64,
    ceiling: f64,
    round: Round,
}

/// A time at one rate, at whose end every path has said whether it keeps up.
#[derive(Clone, Copy, Debug)]
struct Round {
    id: u64,
    /// The first datagram of it, and when it could go.
    first: DatagramNumber,
    since: Time,
    /// The longest round trip in it.
    round_trip: Duration,
    /// Paths that keep up, and those that do not.
    in_favour: usize,
    against: usize,
}

/// The result of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    /// Every path has kept up: the rate is twice what it was.
    Doubled,
    /// This path delivers no more than so many bits per second.
    Knee(f64),
}

impl Open {
    /// The first rate, bits per second. It is twice the rate of a port of 100 Mbit/s and fills a queue of 64 KiB before such
    /// a port in 5 ms. On a LAN the first report is back sooner.
    pub(super) const FIRST: f64 = 200e6;
    /// Less time at a rate says nothing about it.
    const SHORTEST_ROUND: Duration = Duration::from_millis(1);
    /// Longer than this, and two round trips, a round does not wait for a crowd.
    const LONGEST_ROUND: Duration = Duration::from_millis(4);
    /// The share of the rate that has to be sent for the rate to be tried.
    const USED: f64 = 0.6;
    /// A path keeps up if it delivers this share of what is sent: half is what a rate does that is twice as fast as the
    /// path. If the path loses a tenth at any rate, it has to deliver nine tenths of this.
    const KEEPS_UP: f64 = 0.7;
    /// A path that does not is behind once this time and these datagrams have shown it: a late host is for a moment, and of
    /// fewer datagrams three tenths are lost by chance if a path loses two tenths.
    const BEHIND_FOR: Duration = Duration::from_millis(10);
    const BEHIND_OF: u64 = 200;
    /// The sender's own queue holds up all paths alike, by so much at most until the sender is held back.
    pub(super) const OWN_QUEUE: Duration = Duration::from_millis(20);

    pub(super) fn new(rate: f64, ceiling: Option<Rate>) -> Self {
        let ceiling = ceiling.map_or(f64::INFINITY, |rate| rate.bits_per_second() as f64);
        Self { rate: rate.min(ceiling), ceiling, round: Round::FIRST }
    }

    /// A round begins at this rate.
    pub(super) const fn begin_round(&mut self, now: Time, next: DatagramNumber) {
        self.round = Round { id: self.round.id + 1, first: next, since: now, ..Round::FIRST };
    }

    /// Takes a report of the path at `slot` into account, before which `last` was its last one.
    pub(super) fn handle_sample(
        &mut self,
        paths: &mut [Path],
        slot: usize,
        last: Option<Sample>,
        sample: Sample,
        sending: &Sending,
    ) -> Step {
        let Some(path) = paths.get_mut(slot) else { return Step::Nothing };
        if path.round != self.round.id {
            let before = last.unwrap_or_else(|| self.before_the_first(&sample));
            (path.round, path.before, path.vote) = (self.round.id, Some(before), None);
        }
        let Some(before) = path.before else { return Step::Nothing };
        if sample.highest <= before.highest {
            return Step::Nothing;
        }
        let progress = Progress::new(&before, &sample, sending);
        let keeps_up = Self::KEEPS_UP * (1.0 - path.own.share);
        let is_held_back = sending.held_back.covers(before.sent_at);
        let most_keep_up = self.round.in_favour * 2 > sending.receivers;
        let allowance = if most_keep_up { Duration::ZERO } else { Self::OWN_QUEUE };
        // No path votes while the rate is not used, and BEHIND_OF datagrams take the sender too long. Delay tells sooner.
        let is_used = progress.rate() >= self.rate * Self::USED;
        let is_behind = (!is_held_back && progress.is_behind(allowance, keeps_up))
            || (!is_used
                && progress.seen_span >= Self::BEHIND_FOR
                && progress.is_late(self.own_queue(paths, slot, &sample, is_held_back)));
        if is_behind {
            return Step::Knee(progress.delivered(Duration::ZERO).max(self.rate * Congestion::DEEPEST));
        }
        self.round.round_trip = self.round.round_trip.max(sample.round_trip());
        if let Some(path) = paths.get_mut(slot) {
            self.vote(path, &sample, &progress, keeps_up, sending);
        }
        let Round { in_favour, against, since, round_trip, .. } = self.round;
        let heard = in_favour >= sending.receivers
            || sending.now.since(since) >= Self::LONGEST_ROUND + round_trip * 2;
        if in_favour == 0 || against > 0 || !heard {
            return Step::Nothing;
        }
        self.begin_round(sending.now, sending.next);
        if self.rate >= self.ceiling {
            return Step::Nothing;
        }
        self.rate = (self.rate * 2.0).min(self.ceiling);
        Step::Doubled
    }

    /// A path that has never reported is compared with what was sent since the round began. Its count of arrivals goes back
    /// to the beginning of the session and includes the few announces before.
    fn before_the_first(&self, sample: &Sample) -> Sample {
        let highest = DatagramNumber(self.round.first.0.saturating_sub(1));
        let seen_at = self.round.since + sample.round_trip();
        Sample { highest, arrived: 0, sent_at: self.round.since, seen_at }
    }

    /// By how much the sender's own queue may have grown in this round until `sample` was sent. It holds up all paths alike,
    /// so by no more than the round trip of any other path that tells of that time.
    fn own_queue(&self, paths: &[Path], slot: usize, sample: &Sample, is_held_back: bool) -> Duration {
        let others = paths.iter().enumerate().filter(|(other, _)| *other != slot);
        let growths = others.filter_map(|(_, path)| {
            let (before, last) = (path.before?, path.last?);
            let tells = path.round == self.round.id
                && !path.is_new
                && last.sent_at + Self::BEHIND_FOR >= sample.sent_at;
            tells.then(|| last.round_trip().saturating_sub(before.round_trip()))
        });
        let most = if is_held_back { Duration::MAX } else { Self::OWN_QUEUE };
        growths.min().unwrap_or(most).min(most)
    }

    fn vote(
        &mut self,
        path: &mut Path,
        sample: &Sample,
        progress: &Progress,
        keeps_up: f64,
        sending: &Sending,
    ) {
        let Some(sent) = sample.highest.0.checked_sub(self.round.first.0) else { return };
        let span = sample.sent_at.since(self.round.since);
        if span < Self::SHORTEST_ROUND {
            return;
        }
        if (sent as f64 * sending.datagram) < self.rate * Self::USED * span.as_secs_f64() {
            if span > Path::INTERVAL {
                self.begin_round(sending.now, sending.next);
            }
            return;
        }
        let keeps_up = progress.delivered(Duration::ZERO) >= progress.rate() * keeps_up;
        match path.vote.replace(keeps_up) {
            Some(true) => self.round.in_favour = self.round.in_favour.saturating_sub(1),
            Some(false) => self.round.against = self.round.against.saturating_sub(1),
            None => {}
        }
        if keeps_up {
            self.round.in_favour += 1;
        } else {
            self.round.against += 1;
        }
    }
}

impl Round {
    /// The first round has number 1, so that no path has said anything of it.
    const FIRST: Self = Self {
        id: 1,
        first: DatagramNumber(0),
        since: Time::ZERO,
        round_trip: Duration::ZERO,
        in_favour: 0,
        against: 0,
    };
}

/// The datagrams that were sent between two reports of a path, and those of them that have arrived.
struct Progress {
    /// Datagrams, and those of them that have arrived.
    sent: u64,
    arrived: f64,
    sent_span: Duration,
    seen_span: Duration,
    /// Bits of a datagram.
    datagram: f64,
}

impl Progress {
    fn new(before: &Sample, sample: &Sample, sending: &Sending) -> Self {
        let sent = sample.highest.0 - before.highest.0;
        Self {
            sent,
            // A path cannot deliver more than was sent, whatever a receiver claims.
            arrived: (sample.arrived.saturating_sub(before.arrived) as f64).min(sent as f64),
            sent_span: sample.sent_at.since(before.sent_at),
            seen_span: sample.seen_at.since(before.seen_at),
            datagram: sending.datagram,
        }
    }

    /// Bits per second that were sent.
    fn rate(&self) -> f64 {
        self.sent as f64 * self.datagram / self.sent_span.as_secs_f64().max(1e-6)
    }

    /// Bits per second that have arrived, if `allowance` of the time was not the path's.
    fn delivered(&self, allowance: Duration) -> f64 {
        let span = self.sent_span.max(self.seen_span.saturating_sub(allowance));
        self.arrived * self.datagram / span.as_secs_f64().max(1e-6)
    }

    /// Whether the path has taken too long for these datagrams, without the growth of the sender's own queue.
    fn is_late(&self, own_queue: Duration) -> bool {
        let seen_span = self.seen_span.saturating_sub(own_queue);
        seen_span >= Open::BEHIND_FOR
            && self.sent >= Path::ENOUGH
            && self.sent_span < seen_span.mul_f64(Open::KEEPS_UP)
    }

    /// Whether the path, which has to deliver the share `keeps_up`, has delivered too little for long enough.
    fn is_behind(&self, allowance: Duration, keeps_up: f64) -> bool {
        self.sent_span >= Open::BEHIND_FOR
            && self.sent >= Open::BEHIND_OF
            && self.delivered(allowance) < self.rate() * keeps_up
    }
}
