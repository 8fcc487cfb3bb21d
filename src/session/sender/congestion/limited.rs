//! The phase with a known limit: the rate rises to the capacity of the slowest path and, more and more boldly, beyond it.

use std::time::Duration;

use super::open::Open;
use super::path::{Interval, Path};
use super::{Congestion, Sending};
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
    /// Time until the rate is at a capacity of [`Open::FIRST`]. Away from there it goes with the capacity to the power of two
    /// thirds: sessions that share a path then grow by almost the same number of bits, and become equal.
    const KNEE: Duration = Duration::from_millis(400);
    /// A delay of an eighth of the round trip is a queue (RFC 9406), and these are the least and the most that count: hosts
    /// are late by some milliseconds, and queues of 64 KiB take 5 ms at 100 Mbit/s.
    const LEAST_DELAY: Duration = Duration::from_millis(8);
    const MOST_DELAY: Duration = Duration::from_millis(16);

    pub(super) fn new(slot: usize, capacity: f64) -> Self {
        let capacity = capacity.max(Rate::MIN.bits_per_second() as f64);
        let knee = Self::KNEE.mul_f64((capacity / Open::FIRST).powf(2.0 / 3.0));
        Self { slot, capacity, knee, grown: Duration::ZERO }
    }

    /// Bits per second.
    pub(super) fn rate(&self) -> f64 {
        let way = self.grown.as_secs_f64() / self.knee.as_secs_f64() - 1.0;
        let way = if way > 0.0 { way.powi(3) } else { way };
        self.capacity * (1.0 + (1.0 - Self::LOW) * way)
    }

    /// Whether losses and delays are what this capacity explains.
    pub(super) fn is_near(&self) -> bool {
        self.rate() >= self.capacity * Self::NEAR
    }

    /// The path limits the session no more.
    pub(super) fn is_left_behind(&self) -> bool {
        self.rate() > self.capacity * Self::LEFT_BEHIND
    }

    /// The slowest path has carried this without more loss than usual. On a slow path an interval is long, and counts for
    /// half of the knee time at most: the rate would otherwise be far beyond the capacity before anybody knows.
    pub(super) fn grow(&mut self, interval: &Interval, sending: &Sending) {
        if interval.rate(sending) >= self.rate() * Self::USED {
            self.grown = self.grown.saturating_add(interval.span.min(self.knee / 2));
        }
    }

    /// The limit that follows from an interval of a path, if it is a sign of a full queue at this rate. `queues`: a queue
    /// may have stood in all of it.
    pub(super) fn full_queue(
        &self,
        slot: usize,
        path: &Path,
        interval: &Interval,
        queues: bool,
        sending: &Sending,
    ) -> Option<Self> {
        let too_long = (path.base() / 8).clamp(Self::LEAST_DELAY, Self::MOST_DELAY);
        let fills = interval.delay > too_long
            && (self.is_near() || interval.is_rising)
            && !sending.held_back.covers(interval.since);
        let overflows = path.signs.count > 0 && queues && self.grown > self.knee / 4;
        if !fills && !overflows {
            return None;
        }
        let left = (1.0 - interval.lost()) / (1.0 - path.own.share);
        let share = if interval.delay > Self::MOST_DELAY {
            // The rate is far too high for the queue to drain soon.
            interval.rate(sending) * left / self.rate()
        } else {
            left / Self::LOW
        };
        Some(Self::new(slot, self.rate() * share.clamp(Congestion::DEEPEST, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{interval, own_loss, sample, sending};
    use super::*;
    use crate::time::Time;

    const CAPACITY: f64 = Open::FIRST;
    const BASE: Duration = Duration::from_millis(1);
    const MS: Duration = Duration::from_millis(1);

    fn limited(knees: f64) -> Limited {
        let limited = Limited::new(0, CAPACITY);
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
        path.own = own_loss(own);
        path
    }

    /// The share of the capacity that is left after an interval in which no queue stood.
    fn lower(limited: &Limited, path: &Path, interval: &Interval) -> Option<f64> {
        lower_beside(false, limited, path, interval)
    }

    fn lower_beside(queues: bool, limited: &Limited, path: &Path, interval: &Interval) -> Option<f64> {
        let found = limited.full_queue(7, path, interval, queues, &sending(Time::ZERO, 0, 1));
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
        let knee = |capacity| Limited::new(0, capacity).knee.as_secs_f64() / Limited::KNEE.as_secs_f64();
        assert!((knee(CAPACITY) - 1.0).abs() < 1e-6);
        assert!((knee(CAPACITY * 8.0) - 4.0).abs() < 1e-6);
        let slowest = Limited::new(0, 1.0).capacity;
        assert!((slowest - Rate::MIN.bits_per_second() as f64).abs() < 1.0);
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
            assert_eq!(lower(&limited, &path(BASE, 0), &interval(limited.rate(), 0.0)), None);
        }
    }

    #[test]
    fn delay_near_the_capacity_leaves_the_capacity() {
        let near = limited(1.0);
        let queued = Interval { delay: Limited::LEAST_DELAY + MS, ..interval(near.rate(), 0.0) };
        assert_near(lower(&near, &path(BASE, 0), &queued), 1.0);
        let short = Interval { delay: Limited::LEAST_DELAY, ..queued };
        assert_eq!(lower(&near, &path(BASE, 0), &short), None);
    }

    #[test]
    fn queue_below_the_capacity_is_a_sign_only_if_it_rises() {
        let below = limited(0.0);
        let queued = Interval { delay: Limited::LEAST_DELAY + MS, ..interval(below.rate(), 0.0) };
        assert_eq!(lower(&below, &path(BASE, 0), &queued), None);
        let rising = Interval { is_rising: true, ..queued };
        assert_near(lower(&below, &path(BASE, 0), &rising), Limited::LOW);
    }

    #[test]
    fn delay_while_the_sender_was_held_back_is_no_queue() {
        let near = limited(1.0);
        let queued =
            Interval { delay: Limited::LEAST_DELAY + MS, is_rising: true, ..interval(near.rate(), 0.0) };
        let mut now = sending(Time::ZERO, 0, 1);
        now.held_back.note(queued.since);
        assert!(near.full_queue(0, &path(BASE, 0), &queued, true, &now).is_none());
        let later = Interval { since: queued.since + Duration::from_secs(1), ..queued };
        assert!(near.full_queue(0, &path(BASE, 0), &later, true, &now).is_some());
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
            assert_eq!(lower(&near, &path(base, 0), &queued(counts - MS / 2)), None, "{base:?}");
            assert!(lower(&near, &path(base, 0), &queued(counts + MS / 2)).is_some(), "{base:?}");
        }
    }

    #[test]
    fn losses_are_a_full_queues_only_if_one_may_have_stood() {
        let near = limited(1.0);
        let lossy = interval(near.rate(), 0.05);
        assert!(lower_beside(true, &near, &path(BASE, 1), &lossy).is_some());
        assert_eq!(lower_beside(false, &near, &path(BASE, 9), &lossy), None);
        assert_eq!(lower_beside(true, &near, &path(BASE, 0), &lossy), None);
    }

    #[test]
    fn losses_right_after_a_limit_was_found_are_not_taken_for_a_new_one() {
        let lossy = interval(CAPACITY, 0.05);
        assert_eq!(lower_beside(true, &limited(0.0), &path(BASE, 2), &lossy), None);
        assert_eq!(lower_beside(true, &limited(0.2), &path(BASE, 2), &lossy), None);
        assert!(lower_beside(true, &limited(0.3), &path(BASE, 2), &lossy).is_some());
    }

    #[test]
    fn rate_after_losses_goes_on_at_what_came_through_but_not_below_a_tenth() {
        let near = limited(1.0);
        let after = |lost, own| lower_beside(true, &near, &lossy_path(1, own), &interval(near.rate(), lost));
        // The rate begins at LOW of it, so a little loss does not make it lower.
        assert_near(after(1.0 - Limited::LOW, 0.0), 1.0);
        assert_near(after(0.15, 0.0), 0.85 / Limited::LOW);
        assert_near(after(1.0, 0.0), Congestion::DEEPEST);
        // Losses that are the path's own do not count.
        assert_near(after(0.5, 0.5), 1.0);
        assert_near(after(0.575, 0.5), 0.85 / Limited::LOW);
    }

    #[test]
    fn capacity_behind_a_queue_far_too_long_is_what_came_through() {
        let near = limited(1.0);
        let after = |rate: f64, lost, own| {
            let path = lossy_path(0, own);
            let queued = Interval { delay: Limited::MOST_DELAY + MS, ..interval(rate, lost) };
            lower(&near, &path, &queued)
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
        assert_near(lower(&beyond, &path(BASE, 0), &rising), 2.0 - Limited::LOW);
    }
}
