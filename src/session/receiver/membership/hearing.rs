//! What the sender says, and what it means for this receiver.

use super::super::super::number_window::Arrival;
use super::super::super::{MAX_RECEIVERS, Origin, StreamEnd, WireStats};
use super::super::Event;
use super::super::assembly::Taken;
use super::reporting::Reporting;
use super::{Membership, Step};
use crate::exit::Exit;
use crate::time::Time;
use crate::wire::{
    Abort, AbortReason, BlockNumber, DatagramNumber, Kind, Message, Phase, Stage, Standing, Status, Symbol,
};

impl Membership {
    pub(in crate::session::receiver) fn handle_message(
        &mut self,
        now: Time,
        origin: Origin,
        number: DatagramNumber,
        message: &Message<'_>,
        stats: &mut WireStats,
    ) {
        if self.has_key() && number <= self.floor {
            // The datagram is older than the announce that was joined, so it proves nothing about the sender now.
            return;
        }
        let arrival = self.numbers.insert(number);
        if self.has_key() && matches!(arrival, Arrival::Duplicate | Arrival::Ancient) {
            // A copy: somebody plays back a recording, or the network has doubled the datagram.
            return;
        }
        // With a key, only what is newer than all before can come from nobody but the sender just now, and from there.
        if !self.has_key() || arrival == Arrival::Newest {
            self.last_heard = now;
            self.unreachable = None;
            self.note_sender(now, origin.address);
        }
        self.first_number = self.first_number.min(number);
        match arrival {
            Arrival::Newest => {
                self.arrived += 1;
                self.highest_at = now;
                self.highest_waited = now.since(origin.arrived);
            }
            Arrival::Late => {
                self.arrived += 1;
                self.horizon.handle_late(now, number);
            }
            Arrival::Duplicate | Arrival::Ancient => {}
        }
        let proof = match message {
            Message::Source(symbol) => {
                stats.source_symbols += 1;
                self.handle_symbol(now, Kind::Source, symbol, stats)
            }
            Message::Repair(symbol) => {
                stats.repair_symbols += 1;
                self.handle_symbol(now, Kind::Repair, symbol, stats)
            }
            Message::KeepAlive(status) => {
                self.start(now);
                self.handle_status(now, status)
            }
            Message::End(end) => {
                self.start(now);
                // The sender repeats itself: what only one of its ends says does not last.
                let stream_end = StreamEnd { bytes: end.bytes, digest: end.digest };
                if !matches!(self.step, Step::Verifying | Step::Confirming { .. }) {
                    self.end = Some((end.status.next_block, stream_end));
                }
                self.handle_status(now, &end.status)
            }
            Message::Announce(announce) => {
                self.grtt = announce.grtt;
                self.group_size = Self::plausible(announce.group_size);
                if announce.phase == Phase::Started {
                    if self.admitted {
                        self.start(now);
                    } else {
                        self.excluded_at.get_or_insert(now);
                    }
                }
                BlockNumber(0)
            }
            Message::Roster(roster) => {
                if let Some(standing) = roster.entries.standing_of(self.id) {
                    self.handle_standing(now, standing);
                }
                BlockNumber(0)
            }
            Message::Abort(abort) => {
                self.handle_abort(now, abort);
                BlockNumber(0)
            }
            // Not the sender's to say.
            Message::Join(_)
            | Message::Report(_)
            | Message::Confirm(_)
            | Message::Leave(_)
            | Message::Seek(_) => BlockNumber(0),
        };
        self.horizon.handle_proof(now, number, proof);
        self.settle(now);
    }

    /// Returns the block before which everything has been sent, as far as this symbol proves.
    fn handle_symbol(
        &mut self,
        now: Time,
        kind: Kind,
        symbol: &Symbol<'_>,
        stats: &mut WireStats,
    ) -> BlockNumber {
        self.start(now);
        match self.assembly.handle_symbol(kind, symbol) {
            Taken::Useful => {
                if kind == Kind::Source {
                    self.begun = self.begun.max(symbol.block.plus(1));
                }
                self.watch_sink_if_waiting(now);
            }
            Taken::Needless | Taken::Beyond => {}
            Taken::Malformed => {
                stats.dropped_malformed += 1;
                return BlockNumber(0);
            }
        }
        self.symbol_missed_since = None;
        // Blocks are sent in order: a block's last symbol, or any repair of it, shows that its first pass is over.
        let symbols = u64::from(symbol.block_len).div_ceil(self.assembly.symbol_size());
        let over = kind == Kind::Repair || u64::from(symbol.symbol) + 1 == symbols;
        if over { symbol.block.plus(1) } else { symbol.block }
    }

    /// No sender admits more receivers than this; what reports are spaced by must not be anyone's to stretch.
    pub(super) fn plausible(group_size: u32) -> u32 {
        group_size.clamp(1, MAX_RECEIVERS as u32)
    }

    fn handle_status(&mut self, now: Time, status: &Status) -> BlockNumber {
        self.grtt = status.grtt;
        self.group_size = Self::plausible(status.group_size);
        // A sender lets go of what every receiver has: it takes this one for lost, and the answer to the next report
        // says so, or something is wrong.
        self.released_at =
            (status.released > self.assembly.received()).then(|| self.released_at.unwrap_or(now));
        // The sender would have let go of what all have, and would not stop in the middle of a block.
        if status.released < self.assembly.received() || status.next_block < self.begun {
            self.reporting.note_ignorance(now, self.grtt, self.group_size, &mut self.rng);
        }
        status.next_block
    }

    /// Data, or the word that it flows: the session has started.
    pub(super) fn start(&mut self, now: Time) {
        if matches!(self.step, Step::Joining { .. } | Step::Admitted) && self.started.is_none() {
            self.started = Some(now);
            self.reporting = Reporting::new(now);
            // Announces say nothing about the path of data.
            self.reporting.arrived = self.arrived;
            if self.admitted {
                self.step = Step::Receiving;
                self.events.push_back(Event::Started);
            } else {
                // The answer to the join is still on its way: blocks are kept, and nothing is given out.
                self.excluded_at.get_or_insert(now);
                self.ask_due = self.ask_due.min(now + Self::ASK_STARTED);
            }
        }
    }

    fn handle_standing(&mut self, now: Time, standing: Standing) {
        (self.proven, self.named) = (true, true);
        if let Some((_, reason, text)) = self.aborted.take() {
            return self.end_by_abort(now, reason, &text);
        }
        match (standing, &mut self.step) {
            (Standing::Admitted, Step::Joining { .. }) => {
                (self.admitted, self.was_admitted) = (true, true);
                self.excluded_at = None;
                if self.started.is_some() {
                    self.step = Step::Receiving;
                    self.events.push_back(Event::Started);
                } else {
                    self.step = Step::Admitted;
                    self.ask_due = now + self.heartbeat;
                }
                let shown = self.sender_shown();
                tracing::info!(label = %self.label, sender = %self.sender, "joined the session of {shown}");
            }
            (Standing::RefusedStarted, Step::Joining { .. }) => {
                let error = format!(
                    "the session of {} had already started; this receiver came too late",
                    self.sender_shown()
                );
                self.end_with(now, Exit::NotStarted, error);
            }
            (Standing::RefusedFull, Step::Joining { .. }) => {
                let error = format!(
                    "the session of {} takes no more receivers (its --max-receivers, or places kept for names that it waits for)",
                    self.sender_shown()
                );
                self.end_with(now, Exit::NotStarted, error);
            }
            (Standing::EvictedSilent, Step::Admitted) => {
                // The sender forgot us before the start: ask again.
                self.admitted = false;
                self.step = Step::Joining { asked: 0 };
                self.ask_due = now;
            }
            (Standing::EvictedSilent, Step::Joining { .. }) if self.started.is_none() => {}
            (Standing::EvictedSilent, Step::Joining { .. } | Step::Receiving | Step::Verifying) => {
                let error = format!(
                    "evicted by the sender {}: it has not heard this receiver for its --peer-timeout; check the way back, UDP to its port {}",
                    self.sender_shown(),
                    self.sender.port()
                );
                self.end_with(now, Exit::Evicted, error);
            }
            (Standing::EvictedStalled, Step::Receiving | Step::Verifying) => {
                let error = format!(
                    "evicted by the sender {}: what takes this receiver's output took nothing for the sender's --max-stall \
                     while the others waited; raise --max-stall there or --buffer here, or receive into a file (-o)",
                    self.sender_shown()
                );
                self.end_with(now, Exit::Evicted, error);
            }
            (Standing::Left | Standing::Done, Step::Receiving) => {
                // To go on asking would get this answer again and again, and use up the credit of all.
                let error = format!(
                    "the sender {} no longer counts on this receiver: somebody has said in its name that it has ended; a key prevents that",
                    self.sender_shown()
                );
                self.end_with(now, Exit::Evicted, error);
            }
            (Standing::Verified, Step::Confirming { heard, .. }) => {
                *heard = (*heard).max(Some(Stage::Verified));
            }
            (Standing::Done, Step::Confirming { stage: Stage::Done, .. }) => self.complete(),
            (
                Standing::EvictedSilent | Standing::EvictedStalled,
                Step::Confirming { stage: Stage::Done, .. },
            ) => {
                tracing::warn!("the sender had given this receiver up before it heard of its success");
                self.complete();
            }
            (
                Standing::Left | Standing::EvictedSilent | Standing::EvictedStalled,
                Step::Leaving { ended, .. },
            ) => {
                self.step = Step::Ended(ended.clone());
            }
            _ => {}
        }
    }

    fn handle_abort(&mut self, now: Time, abort: &Abort<'_>) {
        match &self.step {
            // The whole stream is here and verified, or this receiver is on its way out; what becomes of the others is not
            // our business.
            Step::Confirming { .. } | Step::Leaving { .. } | Step::Abandoned | Step::Ended(_) => {}
            Step::Joining { .. } | Step::Admitted | Step::Receiving | Step::Verifying => {
                if self.has_key() && !self.named {
                    // It may be a recording that speaks. A sender that is there answers the next join.
                    if self.aborted.is_none() {
                        self.aborted = Some((now, abort.reason, abort.text.as_str().to_owned()));
                        self.ask_due = now;
                        if let Step::Joining { asked } = &mut self.step {
                            *asked = 0;
                        }
                    }
                    return;
                }
                self.end_by_abort(now, abort.reason, abort.text.as_str());
            }
        }
    }

    /// The sender has aborted, and is there.
    fn end_by_abort(&mut self, now: Time, reason: AbortReason, text: &str) {
        // Either the sender has made way for another one, which is the one to join; or it knows of no receiver here, and
        // anyone may have said so to a service.
        let is_no_end = reason == AbortReason::GroupTaken || self.repeats && !self.admitted;
        if is_no_end && self.started.is_none() {
            self.step = Step::Abandoned;
            return;
        }
        let exit = match reason {
            AbortReason::NotStarted => Exit::NotStarted,
            _ => Exit::Aborted,
        };
        let text = if text.is_empty() { "it gave no reason" } else { text };
        let error = format!("the sender {} aborted: {text}", self.sender_shown());
        if !self.admitted {
            // It knows of no receiver here, so there is nothing to be left.
            return self.end_with(now, exit, error);
        }
        self.leave(now, exit, error, Self::ABORTED_PATIENCE);
    }
}
