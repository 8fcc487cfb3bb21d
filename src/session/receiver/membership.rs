//! One session, from the join to the last confirmation.

mod allowance;
mod feedback;
mod hearing;
mod landed;
mod patience;
mod reporting;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use self::allowance::Allowance;
pub(super) use self::landed::Spilled;
use self::reporting::Reporting;
use super::super::number_window::NumberWindow;
use super::super::{PauseWatch, StreamEnd, symbol_datagram, wire_layout};
use super::assembly::Assembly;
use super::horizon::Horizon;
use super::{Config, Ended, Event, Summary};
use crate::exit::Exit;
use crate::fec::Block;
use crate::seal::{GroupKey, Opener, Party, Seal, Sealer};
use crate::time::Time;
use crate::wire::{
    AbortReason, Announce, BlockNumber, DatagramNumber, Label, Name, Need, ReceiverId, SessionId, Stage,
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
    /// The number of the announce.
    pub(super) number: DatagramNumber,
    pub(super) announce: Announce,
    /// How the session is sealed, and what has opened its announce.
    pub(super) seal: Seal,
    pub(super) opener: Opener,
    /// The sender has named this receiver's id, so it is there now.
    pub(super) is_there: bool,
}

#[derive(Debug)]
pub(super) struct Membership {
    id: ReceiverId,
    name: Name,
    session: SessionId,
    label: Label,
    sender_name: Option<Name>,
    /// Where its newest datagrams come from, and when the last of them did.
    sender: SocketAddr,
    sender_heard: Time,
    /// How many more of them have come from elsewhere since.
    elsewhere: u32,
    /// Bytes that may be sent to that address while no key shows that it is the sender's.
    allowance: Allowance,
    /// The receiver takes part in sessions until it is stopped.
    repeats: bool,
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
    /// The sender has named this receiver's id, which was drawn at launch: it is no recording.
    proven: bool,
    /// It has named this receiver since this receiver joined.
    named: bool,
    /// An abort of a sender that has not proven to be there, and when it came.
    aborted: Option<(Time, AbortReason, String)>,
    /// With a key, what is no newer than the announce that was joined is a repetition.
    floor: DatagramNumber,
    /// Whether the sender has admitted this receiver, and whether it ever has.
    admitted: bool,
    was_admitted: bool,
    /// Since when it has been known that the session has started, and no answer to the join.
    excluded_at: Option<Time>,
    /// The operator has been told that joins are not answered though the session goes on.
    told_unheard: bool,
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
    /// It had arrived so much earlier.
    highest_waited: Duration,
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
    /// With a key, joins come at their usual pace for so long, as long as no answer proves that the sender is there.
    const ASK_AT_PACE: Duration = Duration::from_secs(1);
    /// After that each pause is as long as all that came before, up to this one.
    const ASK_LONGEST: Duration = Duration::from_secs(60);
    /// Signs of life, at the slowest.
    const HEARTBEAT: Duration = Duration::from_secs(1);
    /// A sender that this receiver's sink has brought to a stop hears that soon of what the sink takes.
    const TAKEN_DELAY: Duration = Duration::from_millis(10);
    /// Time for an answer to the first join. After it, other sessions that are announced are asked whether they are
    /// there: what was joined may be a recording.
    const UNANSWERED: Duration = Duration::from_millis(100);
    /// Time for an answer to a join where the sender has proved to be there.
    const UNANSWERED_PROVEN: Duration = Duration::from_secs(1);
    /// Time for a sender with a key that has aborted to prove that it was no recording.
    const ABORT_UNPROVEN: Duration = Duration::from_secs(1);

    /// `None` if the session's blocks do not fit into the buffer.
    pub(super) fn new(
        config: &Config,
        now: Time,
        found: Found,
        next_number: DatagramNumber,
        mut rng: fastrand::Rng,
    ) -> Option<Self> {
        let Found { sender, session, number, announce, seal, opener, is_there } = found;
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
            sender_name: announce.name,
            sender,
            sender_heard: now,
            elsewhere: 0,
            allowance: Allowance::new(Announce::LEN + seal.trailer_len()),
            repeats: config.repeats,
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
            proven: is_there,
            named: false,
            aborted: None,
            floor: number,
            admitted: false,
            was_admitted: false,
            excluded_at: None,
            told_unheard: false,
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
            highest_waited: Duration::ZERO,
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

    /// The sender, for people: its name, if it has one, and its address.
    pub(super) fn sender_shown(&self) -> String {
        let address = self.sender.ip();
        self.sender_name.map_or_else(|| address.to_string(), |name| format!("{name} ({address})"))
    }

    /// The number of the next datagram to the sender.
    pub(super) const fn next_number(&self) -> DatagramNumber {
        self.next_number
    }

    /// The number of the next datagram to the sender is this one.
    pub(super) const fn go_on_at(&mut self, number: DatagramNumber) {
        self.next_number = number;
    }

    /// The highest number that the sender's datagrams have had.
    pub(super) fn newest(&self) -> Option<DatagramNumber> {
        self.numbers.highest().max(Some(self.floor))
    }

    pub(super) const fn was_admitted(&self) -> bool {
        self.was_admitted
    }

    pub(super) const fn has_key(&self) -> bool {
        matches!(self.seal, Seal::Aead(_))
    }

    /// Whether what comes from there may be the sender's: with a key, the tag decides.
    pub(super) fn listens_to(&self, from: SocketAddr) -> bool {
        self.has_key() || from == self.sender
    }

    /// A datagram of the sender, or what bears its address, was so long.
    pub(super) const fn note_heard(&mut self, bytes: usize) {
        self.allowance.note_heard(bytes);
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
            sender_name: self.sender_name,
            key: self.seal.key().map(GroupKey::id),
            found: self.found,
            // Data of a recording flows, too.
            started: self.started.filter(|_| self.was_admitted),
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
        tracing::debug!(%error, code = exit.code(), "this receiver leaves the session");
        self.finished.get_or_insert(now);
        // An abort that waits for its proof must not change why this receiver leaves.
        self.aborted = None;
        self.step = Step::Leaving { ended: Ended { exit, error: Some(error) }, until: now + patience };
        self.ask_due = now;
        self.prepared = false;
    }

    fn watch_sink_if_waiting(&mut self, now: Time) {
        if self.assembly.waiting() > 0 {
            self.watch_sink(now);
        }
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

    fn complete(&mut self) {
        self.step = Step::Ended(Ended { exit: Exit::Complete, error: None });
    }

    fn end_with(&mut self, now: Time, exit: Exit, error: String) {
        self.finished.get_or_insert(now);
        self.aborted = None;
        self.step = Step::Ended(Ended { exit, error: Some(error) });
    }
}
