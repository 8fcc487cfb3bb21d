//! One turn of the wheel, the same over sockets and over the simulator.

use super::{Endpoint, Transmit};
use crate::time::Time;

/// A network as one party sees it.
pub trait Network {
    /// Hands what has arrived to `endpoint`, a bounded amount at a time: datagram by datagram to
    /// [`Endpoint::handle_datagram`], or in batches where [`Endpoint::landing`] wants them. Returns whether more is
    /// waiting.
    fn receive<E: Endpoint>(&mut self, now: Time, endpoint: &mut E) -> bool;

    /// Sends datagrams, all or none.
    fn send(&mut self, transmit: &Transmit<'_>) -> Sent;
}

/// What became of a transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// On its way, or lost as any datagram may be.
    Done,
    /// No room; offer it again when there is.
    Blocked,
}

/// When to take the next turn: at the earliest of what is given, and when something arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// At this time; [`Time::ZERO`] means at once.
    pub at: Option<Time>,
    /// When the network has room again.
    pub writable: bool,
}

/// Transmissions in one turn, at most, so that what arrives is read while sending flat out.
const TRANSMITS_A_TURN: usize = 8;

/// Receives, lets time pass, and sends, a bounded amount of each.
pub fn turn<E: Endpoint, N: Network>(endpoint: &mut E, network: &mut N, now: Time) -> Wake {
    let more = network.receive(now, endpoint);
    endpoint.handle_timeout(now);
    for _ in 0..TRANSMITS_A_TURN {
        let Some(transmit) = endpoint.poll_transmit(now) else {
            return Wake {
                at: if more { Some(Time::ZERO) } else { endpoint.poll_timeout() },
                writable: false,
            };
        };
        match network.send(&transmit) {
            Sent::Done => endpoint.handle_transmitted(now),
            Sent::Blocked => {
                return Wake {
                    at: if more { Some(Time::ZERO) } else { endpoint.poll_timeout() },
                    writable: true,
                };
            }
        }
    }
    Wake { at: Some(Time::ZERO), writable: false }
}
