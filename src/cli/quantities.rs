//! How quantities and moments are written for people, everywhere the same: in the units in which they are typed.

use std::time::Duration;

use indicatif::BinaryBytes;
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

pub(super) use crate::time::span;

/// Bytes in units of 1,024, as `--min-free 500G` means them: `828 KiB`, `3 MiB`, `1.15 GiB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    // Two digits after the point, which say nothing where they are zero.
    BinaryBytes(bytes).to_string().replacen(".00 ", " ", 1)
}

/// Bytes of the stream per second: `107.1 MiB/s`.
pub(super) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second))
}

/// An age in the largest unit of which there are two: `119 s`, `5 h`, `47 h`, `2 d`.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A moment in this host's time zone, with the zone: `2026-03-01 02:03 CET`.
pub(super) fn moment(moment: Timestamp) -> String {
    let local = moment.to_zoned(TimeZone::system());
    strtime::format("%Y-%m-%d %H:%M %Z", &local).unwrap_or_else(|_| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_the_units_in_which_they_are_typed() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (848, "848 bytes"),
            (848 << 10, "848 KiB"),
            (3 << 20, "3 MiB"),
            (1_234_567_890, "1.15 GiB"),
            (500 << 30, "500 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(rate(10 << 20), "10 MiB/s");
    }

    #[test]
    fn spans_of_time_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0 ms"),
            (3, "3 ms"),
            (1_000, "1 s"),
            (789, "0.7 s"),
            (42_900, "42 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
            (3_900_000, "1 h 5 min"),
            (183_600_000, "2 d 3 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn ages_are_in_units_that_people_count_in() {
        let shown = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(
            [0, 119, 120, 7_199, 7_200, 172_799, 172_800, 40_000_000].map(shown),
            ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "462 d"]
        );
    }
}
