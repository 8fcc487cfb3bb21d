//! One session, from the join to the last confirmation.

mod feedback;
mod landed;
mod patience;
mod reporting;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) use self::landed::Spilled;
use self::reporting::Reporting;
use super::super::number_window::{Arrival, NumberWindow};
use super::super::{MAX_RECEIVERS, PauseWatch, StreamEnd, WireStats, symbol_datagram, wire_layout};
use super::assembly::{Assembly, Taken};
use super::horizon::Horizon;
use super::{Config, Ended, Event, Summary};
use crate::exit::Exit;
use crate::fec::Block;
use crate::seal::{Opener, Party, Seal, Sealer};
use crate::time::Time;
use crate::wire::{
    Abort, AbortReason, Announce, BlockNumber, DatagramNumber, Kind, Label, Message, Name, Need, Phase,
    ReceiverId, SessionId, Stage, Standing, Status, Symbol,
};

/// Where the receiver stands in its session.
#[derive(Debug)]
enum Step {
    /// Has asked, and asks again.
    Joining { asked: u32 },
    /// Its join counts; shows now and then that it is still there.
    Admitted,
    /// Data flows.
    Receiving,
    /// Everything has been given out; the sink compares length and digest.
    Verifying,
    /// Tells the sender how far it is, until the sender has heard.
    Confirming { stage: Stage, heard: Option<Stage>, asked: u32 },
    /// Tells the sender that it gives up, until the sender has heard or the time is up.
    Leaving { ended: Ended, until: Time },
    /// The sender has made way for another before the start.
    Abandoned,
    /// Over.
    Ended(Ended),
}

/// What a membership has come to.
#[derive(Debug)]
pub(super) enum Verdict {
    Stay,
    /// The sender has gone before the start.
    SearchOn,
    End(Ended),
}

/// A session that was announced.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) sender: SocketAddr,
    pub(super) session: SessionId,
    pub(super) announce: Announce,
    /// How the session is sealed, and what has opened its announce.
    pub(super) seal: Seal,
    pub(super) opener: Opener,
}

#[derive(Debug)]
pub(super) struct Membership {
    id: ReceiverId,
    name: Name,
    session: SessionId,
    label: Label,
    /// Where its newest datagrams come from, and when the last of them did.
    sender: SocketAddr,
    sender_heard: Time,
    seal: Seal,
    opener: Opener,
    sealer: Sealer,
    peer_timeout: Duration,
    /// How often a sign of life is due.
    heartbeat: Duration,
    /// So long without a symbol that was asked for, while smaller datagrams come, means that symbols do not fit through.
    symbol_patience: Duration,
    /// When the last symbol came, or the first need arose since.
    symbol_missed_since: Option<Time>,
    step: Step,
    /// Whether the sender has admitted this receiver.
    admitted: bool,
    /// Since when it has been known that the session has started, and no answer to the join.
    excluded_at: Option<Time>,
    started: Option<Time>,
    found: Time,
    finished: Option<Time>,

    assembly: Assembly,
    horizon: Horizon,
    numbers: NumberWindow,
    first_number: DatagramNumber,
    arrived: u64,
    end: Option<(BlockNumber, StreamEnd)>,
    events: VecDeque<Event>,

    credit: u32,
    /// UDP payload of a full symbol's datagram, in bytes.
    datagram_size: usize,
    grtt: Duration,
    group_size: u32,
    last_heard: Time,
    pause: PauseWatch,
    /// The sender has let go of blocks that are missing here.
    released_at: Option<Time>,
    highest_at: Time,
    /// The sender's host has said that nobody listens there.
    unreachable: Option<Time>,

    next_number: DatagramNumber,
    /// Joins, confirmations and leaves: when the next copy is due.
    ask_due: Time,
    /// When the first join was due.
    asking_since: Time,
    reporting: Reporting,
    /// One more than the last block of which a source symbol has come.
    begun: BlockNumber,
    /// When the sink took the first block that no report has told of.
    taken_at: Option<Time>,
    needs: Vec<Need>,
    bytes: u64,
    nacks: u64,
    dropped: u64,
    stalled: Duration,
    stalled_since: Option<Time>,
    scratch: Vec<u8>,
    prepared: bool,
    rng: fastrand::Rng,
}

impl Membership {
    /// How long a leave is repeated for a sender that does not answer.
    pub(super) const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
    /// The same after an abort: the sender knows already that it is over.
    const ABORTED_PATIENCE: Duration = Duration::from_millis(150);
    /// Joins may wait for an answer that long after the start, if the peer timeout is no longer: the answer may be queued
    /// behind data.
    pub(super) const EXCLUDED_PATIENCE: Duration = Duration::from_secs(5);
    /// Once the sender's host says that nobody listens, so much silence is enough.
    const UNREACHABLE_PATIENCE: Duration = Duration::from_secs(1);
    /// How long a sender that has let go of what is missing here has to say that it evicted this receiver: enough for
    /// two signs of life and the answers.
    const RELEASED_PATIENCE: Duration = Duration::from_secs(3);
    /// Pauses between copies of a join, confirmation or leave: doubled from the first to the last.
    const ASK_MIN: Duration = Duration::from_millis(5);
    const ASK_MAX: Duration = Duration::from_millis(500);
    /// The last pause between joins, once data flows and the session waits for this receiver.
    const ASK_STARTED: Duration = Duration::from_millis(50);
    /// Signs of life, at the slowest.
    const HEARTBEAT: Duration = Duration::from_secs(1);
    /// A sender that this receiver's sink has brought to a stop hears that soon of what the sink takes.
    const TAKEN_DELAY: Duration = Duration::from_millis(10);
    /// A join that is not answered within this time, a few copies, may have gone to a recording: another session that
    /// is announced is tried next.
    const UNANSWERED: Duration = Duration::from_secs(1);

    /// `None` if the session's blocks do not fit into the buffer.
    pub(super) fn new(
        config: &Config,
        now: Time,
        found: Found,
        next_number: DatagramNumber,
        mut rng: fastrand::Rng,
    ) -> Option<Self> {
        let Found { sender, session, announce, seal, opener } = found;
        let assembly =
            Assembly::new(wire_layout(announce.symbol_size, &seal), announce.block_symbols, config.buffer)?;
        let datagram = symbol_datagram(announce.symbol_size, &seal);
        let credit = u32::try_from(config.socket_buffer / datagram).unwrap_or(u32::MAX).max(2);
        let spread = announce.join_spread.min(Duration::from_secs(2)).mul_f64(rng.f64());
        Some(Self {
            id: config.id,
            name: config.name,
            session,
            label: announce.label,
            sender,
            sender_heard: now,
            sealer: seal.sealer(session, Party::Receiver(config.id)),
            seal,
            opener,
            peer_timeout: config.peer_timeout,
            heartbeat: (announce.peer_timeout.min(config.peer_timeout) / 8)
                .clamp(Self::ASK_MIN, Self::HEARTBEAT),
            // A sender that is held up by a dead receiver repairs nothing until it has evicted that one.
            symbol_patience: announce.peer_timeout.clamp(config.peer_timeout, config.peer_timeout * 10) * 2,
            symbol_missed_since: None,
            step: Step::Joining { asked: 0 },
            admitted: false,
            excluded_at: None,
            started: None,
            found: now,
            finished: None,
            assembly,
            horizon: Horizon::default(),
            numbers: NumberWindow::new(),
            first_number: DatagramNumber(u64::MAX),
            arrived: 0,
            end: None,
            events: VecDeque::new(),
            credit,
            datagram_size: datagram,
            grtt: announce.grtt,
            group_size: Self::plausible(announce.group_size),
            last_heard: now,
            pause: PauseWatch::new(now),
            released_at: None,
            highest_at: now,
            unreachable: None,
            next_number,
            ask_due: now + spread,
            asking_since: now + spread,
            reporting: Reporting::new(now),
            begun: BlockNumber(0),
            taken_at: None,
            needs: Vec::new(),
            bytes: 0,
            nacks: 0,
            dropped: 0,
            stalled: Duration::ZERO,
            stalled_since: None,
            scratch: Vec::new(),
            prepared: false,
            rng,
        })
    }

    /// The first block has this number.
    pub(super) fn begin_at(&mut self, first: BlockNumber) {
        self.assembly.begin_at(first);
    }

    pub(super) const fn session(&self) -> SessionId {
        self.session
    }

    pub(super) const fn sender(&self) -> SocketAddr {
        self.sender
    }

    /// The number of the next datagram to the sender.
    pub(super) const fn next_number(&self) -> DatagramNumber {
        self.next_number
    }

    const fn has_key(&self) -> bool {
        matches!(self.seal, Seal::Aead(_))
    }

    /// Whether what comes from there may be the sender's: with a key, the tag decides.
    pub(super) fn listens_to(&self, from: SocketAddr) -> bool {
        self.has_key() || from == self.sender
    }

    /// Header and body of what the sender has sealed.
    pub(super) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        self.opener.open(datagram)
    }

    pub(super) const fn has_started(&self) -> bool {
        !matches!(self.step, Step::Joining { .. } | Step::Admitted | Step::Abandoned)
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn set_dropped(&mut self, dropped: u64) {
        self.dropped = dropped;
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            session: self.session,
            label: self.label,
            sender: self.sender,
            found: self.found,
            started: self.started,
            finished: self.finished,
            bytes: self.bytes,
            nacks: self.nacks,
            lost_symbols: self.lost(),
            dropped: self.dropped,
            stalled: self.stalled,
            end: self.end.map(|(_, end)| end),
            group_size: self.group_size,
            waiting: (self.assembly.waiting(), self.assembly.window() as u64),
        }
    }

    // ---- the sink ----

    pub(super) fn poll_block(&mut self) -> Option<Block> {
        // Not before the sender has said that this receiver takes part.
        matches!(self.step, Step::Receiving).then(|| self.assembly.poll_block()).flatten()
    }

    pub(super) fn handle_consumed(&mut self, now: Time, block: Block) {
        self.bytes = self.bytes.saturating_add(block.len() as u64);
        self.assembly.handle_consumed(block);
        self.taken_at.get_or_insert(now);
        self.note_news(now);
        self.watch_sink(now);
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        if let (Step::Receiving, Some((blocks, end))) = (&self.step, self.end)
            && self.assembly.first() == blocks
        {
            self.step = Step::Verifying;
            self.events.push_back(Event::Verify(end));
        }
        self.events.pop_front()
    }

    pub(super) fn handle_verified(&mut self, now: Time) {
        if matches!(self.step, Step::Verifying) {
            self.step = Step::Confirming { stage: Stage::Verified, heard: None, asked: 0 };
            // A crowd that is ready at the same moment spreads, as it did when it joined.
            let spread = Duration::from_millis(u64::from(self.group_size / 10).min(1_000));
            self.ask_due = now + spread.mul_f64(self.rng.f64());
        }
    }

    pub(super) fn handle_sink_done(&mut self, now: Time) {
        if let Step::Confirming { stage, asked, .. } = &mut self.step
            && *stage == Stage::Verified
        {
            *stage = Stage::Done;
            *asked = 0;
            self.ask_due = now;
            self.finished = Some(now);
        }
    }

    pub(super) fn leave(&mut self, now: Time, exit: Exit, error: String, patience: Duration) {
        match self.step {
            Step::Leaving { .. } | Step::Ended(_) => return,
            // The sender may have heard already that all is well here, and it is.
            Step::Confirming { stage: Stage::Done, .. } => return self.complete(),
            _ => {}
        }
        tracing::debug!(%error, code = exit.code(), "leaving the session");
        self.finished.get_or_insert(now);
        self.step = Step::Leaving { ended: Ended { exit, error: Some(error) }, until: now + patience };
        self.ask_due = now;
        self.prepared = false;
    }

    /// Notes for how long complete blocks have filled half of the window, or are all that is left of the stream: then the
    /// sink holds up the session.
    fn watch_sink(&mut self, now: Time) {
        let waiting = self.assembly.waiting();
        let all_here = self.end.is_some_and(|(blocks, _)| self.assembly.received() >= blocks);
        let full = waiting * 2 >= self.assembly.window() as u64 || (all_here && waiting > 0);
        match (full, self.stalled_since) {
            (true, None) => self.stalled_since = Some(now),
            (_, Some(since)) => {
                self.stalled += now.since(since);
                self.stalled_since = full.then_some(now);
            }
            (false, None) => {}
        }
    }

    // ---- what the sender says ----

    pub(super) fn handle_message(
        &mut self,
        now: Time,
        from: SocketAddr,
        number: DatagramNumber,
        message: &Message<'_>,
        stats: &mut WireStats,
    ) {
        let arrival = self.numbers.insert(number);
        if self.has_key() && matches!(arrival, Arrival::Duplicate | Arrival::Ancient) {
            // Somebody plays back what he has recorded, or the network has doubled it.
            return;
        }
        // With a key, only what is newer than all before can come from nobody but the sender just now, and from there.
        if !self.has_key() || arrival == Arrival::Newest {
            self.last_heard = now;
            self.unreachable = None;
            self.note_sender(now, from);
        }
        self.first_number = self.first_number.min(number);
        match arrival {
            Arrival::Newest => {
                self.arrived += 1;
                self.highest_at = now;
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
    fn plausible(group_size: u32) -> u32 {
        group_size.clamp(1, MAX_RECEIVERS as u32)
    }

    fn watch_sink_if_waiting(&mut self, now: Time) {
        if self.assembly.waiting() > 0 {
            self.watch_sink(now);
        }
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
    fn start(&mut self, now: Time) {
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
        match (standing, &mut self.step) {
            (Standing::Admitted, Step::Joining { .. }) => {
                self.admitted = true;
                self.excluded_at = None;
                if self.started.is_some() {
                    self.step = Step::Receiving;
                    self.events.push_back(Event::Started);
                } else {
                    self.step = Step::Admitted;
                    self.ask_due = now + self.heartbeat;
                }
                tracing::info!(label = %self.label, sender = %self.sender, "joined");
            }
            (Standing::RefusedStarted, Step::Joining { .. }) => {
                let error = format!(
                    "the session of {} had already started; this receiver came too late",
                    self.sender.ip()
                );
                self.end_with(now, Exit::NotStarted, error);
            }
            (Standing::RefusedFull, Step::Joining { .. }) => {
                let error =
                    format!("the session of {} takes no more receivers (--max-receivers)", self.sender.ip());
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
                    "evicted by the sender {}: it has not heard this receiver for its --peer-timeout; check the way back, UDP to its port",
                    self.sender
                );
                self.end_with(now, Exit::Evicted, error);
            }
            (Standing::EvictedStalled, Step::Receiving | Step::Verifying) => {
                let error = format!(
                    "evicted by the sender {}: what takes this receiver's output took nothing for the sender's --max-stall \
                     while the others waited; raise --max-stall there or --buffer here, or receive into a file (-o)",
                    self.sender
                );
                self.end_with(now, Exit::Evicted, error);
            }
            (Standing::Left | Standing::Done, Step::Receiving) => {
                // To go on asking would get this answer again and again, and use up the credit of all.
                let error = format!(
                    "the sender {} counts on this receiver no more: somebody has said in its name that it has ended; a key prevents that",
                    self.sender
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
            // The whole stream is here and verified; what becomes of the others is not our business.
            Step::Confirming { .. } | Step::Abandoned | Step::Ended(_) => {}
            Step::Leaving { .. } => self.ask_due = self.ask_due.min(now),
            Step::Joining { .. } | Step::Admitted | Step::Receiving | Step::Verifying => {
                // Before the sender has answered, it may be a recording that speaks: that must not end anything.
                let unproven = self.has_key() && !self.admitted;
                if unproven || (abort.reason == AbortReason::GroupTaken && self.started.is_none()) {
                    // The sender has made way for another one, which is the one to join.
                    self.step = Step::Abandoned;
                    return;
                }
                let exit = match abort.reason {
                    AbortReason::NotStarted => Exit::NotStarted,
                    _ => Exit::Aborted,
                };
                let error = format!("aborted by the sender {}: {}", self.sender.ip(), abort.text);
                if !self.admitted {
                    // Not proven to be there: nothing is said to an address that may be anyone's.
                    return self.end_with(now, exit, error);
                }
                self.leave(now, exit, error, Self::ABORTED_PATIENCE);
            }
        }
    }

    fn complete(&mut self) {
        self.step = Step::Ended(Ended { exit: Exit::Complete, error: None });
    }

    fn end_with(&mut self, now: Time, exit: Exit, error: String) {
        self.finished.get_or_insert(now);
        self.step = Step::Ended(Ended { exit, error: Some(error) });
    }
}
