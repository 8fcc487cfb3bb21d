//! How much time a transfer still takes, told only while that means something.

use std::time::Duration;

/// Watches how fast a stream of known size advances.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forecast {
    /// Time since the start of the session and bytes, when they were looked at last.
    last: Option<(Duration, u64)>,
    /// Time for which bytes have been coming.
    watched: Duration,
    /// Bytes per second of the last minute or so.
    usual: f64,
    /// Bytes per second of the last ten seconds or so.
    recent: f64,
}

impl Forecast {
    /// Time between two looks.
    const LOOK: Duration = Duration::from_secs(1);
    /// Time constant of the usual rate, in seconds.
    const USUAL: f64 = 60.0;
    /// Time constant of the recent rate, in seconds.
    const RECENT: f64 = 10.0;
    /// Shortest time of observation before an estimate is shown.
    const LEAST: Duration = Duration::from_secs(5);
    /// Factor by which the recent rate may differ from the usual one. A transfer that stands still, or has just gone on
    /// after a long stop, has no rate from which a time could be told.
    const AGREEMENT: f64 = 2.0;
    /// Times beyond this one are guesses.
    const LONGEST: Duration = Duration::from_secs(100 * 3_600);

    /// Takes in that so many bytes are there at a time since the start of the session.
    pub(super) fn note(&mut self, time: Duration, bytes: u64) {
        let Some((then, before)) = self.last.filter(|(then, before)| *then <= time && *before <= bytes)
        else {
            // The first look, or another session.
            *self = Self { last: Some((time, bytes)), ..Self::default() };
            return;
        };
        let span = time - then;
        if span < Self::LOOK {
            return;
        }
        self.last = Some((time, bytes));
        if bytes == 0 {
            return;
        }
        self.watched += span;
        let rate = (bytes - before) as f64 / span.as_secs_f64();
        // An average over all that was watched, until that is longer than the time constant.
        let share = |constant: f64| {
            let of_all = span.as_secs_f64() / self.watched.as_secs_f64();
            of_all.max(1.0 - (-span.as_secs_f64() / constant).exp())
        };
        self.usual += (rate - self.usual) * share(Self::USUAL);
        self.recent += (rate - self.recent) * share(Self::RECENT);
    }

    /// Time until so many bytes are there; `None` while nobody could tell.
    pub(super) fn time_to(&self, expected: u64) -> Option<Duration> {
        let (_, bytes) = self.last?;
        let left = expected.checked_sub(bytes).filter(|left| *left > 0)?;
        let agree =
            self.recent * Self::AGREEMENT >= self.usual && self.recent <= self.usual * Self::AGREEMENT;
        if self.watched < Self::LEAST || !agree || self.usual < 1.0 {
            return None;
        }
        let time = Duration::try_from_secs_f64(left as f64 / self.usual).ok()?;
        (time <= Self::LONGEST).then(|| rounded(time))
    }
}

/// A time as exact as a forecast can be.
fn rounded(time: Duration) -> Duration {
    let step = match time.as_secs() {
        0..20 => 1,
        20..60 => 5,
        60..600 => 10,
        600..7_200 => 60,
        _ => 600,
    };
    // Something is left, even if it takes less than a second.
    Duration::from_secs((time.as_secs().div_ceil(step) * step).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 100 << 20;

    /// Watches a stream that advances at the usual rate, and not at all between two seconds. Gives for each second what
    /// is forecast and what is true.
    fn watched(stop: u64, go_on: u64, end: u64, expected: u64) -> Vec<(u64, Option<u64>, u64)> {
        let mut forecast = Forecast::default();
        let mut bytes = 0;
        let tick = |second: u64| {
            if !(stop..go_on).contains(&second) {
                bytes += RATE;
            }
            forecast.note(Duration::from_secs(second), bytes);
            let told = forecast.time_to(expected).map(|time| time.as_secs());
            (second, told, expected.saturating_sub(bytes) / RATE)
        };
        (0..end).map(tick).collect()
    }

    #[test]
    fn forecast_of_a_steady_transfer_is_right_after_five_seconds() {
        for (second, told, left) in watched(0, 0, 1_999, 2_000 * RATE) {
            match told {
                None => assert!(second < 6, "{second}: nothing"),
                // Rounded up to minutes.
                Some(told) => assert!((left..=left + 60).contains(&told), "{second}: {told} for {left}"),
            }
        }
    }

    #[test]
    fn forecast_is_never_far_off_after_a_stop_and_none_is_told_during_one() {
        for pause in [3, 20, 60, 600, 3_600] {
            for (second, told, left) in watched(300, 300 + pause, 5_000 + pause, 6_000 * RATE) {
                let stands = (312..300 + pause).contains(&second);
                match told {
                    Some(told) => {
                        assert!(told > 0 && !stands, "pause {pause}, {second}: {told} while nothing comes");
                        assert!(
                            told >= left && told <= left * 3 + 60,
                            "pause {pause}, {second}: {told} for {left}"
                        );
                    }
                    None => assert!(
                        second < 6 || (300..300 + pause + 60).contains(&second),
                        "pause {pause}, {second}: nothing"
                    ),
                }
            }
        }
    }

    #[test]
    fn nothing_is_told_of_a_stream_that_is_longer_than_expected_or_restarts() {
        let mut forecast = Forecast::default();
        for second in 0..20 {
            forecast.note(Duration::from_secs(second), second * RATE);
        }
        assert_eq!(forecast.time_to(19 * RATE), None);
        assert_eq!(forecast.time_to(29 * RATE), Some(Duration::from_secs(10)));
        forecast.note(Duration::ZERO, 0);
        assert_eq!(forecast.time_to(29 * RATE), None);
        assert_eq!(forecast.time_to(u64::MAX), None);
    }
}
