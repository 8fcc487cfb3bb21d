//! Names of files with places for what is known only when a session starts: `{label}`, `{name}`, `{start:%Y-%m-%d}`.

use std::path::{Path, PathBuf};

use jiff::Zoned;
use jiff::fmt::strtime;

/// A path, perhaps with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Fixed(PathBuf),
    Places(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Label,
    Name,
    /// In the format of strftime.
    Start(String),
}

impl Template {
    /// `{{` stands for a brace.
    ///
    /// # Errors
    /// When there is an unknown place, or one that is not closed; the text names the remedy.
    pub fn parse(path: &Path) -> Result<Self, String> {
        // What is no text has no places.
        let Some(text) = path.to_str() else { return Ok(Self(Kind::Fixed(path.to_owned()))) };
        const KNOWN: &str = "known are {label}, {name}, {start} and {start:%Y-%m-%d}; write {{ for a brace";
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            parts.push(Part::Text(before.to_owned()));
            if let Some(after) = after.strip_prefix('{') {
                parts.push(Part::Text("{".to_owned()));
                rest = after;
                continue;
            }
            let (place, after) =
                after.split_once('}').ok_or_else(|| format!("\"{{{after}\" has no end; {KNOWN}"))?;
            parts.push(match place.split_once(':').unwrap_or((place, "")) {
                ("label", "") => Part::Label,
                ("name", "") => Part::Name,
                ("start", format) => {
                    let format = if format.is_empty() { USUAL_START } else { format };
                    strtime::format(format, &Zoned::default()).map_err(|error| {
                        format!("{{start:{format}}} is no time that can be written: {error}")
                    })?;
                    Part::Start(format.to_owned())
                }
                _ => return Err(format!("{{{place}}} is unknown; {KNOWN}")),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let fixed = parts.iter().map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let fixed = fixed.collect::<Option<String>>();
        Ok(Self(fixed.map_or(Kind::Places(parts), |text| Kind::Fixed(text.into()))))
    }

    /// The path, if it has no places to fill in.
    pub fn fixed(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Fixed(path) => Some(path),
            Kind::Places(_) => None,
        }
    }

    /// The directory that the file will be in, if it has no places to fill in.
    pub fn directory(&self) -> Option<PathBuf> {
        let parts = match &self.0 {
            Kind::Fixed(path) => return path.parent().map(Path::to_owned),
            Kind::Places(parts) => parts,
        };
        let mut texts = parts.iter();
        let mut path = String::new();
        for part in texts.by_ref() {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Label | Part::Name | Part::Start(_) => break,
            }
        }
        // Formats of times may have slashes, too.
        let goes_deeper = |part: &Part| match part {
            Part::Text(text) => text.contains('/'),
            Part::Label | Part::Name | Part::Start(_) => false,
        };
        let dates_go_deeper = |part: &Part| matches!(part, Part::Start(format) if format.contains('/'));
        if texts.any(goes_deeper) || parts.iter().any(dates_go_deeper) {
            return None;
        }
        Some(path.rsplit_once('/').map_or(".".into(), |(directory, _)| format!("{directory}/").into()))
    }

    /// The path for a session.
    ///
    /// # Errors
    /// When label or name would lead out of the directory that the path names.
    pub fn fill(&self, label: &str, name: &str, start: &Zoned) -> Result<PathBuf, String> {
        let parts = match &self.0 {
            Kind::Fixed(path) => return Ok(path.clone()),
            Kind::Places(parts) => parts,
        };
        let mut path = String::new();
        for part in parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Label => path.push_str(harmless("label", label)?),
                Part::Name => path.push_str(harmless("name", name)?),
                Part::Start(format) => {
                    // It could be written when it was parsed.
                    path.push_str(&strtime::format(format, start).map_err(|error| error.to_string())?);
                }
            }
        }
        Ok(path.into())
    }
}

/// A label comes from the network.
fn harmless<'a>(what: &str, text: &'a str) -> Result<&'a str, String> {
    if text.starts_with('.') || text.contains('/') {
        return Err(format!(
            "{what} \"{text}\" is no part of a file name; choose one without leading dot and slash"
        ));
    }
    Ok(text)
}

/// ISO 8601's basic format, which every file system takes.
const USUAL_START: &str = "%Y%m%dT%H%M%S";

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn filled(text: &str) -> String {
        let start: Zoned = "2026-03-01T02:03:04+01:00[+01:00]".parse().unwrap();
        Template::parse(Path::new(text)).unwrap().fill("shop", "db2", &start).unwrap().display().to_string()
    }

    #[test]
    fn places_are_filled_in() {
        assert_eq!(filled("/srv/{label}-{name}/{start:%Y-%m-%d}.dump"), "/srv/shop-db2/2026-03-01.dump");
        assert_eq!(filled("{start}"), "20260301T020304");
        assert_eq!(filled("a{{b}"), "a{b}");
    }

    #[test]
    fn without_places_the_path_is_known_at_once() {
        let fixed = |text: &str| Template::parse(Path::new(text)).unwrap().fixed().map(Path::to_owned);
        assert_eq!(fixed("a.dump").as_deref(), Some(Path::new("a.dump")));
        assert_eq!(fixed("a{{b").as_deref(), Some(Path::new("a{b")));
        assert_eq!((fixed("{label}"), fixed("a{start:%H}")), (None, None));
        let bytes = Path::new(std::ffi::OsStr::from_bytes(b"\xff{x"));
        assert_eq!(Template::parse(bytes).unwrap().fixed(), Some(bytes));
    }

    #[test]
    fn directory_without_places_is_known_before_the_session() {
        let directory = |text: &str| Template::parse(Path::new(text)).unwrap().directory();
        assert_eq!(directory("/srv/dumps/{label}-x.dump").as_deref(), Some(Path::new("/srv/dumps/")));
        assert_eq!(directory("/{label}").as_deref(), Some(Path::new("/")));
        assert_eq!(directory("{label}").as_deref(), Some(Path::new(".")));
        for unknown in ["/srv/{label}/x", "{start:%Y/%m}", "/srv/x-{start:%Y/%m}-{label}"] {
            assert_eq!(directory(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_wrong_place_is_refused_with_the_remedy() {
        for text in ["{date}", "{label", "{label:x}", "{}"] {
            assert!(Template::parse(Path::new(text)).unwrap_err().contains("{label}"), "{text}");
        }
        assert!(Template::parse(Path::new("{start:%!}")).unwrap_err().contains("%!"));
    }

    #[test]
    fn no_label_leads_out_of_the_directory() {
        let template = Template::parse(Path::new("/srv/{label}/x")).unwrap();
        for label in ["..", ".", "a/b", ".hidden"] {
            assert!(template.fill(label, "db2", &Zoned::default()).is_err(), "{label}");
        }
    }
}
