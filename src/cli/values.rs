//! What a flag's value may look like. Every parser's error names the remedy; the flag and the value are named by whoever
//! prints it.

use std::net::IpAddr;
use std::time::Duration;

use crate::disk::FileMode;
use crate::session::Rate;

/// `500ms`, `5s`, `2m`, `1h`, `7d`; a bare number is seconds.
///
/// # Errors
/// When the text is no duration, or is longer than ten years.
pub fn duration(text: &str) -> Result<Duration, String> {
    with_remedy(text, "write a duration such as 500ms, 5s, 2m, 1h or 7d (a bare number is seconds)")
}

fn with_remedy(text: &str, remedy: &str) -> Result<Duration, String> {
    let nanos = scaled(text, |unit| match unit {
        "ms" => Some(1_000_000),
        "" | "s" => Some(1_000_000_000),
        "m" => Some(60 * 1_000_000_000),
        "h" => Some(3_600 * 1_000_000_000),
        "d" => Some(86_400 * 1_000_000_000),
        _ => None,
    });
    match nanos.map(|nanos| nanos.try_into().map(Duration::from_nanos)) {
        Some(Ok(duration)) if duration <= LONGEST => Ok(duration),
        Some(_) => Err("too long; the longest is ten years (87600h)".to_owned()),
        None => Err(format!("no duration; {remedy}")),
    }
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
    let age = with_remedy(text, remedy)?;
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(format!("has no unit; {remedy}"));
    }
    if age < SHORTEST_KEEP_WITHIN {
        return Err(format!("too short to keep anything; {remedy}"));
    }
    Ok(age)
}

/// `64K`, `16M`, `2G` or `2GiB`, powers of 1024; a bare number is bytes.
///
/// # Errors
/// When the text is no size, or is beyond 2^63 bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let bytes = scaled(text, |unit| match unit {
        "" => Some(1),
        "K" | "k" | "KiB" => Some(1 << 10),
        "M" | "m" | "MiB" => Some(1 << 20),
        "G" | "g" | "GiB" => Some(1 << 30),
        "T" | "t" | "TiB" => Some(1 << 40),
        _ => None,
    });
    match bytes.map(u64::try_from) {
        Some(Ok(bytes)) if bytes <= LARGEST_SIZE => Ok(bytes),
        Some(_) => Err("too large; the largest is 2^63 bytes".to_owned()),
        None => Err("no size; write bytes, or a number with K, M, G or T, such as 64K, 16M or 2G".to_owned()),
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
/// When the text is no number from 1 to 100.
pub fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    number
        .filter(|number| (1..=100).contains(number))
        .ok_or_else(|| "no share; write per cent from 1 to 100, such as 10%".to_owned())
}

/// The share of an archive that is read: a [`percent`], or none.
///
/// # Errors
/// When the text is no number from 0 to 100.
pub fn sample(text: &str) -> Result<u8, String> {
    match text.strip_suffix('%').unwrap_or(text) {
        "0" => Ok(0),
        _ => percent(text).map_err(|_| "not a share; write per cent from 0 to 100, such as 5%".to_owned()),
    }
}

/// The age that the newest entry of an archive may reach: a [`duration`] that is not zero.
///
/// # Errors
/// As for [`duration`], and when zero.
pub fn max_age(text: &str) -> Result<Duration, String> {
    let age = duration(text)?;
    if age.is_zero() {
        return Err(
            "no entry is that young; give the time between two backups and some more, such as 26h".to_owned()
        );
    }
    Ok(age)
}

/// The mode of files as `chmod` takes it: `0640` or `640`.
///
/// # Errors
/// When the text is no octal number, has other bits than permissions, or takes the file from its owner.
pub fn mode(text: &str) -> Result<FileMode, String> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let Some(bits) = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten() else {
        return Err("not a mode; write octal digits, such as 0640 or 0644".to_owned());
    };
    FileMode::new(bits).ok_or_else(|| match bits {
        0..=0o777 => "takes reading or writing from the owner; give 0600 and more, such as 0640".to_owned(),
        _ => "has bits that are not permissions (setuid, setgid or sticky); give up to 0777, such as 0640"
            .to_owned(),
    })
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

/// `900M`, `2.5G` or `900mbit` (as `tc` has it) bits per second, powers of 1000.
///
/// # Errors
/// When the text is no rate, or is below 8 kbit/s or above 1 Tbit/s.
pub fn rate(text: &str) -> Result<u64, String> {
    let bits = scaled(text, |unit| match unit {
        "" => Some(1),
        "K" | "k" | "kbit" => Some(1_000),
        "M" | "m" | "mbit" => Some(1_000_000),
        "G" | "g" | "gbit" => Some(1_000_000_000),
        "T" | "t" | "tbit" => Some(1_000_000_000_000),
        _ => None,
    });
    match bits.map(u64::try_from) {
        Some(Ok(bits)) if (LEAST_RATE..=MOST_RATE).contains(&bits) => Ok(bits),
        Some(_) => Err("out of range; give bits per second from 100K to 1T".to_owned()),
        None => Err("no rate; write bits per second with K, M or G, such as 900M or 2.5G".to_owned()),
    }
}

/// A stream's label: 1 to 64 of `A-Z a-z 0-9 . _ -`, and not dots alone, since labels become file names.
///
/// # Errors
/// When it is none.
pub fn label(text: &str) -> Result<String, String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !fits(text, safe) {
        return Err("no label; use 1 to 64 letters, digits, dots, underscores or hyphens".to_owned());
    }
    if text.bytes().all(|byte| byte == b'.') {
        return Err("no label; dots alone are not enough, add a letter or a digit".to_owned());
    }
    Ok(text.to_owned())
}

/// A receiver's name: 1 to 64 of `A-Z a-z 0-9 . _ - : @ +`.
///
/// # Errors
/// When it is none.
pub fn name(text: &str) -> Result<String, String> {
    if !fits(text, safe_in_a_name) {
        return Err("no name; use 1 to 64 letters, digits or . _ - : @ +".to_owned());
    }
    Ok(text.to_owned())
}

/// This host's name, made a valid [`name`].
pub fn host_name() -> String {
    to_name(&gethostname::gethostname().to_string_lossy())
}

/// The name by which others can tell this host; `None` for `localhost` and its kin, which every host without a name has.
pub fn distinct_host_name() -> Option<String> {
    Some(host_name()).filter(|name| tells_hosts_apart(name))
}

fn tells_hosts_apart(name: &str) -> bool {
    !name.to_ascii_lowercase().starts_with("localhost") && name != UNNAMED
}

/// The first of the sorted names that is there twice.
pub fn first_repeated<T: PartialEq>(sorted: &[T]) -> Option<&T> {
    sorted.windows(2).find_map(|pair| matches!(pair, [one, other] if one == other).then(|| &pair[0]))
}

/// A multicast group of either family.
///
/// # Errors
/// When the text is no address, or no group, or a group that no datagram should go to.
pub fn group(text: &str) -> Result<IpAddr, String> {
    let remedy = "use one from 239.0.0.0 to 239.255.255.255, or an IPv6 one such as ff15::4d43";
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(format!("no IP address; {remedy}"));
    };
    match address {
        _ if !address.is_multicast() => Err(format!("no multicast group; {remedy}")),
        // 224.0.0.x belongs to routing protocols, and switches flood it.
        IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => Err(format!("reserved for routers; {remedy}")),
        IpAddr::V6(v6) if matches!(v6.octets()[1] & 0x0f, 0 | 0x0f) => {
            Err(format!("of a reserved scope; {remedy}"))
        }
        _ => Ok(address),
    }
}

/// The name or an address of an interface, as far as its form goes.
///
/// # Errors
/// When nothing can be called so.
pub fn interface(text: &str) -> Result<String, String> {
    let form = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    if !fits(text, form) {
        return Err("no interface; give a name or an address that \"ip address\" shows".to_owned());
    }
    Ok(text.to_owned())
}

fn fits(text: &str, safe: impl Fn(u8) -> bool) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(safe)
}

fn safe_in_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-:@+".contains(&byte)
}

fn to_name(text: &str) -> String {
    let safe = |byte: u8| if safe_in_a_name(byte) { char::from(byte) } else { '_' };
    let name: String = text.bytes().take(LONGEST_NAME).map(safe).collect();
    if name.is_empty() { UNNAMED.to_owned() } else { name }
}

/// A decimal number with a unit, in whole units of the smallest kind, rounded down. `None` where the form is wrong;
/// saturated where the number is too large, which every caller refuses by its own bound.
fn scaled(text: &str, unit: impl Fn(&str) -> Option<u128>) -> Option<u128> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(digits_end)?;
    let factor = unit(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || number.len() > MOST_DIGITS {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let tenths = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: u128 = fraction.parse().ok()?;
    Some(whole.saturating_mul(factor).saturating_add(fraction.saturating_mul(factor) / tenths))
}

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
/// Of a host whose name is empty.
const UNNAMED: &str = "unnamed";
const LONGEST_NAME: usize = 64;
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
        for wrong in
            ["", "s", "-1s", "1 s", "5sec", "1,5s", ".5s", "5.s", "1.2.3", "∞", "1e3", "+1", "99999999h"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(peer_timeout("100ms").unwrap_err().contains("500ms"));
    }

    #[test]
    fn age_to_keep_needs_its_unit_and_an_hour_at_least() {
        assert_eq!(keep_within("7d"), duration("7d"));
        assert_eq!(keep_within("1h"), Ok(Duration::from_secs(3_600)));
        for wrong in ["7", "0", "604800", "1.5", "0d", "0.01d", "59m", "3599s", "soon", "", "7 d"] {
            let error = keep_within(wrong).unwrap_err();
            assert!(error.contains("7d") && !error.contains("bare"), "{wrong}: {error}");
        }
        assert!(keep_within("99999999h").is_err());
    }

    #[test]
    fn mode_has_permissions_only_and_leaves_the_file_to_its_owner() {
        for (text, bits) in [("0640", 0o640), ("644", 0o644), ("0600", 0o600), ("0777", 0o777)] {
            assert_eq!(mode(text), Ok(FileMode::new(bits).unwrap()), "{text}");
        }
        for (wrong, words) in [
            ("", "octal"),
            ("rw", "octal"),
            ("0o640", "octal"),
            ("0680", "octal"),
            ("64", "octal"),
            ("+640", "octal"),
            ("00640", "octal"),
            ("4755", "setuid"),
            ("1777", "sticky"),
            ("0440", "owner"),
            ("0240", "owner"),
        ] {
            let error = mode(wrong).unwrap_err();
            assert!(error.contains(words) && error.contains("0640"), "{wrong}: {error}");
        }
    }

    #[test]
    fn sample_is_a_share_or_none_and_an_age_is_not_zero() {
        assert_eq!([sample("0"), sample("0%"), sample("5%"), sample("100")], [0, 0, 5, 100].map(Ok));
        for wrong in ["", "%", "101", "-1", "half", "00"] {
            assert!(sample(wrong).unwrap_err().contains("0 to 100"), "{wrong}");
        }
        assert_eq!(max_age("26h"), duration("26h"));
        assert!(max_age("0").unwrap_err().contains("26h") && max_age("soon").is_err());
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
        for wrong in ["10X", "10MB", "G", "-5", "16 M", "0x10", "9999999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        // Slower than the session can go is not what it would do.
        assert!(rate("99K").is_err() && rate("100K").is_ok() && rate("2T").is_err());
        assert!(memory("64K").is_err() && memory("65G").is_err() && memory("16M").is_ok());
    }

    #[test]
    fn labels_and_names_are_safe_to_print_and_to_use_as_file_names() {
        for right in ["default", "prod_2025-11.dump", "a", &"x".repeat(64)] {
            assert_eq!(label(right).as_deref(), Ok(right));
            assert_eq!(name(right).as_deref(), Ok(right));
        }
        for wrong in ["", ".", "..", "../x", "a/b", "a b", "a\n", "a\0", "\u{1b}[2J", "é", &"x".repeat(65)] {
            assert!(label(wrong).is_err(), "{wrong:?}");
        }
        assert!(name("db2:5433").is_ok() && name("a,b").is_err() && name("\u{1b}").is_err());
        assert_eq!(to_name("höst,1"), "h__st_1");
        assert_eq!(to_name(""), "unnamed");
    }

    #[test]
    fn name_that_every_host_without_one_has_tells_none_apart() {
        for name in ["localhost", "localhost.localdomain", "localhost4", "Localhost", &to_name("")] {
            assert!(!tells_hosts_apart(name), "{name}");
        }
        assert!(["db1", "my-localhost", "local"].iter().all(|name| tells_hosts_apart(name)));
    }

    #[test]
    fn a_group_is_a_multicast_address_that_is_free_to_use() {
        for right in ["239.255.77.67", "232.1.2.3", "ff15::4d43", "ff02::1234", "ff12::1"] {
            assert!(group(right).is_ok(), "{right}");
        }
        for wrong in ["192.0.2.1", "224.0.0.1", "240.0.0.1", "fe80::1", "ff00::1", "all", "", "239.1.1.1:80"]
        {
            assert!(group(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,30}|[0-9.]{0,60}[a-zA-Z]{0,3}") {
            let _ = (duration(&text), size(&text), rate(&text), memory(&text));
            let _ = (peer_timeout(&text), max_stall(&text), keep_within(&text));
            let _ = (label(&text), group(&text), interface(&text));
            prop_assert!(name(&to_name(&text)).is_ok());
        }

        #[test]
        fn whole_numbers_mean_number_times_unit(number in 0_u64..8_000_000) {
            prop_assert_eq!(size(&format!("{number}M")), Ok(number << 20));
            prop_assert_eq!(duration(&format!("{number}ms")), Ok(Duration::from_millis(number)));
            prop_assert_eq!(rate(&format!("{}K", number + 100)), Ok((number + 100) * 1000));
            let millis = Duration::from_millis(number);
            prop_assert_eq!(duration(&shown(millis)), Ok(millis));
        }
    }
}
