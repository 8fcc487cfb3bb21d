//! Other sessions that are announced, and the question whether their senders are there.
//!
//! With a key, an announce may be a recording. So a party that has heard one asks before it acts on it: it sends a seek to
//! where the announce came from, with an id that it drew at this launch. Only a roster that names this id proves that the
//! sender is there now. A receiver asks before it turns to another session, a waiting sender before it yields to one.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::seal::{Opener, Party, Seal};
use crate::time::Time;
use crate::wire::{self, DatagramNumber, Message, Name, ReceiverId, Seek, SessionId};

/// Sessions that were announced, and the questions to their senders.
#[derive(Debug)]
pub(super) struct Asking {
    /// The id in all questions. It was drawn at this launch, so no recording of an earlier time names it.
    id: ReceiverId,
    name: Name,
    sessions: BTreeMap<SessionId, Heard>,
    /// The sessions in the order in which they were first heard.
    order: VecDeque<SessionId>,
    questions: VecDeque<Question>,
    /// No question is sent before this time.
    allowed: Time,
    prepared: Option<(SocketAddr, Vec<u8>)>,
}

/// A session that was announced, and what its sender has answered.
#[derive(Debug)]
struct Heard {
    /// The highest number of its datagrams that has counted, with a key. Another copy of it, or anything older, is a
    /// repetition.
    newest: Option<DatagramNumber>,
    /// The number of the last roster that proved its sender to be there.
    proved_by: Option<DatagramNumber>,
    /// When a roster has proved it, and nothing has been made of it yet.
    is_there: Option<Time>,
    /// How its sender seals, once it has been asked.
    seal: Option<Seal>,
    /// Where the last question went, the pause after it, and when the next one may follow there.
    asked_at: Option<SocketAddr>,
    pause: Duration,
    again: Time,
}

#[derive(Debug)]
struct Question {
    session: SessionId,
    to: SocketAddr,
    seal: Seal,
    due: Time,
}

impl Asking {
    /// Sessions that are remembered. Ten years of daily recordings are asked once each, and then hardly ever.
    const MOST_SESSIONS: usize = 4_096;
    /// Questions that wait to be sent; a session for which there is no place is asked when it is announced next.
    const MOST_QUESTIONS: usize = 1_024;
    /// Pauses between two questions to one session: doubled from the first to the last. A session that is announced
    /// for ten minutes costs a dozen of them.
    const ASK_AGAIN_MIN: Duration = Duration::from_millis(100);
    const ASK_AGAIN_MAX: Duration = Duration::from_secs(60);
    /// A sender that has answered is there for so long: it announces itself within this time.
    const PROOF_LASTS: Duration = Duration::from_secs(2);
    /// Longest random delay of a question. A thousand receivers that hear the same announce do not ask at once.
    const ASK_SPREAD: Duration = Duration::from_millis(100);
    /// Pause between questions to any session without a key, where sessions can be invented.
    const ASK_PACE_PLAIN: Duration = Duration::from_millis(100);

    pub(super) const fn new(id: ReceiverId, name: Name) -> Self {
        Self {
            id,
            name,
            sessions: BTreeMap::new(),
            order: VecDeque::new(),
            questions: VecDeque::new(),
            allowed: Time::ZERO,
            prepared: None,
        }
    }

    /// The id in all questions.
    pub(super) const fn id(&self) -> ReceiverId {
        self.id
    }

    /// Whether the datagram with this number has counted before, or a newer one has.
    pub(super) fn is_old(&self, session: SessionId, number: DatagramNumber) -> bool {
        self.sessions.get(&session).and_then(|heard| heard.newest).is_some_and(|newest| number <= newest)
    }

    /// The datagram with this number has counted, for whoever has a key.
    pub(super) fn note_number(&mut self, session: SessionId, number: DatagramNumber) {
        let heard = self.remember(session);
        heard.newest = heard.newest.max(Some(number));
    }

    /// Asks the sender at `to` whether it is there, unless it was asked there a moment ago.
    ///
    /// With a key, each announce counts once, and somebody may have been faster with it than its sender: so that another
    /// address has been asked is no reason to wait.
    pub(super) fn ask(&mut self, now: Time, session: SessionId, to: SocketAddr, seal: Seal, delay: Duration) {
        let is_keyed = seal.key().is_some();
        let is_same = |question: &Question| question.session == session && (question.to == to || !is_keyed);
        if self.questions.len() >= Self::MOST_QUESTIONS || self.questions.iter().any(is_same) {
            return;
        }
        let heard = self.remember(session);
        if now < heard.again && (!is_keyed || heard.asked_at == Some(to)) {
            return;
        }
        heard.seal = Some(seal.clone());
        let due = now + delay.min(Self::ASK_SPREAD);
        self.questions.push_back(Question { session, to, seal, due });
    }

    /// Forgets the questions that have not been sent.
    pub(super) fn stop(&mut self) {
        self.questions.clear();
    }

    /// What proves, in a roster of this session, that its sender is there; `None` if it was not asked.
    pub(super) fn opener(&self, session: SessionId) -> Option<Opener> {
        let seal = self.sessions.get(&session)?.seal.as_ref()?;
        Some(seal.opener(session, Party::Sender))
    }

    /// A roster of a session that was asked, opened. True if it proves that the sender is there.
    pub(super) fn handle_roster(&mut self, now: Time, session: SessionId, content: &[u8]) -> bool {
        let Ok((header, Message::Roster(roster))) = wire::parse(content) else { return false };
        let named = roster.entries.standing_of(self.id).is_some();
        let Some(heard) = self.sessions.get_mut(&session).filter(|_| named) else { return false };
        let is_keyed = heard.seal.as_ref().is_some_and(|seal| seal.key().is_some());
        if is_keyed && heard.proved_by.is_some_and(|before| header.number <= before) {
            return false;
        }
        heard.proved_by = heard.proved_by.max(Some(header.number));
        heard.is_there = Some(now);
        true
    }

    /// Whether a roster has proved a moment ago that the sender is there, and this has not been asked since.
    pub(super) fn take_proof(&mut self, now: Time, session: SessionId) -> bool {
        let proof = self.sessions.get_mut(&session).and_then(|heard| heard.is_there.take());
        proof.is_some_and(|at| now < at + Self::PROOF_LASTS)
    }

    /// When a question is to be sent; never while one waits for room in the network.
    pub(super) fn due(&self) -> Time {
        if self.prepared.is_some() {
            return Time::NEVER;
        }
        let first = self.questions.iter().map(|question| question.due).min();
        first.map_or(Time::NEVER, |due| due.max(self.allowed))
    }

    /// Makes the next question if it is due. `number` is used up if one is made.
    pub(super) fn prepare(&mut self, now: Time, number: &mut DatagramNumber) {
        if self.prepared.is_some() || now < self.allowed {
            return;
        }
        let due = self.questions.iter().position(|question| question.due <= now);
        let Some(question) = due.and_then(|index| self.questions.remove(index)) else { return };
        let Question { session, to, seal, .. } = question;
        let mut datagram = Vec::new();
        let seek = Message::Seek(Seek { receiver: self.id, name: self.name });
        seek.write(session, *number, &mut datagram);
        *number = number.plus(1);
        seal.sealer(session, Party::Receiver(self.id)).seal_appended(&mut datagram, 0);
        if seal.key().is_none() {
            self.allowed = now + Self::ASK_PACE_PLAIN;
        }
        let heard = self.remember(session);
        heard.asked_at = Some(to);
        heard.pause = (heard.pause * 2).clamp(Self::ASK_AGAIN_MIN, Self::ASK_AGAIN_MAX);
        heard.again = now + heard.pause;
        self.prepared = Some((to, datagram));
    }

    /// The question that is being sent, the same until [`Self::handle_transmitted`].
    pub(super) fn prepared(&self) -> Option<(SocketAddr, &[u8])> {
        self.prepared.as_ref().map(|(to, datagram)| (*to, datagram.as_slice()))
    }

    /// A transmission has gone. True if it was a question.
    pub(super) fn handle_transmitted(&mut self) -> bool {
        self.prepared.take().is_some()
    }

    fn remember(&mut self, session: SessionId) -> &mut Heard {
        if !self.sessions.contains_key(&session) {
            if self.order.len() == Self::MOST_SESSIONS
                && let Some(oldest) = self.order.pop_front()
            {
                self.sessions.remove(&oldest);
            }
            self.order.push_back(session);
        }
        self.sessions.entry(session).or_insert(Heard {
            newest: None,
            proved_by: None,
            is_there: None,
            seal: None,
            asked_at: None,
            pause: Duration::ZERO,
            again: Time::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Entries, Roster, Standing};

    const ME: ReceiverId = ReceiverId(7);

    const fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    fn asking() -> Asking {
        Asking::new(ME, Name::new("db2").unwrap())
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    /// Asks this session, and sends the question if one came of it.
    fn asks(asking: &mut Asking, now: Time, session: SessionId) -> bool {
        let mut number = DatagramNumber(0);
        asking.ask(now, session, ([10, 0, 0, 1], 7767).into(), Seal::Crc, Duration::ZERO);
        asking.prepare(now, &mut number);
        asking.handle_transmitted()
    }

    fn roster(number: u64, receiver: ReceiverId) -> Vec<u8> {
        let mut content = Vec::new();
        let entries = [(receiver, Standing::Present)];
        let message = Message::Roster(Roster { entries: Entries::Given(&entries) });
        message.write(session(1), DatagramNumber(number), &mut content);
        content
    }

    #[test]
    fn one_session_is_asked_a_dozen_times_in_ten_minutes_however_often_it_is_announced() {
        let mut asking = asking();
        let questions = (0..600_000).filter(|&millis| asks(&mut asking, at(millis), session(1))).count();
        assert!((10..=20).contains(&questions), "{questions}");
    }

    #[test]
    fn without_a_key_all_sessions_together_are_asked_ten_times_a_second() {
        let mut asking = asking();
        let invented = |millis: u64| SessionId(u128::from(millis + 1).to_be_bytes());
        let questions = (0..10_000).filter(|&millis| asks(&mut asking, at(millis), invented(millis))).count();
        assert!((90..=101).contains(&questions), "{questions}");
        assert!(asking.sessions.len() <= Asking::MOST_SESSIONS);
        assert!(asking.questions.len() <= Asking::MOST_QUESTIONS);
    }

    #[test]
    fn remembered_sessions_are_bounded() {
        let mut asking = asking();
        for number in 0..2 * Asking::MOST_SESSIONS as u128 {
            asking.note_number(SessionId(number.to_be_bytes()), DatagramNumber(0));
        }
        assert_eq!(asking.sessions.len(), Asking::MOST_SESSIONS);
        assert_eq!(asking.order.len(), Asking::MOST_SESSIONS);
    }

    #[test]
    fn only_a_roster_that_names_the_one_who_asked_is_a_proof_and_only_once() {
        let mut asking = asking();
        assert!(!asking.handle_roster(at(0), session(1), &roster(3, ME)), "nobody was asked");
        assert!(asks(&mut asking, at(0), session(1)));
        assert!(!asking.handle_roster(at(0), session(1), &roster(3, ReceiverId(8))));
        assert!(!asking.take_proof(at(0), session(1)));
        assert!(asking.handle_roster(at(0), session(1), &roster(4, ME)));
        assert!(asking.take_proof(at(0), session(1)) && !asking.take_proof(at(0), session(1)));
    }

    #[test]
    fn with_a_key_another_address_of_a_session_is_asked_at_once() {
        use crate::seal::{GroupKey, KEY_LEN, Secret};
        let seal = Seal::Aead(GroupKey::new(&Secret::new([7; KEY_LEN])));
        let mut asking = asking();
        let mut asks = |millis: u64, host: u8| {
            asking.ask(at(millis), session(1), ([10, 0, 0, host], 7767).into(), seal.clone(), Duration::ZERO);
            asking.prepare(at(millis), &mut DatagramNumber(0));
            asking.handle_transmitted()
        };
        let asked: Vec<_> =
            [(0, 1), (1, 1), (2, 2), (3, 2), (4, 1)].map(|(millis, host)| asks(millis, host)).into();
        assert_eq!(asked, [true, false, true, false, true]);
    }

    #[test]
    fn a_proof_lasts_for_two_seconds() {
        for (later, lasts) in [(1_999, true), (2_000, false)] {
            let mut asking = asking();
            assert!(asks(&mut asking, at(0), session(1)));
            assert!(asking.handle_roster(at(0), session(1), &roster(3, ME)));
            assert_eq!(asking.take_proof(at(later), session(1)), lasts);
        }
    }

    #[test]
    fn a_number_that_has_counted_is_old_and_so_are_those_before_it() {
        let mut asking = asking();
        asking.note_number(session(1), DatagramNumber(5));
        asking.note_number(session(1), DatagramNumber(3));
        let old: Vec<_> =
            (0..8).filter(|&number| asking.is_old(session(1), DatagramNumber(number))).collect();
        assert_eq!(old, [0, 1, 2, 3, 4, 5]);
        assert!(!asking.is_old(session(2), DatagramNumber(0)));
    }
}
