//! What a sender sends next: control datagrams, then repairs, then the first pass.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::super::{CONTROL, Destination, Limiter, Transmit, symbol_datagram};
use super::window::Sending;
use super::{Flow, Sender, State};
use crate::fec::Block;
use crate::seal::Sealer;
use crate::session::ceiling::spacing;
use crate::session::pacer::Rate;
use crate::time::Time;
use crate::wire::{
    Abort, Announce, BlockNumber, DatagramNumber, End, Entries, Kind, Message, Phase, Roster,
    SYMBOL_HEADER_LEN, Status, Symbol, Text,
};

/// A transmission that is ready, and stays the same until it has been sent.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// Number of its first datagram.
    first: DatagramNumber,
    datagrams: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// One control datagram in the scratch buffer.
    Control,
    /// One datagram to somebody outside the session, in the scratch buffer.
    Question { to: SocketAddr },
    /// A keep-alive or an end in the scratch buffer.
    Status,
    /// Repair and repeated source symbols of one block in the scratch buffer.
    Repairs { segment: usize, repair_symbols: u64, proactive_symbols: u64 },
    /// Source symbols: where they lie in their block, or, with a key, encrypted in the scratch buffer. The block has to
    /// stay as it is, for parity is computed from it.
    FirstPass { block: BlockNumber, symbols: Range<usize> },
}

impl Prepared {
    /// What lies in the scratch buffer goes there; it has no number in this session.
    pub(super) const fn question(to: SocketAddr) -> Self {
        Self { first: DatagramNumber(0), datagrams: 1, what: What::Question { to } }
    }
}

impl Sender {
    /// Silence after data before a keep-alive says how far the sender is; doubled with each, up to
    /// [`Self::QUIET_MAX`] or an eighth of the shortest peer timeout. This is what makes a lost tail visible.
    const QUIET_MIN: Duration = Duration::from_millis(1);
    const QUIET_MAX: Duration = Duration::from_millis(250);
    /// While data flows, a keep-alive in this time tells GRTT and group size.
    const STATUS_EVERY: Duration = Duration::from_millis(100);
    /// The last answers are repeated at the GRTT's pace, or at this one: nothing else delays the sender's exit.
    const CLOSE_EVERY: Duration = Duration::from_millis(5);
    /// Copies of an abort come at this pace, or at the GRTT's.
    const ABORT_EVERY: Duration = Duration::from_millis(20);

    /// Makes the next transmission ready, if there is one and it may go.
    pub(super) fn prepare(&mut self, now: Time) {
        match &self.state {
            State::Waiting { .. } => {
                if now >= self.announce_due {
                    self.prepare_announce(now);
                } else if now >= self.outsiders.rivals.due() {
                    self.prepare_question(now);
                } else {
                    self.prepare_answers(now);
                }
            }
            State::Streaming => {
                let done = self.prepare_answers(now)
                    || (now >= self.status_due() && self.prepare_status())
                    || (now >= self.announce_due && self.prepare_announce(now));
                if !done {
                    self.prepare_data(now);
                }
            }
            State::Aborting { .. } => {
                if !self.prepare_answers(now) && now >= self.abort_due {
                    self.prepare_abort(now);
                }
            }
            State::Closing { .. } => {
                if !self.prepare_answers(now) && now >= self.close_due {
                    self.prepare_close(now);
                }
            }
            State::Ended(_) => {}
        }
    }

    pub(super) fn prepared_transmit(&self) -> Option<Transmit<'_>> {
        let prepared = self.prepared.as_ref()?;
        let (contents, segment) = match &prepared.what {
            What::Control | What::Status | What::Question { .. } => {
                (self.scratch.as_slice(), self.scratch.len())
            }
            What::Repairs { segment, .. } => (self.scratch.as_slice(), *segment),
            What::FirstPass { block, symbols } => {
                let stride = symbol_datagram(self.config.symbol_size, &self.config.seal);
                match self.config.seal.key() {
                    None => (self.window.block(*block)?.datagrams(symbols.clone()), stride),
                    Some(_) => (self.scratch.as_slice(), stride),
                }
            }
        };
        let to = match prepared.what {
            What::Question { to } => Destination::Outsider(to),
            _ => Destination::Group,
        };
        Some(Transmit { to, contents, segment })
    }

    /// The prepared transmission has gone.
    pub(super) fn commit(&mut self, now: Time) {
        let bytes = self.prepared_transmit().map_or(0, |transmit| transmit.contents.len() as u64);
        let Some(prepared) = self.prepared.take() else { return };
        if let What::Question { to } = prepared.what {
            tracing::debug!(%to, "asked whether another sender is there");
            return;
        }
        tracing::trace!(number = prepared.first.0, datagrams = prepared.datagrams, what = ?prepared.what, "sent");
        self.stats.datagrams += prepared.datagrams;
        self.stats.bytes += bytes;
        self.grtt.handle_sent(now, prepared.first);
        let wire_bytes = bytes + prepared.datagrams * u64::from(self.config.overhead);
        match prepared.what {
            What::Control | What::Question { .. } => return,
            What::Status => {
                self.last_status = now;
                self.quiet = (self.quiet * 2).clamp(self.first_quiet(), self.last_quiet());
                return;
            }
            What::Repairs { repair_symbols, proactive_symbols, .. } => {
                self.stats.repair_symbols += repair_symbols;
                self.stats.proactive_symbols += proactive_symbols;
                self.stats.source_symbols += prepared.datagrams - repair_symbols;
            }
            What::FirstPass { symbols, .. } => {
                self.stats.source_symbols += prepared.datagrams;
                self.first_pass += prepared.datagrams;
                if let Some(block) = self.window.handle_sent(symbols.len()) {
                    self.queue_parity(now, block);
                }
            }
        }
        if now.since(self.last_data) > spacing(self.group) {
            self.flow = Flow { since: now, first: prepared.first, answered: false };
        }
        self.last_data = now;
        self.quiet = self.first_quiet();
        self.pacer.handle_sent(now, wire_bytes, self.rng.f64());
        self.note_rate(now, wire_bytes);
    }

    /// A block has been sent; what will probably be missing of it follows unasked.
    fn queue_parity(&mut self, now: Time, number: BlockNumber) {
        self.parity.settle(now, self.grtt.get(), self.window.released());
        let Some(block) = self.window.block(number) else { return };
        let (symbols, full) = (block.symbols(), usize::from(self.config.block_symbols));
        let unasked = self.parity.symbols(symbols, full, block.max_repairs() / 2);
        if symbols == full {
            self.parity.handle_sent(now, number, unasked);
        }
        self.window.queue_unasked(number, unasked);
        if let Some(member) = self.parity.raised_by().and_then(|receiver| self.members.get_mut(receiver)) {
            member.budget.take(unasked);
        }
    }

    /// When something is to be sent; `None` while something waits for room in the network.
    pub(super) fn transmit_due(&self) -> Option<Time> {
        if self.prepared.is_some() {
            return None;
        }
        let answers = (!self.answers.is_empty()).then_some(self.answers_due);
        let own = match &self.state {
            State::Waiting { .. } => Some(self.announce_due.min(self.outsiders.rivals.due())),
            State::Streaming => {
                let status = self.status_due().min(self.announce_due);
                Some(self.paced.map_or(status, |paced| status.min(paced)))
            }
            State::Aborting { .. } => Some(self.abort_due),
            State::Closing { .. } => Some(self.close_due),
            State::Ended(_) => return None,
        };
        [own, answers].into_iter().flatten().min()
    }

    fn status_due(&self) -> Time {
        if self.status_wanted && self.window.all_sent() {
            return Time::ZERO;
        }
        let quiet = self.last_data.max(self.last_status) + self.quiet.max(self.first_quiet());
        if self.last_data > self.last_status {
            // Receivers wait by the GRTT: they are told when it has become another.
            let (told, grtt) = (self.told_grtt, self.grtt.get());
            let news = grtt > told * 2 || grtt < told / 2;
            quiet.min(self.last_status + if news { Self::QUIET_MIN } else { Self::STATUS_EVERY })
        } else {
            quiet
        }
    }

    fn first_quiet(&self) -> Duration {
        (self.grtt.get() / 2).clamp(Self::QUIET_MIN, self.last_quiet())
    }

    fn last_quiet(&self) -> Duration {
        self.members.longest_silence(Self::QUIET_MAX)
    }

    /// The rate of late, over spans of 50 ms.
    fn note_rate(&mut self, now: Time, wire_bytes: u64) {
        let (since, bytes, _) = &mut self.recent;
        *bytes += wire_bytes;
        let span = now.since(*since);
        if span >= Duration::from_millis(50) {
            let bits = *bytes as f64 * 8.0 / span.as_secs_f64();
            self.recent = (now, 0, Some(Rate::from_bits_per_second(bits as u64)));
        }
    }

    fn take_number(&mut self) -> DatagramNumber {
        let number = self.next_number;
        self.next_number = number.plus(1);
        number
    }

    fn prepare_control(&mut self, message: &Message<'_>, what: What) -> bool {
        let number = self.take_number();
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        message.write(self.config.session, number, &mut scratch);
        self.sealer.seal_appended(&mut scratch, 0);
        self.scratch = scratch;
        self.prepared = Some(Prepared { first: number, datagrams: 1, what });
        true
    }

    fn prepare_announce(&mut self, now: Time) -> bool {
        let started = self.started.is_some();
        let pause = if started {
            Self::ANNOUNCE_STARTED
        } else {
            let pause = self.announce_every.min(self.members.longest_silence(Self::ANNOUNCE_MAX));
            self.announce_every = (pause * 2).min(Self::ANNOUNCE_MAX);
            pause.mul_f64(0.8 + 0.4 * self.rng.f64())
        };
        self.announce_due = now + pause;
        self.announced = now;
        let expected = self.members.len().max(self.config.start.min_receivers as usize) as u32;
        let crowd = expected.max(self.joins.1.saturating_mul(10));
        let announce = Announce {
            phase: if started { Phase::Started } else { Phase::Waiting },
            block_symbols: self.config.block_symbols,
            symbol_size: self.config.symbol_size,
            join_spread: Duration::from_millis(u64::from(crowd / 10).min(1_000)),
            peer_timeout: self.config.peer_timeout,
            age: now.since(self.launched),
            grtt: self.grtt.get(),
            group_size: self.group_size(),
            echo: self.outsiders.take_echo(),
            label: self.config.label,
            name: self.config.name,
        };
        self.prepare_control(&Message::Announce(announce), What::Control)
    }

    /// Receivers that still report.
    fn group_size(&mut self) -> u32 {
        self.group = u32::try_from(self.members.receiving()).unwrap_or(u32::MAX);
        self.group
    }

    fn prepare_answers(&mut self, now: Time) -> bool {
        if self.answers.is_empty() || now < self.answers_due {
            return false;
        }
        let mut entries = Vec::new();
        while entries.len() < Roster::capacity(CONTROL - self.config.seal.trailer_len())
            && let Some(entry) = self.answers.pop_first()
        {
            entries.push(entry);
        }
        self.prepare_control(&Message::Roster(Roster { entries: Entries::Given(&entries) }), What::Control)
    }

    fn status(&mut self) -> Status {
        self.told_grtt = self.grtt.get();
        Status {
            next_block: self.window.next_block(),
            released: self.window.released(),
            grtt: self.grtt.get(),
            group_size: self.group_size(),
        }
    }

    fn prepare_status(&mut self) -> bool {
        let status = self.status();
        let all_sent = self.window.all_sent();
        self.status_wanted &= !all_sent;
        let message = match self.end {
            Some(end) if all_sent => Message::End(End { status, bytes: end.bytes, digest: end.digest }),
            _ => Message::KeepAlive(status),
        };
        self.prepare_control(&message, What::Status)
    }

    fn prepare_abort(&mut self, now: Time) {
        let pace = Self::ABORT_EVERY.max(self.grtt.get().min(Duration::from_millis(200)));
        let State::Aborting { reason, ended, copies, .. } = &mut self.state else { return };
        *copies += 1;
        self.abort_due = now + pace;
        let (reason, text) = (*reason, ended.error.clone().unwrap_or_default());
        self.prepare_control(&Message::Abort(Abort { reason, text: Text::truncated(&text) }), What::Control);
    }

    /// The answers to everyone, in as many datagrams as they take, a few times over.
    fn prepare_close(&mut self, now: Time) {
        let State::Closing { copies_left, .. } = &mut self.state else { return };
        if *copies_left == 0 {
            return;
        }
        *copies_left -= 1;
        self.close_due = now + self.grtt.get().clamp(Self::QUIET_MIN, Self::CLOSE_EVERY);
        self.answers =
            self.members.iter().filter_map(|member| Some((member.id, member.state.standing()?))).collect();
        self.answers_due = now;
        self.prepare_answers(now);
    }

    // ---- data ----

    fn prepare_data(&mut self, now: Time) {
        let limiter = self.try_prepare_data(now);
        self.note_limiter(now, limiter);
    }

    /// Prepares repairs or source symbols. Returns what limits the session from here on.
    fn try_prepare_data(&mut self, now: Time) -> Limiter {
        let limits = self.members.limits();
        let datagram =
            symbol_datagram(self.config.symbol_size, &self.config.seal) + self.config.overhead as usize;
        let credit = self.credit(now, datagram, &limits);
        let line = match limits.credit_edge {
            Some((_, receiver)) if credit == 0 => self.limiter_of_credit(now, receiver),
            _ => Limiter::Network,
        };
        let most = self.pacer.batch(self.config.batch, datagram);
        // Paced batches are not all alike: of two senders in step, one would always find a queue full.
        let most = if most < self.config.batch { most - self.rng.usize(..=most / 2) } else { most };
        let batch = most.min(usize::try_from(credit).unwrap_or(usize::MAX));
        if credit == 0 {
            self.held_back.note(now);
        }
        self.paced = None;
        let blocked_until = self.pacer.blocked_until(now);
        let may_send = batch > 0 && blocked_until.is_none();
        let next = self.window.unsent().map(|(_, number, _)| number);
        if next.is_none_or(|next| limits.window_edge.is_some_and(|(edge, _)| next >= edge)) {
            self.window.queue_deferred();
        }
        if self.window.repairing().is_some() {
            if may_send {
                self.prepare_repairs(batch);
            }
            self.paced = blocked_until;
            return line;
        }
        let edge = limits.window_edge;
        let Some((block, number, symbol)) = self.window.unsent() else {
            self.held = self.end.and(self.held.or(Some(now)));
            return self.limiter_of_source(now, limits.received);
        };
        if let Some((_, receiver)) = edge.filter(|(edge, _)| number >= *edge) {
            self.held.get_or_insert(now);
            return self.limiter_of_window(now, receiver);
        }
        self.held = None;
        if may_send {
            let symbols = symbol..block.symbols().min(symbol + batch);
            let first = self.next_number;
            let datagrams = symbols.len() as u64;
            match self.config.seal.key() {
                None => write_first_pass(self.config.session, first, number, block, symbols.clone()),
                Some(_) => {
                    let (session, symbols) = (self.config.session, symbols.clone());
                    self.scratch.clear();
                    seal_first_pass(
                        session,
                        first,
                        number,
                        block,
                        symbols,
                        &mut self.sealer,
                        &mut self.scratch,
                    );
                }
            }
            self.next_number = first.plus(datagrams);
            self.prepared =
                Some(Prepared { first, datagrams, what: What::FirstPass { block: number, symbols } });
        }
        self.paced = blocked_until;
        line
    }

    fn prepare_repairs(&mut self, batch: usize) {
        let session = self.config.session;
        let Some((number, sent)) = self.window.repairing() else { return };
        let trailer = self.config.seal.trailer_len();
        let segment = SYMBOL_HEADER_LEN + sent.block.repair_len() + trailer;
        self.scratch.clear();
        let (first, mut datagrams) = (self.next_number, 0);
        let (mut repair_symbols, mut proactive_symbols) = (0, 0);
        while datagrams < batch as u64 {
            let at = first.plus(datagrams);
            let Some((what, asked)) = sent.take_queued(at) else { break };
            let start = self.scratch.len();
            let (kind, symbol, length) = match what {
                Sending::Repair(repair) => {
                    (Kind::Repair, sent.block.symbols() + repair, sent.block.repair_len())
                }
                Sending::Symbol(symbol) => (Kind::Source, symbol, sent.block.symbol_len(symbol)),
            };
            self.scratch.resize(start + SYMBOL_HEADER_LEN + length + trailer, 0);
            let datagram = &mut self.scratch[start..];
            Symbol::write_header(kind, session, at, number, sent.block.len() as u32, symbol as u8, datagram);
            let payload = &mut datagram[SYMBOL_HEADER_LEN..SYMBOL_HEADER_LEN + length];
            let made = match what {
                Sending::Repair(repair) => self.codec.encode(&sent.block, repair, payload),
                Sending::Symbol(symbol) => {
                    payload.copy_from_slice(sent.block.payload(symbol));
                    Ok(())
                }
            };
            if let Err(error) = made {
                // Cannot happen for a symbol that the window has queued; nothing false goes out if it does.
                tracing::error!(%error, "repair symbol could not be made");
                self.scratch.truncate(start);
                continue;
            }
            repair_symbols += u64::from(matches!(what, Sending::Repair(_)));
            proactive_symbols += u64::from(!asked);
            self.sealer.seal(datagram);
            datagrams += 1;
            if length != sent.block.repair_len() {
                // A short last symbol ends a batch: only the last datagram may be shorter.
                break;
            }
        }
        if sent.is_repaired() {
            self.window.repaired(number);
        }
        if datagrams > 0 {
            self.next_number = first.plus(datagrams);
            self.prepared = Some(Prepared {
                first,
                datagrams,
                what: What::Repairs { segment, repair_symbols, proactive_symbols },
            });
        }
    }
}

/// Appends the datagrams of `symbols` to `out`, encrypted; the block stays as it is.
fn seal_first_pass(
    session: crate::wire::SessionId,
    first: DatagramNumber,
    number: BlockNumber,
    block: &Block,
    symbols: Range<usize>,
    sealer: &mut Sealer,
    out: &mut Vec<u8>,
) {
    for (offset, symbol) in symbols.enumerate() {
        let start = out.len();
        out.resize(start + SYMBOL_HEADER_LEN, 0);
        let at = first.plus(offset as u64);
        let header = &mut out[start..];
        Symbol::write_header(Kind::Source, session, at, number, block.len() as u32, symbol as u8, header);
        out.extend_from_slice(block.payload(symbol));
        sealer.seal_appended(out, start);
    }
}

/// Puts headers before the payloads of `symbols` and trailers behind them.
fn write_first_pass(
    session: crate::wire::SessionId,
    first: DatagramNumber,
    number: BlockNumber,
    block: &mut Block,
    symbols: Range<usize>,
) {
    let block_len = block.len() as u32;
    for (offset, symbol) in symbols.enumerate() {
        let at = first.plus(offset as u64);
        let datagram = block.datagram_mut(symbol);
        Symbol::write_header(Kind::Source, session, at, number, block_len, symbol as u8, datagram);
        crate::seal::seal(datagram);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::test_config;
    use super::*;
    use crate::exit::Exit;
    use crate::session::Endpoint;
    use crate::wire::AbortReason;

    #[test]
    fn what_was_offered_is_offered_again_until_it_has_gone() {
        // Part of it may have left already; another transmission in its place would be cut short by as much.
        let mut sender = Sender::new(test_config(1), Time::ZERO);
        let offered = |sender: &mut Sender| sender.poll_transmit(Time::ZERO).map(|it| it.contents.to_vec());
        let announce = offered(&mut sender);
        sender.abort(Time::ZERO, AbortReason::Other, Exit::Internal, "why".to_owned());
        assert!(announce.is_some());
        assert_eq!(offered(&mut sender), announce);
        sender.handle_transmitted(Time::ZERO);
        assert_ne!(offered(&mut sender), announce);
    }
}
