//! Names of entries.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// A name that an entry may have: it is one part of a path, never hidden, and no option of a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryName(String);

impl EntryName {
    /// Letters, digits, dot, underscore and dash, the first no dot and no dash, at most `LONGEST_NAME`. `None` for
    /// any other text.
    pub fn new(text: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let first = text.bytes().next()?;
        (text.len() <= LONGEST_NAME && text.bytes().all(good) && !b".-".contains(&first))
            .then(|| Self(text.to_owned()))
    }

    /// The name of a session's entry, and names for the case that it is taken: another receiver may have filled the same
    /// archive in the same second. Label and the second in which the session started; UTC, so that no name comes twice
    /// when clocks are set back. `None` if the label is none.
    pub fn candidates(label: &str, started: Timestamp) -> Option<impl Iterator<Item = Self> + use<>> {
        // A hidden entry would look like none, one with a leading dash like an option.
        let visible = if label.starts_with(['.', '-']) { "_" } else { "" };
        let start = strtime::format(TIME, &started.to_zoned(TimeZone::UTC)).ok()?;
        let first = Self::new(&format!("{visible}{label}-{start}"))?;
        let others = first.clone();
        Some(
            std::iter::once(first)
                .chain((2..=MOST_CANDIDATES).map(move |number| Self(format!("{others}-{number}")))),
        )
    }

    /// Whether an entry of this label and start was given this name.
    pub fn is_given_to(&self, label: &str, started: Timestamp) -> bool {
        Self::candidates(label, started).is_some_and(|mut names| names.any(|name| name == *self))
    }

    /// The label, perhaps with an underscore before it, and the start in a name that mcast gives; `None` if the name is
    /// another one.
    pub fn given(&self) -> Option<(&str, Timestamp)> {
        let numbered = self.0.rsplit_once('-').filter(|(_, number)| {
            number.parse::<u32>().is_ok_and(|number| (2..=MOST_CANDIDATES).contains(&number))
        });
        let name = numbered.map_or(self.0.as_str(), |(name, _)| name);
        let (label, start) = name.rsplit_once('-').filter(|(label, _)| !label.is_empty())?;
        let start = strtime::parse(TIME, start).and_then(|start| start.to_datetime()).ok()?;
        Some((label, start.to_zoned(TimeZone::UTC).ok()?.timestamp()))
    }

    /// Whether the name tells that the entry has another label.
    pub fn tells_another_label(&self, label: &str) -> bool {
        self.given().is_some_and(|(given, _)| given != label && given.strip_prefix('_') != Some(label))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The start of a session in a name.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// A label has 64 bytes at most, the rest has 22; people may rename an entry to something longer.
const LONGEST_NAME: usize = 128;
/// Receivers that fill one archive from one session, one label in one second: more than a host would run.
const MOST_CANDIDATES: u32 = 99;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_archive_hides_or_looks_like_an_option() {
        for text in
            ["", ".", "..", ".x", "-rf", "a/b", "../a", "a\0b", "a\u{1b}[2J", "é", " ", &"x".repeat(129)]
        {
            assert_eq!(EntryName::new(text), None, "{text:?}");
        }
        assert!(EntryName::new("shop-20260301T010304Z").is_some());
    }

    #[test]
    fn every_label_gives_names_and_they_tell_whose_they_are() {
        let started: Timestamp = "2026-03-01T01:03:04.9Z".parse().unwrap();
        let longest = "x".repeat(64);
        for label in ["shop", ".hidden", "-rf", "_", &longest] {
            let names: Vec<_> = EntryName::candidates(label, started).unwrap().collect();
            assert_eq!(names.len(), 99);
            for name in names {
                assert_eq!(EntryName::new(name.as_str()), Some(name.clone()));
                assert!(name.is_given_to(label, started), "{name}");
                assert!(!name.is_given_to("other", started), "{name}");
                let (given, start) = name.given().unwrap();
                assert!(start.duration_until(started).as_secs() == 0 && given.ends_with(label), "{name}");
                assert!(!name.tells_another_label(label) && name.tells_another_label("other"), "{name}");
            }
        }
        let names: Vec<_> =
            EntryName::candidates("shop", started).unwrap().take(2).map(|name| name.to_string()).collect();
        assert_eq!(names, ["shop-20260301T010304Z", "shop-20260301T010304Z-2"]);
        let renamed = EntryName::new("before-the-migration").unwrap();
        assert!(!renamed.is_given_to("shop", started) && !renamed.tells_another_label("other"));
        for other in [
            "before-the-migration",
            "20260301T010304Z",
            "shop-20260301T010304Z-1",
            "shop-20260301T010304Z-100",
            "shop-20260301T010304Z.remains",
            "shop-20261301T010304Z",
        ] {
            assert_eq!(EntryName::new(other).unwrap().given(), None, "{other}");
        }
    }
}
