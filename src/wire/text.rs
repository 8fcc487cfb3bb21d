//! Text from the network: short, printable, never trusted further than that.

use std::fmt;

use super::cursor::{Malformed, Reader, Writer};

/// Bytes in a label or a name, at most.
pub const MAX_LABEL_LEN: usize = 64;

/// Bytes in a reason, at most.
pub const MAX_TEXT_LEN: usize = 200;

/// Up to 64 bytes of ASCII, owned and copied like a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Short {
    bytes: [u8; MAX_LABEL_LEN],
    length: u8,
}

impl Short {
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; MAX_LABEL_LEN];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: u8::try_from(text.len()).ok()? })
    }

    fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.length))
            .and_then(|b| std::str::from_utf8(b).ok())
            .unwrap_or_default()
    }
}

macro_rules! short_texts {
    ($($(#[doc = $doc:literal])+ $name:ident, $byte_fits:expr;)+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Short);

        impl $name {
            /// `None` if `text` does not fit.
            pub fn new(text: &str) -> Option<Self> {
                let fits: fn(u8) -> bool = $byte_fits;
                let short = Short::new(text)?;
                (!text.is_empty() && text.bytes().all(fits)).then_some(Self(short))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            pub(super) fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Malformed> {
                Self::new(short_string(reader, field)?).ok_or(Malformed::Value(field))
            }

            pub(super) fn write(&self, writer: &mut Writer<'_>) {
                write_short_string(writer, self.as_str());
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        })+
    };
}

short_texts! {
    /// The name of a stream, `[A-Za-z0-9._-]{1,64}`.
    Label, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    /// Name of a sender or a receiver: 1 to 64 bytes of printable ASCII without space, quotes or backslash.
    Name, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'`');
}

impl Name {
    /// A name that may be left out: its length is then 0, or there is nothing left to read.
    pub(super) fn read_optional(
        reader: &mut Reader<'_>,
        field: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        if reader.is_empty() {
            return Ok(None);
        }
        match short_string(reader, field)? {
            "" => Ok(None),
            text => Self::new(text).map(Some).ok_or(Malformed::Value(field)),
        }
    }
}

impl From<Label> for Name {
    /// Every label can be a name.
    fn from(label: Label) -> Self {
        Self(label.0)
    }
}

/// A reason in words: at most 200 bytes of UTF-8 without control characters, possibly empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// The longest beginning of `text` that is allowed: it is cut at 200 bytes and at the first control character.
    pub fn truncated(text: &'a str) -> Self {
        let end = text
            .char_indices()
            .take_while(|(at, c)| !c.is_control() && at.saturating_add(c.len_utf8()) <= MAX_TEXT_LEN)
            .last()
            .map_or(0, |(at, c)| at.saturating_add(c.len_utf8()));
        Self(text.get(..end).unwrap_or_default())
    }

    /// The reason as text.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    pub(super) fn read(reader: &mut Reader<'a>, field: &'static str) -> Result<Self, Malformed> {
        let text = short_string(reader, field)?;
        if text.len() > MAX_TEXT_LEN || text.chars().any(char::is_control) {
            return Err(Malformed::Value(field));
        }
        Ok(Self(text))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        write_short_string(writer, self.0);
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One byte of length, then UTF-8.
fn short_string<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a str, Malformed> {
    let length = reader.u8(field)?;
    let bytes = reader.bytes(usize::from(length), field)?;
    std::str::from_utf8(bytes).map_err(|_| Malformed::Value(field))
}

fn write_short_string(writer: &mut Writer<'_>, text: &str) {
    // Every constructor bounds the length to 200 or less.
    writer.u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    writer.bytes(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_letters_digits_dot_underscore_dash() {
        assert!(Label::new("nightly-2026.11_a").is_some());
        for bad in ["", "a/b", "a b", "ä", "../x", "a\0", &"x".repeat(65)] {
            assert!(Label::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_reason_is_cut_at_control_characters_and_at_200_bytes() {
        assert_eq!(Text::truncated("no space\nleft").as_str(), "no space");
        assert_eq!(Text::truncated(&"ä".repeat(150)).as_str().len(), 200);
        assert_eq!(Text::truncated("").as_str(), "");
    }
}
