//! Others that look for a session, and other senders.
//!
//! Two senders with one label must not be told apart by luck: the older prevails. With a key, an announce may be a
//! recording, which must not make a sender yield. So a rival is asked whether it is there ([`Asking`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::MAX_RECEIVERS;
use super::super::asking::Asking;
use super::super::lines::Lines;
use super::super::names::listed;
use super::super::strangers::Strangers;
use super::prepare::Prepared;
use super::{Sender, State};
use crate::exit::Exit;
use crate::seal::{Accept, Party, Stranger};
use crate::time::Time;
use crate::wire::{
    self, AbortReason, Announce, DatagramNumber, Header, Kind, Message, Name, Phase, ReceiverId, SessionId,
};

/// What a sender knows of those outside its session.
#[derive(Debug)]
pub(super) struct Outsiders {
    strangers: Strangers,
    /// Rivals, and whether they are there.
    pub(super) rivals: Asking,
    /// The number of the next question to a rival.
    question: DatagramNumber,
    /// With a key, the highest number of each one's questions to this sender.
    asked: BTreeMap<ReceiverId, DatagramNumber>,
    /// The seek that the next announce answers.
    echo: ReceiverId,
    /// Lines about receivers that came or went.
    lines: Lines,
    /// Receivers that look for a session, and have not joined this one.
    lookers: BTreeMap<ReceiverId, Looker>,
}

#[derive(Debug)]
struct Looker {
    name: Name,
    from: IpAddr,
    /// When it was heard first.
    since: Time,
}

impl Outsiders {
    /// `id` is drawn at this launch.
    pub(super) const fn new(id: ReceiverId, name: Name) -> Self {
        Self {
            strangers: Strangers::new(),
            rivals: Asking::new(id, name),
            question: DatagramNumber(0),
            asked: BTreeMap::new(),
            echo: ReceiverId(0),
            lines: Lines::at_most(Self::MOST_LINES),
            lookers: BTreeMap::new(),
        }
    }

    /// One for each receiver that may come, and one for each that leaves: without a key, a stranger could come and go
    /// for ever, and fill the log.
    const MOST_LINES: u32 = 2 * MAX_RECEIVERS as u32;

    /// Bounds the table, and the message that names them, whatever anybody sends.
    const MOST_LOOKERS: usize = 8;

    /// Whether the operator is told that another receiver came or went.
    pub(super) fn tells(&mut self) -> bool {
        self.lines.show()
    }

    /// Whether a question with this number, sealed with the key, has not been heard yet: any other is a recording.
    fn is_news(&mut self, receiver: ReceiverId, number: DatagramNumber) -> bool {
        if self.asked.get(&receiver).is_some_and(|before| number <= *before) {
            return false;
        }
        if self.asked.len() >= MAX_RECEIVERS && !self.asked.contains_key(&receiver) {
            self.asked.pop_first();
        }
        self.asked.insert(receiver, number);
        true
    }

    fn note_looker(&mut self, now: Time, receiver: ReceiverId, name: Name, from: IpAddr) {
        if self.lookers.len() < Self::MOST_LOOKERS {
            self.lookers.entry(receiver).or_insert(Looker { name, from, since: now });
        }
    }

    /// A receiver that looked for a session has joined this one.
    pub(super) fn forget_looker(&mut self, receiver: ReceiverId) {
        self.lookers.remove(&receiver);
    }

    /// What the announce that is being made answers.
    pub(super) fn take_echo(&mut self) -> ReceiverId {
        std::mem::replace(&mut self.echo, ReceiverId(0))
    }
}

impl Sender {
    /// An announce answers a seek at once, so a receiver that hears it joins within a second, a lost datagram included.
    const LOOKS_IN_VAIN: Duration = Duration::from_secs(2);

    /// Somebody looks for a session.
    pub(super) fn handle_seek(&mut self, now: Time, from: SocketAddr, header: &Header, datagram: &mut [u8]) {
        let length = datagram.len();
        let Some(receiver) = ReceiverId::peek(datagram) else { return self.drop_malformed(from, length) };
        let accept = Accept::from(&self.config.seal);
        let waiting = matches!(self.state, State::Waiting { .. });
        let stranger = if waiting { accept.stranger(datagram) } else { None };
        let mut opener = self.config.seal.opener(header.session, Party::Receiver(receiver));
        let content = opener.open(datagram);
        let Some((_, Message::Seek(seek))) = content.and_then(|content| wire::parse(content).ok()) else {
            if let Some(stranger) = stranger
                && self.outsiders.strangers.note(from.ip(), stranger)
            {
                tracing::warn!("{}", self.describe_stranger(from, stranger));
            }
            return self.drop_malformed(from, length);
        };
        let to_us = header.session == self.config.session;
        if !(waiting || to_us && matches!(self.state, State::Streaming | State::Aborting { .. })) {
            return;
        }
        let is_keyed = self.config.seal.key().is_some();
        if to_us && is_keyed && !self.outsiders.is_news(seek.receiver, header.number) {
            return;
        }
        tracing::debug!(name = %seek.name, %from, "another host looks for a session");
        self.outsiders.echo = seek.receiver;
        if waiting && self.members.get(seek.receiver).is_none() {
            self.outsiders.note_looker(now, seek.receiver, seek.name, from.ip());
        }
        if to_us {
            self.answer_presence(now, seek.receiver);
        }
        // At the pace of announces, however many ask.
        let soonest = self.announced + Self::ANNOUNCE_MIN;
        self.announce_due = self.announce_due.min(soonest.max(now));
    }

    /// Receivers that cannot join for want of the right key, each that was heard twice.
    pub(super) fn describe_strangers(&self) -> Option<String> {
        let told = self.outsiders.strangers.told();
        let told: Vec<_> =
            told.map(|(from, stranger)| self.describe_stranger(SocketAddr::new(from, 0), stranger)).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Receivers that have the right key, or need none, and look for a session for so long that they would have joined
    /// this one if they could.
    pub(super) fn describe_lookers(&self, now: Time) -> Option<String> {
        let lookers = self.outsiders.lookers.values();
        let long = lookers.filter(|looker| now.since(looker.since) >= Self::LOOKS_IN_VAIN);
        let names: Vec<_> = long.map(|looker| format!("{} ({})", looker.name, looker.from)).collect();
        let (look, they, their) = match names.len() {
            0 => return None,
            1 => ("looks", "it does", "its"),
            _ => ("look", "they do", "their"),
        };
        let names = listed(names.iter().map(String::as_str));
        Some(format!(
            "{names} {look} for a sender and did not join: {they} not hear this one (multicast from here to there), \
             or {their} --expect names another label"
        ))
    }

    fn describe_stranger(&self, from: SocketAddr, stranger: Stranger) -> String {
        let (from, ours) = (from.ip(), Accept::from(&self.config.seal).ids());
        match (stranger, self.config.seal.key()) {
            (Stranger::WithoutKey, _) => format!(
                "a receiver at {from} has no key and cannot join; give it the key file of key {ours}, or leave the key out here with --no-key"
            ),
            (Stranger::WithKey(theirs), None) => format!(
                "a receiver at {from} has key {theirs} and refuses any session without it; give this sender that key file with --key-file"
            ),
            (Stranger::WithKey(theirs), Some(_)) => format!(
                "a receiver at {from} has key {theirs}, and this sender key {ours}; use the same key file on all hosts"
            ),
        }
    }

    /// What another session's sender says, if it is an announce or the answer to a question.
    pub(super) fn handle_rival_datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        header: &Header,
        datagram: &mut [u8],
    ) {
        if !matches!(self.state, State::Waiting { .. }) {
            return;
        }
        let length = datagram.len();
        match header.kind {
            Kind::Announce => {
                let is_keyed = self.config.seal.key().is_some();
                if is_keyed && self.outsiders.rivals.is_old(header.session, header.number) {
                    return;
                }
                let content = self.config.seal.opener(header.session, Party::Sender).open(datagram);
                match content.and_then(|content| wire::parse(content).ok()) {
                    Some((header, Message::Announce(rival))) => {
                        if is_keyed {
                            self.outsiders.rivals.note_number(header.session, header.number);
                        }
                        self.handle_rival(now, from, header.session, &rival);
                    }
                    _ => self.drop_malformed(from, length),
                }
            }
            Kind::Roster => {
                let Some(mut opener) = self.outsiders.rivals.opener(header.session) else { return };
                match opener.open(datagram) {
                    Some(content) => {
                        self.outsiders.rivals.handle_roster(now, header.session, content);
                    }
                    None => self.drop_malformed(from, length),
                }
            }
            _ => {}
        }
    }

    fn handle_rival(&mut self, now: Time, from: SocketAddr, session: SessionId, rival: &Announce) {
        if rival.label != self.config.label {
            return;
        }
        let age = now.since(self.launched);
        let yields = match rival.phase {
            Phase::Started => true,
            Phase::Waiting if rival.age > age + Self::SAME_AGE => true,
            Phase::Waiting if age > rival.age + Self::SAME_AGE => false,
            Phase::Waiting => session < self.config.session,
        };
        if !yields {
            // Let it know that we were here first.
            self.announce_due = self.announce_due.min(now + Self::ANNOUNCE_MIN);
            return;
        }
        let rivals = &mut self.outsiders.rivals;
        let is_there =
            self.config.seal.key().is_none() || rival.echo == rivals.id() || rivals.take_proof(now, session);
        if !is_there {
            return rivals.ask(now, session, from, self.config.seal.clone(), Duration::ZERO);
        }
        let error = format!(
            "another sender, {}, holds this group and port with label {}; wait for it, or choose another --label or --port",
            from.ip(),
            self.config.label.as_str(),
        );
        self.abort(now, AbortReason::GroupTaken, Exit::GroupTaken, error);
    }

    /// Asks a rival whether it is there.
    pub(super) fn prepare_question(&mut self, now: Time) {
        self.outsiders.rivals.prepare(now, &mut self.outsiders.question);
        let Some((to, question)) = self.outsiders.rivals.prepared() else { return };
        self.scratch.clear();
        self.scratch.extend_from_slice(question);
        self.outsiders.rivals.handle_transmitted();
        self.prepared = Some(Prepared::question(to));
    }
}
