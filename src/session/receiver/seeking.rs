//! What a receiver says while it has found no session: that it is there, and by which keys.
//!
//! A sender that waits answers with an announce, so that nobody waits for the next one. One that has another key, or none,
//! can tell its operator. One schedule lasts from launch to exit, whatever sessions are found and lost again meanwhile, and
//! no seek is an answer to anything: so nobody can make receivers seek more often.

use std::time::Duration;

use super::Config;
use crate::seal::{Party, Seal};
use crate::time::Time;
use crate::wire::{DatagramNumber, Message, Seek, SessionId};

/// Says now and then that somebody is looking for a session.
#[derive(Debug)]
pub(super) struct Seeking {
    /// Drawn for this receiver's seeks alone: no session has it.
    session: SessionId,
    /// One for each key, all said in a row.
    seals: Vec<Seal>,
    next_seal: usize,
    due: Time,
    pause: Duration,
    prepared: Option<Vec<u8>>,
}

impl Seeking {
    /// The first pause; most senders that are there have been heard by then.
    const SEEK_MIN: Duration = Duration::from_millis(500);
    /// The longest pause: a thousand receivers that wait all night cost 33 datagrams a second.
    const SEEK_MAX: Duration = Duration::from_secs(30);
    /// Receivers that are launched at the same time spread over this.
    const SEEK_SPREAD: Duration = Duration::from_millis(20);

    pub(super) fn new(config: &Config, now: Time, rng: &mut fastrand::Rng) -> Self {
        let mut session = [0; 16];
        rng.fill(&mut session);
        // Two launches must not draw the same: 64 of the bits come from the system.
        session[..8].copy_from_slice(&config.id.0.to_be_bytes());
        Self {
            session: SessionId(session),
            seals: config.accept.seals(),
            next_seal: 0,
            due: now + Self::SEEK_SPREAD.mul_f64(rng.f64()),
            pause: Self::SEEK_MIN,
            prepared: None,
        }
    }

    /// Whether a seek waits for room in the network.
    pub(super) const fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// When something is to be said; never while it waits for room in the network.
    pub(super) fn due(&self) -> Time {
        if self.prepared.is_some() || self.seals.is_empty() { Time::NEVER } else { self.due }
    }

    /// What is to be said now; the same until [`Self::handle_transmitted`]. `number` is used up if a new one is made.
    pub(super) fn poll(&mut self, now: Time, config: &Config, number: &mut DatagramNumber) -> Option<&[u8]> {
        if self.prepared.is_none()
            && now >= self.due
            && let Some(seal) = self.seals.get(self.next_seal)
        {
            let mut datagram = Vec::new();
            let seek = Message::Seek(Seek { receiver: config.id, name: config.name });
            seek.write(self.session, *number, &mut datagram);
            *number = number.plus(1);
            seal.sealer(self.session, Party::Receiver(config.id)).seal_appended(&mut datagram, 0);
            self.prepared = Some(datagram);
        }
        self.prepared.as_deref()
    }

    pub(super) fn handle_transmitted(&mut self, now: Time) {
        if self.prepared.take().is_none() {
            return;
        }
        self.next_seal += 1;
        if self.next_seal >= self.seals.len() {
            self.next_seal = 0;
            self.due = now + self.pause;
            self.pause = (self.pause * 2).min(Self::SEEK_MAX);
        }
    }
}
