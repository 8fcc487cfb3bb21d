//! How often each of so many receivers may report, so that all together stay below [`REPORTS_PER_SECOND`].

use std::time::Duration;

/// Reports that all receivers together send in a second, at most, give or take one of each.
pub const REPORTS_PER_SECOND: u32 = 2_000;

/// Time between two reports of one of `group` receivers in the long run.
///
/// With what it may save ([`savings`]), a receiver sends at most (1 s + savings) ÷ spacing reports in any second, and all
/// together the ceiling. Above 2,000 receivers, that holds as long as not all of them have saved up for the same moment.
pub(super) fn spacing(group: u32) -> Duration {
    // Rounded up.
    (Duration::from_secs(1) + savings(group)) * group / REPORTS_PER_SECOND + Duration::from_nanos(1)
}

/// How much earlier than its spacing allows a receiver may report what is urgent.
///
/// The more receivers there are, the more of the ceiling is kept for those that miss something: half of it from 64 on,
/// up to 1,000; of more than that, each must be heard often enough to be known to live.
pub(super) fn savings(group: u32) -> Duration {
    let (few, many) = (f64::from(group) / 64.0, 1_000.0 / f64::from(group.max(1)));
    Duration::from_secs_f64(few.min(many).min(1.0))
}
