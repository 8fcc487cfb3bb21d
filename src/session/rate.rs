//! Finds a rate that the slowest path carries.
//!
//! The local queue's back-pressure and the receivers' credit limit the sender without any loss; this is for what those do
//! not see: a slower port somewhere behind the sender's. The rate begins at one that a slow port survives and is doubled
//! as long as every path keeps up; after that it is what the slowest path is known to carry (`path.rs`).

use std::time::Duration;

use super::pacer::Rate;
use super::path::{Check, Common, Echo, Finding, Path, Sending};
use super::pool::Pool;
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
    /// What the paths that are being checked lose together.
    pool: Pool,
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
            pool: Pool::NONE,
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
            (None, true) => {
                self.checking = Some(now);
                self.pool.begin();
            }
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

    /// What all paths lose whatever the rate, as far as that is known.
    pub(super) fn common(&self) -> Option<Common> {
        self.pool.common()
    }

    /// Takes a report of one of `receivers` into account. Returns what all paths lose whatever the rate if that has become
    /// clear by this one.
    pub(super) fn handle_echo(
        &mut self,
        path: &mut Path,
        echo: Echo,
        sending: &Sending,
        receivers: usize,
    ) -> Option<Common> {
        let certain = Check::certain(sending, self.clumps);
        let common = path.sample(&echo).and_then(|sample| self.pool.add(&mut path.pooled, sample, certain));
        match path.handle_echo(echo, sending) {
            Some(Finding::LeftBehind(rate)) => {
                self.reach = rate;
                self.shortest_round = Self::CAREFUL_ROUND;
                self.round = self.round.next(sending.now, sending.next);
            }
            Some(Finding::Limit) => self.pool.forget(),
            None => {}
        }
        self.clumps += (path.clumped().min(Self::MOST_CLUMPS) - self.clumps) / Self::REPORTS;
        if sending.limited {
            return common;
        }
        self.vote(path, echo, sending);
        let Round { in_favour, against, since, .. } = self.round;
        self.round_trip = self.round_trip.max(echo.round_trip());
        // After a known limit, the path that is too slow answers last: its queue is in the way.
        let long = (Self::LONGEST_ROUND + self.round_trip * 2).max(self.shortest_round * 2);
        let heard = in_favour >= receivers || sending.now.since(since) >= long;
        if in_favour > 0 && against == 0 && heard {
            self.reach = (self.reach * 2.0).min(Self::MOST);
            self.pool.forget();
            tracing::trace!(at = %sending.now, reach = self.reach, "doubled the rate that the search may reach");
            self.raised = sending.now;
            self.round_trip /= 2;
            self.round = self.round.next(sending.now, sending.next);
        }
        common
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
            Some(true) => self.round.in_favour = self.round.in_favour.saturating_sub(1),
            Some(false) => self.round.against = self.round.against.saturating_sub(1),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits of a datagram.
    const DATAGRAM: f64 = 12_000.0;
    const RTT: Duration = Duration::from_micros(100);

    fn micros(n: u64) -> Time {
        Time::from_nanos(n * 1_000)
    }

    fn mbit(rate: &RateController) -> u64 {
        rate.rate(None).bits_per_second() / 1_000_000
    }

    /// Data has flown since the clock began; so many paths.
    fn session(paths: usize) -> (RateController, Vec<Path>) {
        let mut rate = RateController::new(None);
        rate.handle_start(Time::ZERO, DatagramNumber(0));
        (rate, vec![Path::new(); paths])
    }

    /// What is sent as a report comes in that left a round trip after datagram `highest` did, at `sent_at` µs.
    fn sending(sent_at: u64, highest: u64) -> Sending {
        let (now, next) = (micros(sent_at) + RTT, DatagramNumber(highest + 1));
        Sending { now, next, answer: RTT, ..Sending::plain(DATAGRAM) }
    }

    /// Of all up to `highest`, sent at `sent_at` µs, so many have arrived.
    fn echo(sent_at: u64, highest: u64, arrived: u64) -> Echo {
        let sent_at = micros(sent_at);
        Echo { highest: DatagramNumber(highest), arrived, sent_at, seen_at: sent_at + RTT }
    }

    /// Path `path` of as many as there are says that everything has arrived.
    fn arrived(rate: &mut RateController, paths: &mut [Path], path: usize, sent_at: u64, highest: u64) {
        let receivers = paths.len();
        let echo = echo(sent_at, highest, highest + 1);
        rate.handle_echo(&mut paths[path], echo, &sending(sent_at, highest), receivers);
    }

    #[test]
    fn the_rate_is_doubled_once_every_path_has_kept_up_with_it() {
        let (mut rate, mut paths) = session(2);
        // 200 Mbit/s are 16.7 of these datagrams in a millisecond.
        arrived(&mut rate, &mut paths, 0, 2_000, 33);
        arrived(&mut rate, &mut paths, 0, 2_500, 41);
        assert_eq!(mbit(&rate), 200, "one of two has spoken");
        arrived(&mut rate, &mut paths, 1, 2_000, 33);
        assert_eq!(mbit(&rate), 400);
        arrived(&mut rate, &mut paths, 0, 2_600, 43);
        arrived(&mut rate, &mut paths, 1, 2_600, 43);
        assert_eq!(mbit(&rate), 400, "that tells of the time before");
    }

    #[test]
    fn who_is_silent_is_not_waited_for_longer_than_two_round_trips_of_late() {
        let (mut rate, mut paths) = session(3);
        let far = Duration::from_millis(20);
        let slow = Echo { seen_at: micros(1_100) + far, ..echo(1_100, 18, 19) };
        let late = Sending { now: micros(1_100) + far, ..sending(1_100, 18) };
        rate.handle_echo(&mut paths[1], slow, &late, 3);
        let mut doubled = Vec::new();
        for ms in 22..120 {
            let before = mbit(&rate);
            // As fast as is allowed.
            arrived(&mut rate, &mut paths, 0, ms * 1_000, ms * ms * 100);
            if mbit(&rate) > before {
                doubled.push(ms);
            }
        }
        // 44 ms after the start, then 24, 14 and 9, as the far one has not been heard of again.
        assert_eq!(doubled.get(..4), Some([44, 68, 82, 91].as_slice()), "{doubled:?}");
    }

    #[test]
    fn a_rate_that_is_not_used_says_nothing_and_the_time_of_it_does_not_count() {
        let (mut rate, mut paths) = session(1);
        arrived(&mut rate, &mut paths, 0, 5_000, 40);
        arrived(&mut rate, &mut paths, 0, 30_000, 240);
        assert_eq!(mbit(&rate), 200);
        arrived(&mut rate, &mut paths, 0, 32_200, 240 + 33);
        assert_eq!(mbit(&rate), 400, "for the last two milliseconds it was");
    }

    #[test]
    fn nothing_is_doubled_while_a_path_is_known_to_be_full_or_loses_too_much() {
        let (mut rate, mut paths) = session(1);
        let limited = Sending { limited: true, ..sending(2_000, 33) };
        rate.handle_echo(&mut paths[0], echo(2_000, 33, 34), &limited, 1);
        assert_eq!(mbit(&rate), 200);
        let (mut rate, mut paths) = session(2);
        arrived(&mut rate, &mut paths, 0, 300, 4);
        rate.handle_echo(&mut paths[0], echo(1_500, 24, 5 + 12), &sending(1_500, 24), 2);
        arrived(&mut rate, &mut paths, 1, 2_000, 33);
        arrived(&mut rate, &mut paths, 1, 40_000, 660);
        assert_eq!(mbit(&rate), 200, "eight of twenty were lost on the way to the other");
        // What it said is gone with it.
        rate.handle_gone(micros(41_000), DatagramNumber(700));
        arrived(&mut rate, &mut paths[1..], 0, 43_000, 740);
        assert_eq!(mbit(&rate), 400);
    }

    #[test]
    fn the_rate_is_being_looked_for_until_a_while_after_it_was_raised() {
        let mut rate = RateController::new(None);
        rate.handle_start(micros(5_000_000), DatagramNumber(0));
        assert!(rate.is_starting(micros(5_099_000)) && !rate.is_starting(micros(5_100_000)));
    }

    #[test]
    fn checks_leave_time_without_any_and_others_may_join_one_that_has_just_begun() {
        let (mut rate, _) = session(1);
        let ms = |n: u64| micros(n * 1_000);
        assert_eq!(rate.note_checking(ms(1), false), (true, false));
        assert_eq!(rate.note_checking(ms(1_000), true), (true, true));
        assert_eq!(rate.note_checking(ms(1_149), true), (true, true));
        assert_eq!(rate.note_checking(ms(1_150), true), (false, false));
        // It has taken 200 ms.
        assert_eq!(rate.note_checking(ms(1_200), false), (false, false));
        assert_eq!(rate.note_checking(ms(3_199), false), (false, false));
        assert_eq!(rate.note_checking(ms(3_200), false), (true, false));
    }

    /// What a receiver says has arrived, true or not.
    #[derive(Clone, Copy, Debug)]
    enum Said {
        /// Per cent of what was sent since the last report of anybody.
        Share(u64),
        /// So many more than it said before.
        More(u64),
        /// So many.
        InAll(u64),
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            4 => prop_oneof![Just(100), Just(0), 0..130_u64].prop_map(Said::Share),
            4 => (0..100_u64).prop_map(Said::More),
            1 => any::<u64>().prop_map(Said::More),
            1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Said::InAll),
        ]
    }

    /// Datagrams sent since the last report of anybody, and the time that took.
    fn sent() -> impl Strategy<Value = (u64, Duration)> {
        let datagrams = prop_oneof![8 => 0..100_u64, 2 => 0..2_000_u64, 1 => 0..1_000_000_u64];
        let time = prop_oneof![4 => Just(0), 8 => 0..3_000_u64, 2 => 0..300_000_u64, 1 => 0..100_000_000_u64];
        (datagrams, time.prop_map(Duration::from_micros))
    }

    /// How much later than it was sent a datagram was seen, as it is said, µs: perhaps before.
    fn late() -> impl Strategy<Value = i64> {
        prop_oneof![8 => Just(100), 4 => -100..2_000_i64, 2 => -100_000..100_000_i64, 1 => any::<i64>()]
    }

    /// More than enough to be counted together.
    const PATHS: usize = 10;
    /// A second's worth.
    const CASES: u32 = 1_000;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]

        #[test]
        fn whatever_receivers_say_there_is_a_rate_and_all_that_is_kept_are_numbers(
            // The last but one: by how much the highest number falls short of the newest.
            all in (1..=PATHS).prop_flat_map(|paths| {
                proptest::collection::vec((0..paths, sent(), said(), 0..40_u64, late()), 0..400)
            }),
        ) {
            let (mut rate, mut paths) = session(PATHS);
            let (mut now, mut next, mut arrived) = (micros(1_000), 0_u64, [0_u64; PATHS]);
            for (path, (sent, took), said, behind, late) in all {
                now += took;
                next += sent;
                let arrived = &mut arrived[path];
                *arrived = match said {
                    Said::Share(share) => arrived.saturating_add(sent * share / 100),
                    Said::More(more) => arrived.saturating_add(more),
                    Said::InAll(all) => all,
                };
                let sent_at = now - RTT;
                let lateness = Duration::from_micros(late.unsigned_abs());
                let seen_at = if late < 0 { sent_at - lateness } else { sent_at + lateness };
                let highest = DatagramNumber(next.saturating_sub(behind));
                let echo = Echo { highest, arrived: *arrived, sent_at, seen_at };
                let unchecked = paths.iter().filter_map(Path::unchecked).max();
                let (may_doubt, may_join) = rate.note_checking(now, unchecked.is_some());
                let sending = Sending {
                    now,
                    next: DatagramNumber(next + 1),
                    starting: rate.is_starting(now),
                    limited: paths.iter().any(|path| path.limit().is_some()),
                    unchecked,
                    may_doubt,
                    may_join,
                    answer: echo.round_trip(),
                    common: rate.common(),
                    clumps: rate.clumps(),
                    ..sending(0, 0)
                };
                if let Some(common) = rate.handle_echo(&mut paths[path], echo, &sending, PATHS) {
                    prop_assert!(common.share > 0.0 && common.share <= 1.0, "{common:?}");
                    for path in &mut paths {
                        path.presume(now, common, sending.chance, rate.clumps());
                    }
                }
                prop_assert!(rate.reach.is_finite() && rate.reach > 0.0, "{rate:?}");
            }
            let kept = format!("{rate:?} {paths:?}");
            let is_number = |word: &str| !["NaN", "inf", "-inf"].contains(&word);
            prop_assert!(kept.split([' ', ',', '(', ')']).all(is_number), "{kept}");
        }
    }
}
