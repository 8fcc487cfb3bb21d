//! Paths as they show in reports: what is lost and late, and what follows.

use super::*;

/// Bits of a datagram.
const DATAGRAM: f64 = 12_000.0;
const RTT: Duration = Duration::from_millis(1);
/// Between two reports.
const PACE: Duration = Duration::from_millis(2);

/// A path, and what its reports say.
struct Line {
    path: Path,
    now: Time,
    highest: u64,
    arrived: f64,
    /// What the sender is doing besides.
    sending: Sending,
}

/// What a path does for a while.
#[derive(Clone, Copy)]
struct Weather {
    /// Bits per second that are sent.
    rate: f64,
    /// Share that is lost.
    lost: f64,
    delay: Duration,
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// 120 Mbit/s are ten datagrams in a millisecond.
const FAIR: Weather = Weather { rate: 120e6, lost: 0.0, delay: Duration::ZERO };

const fn losing(lost: f64) -> Weather {
    Weather { lost, ..FAIR }
}

const fn late(delay: Duration) -> Weather {
    Weather { delay, ..FAIR }
}

impl Sending {
    /// At the start of a session with one receiver, of which nothing is known; datagrams have so many bits.
    pub(in crate::session) const fn plain(datagram: f64) -> Self {
        Self {
            now: Time::ZERO,
            next: DatagramNumber(0),
            datagram,
            starting: true,
            held_back: false,
            limited: false,
            unchecked: None,
            may_doubt: false,
            may_join: false,
            chance: 2.0,
            answer: Duration::ZERO,
            common: None,
            clumps: 1.0,
        }
    }
}

impl Line {
    fn new() -> Self {
        let sending = Sending { starting: false, answer: RTT, ..Sending::plain(DATAGRAM) };
        let now = Time::ZERO + Duration::from_secs(1);
        let mut line = Self { path: Path::new(), now, highest: 0, arrived: 0.0, sending };
        line.report(FAIR);
        line
    }

    /// The next report.
    fn report(&mut self, weather: Weather) -> Option<Finding> {
        let sent = (weather.rate * PACE.as_secs_f64() / DATAGRAM).floor();
        self.now += PACE;
        self.highest += sent as u64;
        self.arrived += sent * (1.0 - weather.lost);
        let (arrived, sent_at) = (self.arrived as u64, self.now);
        let seen_at = sent_at + RTT + weather.delay;
        let echo = Echo { highest: DatagramNumber(self.highest), arrived, sent_at, seen_at };
        let sending = Sending { now: seen_at, next: DatagramNumber(self.highest + 1), ..self.sending };
        self.path.handle_echo(echo, &sending)
    }

    /// Reports for so long, at most until the path is in another state; returns for how long.
    fn runs(&mut self, time: Duration, weather: Weather) -> Duration {
        let (from, state) = (self.now, std::mem::discriminant(&self.path.state));
        while self.now < from + time && std::mem::discriminant(&self.path.state) == state {
            self.report(weather);
        }
        self.now.since(from)
    }

    fn is_checking(&self) -> bool {
        matches!(self.path.state, State::Checking(_))
    }

    fn is_open(&self) -> bool {
        matches!(self.path.state, State::Open)
    }

    #[track_caller]
    fn limit(&self) -> Limit {
        match self.path.state {
            State::Limited(limit) => limit,
            state => panic!("it is {state:?}"),
        }
    }

    /// With a limit that has just been found.
    fn limited(capacity: f64) -> Self {
        let mut line = Self::new();
        line.path.state = State::Limited(Limit::new(capacity, RTT, DATAGRAM));
        line
    }
}

#[test]
fn a_report_of_less_than_the_one_before_says_nothing() {
    let mut line = Line::new();
    line.runs(ms(100), FAIR);
    let before = line.path.last;
    line.arrived -= 100.0;
    assert_eq!(line.report(FAIR), None);
    assert_eq!(line.path.last.map(|echo| echo.highest), before.map(|echo| echo.highest));
}

#[test]
fn the_more_is_lost_the_sooner_it_is_checked_and_lateness_twice_as_late() {
    // Once the loss has cost three times what a check does: for 0.3, 3 · 0.7 · (1 - 0.56) · 73 ms.
    for (lost, after) in [(0.9, 160), (0.3, 240), (0.08, 520)] {
        let mut line = Line::new();
        assert_eq!(line.runs(ms(1_000), losing(lost)), ms(after), "{lost}");
        assert!(line.is_checking());
    }
    // Where datagrams wait besides, a twelfth of that is enough, or three intervals.
    let mut line = Line::new();
    assert_eq!(line.runs(ms(1_000), Weather { delay: ms(8), ..losing(0.3) }), ms(52));
    // Where answers take long, so does it.
    let mut line = Line::new();
    line.sending.answer = ms(200);
    assert_eq!(line.runs(ms(2_000), losing(0.3)), ms(840));
    let mut line = Line::new();
    let took = line.runs(ms(1_000), late(ms(60)));
    assert!(line.is_checking() && (ms(100)..=ms(120)).contains(&took), "the first is over at once: {took:?}");
}

#[test]
fn what_a_path_always_loses_does_not_make_more_of_it() {
    let mut line = Line::new();
    (line.path.noise.share, line.path.noise.learnt) = (0.2, 5_000);
    assert_eq!(line.runs(ms(1_000), losing(0.35)), ms(500), "a seventh beyond it counts");
    assert!(line.is_checking());
}

#[test]
fn what_waited_in_the_senders_own_queue_is_not_late() {
    let mut line = Line::new();
    line.sending.held_back = true;
    line.runs(ms(1_000), late(ms(80)));
    assert!(line.is_open());
}

#[test]
fn who_may_join_a_check_does_so_at_the_first_sign() {
    let mut line = Line::new();
    line.sending.may_join = true;
    assert_eq!(line.runs(ms(1_000), losing(0.1)), ms(20));
    assert!(line.is_checking());
}

#[test]
fn a_check_takes_the_rate_below_what_came_through_and_never_to_nothing() {
    for (lost, least, most) in [(0.3, 0.54, 0.57), (1.0, 0.079, 0.081)] {
        let mut line = Line::new();
        line.runs(ms(1_000), losing(lost));
        let share = line.path.limit().map_or(0.0, |rate| rate.bits_per_second() as f64 / FAIR.rate);
        assert!((least..most).contains(&share), "{lost}: {share}");
    }
}

#[test]
fn a_check_during_anothers_starts_from_the_rate_before_that_one_unless_it_is_plain() {
    // Of 120 Mbit/s, as much as 200 were sent before the other check.
    for (weather, least, most) in [
        (losing(0.3), 0.8 * 0.7 * 200e6 * 0.97, 0.8 * 0.7 * 200e6 * 1.03),
        (losing(0.6), 0.8 * 0.4 * 120e6 * 0.97, 0.8 * 0.4 * 120e6 * 1.03),
        (late(ms(60)), 0.8 * 120e6 * 0.97, 0.8 * 120e6 * 1.03),
    ] {
        let mut line = Line::new();
        line.sending.unchecked = Some(Rate::from_bits_per_second(200_000_000));
        line.runs(ms(1_000), weather);
        let rate = line.path.limit().map_or(0.0, |rate| rate.bits_per_second() as f64);
        assert!((least..most).contains(&rate), "{least} to {most}: {rate}");
    }
}

#[test]
fn what_has_gone_at_the_lower_rate_was_the_rates_fault_and_what_is_left_the_paths() {
    let slower = Weather { rate: 66e6, ..FAIR };
    let mut line = Line::new();
    line.runs(ms(1_000), losing(0.3));
    line.runs(ms(2_000), slower);
    assert!((line.limit().capacity / 84e6 - 1.0).abs() < 0.03, "{:?}", line.limit());
    let mut line = Line::new();
    line.runs(ms(1_000), losing(0.3));
    line.runs(ms(2_000), Weather { lost: 0.3, ..slower });
    assert!(line.is_open() && (line.path.noise.share - 0.3).abs() < 0.02, "{:?}", line.path);
    // Late, and late no more; then late all the same.
    let mut line = Line::new();
    line.runs(ms(1_000), late(ms(60)));
    line.runs(ms(4_000), slower);
    assert!((line.limit().capacity / 120e6 - 1.0).abs() < 0.03, "{:?}", line.limit());
    let (mut line, base) = (Line::new(), RTT);
    line.runs(ms(1_000), late(ms(60)));
    line.runs(ms(4_000), Weather { delay: ms(60), ..slower });
    assert!(line.is_open() && line.path.base >= base + ms(55), "{:?}", line.path);
}

#[test]
fn a_queue_has_two_seconds_to_drain() {
    let slower = Weather { rate: 66e6, delay: ms(20), ..FAIR };
    let mut line = Line::new();
    line.runs(ms(1_000), losing(0.3));
    let took = line.runs(ms(10_000), slower);
    assert!((ms(1_900)..ms(2_300)).contains(&took), "{took:?}");
}

#[test]
fn an_answer_takes_as_many_datagrams_as_it_would_be_chance_with_fewer() {
    let seen = |lost: f64| Interval { sent: 1_000, arrived: (1_000.0 * (1.0 - lost)) as u64, ..EMPTY };
    let check = |sign| Check { sign, ..CHECK };
    let (one, many) = (Line::new().sending, Sending { chance: 4.0, ..Line::new().sending });
    assert_eq!(check(Sign::Loss(seen(0.05))).sample(&one, 1.0), 400);
    // 1.6 · 4², by the share that is lost, and twenty times that.
    assert_eq!(check(Sign::Loss(seen(0.05))).sample(&many, 1.0), 511);
    assert_eq!(check(Sign::Loss(seen(0.05))).sample(&many, 20.0), 10_239);
    assert_eq!(check(Sign::Delay(seen(0.0))).sample(&many, 20.0), 32);
    // A slow path gives it with what half a second brings.
    let mut line = Line::new();
    line.path.state =
        State::Checking(Check { sign: Sign::Loss(seen(0.05)), from: DatagramNumber(0), ..CHECK });
    line.path.since = line.path.last;
    let took = line.runs(ms(5_000), Weather { rate: 6e6, ..FAIR });
    assert!((ms(490)..ms(520)).contains(&took), "{took:?}");
}

#[test]
fn one_of_a_crowd_sees_more_by_chance_than_one_alone() {
    assert!((chance(1) - 2.0).abs() < 0.01 && (chance(12) - 3.0).abs() < 0.01, "{}", chance(12));
    assert!((chance(400) - 4.0).abs() < 0.01, "{}", chance(400));
}

#[test]
fn a_limit_grows_while_it_is_used_and_is_left_behind_where_nothing_waits() {
    let mut line = Line::limited(120e6);
    let low = line.limit().rate();
    assert!((low / 108e6 - 1.0).abs() < 0.001);
    line.runs(ms(300), Weather { rate: 60e6, ..FAIR });
    assert!((line.limit().rate() / low - 1.0).abs() < 1e-9, "it is not used");
    line.runs(ms(300), FAIR);
    assert!(line.limit().rate() > low * 1.08, "{:?}", line.limit());
    // Something waits in a queue.
    let fast = Weather { rate: 240e6, delay: ms(8), ..FAIR };
    line.runs(ms(5_000), fast);
    assert!(line.limit().rate() > 150e6, "{:?}", line.limit());
    let mut left = None;
    while left.is_none() {
        left = line.report(Weather { delay: Duration::ZERO, ..fast });
    }
    assert!(matches!(left, Some(Finding::LeftBehind(rate)) if rate >= 150e6), "{left:?}");
    assert!(line.is_open());
}

#[test]
fn a_limit_grows_no_faster_than_anybody_can_tell_what_became_of_it() {
    let knee = |capacity, round_trip| Limit::new(capacity, round_trip, DATAGRAM).knee.as_millis();
    assert_eq!(knee(100e6, Duration::ZERO), 300);
    assert_eq!(knee(800e6, Duration::ZERO), 600);
    assert_eq!(knee(100e6, ms(200)), 800);
    // Eight times what 32 datagrams take.
    assert_eq!(knee(1e6, Duration::ZERO), 3_072);
}

#[test]
fn datagrams_that_come_an_interval_late_are_not_lost() {
    let mut line = Line::new();
    for round in 0..40 {
        // Whoever may join a check does so at the first sign, once it is known what is usual here.
        line.sending.may_join = round >= 10;
        line.sending.starting = round < 10;
        (0..10).for_each(|_| _ = line.report(losing(if round % 2 == 0 { 0.2 } else { -0.2 })));
    }
    assert!(line.is_open(), "{:?}", line.path);
}

/// A path that has lost a tenth for long, and whose check finds this.
fn doubted(lost: f64) -> Line {
    let mut line = Line::new();
    (line.path.noise.share, line.path.noise.learnt) = (0.1, 5_000);
    line.sending.may_doubt = true;
    assert_eq!(line.runs(ms(1_000), losing(0.1)), ms(260));
    assert!(line.is_checking());
    line.runs(ms(1_000), Weather { rate: 96e6, ..losing(lost) });
    line
}

#[test]
fn what_a_path_always_loses_is_put_to_the_test_now_and_then() {
    let mut line = doubted(0.1);
    assert!(line.is_open());
    assert_eq!(line.runs(ms(400), losing(0.1)), ms(400), "not again for half a second");
    assert!(line.runs(ms(1_000), losing(0.1)) < ms(1_000));
    // And what has gone is forgotten.
    let line = doubted(0.0);
    assert!(line.path.noise.share < 0.01 && line.limit().capacity > 100e6, "{:?}", line.path);
}

#[test]
fn who_loses_less_but_not_little_at_a_lower_rate_is_checked_at_a_still_lower_one() {
    let mut line = Line::new();
    line.runs(ms(1_000), losing(0.4));
    let first = line.path.limit();
    while line.path.limit() == first {
        line.report(Weather { rate: 58e6, ..losing(0.15) });
    }
    assert!(line.is_checking() && line.path.limit() < first);
    line.runs(ms(2_000), Weather { rate: 39e6, ..losing(0.15) });
    // What is left is its own, and what came through at first was as much as it carries.
    assert!((line.path.noise.share - 0.15).abs() < 0.02, "{:?}", line.path);
    assert!((line.limit().capacity / 84.7e6 - 1.0).abs() < 0.05, "{:?}", line.limit());
}

#[test]
fn where_losses_come_in_bursts_that_none_has_come_proves_nothing() {
    let mut line = Line::new();
    line.sending.clumps = 30.0;
    line.runs(ms(2_000), losing(0.9));
    assert!(line.is_checking());
    line.path.state = match line.path.state {
        State::Checking(check) => {
            let sign = Sign::Loss(Interval { sent: 200, arrived: 160, ..EMPTY });
            State::Checking(Check { sign, ..check })
        }
        state => state,
    };
    line.runs(ms(5_000), Weather { rate: 66e6, ..FAIR });
    assert!(line.is_open(), "{:?}", line.path);
    assert!(line.path.noise.share == 0.0 && line.path.noise.learnt == 0, "{:?}", line.path);
}

#[test]
fn bursts_are_learnt_from_intervals_that_lose_much_and_little_by_turns() {
    let mut line = Line::new();
    for round in 0..40 {
        (0..10).for_each(|_| _ = line.report(losing(if round % 2 == 0 { 0.3 } else { 0.0 })));
    }
    assert!(line.is_open() && line.path.clumped() > 5.0, "{:?}", line.path);
}

#[test]
fn an_answer_takes_two_intervals_however_fast_the_path_is() {
    let fast = Weather { rate: 2.4e9, ..FAIR };
    let mut line = Line::new();
    line.runs(ms(1_000), Weather { lost: 0.3, ..fast });
    let took = line.runs(ms(1_000), fast);
    assert!((ms(40)..ms(50)).contains(&took), "{took:?}");
}

#[test]
fn a_limit_far_away_grows_slowly() {
    let mut line = Line::new();
    line.path.base = ms(201);
    line.runs(ms(1_000), Weather { delay: ms(200), ..losing(0.3) });
    line.runs(ms(1_000), Weather { rate: 66e6, delay: ms(200), ..FAIR });
    assert!(line.limit().knee >= ms(800), "{:?}", line.limit());
}

const EMPTY: Interval = Interval { sent: 0, arrived: 0, span: Duration::ZERO, delay: Duration::ZERO };

const CHECK: Check = Check {
    sign: Sign::Delay(EMPTY),
    before: None,
    rate: 100e6,
    arrived: 100e6,
    now: 80e6,
    from: DatagramNumber(0),
    since: Time::ZERO,
    follows: 0,
};

#[test]
fn who_loses_what_all_of_a_crowd_lose_is_not_checked_and_who_loses_more_is() {
    for (lost, checked) in [(0.2, false), (0.5, true)] {
        let mut line = Line::new();
        line.sending.common = Some(Common { share: 0.2 });
        line.runs(ms(3_000), losing(lost));
        assert_eq!(line.is_checking(), checked, "{lost}");
        // And who is being checked need not wait for an answer of its own.
        let mut line = Line::new();
        line.runs(ms(3_000), losing(lost));
        assert!(line.is_checking());
        line.path.presume(line.now, Common { share: 0.2 }, 2.0, 1.0);
        assert_eq!(line.is_checking(), checked, "{lost}");
        assert!(checked || (line.path.noise.share - 0.2).abs() < 0.03, "{:?}", line.path);
    }
}

#[test]
fn what_a_deep_queue_holds_up_is_not_hidden_by_the_paths_own_losses() {
    let mut line = Line::new();
    line.runs(ms(3_000), Weather { delay: ms(60), ..losing(0.05) });
    // It drains, while as much is lost as before.
    for delay in [50, 40, 30, 20, 10, 0] {
        line.runs(ms(60), Weather { rate: 91e6, delay: ms(delay), ..losing(0.05) });
    }
    line.runs(ms(1_000), Weather { rate: 73e6, ..losing(0.05) });
    assert!((line.limit().capacity / 120e6 - 1.0).abs() < 0.05, "{:?}", line.path);
}

#[test]
fn a_path_that_was_full_before_is_full_again_when_what_is_left_is_what_it_always_loses() {
    let mut line = Line::limited(100e6);
    (line.path.noise.share, line.path.noise.learnt) = (0.05, 5_000);
    let seen = Interval { sent: 200, arrived: 170, ..EMPTY };
    let before = Some(line.limit());
    // Twice the standard deviation of 200 datagrams of which 15 % are lost: chance alone would not rule 9 % out.
    line.path.state = State::Checking(Check { sign: Sign::Loss(seen), before, ..CHECK });
    line.path.since = line.path.last;
    line.runs(ms(1_000), Weather { rate: 80e6, ..losing(0.09) });
    assert!(line.limit().grown.is_zero(), "{:?}", line.path);
}

#[test]
fn a_report_that_ends_an_interval_tells_what_was_lost_in_it() {
    let mut line = Line::new();
    line.sending.starting = true;
    for _ in 0..20 {
        line.report(losing(0.5));
        assert!((line.path.loss() - 0.5).abs() < 0.1, "{:?}", line.path);
    }
}
