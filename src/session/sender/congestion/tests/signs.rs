//! Intervals of one path: how they change the phase, and what is known of the path.

use super::*;

const CAPACITY: f64 = 100e6;

/// An interval of datagrams sent at the capacity, without a delay.
fn interval(lost: f64) -> Interval {
    super::interval(CAPACITY, lost)
}

/// One in which a queue has stood.
fn queued(lost: f64) -> Interval {
    Interval { delay: Path::QUEUE * 2, ..interval(lost) }
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
    let mut limited = Limited::new(0, CAPACITY);
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
    congestion.watch(0, &interval(0.3), &later());
    congestion.watch(0, &interval(0.3), &later());
    assert_eq!(signs(&congestion), 2);
    congestion.watch(0, &interval(0.0), &later());
    assert_eq!(signs(&congestion), 0);
}

#[test]
fn full_queue_near_the_capacity_needs_no_probe_and_lets_own_loss_fade() {
    let mut congestion = limited(true);
    congestion.paths[0].own = own_loss(0.05);
    let before = congestion.decision().rate;
    congestion.watch(0, &queued(0.4), &later());
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
    congestion.watch(0, &queued(0.4), &now);
    assert_eq!(congestion.decision(), before);
}

#[test]
fn rounds_that_double_the_rate_end_the_signs() {
    let (mut congestion, report) = half_heard();
    congestion.paths.resize_with(2, Path::default);
    congestion.paths[1].signs.count = 1;
    congestion.handle_sample(1, report(MS * 4), &sending(at(MS * 5), report(MS * 5).highest.0, 2));
    assert_eq!((rate(&congestion), congestion.paths[1].signs.count), (Open::FIRST * 2.0, 0));
}

#[test]
fn rounds_that_double_the_rate_end_the_signs_of_every_path() {
    let (mut congestion, report) = half_heard();
    congestion.paths[0].signs.count = 1;
    congestion.handle_sample(1, report(MS * 4), &sending(at(MS * 5), report(MS * 5).highest.0, 2));
    assert_eq!((rate(&congestion), congestion.paths[0].signs.count), (Open::FIRST * 2.0, 0));
}

/// The own loss of a path that was known to lose a tenth, after one more interval.
fn own_after(mut congestion: Congestion, interval: Interval) -> f64 {
    congestion.paths[0].own = own_loss(0.1);
    congestion.watch(0, &interval, &later());
    congestion.own_loss(0)
}

#[test]
fn own_loss_is_learnt_where_no_queue_may_be_full_and_where_less_is_lost() {
    let known = own_loss(0.1).share;
    for (more, less) in [(interval(0.12), interval(0.08)), (queued(0.12), queued(0.08))] {
        let learns = more.delay == Duration::ZERO;
        assert_eq!(own_after(open(), more) > known, learns);
        assert_eq!(own_after(limited(false), more) > known, learns);
        assert_eq!(own_after(limited(true), more), known);
        assert!(own_after(open(), less) < known && own_after(limited(true), less) < known);
    }
}

#[test]
fn rate_grows_only_with_intervals_of_the_slowest_path() {
    let mut congestion = limited(false);
    congestion.paths.push(Path::default());
    let before = congestion.decision().rate;
    congestion.watch(1, &interval(0.0), &later());
    assert_eq!(congestion.decision().rate, before);
    congestion.watch(0, &interval(0.0), &later());
    assert!(congestion.decision().rate > before);
}

#[test]
fn receiver_that_goes_is_forgotten() {
    let mut congestion = open();
    congestion.paths.push(Path::default());
    for path in &mut congestion.paths {
        path.own = own_loss(0.3);
    }
    congestion.handle_gone(0, at(MS), DatagramNumber(5));
    assert_eq!((congestion.own_loss(0), congestion.own_loss(1)), (0.0, own_loss(0.3).share));
}

#[test]
fn verdict_own_believes_what_each_lossy_path_has_lost() {
    let mut congestion = open();
    congestion.paths.resize_with(3, Path::default);
    for (slot, lost) in [(0, 0.2), (2, 0.4)] {
        congestion.paths[slot].own = own_loss(0.05);
        congestion.paths[slot].add_sign(&interval(lost));
    }
    congestion.paths[1].own = own_loss(0.1);
    let Phase::Steady(steady) = congestion.phase else { panic!() };
    congestion.conclude(Verdict::Own, 0, steady, &later());
    for (slot, own) in [(0, interval(0.2).lost()), (1, own_loss(0.1).share), (2, interval(0.4).lost())] {
        assert_eq!(congestion.own_loss(slot), own, "path {slot}");
    }
}

#[test]
fn probe_without_a_limit_waits_until_losses_have_cost_as_much_as_it_will() {
    let mut congestion = open();
    for _ in 0..Congestion::SIGNS {
        congestion.watch(0, &interval(0.1), &later());
    }
    assert_eq!((signs(&congestion), phase(&congestion)), (Congestion::SIGNS, RatePhase::Open));
    let wasted = |congestion: &Congestion| congestion.paths[0].signs.wasted;
    let cost = (Congestion::WORTH + later().answer).as_secs_f64();
    while wasted(&congestion) < cost * 1.5 && phase(&congestion) == RatePhase::Open {
        congestion.watch(0, &interval(0.1), &later());
    }
    assert_eq!(phase(&congestion), RatePhase::Probe);
    assert!(wasted(&congestion) >= cost);
}

#[test]
fn limited_session_and_one_beside_a_queue_begin_a_probe_at_the_second_sign() {
    for (mut congestion, lossy) in [(limited(false), interval(0.3)), (open(), queued(0.3))] {
        let before = phase(&congestion);
        for _ in 1..Congestion::SIGNS {
            congestion.watch(0, &lossy, &later());
            assert_eq!(phase(&congestion), before);
        }
        congestion.watch(0, &lossy, &later());
        assert_eq!(phase(&congestion), RatePhase::Probe);
    }
}

#[test]
fn single_interval_without_a_limit_begins_no_probe_however_much_it_lost() {
    let mut congestion = open();
    let long = Interval { span: Duration::from_secs(2), ..interval(0.5) };
    for _ in 1..Congestion::SIGNS {
        congestion.watch(0, &long, &later());
        assert_eq!(phase(&congestion), RatePhase::Open);
    }
    congestion.watch(0, &long, &later());
    assert_eq!(phase(&congestion), RatePhase::Probe);
}

#[test]
fn probe_of_a_limited_session_starts_from_the_slower_of_limit_and_sending() {
    let probe_at = |lossy: Interval| {
        let mut congestion = limited(false);
        let limit = congestion.decision().rate.bits_per_second() as f64;
        for _ in 0..Congestion::SIGNS {
            congestion.watch(0, &lossy, &later());
        }
        let Phase::Probe(probe, _) = congestion.phase else { panic!("{:?}", congestion.phase) };
        probe.rate / Probe::new(0, &lossy, 0.0, limit, &later()).rate
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
    assert_eq!((congestion.decision().rate, phase(&congestion)), (before, RatePhase::Open));
}

#[test]
fn probe_ends_if_the_receiver_that_limits_the_session_goes() {
    let mut congestion = limited(false);
    congestion.paths.push(Path::default());
    congestion.paths[1].note(sample(0, 0, Duration::ZERO, MS));
    for _ in 0..Congestion::SIGNS {
        congestion.watch(1, &interval(0.3), &later());
    }
    assert_eq!(phase(&congestion), RatePhase::Probe);
    congestion.handle_gone(0, later().now, later().next);
    assert_eq!(phase(&congestion), RatePhase::Open);
}
