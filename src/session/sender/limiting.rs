//! What keeps the session from sending more, told apart for the report and the progress line.

use std::time::Duration;

use super::{Limiter, MemberState, Sender, State};
use crate::time::Time;
use crate::wire::{BlockNumber, ReceiverId};

impl Sender {
    /// A receiver that has been silent for so long has stopped to take part; those that get data answer much faster.
    const OVERDUE: Duration = Duration::from_millis(500);
    /// Receivers that are asked whether they could take more than another one.
    const ASKED: usize = 4;

    /// From `now` on, `limiter` holds.
    pub(super) fn note_limiter(&mut self, now: Time, limiter: Limiter) {
        if let Some((receiver, held)) = self.limiter.switch(now, limiter)
            && let Some(member) = self.members.get_mut(receiver)
        {
            member.limited += held;
        }
    }

    /// Brings the times up to date, while data flows.
    pub(super) fn settle_limiter(&mut self, now: Time) {
        if matches!(self.state, State::Streaming) {
            self.note_limiter(now, self.limiter.current());
        }
    }

    /// As many datagrams are under way as `receiver`'s socket buffer holds: the line is full, or that host does not take
    /// them out, because it has stopped or has no time.
    pub(super) fn limiter_of_credit(&self, now: Time, receiver: ReceiverId) -> Limiter {
        let next = self.next_number.0;
        let has_room = |edge: u64, credit: u32| edge.saturating_sub(next) >= u64::from(credit / 2);
        let others = self.members.iter().take(Self::ASKED).filter(|member| member.id != receiver);
        let takes_more = others
            .filter(|member| member.state == MemberState::Active)
            .any(|member| has_room(member.credit_edge.0, member.credit));
        if takes_more { Limiter::Receiver(receiver) } else { self.network_or_silent(now, receiver) }
    }

    /// The first pass has come to the end of `receiver`'s window: its sink is behind, or it misses symbols.
    pub(super) fn limiter_of_window(&self, now: Time, receiver: ReceiverId) -> Limiter {
        let sink = self.members.get(receiver).is_some_and(|member| member.received > member.position);
        if sink { Limiter::Receiver(receiver) } else { self.network_or_silent(now, receiver) }
    }

    /// Everything that the source has given has been sent once; `least` is who has received least.
    pub(super) fn limiter_of_source(&self, now: Time, least: Option<(BlockNumber, ReceiverId)>) -> Limiter {
        if self.end.is_none() {
            // Buffers that are neither free nor full are with the source, which could fill them.
            let held = self.window.len();
            return match least {
                Some((_, receiver)) if held >= self.config.window => self.network_or_silent(now, receiver),
                _ => Limiter::Source,
            };
        }
        match least {
            Some((received, receiver)) if received < self.window.next_block() => {
                self.network_or_silent(now, receiver)
            }
            // The sinks have the rest; the last one is waited for.
            _ => {
                let unfinished = self.members.iter().filter(|member| !member.state.is_final());
                let last =
                    unfinished.min_by_key(|member| (member.state != MemberState::Active, member.position));
                last.map_or(Limiter::Source, |member| Limiter::Receiver(member.id))
            }
        }
    }

    fn network_or_silent(&self, now: Time, receiver: ReceiverId) -> Limiter {
        let overdue = Self::OVERDUE.max(self.grtt.get() * 4);
        if self.members.is_silent(receiver, now, overdue) {
            Limiter::Receiver(receiver)
        } else {
            Limiter::Network
        }
    }
}
