//! Times, sizes and rates as people type them. Every parser's error names examples.

use std::time::Duration;

use super::config::Room;
use crate::session::Rate;

/// `500ms`, `90s`, `5min`, `1h30m`, `2 days`: numbers with units, the largest unit first; a bare number is seconds. The
/// units are those of systemd.time(7) without months and years, which have no fixed length. A blank may stand before a
/// unit and between two parts.
///
/// # Errors
/// When the text is not a duration, or is longer than ten years.
pub fn duration(text: &str) -> Result<Duration, String> {
    with_remedy(text, "give one such as 500ms, 90s, 5min, 1h30m or 2d (a bare number is seconds)")
}

fn with_remedy(text: &str, remedy: &str) -> Result<Duration, String> {
    match nanos(text).map(|nanos| nanos.try_into().map(Duration::from_nanos)) {
        Some(Ok(duration)) if duration <= LONGEST => Ok(duration),
        Some(_) => Err("too long; the longest is ten years (3650d)".to_owned()),
        None => Err(format!("not a duration; {remedy}")),
    }
}

/// A duration that is no bare number.
fn with_unit(text: &str, remedy: &str) -> Result<Duration, String> {
    let duration = with_remedy(text, remedy)?;
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(format!("has no unit; {remedy}"));
    }
    Ok(duration)
}

/// The sum of all parts, each in a smaller unit than the one before it.
fn nanos(text: &str) -> Option<u128> {
    if let Some(seconds) = scaled(text, |unit| unit.is_empty().then_some(NANOS_PER_SECOND)) {
        return Some(seconds);
    }
    let (mut sum, mut rest, mut before) = (0_u128, text, u128::MAX);
    loop {
        let digits_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_start = digits_end + usize::from(rest[digits_end..].starts_with(' '));
        let unit_end = rest[unit_start..].find(|c: char| !c.is_ascii_alphabetic());
        let unit_end = unit_end.map_or(rest.len(), |length| unit_start + length);
        let (part, others) = rest.split_at_checked(unit_end)?;
        let factor = nanos_per(&part[unit_start..]).filter(|factor| *factor < before)?;
        sum = sum.saturating_add(scaled(part, |_| Some(factor))?);
        if others.is_empty() {
            return Some(sum);
        }
        // Only the last part may have a fraction: "1.5h30m" can be read in two ways.
        if part.contains('.') {
            return None;
        }
        (rest, before) = (others.strip_prefix(' ').unwrap_or(others), factor);
    }
}

fn nanos_per(unit: &str) -> Option<u128> {
    Some(match unit {
        "ms" | "msec" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => NANOS_PER_SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * NANOS_PER_SECOND,
        "h" | "hr" | "hour" | "hours" => 3_600 * NANOS_PER_SECOND,
        "d" | "day" | "days" => 86_400 * NANOS_PER_SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * NANOS_PER_SECOND,
        _ => return None,
    })
}

/// A duration as people write it: in the largest unit that divides it: `2m`, `90s`.
pub fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// Like [`duration`], but zero means for ever.
///
/// # Errors
/// As for [`duration`].
pub fn duration_or_for_ever(text: &str) -> Result<ForEver, String> {
    let duration = duration(text)?;
    Ok(ForEver((!duration.is_zero()).then_some(duration)))
}

/// A duration, or none for "for ever".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForEver(pub Option<Duration>);

/// A timeout on a peer: a [`duration`] that leaves time for a few datagrams to be lost.
///
/// # Errors
/// As for [`duration`], and when shorter than half a second.
pub fn peer_timeout(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < SHORTEST_PEER_TIMEOUT {
        return Err("too short to tell a dead peer from a lost datagram; give at least 500ms".to_owned());
    }
    Ok(duration)
}

/// A limit on a sink that takes nothing: a [`duration`] longer than the pauses between the reports that tell of it.
///
/// # Errors
/// As for [`duration`], and when shorter than a second.
pub fn max_stall(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < SHORTEST_MAX_STALL {
        return Err("too short to tell a sink that takes nothing from a busy one; give at least 1s, or leave it out to wait for every sink".to_owned());
    }
    Ok(duration)
}

/// An age that entries of an archive reach before they may go: a duration with its unit. A slip there removes backups, so a
/// bare number is refused, and a moment too.
///
/// # Errors
/// As for [`duration`], and without a unit or when shorter than an hour.
pub fn keep_within(text: &str) -> Result<Duration, String> {
    let remedy = "write an age of at least an hour with its unit, such as 36h or 7d";
    let age = with_unit(text, remedy)?;
    if age < SHORTEST_KEEP_WITHIN {
        return Err(format!("too short to keep anything; {remedy}"));
    }
    Ok(age)
}

/// `64K`, `16M`, `2G` or `2GiB` in powers of 1024, `16MB` in powers of 1000, as GNU dd has them; a bare number is bytes.
/// A blank may stand before the unit, so that sizes can be typed as they are shown.
///
/// # Errors
/// When the text is not a size, or is beyond 2^63 bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let bytes = scaled(text, |unit| {
        let (letter, rest) = unit.split_at_checked(1).unwrap_or((unit, ""));
        let power = match (letter, unit) {
            (_, "" | "B" | "bytes") => return Some(1),
            ("K" | "k", _) => 1,
            ("M" | "m", _) => 2,
            ("G" | "g", _) => 3,
            ("T" | "t", _) => 4,
            _ => return None,
        };
        match rest {
            "" | "iB" => Some(1024_u128.pow(power)),
            // "mb" is often meant as bits.
            "B" if unit == "kB" || letter.chars().all(char::is_uppercase) => Some(1000_u128.pow(power)),
            _ => None,
        }
    });
    match bytes.map(u64::try_from) {
        Some(Ok(bytes)) if bytes <= LARGEST_SIZE => Ok(bytes),
        Some(_) => Err("too large; the largest is 2^63 bytes".to_owned()),
        None => Err(
            "not a size; give bytes, or a number with K, M, G or T, such as 64K, 16M, 2GiB (powers of 1024) \
                     or 16MB (powers of 1000)"
                .to_owned(),
        ),
    }
}

/// The length of the longest stream to accept: a [`size`] of at least one byte.
///
/// # Errors
/// As for [`size`], and when zero, which would fail every stream.
pub fn max_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("fails every stream; give at least 1, or leave it out to accept any".to_owned()),
        bytes => Ok(bytes),
    }
}

/// The room to leave in a file system: a [`size`], or a share such as `10%`.
///
/// # Errors
/// When the text is neither, or a share that is not from 1% to 99%.
pub fn min_free(text: &str) -> Result<Room, String> {
    match text.strip_suffix('%') {
        Some(number) => {
            let share = number.parse().ok().filter(|share| (1..=99).contains(share));
            share.map(Room::Share).ok_or_else(|| "not a share; give from 1% to 99%".to_owned())
        }
        None => size(text).map(Room::Bytes).map_err(|error| error.replace("give bytes", "give 10%, bytes")),
    }
}

/// The size of the pieces of an archived stream: a [`size`] of at least 1 MiB.
///
/// # Errors
/// As for [`size`], and when smaller.
pub fn piece_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes < SMALLEST_PIECE {
        return Err("too small; give at least 1M".to_owned());
    }
    Ok(bytes)
}

/// `10%` or `10`.
///
/// # Errors
/// When the text is not a number from 1 to 100.
pub fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    number
        .filter(|number| (1..=100).contains(number))
        .ok_or_else(|| "not a share; give from 1% to 100%, such as 10%".to_owned())
}

/// The share of an archive that is read: a [`percent`], or none.
///
/// # Errors
/// When the text is not a number from 0 to 100.
pub fn sample(text: &str) -> Result<u8, String> {
    match text.strip_suffix('%').unwrap_or(text) {
        "0" => Ok(0),
        _ => percent(text).map_err(|_| "not a share; give per cent from 0 to 100, such as 5%".to_owned()),
    }
}

/// The age that the newest entry of an archive may reach: a [`duration`] with its unit, since 26 would mean 26 seconds.
///
/// # Errors
/// As for [`duration`], and without a unit or when zero.
pub fn max_age(text: &str) -> Result<Duration, String> {
    let remedy = "give the time between two backups and some more, with its unit, such as 26h";
    match with_unit(text, remedy)? {
        Duration::ZERO => Err(format!("no entry is that young; {remedy}")),
        age => Ok(age),
    }
}

/// Memory for a window: a [`size`] within what a session can use.
///
/// # Errors
/// As for [`size`], and below 1 MiB or above 64 GiB.
pub fn memory(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if !(LEAST_MEMORY..=MOST_MEMORY).contains(&bytes) {
        return Err("out of range; give from 1M to 64G".to_owned());
    }
    Ok(bytes)
}

/// `900M`, `2.5G`, `900mbit` (as `tc` has it) or `1Gbit/s`: bits per second, powers of 1000. A blank may stand before the
/// unit. `Mbps` is refused: `tc` means bytes by it, others bits.
///
/// # Errors
/// When the text is not a rate, or is below 8 kbit/s or above 1 Tbit/s.
pub fn rate(text: &str) -> Result<u64, String> {
    let bits = scaled(text, |unit| {
        let unit = unit.to_ascii_lowercase();
        let unit = unit.strip_suffix("bit/s").or(unit.strip_suffix("bit")).unwrap_or(&unit);
        match unit {
            "" => Some(1),
            "k" => Some(1_000),
            "m" => Some(1_000_000),
            "g" => Some(1_000_000_000),
            "t" => Some(1_000_000_000_000),
            _ => None,
        }
    });
    match bits.map(u64::try_from) {
        Some(Ok(bits)) if (LEAST_RATE..=MOST_RATE).contains(&bits) => Ok(bits),
        Some(_) => Err("out of range; give bits per second from 100K to 1T".to_owned()),
        None => {
            Err("not a rate; give bits per second with K, M or G, such as 500M, 900Mbit/s or 2.5G".to_owned())
        }
    }
}

/// A decimal number with a unit, perhaps after a blank, in whole units of the smallest kind, rounded down. `None` where the form is wrong;
/// saturated where the number is too large, which every caller refuses by its own bound.
fn scaled(text: &str, unit: impl Fn(&str) -> Option<u128>) -> Option<u128> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(digits_end)?;
    let factor = unit(suffix.strip_prefix(' ').filter(|unit| !unit.is_empty()).unwrap_or(suffix))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || number.len() > MOST_DIGITS {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let tenths = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: u128 = fraction.parse().ok()?;
    Some(whole.saturating_mul(factor).saturating_add(fraction.saturating_mul(factor) / tenths))
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
const SHORTEST_PEER_TIMEOUT: Duration = Duration::from_millis(500);
/// A receiver that has nothing new to tell reports once a second.
const SHORTEST_MAX_STALL: Duration = Duration::from_secs(1);
/// Shorter than the pause between two backups, an age keeps none but the newest.
const SHORTEST_KEEP_WITHIN: Duration = Duration::from_secs(3_600);
const LARGEST_SIZE: u64 = 1 << 63;
/// Each piece is a file, which costs a sync and a line of the manifest.
const SMALLEST_PIECE: u64 = 1 << 20;
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 64 << 30;
const LEAST_RATE: u64 = Rate::MIN.bits_per_second();
const MOST_RATE: u64 = 1_000_000_000_000;
/// Enough for the largest bound in the smallest unit; keeps every product far from overflow.
const MOST_DIGITS: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_what_the_design_says() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("7d"), duration("168h"));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration_or_for_ever("0"), Ok(ForEver(None)));
        for wrong in [
            "",
            "s",
            "-1s",
            "1  s",
            " 1s",
            "1s ",
            "1,5s",
            ".5s",
            "5.s",
            "1.2.3",
            "∞",
            "1e3",
            "+1",
            "99999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for (text, seconds) in [
            ("5min", 300),
            ("1h30m", 5_400),
            ("1h 30min", 5_400),
            ("1 h 5 min", 3_900),
            ("1d", 86_400),
            ("2w", 1_209_600),
            ("5sec", 5),
            ("2hours", 7_200),
            ("1 day 2 hours", 93_600),
            ("3m20.5s", 200),
        ] {
            assert_eq!(duration(text).map(|duration| duration.as_secs()), Ok(seconds), "{text}");
        }
        // A month or a minute, half of what, which unit, which order.
        for unclear in
            ["5M", "1month", "1y", "1.5h30m", "1h30", "1 30m", "30m1h", "1m1m", "1h30m5", "5us", "1h,5m"]
        {
            let error = duration(unclear).unwrap_err();
            assert!(error.contains("not a duration") && error.contains("1h30m"), "{unclear}: {error}");
        }
        assert!(peer_timeout("100ms").unwrap_err().contains("500ms"));
    }

    #[test]
    fn age_to_keep_needs_its_unit_and_an_hour_at_least() {
        assert_eq!(keep_within("7d"), duration("7d"));
        assert_eq!(keep_within("1h"), Ok(Duration::from_secs(3_600)));
        for wrong in ["7", "0", "604800", "1.5", "0d", "0.01d", "59m", "3599s", "soon", "", "7  d"] {
            let error = keep_within(wrong).unwrap_err();
            assert!(error.contains("7d") && !error.contains("bare"), "{wrong}: {error}");
        }
        assert!(keep_within("99999999h").is_err());
    }

    #[test]
    fn sample_is_a_share_or_none_and_an_age_is_not_zero() {
        assert_eq!([sample("0"), sample("0%"), sample("5%"), sample("100")], [0, 0, 5, 100].map(Ok));
        for wrong in ["", "%", "101", "-1", "half", "00"] {
            assert!(sample(wrong).unwrap_err().contains("0 to 100"), "{wrong}");
        }
        assert_eq!(max_age("26h"), duration("26h"));
        assert!(max_age("0").unwrap_err().contains("26h") && max_age("soon").is_err());
        assert!(max_age("26").unwrap_err().contains("no unit"));
    }

    #[test]
    fn sizes_are_powers_of_1024_and_rates_of_1000() {
        assert_eq!(size("64K"), Ok(65_536));
        assert_eq!(size("16M"), Ok(16_777_216));
        assert_eq!(size("2G"), Ok(2_147_483_648));
        assert_eq!(size("7"), Ok(7));
        assert_eq!(size("1.5k"), Ok(1536));
        assert_eq!(size("16MiB"), size("16M"));
        assert_eq!(rate("900M"), Ok(900_000_000));
        assert_eq!(rate("2.5G"), Ok(2_500_000_000));
        assert_eq!(rate("900mbit"), rate("900M"));
        for (text, bytes) in [
            ("8MiB", 8 << 20),
            ("8MB", 8_000_000),
            ("8 MB", 8_000_000),
            ("8kB", 8_000),
            ("1.5GB", 1_500_000_000),
            ("848 bytes", 848),
            ("8B", 8),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["500M", "500Mbit", "500mbit/s", "500 Mbit/s", "0.5Gbit", "500000000", "500000000bit/s"] {
            assert_eq!(rate(text), Ok(500_000_000), "{text}");
        }
        for wrong in ["10X", "G", "-5", "16  M", "16 ", "0x10", "9999999999T", "8mb", "8Mbps", "8%"] {
            assert!(size(wrong).is_err(), "{wrong}");
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert!(rate("8MB").is_err() && rate("8MiB").is_err() && size("8Mbit").is_err());
        assert_eq!((min_free("10%"), min_free("50G")), (Ok(Room::Share(10)), Ok(Room::Bytes(50 << 30))));
        for wrong in ["0%", "100%", "%", "-1%", "1.5%", "ten"] {
            assert!(min_free(wrong).unwrap_err().contains('%'), "{wrong}");
        }
        assert!(max_size("0").unwrap_err().contains("at least 1"));
        // Slower than the session can go is not what it would do.
        assert!(rate("99K").is_err() && rate("100K").is_ok() && rate("2T").is_err());
        assert!(memory("64K").is_err() && memory("65G").is_err() && memory("16M").is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_of_amounts_panic(text in "\\PC{0,30}|[0-9.]{0,60}[a-zA-Z /%]{0,3}") {
            let _ = (duration(&text), size(&text), rate(&text), memory(&text));
            let _ = (peer_timeout(&text), max_stall(&text), keep_within(&text));
            let _ = (max_size(&text), min_free(&text), percent(&text));
        }

        #[test]
        fn whole_numbers_mean_number_times_unit(number in 0_u64..8_000_000) {
            prop_assert_eq!(size(&format!("{number}M")), Ok(number << 20));
            prop_assert_eq!(duration(&format!("{number}ms")), Ok(Duration::from_millis(number)));
            prop_assert_eq!(rate(&format!("{}K", number + 100)), Ok((number + 100) * 1000));
            let millis = Duration::from_millis(number);
            prop_assert_eq!(duration(&shown(millis)), Ok(millis));
            prop_assert_eq!(size(&format!("{number} MB")), Ok(number * 1_000_000));
        }

        #[test]
        fn duration_of_several_parts_is_their_sum(
            parts in proptest::sample::subsequence(
                vec![("w", 604_800_u64), ("day", 86_400), ("hr", 3_600), ("min", 60), ("s", 1)], 2..=5),
            number in 0_u64..50,
            blank in "|[ ]",
            gap in "|[ ]",
        ) {
            let text: Vec<_> = parts.iter().map(|(unit, _)| format!("{number}{blank}{unit}")).collect();
            let seconds = parts.iter().map(|(_, seconds)| number * seconds).sum();
            prop_assert_eq!(duration(&text.join(&gap)), Ok(Duration::from_secs(seconds)));
            let backwards: Vec<_> = text.into_iter().rev().collect();
            prop_assert!(duration(&backwards.join(&gap)).is_err());
        }

        #[test]
        fn size_can_be_typed_as_it_is_shown(bytes in 0_u64..1 << 50) {
            let typed = size(&crate::cli::quantities::size(bytes)).unwrap();
            prop_assert!(typed.abs_diff(bytes) <= bytes / 100, "{} {}", typed, bytes);
        }
    }
}
