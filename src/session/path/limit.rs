//! What a path was found to carry, and how the rate tries whether that still holds.

use std::time::Duration;

use super::Path;

/// How the rate approaches a path's capacity, and passes it: a cubic, as in RFC 9438.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// Bits per second.
    pub(super) capacity: f64,
    /// Time until the rate is there again.
    pub(super) knee: Duration,
    /// Time for which the rate has been on its way.
    pub(super) grown: Duration,
}

impl Limit {
    /// After a check the rate goes on at this share of the capacity, so that queues stay drained and others find room.
    const LOW: f64 = 0.9;
    /// Below this share nothing is lost by the rate's fault.
    pub(super) const CLEAR: f64 = 0.98;
    /// A rate that is used to this share has been tried.
    pub(super) const USED: f64 = 0.8;
    /// Beyond this share the capacity is a thing of the past.
    pub(super) const LEFT_BEHIND: f64 = 1.25;
    /// Time until the rate is at a capacity of [`Self::TYPICAL`] again. Away from there with the third root, as in
    /// RFC 9438: then sessions that share a path grow by the same number of bits, and become equal.
    const KNEE: Duration = Duration::from_millis(300);
    const TYPICAL: f64 = 100e6;

    pub(super) fn new(capacity: f64, round_trip: Duration, datagram: f64) -> Self {
        // Not faster than anybody can tell what became of it.
        let interval = Duration::from_secs_f64(Path::ENOUGH as f64 * datagram / capacity.max(1.0));
        let knee =
            Self::KNEE.mul_f64((capacity / Self::TYPICAL).cbrt()).max(round_trip * 4).max(interval * 8);
        Self { capacity, knee, grown: Duration::ZERO }
    }

    pub(super) fn rate(&self) -> f64 {
        let way = self.grown.as_secs_f64() / self.knee.as_secs_f64() - 1.0;
        self.capacity * (1.0 + (1.0 - Self::LOW) * way.powi(3))
    }
}
