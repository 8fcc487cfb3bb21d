//! Others that look for a session, and other senders.
//!
//! Two senders with one label must not be told apart by luck: the older prevails. With a key, an announce may be a
//! recording, which must not make a sender yield. So it is asked back: a seek goes to where the announce came from, and
//! only an announce that names it counts.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::MAX_RECEIVERS;
use super::super::strangers::Strangers;
use super::prepare::Prepared;
use super::{Sender, State};
use crate::exit::Exit;
use crate::seal::{Accept, Party, Stranger};
use crate::time::Time;
use crate::wire::{
    self, AbortReason, Announce, DatagramNumber, Header, Message, Name, Phase, ReceiverId, Seek, SessionId,
};

/// What a sender knows of those outside its session.
#[derive(Debug)]
pub(super) struct Outsiders {
    strangers: Strangers,
    /// The rival that is being asked whether it is there.
    asked: Option<Asked>,
    /// The seek that the next announce answers.
    echo: ReceiverId,
    /// Lines about receivers that came or went.
    lines: u32,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    session: SessionId,
    at: SocketAddr,
    /// Drawn for this question; a recording cannot know it.
    question: ReceiverId,
    next_number: DatagramNumber,
    /// When it may be asked next.
    again: Time,
    /// It has announced itself since it was asked last.
    due: bool,
}

impl Outsiders {
    pub(super) fn new() -> Self {
        Self { strangers: Strangers::default(), asked: None, echo: ReceiverId(0), lines: 0 }
    }

    /// One for each receiver that may come, and one for each that leaves: without a key, a stranger could come and go
    /// for ever, and fill the log.
    const MOST_LINES: u32 = 2 * MAX_RECEIVERS as u32;

    /// Whether the operator is told that another receiver came or went.
    pub(super) fn tells(&mut self) -> bool {
        self.lines = self.lines.saturating_add(1);
        self.lines <= Self::MOST_LINES
    }

    /// What the announce that is being made answers.
    pub(super) fn take_echo(&mut self) -> ReceiverId {
        std::mem::replace(&mut self.echo, ReceiverId(0))
    }

    /// When a rival is to be asked; never if there is none.
    pub(super) fn question_due(&self) -> Time {
        self.asked.filter(|asked| asked.due).map_or(Time::NEVER, |asked| asked.again)
    }
}

impl Sender {
    /// Pauses between questions to one rival, and how long another one has to wait for its turn.
    const ASK_RIVAL_EVERY: Duration = Duration::from_millis(100);

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
        if !(waiting || to_us && matches!(self.state, State::Streaming)) {
            return;
        }
        tracing::debug!(name = seek.name.as_str(), %from, "somebody looks for a session");
        if to_us {
            self.outsiders.echo = seek.receiver;
        }
        // At the pace of announces, however many ask.
        let soonest = self.announced + Self::ANNOUNCE_MIN;
        self.announce_due = self.announce_due.min(soonest.max(now));
    }

    /// Who cannot join for want of the right key, if anybody was heard twice.
    pub(super) fn describe_strangers(&self) -> Option<String> {
        let (from, stranger) = self.outsiders.strangers.told()?;
        Some(self.describe_stranger(SocketAddr::new(from, 0), stranger))
    }

    fn describe_stranger(&self, from: SocketAddr, stranger: Stranger) -> String {
        let (from, ours) = (from.ip(), Accept::from(&self.config.seal).ids());
        match (stranger, self.config.seal.key()) {
            (Stranger::WithoutKey, _) => format!(
                "a receiver at {from} has no key and cannot join; give it the key file of key {ours}, or leave the key out here with --no-key"
            ),
            (Stranger::WithKey(theirs), None) => format!(
                "a receiver at {from} has key {theirs} and takes nothing without it; give this sender that key file with --key-file"
            ),
            (Stranger::WithKey(theirs), Some(_)) => format!(
                "a receiver at {from} has key {theirs}, and this sender key {ours}; use the same key file on all hosts"
            ),
        }
    }

    /// The announce of another session, if it is one.
    pub(super) fn handle_foreign_announce(
        &mut self,
        now: Time,
        from: SocketAddr,
        session: SessionId,
        datagram: &mut [u8],
    ) {
        let length = datagram.len();
        let content = self.config.seal.opener(session, Party::Sender).open(datagram);
        match content.and_then(|content| wire::parse(content).ok()) {
            Some((_, Message::Announce(rival))) => self.handle_rival(now, from, session, &rival),
            _ => self.drop_malformed(from, length),
        }
    }

    fn handle_rival(&mut self, now: Time, from: SocketAddr, session: SessionId, rival: &Announce) {
        if !matches!(self.state, State::Waiting { .. }) || rival.label != self.config.label {
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
        let is_there = self.config.seal.key().is_none()
            || self
                .outsiders
                .asked
                .is_some_and(|asked| asked.session == session && asked.question == rival.echo);
        if is_there {
            let error = format!(
                "another sender, {}, holds this group and port with label {}; wait for it, or choose another --label or --port",
                from.ip(),
                self.config.label.as_str(),
            );
            self.abort(now, AbortReason::GroupTaken, Exit::GroupTaken, error);
            return;
        }
        match &mut self.outsiders.asked {
            Some(asked) if asked.session == session => (asked.at, asked.due) = (from, true),
            // One after the other.
            Some(asked) if now < asked.again => {}
            asked => {
                let (question, next_number) = (ReceiverId(self.rng.u64(1..)), DatagramNumber(0));
                *asked = Some(Asked { session, at: from, question, next_number, again: now, due: true });
            }
        }
    }

    /// Asks a rival whether it is there.
    pub(super) fn prepare_question(&mut self, now: Time) {
        let Some(asked) = &mut self.outsiders.asked else { return };
        asked.due = false;
        asked.again = now + Self::ASK_RIVAL_EVERY;
        let Asked { session, at, question, next_number, .. } = *asked;
        asked.next_number = next_number.plus(1);
        let Some(name) = Name::new("sender") else { return };
        self.scratch.clear();
        let seek = Message::Seek(Seek { receiver: question, name });
        seek.write(session, next_number, &mut self.scratch);
        let mut sealer = self.config.seal.sealer(session, Party::Receiver(question));
        sealer.seal_appended(&mut self.scratch, 0);
        self.prepared = Some(Prepared::question(at));
    }
}
