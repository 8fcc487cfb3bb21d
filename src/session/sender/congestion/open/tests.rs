use super::super::HeldBack;
use super::super::tests::{DATAGRAM, at, own_loss, sample, sending};
use super::*;

const RATE: f64 = 480e6;
const MS: Duration = Duration::from_millis(1);
/// The first datagram of the round, and those that go in a millisecond.
const FIRST: u64 = 1_000;
const A_MS: f64 = RATE / DATAGRAM / 1_000.0;

/// A path during the round.
#[derive(Clone, Copy)]
struct Line {
    /// The shares of the rate that are sent, and of what is sent that arrive.
    used: f64,
    share: f64,
    /// By so much longer does it take to arrive than to be sent.
    stretch: f64,
    round_trip: Duration,
}

const KEEPS_UP: Line = Line { used: 1.0, share: 1.0, stretch: 1.0, round_trip: MS };

impl Line {
    /// The report of what was sent in the first `time` of the round.
    fn after(&self, time: Duration) -> Sample {
        let sent = time.as_secs_f64() * 1_000.0 * A_MS * self.used;
        let highest = FIRST + sent as u64;
        let arrived = FIRST as f64 + sent * self.share;
        let round_trip = self.round_trip + time.mul_f64(self.stretch - 1.0);
        sample(highest, arrived as u64, time, round_trip)
    }
}

/// A search whose round is under way, with paths that have reported its beginning.
struct Search {
    open: Open,
    receivers: usize,
    paths: Vec<Path>,
    held_back: HeldBack,
}

impl Search {
    fn among(receivers: usize) -> Self {
        Self::over(receivers, KEEPS_UP)
    }

    fn over(receivers: usize, line: Line) -> Self {
        let mut open = Open::new(RATE, None);
        open.begin_round(at(Duration::ZERO), DatagramNumber(FIRST));
        let mut paths = vec![Path::default(); receivers];
        for path in &mut paths {
            path.note(line.after(Duration::ZERO));
        }
        Self { open, receivers, paths, held_back: HeldBack::default() }
    }

    fn report(&mut self, slot: usize, sample: Sample) -> Step {
        // The datagrams of one round trip are still under way.
        let time = sample.sent_at.since(at(Duration::ZERO));
        let each = time.as_secs_f64() / (sample.highest.0 - FIRST).max(1) as f64;
        let next = sample.highest.0 + 1 + (sample.round_trip().as_secs_f64() / each) as u64;
        let sending = Sending { held_back: self.held_back, ..sending(sample.seen_at, next, self.receivers) };
        let last = self.paths[slot].last;
        self.paths[slot].note(sample);
        self.open.handle_sample(&mut self.paths, slot, last, sample, &sending)
    }

    /// Lets a path report every half millisecond. Returns the first step that is more than nothing.
    fn run(&mut self, slot: usize, line: Line, until: Duration) -> Step {
        let mut time = MS / 2;
        while time <= until {
            let step = self.report(slot, line.after(time));
            if step != Step::Nothing {
                return step;
            }
            time += MS / 2;
        }
        Step::Nothing
    }

    fn rate(&self) -> f64 {
        self.open.rate / RATE
    }
}

/// The step that follows from a report at this rate, if the one before was about the beginning of the round.
fn only_report(rate: f64, report: Sample) -> Step {
    let mut open = Open::new(rate, None);
    open.begin_round(at(Duration::ZERO), DatagramNumber(FIRST));
    let before = sample(FIRST, FIRST, Duration::ZERO, MS);
    let now = sending(report.seen_at, FIRST * 2, 1);
    open.handle_sample(&mut [Path::default()], 0, Some(before), report, &now)
}

fn assert_knee(step: Step, share: f64) {
    let Step::Knee(knee) = step else { panic!("{step:?} instead of a knee") };
    assert!((knee / RATE / share - 1.0).abs() < 0.05, "the knee is at {} of the rate", knee / RATE);
}

#[test]
fn rate_is_doubled_once_every_path_keeps_up() {
    let mut search = Search::among(3);
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 2)), Step::Nothing);
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 3)), Step::Nothing);
    assert_eq!(search.report(1, KEEPS_UP.after(MS * 3)), Step::Nothing);
    assert_eq!(search.rate(), 1.0);
    assert_eq!(search.report(2, KEEPS_UP.after(MS * 2)), Step::Doubled);
    assert_eq!(search.rate(), 2.0);
}

#[test]
fn round_begins_anew_with_each_doubling() {
    let mut search = Search::among(2);
    search.report(0, KEEPS_UP.after(MS * 2));
    assert_eq!(search.report(1, KEEPS_UP.after(MS * 2)), Step::Doubled);
    // Datagrams sent before the change tell nothing about the new rate.
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 2 + MS / 10)), Step::Nothing);
    assert_eq!(search.report(1, KEEPS_UP.after(MS * 2 + MS / 10)), Step::Nothing);
    assert_eq!(search.rate(), 2.0);
}

#[test]
fn short_time_at_a_rate_does_not_double_it() {
    let mut search = Search::among(1);
    assert_eq!(search.report(0, KEEPS_UP.after(Open::SHORTEST_ROUND - MS / 10)), Step::Nothing);
    assert_eq!(search.report(0, KEEPS_UP.after(Open::SHORTEST_ROUND + MS / 10)), Step::Doubled);
}

#[test]
fn round_waits_for_a_crowd_for_4_ms_and_two_round_trips() {
    let mut search = Search::among(100);
    let long = Open::LONGEST_ROUND + KEEPS_UP.round_trip * 2;
    let in_time = long - KEEPS_UP.round_trip;
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 2)), Step::Nothing);
    assert_eq!(search.report(0, KEEPS_UP.after(in_time - MS / 10)), Step::Nothing);
    assert_eq!(search.report(0, KEEPS_UP.after(in_time)), Step::Doubled);
}

#[test]
fn round_waits_longer_where_round_trips_are_longer() {
    let far = Line { round_trip: MS * 50, ..KEEPS_UP };
    let mut search = Search::over(100, far);
    let in_time = Open::LONGEST_ROUND + far.round_trip;
    assert_eq!(search.report(0, far.after(in_time - MS)), Step::Nothing);
    assert_eq!(search.report(0, far.after(in_time)), Step::Doubled);
}

#[test]
fn path_that_does_not_keep_up_prevents_doubling_until_it_does() {
    let mut search = Search::among(2);
    let behind = Line { share: Open::KEEPS_UP - 0.1, ..KEEPS_UP };
    assert_eq!(search.report(1, behind.after(MS * 2)), Step::Nothing);
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 2)), Step::Nothing);
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 8)), Step::Nothing);
    assert_eq!(search.rate(), 1.0);
    assert_eq!(search.report(1, KEEPS_UP.after(MS * 8)), Step::Doubled);
}

#[test]
fn first_report_of_a_path_counts_from_the_beginning_of_the_round() {
    let begin = || {
        let mut open = Open::new(RATE, None);
        open.begin_round(at(Duration::ZERO), DatagramNumber(FIRST));
        open
    };
    let report = |open: &mut Open, arrived: f64, time: Duration| {
        let sent = time.as_secs_f64() * 1_000.0 * A_MS;
        let first = sample(FIRST + sent as u64, (sent * arrived) as u64, time, MS);
        open.handle_sample(&mut [Path::default()], 0, None, first, &sending(first.seen_at, FIRST + 500, 1))
    };
    assert_eq!(report(&mut begin(), 1.0, MS * 2), Step::Doubled);
    assert_eq!(report(&mut begin(), 0.5, MS * 2), Step::Nothing);
    assert_knee(report(&mut begin(), 0.5, Open::BEHIND_FOR + MS), 0.5);
}

#[test]
fn rate_that_is_not_used_is_not_doubled() {
    let mut search = Search::among(1);
    let unused = Line { used: Open::USED - 0.1, ..KEEPS_UP };
    assert_eq!(search.run(0, unused, MS * 300), Step::Nothing);
    let used = Line { used: Open::USED + 0.1, ..KEEPS_UP };
    assert_eq!(Search::among(1).run(0, used, MS * 300), Step::Doubled);
}

#[test]
fn rate_that_was_not_used_for_a_while_can_be_tried_again() {
    let mut search = Search::among(1);
    let begun = search.open.round.id;
    let idle = Line { used: 0.1, ..KEEPS_UP };
    assert_eq!(search.run(0, idle, Path::INTERVAL), Step::Nothing);
    assert_eq!(search.open.round.id, begun);
    assert_eq!(search.report(0, idle.after(Path::INTERVAL + MS)), Step::Nothing);
    assert_eq!(search.open.round.id, begun + 1);
}

#[test]
fn deep_queue_shows_in_reports_that_come_later_and_later() {
    let line = Line { stretch: 4.0, ..KEEPS_UP };
    assert_knee(Search::among(1).run(0, line, MS * 50), 0.25);
}

#[test]
fn shallow_queue_shows_in_losses() {
    for share in [0.25, 0.5] {
        let line = Line { share, ..KEEPS_UP };
        assert_knee(Search::among(1).run(0, line, MS * 50), share);
    }
}

#[test]
fn path_is_not_behind_before_10_ms_and_200_datagrams_of_a_used_rate() {
    let line = Line { share: 0.5, ..KEEPS_UP };
    assert_eq!(Search::among(1).run(0, line, Open::BEHIND_FOR - MS / 2), Step::Nothing);
    assert_knee(Search::among(1).run(0, line, Open::BEHIND_FOR), 0.5);
    // At a slow rate the datagrams take longer.
    let rate = Open::BEHIND_OF as f64 * DATAGRAM / (Open::BEHIND_FOR * 5).as_secs_f64();
    let step = |sent: u64| {
        let time = Duration::from_secs_f64(sent as f64 * DATAGRAM / rate);
        only_report(rate, sample(FIRST + sent, FIRST + sent / 2, time, MS))
    };
    assert_eq!(step(Open::BEHIND_OF - 2), Step::Nothing);
    assert!(matches!(step(Open::BEHIND_OF), Step::Knee(_)));
}

#[test]
fn delays_show_no_knee_while_the_sender_was_held_back() {
    let line = Line { stretch: 4.0, ..KEEPS_UP };
    let mut search = Search::among(1);
    search.held_back.note(at(Duration::ZERO));
    assert_eq!(search.run(0, line, MS * 50), Step::Nothing);
    assert_eq!(search.rate(), 1.0);
    // It was long before.
    let mut search = Search::among(1);
    search.held_back.note(at(Duration::ZERO) - Duration::from_millis(500));
    assert_knee(search.run(0, line, MS * 50), 0.25);
}

#[test]
fn queue_of_the_sender_is_not_taken_for_one_of_all_paths() {
    // All paths are later by less than the sender's own queue can be.
    let line = Line { stretch: 2.0, ..KEEPS_UP };
    let late = line.after(Open::BEHIND_FOR);
    assert!(Open::OWN_QUEUE > Open::BEHIND_FOR);
    let mut search = Search::among(3);
    assert_eq!(search.report(2, late), Step::Nothing);
    // The others are not late, so the queue is on the path.
    let mut search = Search::among(3);
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 2)), Step::Nothing);
    assert_eq!(search.report(1, KEEPS_UP.after(MS * 2)), Step::Nothing);
    assert_knee(search.report(2, late), 0.5);
}

#[test]
fn own_queue_is_no_longer_than_the_least_delay_of_another_path() {
    // The sender is held back, so its queue may be of any length. The rate is not used, so that no round ends.
    let prompt = Line { used: 0.5, ..KEEPS_UP };
    let late = Line { stretch: 4.0, ..prompt };
    let step = |other: Sample| {
        let mut search = Search::among(2);
        search.held_back.note(at(MS * 100));
        search.report(0, other);
        search.report(1, late.after(MS * 15))
    };
    assert_knee(step(prompt.after(MS * 15)), 0.125);
    assert_eq!(step(late.after(MS * 15)), Step::Nothing);
    // The queue may have grown since.
    assert_knee(step(prompt.after(MS * 5)), 0.125);
    assert_eq!(step(prompt.after(MS * 5 - MS / 10)), Step::Nothing);
}

#[test]
fn first_report_of_another_path_does_not_show_that_the_own_queue_is_short() {
    let prompt = Line { used: 0.5, ..KEEPS_UP };
    let late = Line { stretch: 2.0, ..prompt }.after(Open::BEHIND_FOR);
    let mut search = Search::among(2);
    search.paths[0] = Path::default();
    search.report(0, prompt.after(Open::BEHIND_FOR / 2));
    assert_eq!(search.report(1, late), Step::Nothing);
    search.report(0, prompt.after(Open::BEHIND_FOR));
    assert_knee(search.report(1, late), 0.25);
}

#[test]
fn all_paths_together_are_behind_once_they_are_later_than_the_own_queue_explains() {
    let late = |time| Line { used: 0.5, stretch: 4.0, ..KEEPS_UP }.after(time);
    let mut search = Search::among(2);
    for time in (1..8).map(|step| MS * step) {
        assert_eq!(search.report(0, late(time)), Step::Nothing);
        assert_eq!(search.report(1, late(time)), Step::Nothing);
    }
    // Of 24 ms of delay, a queue of 20 ms explains only a part.
    assert_knee(search.report(0, late(MS * 8)), 0.125);
}

#[test]
fn few_datagrams_do_not_show_a_path_that_is_late() {
    let step = |sent: u64| only_report(RATE * 2.0, sample(FIRST + sent, FIRST + sent, MS, MS * 50));
    assert_eq!(step(Path::ENOUGH - 1), Step::Nothing);
    assert!(matches!(step(Path::ENOUGH), Step::Knee(_)));
}

#[test]
fn own_loss_of_a_fifth_does_not_prevent_doubling() {
    let line = Line { share: 0.8, ..KEEPS_UP };
    let mut search = Search::among(2);
    assert_eq!(search.run(0, line, MS * 3), Step::Nothing);
    assert_eq!(search.run(1, line, MS * 3), Step::Doubled);
    assert_eq!(Search::among(1).report(0, line.after(MS * 20)), Step::Doubled);
}

#[test]
fn loss_that_is_known_to_be_the_paths_own_does_not_count() {
    let lossy = Line { share: 0.4, ..KEEPS_UP };
    assert_knee(Search::among(1).run(0, lossy, MS * 50), 0.4);
    let mut search = Search::among(1);
    search.paths[0].own = own_loss(0.6);
    assert_eq!(search.run(0, lossy, MS * 50), Step::Doubled);
}

#[test]
fn rate_is_not_doubled_beyond_what_the_operator_allows() {
    let mut search = Search::among(1);
    search.open.ceiling = RATE * 1.5;
    assert_eq!(search.report(0, KEEPS_UP.after(MS * 2)), Step::Doubled);
    assert_eq!(search.rate(), 1.5);
    search.open = Open::new(RATE * 2.0, Some(Rate::from_bits_per_second(RATE as u64)));
    search.open.begin_round(at(Duration::ZERO), DatagramNumber(FIRST));
    assert_eq!((search.run(0, KEEPS_UP, MS * 9), search.rate()), (Step::Nothing, 1.0));
}

#[test]
fn receiver_that_lies_about_losses_limits_the_rate_to_a_tenth_at_most() {
    let nothing = Line { share: 0.0, ..KEEPS_UP };
    assert_knee(Search::among(1).run(0, nothing, MS * 50), Congestion::DEEPEST);
    let late = Line { stretch: 1_000.0, ..KEEPS_UP };
    assert_knee(Search::among(1).run(0, late, MS * 50), Congestion::DEEPEST);
}

#[test]
fn receiver_that_claims_more_than_was_sent_has_all_of_it() {
    let boasts = Line { share: 50.0, ..KEEPS_UP };
    assert_eq!(Search::among(1).run(0, boasts, MS * 50), Step::Doubled);
    let late = Line { stretch: 4.0, ..boasts };
    assert_knee(Search::among(1).run(0, late, MS * 50), 0.25);
}
