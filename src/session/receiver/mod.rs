//! The receiving side: finds a session, joins, puts blocks together, reports, confirms.
//!
//! A session that the receiver has locked on to lives in `membership.rs`; here is the search for one, and the end.

mod assembly;
mod config;
mod horizon;
mod membership;
mod search;
mod seeking;

use std::net::SocketAddr;
use std::time::Duration;

pub use config::Config;

use self::membership::{Membership, Spilled};
use self::seeking::Seeking;
use super::asking::Asking;
use super::lines::Lines;
use super::strangers::Strangers;
use super::{Beginning, Destination, Endpoint, Landed, Origin, StreamEnd, Transmit, WireStats};
use crate::exit::Exit;
use crate::fec::Block;
use crate::seal::KeyId;
use crate::time::Time;
use crate::wire::{self, BlockNumber, DatagramNumber, Header, Kind, Label, Name, SessionId};

/// How a session ended for the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub exit: Exit,
    /// What to tell the operator; `None` if all is well.
    pub error: Option<String>,
}

/// What the driver has to know or to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Data flows.
    Started,
    /// All blocks have been given out: length and digest must agree with this. Answer with
    /// [`Receiver::handle_verified`] and [`Receiver::handle_sink_done`], or [`Receiver::fail`].
    Verify(StreamEnd),
}

#[derive(Debug)]
enum State {
    Searching,
    Member(Box<Membership>),
    Ended(Ended),
}

/// The receiving side of a session; see the [module](self).
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    state: State,
    launched: Time,
    rng: fastrand::Rng,
    stats: WireStats,
    events: std::collections::VecDeque<Event>,
    /// What the last session looked like, for the report.
    last: Option<Summary>,
    /// Remedies that are told once each.
    hinted: Hints,
    /// What is said while there is no session.
    seeking: Box<Seeking>,
    /// Sessions that were announced, and what they were asked.
    asking: Asking,
    /// Since when sessions have been joined and none has answered.
    unanswered_since: Option<Time>,
    /// Lines about sessions that were found and lost again.
    lines: Lines,
    /// Lines about senders that are heard and do not answer.
    unheard: Lines,
    /// Senders with another key, or without one.
    strangers: Strangers,
    /// The number of the next datagram, in whatever session: none is used twice, in the same session neither.
    next_number: DatagramNumber,
    /// Datagrams that have landed where they do not belong.
    spilled: Spilled,
    /// Where blocks are counted from.
    first_block: BlockNumber,
}

/// What is known of the session, for the report and the progress line.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The session.
    pub session: SessionId,
    /// Its label.
    pub label: Label,
    /// Its sender.
    pub sender: SocketAddr,
    /// The name that the sender gives itself.
    pub sender_name: Option<Name>,
    /// The key that it is sealed with; `None` in plain mode.
    pub key: Option<KeyId>,
    /// When it was found.
    pub found: Time,
    /// When data began to flow for this receiver: the sender had admitted it.
    pub started: Option<Time>,
    /// When it was over.
    pub finished: Option<Time>,
    /// Bytes that the sink has taken.
    pub bytes: u64,
    /// Reports with needs.
    pub nacks: u64,
    /// Datagrams of the sender that never came.
    pub lost_symbols: u64,
    /// Those among them that the socket buffer had no room for, as far as the system tells.
    pub dropped: u64,
    /// Time for which the sink held up the session.
    pub stalled: Duration,
    /// Length and digest, once the sender has told them.
    pub end: Option<StreamEnd>,
    /// Receivers that did not have the whole stream yet, as the sender said last.
    pub group_size: u32,
    /// Blocks complete but not yet taken by the sink, and the most that there may be.
    pub waiting: (u64, u64),
}

impl Summary {
    /// The sender's name, or else its address.
    pub fn sender_shown(&self) -> String {
        self.sender_name.map_or_else(|| self.sender.ip().to_string(), |name| name.to_string())
    }
}

#[derive(Debug, Default)]
struct Hints {
    version: bool,
    /// The first stream of another label, and where it came from.
    label: Option<(Label, SocketAddr)>,
    buffer: bool,
    /// Why a sender with a key did not answer though it was heard.
    unheard: Option<String>,
    /// How far this receiver got with a sender that then fell silent, in words.
    silent: Option<String>,
}

impl Receiver {
    /// Lines in the log about sessions that are found and lost again: a stranger who announces sessions must not fill it.
    const MOST_LINES: u32 = 64;

    /// Lines about senders that are heard and do not answer: each is an error, and those of recordings are worth nothing.
    const MOST_UNHEARD: u32 = 8;

    /// A receiver that listens from `now` on.
    pub fn new(config: Config, now: Time) -> Self {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let seeking = Box::new(Seeking::new(&config, now, &mut rng));
        let asking = Asking::new(config.id, config.name);
        Self {
            config,
            state: State::Searching,
            seeking,
            asking,
            unanswered_since: None,
            lines: Lines::at_most(Self::MOST_LINES),
            unheard: Lines::at_most(Self::MOST_UNHEARD),
            launched: now,
            rng,
            stats: WireStats::default(),
            events: std::collections::VecDeque::new(),
            last: None,
            hinted: Hints::default(),
            strangers: Strangers::default(),
            next_number: DatagramNumber(0),
            spilled: Spilled::default(),
            first_block: BlockNumber::default(),
        }
    }

    /// Lets the counter of blocks begin where the sender's does, before anything else is done.
    pub fn begin_at(&mut self, beginning: Beginning) {
        self.first_block = beginning.block;
    }

    // ---- the sink ----

    /// The next block of the stream.
    pub fn poll_block(&mut self) -> Option<Block> {
        match &mut self.state {
            State::Member(member) => member.poll_block(),
            State::Searching | State::Ended(_) => None,
        }
    }

    /// The sink has taken a block, the oldest that was given out.
    pub fn handle_consumed(&mut self, now: Time, block: Block) {
        if let State::Member(member) = &mut self.state {
            member.handle_consumed(now, block);
        }
    }

    /// Length and digest of what the sink got agree with the sender's: the first confirmation.
    pub fn handle_verified(&mut self, now: Time) {
        if let State::Member(member) = &mut self.state {
            member.handle_verified(now);
        }
    }

    /// The sink has ended well: the second confirmation.
    pub fn handle_sink_done(&mut self, now: Time) {
        if let State::Member(member) = &mut self.state {
            member.handle_sink_done(now);
        }
    }

    /// Ends the session in failure and tells the sender; a session that has ended stays as it is.
    pub fn fail(&mut self, now: Time, exit: Exit, error: String) {
        match &mut self.state {
            State::Searching => self.state = State::Ended(Ended { exit, error: Some(error) }),
            State::Member(member) => member.leave(now, exit, error, Membership::LEAVE_PATIENCE),
            State::Ended(_) => {}
        }
    }

    /// The sender's host says that nobody listens there any more. It may be mistaken; silence decides, but sooner.
    pub fn handle_unreachable(&mut self, now: Time) {
        if let State::Member(member) = &mut self.state {
            member.handle_unreachable(now);
        }
    }

    /// Datagrams that the socket buffer had no room for so far.
    pub fn set_dropped(&mut self, dropped: u64) {
        if let State::Member(member) = &mut self.state {
            member.set_dropped(dropped);
        }
    }

    // ---- what others may look at ----

    /// What has happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let State::Member(member) = &mut self.state
            && let Some(event) = member.poll_event()
        {
            return Some(event);
        }
        self.events.pop_front()
    }

    /// How it ended, once it has.
    pub const fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// The session that the receiver is in, or was in.
    pub fn summary(&self) -> Option<Summary> {
        match &self.state {
            State::Member(member) => Some(member.summary()),
            _ => self.last.clone(),
        }
    }

    /// Whether a sender counts on this receiver.
    pub const fn is_admitted(&self) -> bool {
        match &self.state {
            State::Member(member) => member.was_admitted(),
            State::Searching | State::Ended(_) => false,
        }
    }

    /// For how long nothing has been heard from the sender; `None` where nobody waits for it, or the sender has never named
    /// this receiver: then it may be a recording.
    pub fn silence(&self, now: Time) -> Option<Duration> {
        match &self.state {
            State::Member(member) if member.was_admitted() => member.silence(now),
            State::Member(_) | State::Searching | State::Ended(_) => None,
        }
    }

    /// Bytes that the sink has taken.
    pub fn bytes(&self) -> u64 {
        match &self.state {
            State::Member(member) => member.bytes(),
            _ => self.last.as_ref().map_or(0, |summary| summary.bytes),
        }
    }

    /// Counters.
    pub const fn stats(&self) -> &WireStats {
        &self.stats
    }

    // ---- the session ----

    /// Takes over what the membership has come to.
    fn check_membership(&mut self, now: Time) {
        let State::Member(member) = &mut self.state else { return };
        if let Some(unheard) = member.take_unheard(now) {
            if self.unheard.show() {
                // The stream of this night passes by.
                tracing::error!("{unheard}");
            }
            self.hinted.unheard = Some(unheard);
        }
        match member.verdict(now) {
            membership::Verdict::Stay => {}
            membership::Verdict::SearchOn => {
                if self.lines.show() {
                    let (sender, shown) = (member.sender(), member.sender_shown());
                    tracing::info!(%sender, "the sender {shown} has gone before the start; searching on");
                }
                self.hinted.silent = Some(member.describe_attendance());
                self.leave_session();
            }
            membership::Verdict::End(ended) => {
                while let Some(event) = member.poll_event() {
                    self.events.push_back(event);
                }
                self.last = Some(member.summary());
                self.state = State::Ended(ended);
            }
        }
    }
}

impl Endpoint for Receiver {
    fn handle_datagram(&mut self, now: Time, origin: Origin, datagram: &mut [u8]) {
        let from = origin.address;
        let Some(header) = Header::peek(datagram) else {
            self.hint_at_version(from, datagram);
            return self.drop_malformed(from, datagram.len());
        };
        if let State::Member(member) = &mut self.state
            && header.session == member.session()
        {
            let length = datagram.len();
            if !member.listens_to(from) {
                return;
            }
            member.note_heard(length);
            let content = member.open(datagram);
            let Some((header, message)) = content.and_then(|content| wire::parse(content).ok()) else {
                return self.drop_malformed(from, length);
            };
            tracing::trace!(number = header.number.0, kind = ?header.kind, length, "received");
            self.stats.datagrams += 1;
            self.stats.bytes += length as u64;
            member.handle_message(now, origin, header.number, &message, &mut self.stats);
            return;
        }
        if !self.looks_on(now) {
            return;
        }
        match header.kind {
            Kind::Announce => self.handle_stranger(now, from, &header, datagram),
            Kind::Roster => self.handle_answer(now, from, &header, datagram),
            _ => {}
        }
    }

    fn landing(&mut self) -> Vec<&mut [u8]> {
        match &mut self.state {
            State::Member(member) => member.landing(),
            State::Searching | State::Ended(_) => Vec::new(),
        }
    }

    fn handle_landed(&mut self, now: Time, batches: &[Landed]) {
        let mut spilled = std::mem::take(&mut self.spilled);
        if let State::Member(member) = &mut self.state {
            for batch in batches {
                member.handle_landed(now, batch, &mut self.stats, &mut spilled);
            }
        }
        spilled.drain(|origin, datagram| self.handle_datagram(now, origin, datagram));
        self.spilled = spilled;
    }

    fn handle_timeout(&mut self, now: Time) {
        if let State::Member(member) = &mut self.state {
            member.handle_timeout(now);
        }
        self.check_start_timeout(now);
        self.check_membership(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Transmit<'_>> {
        self.prepare_question(now);
        let (to, contents) = match &mut self.state {
            State::Ended(_) => return None,
            _ if let Some((to, contents)) = self.asking.prepared() => (Destination::Outsider(to), contents),
            State::Searching => {
                (Destination::Group, self.seeking.poll(now, &self.config, &mut self.next_number)?)
            }
            State::Member(member) => (Destination::Peer(member.sender()), member.poll_transmit(now)?),
        };
        Some(Transmit { to, contents, segment: contents.len() })
    }

    fn handle_transmitted(&mut self, now: Time) {
        match &mut self.state {
            _ if self.asking.handle_transmitted() => {}
            State::Searching => self.seeking.handle_transmitted(now),
            State::Member(member) => member.handle_transmitted(),
            State::Ended(_) => return,
        }
        self.stats.feedback_datagrams += 1;
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let give_up = self.config.start_timeout.map(|timeout| self.launched + timeout);
        let asking = Some(self.question_due());
        match &mut self.state {
            State::Searching => [Some(self.seeking.due()), asking, give_up].into_iter().flatten().min(),
            State::Member(member) if member.has_started() => member.poll_timeout(),
            State::Member(member) => [member.poll_timeout(), asking, give_up].into_iter().flatten().min(),
            State::Ended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{self, Accept};
    use crate::wire::{Abort, AbortReason, Announce, Message, Name, Phase, ReceiverId, Status, Text};

    const SENDER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 1);

    fn config() -> Config {
        Config {
            id: ReceiverId(1),
            name: Name::new("db2").unwrap(),
            expect: None,
            over: Vec::new(),
            repeats: false,
            seed: 0,
            start_timeout: None,
            peer_timeout: Duration::from_secs(10),
            buffer: 1 << 20,
            socket_buffer: 1 << 20,
            accept: Accept::Crc,
        }
    }

    fn announce(join_spread: Duration) -> Announce {
        Announce {
            phase: Phase::Waiting,
            block_symbols: 8,
            symbol_size: 64,
            join_spread,
            peer_timeout: Duration::from_secs(10),
            age: Duration::ZERO,
            grtt: Duration::ZERO,
            group_size: 1,
            echo: ReceiverId(0),
            label: Label::new("x").unwrap(),
            name: None,
        }
    }

    #[test]
    fn abort_of_a_session_that_has_not_admitted_it_ends_no_service() {
        let abort = Abort { reason: AbortReason::Stopped, text: Text::truncated("stopped") };
        for repeats in [false, true] {
            let mut receiver = Receiver::new(Config { repeats, ..config() }, Time::ZERO);
            for pair in 0..100 {
                hear(&mut receiver, pair * 2, &Message::Announce(announce(Duration::ZERO)));
                hear(&mut receiver, pair * 2 + 1, &Message::Abort(abort));
            }
            let exit = receiver.ended().map(|ended| ended.exit);
            assert_eq!(exit, (!repeats).then_some(Exit::Aborted));
            assert_eq!(receiver.summary().is_none(), repeats);
        }
    }

    #[test]
    fn other_version_is_no_reason_to_fail_with_a_key() {
        let key = crate::seal::GroupKey::new(&crate::seal::Secret::new([1; crate::seal::KEY_LEN]));
        for (accept, is_told) in [(Accept::Crc, true), (Accept::Aead(vec![key]), false)] {
            let start_timeout = Some(Duration::from_secs(1));
            let mut receiver = Receiver::new(Config { accept, start_timeout, ..config() }, Time::ZERO);
            let mut datagram = Vec::new();
            let announce = Message::Announce(announce(Duration::ZERO));
            announce.write(SessionId([0; 16]), DatagramNumber(0), &mut datagram);
            datagram[0] = wire::VERSION + 1;
            seal::seal_appended(&mut datagram, 0);
            let origin = Origin::just(Time::ZERO, (SENDER, 7767).into());
            receiver.handle_datagram(Time::ZERO, origin, &mut datagram);
            receiver.handle_timeout(Time::ZERO + Duration::from_secs(1));
            let error = receiver.ended().and_then(|ended| ended.error.clone()).unwrap();
            assert_eq!(error.contains("version"), is_told, "{error}");
        }
    }

    fn hear(receiver: &mut Receiver, number: u64, message: &Message<'_>) {
        let mut datagram = Vec::new();
        message.write(SessionId([0; 16]), DatagramNumber(number), &mut datagram);
        seal::seal_appended(&mut datagram, 0);
        let origin = Origin::just(Time::ZERO, (SENDER, 7767).into());
        receiver.handle_datagram(Time::ZERO, origin, &mut datagram);
        receiver.handle_timeout(Time::ZERO);
    }

    /// A datagram of a session with the key that `keyed` receivers have.
    fn hear_sealed(receiver: &mut Receiver, number: u64, message: &Message<'_>) {
        hear_sealed_from(receiver, Time::ZERO, SENDER, number, message);
    }

    fn hear_sealed_from(
        receiver: &mut Receiver,
        now: Time,
        host: std::net::Ipv4Addr,
        number: u64,
        message: &Message<'_>,
    ) {
        let mut datagram = Vec::new();
        message.write(SessionId([0; 16]), DatagramNumber(number), &mut datagram);
        let seal = seal::Seal::Aead(key());
        seal.sealer(SessionId([0; 16]), seal::Party::Sender).seal_appended(&mut datagram, 0);
        receiver.handle_datagram(now, Origin::just(now, (host, 7767).into()), &mut datagram);
        receiver.handle_timeout(now);
    }

    fn key() -> seal::GroupKey {
        seal::GroupKey::new(&seal::Secret::new([7; seal::KEY_LEN]))
    }

    #[test]
    fn signal_ends_a_receiver_though_an_abort_waits_for_its_proof() {
        let mut receiver =
            Receiver::new(Config { accept: Accept::Aead(vec![key()]), ..config() }, Time::ZERO);
        hear_sealed(&mut receiver, 0, &Message::Announce(announce(Duration::ZERO)));
        let text = crate::wire::Text::truncated("stopped");
        let reason = crate::wire::AbortReason::Stopped;
        hear_sealed(&mut receiver, 1, &Message::Abort(crate::wire::Abort { reason, text }));
        receiver.fail(Time::ZERO, Exit::Signal(15), "stopped by signal 15".to_owned());
        let entries = [(ReceiverId(1), crate::wire::Standing::Left)];
        let roster = crate::wire::Roster { entries: crate::wire::Entries::Given(&entries) };
        hear_sealed(&mut receiver, 2, &Message::Roster(roster));
        assert_eq!(receiver.ended().map(|ended| ended.exit), Some(Exit::Signal(15)));
    }

    #[test]
    fn joins_that_went_elsewhere_are_followed_at_once_by_one_to_the_sender() {
        let mut receiver =
            Receiver::new(Config { accept: Accept::Aead(vec![key()]), ..config() }, Time::ZERO);
        let message = Message::Announce(announce(Duration::ZERO));
        hear_sealed_from(&mut receiver, Time::ZERO, std::net::Ipv4Addr::new(10, 0, 0, 9), 0, &message);
        let mut now = Time::ZERO;
        while now < Time::ZERO + Duration::from_secs(4) {
            receiver.handle_timeout(now);
            while receiver.poll_transmit(now).is_some() {
                receiver.handle_transmitted(now);
            }
            now = receiver.poll_timeout().unwrap();
        }
        let now = Time::ZERO + Duration::from_secs(4);
        hear_sealed_from(&mut receiver, now, SENDER, 1, &message);
        let to = receiver.poll_transmit(now).map(|transmit| transmit.to);
        assert_eq!(to, Some(Destination::Peer((SENDER, 7767).into())));
    }

    #[test]
    fn the_highest_number_of_all_is_a_number_like_any_other() {
        let status = Status {
            next_block: crate::wire::BlockNumber(u64::MAX),
            released: crate::wire::BlockNumber(0),
            grtt: Duration::ZERO,
            group_size: u32::MAX,
        };
        let mut receiver = Receiver::new(config(), Time::ZERO);
        let keep_alive = Message::KeepAlive(status);
        hear(&mut receiver, 0, &Message::Announce(announce(Duration::ZERO)));
        for number in [1, u64::MAX, 2] {
            hear(&mut receiver, number, &keep_alive);
        }
        assert_eq!(receiver.summary().map(|summary| summary.lost_symbols), Some(u64::MAX - 3));
        // A group larger than any would make it report never again.
        let group = receiver.summary().map(|summary| summary.group_size);
        assert_eq!(group, Some(super::super::MAX_RECEIVERS as u32));
    }

    #[test]
    fn a_join_is_spread_as_the_sender_says_but_over_two_seconds_at_most() {
        for (spread, most) in [(100, 100), (60_000, 2_000)] {
            let dues: Vec<_> = (0..20)
                .map(|seed| {
                    let mut receiver = Receiver::new(Config { seed, ..config() }, Time::ZERO);
                    hear(&mut receiver, 0, &Message::Announce(announce(Duration::from_millis(spread))));
                    receiver.poll_timeout().map(|at| at.since(Time::ZERO))
                })
                .collect();
            let most = Some(Duration::from_millis(most));
            assert!(dues.iter().all(|due| *due <= most), "{dues:?}");
            assert!(dues.iter().any(|due| *due > most.map(|most| most / 2)), "{dues:?}");
        }
    }
}
