//! Finds a rate that the slowest path carries.
//!
//! The local queue's back-pressure and the receivers' credit limit the sender without any loss; this is for what those do
//! not see: a slower port somewhere behind the sender's. The rate begins at one that a slow port survives and is doubled
//! as long as every path keeps up; after that it is what the slowest path is known to carry (`path.rs`).

use std::time::Duration;

use super::pacer::Rate;
use super::path::{Echo, Path, Sending};
use crate::time::Time;
use crate::wire::DatagramNumber;

/// The rate of the session.
#[derive(Debug)]
pub(super) struct RateController {
    ceiling: Option<Rate>,
    /// What has been found to be carried, doubled: bits per second.
    reach: f64,
    round: Round,
    shortest_round: Duration,
    /// The longest round trip of late.
    round_trip: Duration,
    /// When the rate was raised last.
    raised: Time,
    /// How much more unevenly paths lose than by chance ([`Path::clumped`]), in the mean of the last reports.
    clumps: f64,
    /// Since when paths are being checked, and until when they rest after that.
    checking: Option<Time>,
    resting: Time,
}

/// A time at one rate, at whose end every path has said whether it keeps up.
#[derive(Clone, Copy, Debug)]
struct Round {
    id: u64,
    /// The first datagram of it, and when it could go.
    first: DatagramNumber,
    since: Time,
    in_favour: usize,
    against: usize,
}

impl RateController {
    /// Where the rate begins: twice what a port of 100 Mbit/s carries, which fills 64 KiB before it in 5 ms, and on a LAN
    /// a report is back sooner.
    const FIRST: f64 = 200e6;
    /// Less time at a rate says nothing about it.
    const SHORTEST_ROUND: Duration = Duration::from_millis(1);
    /// The same once a path has shown a limit: before the rate is doubled again, every path can show one.
    const CAREFUL_ROUND: Duration = Duration::from_millis(100);
    /// Longer than this, and two round trips, the round does not wait for a crowd.
    const LONGEST_ROUND: Duration = Duration::from_millis(4);
    /// A round in which less was sent than the rate allowed begins anew after this time.
    const UNUSED: Duration = Duration::from_millis(20);
    /// The share of the rate that has to be sent for the rate to be tried.
    const USED: f64 = 0.6;
    /// A queue that grows by this share of the time spent, or a loss of this share: the path does not keep up.
    const BEHIND: f64 = 0.3;
    /// So long after it was doubled, the rate is still being looked for.
    const STARTING: Duration = Duration::from_millis(100);
    /// Checks are followed by so many times as long without doubts.
    const RESTING: u32 = 10;
    /// So long after one path's check has begun, others may join: a crowd's reports come as far apart.
    const JOINING: Duration = Duration::from_millis(150);
    /// One path's say in the mean: bursts of 32. Beyond, it speaks for itself only.
    const MOST_CLUMPS: f64 = 64.0;
    /// Reports that a mean goes back to.
    const REPORTS: f64 = 64.0;
    /// No host sends faster.
    const MOST: f64 = 1e12;

    pub(super) fn new(ceiling: Option<Rate>) -> Self {
        // The operator knows the network.
        let reach = ceiling.map_or(Self::FIRST, |rate| rate.bits_per_second() as f64);
        let round = Round::new(0, DatagramNumber(0), Time::ZERO);
        Self {
            ceiling,
            reach,
            round,
            shortest_round: Self::SHORTEST_ROUND,
            round_trip: Duration::ZERO,
            raised: Time::ZERO,
            clumps: 1.0,
            checking: None,
            resting: Time::ZERO,
        }
    }

    /// Data flows from here on.
    pub(super) fn handle_start(&mut self, now: Time, next: DatagramNumber) {
        self.round = Round::new(1, next, now);
        self.raised = now;
    }

    /// A receiver has gone, and with it its say.
    pub(super) fn handle_gone(&mut self, now: Time, next: DatagramNumber) {
        self.round = self.round.next(now, next);
    }

    /// What the pacer is to keep, if the slowest path has this limit.
    pub(super) fn rate(&self, limit: Option<Rate>) -> Rate {
        let reach = Rate::from_bits_per_second(self.reach as u64);
        [limit, self.ceiling].into_iter().flatten().fold(reach, Rate::min)
    }

    /// Notes whether any path is being checked. Returns whether another may have a doubt, and whether it may join for
    /// nothing.
    pub(super) fn note_checking(&mut self, now: Time, checking: bool) -> (bool, bool) {
        match (self.checking, checking) {
            (None, true) => self.checking = Some(now),
            (Some(since), false) => {
                self.checking = None;
                self.resting = now + now.since(since) * Self::RESTING;
            }
            _ => {}
        }
        let may_join = self.checking.is_some_and(|since| now.since(since) < Self::JOINING);
        (may_join || (self.checking.is_none() && now >= self.resting), may_join)
    }

    /// How much more unevenly paths lose than by chance, in the mean of the last reports.
    pub(super) const fn clumps(&self) -> f64 {
        self.clumps
    }

    /// Whether the rate is still being looked for.
    pub(super) fn is_starting(&self, now: Time) -> bool {
        now.since(self.raised) < Self::STARTING
    }

    /// Takes a report of one of `receivers` into account.
    pub(super) fn handle_echo(&mut self, path: &mut Path, echo: Echo, sending: &Sending, receivers: usize) {
        if let Some(left_behind) = path.handle_echo(echo, sending) {
            self.reach = left_behind;
            self.shortest_round = Self::CAREFUL_ROUND;
            self.round = self.round.next(sending.now, sending.next);
        }
        self.clumps += (path.clumped().min(Self::MOST_CLUMPS) - self.clumps) / Self::REPORTS;
        if sending.limited {
            return;
        }
        self.vote(path, echo, sending);
        let Round { in_favour, against, since, .. } = self.round;
        self.round_trip = self.round_trip.max(echo.round_trip());
        // After a known limit, the path that is too slow answers last: its queue is in the way.
        let long = (Self::LONGEST_ROUND + self.round_trip * 2).max(self.shortest_round * 2);
        let heard = in_favour >= receivers || sending.now.since(since) >= long;
        if in_favour > 0 && against == 0 && heard {
            self.reach = (self.reach * 2.0).min(Self::MOST);
            tracing::debug!(at = %sending.now, reach = self.reach, "doubled");
            self.raised = sending.now;
            self.round_trip /= 2;
            self.round = self.round.next(sending.now, sending.next);
        }
    }

    fn vote(&mut self, path: &mut Path, echo: Echo, sending: &Sending) {
        let Some(sent) = echo.highest.0.checked_sub(self.round.first.0) else { return };
        let span = echo.sent_at.since(self.round.since);
        if span < self.shortest_round {
            return;
        }
        if (sent as f64 * sending.datagram) < self.reach * Self::USED * span.as_secs_f64() {
            if span > self.shortest_round + Self::UNUSED {
                self.round = self.round.next(sending.now, sending.next);
            }
            return;
        }
        let keeps_up = path.delay() <= span.mul_f64(Self::BEHIND) && path.loss() <= Self::BEHIND;
        let before = if path.vote.0 == self.round.id { path.vote.1 } else { None };
        match before {
            Some(true) => self.round.in_favour -= 1,
            Some(false) => self.round.against -= 1,
            None => {}
        }
        if keeps_up {
            self.round.in_favour += 1;
        } else {
            self.round.against += 1;
        }
        path.vote = (self.round.id, Some(keeps_up));
    }
}

impl Round {
    const fn new(id: u64, first: DatagramNumber, since: Time) -> Self {
        Self { id, first, since, in_favour: 0, against: 0 }
    }

    const fn next(self, now: Time, first: DatagramNumber) -> Self {
        Self::new(self.id + 1, first, now)
    }
}
