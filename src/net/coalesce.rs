//! Lets datagrams gather in the socket, so that one wake-up takes several.

use std::time::Duration;

use crate::time::Time;

/// Tells how long to leave a socket alone after it has been emptied.
///
/// Network cards call it interrupt coalescing. Without it, a line that is slower than this host makes the receiver
/// sleep and wake for every datagram or two, which costs more than all the rest of its work.
#[derive(Debug)]
pub(super) struct Coalescing {
    /// When the socket was emptied last.
    emptied: Time,
    /// Datagrams that may gather.
    wanted: usize,
}

impl Coalescing {
    /// Datagrams that are worth a wake-up; at 1 Gbit/s, 400 µs of full frames.
    const WANTED: usize = 32;
    /// The longest pause. It adds to every answer of this receiver, so it is well below what a disk or a database
    /// notices, and below the millisecond after which a sender says how far it is.
    const MOST: Duration = Duration::from_micros(400);
    /// The share of a socket buffer that may fill meanwhile.
    const SHARE: usize = 8;

    /// For a socket whose buffer holds `buffer` datagrams.
    pub(super) const fn new(buffer: usize) -> Self {
        let share = buffer / Self::SHARE;
        Self { emptied: Time::ZERO, wanted: if share < Self::WANTED { share } else { Self::WANTED } }
    }

    /// The socket was found empty after `datagrams` had been taken out: the time until as many as are wanted have
    /// gathered at the rate of late. Zero where waiting would gather none.
    pub(super) fn pause(&mut self, now: Time, datagrams: usize) -> Duration {
        let since = now.since(self.emptied);
        self.emptied = now;
        if datagrams == 0 {
            return Duration::ZERO;
        }
        let each = since / u32::try_from(datagrams).unwrap_or(u32::MAX);
        if each * 2 > Self::MOST {
            return Duration::ZERO;
        }
        (each * u32::try_from(self.wanted).unwrap_or(u32::MAX)).min(Self::MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn a_steady_stream_is_taken_in_groups() {
        let mut coalescing = Coalescing::new(5_000);
        // A gigabit line: one datagram in 12 µs.
        coalescing.pause(Time::ZERO, 1);
        assert_eq!(coalescing.pause(Time::ZERO + MICROSECOND * 12, 1), MICROSECOND * 384);
        assert_eq!(coalescing.pause(Time::ZERO + MICROSECOND * 396, 32), MICROSECOND * 384);
        // A tenth of it.
        assert_eq!(coalescing.pause(Time::ZERO + MICROSECOND * 756, 3), MICROSECOND * 400);
    }

    #[test]
    fn single_datagrams_and_silence_are_not_waited_for() {
        let mut coalescing = Coalescing::new(5_000);
        assert_eq!(coalescing.pause(Time::ZERO + MICROSECOND * 900, 1), Duration::ZERO);
        assert_eq!(coalescing.pause(Time::ZERO + MICROSECOND * 901, 0), Duration::ZERO);
        assert_eq!(coalescing.pause(Time::ZERO + MICROSECOND * 1_601, 2), Duration::ZERO);
    }

    #[test]
    fn a_small_buffer_fills_by_an_eighth_at_most() {
        let mut coalescing = Coalescing::new(80);
        assert_eq!(coalescing.pause(Time::ZERO + MICROSECOND * 120, 10), MICROSECOND * 120);
        assert_eq!(Coalescing::new(7).pause(Time::ZERO + MICROSECOND, 1), Duration::ZERO);
    }
}
