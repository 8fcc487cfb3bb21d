//! A link: delay, jitter, loss, duplication, corruption, and a rate with a finite queue.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::session::Rate;
use crate::time::Time;

/// How a link treats datagrams.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// One way.
    pub delay: Duration,
    /// Added at random, evenly spread; reorders once it exceeds the distance between datagrams.
    pub jitter: Duration,
    /// What is lost.
    pub loss: Loss,
    /// From these moments on, in order, another loss holds.
    pub loss_changes: Vec<(Duration, Loss)>,
    /// Share of datagrams that arrive more than once.
    pub duplicate: f64,
    /// How often those arrive again, at the end of a receiver's link. All copies of one come together.
    pub copies: usize,
    /// Share of datagrams in which bits flip.
    pub corrupt: f64,
    /// Bits per second; `None`: any.
    pub rate: Option<Rate>,
    /// From these moments on, in order, the rate is another.
    pub rate_changes: Vec<(Duration, Option<Rate>)>,
    /// Bytes that wait for a link with a rate; more are lost.
    pub queue: usize,
    /// Bytes that a link with a rate lets through at once after a pause (a token bucket, as in `tc-tbf`).
    pub burst: usize,
    /// Larger datagrams (UDP payload) vanish.
    pub max_size: usize,
    /// Not before this moment.
    pub narrow_from: Duration,
}

/// How a link loses datagrams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Each with this probability.
    Independent(f64),
    /// Gilbert–Elliott in time: in a burst, everything is lost. Both spans are means, exponentially distributed.
    Burst {
        /// Time without loss.
        every: Duration,
        /// Time of loss.
        length: Duration,
    },
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(100),
            jitter: Duration::ZERO,
            loss: Loss::Independent(0.0),
            loss_changes: Vec::new(),
            duplicate: 0.0,
            copies: 1,
            corrupt: 0.0,
            rate: None,
            rate_changes: Vec::new(),
            queue: 256 * 1024,
            burst: 0,
            max_size: usize::MAX,
            narrow_from: Duration::ZERO,
        }
    }
}

/// A link in use.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) config: LinkConfig,
    /// The rate now, and how many changes it has seen.
    rate: Option<Rate>,
    changes: usize,
    /// The loss now, and how many changes it has seen.
    loss: Loss,
    loss_changes: usize,
    /// When the link has sent all that it has taken, if it sends evenly. It may send a burst before its time.
    even_at: Time,
    /// Datagrams for which the queue had no room.
    pub(super) overflowed: u64,
    /// The next burst, or the present one: from, to.
    burst: (Time, Time),
    /// Bytes of what a sender waits for room for.
    waits: usize,
}

/// What a link did with a datagram that it did not lose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) arrives: Time,
    /// A second copy arrives then.
    pub(super) again: Option<Time>,
    /// This bit flips, counted modulo the length.
    pub(super) flipped: Option<usize>,
}

/// Ethernet, IP and UDP around a datagram.
pub(super) const FRAME_OVERHEAD: usize = 42;

impl Link {
    pub(super) fn new(config: LinkConfig) -> Self {
        let (rate, loss, never) = (config.rate, config.loss, (Time::ZERO, Time::ZERO));
        Self {
            config,
            rate,
            changes: 0,
            loss,
            loss_changes: 0,
            even_at: Time::ZERO,
            overflowed: 0,
            burst: never,
            waits: 0,
        }
    }

    /// One that several sessions use.
    pub(super) fn shared(config: LinkConfig) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self::new(config)))
    }

    /// What waits in the queue leaves at the rate that holds now.
    fn keep_rate(&mut self, now: Time) {
        while let Some(&(_, rate)) =
            self.config.rate_changes.get(self.changes).filter(|(at, _)| Time::ZERO + *at <= now)
        {
            let taken = self.rate.map_or(0, |rate| rate.bytes_in(self.even_at.since(now)));
            self.even_at = now + rate.map_or(Duration::ZERO, |rate| rate.time_for(taken));
            (self.rate, self.changes) = (rate, self.changes + 1);
        }
    }

    /// Takes up the changes of the loss that are due.
    fn keep_loss(&mut self, now: Time) {
        while let Some(&(at, loss)) =
            self.config.loss_changes.get(self.loss_changes).filter(|(at, _)| Time::ZERO + *at <= now)
        {
            // The first burst of this loss, if it has bursts, is drawn from this moment on.
            self.burst = (Time::ZERO + at, Time::ZERO + at);
            (self.loss, self.loss_changes) = (loss, self.loss_changes + 1);
        }
    }

    /// Whether a sender that feels this link's queue would have to wait with so many bytes.
    pub(super) fn is_full(&mut self, now: Time, bytes: usize) -> bool {
        self.keep_rate(now);
        let full = self.rate.is_some_and(|rate| {
            let waiting = self.waiting(rate, now);
            waiting > 0 && waiting + bytes as u64 > self.config.queue as u64
        });
        self.waits = if full { bytes } else { 0 };
        full
    }

    /// When half of the queue is free again, and there is room for what its sender waits with.
    pub(super) fn roomy_at(&self) -> Time {
        let most =
            (self.config.queue / 2).min(self.config.queue.saturating_sub(self.waits)) + self.config.burst;
        self.even_at - self.rate.map_or(Duration::ZERO, |rate| rate.time_for(most as u64))
    }

    /// Bytes in the queue.
    fn waiting(&self, rate: Rate, now: Time) -> u64 {
        rate.bytes_in(self.even_at.since(now)).saturating_sub(self.config.burst as u64)
    }

    pub(super) fn pass(&mut self, now: Time, length: usize, rng: &mut fastrand::Rng) -> Option<Passage> {
        if length > self.config.max_size && now >= Time::ZERO + self.config.narrow_from {
            return None;
        }
        self.keep_rate(now);
        let mut leaves = now;
        if let Some(rate) = self.rate {
            let frame = (length + FRAME_OVERHEAD) as u64;
            if self.waiting(rate, now) + frame > (self.config.queue as u64).max(frame) {
                self.overflowed += 1;
                return None;
            }
            self.even_at = self.even_at.max(now) + rate.time_for(frame);
            leaves = now.max(self.even_at - rate.time_for(self.config.burst as u64));
        }
        self.keep_loss(now);
        let lost = match self.loss {
            Loss::Independent(share) => share > 0.0 && rng.f64() < share,
            Loss::Burst { every, length } => {
                let mut draw = |mean: Duration| mean.mul_f64(-f64::ln(1.0 - rng.f64()));
                while now >= self.burst.1 {
                    let from = self.burst.1 + draw(every);
                    self.burst = (from, from + draw(length) + Duration::from_nanos(1));
                }
                now >= self.burst.0
            }
        };
        if lost {
            return None;
        }
        let mut arrive = || match self.config.jitter {
            Duration::ZERO => leaves + self.config.delay,
            jitter => leaves + self.config.delay + jitter.mul_f64(rng.f64()),
        };
        let arrives = arrive();
        let later = arrive();
        let again = (self.config.duplicate > 0.0 && rng.f64() < self.config.duplicate).then_some(later);
        let flipped = (self.config.corrupt > 0.0 && rng.f64() < self.config.corrupt).then(|| rng.usize(..));
        Some(Passage { arrives, again, flipped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_change_at_the_given_moments() {
        let at = |n| Duration::from_millis(n);
        let loss_changes = vec![
            (at(10), Loss::Independent(1.0)),
            (at(20), Loss::Burst { every: at(1_000_000), length: at(1) }),
            (at(30), Loss::Independent(1.0)),
            (at(40), Loss::Independent(0.0)),
        ];
        let mut link = Link::new(LinkConfig { loss_changes, ..LinkConfig::default() });
        let mut rng = fastrand::Rng::with_seed(1);
        for millisecond in 0..50 {
            let passed = link.pass(Time::ZERO + at(millisecond), 100, &mut rng).is_some();
            assert_eq!(passed, !matches!(millisecond, 10..20 | 30..40), "{millisecond} ms");
        }
    }

    #[test]
    fn burst_leaves_at_once_and_what_follows_in_its_time() {
        let rate = Some(Rate::from_bits_per_second(8_000_000));
        let mut link = Link::new(LinkConfig { rate, burst: 4_000, queue: 3_000, ..LinkConfig::default() });
        let mut rng = fastrand::Rng::with_seed(1);
        let mut sends = |millisecond: u64| {
            let now = Time::ZERO + Duration::from_millis(millisecond);
            let took = |passage: Passage| passage.arrives.since(now + LinkConfig::default().delay);
            let passages: Vec<_> =
                (0..10).map_while(|_| link.pass(now, 1_000 - FRAME_OVERHEAD, &mut rng)).collect();
            passages.into_iter().map(|passage| took(passage).as_millis()).collect::<Vec<_>>()
        };
        // A frame takes a millisecond. Four pass at once, and three find room in the queue.
        assert_eq!(sends(0), [0, 0, 0, 0, 1, 2, 3]);
        // Two have left, and their places are free.
        assert_eq!(sends(2), [2, 3]);
        // All have left, and a pause of two more milliseconds gives a burst of two.
        assert_eq!(sends(7), [0, 0, 1, 2, 3]);
        assert_eq!(sends(100), [0, 0, 0, 0, 1, 2, 3]);
    }

    #[test]
    fn who_waits_for_room_is_woken_when_there_is_room_and_not_before() {
        for (queue, bytes) in [(4_096, 2_400), (8_192, 2_400), (4_096, 100), (1_600, 2_400)] {
            let rate = Some(Rate::from_bits_per_second(20_000_000));
            let mut link = Link::new(LinkConfig { rate, queue, ..LinkConfig::default() });
            let (mut now, mut rng) = (Time::ZERO, fastrand::Rng::with_seed(1));
            for _ in 0..1_000 {
                if link.is_full(now, bytes) {
                    assert!(link.roomy_at() > now, "queue of {queue}, {bytes} bytes at {now}");
                    // Times are whole nanoseconds.
                    now = link.roomy_at() + Duration::from_nanos(1);
                    assert!(!link.is_full(now, bytes), "queue of {queue}, {bytes} bytes at {now}");
                }
                link.pass(now, bytes - FRAME_OVERHEAD, &mut rng);
            }
            assert!(now > Time::ZERO, "nobody ever waited");
        }
    }
}
