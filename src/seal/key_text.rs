//! The content of a key file: one line that can be copied by hand, and tells when that went wrong.
//!
//! ```text
//! mcast-key-1:64 hexadecimal digits of key:8 of CRC-32
//! ```

use zeroize::Zeroizing;

/// Bytes in a key.
pub const KEY_LEN: usize = 32;

/// Bytes that nobody else may see. Zeroed when dropped, shown by nothing.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; KEY_LEN]>);

/// Why a text is no key. Says nothing of what the text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Nothing is there.
    #[error("it is empty; copy it again, or make a key with mcast keygen")]
    Empty,
    /// Lines end as in Windows.
    #[error(
        "its line ends with a carriage return (CRLF), as after editing on Windows; copy it again byte for byte"
    )]
    CarriageReturn,
    /// It does not begin as key files do.
    #[error("it is no key file; mcast keygen makes one")]
    Foreign,
    /// A later version of mcast has made it.
    #[error("it is of a version that this mcast does not know; use the same mcast on all hosts")]
    Version,
    /// Something is missing at its end.
    #[error("it is cut off; copy it again")]
    Cut,
    /// Something follows.
    #[error("something follows the key; it must hold one line only")]
    Trailing,
    /// A digit is none.
    #[error("character {0} is not one of 0-9 and a-f; copy it again")]
    Digit(usize),
    /// Key and checksum do not belong together.
    #[error("its checksum does not fit: a digit is wrong; copy it again")]
    Checksum,
}

impl Secret {
    /// These bytes, which must come from the system's generator.
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the content of a key file.
    ///
    /// # Errors
    /// [`BadKey`] says what is wrong and what to do, and quotes nothing.
    pub fn parse(text: &[u8]) -> Result<Self, BadKey> {
        if text.trim_ascii().is_empty() {
            return Err(BadKey::Empty);
        }
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return Err(match text {
                _ if text.starts_with(FAMILY) => BadKey::Version,
                _ if PREFIX.starts_with(text) => BadKey::Cut,
                _ => BadKey::Foreign,
            });
        };
        if rest.contains(&b'\r') {
            return Err(BadKey::CarriageReturn);
        }
        let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
        // Whether a digit is wrong or missing: the first thing that is not as it should be decides.
        for (at, byte) in rest.iter().enumerate().take(BODY_LEN) {
            let is_right = if at == KEY_LEN * 2 { *byte == b':' } else { digit(*byte).is_some() };
            if !is_right {
                return Err(BadKey::Digit(PREFIX.len() + at + 1));
            }
        }
        match rest.len() {
            length if length < BODY_LEN => return Err(BadKey::Cut),
            length if length > BODY_LEN => return Err(BadKey::Trailing),
            _ => {}
        }
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let mut checksum = [0; CHECKSUM_LEN];
        let (key_digits, checksum_digits) = rest.split_at(KEY_LEN * 2);
        read_digits(key_digits, &mut *key);
        read_digits(checksum_digits.get(1..).unwrap_or_default(), &mut checksum);
        if checksum_of(&key) != checksum {
            return Err(BadKey::Checksum);
        }
        Ok(Self(key))
    }

    /// The content of its key file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + BODY_LEN + 1));
        text.push_str("mcast-key-1:");
        self.0.iter().for_each(|byte| push_hex(&mut text, *byte));
        text.push(':');
        checksum_of(&self.0).iter().for_each(|byte| push_hex(&mut text, *byte));
        text.push('\n');
        text
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &*self.0
    }
}

/// Shows nothing.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

const FAMILY: &[u8] = b"mcast-key-";
const PREFIX: &[u8] = b"mcast-key-1:";
const CHECKSUM_LEN: usize = 4;
/// Digits of the key, a colon, digits of the checksum.
const BODY_LEN: usize = KEY_LEN * 2 + 1 + CHECKSUM_LEN * 2;

fn checksum_of(key: &[u8; KEY_LEN]) -> [u8; CHECKSUM_LEN] {
    crc32fast::hash(key).to_be_bytes()
}

fn push_hex(text: &mut String, byte: u8) {
    for nibble in [byte >> 4, byte & 0x0f] {
        text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn read_digits(digits: &[u8], bytes: &mut [u8]) {
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = digit(*high).unwrap_or_default() << 4 | digit(*low).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> String {
        Secret::new(std::array::from_fn(|at| at as u8)).to_text().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_told_without_quoting_it() {
        let good = text();
        assert_eq!(
            good,
            "mcast-key-1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f:91267e8a\n"
        );
        assert!(Secret::parse(good.as_bytes()).is_ok());
        assert!(Secret::parse(good.trim_end().as_bytes()).is_ok(), "an editor may drop the line's end");
        for (text, expected) in [
            (String::new(), BadKey::Empty),
            ("\n \n".to_owned(), BadKey::Empty),
            (good.replace('\n', "\r\n"), BadKey::CarriageReturn),
            ("hunter2\n".to_owned(), BadKey::Foreign),
            (format!("\u{feff}{good}"), BadKey::Foreign),
            (format!(" {good}"), BadKey::Foreign),
            (good.replace("key-1", "key-2"), BadKey::Version),
            (good[..5].to_owned(), BadKey::Cut),
            (good[..40].to_owned(), BadKey::Cut),
            (good[..good.len() - 2].to_owned(), BadKey::Cut),
            (format!("{good}{good}"), BadKey::Trailing),
            (format!("{good}\n"), BadKey::Trailing),
            (good.replace("0102", "010O"), BadKey::Digit(18)),
            (good.to_uppercase().replace("MCAST-KEY", "mcast-key"), BadKey::Digit(34)),
            (good.replace("0102", "0201"), BadKey::Checksum),
        ] {
            let error = Secret::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, expected, "{text:?}");
            assert!(!error.to_string().contains("0102"), "{error}");
        }
        assert_eq!(format!("{:?}", Secret::parse(good.as_bytes())), "Ok(Secret)");
    }

    proptest! {
        #[test]
        fn any_key_is_read_as_it_was_written_and_no_slip_of_two_digits_goes_unseen(
            key: [u8; KEY_LEN], first in 12..76_usize, second in 12..76_usize, digits in "[0-9a-f]{2}"
        ) {
            let text = Secret::new(key).to_text();
            let read = Secret::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(read.bytes(), &key[..]);
            let mut slipped = text.as_bytes().to_vec();
            (slipped[first], slipped[second]) = (digits.as_bytes()[0], digits.as_bytes()[1]);
            prop_assert_eq!(Secret::parse(&slipped).is_ok(), slipped == text.as_bytes());
        }

        #[test]
        fn no_bytes_make_the_reader_of_key_files_panic(bytes: Vec<u8>) {
            prop_assert!(Secret::parse(&bytes).is_err());
            let _ = Secret::parse(&[PREFIX, &bytes].concat());
        }
    }
}
