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
mod path;
mod probe;

use std::time::Duration;

use self::limited::Limited;
use self::open::{Open, Step};
use self::path::{Interval, OwnLoss, Path};
use self::probe::{Answer, Probe, Verdict};
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
    /// The dispersion: the variance of losses, as a multiple of the variance of losses that come one by one. It is the mean
    /// of the last [`Self::SAMPLES`] samples of all paths.
    dispersion: f64,
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
    /// Intervals in a row that lose more than usual before a probe: a burst of loss, or a late host, makes one or two.
    const SIGNS: u32 = 3;
    /// The number of such intervals if a queue may stand or a limit is known. The rate is then probably at fault.
    const SIGNS_LIKELY: u32 = 2;
    /// If no limit is known, a probe begins when losses have cost this many times its own cost. Probes then take a small part
    /// of the time, however much is lost.
    const WORTH: f64 = 3.0;
    /// Samples that the dispersion is the mean of.
    const SAMPLES: f64 = 32.0;

    /// The operator's `ceiling` is where the rate begins, and never exceeded.
    pub(super) fn new(ceiling: Option<Rate>) -> Self {
        let reach = ceiling.map_or(Open::FIRST, |rate| rate.bits_per_second() as f64);
        Self {
            ceiling,
            phase: Phase::Steady(Steady::Open(Open::new(reach))),
            paths: Vec::new(),
            from: DatagramNumber(0),
            dispersion: 1.0,
        }
    }

    /// Data flows from here on.
    pub(super) fn handle_start(&mut self, now: Time, next: DatagramNumber) {
        self.from = next;
        if let Steady::Open(open) = self.steady_mut() {
            open.raise(open.reach, now, next);
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
                let mut open = Open::new(limited.rate());
                open.raise(open.reach, now, next);
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
            Phase::Steady(steady @ Steady::Open(open)) => (open.reach, RatePhase::Open, steady),
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
                if let Some(verdict) = probe.handle_sample(slot, path, sample, sending) {
                    let steady = *steady;
                    self.conclude(verdict, steady, sending);
                }
            }
            Phase::Steady(steady) => {
                if let Steady::Open(open) = steady {
                    match open.handle_sample(path, last, sample, sending) {
                        Step::Knee(capacity) => {
                            let limited = Limited::new(slot, capacity, path.base(), sending);
                            self.limit(limited, sending);
                            return;
                        }
                        Step::Doubled => {
                            self.restart(sending.now, sending.next);
                            return;
                        }
                        Step::Nothing => {}
                    }
                }
                if let Some(interval) = path.interval(sample, self.from) {
                    self.watch(slot, interval, sending);
                }
            }
        }
    }

    /// Takes an interval of a path into account: it shows a full queue, or gives a reason for a probe, or shows that the rate
    /// may go on as it does.
    fn watch(&mut self, slot: usize, mut interval: Interval, sending: &Sending) {
        let held_back = sending.held_back.covers(interval.since);
        if held_back {
            // The queue that stood may have been the sender's own.
            interval.queue = None;
        }
        let own_queue = if held_back { Open::OWN_QUEUE } else { Path::QUEUE };
        let may_queue = interval.delay > own_queue;
        let Phase::Steady(mut steady) = self.phase else { return };
        if matches!(&steady, Steady::Open(open) if open.is_starting(sending.now)) {
            return;
        }
        let Some(path) = self.paths.get_mut(slot) else { return };
        path.note_unevenness(&interval, may_queue);
        if interval.queue == Some(false) {
            // No queue was full.
            let (sum, samples) = path.take_dispersion();
            learn_dispersion(&mut self.dispersion, sum, samples);
        }
        let dispersion = if may_queue { 1.0 } else { Self::dispersion_of(self.dispersion, path, &interval) };
        let is_lossy = path.own.is_exceeded(&interval, dispersion);
        if is_lossy {
            path.add_sign(interval);
        }
        if let Steady::Limited(limited) = &steady
            && let Some(lower) = limited.meets(slot, path, &interval, sending)
        {
            path.own.fade();
            self.limit(lower, sending);
            return;
        }
        if is_lossy {
            self.probe_if_worth(slot, &steady, dispersion, may_queue, sending);
            return;
        }
        path.clear_signs();
        let (sum, samples) = path.take_dispersion();
        let near = matches!(&steady, Steady::Limited(limited) if limited.is_near());
        let is_free = interval.queue != Some(true) && !near;
        if is_free || interval.lost() < path.own.share / 2.0 {
            path.own.learn(&interval, dispersion);
        }
        learn_dispersion(&mut self.dispersion, sum, samples);
        if let Steady::Limited(limited) = &mut steady
            && limited.slot == slot
        {
            limited.grow(&interval, sending);
            self.phase = Phase::Steady(steady);
        }
    }

    /// The dispersion of what a path loses; 1 where losses are few.
    fn dispersion_of(mean: f64, path: &Path, interval: &Interval) -> f64 {
        let share = path.own.share.max(interval.lost());
        if share < OwnLoss::LEAST {
            return 1.0;
        }
        path.doubtful_dispersion().map_or(mean, |doubtful| mean.max(doubtful))
    }

    /// Begins a probe if a path has shown signs enough.
    fn probe_if_worth(
        &mut self,
        slot: usize,
        steady: &Steady,
        dispersion: f64,
        may_queue: bool,
        sending: &Sending,
    ) {
        let Some(path) = self.paths.get(slot) else { return };
        let Some(seen) = path.signs.seen else { return };
        let own = path.own.share;
        let rate = match steady {
            Steady::Open(_) => seen.rate(sending),
            Steady::Limited(limited) => limited.rate().min(seen.rate(sending)),
        };
        // A loss beside a queue, or below a limit, is seldom the path's own.
        let is_likely = may_queue || matches!(steady, Steady::Limited(_));
        if path.signs.count < if is_likely { Self::SIGNS_LIKELY } else { Self::SIGNS } {
            return;
        }
        if !is_likely {
            // This looks at every path, so it comes after the number of signs.
            let lossy = self.paths.iter().filter(|path| path.signs.count > 0).count();
            let cost = Probe::cost(&seen, path.own.share, dispersion, lossy, sending);
            if path.signs.wasted < cost * Self::WORTH {
                return;
            }
        }
        for path in &mut self.paths {
            path.answer = Answer::new(path);
        }
        let probe = Probe::new(slot, seen, own, rate, dispersion, sending);
        tracing::trace!(at = %sending.now, ?probe, "the losses of a path are put to the test");
        self.phase = Phase::Probe(probe, *steady);
    }

    fn conclude(&mut self, verdict: Verdict, steady: Steady, sending: &Sending) {
        tracing::trace!(at = %sending.now, ?verdict, "the losses of a path have been put to the test");
        match verdict {
            Verdict::Full { slot, capacity } => {
                let base = self.paths.get(slot).map_or(Duration::ZERO, Path::base);
                self.limit(Limited::new(slot, capacity, base, sending), sending);
                return;
            }
            Verdict::Own { share, paths } => self.settle_own_loss(share, paths),
            Verdict::Nothing => {}
        }
        self.phase = Phase::Steady(steady);
        self.restart(sending.now, sending.next);
    }

    /// Takes the losses of a probe for the paths' own.
    fn settle_own_loss(&mut self, share: f64, answered: usize) {
        let (mut sum, mut samples) = (0.0, 0.0);
        for path in &mut self.paths {
            if let Some(answer) = path.answer {
                path.own = answer.own_loss().unwrap_or_else(|| OwnLoss::of(share, Probe::FEWEST));
                let doubtful = path.take_dispersion();
                (sum, samples) = (sum + doubtful.0, samples + doubtful.1);
            } else if answered >= Probe::CROWD && path.own.share < share {
                // Many paths of a crowd lose this share. The others are assumed to do so, too, until their reports show
                // another share.
                path.own = OwnLoss::of(share, Probe::FEWEST);
            }
        }
        learn_dispersion(&mut self.dispersion, sum, samples);
    }

    /// Goes to Limited.
    fn limit(&mut self, limited: Limited, sending: &Sending) {
        tracing::trace!(at = %sending.now, ?limited, "a path limits the rate");
        self.phase = Phase::Steady(Steady::Limited(limited));
        for path in &mut self.paths {
            path.forget_unevenness();
        }
        self.restart(sending.now, sending.next);
    }

    /// The rate has changed: the datagrams before `next` tell nothing about the present one.
    fn restart(&mut self, now: Time, next: DatagramNumber) {
        self.from = next;
        for path in &mut self.paths {
            path.clear_signs();
            path.answer = None;
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

impl Sending {
    /// Standard deviations that one of all receivers will see by chance: two for one, three for a dozen, four for 400.
    fn chance(&self) -> f64 {
        (4.0 + 2.0 * (self.receivers.max(1) as f64).ln()).sqrt()
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

/// Adds `samples` samples of the dispersion, whose sum is `sum`, to the mean.
fn learn_dispersion(mean: &mut f64, sum: f64, samples: f64) {
    if samples > 0.0 {
        let weight = (samples / Congestion::SAMPLES).min(1.0);
        *mean = (*mean + (sum / samples - *mean) * weight).max(1.0);
    }
}

#[cfg(test)]
mod tests;
