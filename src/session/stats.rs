//! Counters: plain numbers, bumped where the thing happens.

use std::time::Duration;

use crate::time::Time;
use crate::wire::ReceiverId;

/// What went over the wire, as one party saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireStats {
    /// Datagrams of the session sent (sender) or received (receiver).
    pub datagrams: u64,
    /// Bytes in them, UDP payload.
    pub bytes: u64,
    /// Source symbols sent or received, repetitions included.
    pub source_symbols: u64,
    /// Repair symbols sent or received.
    pub repair_symbols: u64,
    /// Of those sent, the ones that nobody had asked for.
    pub proactive_symbols: u64,
    /// Reports that came faster than receivers may send them, not taken.
    pub dropped_reports: u64,
    /// Datagrams from receivers to the sender: received there, sent here.
    pub feedback_datagrams: u64,
    /// Datagrams dropped because they could not be understood.
    pub dropped_malformed: u64,
}

/// What kept a sender from sending more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limiter {
    /// The source had nothing to read.
    Source,
    /// The line, the local queue, the rate, or repairs that are under way.
    Network,
    /// This receiver's sink was behind, its host took nothing out of its socket buffer while others' did, it was silent,
    /// or its last confirmation was waited for.
    Receiver(ReceiverId),
}

/// Adds up for how long each limiter held.
#[derive(Debug)]
pub(super) struct LimiterClock {
    since: Time,
    current: Limiter,
    source: Duration,
    network: Duration,
}

impl LimiterClock {
    pub(super) const fn new(now: Time) -> Self {
        Self { since: now, current: Limiter::Source, source: Duration::ZERO, network: Duration::ZERO }
    }

    /// From `now` on, `limiter` holds. Returns the receiver that held until now, and for how long.
    pub(super) fn switch(&mut self, now: Time, limiter: Limiter) -> Option<(ReceiverId, Duration)> {
        let held = now.since(self.since);
        let before = std::mem::replace(&mut self.current, limiter);
        self.since = now;
        match before {
            Limiter::Source => self.source += held,
            Limiter::Network => self.network += held,
            Limiter::Receiver(receiver) => return Some((receiver, held)),
        }
        None
    }

    /// So much of the time since the last switch was nobody's but this host's.
    pub(super) fn forgive(&mut self, pause: Duration) {
        self.since += pause;
    }

    pub(super) const fn current(&self) -> Limiter {
        self.current
    }

    pub(super) const fn source(&self) -> Duration {
        self.source
    }

    pub(super) const fn network(&self) -> Duration {
        self.network
    }
}
