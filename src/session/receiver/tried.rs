//! Sessions that this receiver has joined, and how often: a session that answers nobody, because it is a recording or
//! because its sender does not hear us, must not keep the receiver from another.

use std::collections::{BTreeMap, VecDeque};

use crate::wire::SessionId;

/// The sessions that were tried last.
#[derive(Debug, Default)]
pub(super) struct Tried {
    times: BTreeMap<SessionId, u32>,
    /// In the order in which they were first tried.
    order: VecDeque<SessionId>,
}

impl Tried {
    /// Sessions that are remembered. More recordings than this, all announced within a second each, go round.
    const MOST_TRIED: usize = 4_096;

    /// `session` is tried. True if it is for the first time.
    pub(super) fn note(&mut self, session: SessionId) -> bool {
        if let Some(times) = self.times.get_mut(&session) {
            *times = times.saturating_add(1);
            return false;
        }
        if self.order.len() == Self::MOST_TRIED
            && let Some(oldest) = self.order.pop_front()
        {
            self.times.remove(&oldest);
        }
        self.order.push_back(session);
        self.times.insert(session, 1);
        true
    }

    /// Whether `other` is to be tried, now that `present` does not answer: it was tried no more often.
    pub(super) fn prefers(&self, other: SessionId, present: SessionId) -> bool {
        self.times(other) <= self.times(present)
    }

    fn times(&self, session: SessionId) -> u32 {
        self.times.get(&session).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    #[test]
    fn every_session_gets_its_turn_and_new_ones_first() {
        let mut tried = Tried::default();
        assert!(tried.note(session(0)));
        assert!(tried.prefers(session(1), session(0)));
        assert!(tried.note(session(1)));
        assert!(tried.prefers(session(0), session(1)));
        assert!(!tried.note(session(0)));
        assert!(!tried.prefers(session(0), session(1)) && tried.prefers(session(2), session(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut tried = Tried::default();
        for number in 0..2 * Tried::MOST_TRIED as u128 {
            assert!(tried.note(SessionId(number.to_be_bytes())));
        }
        assert_eq!((tried.order.len(), tried.times.len()), (Tried::MOST_TRIED, Tried::MOST_TRIED));
    }
}
