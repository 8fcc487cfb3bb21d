//! The beliefs of the rate control about the paths. The report shows them, and the log says when they change.
//!
//! The rate control forgets a path when its receiver has gone. Its last belief about that path is kept here and in
//! [`Member::path_loss`].

use std::time::Duration;

use super::congestion::Decision;
use super::{Member, RatePhase, Sender, State};
use crate::session::Rate;
use crate::time::Time;
use crate::wire::ReceiverId;

/// The beliefs of the rate control: the present ones while data flows, the last ones after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateControl<'a> {
    /// The phase.
    pub phase: RatePhase,
    /// Name of the receiver whose path limits the rate, and the rate that this path carries; `None` if no path is known to
    /// limit it.
    pub slowest: Option<(&'a str, Rate)>,
}

/// The last belief about the rate of the session, and what the log says of it.
#[derive(Debug)]
pub(super) struct Findings {
    phase: RatePhase,
    slowest: Option<Slowest>,
    /// The slowest path in the last line; `None` before the first line.
    logged: Option<Option<Slowest>>,
    change: LastingChange,
    /// Number of paths whose loss has been logged.
    lossy_paths: usize,
}

/// The path that limits the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slowest {
    /// Its receiver's place among the members.
    slot: usize,
    receiver: ReceiverId,
    capacity: Rate,
}

/// The last line of the log about one path's own loss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoggedLoss {
    /// The share in the last line; 0 before the first one.
    share: f64,
    /// Whether there has been a line.
    logged: bool,
    change: LastingChange,
}

/// A difference between what is believed and what was logged last, which is logged once it has lasted for some time.
#[derive(Clone, Copy, Debug, Default)]
struct LastingChange {
    since: Option<Time>,
}

impl Findings {
    /// A capacity is logged again when it has changed by more than this share of what was logged.
    const CAPACITY_CHANGE: f64 = 0.2;
    /// Number of paths whose loss is logged: in a crowd on one bad link, each of thousands of paths may lose.
    const MOST_LOSSY_PATHS: usize = 16;

    pub(super) const fn new() -> Self {
        Self {
            phase: RatePhase::Open,
            slowest: None,
            logged: None,
            change: LastingChange { since: None },
            lossy_paths: 0,
        }
    }

    /// Keeps a decision. `receiver_at` finds the receiver at a place among the members.
    fn note(&mut self, decision: &Decision, receiver_at: impl Fn(usize) -> Option<ReceiverId>) {
        self.phase = decision.phase;
        self.slowest = decision.slowest.and_then(|(slot, capacity)| {
            // A search takes as long as there are members, so it is made only when the slot is another one.
            let known = self.slowest.filter(|slowest| slowest.slot == slot);
            let receiver = known.map(|slowest| slowest.receiver).or_else(|| receiver_at(slot))?;
            Some(Slowest { slot, receiver, capacity })
        });
    }

    /// The slowest path, if it differs noticeably from the one in the last line and is therefore to be logged.
    fn next_line(&mut self, now: Time, elapsed: Duration) -> Option<Option<Slowest>> {
        let differs = match (self.logged.flatten(), self.slowest) {
            (None, None) => false,
            (Some(logged), Some(slowest)) => {
                let [before, after] =
                    [logged, slowest].map(|slowest| slowest.capacity.bits_per_second() as f64);
                logged.slot != slowest.slot || (after - before).abs() > before * Self::CAPACITY_CHANGE
            }
            _ => true,
        };
        // The first line comes at once, so that a short session has it, too.
        let least = if self.logged.is_none() { Duration::ZERO } else { LastingChange::least(elapsed) };
        if !self.change.lasts(differs, now, least) {
            return None;
        }
        self.logged = Some(self.slowest);
        self.logged
    }
}

impl LoggedLoss {
    /// Losses below this share are not logged: they cost the session next to nothing.
    const LEAST: f64 = 0.01;
    /// A loss is logged again when it has changed by more than this share of what was logged.
    const CHANGE: f64 = 0.5;

    /// Whether this share is to be logged. If so, it counts as logged.
    fn is_due(&mut self, share: f64, now: Time, elapsed: Duration) -> bool {
        let differs =
            share.max(self.share) > Self::LEAST && (share - self.share).abs() > self.share * Self::CHANGE;
        let is_due = self.change.lasts(differs, now, LastingChange::least(elapsed));
        if is_due {
            (self.share, self.logged) = (share, true);
        }
        is_due
    }
}

impl LastingChange {
    /// A belief that is younger than this may still turn out to be chance.
    const SHORTEST: Duration = Duration::from_secs(1);
    /// A change is logged after this time, however long the session has been running.
    const LONGEST: Duration = Duration::from_mins(1);

    /// The time for which a change must last: a tenth of the session's time, so that a belief which alternates all the time
    /// does not fill the log.
    fn least(elapsed: Duration) -> Duration {
        (elapsed / 10).clamp(Self::SHORTEST, Self::LONGEST)
    }

    /// Whether there has been a difference for this time. The next one begins anew.
    fn lasts(&mut self, differs: bool, now: Time, least: Duration) -> bool {
        if !differs {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let lasts = now.since(since) >= least;
        if lasts {
            self.since = None;
        }
        lasts
    }
}

impl Sender {
    /// The beliefs of the rate control: the present ones while data flows, the last ones after that.
    pub fn rate_control(&self) -> RateControl<'_> {
        let slowest = self
            .findings
            .slowest
            .and_then(|slowest| Some((self.members.get(slowest.receiver)?.name.as_str(), slowest.capacity)));
        RateControl { phase: self.findings.phase, slowest }
    }

    /// Keeps what the rate control believes of the session, and logs it if it has changed. Once all data has been sent, the
    /// receivers end one by one, and what it believes then says nothing of the session.
    pub(super) fn note_findings(&mut self, now: Time) {
        let is_all_sent = self.end.is_some() && self.window.all_sent();
        if !matches!(self.state, State::Streaming) || is_all_sent || self.members.receiving() == 0 {
            return;
        }
        let members = &self.members;
        let receiver_at = |slot| members.iter().find(|member| member.slot == slot).map(|member| member.id);
        self.findings.note(&self.congestion.decision(), receiver_at);
        let elapsed = now.since(self.started.unwrap_or(now));
        match self.findings.next_line(now, elapsed) {
            Some(Some(Slowest { receiver, capacity, .. })) => {
                let Some(member) = self.members.get(receiver) else { return };
                let (name, address, bps) = (&member.name, member.address, capacity.bits_per_second());
                tracing::debug!(%name, %address, capacity_bps = bps, "{name} limits the rate: the path to it carries {capacity}");
            }
            Some(None) => tracing::debug!("no receiver limits the rate any more"),
            None => {}
        }
    }

    /// Keeps what the rate control believes of the path to a receiver that has just reported, and logs it if it has changed.
    pub(super) fn note_path_loss(&mut self, now: Time, receiver: ReceiverId) {
        let elapsed = now.since(self.started.unwrap_or(now));
        let Some(member) = self.members.get_mut(receiver) else { return };
        member.path_loss = self.congestion.own_loss(member.slot);
        let is_first = !member.logged_loss.logged;
        if !member.logged_loss.is_due(member.path_loss, now, elapsed) {
            return;
        }
        if is_first {
            self.findings.lossy_paths += 1;
        }
        let Member { name, address, path_loss, .. } = member;
        if !is_first || self.findings.lossy_paths <= Findings::MOST_LOSSY_PATHS {
            let percent = *path_loss * 100.0;
            tracing::debug!(%name, %address, path_loss, "the path to {name} loses {percent:.1} % also at a lower rate");
        } else if self.findings.lossy_paths == Findings::MOST_LOSSY_PATHS + 1 {
            tracing::debug!(
                "more paths lose datagrams also at a lower rate: the report has path_loss for every receiver"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemberState;
    use super::super::fixture::test_config;
    use super::*;
    use crate::wire::{Join, Name};

    /// A sender whose session with receivers 0 and 1 has started. It believes that the path to receiver 0 is the slowest.
    fn sender() -> Sender {
        let mut sender = Sender::new(test_config(2), Time::ZERO);
        for (id, name) in [(0, "r0"), (1, "r1")] {
            let join = Join {
                receiver: ReceiverId(id),
                window: 4,
                credit: 8,
                peer_timeout: Duration::from_secs(10),
                name: Name::new(name).unwrap(),
            };
            sender.handle_join(Time::ZERO, "192.0.2.1:1".parse().unwrap(), &join);
        }
        sender.check_start(Time::ZERO);
        sender.findings.note(&decision(Some((0, 94))), |slot| Some(ReceiverId(slot as u64)));
        sender
    }

    /// The slowest receiver in the report, after these receivers were lost and the rate control knows no slowest path.
    fn slowest_after_loss_of(receivers: &[u64]) -> Option<String> {
        let mut sender = sender();
        for id in receivers {
            sender.members.get_mut(ReceiverId(*id)).unwrap().state = MemberState::Lost;
        }
        sender.note_findings(ms(1));
        sender.rate_control().slowest.map(|(name, _)| name.to_owned())
    }

    #[test]
    fn slowest_path_is_kept_for_the_report_when_the_last_receiver_ends() {
        assert_eq!(slowest_after_loss_of(&[0, 1]).as_deref(), Some("r0"));
        assert_eq!(slowest_after_loss_of(&[0]), None);
    }

    #[test]
    fn path_whose_loss_has_gone_counts_as_logged_all_the_same() {
        let mut logged = LoggedLoss::default();
        for (at, share) in [(0, 0.2), (1_000, 0.2), (5_000, 0.0), (6_000, 0.0)] {
            logged.is_due(share, ms(at), Duration::ZERO);
        }
        assert!(logged.logged && logged.share == 0.0);
    }

    const fn ms(n: u64) -> Time {
        Time::from_nanos(n * 1_000_000)
    }

    fn decision(slowest: Option<(usize, u64)>) -> Decision {
        let slowest =
            slowest.map(|(slot, megabits)| (slot, Rate::from_bits_per_second(megabits * 1_000_000)));
        let phase = if slowest.is_some() { RatePhase::Limited } else { RatePhase::Open };
        Decision { rate: Rate::from_bits_per_second(1_000_000_000), phase, slowest }
    }

    /// The lines that these beliefs give, each at a time in milliseconds since the start: slot and Mbit/s.
    fn lines(
        beliefs: impl IntoIterator<Item = (u64, Option<(usize, u64)>)>,
    ) -> Vec<(u64, Option<(usize, u64)>)> {
        let mut findings = Findings::new();
        let mut lines = Vec::new();
        for (at, slowest) in beliefs {
            findings.note(&decision(slowest), |slot| Some(ReceiverId(slot as u64)));
            if let Some(line) = findings.next_line(ms(at), Duration::from_millis(at)) {
                let line = line.map(|it| (it.slot, it.capacity.bits_per_second() / 1_000_000));
                lines.push((at, line));
            }
        }
        lines
    }

    #[test]
    fn first_slow_path_is_logged_at_once_and_a_session_without_one_logs_nothing() {
        assert!(lines((0..5_000).map(|at| (at, None))).is_empty());
        assert_eq!(lines([(5, None), (10, Some((1, 94)))]), [(10, Some((1, 94)))]);
    }

    #[test]
    fn another_capacity_another_receiver_and_none_are_logged_when_they_have_lasted() {
        let believed = |at| match at {
            0..2_000 => Some((1, 100)),
            // Less than a fifth.
            2_000..4_000 => Some((1, 115)),
            4_000..6_000 => Some((1, 130)),
            6_000..8_000 => Some((2, 130)),
            _ => None,
        };
        let expected = [(0, Some((1, 100))), (5_000, Some((1, 130))), (7_000, Some((2, 130))), (9_000, None)];
        assert_eq!(lines((0..12_000).map(|at| (at, believed(at)))), expected);
    }

    #[test]
    fn belief_that_alternates_all_day_logs_only_its_first_line() {
        let alternates = |at: u64| (at, (at / 300).is_multiple_of(2).then_some((1, 100)));
        assert_eq!(lines((0..100_000).map(|n| alternates(n * 100))).len(), 1);
    }

    #[test]
    fn belief_that_changes_every_two_minutes_logs_each_change() {
        let changes = |at: u64| (at, (at / 120_000).is_multiple_of(2).then_some((1, 100)));
        assert_eq!(lines((0..7_200).map(|n| changes(n * 100))).len(), 6);
    }

    /// Times in milliseconds at which a loss of these shares is logged.
    fn loss_lines(share: impl Fn(u64) -> f64) -> Vec<u64> {
        let mut logged = LoggedLoss::default();
        (0..10_000).filter(|at| logged.is_due(share(*at), ms(*at), Duration::from_millis(*at))).collect()
    }

    #[test]
    fn loss_is_logged_above_one_per_cent_and_when_it_has_changed_by_more_than_half() {
        assert!(loss_lines(|_| 0.009).is_empty());
        assert!(loss_lines(|at| if at < 500 { 0.03 } else { 0.0 }).is_empty());
        assert_eq!(loss_lines(|at| if at < 3_000 { 0.05 } else { 0.07 }), [1_000]);
        assert_eq!(loss_lines(|at| if at < 3_000 { 0.05 } else { 0.08 }), [1_000, 4_000]);
        assert_eq!(loss_lines(|at| if at < 3_000 { 0.05 } else { 0.0 }), [1_000, 4_000]);
    }
}
