//! Hosts that do not get the processor when they want it.

use std::time::Duration;

use crate::time::Time;

/// When every host of a session is short of time, each for itself.
#[derive(Clone, Copy, Debug)]
pub struct Starvation {
    /// Time between two spells of it, in the mean.
    pub every: Duration,
    /// Length of a spell, in the mean.
    pub length: Duration,
    /// In a spell, a host that should wake does so later by a time between these.
    pub late: (Duration, Duration),
    /// Nobody is short of time from this moment on.
    pub until: Duration,
}

/// One host of them.
#[derive(Debug)]
pub(super) struct Starved {
    plan: Starvation,
    rng: fastrand::Rng,
    /// The next spell, or the present one: from, to.
    spell: (Time, Time),
    /// When it has the processor next, or had it last, and until when.
    slice: (Time, Time),
}

impl Starved {
    /// How long a host runs before it has to wait again; a scheduler gives some milliseconds where many want to run.
    const SLICE: Duration = Duration::from_millis(1);

    pub(super) fn new(plan: Starvation, rng: fastrand::Rng) -> Self {
        Self { plan, rng, spell: (Time::ZERO, Time::ZERO), slice: (Time::ZERO, Time::ZERO) }
    }

    /// The host wants to run. `Some`: it cannot before that.
    pub(super) fn keep(&mut self, now: Time) -> Option<Time> {
        if now >= Time::ZERO + self.plan.until {
            return None;
        }
        let mut draw = |mean: Duration| mean.mul_f64(-f64::ln(1.0 - self.rng.f64()));
        while now >= self.spell.1 {
            let from = self.spell.1 + draw(self.plan.every);
            self.spell = (from, from + draw(self.plan.length) + Duration::from_nanos(1));
        }
        if now < self.slice.0 {
            return Some(self.slice.0);
        }
        if now < self.spell.0 || now < self.slice.1 {
            return None;
        }
        let (least, most) = self.plan.late;
        let from = now + least + (most - least).mul_f64(self.rng.f64());
        self.slice = (from, from + Self::SLICE);
        Some(from)
    }
}
