//! The phase with a known limit: the rate rises to the capacity of the slowest path and, more and more boldly, beyond it.

use std::time::Duration;

use super::Sending;
use super::open::Open;
use super::path::{Interval, Path};
use crate::session::Rate;

/// The capacity of the slowest path, and how far the rate is on its way to it and beyond it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limited {
    /// The path's place among the members.
    pub(super) slot: usize,
    /// Bits per second.
    pub(super) capacity: f64,
    /// Time until the rate is at the capacity.
    knee: Duration,
    /// Time for which the rate has been on its way.
    grown: Duration,
}

impl Limited {
    /// The rate goes on at this share of a capacity, so that queues drain and others find room.
    const LOW: f64 = 0.9;
    /// From this share on, a sign is taken for the capacity without a probe.
    const NEAR: f64 = 0.98;
    /// A rate that is used to this share has been tried.
    const USED: f64 = 0.8;
    /// Beyond this share the path is no longer what limits the session.
    const LEFT_BEHIND: f64 = 1.25;
    /// Time until the rate is at a capacity of [`Self::TYPICAL`]. Away from there it goes with the capacity to the power of
    /// two thirds: sessions that share a path then grow by almost the same number of bits, and become equal.
    const KNEE: Duration = Duration::from_millis(250);
    const TYPICAL: f64 = 100e6;
    /// One step takes the capacity down to this share at least, so that sessions which share a path stay equal.
    const STEP: f64 = 0.8;
    /// A queue that is far too long takes the capacity down to this share of the rate at least, even if a receiver lies.
    const DEEPEST: f64 = 0.1;
    /// A delay of an eighth of the round trip is a queue (RFC 9406), and these are the least and the most that count: hosts
    /// are late by some milliseconds, and queues of 64 KiB take 5 ms at 100 Mbit/s.
    const LEAST_DELAY: Duration = Duration::from_millis(8);
    const MOST_DELAY: Duration = Duration::from_millis(16);
    /// A queue that takes longer than this is far too long: the capacity is what comes through, by any step. It is half
    /// as much again as the longest delay that counts.
    const FAR_TOO_LONG: Duration = Duration::from_millis(24);

    pub(super) fn new(slot: usize, capacity: f64, base: Duration, sending: &Sending) -> Self {
        let capacity = capacity.max(Rate::MIN.bits_per_second() as f64);
        // Not faster than anybody can tell what became of it.
        let interval = Duration::from_secs_f64(Path::ENOUGH as f64 * sending.datagram / capacity);
        let knee = Self::KNEE.mul_f64((capacity / Self::TYPICAL).powf(2.0 / 3.0));
        Self { slot, capacity, knee: knee.max(base * 4).max(interval * 4), grown: Duration::ZERO }
    }

    /// Bits per second.
    pub(super) fn rate(&self) -> f64 {
        let way = self.grown.as_secs_f64() / self.knee.as_secs_f64() - 1.0;
        let way = if way > 0.0 { way.powi(3) } else { way };
        (self.capacity * (1.0 + (1.0 - Self::LOW) * way)).min(Open::MOST)
    }

    /// Whether losses and delays are what this capacity explains.
    pub(super) fn is_near(&self) -> bool {
        self.rate() >= self.capacity * Self::NEAR
    }

    /// The path limits the session no more.
    pub(super) fn is_left_behind(&self) -> bool {
        self.rate() > self.capacity * Self::LEFT_BEHIND
    }

    /// The slowest path has carried this without more loss than usual.
    pub(super) fn grow(&mut self, interval: &Interval, sending: &Sending) {
        if interval.rate(sending) >= self.rate() * Self::USED {
            self.grown = self.grown.saturating_add(interval.span.min(self.knee / 2));
        }
    }

    /// The limit that follows from what a path has shown, if that is a sign of a full queue at this rate.
    pub(super) fn meets(
        &self,
        slot: usize,
        path: &Path,
        interval: &Interval,
        sending: &Sending,
    ) -> Option<Self> {
        let too_long = (path.base() / 8).clamp(Self::LEAST_DELAY, Self::MOST_DELAY);
        let queues = interval.delay > too_long
            && (self.is_near() || interval.is_rising)
            && !sending.held_back.covers(interval.since);
        let climbs = self.is_near() || self.grown > self.knee / 4;
        let enough = if interval.queue == Some(true) { 1 } else { 2 };
        let overflows = path.signs.count >= enough && interval.queue != Some(false) && climbs;
        if !queues && !overflows {
            return None;
        }
        let left = (1.0 - interval.lost()) / (1.0 - path.own.share);
        let capacity = if interval.delay > Self::FAR_TOO_LONG {
            (interval.came(sending) / (1.0 - path.own.share)).max(self.rate() * Self::DEEPEST)
        } else if !overflows && !interval.is_rising {
            // The queue stands at a rate that the path delivers.
            self.capacity
        } else {
            self.rate() * (left / Self::LOW).clamp(Self::STEP, 1.0)
        };
        Some(Self::new(slot, capacity.min(self.rate().max(self.capacity)), path.base(), sending))
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::OwnLoss;
    use super::super::tests::{DATAGRAM, at, sample, sending};
    use super::*;
    use crate::time::Time;

    const CAPACITY: f64 = Limited::TYPICAL;
    const BASE: Duration = Duration::from_millis(1);
    const MS: Duration = Duration::from_millis(1);

    fn limited(knees: f64) -> Limited {
        let limited = Limited::new(0, CAPACITY, BASE, &sending(Time::ZERO, 0, 1));
        Limited { grown: limited.knee.mul_f64(knees), ..limited }
    }

    /// A path whose shortest round trip is known, and which has shown so many signs.
    fn path(base: Duration, signs: u32) -> Path {
        let mut path = Path::default();
        path.note(sample(0, 0, Duration::ZERO, base));
        path.signs.count = signs;
        path
    }

    fn lossy_path(signs: u32, own: f64) -> Path {
        let mut path = path(BASE, signs);
        path.own = OwnLoss::of(own, 1_000);
        path
    }

    /// One that is sent at a rate and loses a share, without a delay.
    fn interval(rate: f64, lost: f64) -> Interval {
        let sent = (rate * Path::INTERVAL.as_secs_f64() / DATAGRAM).round();
        Interval {
            sent: sent as u64,
            arrived: (sent * (1.0 - lost)).round() as u64,
            span: Path::INTERVAL,
            since: at(MS),
            delay: Duration::ZERO,
            is_rising: false,
            queue: None,
        }
    }

    fn meets(limited: &Limited, path: &Path, interval: &Interval) -> Option<f64> {
        let found = limited.meets(7, path, interval, &sending(Time::ZERO, 0, 1));
        found.map(|lower| {
            assert_eq!((lower.slot, lower.grown), (7, Duration::ZERO));
            lower.capacity / limited.capacity
        })
    }

    fn assert_near(value: Option<f64>, expected: f64) {
        let value = value.expect("no sign of a full queue");
        assert!((value - expected).abs() < 0.01, "{value} is not {expected}");
    }

    #[test]
    fn rate_rises_straight_to_the_capacity_and_beyond_it_with_a_cube() {
        let low = 1.0 - Limited::LOW;
        let ways =
            [(0.0, -1.0), (0.25, -0.75), (0.5, -0.5), (1.0, 0.0), (1.5, 0.125), (2.0, 1.0), (3.0, 8.0)];
        for (knees, way) in ways {
            let rate = limited(knees).rate() / CAPACITY;
            assert!((rate - (1.0 + low * way)).abs() < 1e-6, "{rate} after {knees} knees");
        }
    }

    #[test]
    fn knee_goes_with_the_capacity_to_the_power_of_two_thirds() {
        let knee = |capacity| Limited::new(0, capacity, BASE, &sending(Time::ZERO, 0, 1)).knee.as_secs_f64();
        let typical = Limited::KNEE.as_secs_f64();
        assert!((knee(Limited::TYPICAL) / typical - 1.0).abs() < 1e-6);
        assert!((knee(Limited::TYPICAL * 8.0) / typical - 4.0).abs() < 1e-6);
    }

    #[test]
    fn knee_is_long_enough_to_hear_of_a_rate() {
        let now = sending(Time::ZERO, 0, 1);
        let far = Limited::new(0, CAPACITY, Duration::from_secs(1), &now);
        assert_eq!(far.knee, Duration::from_secs(4));
        let slow = Limited::new(0, 1.0, BASE, &now);
        let slowest = Rate::MIN.bits_per_second() as f64;
        assert!((slow.capacity - slowest).abs() < 1.0);
        let interval = Path::ENOUGH as f64 * DATAGRAM / slowest;
        assert!((slow.knee.as_secs_f64() - interval * 4.0).abs() < 1e-3);
    }

    #[test]
    fn rate_near_or_far_beyond_the_capacity_is_told() {
        assert!(!limited(0.0).is_near() && !limited(0.5).is_near());
        assert!(limited(1.0).is_near() && limited(1.5).is_near());
        assert!(!limited(1.0).is_left_behind() && !limited(2.0).is_left_behind());
        assert!(limited(3.0).is_left_behind());
    }

    #[test]
    fn rate_grows_only_if_it_is_used() {
        let now = sending(Time::ZERO, 0, 1);
        let mut limited = limited(0.5);
        let grown = limited.grown;
        limited.grow(&interval(limited.rate() * (Limited::USED - 0.05), 0.0), &now);
        assert_eq!(limited.grown, grown);
        limited.grow(&interval(limited.rate() * (Limited::USED + 0.05), 0.0), &now);
        assert_eq!(limited.grown, grown + Path::INTERVAL);
    }

    #[test]
    fn seldom_report_raises_the_rate_by_half_a_knee_at_most() {
        let mut limited = limited(0.0);
        let long = Interval { span: limited.knee * 5, ..interval(limited.rate(), 0.0) };
        let long = Interval { sent: long.sent * 1_000, ..long };
        limited.grow(&long, &sending(Time::ZERO, 0, 1));
        assert_eq!(limited.grown, limited.knee / 2);
    }

    #[test]
    fn interval_without_delay_and_signs_is_no_full_queue() {
        for knees in [0.0, 1.0, 2.0] {
            let limited = limited(knees);
            assert_eq!(meets(&limited, &path(BASE, 0), &interval(limited.rate(), 0.0)), None);
        }
    }

    #[test]
    fn queue_near_the_capacity_that_is_delivered_leaves_the_capacity() {
        let near = limited(1.0);
        let queued = Interval { delay: Limited::LEAST_DELAY + MS, ..interval(near.rate(), 0.0) };
        assert_near(meets(&near, &path(BASE, 0), &queued), 1.0);
        let short = Interval { delay: Limited::LEAST_DELAY, ..queued };
        assert_eq!(meets(&near, &path(BASE, 0), &short), None);
        let beyond = limited(2.0);
        assert_near(meets(&beyond, &path(BASE, 0), &queued), 1.0);
    }

    #[test]
    fn queue_below_the_capacity_is_a_sign_only_if_it_rises() {
        let below = limited(0.0);
        let queued = Interval { delay: Limited::LEAST_DELAY + MS, ..interval(below.rate(), 0.0) };
        assert_eq!(meets(&below, &path(BASE, 0), &queued), None);
        let rising = Interval { is_rising: true, ..queued };
        assert_near(meets(&below, &path(BASE, 0), &rising), Limited::LOW);
    }

    #[test]
    fn delay_while_the_sender_was_held_back_is_no_queue() {
        let near = limited(1.0);
        let queued =
            Interval { delay: Limited::LEAST_DELAY + MS, is_rising: true, ..interval(near.rate(), 0.0) };
        let mut now = sending(Time::ZERO, 0, 1);
        now.held_back.note(queued.since);
        assert!(near.meets(0, &path(BASE, 0), &queued, &now).is_none());
        let later = Interval { since: queued.since + Duration::from_secs(1), ..queued };
        assert!(near.meets(0, &path(BASE, 0), &later, &now).is_some());
    }

    #[test]
    fn delay_that_counts_is_an_eighth_of_the_round_trip_within_bounds() {
        let near = limited(1.0);
        let between = (Limited::LEAST_DELAY + Limited::MOST_DELAY) / 2;
        let queued = |delay| Interval { delay, ..interval(near.rate(), 0.0) };
        for (base, counts) in [
            (BASE, Limited::LEAST_DELAY),
            (between * 8, between),
            (Limited::MOST_DELAY * 80, Limited::MOST_DELAY),
        ] {
            assert_eq!(meets(&near, &path(base, 0), &queued(counts - MS / 2)), None, "{base:?}");
            assert!(meets(&near, &path(base, 0), &queued(counts + MS / 2)).is_some(), "{base:?}");
        }
    }

    #[test]
    fn one_lossy_interval_counts_with_a_queue_and_two_without() {
        let near = limited(1.0);
        let lossy = |queue| Interval { queue, ..interval(near.rate(), 0.05) };
        assert!(meets(&near, &path(BASE, 1), &lossy(Some(true))).is_some());
        assert_eq!(meets(&near, &path(BASE, 1), &lossy(None)), None);
        assert!(meets(&near, &path(BASE, 2), &lossy(None)).is_some());
        // It was seen that no queue stood, so none was full.
        assert_eq!(meets(&near, &path(BASE, 9), &lossy(Some(false))), None);
    }

    #[test]
    fn losses_right_after_a_limit_was_found_are_not_taken_for_a_new_one() {
        let lossy = Interval { queue: Some(true), ..interval(CAPACITY, 0.05) };
        assert_eq!(meets(&limited(0.0), &path(BASE, 2), &lossy), None);
        assert_eq!(meets(&limited(0.2), &path(BASE, 2), &lossy), None);
        assert!(meets(&limited(0.3), &path(BASE, 2), &lossy).is_some());
    }

    #[test]
    fn capacity_after_losses_is_what_came_through_but_no_small_step() {
        let near = limited(1.0);
        let after = |lost, own| {
            let path = lossy_path(1, own);
            let lossy = Interval { queue: Some(true), ..interval(near.rate(), lost) };
            meets(&near, &path, &lossy)
        };
        // The rate begins at LOW of it, so a little loss does not make it lower.
        assert_near(after(1.0 - Limited::LOW, 0.0), 1.0);
        assert_near(after(0.15, 0.0), 0.85 / Limited::LOW);
        assert_near(after(0.5, 0.0), Limited::STEP);
        // Losses that are the path's own do not count.
        assert_near(after(0.5, 0.5), 1.0);
        assert_near(after(0.575, 0.5), 0.85 / Limited::LOW);
    }

    #[test]
    fn capacity_behind_a_queue_far_too_long_is_what_came_through() {
        let near = limited(1.0);
        let after = |rate: f64, lost, own| {
            let path = lossy_path(0, own);
            let queued = Interval { delay: Limited::FAR_TOO_LONG + MS, ..interval(rate, lost) };
            meets(&near, &path, &queued)
        };
        assert_near(after(CAPACITY * 0.3, 0.0, 0.0), 0.3);
        assert_near(after(CAPACITY * 0.6, 0.5, 0.0), 0.3);
        assert_near(after(CAPACITY * 0.6, 0.5, 0.5), 0.6);
        // No burst of reports makes it more than the rate.
        assert_near(after(CAPACITY * 5.0, 0.0, 0.0), 1.0);
    }

    #[test]
    fn capacity_that_was_exceeded_for_a_while_is_the_rate_that_was_reached() {
        let beyond = limited(2.0);
        let rising =
            Interval { delay: Limited::LEAST_DELAY + MS, is_rising: true, ..interval(beyond.rate(), 0.0) };
        assert_near(meets(&beyond, &path(BASE, 0), &rising), 2.0 - Limited::LOW);
    }
}
