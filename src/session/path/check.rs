//! The experiment that tells a path's own losses and delays from the rate's.

use std::time::Duration;

use super::limit::Limit;
use super::noise::Noise;
use super::{Interval, Path, Sending};
use crate::time::Time;
use crate::wire::DatagramNumber;

/// A check under way.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Check {
    pub(super) sign: Sign,
    /// What to go back to if it was not the rate.
    pub(super) before: Option<Limit>,
    /// What was sent when the first sign was seen, and what came through of it, bits per second.
    pub(super) rate: f64,
    pub(super) arrived: f64,
    /// What is sent now.
    pub(super) now: f64,
    /// Nothing sent before this number tells about it.
    pub(super) from: DatagramNumber,
    pub(super) since: Time,
    /// Checks before it that only found less loss.
    pub(super) follows: u32,
}

/// Why a path is checked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sign {
    /// Losses beyond the path's own.
    Loss(Interval),
    /// Datagrams that waited.
    Delay(Interval),
    /// Losses that have been taken for the path's own for long enough.
    Doubt(Interval),
}

impl Check {
    /// A path that is slower than this gives its answer with fewer datagrams.
    pub(super) const LONGEST: Duration = Duration::from_millis(500);

    /// With losses as many as this, times the square of the deviations that are chance, those deviations make up less
    /// than four fifths of them.
    const CERTAIN: f64 = 1.6;
    /// That is what a few per cent of a large loss take.
    const FEWEST: u64 = 400;
    /// Each finds a good deal less than the one before, so that more are never needed but by those who lie.
    pub(super) const MOST: u32 = 3;

    /// Datagrams that it takes for the answer not to be chance.
    pub(super) fn sample(&self, sending: &Sending, clumps: f64) -> u64 {
        match self.sign {
            Sign::Loss(seen) | Sign::Doubt(seen) => Self::sample_of(seen.lost(), sending, clumps),
            Sign::Delay(_) => Path::ENOUGH,
        }
    }

    /// Losses that were not the rate's fault show with so many of them: were it at fault, hardly any would be seen.
    pub(in crate::session) fn certain(sending: &Sending, clumps: f64) -> f64 {
        sending.chance.powi(2) * Self::CERTAIN * clumps
    }

    fn sample_of(lost: f64, sending: &Sending, clumps: f64) -> u64 {
        ((Self::certain(sending, clumps) / lost.max(Noise::LEAST)) as u64).max(Self::FEWEST)
    }

    /// Seconds of what the path delivers now that a check of this loss at this share of the rate costs if the rate is not
    /// at fault: while the sample is sent, and until the answer is there.
    pub(super) fn cost(seen: &Interval, share: f64, sending: &Sending, clumps: f64) -> f64 {
        let share = (1.0 - seen.lost()) * share;
        let per_second = seen.sent as f64 / seen.span.as_secs_f64().max(1e-6) * share;
        let sample = Self::sample_of(seen.lost(), sending, clumps) as f64 / per_second.max(1.0);
        let takes = sample.min(Self::LONGEST.as_secs_f64()).max(Path::INTERVAL.as_secs_f64() * 2.0);
        (1.0 - seen.lost()) * (1.0 - share) * (takes + sending.answer.as_secs_f64())
    }
}
