//! Reports of a path: intervals, own loss, base and dispersion.

use super::super::tests::sample;
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

fn interval(sent: u64, lost: u64) -> Interval {
    Interval {
        sent,
        arrived: sent - lost,
        span: Path::INTERVAL,
        since: Time::ZERO,
        delay: Duration::ZERO,
        is_rising: false,
        queue: Some(false),
    }
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

/// The `queue` of an interval whose reports take longer than the base by these times.
fn queue_after(delays: &[Duration]) -> Option<bool> {
    let mut path = begun(MS);
    let mut queue = None;
    for (number, delay) in (1..).zip(delays) {
        let (highest, sent_at) = (number * 100, Path::INTERVAL / 10 * number as u32);
        let is_last = number == delays.len() as u64;
        let sent_at = if is_last { Path::INTERVAL } else { sent_at };
        let ended = take(&mut path, sample(highest, highest, sent_at, MS + *delay), FROM);
        assert_eq!(ended.is_some(), is_last);
        queue = ended.and_then(|ended| ended.queue);
    }
    queue
}

#[test]
fn queue_is_known_from_four_reports_on() {
    let long = Path::QUEUE * 2;
    let reports = Path::REPORTS as usize;
    assert_eq!(queue_after(&vec![long; reports - 1]), None);
    assert_eq!(queue_after(&vec![long; reports]), Some(true));
    assert_eq!(queue_after(&vec![Path::QUEUE; reports]), Some(false));
    let mut once_empty = vec![long; reports];
    once_empty[1] = Duration::ZERO;
    assert_eq!(queue_after(&once_empty), Some(false));
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
    assert_eq!(base.get(), MS);
    base.note(start + Base::WINDOW, MS * 5);
    base.note(start + Base::WINDOW * 2 - MS, MS * 5);
    assert_eq!(base.get(), MS);
    base.note(start + Base::WINDOW * 2, MS * 6);
    assert_eq!(base.get(), MS * 5);
    base.note(start + Base::WINDOW * 2 + MS, MS * 2);
    assert_eq!(base.get(), MS * 2);
}

#[test]
fn delay_is_what_a_round_trip_takes_beyond_the_shortest() {
    let mut path = begun(MS * 3);
    assert_eq!(path.delay(&sample(1, 1, MS, MS * 10)), MS * 7);
    assert_eq!(path.delay(&sample(1, 1, MS, MS * 2)), Duration::ZERO);
    path.note(sample(1, 1, MS, MS * 2));
    assert_eq!(path.delay(&sample(2, 2, MS, MS * 10)), MS * 8);
}

fn assert_close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

#[test]
fn own_loss_is_a_mean_that_goes_back_to_so_many_datagrams() {
    let mut own = OwnLoss::default();
    own.learn(&interval(100, 10), 1.0);
    assert_close(own.share, 0.1);
    own.learn(&interval(300, 15), 1.0);
    assert_close(own.share, 0.0625);
    let mut own = OwnLoss::default();
    own.learn(&interval(OwnLoss::MEMORY * 100, 0), 1.0);
    own.learn(&interval(OwnLoss::MEMORY, OwnLoss::MEMORY / 5), 1.0);
    assert_close(own.share, 0.1);
}

#[test]
fn own_loss_is_forgotten_at_once_where_chance_does_not_explain_how_little_is_lost() {
    let after = |lost, dispersion| {
        let mut own = OwnLoss::of(0.2, 5_000);
        own.learn(&interval(200, lost), dispersion);
        own.share
    };
    assert_close(after(0, 1.0), 0.0);
    assert!(after(0, 16.0) > 0.19 && after(30, 1.0) > 0.19);
}

#[test]
fn own_loss_is_a_share_that_leaves_something() {
    let mut own = OwnLoss::default();
    own.learn(&interval(100, 100), 1.0);
    assert_close(own.share, OwnLoss::MOST);
    let overtaken = Interval { arrived: 500, ..interval(100, 0) };
    assert_close(overtaken.lost(), -1.0);
    own.learn(&overtaken, 1.0);
    own.learn(&overtaken, 1.0);
    assert_close(own.share, 0.0);
}

#[test]
fn own_loss_is_exceeded_by_more_than_two_per_cent_and_chance() {
    let own = OwnLoss::of(0.2, 1_000);
    let (many, few) = (1_000_000, 100);
    let beyond = |sent: u64, excess: f64| interval(sent, ((0.2 + excess) * sent as f64).round() as u64);
    assert!(!own.is_exceeded(&beyond(many, OwnLoss::LEAST * 0.9), 1.0));
    assert!(own.is_exceeded(&beyond(many, OwnLoss::LEAST * 1.1), 1.0));
    let chance = OwnLoss::DEVIATIONS * (0.2 * 0.8 / few as f64).sqrt();
    assert!(chance > OwnLoss::LEAST * 2.0);
    assert!(!own.is_exceeded(&beyond(few, chance - 0.02), 1.0));
    assert!(own.is_exceeded(&beyond(few, chance + 0.02), 1.0));
    // Losses that come in bursts vary more: four times the variance is twice the deviation.
    assert!(!own.is_exceeded(&beyond(few, chance * 2.0 - 0.02), 4.0));
    assert!(own.is_exceeded(&beyond(few, chance * 2.0 + 0.02), 4.0));
}

#[test]
fn single_loss_does_not_exceed_an_own_loss_of_nothing() {
    let own = OwnLoss::default();
    assert!(!own.is_exceeded(&interval(Path::ENOUGH, 1), 1.0));
    assert!(!own.is_exceeded(&interval(Path::ENOUGH, 0), 1.0));
    assert!(own.is_exceeded(&interval(Path::ENOUGH, Path::ENOUGH / 4), 1.0));
}

#[test]
fn own_loss_fades() {
    let mut own = OwnLoss::of(0.2, 1_000);
    own.fade();
    assert_close(own.share, 0.2 * OwnLoss::FADES);
    own.fade();
    assert!(own.share < 0.2 * OwnLoss::FADES);
}

#[test]
fn signs_join_the_last_two_intervals() {
    let mut path = Path { own: OwnLoss::of(0.1, 1_000), ..Path::default() };
    path.add_sign(interval(1_000, 1_000));
    path.add_sign(Interval { queue: Some(false), since: Time::ZERO + MS, ..interval(100, 20) });
    path.add_sign(Interval { queue: Some(true), since: Time::ZERO + MS * 2, ..interval(300, 60) });
    let seen = path.signs.seen.unwrap();
    assert_eq!((path.signs.count, seen.sent, seen.arrived), (3, 400, 320));
    assert_eq!((seen.span, seen.since, seen.queue), (Path::INTERVAL * 2, Time::ZERO + MS, Some(false)));
    let wasted = (0.9 + 0.1 + 0.1) * Path::INTERVAL.as_secs_f64();
    assert_close(path.signs.wasted, wasted);
    path.clear_signs();
    assert!(path.signs.count == 0 && path.signs.seen.is_none() && path.signs.wasted == 0.0);
    path.add_sign(interval(100, 20));
    assert_eq!(path.signs.seen.map(|seen| seen.sent), Some(100));
}

fn dispersion_of(losses: [u64; 6]) -> Option<f64> {
    let mut path = Path::default();
    for lost in losses {
        path.note_unevenness(&interval(100, lost), false);
    }
    path.doubtful_dispersion()
}

#[test]
fn losses_in_bursts_show_a_dispersion_and_even_losses_do_not() {
    assert!(dispersion_of([0, 20, 0, 20, 0, 20]).unwrap() > 10.0);
    assert!(dispersion_of([10, 11, 9, 10, 12, 10]).unwrap() < 1.0);
    assert!(dispersion_of([0, 99, 0, 99, 0, 99]).unwrap() <= Unevenness::MOST);
    assert_eq!(dispersion_of([0; 6]), None);
}

#[test]
fn few_intervals_show_no_dispersion() {
    let mut path = Path::default();
    let mut shown = Vec::new();
    for lost in [0, 20, 0] {
        path.note_unevenness(&interval(100, lost), false);
        shown.push(path.doubtful_dispersion().is_some());
    }
    assert_eq!(shown, [false, false, true]);
    let (sum, samples) = path.take_dispersion();
    assert!(sum > 0.0 && samples == 2.0);
    assert_eq!(path.take_dispersion(), (0.0, 0.0));
}

#[test]
fn interval_with_a_full_queue_says_nothing_of_the_dispersion() {
    let mut path = Path::default();
    for lost in [0, 20, 0] {
        path.note_unevenness(&interval(100, lost), false);
    }
    path.note_unevenness(&interval(100, 50), true);
    assert_eq!(path.take_dispersion(), (0.0, 0.0));
    // Nor is the next one compared with it.
    path.note_unevenness(&interval(100, 0), false);
    assert_eq!(path.take_dispersion(), (0.0, 0.0));
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
