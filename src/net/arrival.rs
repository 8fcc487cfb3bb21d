//! When the kernel had what the process reads only now.
//!
//! A host without processor time reads late by milliseconds, and what it says of the path would look like a full queue. The
//! kernel stamps what arrives (`SO_TIMESTAMPNS`, which `quinn_udp` asks for) by the wall clock; here that becomes [`Time`].

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::clock::Clock;
use crate::session::Origin;
use crate::time::Time;

/// Knows the times between which what is read from one socket must have arrived.
#[derive(Debug)]
pub struct ArrivalClock {
    clock: Clock,
    /// The socket was empty then.
    empty_at: Time,
}

/// Tells the arrival of what is read in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    now: Time,
    earliest: Time,
    /// The same moment by both clocks; none where they could not be compared.
    both: Option<(Time, Duration)>,
}

impl ArrivalClock {
    /// Readings of two clocks that are farther apart than this are of different moments: the process lost its processor.
    const SAME_MOMENT: Duration = Duration::from_micros(50);

    /// For a socket that is looked at from now on: what is in it already counts as arriving now.
    pub fn new(clock: Clock) -> Self {
        Self { clock, empty_at: clock.now() }
    }

    /// For what is read in the turn that began `now`.
    #[expect(clippy::disallowed_methods, reason = "the kernel stamps by the wall clock")]
    pub fn turn(&self, now: Time) -> Arrivals {
        let before = self.clock.now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let same = self.clock.now().since(before) <= Self::SAME_MOMENT;
        Arrivals { now, earliest: self.empty_at, both: wall.filter(|_| same).map(|wall| (before, wall)) }
    }

    /// The turn that began `now` has left the socket empty.
    pub fn note_empty(&mut self, now: Time) {
        self.empty_at = now;
    }
}

impl Arrivals {
    /// Everything arrives as it is read.
    pub const fn just(now: Time) -> Self {
        Self { now, earliest: now, both: None }
    }

    /// What comes from `address` with this stamp of the kernel's, time since 1970.
    pub(super) fn origin(&self, address: SocketAddr, stamp: Option<Duration>) -> Origin {
        Origin { address, arrived: self.arrived(stamp) }
    }

    /// A wall clock that is set meanwhile makes nonsense of a stamp; the socket was empty before, and nothing comes from
    /// the future.
    fn arrived(&self, stamp: Option<Duration>) -> Time {
        let (Some((at, wall)), Some(stamp)) = (self.both, stamp) else { return self.now };
        let ago = wall.saturating_sub(stamp);
        (at - ago).max(self.earliest).min(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{BatchSocket, Inbox};
    use super::*;

    #[test]
    fn a_datagram_arrives_when_the_kernel_has_it_and_not_when_it_is_read() {
        let bind = || socket2::Socket::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let clock = Clock::start();
        let arrivals = ArrivalClock::new(clock);
        let [to, from] = [bind(), bind()].map(|socket| BatchSocket::new(socket, 0).unwrap());
        let (slack, deadline) = (Duration::from_millis(1), clock.now() + Duration::from_secs(10));
        let sent = clock.now();
        // The kernel stamps from a moment on after the first socket of all has asked for it.
        loop {
            from.send(to.local_address().unwrap(), b"early", 5).unwrap();
            let there = clock.now();
            while clock.now() < there + Duration::from_millis(30) {
                std::thread::yield_now();
            }
            let mut origins = Vec::new();
            let turn = arrivals.turn(clock.now());
            to.receive(&mut Inbox::new(), 1, &turn, |origin, _| origins.push(origin)).unwrap();
            let earliest = origins.iter().map(|origin| origin.arrived).min();
            assert!(earliest.is_none_or(|arrived| arrived + slack >= sent), "{origins:?}, sent at {sent}");
            if earliest.is_some_and(|arrived| arrived <= there + slack) {
                break;
            }
            assert!(there < deadline, "{origins:?} were there at {there}");
        }
    }

    #[test]
    fn nothing_arrives_before_the_socket_was_empty_nor_after_it_is_read() {
        let at = |micros| Time::ZERO + Duration::from_micros(micros);
        let wall = Duration::from_secs(1_800_000_000);
        let arrivals = Arrivals { now: at(900), earliest: at(500), both: Some((at(910), wall)) };
        let micros = Duration::from_micros;
        assert_eq!(arrivals.arrived(Some(wall - micros(200))), at(710));
        assert_eq!(arrivals.arrived(Some(wall - micros(5))), at(900));
        assert_eq!(
            arrivals.arrived(Some(wall + micros(3_600_000_000))),
            at(900),
            "the wall clock was set back"
        );
        assert_eq!(
            arrivals.arrived(Some(Duration::ZERO)),
            at(500),
            "the wall clock was set for the first time"
        );
        assert_eq!(arrivals.arrived(None), at(900));
        assert_eq!(Arrivals::just(at(900)).arrived(Some(wall)), at(900));
    }
}
