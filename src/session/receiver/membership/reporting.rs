//! When a receiver reports: a ceiling for the whole group, and random waits so that few speak where one would do.

use std::time::Duration;

use crate::session::ceiling::{REPORTS_PER_SECOND, savings, spacing};
use crate::time::Time;
use crate::wire::{BlockNumber, DatagramNumber};

/// What has been reported, and what is still to be.
#[derive(Debug)]
pub(super) struct Reporting {
    /// When the last report left.
    last: Time,
    /// When the next one may that can wait; urgent ones may come sooner by [`savings`].
    allowed: Time,
    /// Something that the sender should know, but not at once.
    news: Option<Time>,
    /// The sender does not seem to know how far this receiver is: a report was lost, or somebody else is behind.
    tell: Option<Time>,
    /// A block that misses symbols and no report has named, and when one will.
    nack: Option<(BlockNumber, Time)>,
    /// Needs that the last report named and that are still open are named again then.
    again: Option<Time>,
    /// Blocks before this one were looked at for the last report.
    asked: BlockNumber,
    /// Of those after, all before this one are complete.
    clear: BlockNumber,
    /// State of things at the last report.
    pub(super) arrived: u64,
    pub(super) position: BlockNumber,
    settled: DatagramNumber,
    /// Reports in a row that had nothing new to tell.
    repeats: u32,
}

/// The wait before symbols are asked for that others may miss, too.
///
/// As in RFC 5401 (NORM building block), section 5.2: exponentially distributed and cut off, so that of many who lost the
/// same, a handful speaks early, and the others see the repair before it is their turn; while one who is alone waits for
/// a few round trips. `u` is at random from 0 to 1.
pub(super) fn backoff(group: u32, grtt: Duration, u: f64) -> Duration {
    let lambda = f64::from(group.max(1)).ln() + 1.0;
    // Fewer receivers than fit into the ceiling need no longer than that, however far away one of them is.
    let longest = grtt.mul_f64((lambda - 1.0).min(MOST_ROUNDS)).min(Duration::from_secs(1) * group / 500);
    // More than can all speak within a second must not do so in the worst case either.
    let crowd = Duration::from_millis(u64::from(group.saturating_sub(REPORTS_PER_SECOND / 2)));
    longest.mul_f64((1.0 + u * (lambda.exp() - 1.0)).ln() / lambda) + crowd.mul_f64(u)
}

/// Round trips that the longest backoff lasts (RFC 5401's K): of 1,000 that lost the same, fewer than ten speak.
const MOST_ROUNDS: f64 = 4.0;

/// So many may speak at once; where there are more, what can wait is spread over the spacing.
const FEW: u32 = 8;

impl Reporting {
    /// Nothing has been reported at `now`.
    pub(super) const fn new(now: Time) -> Self {
        Self {
            last: now,
            allowed: now,
            news: None,
            tell: None,
            nack: None,
            again: None,
            asked: BlockNumber(0),
            clear: BlockNumber(0),
            arrived: 0,
            position: BlockNumber(0),
            settled: DatagramNumber(0),
            repeats: 0,
        }
    }

    /// Whether the sender should hear that so many datagrams have arrived.
    pub(super) fn is_news(&self, now: Time, arrived: u64, credit: u32) -> bool {
        let (news, quarter) = (arrived - self.arrived, u64::from(credit / 4).max(1));
        news >= quarter.min(NEWS.max(arrived / 4)) || (news >= NEWS && now >= self.last + NEWS_WITHIN)
    }

    /// There is enough that the sender should hear of: a part of the credit or of the window is used.
    pub(super) fn note_news(&mut self, now: Time, group: u32, rng: &mut fastrand::Rng) {
        if self.news.is_none() {
            self.news = Some(self.spread(now, group, rng));
        }
    }

    /// The sender has said something from which it follows that it does not know how far this receiver is.
    pub(super) fn note_ignorance(&mut self, now: Time, grtt: Duration, group: u32, rng: &mut fastrand::Rng) {
        if self.tell.is_none() {
            self.tell = Some((now + spacing(group).mul_f64(rng.f64())).max(self.last + grtt));
        }
    }

    /// When something may be said that can wait and that others want to say as well.
    fn spread(&self, now: Time, group: u32, rng: &mut fastrand::Rng) -> Time {
        if group > FEW && self.allowed <= now {
            now + spacing(group).mul_f64(rng.f64())
        } else {
            self.allowed
        }
    }

    /// From which block on to look for what is missing and has not been asked for.
    pub(super) fn unasked(&self) -> BlockNumber {
        self.asked.max(self.clear)
    }

    /// All before `received` has come; from [`Reporting::unasked`] on, `missing` is the first block that has not, though
    /// all before `settled` should. If it is to be asked for, that is `due` then.
    pub(super) fn note_blocks(
        &mut self,
        received: BlockNumber,
        missing: Option<BlockNumber>,
        settled: BlockNumber,
        due: impl FnOnce() -> Time,
    ) {
        if received >= self.asked {
            self.again = None;
        }
        self.clear = missing.unwrap_or(settled);
        self.nack = match (missing, self.nack) {
            (Some(block), Some((other, due))) if block == other => Some((block, due)),
            // A wait that was drawn for another block, which has come meanwhile, says nothing: those who lost this one,
            // too, have drawn theirs for it.
            (Some(block), _) => Some((block, due())),
            (None, _) => None,
        };
    }

    /// When a report is due; `sign` is the longest silence, `room` when the sender is to hear of room in the window.
    pub(super) fn due(&self, group: u32, sign: Duration, room: Option<Time>) -> Time {
        let never = Time::NEVER;
        // However much has been urgent, and in however large a group: nothing is kept back for more than two spacings.
        let latest = self.last + spacing(group) * 2;
        let urgent = self.nack.map_or(never, |(_, due)| due).min(self.again.unwrap_or(never));
        let urgent = urgent.min(room.unwrap_or(never)).max(latest.min(self.allowed - savings(group)));
        let calm = self.news.unwrap_or(never).min(self.tell.unwrap_or(never)).max(latest.min(self.allowed));
        urgent.min(calm).min(self.last + sign.max(spacing(group)))
    }

    /// A report has been written. What it asks for is asked for again once the answer has had time to come, and after
    /// another `backoff`: others miss as much.
    pub(super) fn handle_report(
        &mut self,
        now: Time,
        group: u32,
        grtt: Duration,
        backoff: Duration,
        state: &Reported,
    ) {
        self.last = now;
        self.allowed = self.allowed.max(now) + spacing(group);
        (self.news, self.tell, self.nack) = (None, None, None);
        self.asked = self.asked.max(state.settled_block);
        (self.arrived, self.position) = (state.arrived, state.position);
        self.repeats = if state.settled > self.settled { 0 } else { self.repeats.saturating_add(1) };
        self.settled = state.settled;
        self.again = state.needs.then(|| {
            let pause = NACK_AGAIN.max(grtt);
            // Nothing heard since the last time: the sender will not hear more of it if it is asked faster.
            now + (pause * 2_u32.saturating_pow(self.repeats.min(10)) + backoff)
                .min(super::Membership::ASK_MAX)
        });
    }
}

/// What a report said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported {
    pub(super) arrived: u64,
    pub(super) position: BlockNumber,
    pub(super) settled: DatagramNumber,
    pub(super) settled_block: BlockNumber,
    pub(super) needs: bool,
}

/// Needs are repeated no faster than this, nor than the answer can come.
const NACK_AGAIN: Duration = Duration::from_millis(1);

/// As many datagrams are told of within this time: the sender learns what the path carries from what arrives when.
const NEWS: u64 = 16;
const NEWS_WITHIN: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_second_sees_more_reports_than_the_ceiling() {
        for group in [1, 2, 3, 8, 9, 63, 64, 65, 500, 999, 1_000, 1_500, 2_000] {
            // As urgent as can be, all the time.
            let mut reporting = Reporting::new(Time::ZERO);
            let mut sent = Vec::new();
            let mut now = Time::ZERO;
            while now < Time::ZERO + SECOND * 5 {
                reporting.nack = Some((BlockNumber(0), now));
                now = now.max(reporting.due(group, SECOND, None));
                let nothing = Reported {
                    arrived: 0,
                    position: BlockNumber(0),
                    settled: DatagramNumber(0),
                    settled_block: BlockNumber(0),
                    needs: false,
                };
                reporting.handle_report(now, group, Duration::ZERO, Duration::ZERO, &nothing);
                sent.push(now);
            }
            let most = sent
                .iter()
                .map(|&from| sent.iter().filter(|at| (from..from + SECOND).contains(at)).count())
                .max();
            let together = most.unwrap_or(0) * group as usize;
            // Give or take one of each: a second may be cut so that it sees both ends of a spacing.
            assert!(together < (REPORTS_PER_SECOND + group) as usize, "{group}: {together}");
            assert!(together * 2 >= REPORTS_PER_SECOND as usize, "{group}: {together}");
        }
    }

    #[test]
    fn of_many_that_lost_the_same_a_handful_speaks_and_soon() {
        let grtt = Duration::from_millis(1);
        let mut rng = fastrand::Rng::with_seed(1);
        for group in [3, 32, 100, 1_000, 4_096] {
            let (mut speak, mut first) = (0, Duration::ZERO);
            for _ in 0..100 {
                let waits: Vec<_> = (0..group).map(|_| backoff(group, grtt, rng.f64())).collect();
                let least = waits.iter().min().copied().unwrap_or_default();
                first += least;
                // The repair comes a round trip after the first has spoken.
                speak += waits.iter().filter(|wait| **wait < least + grtt).count();
            }
            assert!(speak <= 1_000, "{group}: {speak} in 100 losses");
            assert!(first <= grtt * 200, "{group}: {first:?} for 100 losses");
        }
        assert_eq!(backoff(1, grtt, 0.9), Duration::ZERO);
        assert!(backoff(1_000, grtt, 1.0) <= grtt * 4);
        // Somebody on the moon does not keep three from speaking.
        assert!(backoff(3, SECOND * 3, 1.0) <= Duration::from_millis(6));
    }

    fn ms(n: u64) -> Time {
        Time::from_nanos(n * 1_000_000)
    }

    const fn reported(settled: u64, settled_block: u64, needs: bool) -> Reported {
        Reported {
            arrived: 0,
            position: BlockNumber(0),
            settled: DatagramNumber(settled),
            settled_block: BlockNumber(settled_block),
            needs,
        }
    }

    /// One of a group that has just reported this, with a round trip of 4 ms.
    fn after(now: Time, group: u32, state: &Reported) -> Reporting {
        let mut reporting = Reporting::new(Time::ZERO);
        reporting.handle_report(now, group, Duration::from_millis(4), Duration::from_millis(3), state);
        reporting
    }

    #[test]
    fn what_was_asked_for_is_asked_for_again_after_a_round_trip_and_less_often_while_nothing_is_heard() {
        let mut reporting = after(ms(0), 1, &reported(9, 1, true));
        let mut now = ms(0);
        let pauses: Vec<_> = (0..10)
            .map(|_| {
                let due = reporting.due(1, SECOND, None);
                let pause = due.since(std::mem::replace(&mut now, due)).as_millis();
                let (grtt, backoff) = (Duration::from_millis(4), Duration::from_millis(3));
                reporting.handle_report(now, 1, grtt, backoff, &reported(9, 1, true));
                pause
            })
            .collect();
        assert_eq!(pauses, [7, 11, 19, 35, 67, 131, 259, 500, 500, 500]);
        // Once it is there, it is asked for no more.
        reporting.note_blocks(BlockNumber(1), None, BlockNumber(1), || ms(0));
        assert_eq!(reporting.due(1, SECOND, None), now + SECOND);
    }

    #[test]
    fn a_wait_lasts_as_long_as_it_was_drawn_for_and_is_for_one_block() {
        let mut reporting = after(ms(0), 1, &reported(9, 3, false));
        assert_eq!(reporting.unasked(), BlockNumber(3));
        let mut note = |missing, due| {
            reporting.note_blocks(BlockNumber(3), Some(BlockNumber(missing)), BlockNumber(9), || ms(due));
            (reporting.due(1, SECOND, None), reporting.unasked())
        };
        assert_eq!(note(5, 20), (ms(20), BlockNumber(5)));
        assert_eq!(note(5, 30), (ms(20), BlockNumber(5)));
        assert_eq!(note(7, 30), (ms(30), BlockNumber(7)));
        // Later ones were looked at for the report that follows, and older ones are not looked at again.
        let mut reporting = after(ms(30), 1, &reported(9, 8, false));
        reporting.note_blocks(BlockNumber(3), None, BlockNumber(6), || ms(0));
        assert_eq!(reporting.unasked(), BlockNumber(8));
        let again = (Duration::ZERO, Duration::ZERO);
        reporting.handle_report(ms(40), 1, again.0, again.1, &reported(9, 4, false));
        assert_eq!(reporting.unasked(), BlockNumber(8));
    }

    #[test]
    fn news_of_a_crowd_is_spread_and_that_of_a_few_is_not_kept_back() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut due = |group| {
            let mut reporting = after(ms(0), group, &reported(9, 1, false));
            reporting.note_news(ms(5_000), group, &mut rng);
            reporting.due(group, SECOND * 100, None)
        };
        assert!((0..100).all(|_| due(4) <= ms(5_000)));
        let dues: Vec<_> = (0..100).map(|_| due(1_000)).collect();
        let at_once = dues.iter().filter(|due| **due < ms(5_100)).count();
        assert!(at_once < 40 && dues.iter().all(|due| *due <= ms(5_000) + spacing(1_000)), "{dues:?}");
    }

    #[test]
    fn the_sender_hears_often_while_little_has_arrived_and_soon_of_what_comes_fast() {
        let mut reporting = after(ms(0), 1, &reported(9, 1, false));
        assert!(!reporting.is_news(ms(1), 15, 1_000) && reporting.is_news(ms(1), 16, 1_000));
        reporting.arrived = 10_000;
        assert!(!reporting.is_news(ms(4), 10_100, 1_000) && reporting.is_news(ms(4), 10_250, 1_000));
        assert!(!reporting.is_news(ms(5), 10_015, 1_000) && reporting.is_news(ms(5), 10_016, 1_000));
        // Of a small credit, a quarter.
        assert!(reporting.is_news(ms(1), 10_002, 8));
    }

    #[test]
    fn a_sender_that_knows_too_little_is_told_once_the_last_report_had_time_to_arrive() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut reporting = after(ms(100), 1, &reported(9, 1, false));
        reporting.note_ignorance(ms(101), Duration::from_millis(40), 1, &mut rng);
        assert_eq!(reporting.due(1, SECOND, None), ms(140));
    }

    #[test]
    fn nobody_is_silent_for_longer_than_a_sign_of_life_takes_and_a_crowd_for_no_less_than_its_turn() {
        let reporting = after(ms(0), 1, &reported(9, 1, false));
        assert_eq!(reporting.due(1, SECOND, None), ms(1_000));
        let group = 4_000;
        let reporting = after(ms(0), group, &reported(9, 1, false));
        assert_eq!(reporting.due(group, SECOND, None), ms(0) + spacing(group));
        assert!(spacing(group) > SECOND);
    }

    #[test]
    fn however_much_was_urgent_nothing_is_kept_back_for_more_than_two_spacings() {
        let group = 500;
        for urgent in [true, false] {
            let mut reporting = Reporting::new(Time::ZERO);
            let mut rng = fastrand::Rng::with_seed(1);
            for at in 0..20 {
                let none = Duration::ZERO;
                reporting.handle_report(ms(at), group, none, none, &reported(at, 1, false));
            }
            if urgent {
                reporting.note_blocks(BlockNumber(0), Some(BlockNumber(0)), BlockNumber(9), || ms(20));
            } else {
                reporting.note_ignorance(ms(20), Duration::ZERO, group, &mut rng);
            }
            let due = reporting.due(group, SECOND * 100, None);
            assert!(due == ms(19) + spacing(group) * 2, "{urgent}: {due}");
        }
    }
}
