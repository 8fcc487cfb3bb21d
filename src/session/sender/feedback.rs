//! What receivers say to the sender.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::ceiling::spacing;
use super::super::{MAX_RECEIVERS, symbol_datagram};
use super::attendance::why_it_left;
use super::budget::RepairBudget;
use super::congestion::{Sample, Sending};
use super::window::Missing;
use super::{MemberState, Sender, State};
use crate::exit::Exit;
use crate::time::Time;
use crate::wire::{Confirm, Join, Leave, Outcome, ReceiverId, Report, Stage, Standing};

impl Sender {
    pub(super) fn handle_join(&mut self, now: Time, from: SocketAddr, join: &Join) {
        self.joins = match self.joins {
            (since, count) if now.since(since) < Duration::from_millis(100) => {
                (since, count.saturating_add(1))
            }
            _ => (now, 1),
        };
        if let Some(member) = self.members.get_mut(join.receiver) {
            if member.address == from {
                member.last_heard = now;
                let standing = member.state.standing().unwrap_or(Standing::Admitted);
                self.answer(now, join.receiver, standing);
            }
            return;
        }
        let State::Waiting { first_join } = &mut self.state else {
            match self.state {
                State::Streaming => {
                    let name = join.name.as_str();
                    let missing = self.shortfall.as_mut().and_then(|short| short.missing.get_mut(name));
                    if let Some(came) = missing
                        && !std::mem::replace(came, true)
                    {
                        tracing::warn!(%name, address = %from, "{name} came too late: the session has started without it");
                    }
                    self.refuse(now, join, Standing::RefusedStarted);
                }
                // So that it can tell this abort from a recorded one.
                State::Aborting { .. } => self.answer_presence(now, join.receiver),
                _ => {}
            }
            return;
        };
        if !self.config.start.admits(join.name.as_str(), self.members.joined(), MAX_RECEIVERS) {
            self.refuse(now, join, Standing::RefusedFull);
            return;
        }
        self.outsiders.forget_looker(join.receiver);
        first_join.get_or_insert(now);
        // Enough for a burst of loss at the very start.
        let budget = RepairBudget::new(u64::from(self.config.block_symbols / 4));
        self.members.admit(now, from, join, budget);
        let silence = self.members.longest_silence(Self::ANNOUNCE_MAX);
        self.announce_due = self.announce_due.min(now + silence);
        if self.outsiders.tells() {
            let (name, joined, awaited) =
                (join.name.as_str(), self.members.len(), self.config.start.awaited());
            if joined <= awaited as usize && awaited > 1 {
                tracing::info!(%name, address = %from, receivers = joined, "{name} joined ({joined} of {awaited})");
            } else {
                tracing::info!(%name, address = %from, receivers = joined, "{name} joined");
            }
        }
        self.answer(now, join.receiver, Standing::Admitted);
    }

    fn refuse(&mut self, now: Time, join: &Join, standing: Standing) {
        tracing::debug!(name = %join.name, reason = ?standing, "refused a receiver that wants to join");
        self.answer(now, join.receiver, standing);
    }

    pub(super) fn handle_report(&mut self, now: Time, arrived_at: Time, report: &Report<'_>) {
        let (next_number, next_block, released) =
            (self.next_number, self.window.next_block(), self.window.released());
        let group = self.group;
        let (receivers, receiving) = (self.members.alive(), self.members.receiving());
        let Some(member) = self.members.get_mut(report.receiver) else { return };
        if !member.may_report(now, group) {
            self.stats.dropped_reports += 1;
            return;
        }
        if member.state != MemberState::Active {
            member.last_heard = now;
            // It has missed that nothing more is expected of it.
            if let Some(standing) = member.state.standing() {
                self.answer(now, report.receiver, standing);
            }
            return;
        }
        // What cannot be true comes from no receiver of this session, or from one that somebody has lied to. That one
        // must not hold up the others for ever, so this is no sign of life.
        if report.highest >= next_number || report.received > next_block {
            return;
        }
        member.last_heard = now;
        // What only grows can be taken from reports in any order. No number decides which of them count: a single forged
        // one would make all true ones old.
        (member.window, member.credit) = (report.window, report.credit);
        member.received = member.received.max(report.received);
        if report.position > member.position {
            member.position = report.position;
            member.moved = now;
        }
        member.bytes = member.bytes.max(report.bytes);
        member.lost_symbols = member.lost_symbols.max(report.lost_symbols);
        member.dropped = member.dropped.max(report.dropped);
        member.stalled = member.stalled.max(report.stalled);
        member.credit_edge = member.credit_edge.max(report.highest.plus(1 + u64::from(report.credit)));
        self.flow.answered |= report.highest >= self.flow.first;
        let newest = report.highest >= member.highest;
        member.highest = member.highest.max(report.highest);
        if newest && let Some(sent_at) = self.grtt.handle_echo(now, report.highest, report.held) {
            // A receiver that has a block has got its symbols, whatever else it says.
            let arrived = report.arrived.max(self.window.symbols_before(member.received));
            // What hosts take until they look, here and there, says nothing of the path.
            let (highest, seen_at) = (report.highest, arrived_at - report.held - report.waited);
            let sample = Sample { highest, arrived, sent_at, seen_at };
            let datagram =
                symbol_datagram(self.config.symbol_size, &self.config.seal) + self.config.overhead as usize;
            let sending = Sending {
                now,
                next: next_number,
                datagram: datagram as f64 * 8.0,
                receivers,
                answer: spacing(group) * 2 + sample.round_trip(),
                held_back: self.held_back,
            };
            self.congestion.handle_sample(member.slot, sample, &sending);
        }
        let mut needs = report.needs.iter().peekable();
        if needs.peek().is_some() {
            member.nacks = member.nacks.saturating_add(1);
            // The answer may have been the last that was sent, and lost: nothing has told this receiver that there was one.
            let is_quiet = now.since(self.last_data.max(self.last_status)) > self.grtt.get();
            if is_quiet && report.highest.plus(1) < next_number {
                self.status_wanted = true;
            }
        }
        // Blocks that every receiver has are gone, so a need before `released` is old news.
        let most = (self.config.window * usize::from(self.config.block_symbols)) as u64 / 10;
        for need in needs {
            let block = report.received.plus(u64::from(need.offset));
            if block < released {
                continue;
            }
            let missing = Missing {
                receiver: report.receiver,
                count: usize::from(need.missing),
                symbols: need.symbols,
                settled: report.settled,
            };
            let budget =
                if receiving == 1 { usize::MAX } else { member.budget.available(self.first_pass, most) };
            let granted = self.window.handle_need(block, missing, budget);
            member.budget.take(granted.symbols);
            if granted.short {
                self.parity.handle_short(block, granted.symbols, report.receiver);
            }
        }
        self.note_path_loss(now, report.receiver);
        self.note_findings(now);
        self.settle_limits();
    }

    pub(super) fn handle_confirm(&mut self, now: Time, confirm: &Confirm) {
        let ending = self.started.is_some() && self.end.is_some() && self.window.all_sent();
        // Who was given up and has succeeded all the same has succeeded, until the verdict has been spoken.
        let undecided = matches!(self.state, State::Streaming);
        let Some(member) = self.members.get_mut(confirm.receiver) else { return };
        member.last_heard = now;
        let standing = match confirm.stage {
            // Nobody can have verified a stream whose end has not been sent.
            _ if !ending => return,
            _ if member.state == MemberState::Lost && !undecided => Standing::EvictedSilent,
            _ if member.state.is_evicted() && !undecided => Standing::EvictedStalled,
            Stage::Verified => Standing::Verified,
            Stage::Done => Standing::Done,
        };
        let was_active = member.state == MemberState::Active;
        let slot = member.slot;
        if !member.state.is_final() || (member.state.is_evicted() && undecided) {
            member.bytes = confirm.outcome.bytes;
            member.lost_symbols = confirm.outcome.lost_symbols;
            member.dropped = confirm.outcome.dropped;
            member.nacks = confirm.outcome.nacks;
            member.stalled = confirm.outcome.stalled;
            match confirm.stage {
                Stage::Verified => {
                    if member.state != MemberState::Verified {
                        tracing::debug!(name = %member.name, address = %member.address, "{} has verified the whole stream", member.name);
                    }
                    member.state = MemberState::Verified;
                }
                Stage::Done => {
                    let (name, exit) = (&member.name, confirm.outcome.exit);
                    let (code, meaning) = (exit.code(), exit.meaning());
                    tracing::info!(%name, address = %member.address, code, "{name} is done: {meaning}");
                    member.state = MemberState::Done(confirm.outcome);
                }
            }
        }
        if was_active {
            // It has everything: what its path carries matters no more.
            self.congestion.handle_gone(slot, now, self.next_number);
        }
        self.answer(now, confirm.receiver, standing);
        self.settle_limits();
    }

    pub(super) fn handle_leave(&mut self, now: Time, leave: &Leave<'_>) {
        let Some(member) = self.members.get_mut(leave.receiver) else { return };
        member.last_heard = now;
        if !member.state.is_final() {
            // Only a leave that counts, one for each receiver, looks through all of them.
            let is_last = matches!(self.state, State::Streaming) && self.members.is_last(leave.receiver);
            let Some(member) = self.members.get_mut(leave.receiver) else { return };
            // A receiver that succeeded says so in a confirmation.
            let exit = if leave.outcome.exit == Exit::Complete { Exit::Internal } else { leave.outcome.exit };
            let (name, text) = (&member.name, leave.text.as_str());
            // This receiver leaves because of the abort, or for its own reason at the same time.
            let gave_up = match &self.state {
                State::Aborting { ended, .. } if matches!(exit, Exit::Aborted | Exit::NotStarted) => {
                    Some(ended.error.as_deref().unwrap_or(ended.exit.meaning()))
                }
                _ => None,
            };
            let reason = match gave_up {
                Some(error) => format!("the sender gave up: {error}"),
                None if text.is_empty() => exit.meaning().to_owned(),
                None => text.to_owned(),
            };
            if gave_up.is_some() || is_last {
                // The session ends with this reason, and says so then.
                tracing::debug!(%name, address = %member.address, "{name} left the session: {reason}");
            } else if self.outsiders.tells() {
                let code = exit.code();
                tracing::warn!(%name, address = %member.address, code, "{name} left the session: {reason}");
            }
            member.bytes = leave.outcome.bytes;
            member.lost_symbols = leave.outcome.lost_symbols;
            member.dropped = leave.outcome.dropped;
            member.nacks = leave.outcome.nacks;
            member.stalled = leave.outcome.stalled;
            self.congestion.handle_gone(member.slot, now, self.next_number);
            if let State::Waiting { first_join } = &mut self.state {
                self.departures.note(now, member, why_it_left(exit, text));
                let id = member.id;
                self.members.remove(id);
                if self.members.len() == 0 {
                    *first_join = None;
                }
            } else {
                member.state = MemberState::Left(Outcome { exit, ..leave.outcome }, reason);
            }
        }
        self.answer(now, leave.receiver, Standing::Left);
        self.note_findings(now);
        self.settle_limits();
    }

    /// Lets somebody outside the session know that this sender is there.
    pub(super) fn answer_presence(&mut self, now: Time, receiver: ReceiverId) {
        if !self.answers.contains_key(&receiver) {
            self.answer(now, receiver, Standing::Present);
        }
    }

    pub(super) fn answer(&mut self, now: Time, receiver: ReceiverId, standing: Standing) {
        if self.answers.is_empty() {
            self.answers_due = now + Self::GATHER;
        }
        if self.answers.len() < Self::MAX_ANSWERS || self.answers.contains_key(&receiver) {
            self.answers.insert(receiver, standing);
        }
    }
}
