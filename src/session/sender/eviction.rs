//! Receivers that the session goes on without: those that are silent, and those whose sinks take nothing.

use std::time::Duration;

use super::{Member, MemberState, Sender, State};
use crate::session::ceiling::spacing;
use crate::time::{Time, span};
use crate::wire::ReceiverId;

impl Sender {
    /// Reports of which one must arrive: in a crowd, the turn of each comes late, and some get lost.
    const TURNS: u32 = 8;

    /// Silence after which a receiver counts as dead: the peer timeout, or so long that several reports must have been
    /// lost.
    pub(super) fn patience(&self) -> Duration {
        self.config.peer_timeout.max(spacing(self.group) * Self::TURNS)
    }

    /// Gives up who has been silent for too long.
    pub(super) fn check_silence(&mut self, now: Time) {
        let timeout = self.patience();
        if self.members.next_death(timeout).is_none_or(|at| at > now) {
            return;
        }
        let silent = |member: &Member| !member.state.is_final() && now.since(member.last_heard) >= timeout;
        let silent: Vec<_> = self.members.iter().filter(|member| silent(member)).map(|it| it.id).collect();
        self.evict(now, &silent, &MemberState::Lost);
        if let State::Waiting { first_join } = &mut self.state {
            for id in silent {
                if let Some(member) = self.members.get(id) {
                    self.departures.note(now, member, "it was silent for --peer-timeout".to_owned());
                }
                self.members.remove(id);
            }
            if self.members.len() == 0 {
                *first_join = None;
            }
        }
    }

    /// Gives up whose sink has taken nothing for `--max-stall` while the session waited for it.
    pub(super) fn check_stall(&mut self, now: Time) {
        let (Some(most), Some(held)) = (self.config.max_stall, self.held) else { return };
        if self.next_stall().is_none_or(|at| at > now) {
            return;
        }
        let stalled = |member: &&Member| self.holds_up(member) && now.since(held.max(member.moved)) >= most;
        let stalled: Vec<_> = self.members.iter().filter(stalled).map(|member| member.id).collect();
        self.evict(now, &stalled, &MemberState::Stalled(most));
    }

    /// When the first receiver will have held up the session for too long.
    pub(super) fn next_stall(&self) -> Option<Time> {
        let (most, held) = (self.config.max_stall?, self.held?);
        if !matches!(self.state, State::Streaming) {
            return None;
        }
        let holding = self.members.iter().filter(|member| self.holds_up(member));
        holding.map(|member| held.max(member.moved) + most).min()
    }

    /// Whether the session waits for this receiver's sink: blocks lie there for it, and nothing more can be sent before
    /// it takes them, or they are the last ones. One that only misses symbols waits for the network.
    fn holds_up(&self, member: &Member) -> bool {
        member.state == MemberState::Active
            && member.received > member.position
            && (self.window.all_sent() || member.window_edge() <= self.window.next_block())
    }

    fn evict(&mut self, now: Time, receivers: &[ReceiverId], why: &MemberState) {
        let streams = matches!(self.state, State::Streaming);
        for &id in receivers {
            let is_last = streams && self.members.is_last(id);
            let Some(member) = self.members.get_mut(id) else { continue };
            let (name, address) = (&member.name, member.address);
            if is_last {
                // The session ends with this reason, and says so then.
                tracing::debug!(%name, %address, ?why, "{name} is evicted");
            } else if self.outsiders.tells() {
                if let MemberState::Stalled(most) = why {
                    let most = span(*most);
                    tracing::warn!(%name, %address, "{name} is evicted: its sink took nothing for {most} (--max-stall)");
                } else {
                    let timeout = span(self.config.peer_timeout);
                    tracing::warn!(%name, %address, "{name} is evicted: it was silent for {timeout} (--peer-timeout)");
                }
            }
            member.state = why.clone();
            self.congestion.handle_gone(member.slot, now, self.next_number);
            if let Some(standing) = why.standing() {
                self.answer(now, id, standing);
            }
        }
        self.note_findings(now);
        self.settle_limits();
    }

    /// The session was paused by its own host: nobody's silence of that time counts.
    pub(super) fn forgive(&mut self, now: Time, pause: Duration) {
        self.members.forgive(now, pause);
        self.limiter.forgive(pause);
        self.held = self.held.map(|since| (since + pause).min(now));
    }
}
