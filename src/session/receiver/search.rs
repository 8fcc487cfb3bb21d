//! The search for a session: which announces are for this receiver, and why there was none.

use std::net::{IpAddr, SocketAddr};

use super::membership::{Found, Membership};
use super::{Ended, Hints, Receiver, State};
use crate::exit::Exit;
use crate::seal::{self, Accept, Party, Stranger};
use crate::time::{Time, span};
use crate::wire::{self, DatagramNumber, Header, Message, Phase, VERSION};

impl Receiver {
    /// What may be the announce of a session to join.
    pub(super) fn handle_stranger(
        &mut self,
        now: Time,
        from: SocketAddr,
        header: &Header,
        datagram: &mut [u8],
    ) {
        let length = datagram.len();
        let Some(seal) = self.config.accept.seal_of(datagram) else {
            self.note_stranger(from, self.config.accept.stranger(datagram));
            return self.drop_malformed(from, length);
        };
        let is_keyed = seal.key().is_some();
        if is_keyed && self.asking.is_old(header.session, header.number) {
            // A copy: somebody plays back a recording, or the network has doubled the datagram.
            return;
        }
        let mut opener = seal.opener(header.session, Party::Sender);
        let stranger = if is_keyed { None } else { self.config.accept.stranger(datagram) };
        let content = opener.open(datagram);
        if content.is_none() {
            self.note_stranger(from, stranger);
        }
        match content.and_then(|content| wire::parse(content).ok()) {
            Some((header, Message::Announce(announce))) => {
                if is_keyed {
                    self.asking.note_number(header.session, header.number);
                }
                let Header { session, number, .. } = header;
                let is_there = announce.echo == self.config.id;
                self.handle_announce(
                    now,
                    Found { sender: from, session, number, announce, seal, opener, is_there },
                );
            }
            _ => self.drop_malformed(from, length),
        }
    }

    /// What may be the answer to a question whether a sender is there.
    pub(super) fn handle_answer(
        &mut self,
        now: Time,
        from: SocketAddr,
        header: &Header,
        datagram: &mut [u8],
    ) {
        let Some(mut opener) = self.asking.opener(header.session) else { return };
        let length = datagram.len();
        let Some(content) = opener.open(datagram) else { return self.drop_malformed(from, length) };
        if self.asking.handle_roster(now, header.session, content) {
            tracing::debug!(session = %header.session, %from, "another sender has answered");
        }
    }

    /// Whether other sessions than the present one are listened to.
    pub(super) fn looks_on(&self, now: Time) -> bool {
        match &self.state {
            State::Searching => true,
            State::Member(member) => member.is_unanswered(now, self.unanswered_since.unwrap_or(now)),
            State::Ended(_) => false,
        }
    }

    /// When a question is to be sent; never while something else waits for room in the network.
    pub(super) fn question_due(&self) -> Time {
        let waits = match &self.state {
            State::Searching => self.seeking.is_prepared(),
            State::Member(member) => member.is_prepared(),
            State::Ended(_) => true,
        };
        if waits { Time::NEVER } else { self.asking.due() }
    }

    /// Makes a question ready if one is due.
    pub(super) fn prepare_question(&mut self, now: Time) {
        if self.question_due() > now {
            return;
        }
        if !self.looks_on(now) {
            return self.asking.stop();
        }
        // One counter for all that this receiver says, since it may say something in the same session later.
        let mut number = self.take_back_number();
        self.asking.prepare(now, &mut number);
        match &mut self.state {
            State::Member(member) => member.go_on_at(number),
            _ => self.next_number = number,
        }
    }

    /// Somebody announces a session that is not for this receiver. Told, and then waited on: whoever could end a receiver
    /// by such a datagram could end all of them.
    fn note_stranger(&mut self, from: SocketAddr, stranger: Option<Stranger>) {
        if let Some(stranger) = stranger
            && self.strangers.note(from.ip(), stranger)
        {
            tracing::warn!("{}", self.describe_stranger(from.ip(), stranger));
        }
    }

    fn describe_stranger(&self, from: IpAddr, stranger: Stranger) -> String {
        let accept = &self.config.accept;
        match (stranger, accept) {
            (Stranger::WithoutKey, _) => format!(
                "the stream of {from} has no key, and this receiver takes only streams with key {}; give the sender that \
                 key file, or leave the key out here with --no-key",
                accept.ids()
            ),
            (Stranger::WithKey(theirs), Accept::Crc) => format!(
                "the stream of {from} is encrypted with key {theirs}, and this receiver has no key; give it that key file with --key-file"
            ),
            (Stranger::WithKey(theirs), Accept::Aead(_)) => format!(
                "the stream of {from} is encrypted with key {theirs}, and this receiver has key {}; use the same key file on all hosts",
                accept.ids()
            ),
        }
    }

    pub(super) fn drop_malformed(&mut self, from: SocketAddr, length: usize) {
        self.stats.dropped_malformed += 1;
        tracing::trace!(%from, length, "malformed datagram dropped");
    }

    fn handle_announce(&mut self, now: Time, found: Found) {
        let Found { sender: from, session, announce, .. } = &found;
        let (from, session, announce) = (*from, *session, *announce);
        if self.config.over.contains(&session) {
            return;
        }
        if let Some(expected) = self.config.expect
            && expected != announce.label
        {
            if self.hinted.label.is_none() {
                self.hinted.label = Some((announce.label, from));
                let label = announce.label;
                tracing::info!(%label, %from, "a stream with label {label} is on this group; waiting for one with label {expected} (--expect)");
            }
            return;
        }
        let is_proven = found.is_there || self.asking.take_proof(now, session);
        if matches!(self.state, State::Member(_)) && !is_proven {
            // The one that has been joined may be as little there as this one.
            let delay = announce.join_spread.mul_f64(self.rng.f64());
            return self.asking.ask(now, session, from, found.seal, delay);
        }
        let is_keyed = found.seal.key().is_some();
        let number = self.take_back_number();
        let found = Found { is_there: is_proven, ..found };
        let Some(mut member) = Membership::new(&self.config, now, found, number, self.rng.fork()) else {
            if !std::mem::replace(&mut self.hinted.buffer, true) {
                tracing::warn!(
                    "the stream's coding blocks of {} × {} bytes do not fit into --buffer {}, raise it",
                    announce.block_symbols,
                    announce.symbol_size,
                    self.config.buffer
                );
            }
            return;
        };
        let phase = if announce.phase == Phase::Started { "started" } else { "waiting" };
        // With a key nobody can fill a log with sessions that are proven, nor keep such a line from being shown.
        if is_proven && is_keyed || self.lines.show() {
            let (label, name) = (announce.label, announce.name.map(tracing::field::display));
            let shown = member.sender_shown();
            tracing::info!(%label, name, sender = %from, %session, phase, "found the session of {shown}, label {label}");
        }
        self.leave_session();
        self.unanswered_since.get_or_insert(now);
        member.begin_at(self.first_block);
        self.state = State::Member(Box::new(member));
    }

    /// Leaves the present session, if there is one, and remembers which of its datagrams have been heard.
    pub(super) fn leave_session(&mut self) {
        let State::Member(member) = &self.state else { return };
        self.next_number = member.next_number();
        if member.was_admitted() {
            self.unanswered_since = None;
        }
        if let Some(newest) = member.newest().filter(|_| member.has_key()) {
            self.asking.note_number(member.session(), newest);
        }
        self.state = State::Searching;
    }

    pub(super) fn check_start_timeout(&mut self, now: Time) {
        let Some(timeout) = self.config.start_timeout.filter(|timeout| now >= self.launched + *timeout)
        else {
            return;
        };
        if let State::Member(member) = &self.state
            && member.may_be_recorded()
            && !member.has_started()
        {
            // A recording must not decide how the search ends.
            self.hinted.unheard = Some(member.why_not_started());
            self.leave_session();
        }
        match &mut self.state {
            State::Searching => {
                let exit = if self.strangers.told().next().is_some() {
                    Exit::Authentication
                } else {
                    Exit::NotStarted
                };
                let error = format!(
                    "no session started within --start-timeout ({}): {}",
                    span(timeout),
                    self.heard_instead()
                );
                self.state = State::Ended(Ended { exit, error: Some(error) });
            }
            State::Member(member) if !member.has_started() => {
                let error = member.describe_no_start(timeout);
                member.leave(now, Exit::NotStarted, error, Membership::LEAVE_PATIENCE);
            }
            State::Member(_) | State::Ended(_) => {}
        }
    }

    /// Why there was no session to join, and the remedy.
    fn heard_instead(&self) -> String {
        if self.strangers.told().next().is_some() {
            let told = self.strangers.told().map(|(from, stranger)| self.describe_stranger(from, stranger));
            return told.collect::<Vec<_>>().join("; ");
        }
        match (&self.hinted, self.config.expect) {
            (Hints { label: Some((label, from)), .. }, Some(expected)) => format!(
                "a stream with label {label} was heard from {}, none with --expect {expected}; correct --expect, \
                 or the sender's --label",
                from.ip()
            ),
            (Hints { buffer: true, .. }, _) => {
                "the stream's coding blocks do not fit into --buffer; raise it".to_owned()
            }
            // With a key, nothing shows that it was a sender of this group.
            (Hints { version: true, .. }, _) if matches!(self.config.accept, Accept::Crc) => {
                "a sender was heard that speaks another version of the protocol; use the same mcast on all hosts"
                    .to_owned()
            }
            (Hints { unheard: Some(unheard), .. }, _) => unheard.clone(),
            (Hints { silent: Some(heard), .. }, _) => format!(
                "{heard}, and then heard no more of it; it ended, or a switch stopped to let the group through (IGMP \
                 snooping needs a querier)"
            ),
            _ => "no sender was heard; it may have started and ended before, or else check that it runs, that group, port \
                  and interface agree, that switches and this host's firewall let multicast through, and the sender's \
                  --ttl where routers lie between"
                .to_owned(),
        }
    }

    /// A session that speaks another version is one that this receiver waits for in vain.
    pub(super) fn hint_at_version(&mut self, from: SocketAddr, datagram: &[u8]) {
        let other_version = datagram.first().is_some_and(|version| *version != VERSION);
        if other_version
            && seal::open(datagram).is_some()
            && !std::mem::replace(&mut self.hinted.version, true)
        {
            if matches!(self.config.accept, Accept::Crc) {
                tracing::warn!(%from, "a sender speaks another version of the protocol; use the same mcast on all hosts");
            } else {
                tracing::warn!(%from, "a datagram of another version of the protocol was heard, which no key vouches for");
            }
        }
    }

    /// The number of this receiver's next datagram.
    pub(super) fn take_back_number(&mut self) -> DatagramNumber {
        if let State::Member(member) = &self.state {
            self.next_number = member.next_number();
        }
        self.next_number
    }
}
