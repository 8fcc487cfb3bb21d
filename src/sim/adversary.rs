//! Somebody on the simulated network who records what goes by and plays it back.

use std::rc::Rc;
use std::time::Duration;

use super::wires::{address, stranger};
use crate::time::Time;

/// A datagram that a host gave to the network, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When.
    pub at: Time,
    /// Whose: 0 is the sender, i + 1 receiver i.
    pub host: usize,
    /// All of it.
    pub bytes: Rc<[u8]>,
}

/// A datagram that somebody sends byte for byte.
#[derive(Clone, Debug)]
pub struct PlayedBack {
    /// When it arrives.
    pub at: Duration,
    /// At which host: 0 is the sender, i + 1 receiver i.
    pub to: usize,
    /// The host whose address it bears; `None`: its author's own.
    pub from: Option<usize>,
    /// All of it.
    pub bytes: Rc<[u8]>,
}

/// Somebody who sends again, while the session lasts, what he hears.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    /// Share of all datagrams that he sends again.
    pub share: f64,
    /// After any time up to this one.
    pub delay: Duration,
    /// Share of those in which he flips a bit.
    pub flipped: f64,
}

impl Echo {
    /// What he makes of a datagram that `host` sends: when it arrives, where, with whose address, which bytes.
    pub(super) fn of(
        &self,
        now: Time,
        host: usize,
        hosts: usize,
        bytes: &Rc<[u8]>,
        rng: &mut fastrand::Rng,
    ) -> Option<(Time, usize, std::net::SocketAddr, Rc<[u8]>)> {
        if rng.f64() >= self.share {
            return None;
        }
        let at = now + self.delay.mul_f64(rng.f64());
        let from = if rng.bool() { address(host) } else { stranger() };
        let mut bytes = Rc::clone(bytes);
        if rng.f64() < self.flipped && !bytes.is_empty() {
            let mut changed = bytes.to_vec();
            let bit = rng.usize(..changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            bytes = changed.into();
        }
        Some((at, rng.usize(..hosts), from, bytes))
    }
}
