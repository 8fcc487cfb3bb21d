//! Tests of how the phases follow each other, and what the tests of the phases have in common.

mod signs;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::own_loss::OwnLoss;
use super::*;

/// Bits of a datagram.
pub(super) const DATAGRAM: f64 = 12_000.0;
const MS: Duration = Duration::from_millis(1);

/// The moment so long after a beginning that is not that of time.
pub(super) fn at(time: Duration) -> Time {
    Time::ZERO + Duration::from_secs(100) + time
}

/// A report of a datagram that was sent so long after the beginning.
pub(super) fn sample(highest: u64, arrived: u64, sent_after: Duration, round_trip: Duration) -> Sample {
    let sent_at = at(sent_after);
    Sample { highest: DatagramNumber(highest), arrived, sent_at, seen_at: sent_at + round_trip }
}

/// The sender at this moment, which nothing has held back.
pub(super) fn sending(now: Time, next: u64, receivers: usize) -> Sending {
    Sending {
        now,
        next: DatagramNumber(next),
        datagram: DATAGRAM,
        receivers,
        answer: MS * 10,
        held_back: HeldBack::default(),
    }
}

/// An interval of a path that is sent at this rate and loses this share, without a delay.
pub(super) fn interval(rate: f64, lost: f64) -> Interval {
    let sent = (rate * Path::INTERVAL.as_secs_f64() / DATAGRAM).round();
    Interval {
        sent: sent as u64,
        arrived: (sent * (1.0 - lost)).round() as u64,
        span: Path::INTERVAL,
        since: at(MS),
        delay: Duration::ZERO,
        is_rising: false,
    }
}

/// A path that is known to lose this share at any rate, from about 1,000 datagrams.
pub(super) fn own_loss(share: f64) -> OwnLoss {
    let mut own = OwnLoss::default();
    own.set(&interval(DATAGRAM * 50_000.0, share));
    own
}

/// A path with a queue before it.
struct Line {
    /// Bits per second, and how long the queue can be.
    capacity: f64,
    deepest: Duration,
    /// The share that it loses at any rate.
    own: f64,
    /// When the queue is empty.
    free_at: Time,
    arrived: u64,
    reported: Time,
    random: fastrand::Rng,
}

impl Line {
    const ROUND_TRIP: Duration = Duration::from_millis(1);
    /// Between reports.
    const EVERY: Duration = Duration::from_millis(1);

    fn of(capacity: f64, deepest: Duration, own: f64) -> Self {
        Self {
            capacity,
            deepest,
            own,
            free_at: at(Duration::ZERO),
            arrived: 0,
            reported: at(Duration::ZERO),
            random: fastrand::Rng::with_seed(7),
        }
    }

    /// Carries a datagram. Returns when the report that it brings about is back, if it does.
    fn carry(&mut self, now: Time) -> Option<Time> {
        let begins = self.free_at.max(now);
        if begins.since(now) > self.deepest || self.random.f64() < self.own {
            return None;
        }
        self.free_at = begins + Duration::from_secs_f64(DATAGRAM / self.capacity);
        self.arrived += 1;
        if self.free_at.since(self.reported) < Self::EVERY {
            return None;
        }
        self.reported = self.free_at;
        Some(self.free_at + Self::ROUND_TRIP)
    }
}

/// A session whose sender sends as fast as it may.
struct Session {
    congestion: Congestion,
    now: Time,
    next: u64,
    /// By the receivers' places. Those that have gone are none.
    lines: Vec<Option<Line>>,
    /// Reports on their way, by the time at which they arrive.
    reports: BTreeMap<(Time, usize), Sample>,
    /// Each phase that has begun.
    phases: Vec<RatePhase>,
}

impl Session {
    fn over(ceiling: Option<f64>, lines: Vec<Line>) -> Self {
        let ceiling = ceiling.map(|bits| Rate::from_bits_per_second(bits as u64));
        let mut congestion = Congestion::new(ceiling);
        let now = at(Duration::ZERO);
        congestion.handle_start(now, DatagramNumber(0));
        Self {
            congestion,
            now,
            next: 0,
            lines: lines.into_iter().map(Some).collect(),
            reports: BTreeMap::new(),
            phases: vec![RatePhase::Open],
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Runs until the phase is this one, or for a few seconds.
    fn run_until(&mut self, phase: RatePhase) {
        let end = self.now + Duration::from_secs(5);
        while self.congestion.decision().phase != phase {
            assert!(self.now < end, "no {phase:?} after {:?}", self.phases);
            self.step();
        }
    }

    /// Sends a datagram, and takes the reports that have come until then.
    fn step(&mut self) {
        for (slot, line) in self.lines.iter_mut().enumerate() {
            let Some(line) = line else { continue };
            if let Some(back) = line.carry(self.now) {
                let (highest, arrived) = (DatagramNumber(self.next), line.arrived);
                let report = Sample { highest, arrived, sent_at: self.now, seen_at: back };
                self.reports.insert((back, slot), report);
            }
        }
        self.next += 1;
        let receivers = self.lines.iter().flatten().count();
        while let Some(first) = self.reports.first_entry()
            && first.key().0 <= self.now
        {
            let (_, slot) = *first.key();
            let report = first.remove();
            if self.lines[slot].is_some() {
                let sending = sending(self.now, self.next, receivers);
                self.congestion.handle_sample(slot, report, &sending);
            }
            self.note_phase();
        }
        let decision = self.congestion.decision();
        if let Some(ceiling) = self.congestion.ceiling {
            assert!(decision.rate <= ceiling, "{:?}", decision);
        }
        self.now += Duration::from_secs_f64(DATAGRAM / decision.rate.bits_per_second() as f64);
    }

    fn note_phase(&mut self) {
        let phase = self.congestion.decision().phase;
        if self.phases.last() != Some(&phase) {
            self.phases.push(phase);
        }
    }

    fn leave(&mut self, slot: usize) {
        self.lines[slot] = None;
        self.congestion.handle_gone(slot, self.now, DatagramNumber(self.next));
        self.note_phase();
    }

    fn rate(&self) -> f64 {
        self.congestion.decision().rate.bits_per_second() as f64
    }

    fn line(&mut self, slot: usize) -> &mut Line {
        self.lines[slot].as_mut().unwrap()
    }

    /// Asserts that this path is known to be the slowest, and to carry about so much.
    fn assert_slowest(&self, slot: usize, capacity: f64) {
        let decision = self.congestion.decision();
        let (slowest, found) = decision.slowest.expect("no path is known to limit the rate");
        let found = found.bits_per_second() as f64 / capacity;
        assert_eq!(slowest, slot);
        assert!((0.7..1.2).contains(&found), "{found} of the capacity was found");
    }
}

const FAST: f64 = 5e9;

#[test]
fn deep_queue_takes_the_session_from_open_to_limited() {
    let mut session = Session::over(None, vec![Line::of(100e6, MS * 200, 0.0)]);
    session.run_until(RatePhase::Limited);
    session.assert_slowest(0, 100e6);
    assert_eq!(session.phases, [RatePhase::Open, RatePhase::Limited]);
}

#[test]
fn shallow_queue_takes_the_session_from_open_to_limited() {
    let mut session = Session::over(None, vec![Line::of(100e6, MS * 3, 0.0)]);
    session.run_until(RatePhase::Limited);
    session.assert_slowest(0, 100e6);
    assert_eq!(session.phases, [RatePhase::Open, RatePhase::Limited]);
}

#[test]
fn rate_is_doubled_until_the_slowest_path_does_not_keep_up() {
    let mut session = Session::over(None, vec![Line::of(FAST, MS, 0.0), Line::of(1e9, MS * 3, 0.0)]);
    session.run_until(RatePhase::Limited);
    session.assert_slowest(1, 1e9);
}

#[test]
fn limited_session_stays_at_the_capacity() {
    for deepest in [MS * 3, MS * 200] {
        let mut session = Session::over(None, vec![Line::of(100e6, deepest, 0.0)]);
        session.run(Duration::from_secs(2));
        let (before, since) = (session.line(0).arrived, session.now);
        session.run(Duration::from_secs(2));
        let delivered = (session.line(0).arrived - before) as f64 * DATAGRAM;
        let share = delivered / session.now.since(since).as_secs_f64() / 100e6;
        assert!(share > 0.8, "{share} of the capacity is used with a queue of {deepest:?}");
        session.assert_slowest(0, 100e6);
    }
}

#[test]
fn losses_of_an_unused_path_take_the_session_from_open_by_a_probe_to_limited() {
    let mut session = Session::over(Some(100e6), vec![Line::of(FAST, MS * 3, 0.0)]);
    session.run(MS * 500);
    assert_eq!(session.phases, [RatePhase::Open]);
    session.line(0).capacity = 70e6;
    session.run_until(RatePhase::Limited);
    assert_eq!(session.phases, [RatePhase::Open, RatePhase::Probe, RatePhase::Limited]);
    session.assert_slowest(0, 70e6);
}

#[test]
fn probe_lowers_the_rate_below_what_comes_through() {
    let mut session = Session::over(Some(100e6), vec![Line::of(FAST, MS * 3, 0.0)]);
    session.run(MS * 500);
    session.line(0).capacity = 70e6;
    session.run_until(RatePhase::Probe);
    assert!(session.rate() < 70e6, "{}", session.rate());
}

#[test]
fn own_loss_leads_back_to_the_phase_before_and_is_known() {
    let mut session = Session::over(Some(100e6), vec![Line::of(FAST, MS * 3, 0.2)]);
    session.run(Duration::from_secs(3));
    assert_eq!(session.phases, [RatePhase::Open, RatePhase::Probe, RatePhase::Open]);
    assert_eq!(session.rate(), 100e6);
    let own = session.congestion.own_loss(0);
    assert!((own - 0.2).abs() < 0.05, "{own}");
    assert_eq!(session.congestion.own_loss(1), 0.0);
}

#[test]
fn own_loss_of_a_limited_path_is_not_taken_for_a_full_queue() {
    let mut session = Session::over(None, vec![Line::of(100e6, MS * 3, 0.1)]);
    session.run(Duration::from_secs(4));
    let (before, since) = (session.line(0).arrived, session.now);
    session.run(Duration::from_secs(2));
    let delivered = (session.line(0).arrived - before) as f64 * DATAGRAM;
    let share = delivered / session.now.since(since).as_secs_f64() / 100e6;
    assert!(share > 0.6, "{share} of the capacity is used");
}

#[test]
fn session_is_open_again_once_its_slowest_receiver_has_gone() {
    let mut session = Session::over(None, vec![Line::of(100e6, MS * 3, 0.0), Line::of(400e6, MS * 3, 0.0)]);
    session.run(MS * 500);
    session.assert_slowest(0, 100e6);
    session.leave(0);
    let decision = session.congestion.decision();
    assert_eq!((decision.phase, decision.slowest), (RatePhase::Open, None));
    assert!(session.rate() > 80e6, "the rate goes on where it was");
    session.run_until(RatePhase::Limited);
    session.assert_slowest(1, 400e6);
}

#[test]
fn session_stays_limited_if_another_receiver_goes() {
    let mut session = Session::over(None, vec![Line::of(100e6, MS * 3, 0.0), Line::of(400e6, MS * 3, 0.0)]);
    session.run(MS * 500);
    let before = session.congestion.decision();
    session.leave(1);
    assert_eq!(session.congestion.decision(), before);
}

/// A session in a probe because of path 0.
fn probing() -> Session {
    let mut session =
        Session::over(Some(100e6), vec![Line::of(FAST, MS * 3, 0.2), Line::of(FAST, MS * 3, 0.0)]);
    session.run_until(RatePhase::Probe);
    session
}

#[test]
fn probe_ends_if_its_receiver_goes() {
    let mut session = probing();
    session.leave(0);
    let decision = session.congestion.decision();
    assert_eq!((decision.phase, decision.slowest), (RatePhase::Open, None));
    assert_eq!(session.rate(), 100e6);
    assert_eq!(session.congestion.own_loss(0), 0.0);
}

#[test]
fn probe_goes_on_if_another_receiver_goes() {
    let mut session = probing();
    session.leave(1);
    assert_eq!(session.congestion.decision().phase, RatePhase::Probe);
    session.run_until(RatePhase::Open);
    assert!((session.congestion.own_loss(0) - 0.2).abs() < 0.08);
}

#[test]
fn signs_from_before_a_probe_are_gone_after_it() {
    let mut session = probing();
    assert!(session.congestion.paths[0].signs.count >= Congestion::SIGNS);
    session.run_until(RatePhase::Open);
    assert_eq!(session.congestion.paths[0].signs.count, 0);
    assert_eq!(session.congestion.from, DatagramNumber(session.next));
}

/// A rate control that nobody has limited, with two receivers of which the first has reported that it keeps up.
fn half_heard() -> (Congestion, impl Fn(Duration) -> Sample) {
    let mut congestion = Congestion::new(None);
    congestion.handle_start(at(Duration::ZERO), DatagramNumber(0));
    let report = move |time: Duration| {
        let sent = (time.as_secs_f64() * Open::FIRST / DATAGRAM) as u64;
        sample(sent, sent + 1, time, MS)
    };
    congestion.handle_sample(0, report(MS * 3), &sending(at(MS * 4), report(MS * 4).highest.0, 2));
    (congestion, report)
}

fn rate(congestion: &Congestion) -> f64 {
    match &congestion.phase {
        Phase::Steady(Steady::Open(open)) => open.rate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn restart_begins_a_new_round_of_the_search() {
    let (mut heard, report) = half_heard();
    let next = |time: Duration| sending(at(time), report(time).highest.0, 2);
    heard.handle_sample(1, report(MS * 4), &next(MS * 5));
    assert_eq!(rate(&heard), Open::FIRST * 2.0);

    let (mut congestion, report) = half_heard();
    congestion.restart(at(MS * 4), report(MS * 4).highest);
    congestion.handle_sample(1, report(MS * 5), &next(MS * 6));
    assert_eq!(rate(&congestion), Open::FIRST, "the first receiver has not been heard of this round");
    congestion.handle_sample(0, report(MS * 6), &next(MS * 7));
    assert_eq!(rate(&congestion), Open::FIRST * 2.0);
}

#[test]
fn receiver_that_goes_takes_its_say_in_the_round_along() {
    let (mut congestion, report) = half_heard();
    congestion.handle_gone(0, at(MS * 4), report(MS * 4).highest);
    let now = |time: Duration| sending(at(time), report(time).highest.0, 2);
    congestion.handle_sample(1, report(MS * 5), &now(MS * 6));
    assert_eq!(rate(&congestion), Open::FIRST);
}

#[test]
fn verdict_full_limits_the_rate_to_the_capacity_of_the_path() {
    let mut congestion = Congestion::new(None);
    let now = sending(at(MS), 10, 1);
    congestion.handle_sample(0, sample(1, 1, Duration::ZERO, MS), &now);
    let Phase::Steady(steady) = congestion.phase else { panic!() };
    congestion.conclude(Verdict::Full(50e6), 0, steady, &now);
    let decision = congestion.decision();
    assert_eq!(decision.slowest, Some((0, Rate::from_bits_per_second(50_000_000))));
    assert!(decision.phase == RatePhase::Limited && decision.rate.bits_per_second() < 50_000_000);
}

#[test]
fn verdict_of_nothing_changes_nothing() {
    let mut congestion = Congestion::new(None);
    let before = congestion.decision();
    let Phase::Steady(steady) = congestion.phase else { panic!() };
    congestion.conclude(Verdict::Nothing, 0, steady, &sending(at(MS), 10, 1));
    assert_eq!(congestion.decision(), before);
}

#[test]
fn decision_names_the_slowest_path_until_it_is_left_behind() {
    let mut session = Session::over(None, vec![Line::of(100e6, MS * 3, 0.0)]);
    session.run_until(RatePhase::Limited);
    session.assert_slowest(0, 100e6);
    session.line(0).capacity = 1e9;
    session.run_until(RatePhase::Open);
    assert_eq!(session.congestion.decision().slowest, None);
    assert!(session.rate() > 100e6);
    session.run_until(RatePhase::Limited);
    session.assert_slowest(0, 1e9);
}

#[test]
fn rate_is_what_the_operator_allows_at_most() {
    for lines in [vec![Line::of(FAST, MS, 0.0)], vec![Line::of(400e6, MS * 3, 0.1)]] {
        // Each step asserts it.
        let mut session = Session::over(Some(150e6), lines);
        session.run(Duration::from_secs(2));
        assert!(session.rate() > 120e6, "{}", session.rate());
    }
}

#[test]
fn report_that_is_older_than_another_changes_nothing() {
    let (mut congestion, report) = half_heard();
    let before = format!("{congestion:?}");
    congestion.handle_sample(0, report(MS * 2), &sending(at(MS * 5), 60, 2));
    congestion.handle_sample(0, report(MS * 3), &sending(at(MS * 5), 60, 2));
    assert_eq!(format!("{congestion:?}"), before);
}

#[test]
fn sender_was_held_back_for_a_while_around_what_it_sent_then() {
    let mut held_back = HeldBack::default();
    assert!(!held_back.covers(at(MS)));
    held_back.note(at(Duration::from_secs(1)));
    assert!(held_back.covers(at(MS)));
    assert!(held_back.covers(at(Duration::from_secs(1) + HeldBack::LASTS - MS)));
    assert!(!held_back.covers(at(Duration::from_secs(1) + HeldBack::LASTS)));
}

/// A claim of a receiver, and its time. Only the range of the numbers is as in a true one.
#[derive(Clone, Debug)]
struct Claim {
    slot: usize,
    /// Time since the claim before, and the datagrams sent meanwhile, as a share of what the rate allows.
    after: Duration,
    used: f64,
    /// The datagram that is said to be the highest one: so many before the last one.
    back: u64,
    arrived: u64,
    /// For so long it says to have held the report.
    held: Duration,
    receivers: usize,
    is_held_back: bool,
    is_gone: bool,
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let number = || prop_oneof![3 => Just(0_u64), 3 => 0..100_u64, 2 => 0..1_000_000_u64, 1 => any::<u64>()];
    let span = || {
        prop_oneof![3 => 0..2_000_u64, 5 => 0..60_000_u64, 1 => 0..60_000_000_u64]
            .prop_map(Duration::from_micros)
    };
    let claim = (
        (0..3_usize, span(), prop_oneof![Just(1.0), 0.0..1.0], number(), number()),
        (
            span(),
            prop_oneof![1..4_usize, any::<usize>()],
            prop::bool::weighted(0.05),
            prop::bool::weighted(0.02),
        ),
    );
    let claim = claim.prop_map(|((slot, after, used, back, arrived), rest)| {
        let (held, receivers, is_held_back, is_gone) = rest;
        Claim { slot, after, used, back, arrived, held, receivers, is_held_back, is_gone }
    });
    prop::collection::vec(claim, 1..400)
}

proptest! {
    #[test]
    fn rate_stays_within_bounds_whatever_reports_say(
        claims in claims(),
        ceiling in prop::option::of(1..10_000_000_000_u64),
        adds in any::<bool>(),
    ) {
        let ceiling = ceiling.map(Rate::from_bits_per_second);
        let mut congestion = Congestion::new(ceiling);
        let mut now = at(Duration::ZERO);
        congestion.handle_start(now, DatagramNumber(0));
        // When datagrams were sent: the first of each claim's time.
        let mut log = vec![(0_u64, now)];
        let mut next = 1_u64;
        let mut arrived = 0_u64;
        let mut held_back = HeldBack::default();
        for claim in claims {
            // No host sends faster than 100 Gbit/s.
            let rate = (congestion.decision().rate.bits_per_second() as f64).min(100e9);
            let sent = (claim.after.as_secs_f64() * rate * claim.used / DATAGRAM) as u64;
            log.push((next, now));
            next += sent;
            now += claim.after;
            if claim.is_held_back {
                held_back.note(now);
            }
            if claim.is_gone {
                congestion.handle_gone(claim.slot, now, DatagramNumber(next));
            }
            let highest = next.saturating_sub(1).saturating_sub(claim.back);
            let index = log.partition_point(|(first, _)| *first <= highest) - 1;
            let (first, since) = log[index];
            let (end, until) = log.get(index + 1).copied().unwrap_or((next, now));
            let share = (highest - first) as f64 / (end - first).max(1) as f64;
            let sent_at = since + until.since(since).mul_f64(share);
            arrived = if adds { arrived.saturating_add(claim.arrived) } else { claim.arrived };
            let seen_at = now - claim.held;
            let sample = Sample { highest: DatagramNumber(highest), arrived, sent_at, seen_at };
            let sending = Sending {
                answer: sample.round_trip() + claim.held,
                held_back,
                ..sending(now, next, claim.receivers)
            };
            congestion.handle_sample(claim.slot, sample, &sending);
            let decision = congestion.decision();
            let rate = decision.rate;
            prop_assert!(rate >= Rate::MIN && rate.bits_per_second() <= 1_000_000_000_000, "{decision:?}");
            prop_assert!(ceiling.is_none_or(|ceiling| rate <= ceiling), "{decision:?}");
            for slot in 0..3 {
                let own = congestion.own_loss(slot);
                prop_assert!((0.0..1.0).contains(&own), "{own}");
            }
        }
    }

    #[test]
    fn reports_with_any_numbers_make_no_panic(
        reports in prop::collection::vec((0..3_usize, any::<[u64; 4]>(), any::<[u32; 2]>(), any::<u64>()), 1..60),
    ) {
        let mut congestion = Congestion::new(None);
        congestion.handle_start(Time::ZERO, DatagramNumber(0));
        let mut now = Time::ZERO;
        for (slot, [highest, arrived, sent_at, seen_at], [after, receivers], scale) in reports {
            now += Duration::from_micros(u64::from(after));
            // Any magnitude is as likely as another one; 2^50 datagrams take centuries.
            let small = |number: u64, most: u32| number >> (64 - most).max((scale % 64) as u32);
            let (highest, arrived) = (DatagramNumber(small(highest, 50)), small(arrived, 64));
            let (sent_at, seen_at) = (Time::from_nanos(small(sent_at, 64)), Time::from_nanos(small(seen_at, 64)));
            let sending = sending(now, highest.0 + 1, receivers as usize);
            congestion.handle_sample(slot, Sample { highest, arrived, sent_at, seen_at }, &sending);
            prop_assert!(congestion.decision().rate >= Rate::MIN);
        }
    }
}
