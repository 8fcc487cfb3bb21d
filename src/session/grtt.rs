//! Group round-trip time: the time between a datagram to the group and what the slowest receiver says of it.

use std::time::Duration;

use crate::time::Time;
use crate::wire::DatagramNumber;
use std::collections::VecDeque;

/// Estimates the GRTT at the sender (RFC 5740 section 5.5.2: follow peaks at once, come down slowly).
///
/// No datagram carries a timestamp: the sender remembers when it sent which number, a report names the highest number
/// seen and how long ago that was.
#[derive(Debug)]
pub(super) struct GrttEstimator {
    grtt: Duration,
    /// Whether that is more than a guess.
    measured: bool,
    /// Largest sample of the current round.
    peak: Duration,
    round_ends: Time,
    sent: VecDeque<(DatagramNumber, Time)>,
}

impl GrttEstimator {
    /// Before anything is measured: a LAN with a busy host on it.
    pub(super) const INITIAL: Duration = Duration::from_millis(10);
    /// Below this, scheduling of processes is what is measured.
    const MIN: Duration = Duration::from_micros(200);
    /// A receiver farther away than this is treated as if it were this far.
    const MAX: Duration = Duration::from_secs(5);
    /// Batches whose time of sending is remembered.
    const REMEMBERED: usize = 8_192;

    pub(super) const fn new() -> Self {
        Self {
            grtt: Self::INITIAL,
            measured: false,
            peak: Duration::ZERO,
            round_ends: Time::ZERO,
            sent: VecDeque::new(),
        }
    }

    pub(super) const fn get(&self) -> Duration {
        self.grtt
    }

    /// Datagrams from `first` on left now.
    pub(super) fn handle_sent(&mut self, now: Time, first: DatagramNumber) {
        if self.sent.len() == Self::REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((first, now));
    }

    /// A receiver saw `highest`, and `held` its report back for so long. Returns when `highest` was sent, if that is not
    /// too long ago.
    pub(super) fn handle_echo(&mut self, now: Time, highest: DatagramNumber, held: Duration) -> Option<Time> {
        let after = self.sent.partition_point(|(first, _)| *first <= highest);
        let (_, sent_at) = *after.checked_sub(1).and_then(|at| self.sent.get(at))?;
        let sample = now.since(sent_at).saturating_sub(held).clamp(Self::MIN, Self::MAX);
        self.peak = self.peak.max(sample);
        if !std::mem::replace(&mut self.measured, true) {
            // Others may be farther away; but the guess is for a LAN at its worst.
            self.grtt = self.grtt.min(sample * 2);
        }
        if sample > self.grtt {
            self.grtt = sample;
        }
        if now >= self.round_ends {
            // Once a round: towards the round's peak, a quarter of the way.
            self.grtt = (self.grtt * 3 + self.peak) / 4;
            self.peak = Duration::ZERO;
            self.round_ends = now + (self.grtt * 2).max(Duration::from_millis(10));
        }
        Some(sent_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_jumps_up_and_creeps_down() {
        let mut grtt = GrttEstimator::new();
        grtt.handle_sent(Time::ZERO, DatagramNumber(0));
        grtt.handle_echo(Time::from_nanos(1_000_000), DatagramNumber(0), Duration::ZERO);
        assert!(grtt.get() <= Duration::from_millis(2), "{:?}", grtt.get());
        let mut now = Time::ZERO;
        let mut echo = |grtt: &mut GrttEstimator, number: u64, rtt: Duration| {
            grtt.handle_sent(now, DatagramNumber(number));
            now += rtt + Duration::from_millis(3);
            grtt.handle_echo(now, DatagramNumber(number), Duration::from_millis(3));
        };
        echo(&mut grtt, 0, Duration::from_millis(80));
        assert_eq!(grtt.get(), Duration::from_millis(80));
        for number in 1..200 {
            echo(&mut grtt, number, Duration::from_millis(1));
        }
        assert!(grtt.get() < Duration::from_millis(2), "{:?}", grtt.get());
        assert!(grtt.get() >= Duration::from_millis(1));
    }

    #[test]
    fn an_echo_of_something_never_sent_changes_nothing() {
        let mut grtt = GrttEstimator::new();
        grtt.handle_echo(Time::ZERO, DatagramNumber(5), Duration::ZERO);
        assert_eq!(grtt.get(), GrttEstimator::INITIAL);
    }
}
