//! Intervals of one path: how they change the phase, and what is known of the path.

use super::*;

const CAPACITY: f64 = 100e6;

/// An interval of datagrams sent at the capacity, without a delay.
fn interval(lost: f64) -> Interval {
    let sent = (CAPACITY * Path::INTERVAL.as_secs_f64() / DATAGRAM).round();
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

/// Long after the rate was raised.
fn later() -> Sending {
    sending(at(Duration::from_secs(1)), 1_000, 1)
}

fn open() -> Congestion {
    let mut congestion = Congestion::new(None);
    congestion.handle_start(at(Duration::ZERO), DatagramNumber(0));
    congestion.paths.push(Path::default());
    congestion.paths[0].note(sample(0, 0, Duration::ZERO, MS));
    congestion
}

/// A rate limited by path 0, at the capacity or right after the limit was found.
fn limited(is_near: bool) -> Congestion {
    let mut congestion = open();
    let mut limited = Limited::new(0, CAPACITY, MS, &later());
    while is_near && !limited.is_near() {
        limited.grow(&interval(0.0), &later());
    }
    congestion.limit(limited, &later());
    congestion
}

fn signs(congestion: &Congestion) -> u32 {
    congestion.paths[0].signs.count
}

fn phase(congestion: &Congestion) -> RatePhase {
    congestion.decision().phase
}

#[test]
fn interval_without_losses_ends_the_signs() {
    let mut congestion = open();
    congestion.watch(0, interval(0.3), &later());
    congestion.watch(0, interval(0.3), &later());
    assert_eq!(signs(&congestion), 2);
    congestion.watch(0, interval(0.0), &later());
    assert_eq!(signs(&congestion), 0);
}

#[test]
fn losses_while_the_rate_was_just_raised_are_no_signs() {
    let mut congestion = open();
    let Steady::Open(mut search) = *congestion.steady_mut() else { panic!() };
    search.raise(CAPACITY, later().now, DatagramNumber(1_000));
    *congestion.steady_mut() = Steady::Open(search);
    congestion.watch(0, interval(0.3), &later());
    assert_eq!(signs(&congestion), 0);
}

#[test]
fn probe_without_a_limit_waits_until_losses_cost_more_than_it() {
    let mut congestion = open();
    for _ in 0..Congestion::SIGNS {
        congestion.watch(0, interval(0.1), &later());
    }
    assert_eq!((signs(&congestion), phase(&congestion)), (Congestion::SIGNS, RatePhase::Open));
    let lost = |congestion: &Congestion| congestion.paths[0].signs.wasted;
    let cost = Probe::cost(&interval(0.1), 0.0, 1.0, 1, &later()) * Congestion::WORTH;
    while lost(&congestion) < cost * 1.5 && phase(&congestion) == RatePhase::Open {
        congestion.watch(0, interval(0.1), &later());
    }
    assert_eq!(phase(&congestion), RatePhase::Probe);
    assert!(lost(&congestion) >= cost * 0.9);
}

#[test]
fn limited_session_begins_a_probe_at_its_second_sign() {
    let mut congestion = limited(false);
    for _ in 1..Congestion::SIGNS_LIKELY {
        congestion.watch(0, interval(0.3), &later());
        assert_eq!(phase(&congestion), RatePhase::Limited);
    }
    congestion.watch(0, interval(0.3), &later());
    assert_eq!(phase(&congestion), RatePhase::Probe);
}

#[test]
fn full_queue_near_the_capacity_needs_no_probe_and_lets_own_loss_fade() {
    let mut congestion = limited(true);
    congestion.paths[0].own = OwnLoss::of(0.05, 1_000);
    let before = congestion.decision().rate;
    congestion.watch(0, Interval { queue: Some(true), ..interval(0.4) }, &later());
    assert_eq!(phase(&congestion), RatePhase::Limited);
    assert!(congestion.decision().rate < before);
    let own = congestion.own_loss(0);
    assert!(own > 0.0 && own < 0.05, "{own}");
}

#[test]
fn queue_while_the_sender_was_held_back_is_not_known_to_be_the_paths() {
    let mut congestion = limited(true);
    let before = congestion.decision();
    let mut now = later();
    now.held_back.note(at(MS));
    congestion.watch(0, Interval { queue: Some(true), ..interval(0.4) }, &now);
    assert_eq!(congestion.decision(), before);
}

#[test]
fn rounds_that_double_the_rate_end_the_signs() {
    let (mut congestion, report) = half_heard();
    congestion.paths.resize_with(2, Path::default);
    congestion.paths[1].signs.count = 1;
    congestion.handle_sample(1, report(MS * 4), &sending(at(MS * 5), report(MS * 5).highest.0, 2));
    assert_eq!((reach(&congestion), congestion.paths[1].signs.count), (240e6, 0));
}

#[test]
fn rounds_that_double_the_rate_end_the_signs_of_every_path() {
    let (mut congestion, report) = half_heard();
    congestion.paths[0].signs.count = 1;
    congestion.handle_sample(1, report(MS * 4), &sending(at(MS * 5), report(MS * 5).highest.0, 2));
    assert_eq!((reach(&congestion), congestion.paths[0].signs.count), (240e6, 0));
}

/// The own loss of a path that was known to lose a tenth, after one more interval.
fn own_after(mut congestion: Congestion, interval: Interval) -> f64 {
    congestion.paths[0].own = OwnLoss::of(0.1, 1_000);
    congestion.watch(0, interval, &later());
    congestion.own_loss(0)
}

#[test]
fn own_loss_is_learnt_only_where_no_queue_may_be_full() {
    let usual = interval(0.08);
    assert!(own_after(open(), usual) < 0.1);
    assert!(own_after(limited(false), usual) < 0.1);
    assert_eq!(own_after(limited(true), usual), 0.1);
    assert_eq!(own_after(open(), Interval { queue: Some(true), ..usual }), 0.1);
    // A loss below half of the own loss teaches it even near the capacity.
    assert!(own_after(limited(true), interval(0.02)) < 0.1);
}

#[test]
fn rate_grows_only_with_intervals_of_the_slowest_path() {
    let mut congestion = limited(false);
    congestion.paths.push(Path::default());
    let before = congestion.decision().rate;
    congestion.watch(1, interval(0.0), &later());
    assert_eq!(congestion.decision().rate, before);
    congestion.watch(0, interval(0.0), &later());
    assert!(congestion.decision().rate > before);
}

/// Rate control of two paths more than a crowd, of which `answered` have been asked in a probe.
fn crowd_of(answered: usize) -> Congestion {
    let mut congestion = Congestion::new(None);
    congestion.paths.resize_with(Probe::CROWD + 2, Path::default);
    for path in congestion.paths.iter_mut().take(answered) {
        path.own = OwnLoss::of(0.01, 1_000);
        path.signs.seen = Some(Interval {
            sent: 100,
            arrived: 80,
            span: Path::INTERVAL,
            since: at(MS),
            delay: Duration::ZERO,
            is_rising: false,
            queue: None,
        });
        path.answer = Answer::new(path);
    }
    congestion.paths[Probe::CROWD + 1].own = OwnLoss::of(0.3, 1_000);
    congestion
}

#[test]
fn receiver_that_goes_is_forgotten() {
    let mut congestion = crowd_of(1);
    congestion.handle_gone(0, at(MS), DatagramNumber(5));
    assert_eq!(congestion.own_loss(0), 0.0);
    assert_eq!(congestion.own_loss(Probe::CROWD + 1), 0.3);
}

#[test]
fn own_loss_of_a_crowd_is_presumed_of_the_others() {
    let mut congestion = crowd_of(Probe::CROWD);
    congestion.settle_own_loss(0.2, Probe::CROWD);
    for slot in 0..=Probe::CROWD {
        assert_eq!(congestion.own_loss(slot), 0.2, "path {slot}");
    }
    assert_eq!(congestion.own_loss(Probe::CROWD + 1), 0.3);
}

#[test]
fn own_loss_of_a_few_is_not_presumed_of_the_others() {
    let mut congestion = crowd_of(Probe::CROWD - 1);
    congestion.settle_own_loss(0.2, Probe::CROWD - 1);
    assert_eq!(congestion.own_loss(0), 0.2);
    assert_eq!(congestion.own_loss(Probe::CROWD), 0.0);
}

#[test]
fn single_interval_without_a_limit_begins_no_probe_however_much_it_lost() {
    let mut congestion = open();
    let long = Interval { span: Duration::from_secs(2), ..interval(0.5) };
    for _ in 1..Congestion::SIGNS {
        congestion.watch(0, long, &later());
        assert_eq!(phase(&congestion), RatePhase::Open);
    }
    congestion.watch(0, long, &later());
    assert_eq!(phase(&congestion), RatePhase::Probe);
}

#[test]
fn probe_of_a_limited_session_starts_from_the_slower_of_limit_and_sending() {
    let probe_at = |lossy: Interval| {
        let mut congestion = limited(false);
        let limit = congestion.decision().rate.bits_per_second() as f64;
        for _ in 0..Congestion::SIGNS_LIKELY {
            congestion.watch(0, lossy, &later());
        }
        let Phase::Probe(probe, _) = congestion.phase else { panic!("{:?}", congestion.phase) };
        probe.rate / Probe::new(0, lossy, 0.0, limit, 1.0, &later()).rate
    };
    let fast = probe_at(interval(0.3));
    assert!((fast - 1.0).abs() < 0.01, "{fast}");
    let slow = probe_at(Interval { span: Path::INTERVAL * 2, ..interval(0.3) });
    assert!(slow < 0.7, "{slow}");
}

#[test]
fn rate_goes_on_and_is_looked_for_anew_once_the_slowest_receiver_has_gone() {
    let mut congestion = limited(true);
    let before = congestion.decision().rate;
    congestion.handle_gone(0, later().now, DatagramNumber(1_000));
    assert_eq!(congestion.decision().rate, before);
    congestion.watch(0, interval(0.3), &later());
    assert_eq!(signs(&congestion), 0);
}

#[test]
fn dispersion_is_that_of_all_paths_or_what_this_one_shows() {
    let mut path = Path::default();
    let of = |mean, path: &Path, interval| Congestion::dispersion_of(mean, path, &interval);
    assert_eq!(of(3.0, &path, interval(0.3)), 3.0);
    for lost in [0.0, 0.3, 0.0] {
        path.note_unevenness(&interval(lost), false);
    }
    assert!(of(3.0, &path, interval(0.3)) > 10.0);
    assert_eq!(of(1_000.0, &path, interval(0.3)), 1_000.0);
    assert_eq!(of(3.0, &path, interval(0.0)), 1.0);
}

#[test]
fn probe_ends_if_the_receiver_that_limits_the_session_goes() {
    let mut congestion = limited(false);
    congestion.paths.push(Path::default());
    congestion.paths[1].note(sample(0, 0, Duration::ZERO, MS));
    for _ in 0..Congestion::SIGNS_LIKELY {
        congestion.watch(1, interval(0.3), &later());
    }
    assert_eq!(phase(&congestion), RatePhase::Probe);
    congestion.handle_gone(0, later().now, later().next);
    assert_eq!(phase(&congestion), RatePhase::Open);
}
