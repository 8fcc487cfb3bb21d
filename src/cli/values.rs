//! What a flag's value may look like. Every parser's error names the remedy; the flag and the value are named by whoever
//! prints it.

use std::net::IpAddr;

pub use super::amounts::{
    ForEver, duration, duration_or_for_ever, keep_within, max_age, max_size, max_stall, memory, min_free,
    peer_timeout, percent, piece_size, rate, sample, shown, size,
};

use crate::disk::FileMode;

/// A parser of whole numbers from `least` to `most`.
pub fn whole<T: TryFrom<u64> + Send + Sync>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| {
        let range =
            if most >= u32::MAX.into() { format!("at least {least}") } else { format!("{least} to {most}") };
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number of more digits is out of range too.
        let number = text.parse().ok().filter(|number| is_number && (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            if is_number {
                format!("out of range; give {range}")
            } else {
                format!("not a number; give {range}")
            }
        })
    }
}

/// The mode of files as `chmod` takes it: `0640` or `640`.
///
/// # Errors
/// When the text is not an octal number, has other bits than permissions, or takes the file from its owner.
pub fn mode(text: &str) -> Result<FileMode, String> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let Some(bits) = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten() else {
        return Err("not a mode; give octal digits, such as 0640 or 0644".to_owned());
    };
    FileMode::new(bits).ok_or_else(|| match bits {
        0..=0o777 => "takes reading or writing from the owner; give 0600 and more, such as 0640".to_owned(),
        _ => "has bits that are not permissions (setuid, setgid or sticky); give up to 0777, such as 0640"
            .to_owned(),
    })
}

/// A stream's label: 1 to 64 of `A-Z a-z 0-9 . _ -`, and not dots alone, since labels become file names.
///
/// # Errors
/// When it is none.
pub fn label(text: &str) -> Result<String, String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !fits(text, safe) {
        return Err("not a label; use 1 to 64 letters, digits, dots, underscores or hyphens".to_owned());
    }
    if text.bytes().all(|byte| byte == b'.') {
        return Err("not a label; dots alone are not enough, add a letter or a digit".to_owned());
    }
    Ok(text.to_owned())
}

/// A receiver's name: 1 to 64 of `A-Z a-z 0-9 . _ - : @ +`.
///
/// # Errors
/// When it is none.
pub fn name(text: &str) -> Result<String, String> {
    if !fits(text, safe_in_a_name) {
        return Err("not a name; use 1 to 64 letters, digits or . _ - : @ +".to_owned());
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
/// When the text is not an address, or not a group, or a group that no datagram should go to.
pub fn group(text: &str) -> Result<IpAddr, String> {
    let remedy = "use one from 239.0.0.0 to 239.255.255.255, or an IPv6 one such as ff15::4d43";
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(format!("not an IP address; {remedy}"));
    };
    match address {
        _ if !address.is_multicast() => Err(format!("not a multicast group; {remedy}")),
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
        return Err("not an interface; give a name or an address that \"ip address\" shows".to_owned());
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

/// Of a host whose name is empty.
const UNNAMED: &str = "unnamed";
const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn whole_number_out_of_range_is_told_what_to_give() {
        let number = whole::<u16>(1, 4096);
        assert_eq!((number("1"), number("4096")), (Ok(1), Ok(4096)));
        for (text, error) in [
            ("0", "out of range; give 1 to 4096"),
            ("4097", "out of range; give 1 to 4096"),
            ("99999999999999999999999", "out of range; give 1 to 4096"),
            ("three", "not a number; give 1 to 4096"),
            ("", "not a number; give 1 to 4096"),
            ("+1", "not a number; give 1 to 4096"),
        ] {
            assert_eq!(number(text), Err(error.to_owned()), "{text}");
        }
        assert_eq!(whole::<u32>(1, u32::MAX.into())("0"), Err("out of range; give at least 1".to_owned()));
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
            let _ = whole::<u8>(1, 255)(&text);
            let _ = (label(&text), group(&text), interface(&text));
            prop_assert!(name(&to_name(&text)).is_ok());
        }
    }
}
