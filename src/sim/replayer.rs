//! An attacker on the simulated network. He has recorded sessions, and plays their datagrams when he likes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::wires::{address, stranger};
use crate::time::Time;
use crate::wire::{Header, Kind, SessionId};

/// What he plays, and when.
#[derive(Clone, Debug)]
pub struct Replayer {
    /// Datagrams that all hosts get at these times.
    pub playlist: Vec<(Duration, Rc<[u8]>)>,
    /// He answers what receivers say, too.
    pub reacts: Option<Reaction>,
    /// The address that his datagrams bear.
    pub disguise: Disguise,
}

/// How he answers: a receiver that seeks, or is free because a session was aborted, gets the announce of another session at
/// once; one that joins a recorded session gets that session's abort.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// For each recorded session, what its sender said, in the order in which it did.
    pub sessions: Rc<[Vec<Rc<[u8]>>]>,
    /// Time from a receiver's first join of a session to the abort.
    pub abort_after: Duration,
}

/// Whose address a datagram bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disguise {
    /// Its author's own.
    Own,
    /// Its author's own, with source port 0: it cannot be answered.
    PortZero,
    /// Today's sender's.
    Sender,
}

impl Disguise {
    pub(super) fn address(self) -> SocketAddr {
        match self {
            Self::Own => stranger(),
            Self::PortZero => SocketAddr::new(stranger().ip(), 0),
            Self::Sender => address(0),
        }
    }
}

/// How far he is with one receiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Victim {
    /// The session whose turn is next, and how many announces of each have been played.
    turn: usize,
    played: Vec<usize>,
    /// The session that the receiver joined last.
    joined: Option<SessionId>,
}

impl Reaction {
    /// Time in which he answers.
    const PROMPT: Duration = Duration::from_micros(300);

    /// What he makes of a datagram that a receiver sends: what that receiver gets, and when.
    pub(super) fn answers(&self, now: Time, victim: &mut Victim, heard: &[u8]) -> Vec<(Time, Rc<[u8]>)> {
        let Some(header) = Header::peek(heard) else { return Vec::new() };
        let recorded = self.sessions.iter().find(|session| {
            let first = session.first().and_then(|datagram| Header::peek(datagram));
            first.is_some_and(|first| first.session == header.session)
        });
        match (header.kind, recorded) {
            (Kind::Seek, None) => self.announce(now + Self::PROMPT, victim).into_iter().collect(),
            (Kind::Join, Some(session)) if victim.joined != Some(header.session) => {
                victim.joined = Some(header.session);
                let at = now + self.abort_after;
                let abort = session.iter().find(|datagram| is(datagram, Kind::Abort)).cloned();
                let next = self.announce(at + Self::PROMPT, victim);
                abort.map(|abort| (at, abort)).into_iter().chain(next).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The next announce, of the session whose turn it is.
    fn announce(&self, at: Time, victim: &mut Victim) -> Option<(Time, Rc<[u8]>)> {
        let index = victim.turn % self.sessions.len().max(1);
        victim.turn += 1;
        victim.played.resize(self.sessions.len(), 0);
        let announces: Vec<_> =
            self.sessions.get(index)?.iter().filter(|datagram| is(datagram, Kind::Announce)).collect();
        let played = victim.played.get_mut(index)?;
        let announce = announces.get(*played % announces.len().max(1))?;
        *played += 1;
        Some((at, Rc::clone(announce)))
    }
}

fn is(datagram: &[u8], kind: Kind) -> bool {
    datagram.get(1) == Some(&(kind as u8))
}
