//! Spreads datagrams over time.

use std::fmt;
use std::time::Duration;

use crate::time::Time;

/// Bits per second, counted over IP datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// The slowest rate there is: one full datagram in about a tenth of a second.
    pub const MIN: Self = Self(100_000);

    /// `bits` per second, at least [`Rate::MIN`].
    pub const fn from_bits_per_second(bits: u64) -> Self {
        Self(if bits < Self::MIN.0 { Self::MIN.0 } else { bits })
    }

    /// Bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }

    /// How long `bytes` take.
    pub const fn time_for(self, bytes: u64) -> Duration {
        Duration::from_nanos((bytes as u128 * 8_000_000_000 / self.0 as u128) as u64)
    }

    /// The bytes that `time` has room for.
    pub const fn bytes_in(self, time: Duration) -> u64 {
        (time.as_nanos() * self.0 as u128 / 8_000_000_000) as u64
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} Mbit/s", self.0 as f64 / 1e6)
    }
}

/// Lets datagrams go at a rate: any span of time T carries at most rate × (T + burst) and a batch, which is what
/// [`Pacer::BATCH`] has room for, or one datagram. The burst is [`Pacer::BURST`] at an operator's rate, and
/// [`Pacer::QUEUE`] bytes, or that if it is more, at one that was found.
///
/// This is the generic cell rate algorithm (ITU-T I.371): one number, the time at which the line would be free.
#[derive(Debug)]
pub(super) struct Pacer {
    rate: Rate,
    /// How far sending may fall behind and still catch up.
    burst: Duration,
    free_at: Time,
    /// How much later than that the next batch goes.
    jitter: Duration,
}

impl Pacer {
    /// What a late wake-up costs on a host that has time.
    pub(super) const BURST: Duration = Duration::from_micros(300);
    /// What a batch takes at the rate, so that both together are a twentieth of ten milliseconds.
    const BATCH: Duration = Duration::from_micros(200);
    /// Half of a shallow queue in a switch. A host without time wakes milliseconds late for each datagram of a slow rate; did
    /// it not catch up, it would never be seen to use that rate, and the rate would stay so slow.
    const QUEUE: u64 = 32_768;

    /// The rate is `strict` where an operator has chosen it.
    pub(super) fn new(rate: Rate, strict: bool) -> Self {
        let mut pacer = Self { rate, burst: Self::BURST, free_at: Time::ZERO, jitter: Duration::ZERO };
        pacer.set_rate(rate, strict);
        pacer
    }

    /// From now on, this is the rate; it is `strict` where an operator has chosen it.
    pub(super) fn set_rate(&mut self, rate: Rate, strict: bool) {
        self.rate = rate;
        self.burst = if strict { Self::BURST } else { rate.time_for(Self::QUEUE).max(Self::BURST) };
    }

    /// The rate that the pacer keeps to now.
    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// When the next batch may go; `None`: at once.
    pub(super) fn blocked_until(&self, now: Time) -> Option<Time> {
        let at = self.free_at + self.jitter;
        (self.free_at > now - self.jitter).then_some(at)
    }

    /// Datagrams of `size` bytes that make a batch, out of `most`: no more than [`Pacer::BATCH`] holds, at least 1.
    pub(super) fn batch(&self, most: usize, size: usize) -> usize {
        let fits = self.rate.bytes_in(Self::BATCH) / (size as u64).max(1);
        most.min(usize::try_from(fits).unwrap_or(most)).max(1)
    }

    /// Takes note that `bytes` bytes were sent at `now`. The next batch goes later than it could, by the share `jitter`,
    /// between 0 and 1, of a quarter of the time that these bytes take, and of a quarter of a burst at most; the batch after it
    /// makes up for that. Without this, two senders that share a queue and keep perfect time stay in step, and the same one of
    /// them finds the queue full again and again.
    pub(super) fn handle_sent(&mut self, now: Time, bytes: u64, jitter: f64) {
        let takes = self.rate.time_for(bytes);
        self.free_at = self.free_at.max(now - self.burst) + takes;
        self.jitter = (takes.min(Self::BURST) / 4).mul_f64(jitter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_host_catches_up_at_a_slow_rate_that_nobody_has_chosen() {
        let (rate, late) = (Rate::from_bits_per_second(20_000_000), Duration::from_millis(3));
        let carried = |strict| {
            let (mut pacer, mut now, mut sent) =
                (Pacer::new(rate, strict), Time::from_nanos(1_000_000_000), 0);
            let end = now + Duration::from_secs(1);
            while now < end {
                now = pacer.blocked_until(now).map_or(now, |until| until + late);
                pacer.handle_sent(now, 1_500, 0.0);
                while pacer.blocked_until(now).is_none() {
                    pacer.handle_sent(now, 1_500, 0.0);
                    sent += 1_500;
                }
                sent += 1_500;
            }
            sent as f64 / rate.bytes_in(Duration::from_secs(1)) as f64
        };
        assert!(carried(false) > 0.95 && carried(false) < 1.05, "{}", carried(false));
        assert!(carried(true) < 0.5, "{}", carried(true));
    }

    #[test]
    fn ten_milliseconds_carry_the_rate_within_five_per_cent() {
        for bits in [10_000_000, 100_000_000, 900_000_000, 9_000_000_000] {
            let rate = Rate::from_bits_per_second(bits);
            let mut pacer = Pacer::new(rate, true);
            let (mut now, mut sent) = (Time::from_nanos(1_000_000), Vec::new());
            let mut jitter = fastrand::Rng::with_seed(bits);
            while now < Time::from_nanos(200_000_000) {
                if let Some(until) = pacer.blocked_until(now) {
                    // Wake-ups are late by up to 100 µs.
                    now = until + Duration::from_nanos(jitter.u64(0..100_000));
                    continue;
                }
                let bytes = pacer.batch(44, 1_500) as u64 * 1_500;
                pacer.handle_sent(now, bytes, jitter.f64());
                sent.push((now, bytes));
            }
            let span = Duration::from_millis(10);
            for &(start, _) in sent.iter().filter(|(at, _)| *at < Time::from_nanos(180_000_000)) {
                let carried: u64 =
                    sent.iter().filter(|(at, _)| (start..start + span).contains(at)).map(|(_, b)| b).sum();
                let ratio = carried as f64 / rate.bytes_in(span) as f64;
                let grain = 1_500.0 / rate.bytes_in(span) as f64;
                assert!((0.95 - grain..=1.05 + grain).contains(&ratio), "{bits}: {ratio}");
            }
        }
    }
}
