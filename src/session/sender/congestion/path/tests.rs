//! Reports of a path: intervals, signs and base.

use super::super::tests::{at, interval, own_loss, sample};
use super::*;

const FROM: DatagramNumber = DatagramNumber(0);
const MS: Duration = Duration::from_millis(1);

fn take(path: &mut Path, sample: Sample, from: DatagramNumber) -> Option<Interval> {
    path.note(sample).then(|| path.interval(sample, from)).flatten()
}

/// A path that has reported datagram 0, of which an interval has begun.
fn begun(round_trip: Duration) -> Path {
    let mut path = Path::default();
    let first = sample(0, 0, Duration::ZERO, round_trip);
    path.note(first);
    assert_eq!(path.interval(first, FROM), None);
    path
}

#[test]
fn interval_ends_once_it_has_lasted_and_has_datagrams_enough() {
    let mut fast = begun(MS);
    let most = Path::ENOUGH * 10;
    assert_eq!(take(&mut fast, sample(most, most, Path::INTERVAL - MS, MS), FROM), None);
    let ended = take(&mut fast, sample(most + 1, most, Path::INTERVAL, MS), FROM).unwrap();
    assert_eq!((ended.sent, ended.arrived, ended.span), (most + 1, most, Path::INTERVAL));
    assert_eq!(ended.since, sample(0, 0, Duration::ZERO, MS).sent_at);

    let mut slow = begun(MS);
    let last = Path::ENOUGH;
    assert_eq!(take(&mut slow, sample(last - 1, last - 1, Path::INTERVAL * 9, MS), FROM), None);
    let ended = take(&mut slow, sample(last, last - 1, Path::INTERVAL * 10, MS), FROM).unwrap();
    assert_eq!((ended.sent, ended.arrived, ended.span), (last, last - 1, Path::INTERVAL * 10));
}

#[test]
fn interval_begins_where_the_one_before_has_ended() {
    let mut path = begun(MS);
    assert!(take(&mut path, sample(100, 90, Path::INTERVAL, MS), FROM).is_some());
    let second = take(&mut path, sample(300, 280, Path::INTERVAL * 2, MS), FROM).unwrap();
    assert_eq!((second.sent, second.arrived, second.span), (200, 190, Path::INTERVAL));
}

#[test]
fn interval_is_as_long_as_the_longer_of_sending_and_of_seeing() {
    // All of it arrives at once, with the last datagram.
    let mut burst = begun(Path::INTERVAL * 2);
    let ended = take(&mut burst, sample(100, 100, Path::INTERVAL * 2, MS), FROM).unwrap();
    assert_eq!(ended.span, Path::INTERVAL * 2);
    let mut queued = begun(MS);
    let ended = take(&mut queued, sample(100, 100, Path::INTERVAL, MS + Path::INTERVAL), FROM).unwrap();
    assert_eq!(ended.span, Path::INTERVAL * 2);
}

#[test]
fn no_interval_begins_before_the_first_datagram_of_a_rate() {
    let from = DatagramNumber(100);
    let mut path = Path::default();
    let at = |number: u64| sample(number, number, Path::INTERVAL * number as u32, MS);
    path.note(at(1));
    assert_eq!(path.interval(at(1), from), None);
    assert_eq!(take(&mut path, at(99), from), None);
    assert_eq!(take(&mut path, at(100), from), None);
    let ended = take(&mut path, at(200), from).unwrap();
    assert_eq!((ended.sent, ended.since), (100, at(100).sent_at));
    // The rate becomes another one, and the interval that began at datagram 200 is none any more.
    assert_eq!(take(&mut path, at(300), DatagramNumber(250)), None);
    assert_eq!(take(&mut path, at(400), DatagramNumber(250)).unwrap().sent, 100);
}

#[test]
fn report_that_is_older_than_another_is_ignored() {
    let mut path = Path::default();
    let newest = sample(100, 80, MS * 100, MS * 5);
    assert!(path.note(newest));
    for stale in [sample(99, 80, MS * 99, MS), sample(100, 90, MS * 100, MS)] {
        assert!(!path.note(stale), "{stale:?}");
        assert_eq!(path.last, Some(newest), "{stale:?}");
        assert_eq!(path.base(), MS * 5, "{stale:?}");
    }
    assert!(path.note(sample(101, 80, MS * 101, MS)));
    assert_eq!(path.base(), MS);
}

#[test]
fn delay_of_an_interval_is_that_of_its_shortest_round_trip() {
    let mut path = begun(MS);
    let report = |number: u64, delay: u32| {
        sample(number * 100, number * 100, MS * 10 * number as u32, MS * (1 + delay))
    };
    assert_eq!(take(&mut path, report(1, 4), FROM), None);
    assert_eq!(take(&mut path, report(2, 9), FROM).unwrap().delay, MS * 4);
    // The next interval begins anew.
    assert_eq!(take(&mut path, report(3, 8), FROM), None);
    assert_eq!(take(&mut path, report(4, 7), FROM).unwrap().delay, MS * 7);
}

#[test]
fn delay_is_not_rising_in_the_first_interval_of_a_rate() {
    let mut path = begun(MS);
    let mut number = 0;
    let mut ends = |delay: u32, from: u64| {
        number += 1;
        let report = sample(number * 100, number * 100, MS * 100 * number as u32, MS * (1 + delay));
        take(&mut path, report, DatagramNumber(from)).map(|ended| (ended.delay, ended.is_rising))
    };
    assert_eq!(ends(3, 0), Some((MS * 3, false)));
    assert_eq!(ends(5, 0), Some((MS * 5, true)));
    assert_eq!(ends(5, 0), Some((MS * 5, false)));
    assert_eq!(ends(4, 0), Some((MS * 4, false)));
    // Another rate from datagram 450 on.
    assert_eq!(ends(4, 450), None);
    assert_eq!(ends(9, 450), Some((MS * 9, false)));
    assert_eq!(ends(10, 450), Some((MS * 10, true)));
}

#[test]
fn shortest_round_trip_is_forgotten_after_two_windows() {
    let mut base = Base::default();
    let start = Time::ZERO + Duration::from_secs(3);
    base.note(start, MS);
    base.note(start + Base::WINDOW - MS, MS * 5);
    assert_eq!(base.present.min(base.before), MS);
    base.note(start + Base::WINDOW, MS * 5);
    base.note(start + Base::WINDOW * 2 - MS, MS * 5);
    assert_eq!(base.present.min(base.before), MS);
    base.note(start + Base::WINDOW * 2, MS * 6);
    assert_eq!(base.present.min(base.before), MS * 5);
    base.note(start + Base::WINDOW * 2 + MS, MS * 2);
    assert_eq!(base.present.min(base.before), MS * 2);
}

#[test]
fn delay_is_what_a_round_trip_takes_beyond_the_shortest() {
    let mut path = begun(MS * 3);
    assert_eq!(path.delay(&sample(1, 1, MS, MS * 10)), MS * 7);
    assert_eq!(path.delay(&sample(1, 1, MS, MS * 2)), Duration::ZERO);
    path.note(sample(1, 1, MS, MS * 2));
    assert_eq!(path.delay(&sample(2, 2, MS, MS * 10)), MS * 8);
}

#[test]
fn signs_join_the_intervals_in_a_row() {
    let mut path = Path { own: own_loss(0.1), ..Path::default() };
    let own = path.own.share;
    path.add_sign(&Interval { delay: MS, ..interval(100e6, 1.0) });
    path.add_sign(&Interval { delay: MS * 2, since: at(MS * 30), ..interval(200e6, 0.2) });
    let (seen, sent) = (path.signs.seen.unwrap(), [100e6, 200e6].map(|rate| interval(rate, 0.0).sent));
    assert_eq!((path.signs.count, seen.sent), (2, sent[0] + sent[1]));
    assert_eq!((seen.span, seen.since, seen.delay), (Path::INTERVAL * 2, at(MS), MS));
    let lost = 1.0 + interval(200e6, 0.2).lost();
    assert!((path.signs.wasted - (lost - 2.0 * own) * Path::INTERVAL.as_secs_f64()).abs() < 1e-9);
    path.clear_signs();
    assert!(path.signs.count == 0 && path.signs.seen.is_none() && path.signs.wasted == 0.0);
}

#[test]
fn datagrams_that_overtake_others_make_a_loss_negative_but_not_beyond_all() {
    for (arrived, lost) in [(110, -0.1), (500, -1.0)] {
        let mut path = begun(MS);
        let ended = take(&mut path, sample(100, arrived, Path::INTERVAL, MS), FROM).unwrap();
        assert!((ended.lost() - lost).abs() < 1e-9);
    }
}

#[test]
fn forged_report_does_not_make_all_true_ones_old() {
    let mut path = begun(MS);
    let from = path.last.unwrap();
    let after = |number: u64| Sample {
        highest: from.highest.plus(number * 100),
        arrived: from.arrived + number * 100,
        sent_at: from.sent_at + MS * number as u32,
        seen_at: from.seen_at + MS * number as u32,
    };
    assert!(path.note(after(1)));
    assert!(path.note(Sample { arrived: u64::MAX, ..after(2) }));
    assert!(!path.note(after(3)), "one of the two is not true");
    assert!(path.note(after(4)));
    assert_eq!(path.last, Some(after(4)));
}
