//! The monotonic clock behind [`Time`].

use std::time::Instant;

use crate::time::Time;

/// Tells the time since it was started; copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that shows zero now.
    #[expect(clippy::disallowed_methods, reason = "net is where time comes from")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since the start; never runs backwards.
    #[expect(clippy::disallowed_methods, reason = "net is where time comes from")]
    pub fn now(&self) -> Time {
        let elapsed = Instant::now().saturating_duration_since(self.start);
        Time::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }
}
