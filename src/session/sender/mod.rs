//! The sending side: start window, first pass, repair, end, and who has got how far.
//!
//! What is sent is prepared in `prepare.rs`, what receivers say is taken in here.

mod attendance;
mod budget;
mod config;
mod congestion;
mod credit;
mod eviction;
mod feedback;
mod findings;
#[cfg(test)]
mod fixture;
mod least;
mod limiting;
mod members;
mod parity;
mod prepare;
mod rivals;
mod start_window;
mod verdict;
mod voices;
mod window;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub use attendance::Attendance;
pub use config::Config;
pub use congestion::RatePhase;
pub use findings::RateControl;
pub use members::{Member, MemberState};
pub use start_window::{Joined, Shortfall, StartRules, Verdict};

use self::attendance::Departures;
use self::congestion::{Congestion, HeldBack};
use self::findings::Findings;
use self::members::Members;
use self::parity::Parity;
use self::prepare::Prepared;
use self::rivals::Outsiders;
use self::voices::{Unheard, Voices};
use self::window::SendWindow;
use super::grtt::GrttEstimator;
use super::pacer::Pacer;
use super::stats::LimiterClock;
use super::{Beginning, Endpoint, Limiter, Origin, PauseWatch, Rate, StreamEnd, Transmit, WireStats, layout};
use crate::exit::Exit;
use crate::fec::{Block, Codec};
use crate::seal::{Party, Sealer};
use crate::time::Time;
use crate::wire::{AbortReason, DatagramNumber, Header, Kind, Message, ReceiverId, Standing};

/// How a session ended for the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub exit: Exit,
    /// What to tell the operator; `None` if all is well.
    pub error: Option<String>,
}

/// Where the session stands.
#[derive(Debug)]
enum State {
    /// The start window is open. t0 is the first join's time.
    Waiting {
        first_join: Option<Time>,
    },
    /// Data flows, or the last receivers are being waited for.
    Streaming,
    /// Receivers are told that it is over, until they have said that they know or the time is up.
    Aborting {
        reason: AbortReason,
        ended: Ended,
        until: Time,
        copies: u32,
    },
    /// Every receiver is final; the last answers are repeated, for those that missed the first copy.
    Closing {
        ended: Ended,
        copies_left: u32,
        /// Not longer than this, even where the network takes nothing.
        until: Time,
    },
    Ended(Ended),
}

/// Data that has flown without a break.
#[derive(Clone, Copy, Debug)]
struct Flow {
    since: Time,
    first: DatagramNumber,
    /// A report has told of it.
    answered: bool,
}

/// The sending side of a session; see the [module](self).
#[derive(Debug)]
pub struct Sender {
    config: Config,
    state: State,
    pause: PauseWatch,
    launched: Time,
    started: Option<Time>,
    /// Receivers that were missing at the start.
    shortfall: Option<Shortfall>,
    /// Those that had joined and left before the start.
    departures: Departures,
    finished: Option<Time>,
    members: Members,
    window: SendWindow,
    free: Vec<Block>,
    allocated: usize,
    codec: Codec,
    pacer: Pacer,
    congestion: Congestion,
    findings: Findings,
    grtt: GrttEstimator,
    limiter: LimiterClock,
    rng: fastrand::Rng,
    stats: WireStats,
    stream_bytes: u64,
    next_number: DatagramNumber,
    sealer: Sealer,
    voices: Voices,
    outsiders: Outsiders,
    scratch: Vec<u8>,
    prepared: Option<Prepared>,
    /// Data is ready, and the pacer lets it go at this time.
    paced: Option<Time>,
    /// Answers to receivers that the next rosters carry.
    answers: BTreeMap<ReceiverId, Standing>,
    answers_due: Time,
    announce_due: Time,
    announced: Time,
    announce_every: Duration,
    abort_due: Time,
    close_due: Time,
    last_data: Time,
    last_status: Time,
    quiet: Duration,
    /// A status is due as soon as all that there is has been sent: the first end, or somebody waits for it.
    status_wanted: bool,
    end: Option<StreamEnd>,
    /// Since when nothing more can be sent before a receiver's sink takes something.
    held: Option<Time>,
    /// The source failed before the start.
    source_failure: Option<String>,
    /// Bytes sent and since when, for the rate of late.
    recent: (Time, u64, Option<Rate>),
    /// The group size that receivers were told last: by this they space their reports.
    group: u32,
    /// The GRTT that receivers were told last.
    told_grtt: Duration,
    flow: Flow,
    parity: Parity,
    /// Symbols of the first pass that have been sent.
    first_pass: u64,
    /// When its own queue was full last, or a receiver's socket buffer might have been.
    held_back: HeldBack,
    /// Joins counted in the current tenth of a second, to tell how far they should spread.
    joins: (Time, u32),
}

impl Sender {
    /// Announces of a waiting sender: the first ones come fast, then at this pace, ± a fifth.
    const ANNOUNCE_MAX: Duration = Duration::from_millis(500);
    /// The first pause between announces; doubled up to [`Self::ANNOUNCE_MAX`].
    const ANNOUNCE_MIN: Duration = Duration::from_millis(20);
    /// Announces after the start, for those who come late.
    const ANNOUNCE_STARTED: Duration = Duration::from_secs(1);
    /// Answers are gathered for this long.
    const GATHER: Duration = Duration::from_micros(500);
    /// How long receivers that are told of an abort have to answer.
    const ABORT_PATIENCE: Duration = Duration::from_secs(1);
    /// With a key, a sender that aborts before the start stays for so long at least: a receiver that has just joined
    /// believes the abort once its next join is answered.
    const ABORT_LINGER: Duration = Duration::from_millis(200);
    /// How long the network has to take the last answers.
    const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
    /// Copies of the last answers.
    const CLOSE_COPIES: u32 = 3;
    /// Answers that wait to be sent, at most; who finds no place asks again.
    const MAX_ANSWERS: usize = 8_192;
    /// A tie between two senders' ages, and who is older is decided by session id.
    const SAME_AGE: Duration = Duration::from_millis(50);

    /// A sender that starts to announce at `now`.
    pub fn new(config: Config, now: Time) -> Self {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        // From a generator of its own: 64 bits that nobody knows before this launch.
        let question = fastrand::Rng::with_seed(!config.seed).u64(1..);
        let congestion = Congestion::new(config.rate);
        let pacer = Pacer::new(congestion.decision().rate, config.rate.is_some());
        Self {
            state: State::Waiting { first_join: None },
            pause: PauseWatch::new(now),
            launched: now,
            started: None,
            shortfall: None,
            departures: Departures::default(),
            finished: None,
            members: Members::default(),
            window: SendWindow::default(),
            free: Vec::new(),
            allocated: 0,
            codec: Codec::new(),
            pacer,
            congestion,
            findings: Findings::new(),
            grtt: GrttEstimator::new(),
            limiter: LimiterClock::new(now),
            stats: WireStats::default(),
            stream_bytes: 0,
            next_number: DatagramNumber(0),
            sealer: config.seal.sealer(config.session, Party::Sender),
            voices: Voices::new(config.seal.clone(), config.session),
            outsiders: Outsiders::new(
                ReceiverId(question),
                config.name.unwrap_or_else(|| config.label.into()),
            ),
            scratch: Vec::new(),
            prepared: None,
            paced: None,
            answers: BTreeMap::new(),
            answers_due: now,
            announce_due: now,
            announced: now,
            announce_every: Self::ANNOUNCE_MIN,
            abort_due: now,
            close_due: now,
            last_data: now,
            last_status: now,
            quiet: Duration::ZERO,
            status_wanted: false,
            end: None,
            held: None,
            source_failure: None,
            recent: (now, 0, None),
            group: 0,
            flow: Flow { since: now, first: DatagramNumber(0), answered: false },
            told_grtt: GrttEstimator::INITIAL,
            parity: Parity::new(config.block_symbols.into()),
            first_pass: 0,
            held_back: HeldBack::default(),
            joins: (now, 0),
            rng: rng.fork(),
            config,
        }
    }

    /// Lets the counters begin elsewhere than at zero, before anything else is done.
    pub fn begin_at(&mut self, beginning: Beginning) {
        self.next_number = beginning.datagram;
        self.flow.first = beginning.datagram;
        self.window = SendWindow::beginning_at(beginning.block);
    }

    // ---- the source ----

    /// A buffer for the source to fill; `None` while all are in use.
    pub fn poll_buffer(&mut self) -> Option<Block> {
        if let Some(mut block) = self.free.pop() {
            block.set_len(0);
            return Some(block);
        }
        if self.allocated >= self.config.window {
            return None;
        }
        self.allocated += 1;
        Some(Block::new(layout(self.config.symbol_size), usize::from(self.config.block_symbols)))
    }

    /// Takes the next bytes of the stream. An empty block only gives its buffer back.
    pub fn push_block(&mut self, block: Block) {
        if block.is_empty()
            || matches!(self.state, State::Aborting { .. } | State::Closing { .. } | State::Ended(_))
        {
            self.free.push(block);
            return;
        }
        self.stream_bytes = self.stream_bytes.saturating_add(block.len() as u64);
        self.window.push(block);
    }

    /// The source has come to its end: nothing is pushed after this.
    pub fn handle_source_end(&mut self, end: StreamEnd) {
        self.end = Some(end);
        self.status_wanted = true;
    }

    /// The source has failed. Receivers are told at once, or as soon as the start window has let them join.
    pub fn handle_source_failure(&mut self, now: Time, error: String) {
        if matches!(self.state, State::Waiting { .. }) {
            tracing::warn!(
                "the source failed before the start: {error}; receivers that join are told so, until --start-timeout"
            );
            self.source_failure = Some(error);
        } else {
            self.abort(now, AbortReason::SourceFailed, Exit::SourceFailed, error);
        }
    }

    /// Ends the session in failure and tells the receivers; a session that has ended stays as it is.
    pub fn abort(&mut self, now: Time, reason: AbortReason, exit: Exit, error: String) {
        if matches!(self.state, State::Aborting { .. } | State::Closing { .. } | State::Ended(_)) {
            return;
        }
        tracing::debug!(%error, code = exit.code(), "this sender aborts the session");
        // What is prepared still goes: the network may have taken a part of it.
        self.abort_due = now;
        // Answers that wait go before the abort. A receiver that has joined must know it, because this turn may be the last
        // one and, with a key, only an answer proves that the abort is no recording.
        self.answers_due = self.answers_due.min(now);
        self.state = State::Aborting {
            reason,
            ended: Ended { exit, error: Some(error) },
            until: now + Self::ABORT_PATIENCE,
            copies: 0,
        };
    }

    // ---- what others may look at ----

    /// How the session ended, once it has.
    pub const fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Whether data flows or has flowed.
    pub const fn has_started(&self) -> bool {
        self.started.is_some()
    }

    /// The receivers.
    pub fn members(&self) -> impl Iterator<Item = &Member> + Clone {
        self.members.iter()
    }

    /// Counters.
    pub const fn stats(&self) -> &WireStats {
        &self.stats
    }

    /// Bytes of stream taken from the source so far.
    pub const fn stream_bytes(&self) -> u64 {
        self.stream_bytes
    }

    /// Length and digest of the stream, once the source has ended.
    pub const fn stream_end(&self) -> Option<StreamEnd> {
        self.end
    }

    /// Time from launch to start, and from start to end (or `now`).
    pub fn times(&self, now: Time) -> (Duration, Duration) {
        let end = self.finished.unwrap_or(now);
        match self.started {
            Some(started) => (started.since(self.launched), end.since(started)),
            None => (end.since(self.launched), Duration::ZERO),
        }
    }

    /// For how long the source and the network limited the session.
    pub const fn limited_by(&self) -> (Duration, Duration) {
        (self.limiter.source(), self.limiter.network())
    }

    /// The rate at which IP datagrams may go now.
    pub const fn rate(&self) -> Rate {
        self.pacer.rate()
    }

    /// What limits the session now.
    pub const fn limiter(&self) -> Limiter {
        self.limiter.current()
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    // ---- time ----

    fn settle_limits(&mut self) {
        let received = self.members.limits().received.map_or(self.window.next_block(), |(block, _)| block);
        while let Some(block) = self.window.release(received) {
            self.free.push(block);
        }
        let rate = self.congestion.decision().rate;
        self.pacer.set_rate(rate, self.config.rate == Some(rate));
        // Those who still miss something need not wait for the others any more, once they know.
        if self.members.receiving() * 2 < self.group as usize {
            self.status_wanted = true;
        }
    }

    fn check_start(&mut self, now: Time) {
        let State::Waiting { first_join } = self.state else { return };
        if self.config.start.evaluate(now, first_join, self.members.joined()) == Verdict::Start {
            tracing::debug!(receivers = self.members.len(), "the session starts");
            self.shortfall = self.config.start.shortfall(self.members.joined());
            self.started = Some(now);
            self.members.start(self.next_number);
            self.limiter = LimiterClock::new(now);
            self.recent = (now, 0, None);
            self.flow = Flow { since: now, first: self.next_number, answered: false };
            self.congestion.handle_start(now, self.next_number);
            self.last_status = now;
            self.announce_due = now;
            self.state = State::Streaming;
            if let Some(error) = self.source_failure.take() {
                self.handle_source_failure(now, error);
            }
            return;
        }
        let Some(timeout) = self.config.start_timeout.filter(|timeout| now >= self.launched + *timeout)
        else {
            return;
        };
        if let Some(error) = self.source_failure.take() {
            return self.abort(now, AbortReason::SourceFailed, Exit::SourceFailed, error);
        }
        let error = self.describe_no_start(now, timeout);
        let has_strangers = self.describe_strangers().is_some();
        let exit = if has_strangers { Exit::Authentication } else { Exit::NotStarted };
        self.abort(now, AbortReason::NotStarted, exit, error);
    }

    /// Ends the session once nothing more can come from any receiver.
    fn check_end(&mut self, now: Time) {
        match &self.state {
            State::Streaming if self.members.alive() == 0 => {
                let ended = self.judge();
                self.finished = Some(now);
                self.close_due = now;
                // The last answers go out with the first copy.
                self.answers.clear();
                let until = now + Self::CLOSE_PATIENCE;
                self.state = State::Closing { ended, copies_left: Self::CLOSE_COPIES, until };
            }
            State::Aborting { until, copies, ended, .. } => {
                let all_know = self.members.alive() == 0;
                let lingers = self.config.seal.key().is_some() && self.started.is_none();
                let may_go = !lingers || now + Self::ABORT_PATIENCE >= *until + Self::ABORT_LINGER;
                if now >= *until || (all_know && *copies >= 1 && may_go) {
                    self.finished.get_or_insert(now);
                    self.state = State::Ended(ended.clone());
                }
            }
            State::Closing { ended, copies_left, until } => {
                let all_sent = *copies_left == 0 && self.prepared.is_none() && self.answers.is_empty();
                if all_sent || now >= *until {
                    self.state = State::Ended(ended.clone());
                }
            }
            _ => {}
        }
    }
}

impl Endpoint for Sender {
    fn handle_datagram(&mut self, now: Time, origin: Origin, datagram: &mut [u8]) {
        let from = origin.address;
        let Some(header) = Header::peek(datagram) else { return self.drop_malformed(from, datagram.len()) };
        if header.kind == Kind::Seek {
            return self.handle_seek(now, from, &header, datagram);
        }
        if header.session != self.config.session {
            return self.handle_rival_datagram(now, from, &header, datagram);
        }
        if !header.kind.comes_from_receivers() {
            // Our own datagrams, heard on the group.
            return;
        }
        let length = datagram.len();
        let content = match self.voices.open(datagram) {
            Ok(content) => content,
            Err(Unheard::Repeated) => return,
            Err(Unheard::Forged) => return self.drop_malformed(from, length),
        };
        let Ok((header, message)) = crate::wire::parse(content) else {
            return self.drop_malformed(from, length);
        };
        let receiver = match &message {
            Message::Join(message) => message.receiver,
            Message::Report(message) => message.receiver,
            Message::Confirm(message) => message.receiver,
            Message::Leave(message) => message.receiver,
            _ => return,
        };
        if self.config.seal.key().is_some()
            && self.members.get(receiver).is_some_and(|member| member.address != from)
            && let Some(member) = self.members.get_mut(receiver)
        {
            // Nothing newer has come from it, so this is where it is.
            member.address = from;
        }
        self.stats.feedback_datagrams += 1;
        tracing::trace!(%from, number = header.number.0, kind = ?header.kind, "received");
        if let Message::Join(join) = &message {
            self.handle_join(now, from, join);
            return;
        }
        // Only from where it joined does a receiver speak for itself, unless its key does.
        if self.members.get(receiver).is_none_or(|member| member.address != from) {
            return;
        }
        match &message {
            Message::Report(report) => self.handle_report(now, origin.arrived, report),
            Message::Confirm(confirm) => self.handle_confirm(now, confirm),
            Message::Leave(leave) => self.handle_leave(now, leave),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(pause) = self.pause.handle_call(now) {
            self.forgive(now, pause);
        }
        self.settle_limiter(now);
        self.check_silence(now);
        self.check_stall(now);
        self.check_start(now);
        self.check_end(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Transmit<'_>> {
        if self.prepared.is_some() {
            self.held_back.note(now);
        } else {
            self.prepare(now);
            // The last copy of the last answers has been sent, or an abort has been answered.
            self.check_end(now);
        }
        self.prepared_transmit()
    }

    fn handle_transmitted(&mut self, now: Time) {
        self.commit(now);
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let at = self.next_timeout();
        self.pause.set_alarm(at);
        at
    }
}

impl Sender {
    fn drop_malformed(&mut self, from: SocketAddr, length: usize) {
        self.stats.dropped_malformed += 1;
        tracing::trace!(%from, length, "malformed datagram dropped");
    }

    fn next_timeout(&mut self) -> Option<Time> {
        let death = self.members.next_death(self.patience());
        let own = match &self.state {
            State::Waiting { first_join } => {
                let start = match self.config.start.evaluate(Time::ZERO, *first_join, self.members.joined()) {
                    Verdict::Wait(at) => at,
                    Verdict::Start => Some(Time::ZERO),
                };
                let give_up = self.config.start_timeout.map(|timeout| self.launched + timeout);
                [start, give_up].into_iter().flatten().min()
            }
            State::Aborting { until, .. } | State::Closing { until, .. } => Some(*until),
            State::Streaming => None,
            State::Ended(_) => return None,
        };
        [own, death, self.next_stall(), self.transmit_due()].into_iter().flatten().min()
    }
}
