//! Finds the rate that the slowest path carries.
//!
//! The queue of the sender's own line and the receivers' credit limit the sender without any loss; this is for what those do
//! not see: a slower port somewhere behind the sender's. A report goes in, a rate comes out:
//!
//! ```text
//!           a path delivers less           a queue fills near the capacity:
//!           than is sent                   a new capacity
//! ┌──────┐ ───────────────────▶ ┌─────────┐ ────┐
//! │ Open │                      │ Limited │ ◀───┘
//! └──────┘ ◀─────────────────── └─────────┘
//!    │ ▲     the slowest            │ ▲  ▲
//!    │ │     path has gone          │ │  │ less is lost: the rate was at fault
//!    │ │                            ▼ │  │
//!    │ └──── as much is lost: ── ┌───────┐
//!    └─────▶ the path's own      │ Probe │
//!      more is lost than usual   └───────┘
//! ```
//!
//! `docs/rate.md` explains it, with the unit and the origin of each constant.

mod limited;
mod open;
mod own_loss;
mod path;
mod probe;

use std::time::Duration;

use self::limited::Limited;
use self::open::{Open, Step};
use self::path::{Interval, Path};
use self::probe::{Probe, Verdict};
use crate::session::Rate;
use crate::time::Time;
use crate::wire::DatagramNumber;

/// The part of a report that tells of the path to its receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// The highest number that has arrived.
    pub(super) highest: DatagramNumber,
    /// Datagrams that have arrived.
    pub(super) arrived: u64,
    /// When `highest` was sent.
    pub(super) sent_at: Time,
    /// When it had arrived, and a report could have been back from there.
    pub(super) seen_at: Time,
}

/// The state of the sender at the moment at which a report comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) now: Time,
    /// Number of the next datagram.
    pub(super) next: DatagramNumber,
    /// Bits of a full datagram with its headers.
    pub(super) datagram: f64,
    /// Receivers that have not ended.
    pub(super) receivers: usize,
    /// Time until receivers have told of what is sent from now on.
    pub(super) answer: Duration,
    pub(super) held_back: HeldBack,
}

/// When something else than the rate has kept the sender from sending: its own queue, or a receiver's socket buffer. Delays
/// of that time say nothing of the path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldBack {
    last: Option<Time>,
}

/// The rate, and the receiver that limits it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decision {
    /// Bits per second.
    pub(super) rate: Rate,
    pub(super) phase: RatePhase,
    /// The place among the members of the receiver with the slowest path, and bits per second that this path carries.
    pub(super) slowest: Option<(usize, Rate)>,
}

/// The phase in which the rate control is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatePhase {
    /// No path is known to limit the rate.
    Open,
    /// The slowest path limits the rate.
    Limited,
    /// The rate is low for a moment, to see whether losses have to do with it.
    Probe,
}

/// The rate control of a session.
#[derive(Debug)]
pub(super) struct Congestion {
    ceiling: Option<Rate>,
    phase: Phase,
    /// By the receivers' places among the members.
    paths: Vec<Path>,
    /// Nothing sent before this number tells about the present rate.
    from: DatagramNumber,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Steady(Steady),
    /// The probe, and what the rate goes back to if it was not at fault.
    Probe(Probe, Steady),
}

/// A phase in which the rate is raised.
#[derive(Clone, Copy, Debug)]
enum Steady {
    Open(Open),
    Limited(Limited),
}

impl Congestion {
    /// Intervals in a row that lose more than usual before a probe: a burst of loss, or a late host, makes one.
    const SIGNS: u32 = 2;
    /// If the rate is not likely to be at fault, a probe begins when losses have cost this much of a path's time, and as much
    /// as an answer takes. Probes then take a small part of the time, however much is lost.
    const WORTH: Duration = Duration::from_millis(60);
    /// One sign leaves this share of the rate at least, whatever a receiver says.
    const DEEPEST: f64 = 0.1;

    /// The operator's `ceiling` is where the rate begins, and never exceeded.
    pub(super) fn new(ceiling: Option<Rate>) -> Self {
        let rate = ceiling.map_or(Open::FIRST, |rate| rate.bits_per_second() as f64);
        Self {
            ceiling,
            phase: Phase::Steady(Steady::Open(Open::new(rate, ceiling))),
            paths: Vec::new(),
            from: DatagramNumber(0),
        }
    }

    /// Data flows from here on.
    pub(super) fn handle_start(&mut self, now: Time, next: DatagramNumber) {
        self.from = next;
        if let Steady::Open(open) = self.steady_mut() {
            open.begin_round(now, next);
        }
    }

    /// The receiver at this place has ended: its path no longer counts.
    pub(super) fn handle_gone(&mut self, slot: usize, now: Time, next: DatagramNumber) {
        if let Some(path) = self.paths.get_mut(slot) {
            *path = Path::default();
        }
        if let Phase::Probe(probe, steady) = self.phase {
            // Without the path that shows the signs, or that the probe's rate was lowered from, it says nothing.
            let limits = matches!(steady, Steady::Limited(limited) if limited.slot == slot);
            if probe.slot == slot || limits {
                self.phase = Phase::Steady(steady);
                self.restart(now, next);
            }
        }
        match self.steady_mut() {
            Steady::Open(open) => open.begin_round(now, next),
            Steady::Limited(limited) if limited.slot == slot => {
                let open = Open::new(limited.rate(), self.ceiling);
                *self.steady_mut() = Steady::Open(open);
                self.restart(now, next);
            }
            Steady::Limited(_) => {}
        }
    }

    /// The present rate and phase, and the slowest path.
    pub(super) fn decision(&self) -> Decision {
        let (bits, phase, steady) = match &self.phase {
            Phase::Probe(probe, steady) => (probe.rate, RatePhase::Probe, steady),
            Phase::Steady(steady @ Steady::Open(open)) => (open.rate, RatePhase::Open, steady),
            Phase::Steady(steady @ Steady::Limited(limited)) => (limited.rate(), RatePhase::Limited, steady),
        };
        let slowest = match steady {
            Steady::Limited(limited) if !limited.is_left_behind() => {
                Some((limited.slot, Rate::from_bits_per_second(limited.capacity as u64)))
            }
            _ => None,
        };
        let phase = if slowest.is_none() && phase == RatePhase::Limited { RatePhase::Open } else { phase };
        let rate = Rate::from_bits_per_second(bits as u64);
        Decision { rate: self.ceiling.map_or(rate, |ceiling| rate.min(ceiling)), phase, slowest }
    }

    /// The share that the path to the receiver at this place loses at any rate, as far as that is known.
    pub(super) fn own_loss(&self, slot: usize) -> f64 {
        self.paths.get(slot).map_or(0.0, |path| path.own.share)
    }

    /// Takes a report of the receiver at this place into account.
    pub(super) fn handle_sample(&mut self, slot: usize, sample: Sample, sending: &Sending) {
        if self.paths.len() <= slot {
            self.paths.resize_with(slot + 1, Path::default);
        }
        let Some(path) = self.paths.get_mut(slot) else { return };
        let last = path.last;
        if !path.note(sample) {
            return;
        }
        match &mut self.phase {
            Phase::Probe(probe, steady) => {
                if let Some(verdict) = probe.handle_sample(slot, path, last, sample, sending) {
                    let (slot, steady) = (probe.slot, *steady);
                    self.conclude(verdict, slot, steady, sending);
                }
            }
            Phase::Steady(steady) => {
                if let Steady::Open(open) = steady {
                    match open.handle_sample(&mut self.paths, slot, last, sample, sending) {
                        Step::Knee(capacity) => {
                            self.limit(Limited::new(slot, capacity), sending);
                            return;
                        }
                        Step::Doubled => {
                            self.restart(sending.now, sending.next);
                            return;
                        }
                        Step::Nothing => {}
                    }
                }
                let Some(path) = self.paths.get_mut(slot) else { return };
                if let Some(interval) = path.interval(sample, self.from) {
                    self.watch(slot, &interval, sending);
                }
            }
        }
    }

    /// Takes an interval of a path into account: it shows a full queue, or gives a reason for a probe, or shows that the rate
    /// may go on as it does.
    fn watch(&mut self, slot: usize, interval: &Interval, sending: &Sending) {
        let Some(path) = self.paths.get_mut(slot) else { return };
        let Phase::Steady(steady) = &mut self.phase else { return };
        // While the sender is held back, the queue that stands may be its own.
        let held_back = sending.held_back.covers(interval.since);
        let queues = interval.delay > if held_back { Open::OWN_QUEUE } else { Path::QUEUE };
        let is_lossy = path.own.is_exceeded(interval);
        if is_lossy {
            path.add_sign(interval);
        } else {
            path.clear_signs();
        }
        if let Steady::Limited(limited) = steady
            && let Some(lower) = limited.full_queue(slot, path, interval, queues, sending)
        {
            path.own.fade();
            self.limit(lower, sending);
            return;
        }
        if is_lossy {
            let steady = *steady;
            self.probe_if_worth(slot, steady, queues, sending);
            return;
        }
        let near = matches!(steady, Steady::Limited(limited) if limited.is_near());
        // Losses beside a queue, or near the capacity, may be the rate's fault; fewer than usual are not.
        if (!queues && !near) || interval.lost() < path.own.share {
            path.own.learn(interval);
        }
        if let Steady::Limited(limited) = steady
            && limited.slot == slot
        {
            limited.grow(interval, sending);
        }
    }

    /// Begins a probe if a path has shown signs enough.
    fn probe_if_worth(&mut self, slot: usize, steady: Steady, queues: bool, sending: &Sending) {
        let Some(Path { signs, own, .. }) = self.paths.get(slot) else { return };
        let Some(seen) = &signs.seen else { return };
        let rate = match steady {
            Steady::Open(_) => seen.rate(sending),
            Steady::Limited(limited) => limited.rate().min(seen.rate(sending)),
        };
        // A loss beside a queue, or below a limit, is seldom the path's own.
        let is_likely = queues || matches!(steady, Steady::Limited(_));
        let is_worth = signs.wasted >= (Self::WORTH + sending.answer).as_secs_f64();
        if signs.count >= Self::SIGNS && (is_likely || is_worth) {
            let probe = Probe::new(slot, seen, own.share, rate, sending);
            tracing::trace!(at = %sending.now, ?probe, "the losses of a path are put to the test");
            self.phase = Phase::Probe(probe, steady);
        }
    }

    fn conclude(&mut self, verdict: Verdict, slot: usize, steady: Steady, sending: &Sending) {
        tracing::trace!(at = %sending.now, ?verdict, "the losses of a path have been put to the test");
        match verdict {
            Verdict::Full(capacity) => {
                self.limit(Limited::new(slot, capacity), sending);
                return;
            }
            Verdict::Own => {
                for path in &mut self.paths {
                    if let Some(seen) = path.signs.seen {
                        path.own.set(&seen);
                    }
                }
            }
            Verdict::Nothing => {}
        }
        self.phase = Phase::Steady(steady);
        self.restart(sending.now, sending.next);
    }

    /// Goes to Limited.
    fn limit(&mut self, limited: Limited, sending: &Sending) {
        tracing::trace!(at = %sending.now, ?limited, "a path limits the rate");
        self.phase = Phase::Steady(Steady::Limited(limited));
        self.restart(sending.now, sending.next);
    }

    /// The rate has changed: the datagrams before `next` tell nothing about the present one.
    fn restart(&mut self, now: Time, next: DatagramNumber) {
        self.from = next;
        for path in &mut self.paths {
            path.clear_signs();
        }
        if let Steady::Open(open) = self.steady_mut() {
            open.begin_round(now, next);
        }
    }

    const fn steady_mut(&mut self) -> &mut Steady {
        match &mut self.phase {
            Phase::Steady(steady) | Phase::Probe(_, steady) => steady,
        }
    }
}

impl Sample {
    /// There and back.
    pub(super) fn round_trip(&self) -> Duration {
        self.seen_at.since(self.sent_at)
    }

    /// The time since an earlier one: of sending or of seeing, whichever is longer. A burst that arrives at once has not come
    /// through faster than it was sent.
    fn span_since(&self, earlier: &Self) -> Duration {
        self.sent_at.since(earlier.sent_at).max(self.seen_at.since(earlier.seen_at))
    }
}

impl HeldBack {
    /// Datagrams that had to wait while the sender was held back are under way for so long after that.
    const LASTS: Duration = Duration::from_millis(50);

    /// The sender is held back now.
    pub(super) fn note(&mut self, now: Time) {
        self.last = Some(now);
    }

    /// Whether it has been since a datagram was sent that left then.
    fn covers(&self, sent_at: Time) -> bool {
        self.last.is_some_and(|last| last + Self::LASTS > sent_at)
    }
}

#[cfg(test)]
mod tests;
