//! The entries that a command line means.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use clap::Args;

use super::super::error::Failure;
use super::super::similar::distance;
use super::super::values;
use super::{LATEST, note};
use crate::archive::Error;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::shelf::Item;
use crate::archive::store::Store;
use crate::session::names::listed;

/// Some of the entries.
#[derive(Args, Debug)]
pub(super) struct Of {
    /// Only entries of this label
    #[arg(long, value_name = "LABEL", value_parser = values::label)]
    pub(super) label: Option<String>,

    /// Only entries of the sender of this name or address
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(super) source: Option<String>,
}

impl Of {
    pub(super) const fn is_all(&self) -> bool {
        self.label.is_none() && self.source.is_none()
    }

    /// Whether an item is among them. One that is not complete is, unless its name tells another label.
    pub(super) fn wants(&self, item: &Item) -> bool {
        match item.manifest() {
            Some(manifest) => {
                self.label.as_ref().is_none_or(|label| *label == manifest.label)
                    && (self.source.is_none() || self.source == item.source)
            }
            None => self.label.as_ref().is_none_or(|label| !item.name.tells_another_label(label)),
        }
    }

    /// Those that are wanted. Says so where a label or a source is asked for that no complete entry has.
    pub(super) fn select(&self, archive: &Directory, all: Vec<Item>) -> Vec<Item> {
        if !self.is_all() && !all.iter().any(|item| item.manifest().is_some() && self.wants(item)) {
            note(&self.nothing(archive, &all));
        }
        all.into_iter().filter(|item| self.wants(item)).collect()
    }

    /// Says that the archive has no complete entry of these, and which labels or sources it has.
    pub(super) fn nothing(&self, archive: &Directory, all: &[Item]) -> String {
        let manifests = || all.iter().filter_map(|item| Some((item.manifest()?, item.source.as_deref())));
        let is_of_label = |label: &str| self.label.as_ref().is_none_or(|wanted| wanted == label);
        let has_label = manifests().any(|(manifest, _)| is_of_label(&manifest.label));
        let (what, there): (_, BTreeSet<_>) = if has_label {
            let of_label = manifests().filter(|(manifest, _)| is_of_label(&manifest.label));
            ("senders", of_label.filter_map(|(_, source)| source).collect())
        } else {
            ("labels", manifests().map(|(manifest, _)| manifest.label.as_str()).collect())
        };
        let label = self.label.as_ref().map_or(String::new(), |label| format!(" with label {label}"));
        let source = self.source.as_ref().map_or(String::new(), |source| format!(" from {source}"));
        let place = archive.path().display();
        let mut text = format!("no complete entry{label}{source} in archive \"{place}\"");
        if !self.is_all() && !there.is_empty() {
            text.push_str(&format!("; its {what} are {}", listed(there)));
        }
        text
    }
}

/// The entry that is called so, by its name or by its path, as the shell completes it. `takes_latest` says whether the task
/// knows the word for the newest one.
pub(super) fn entry_name(archive: &Directory, text: &str, takes_latest: bool) -> Result<EntryName, Failure> {
    let last = last_part(archive, text)?;
    let place = archive.path().display();
    let name = EntryName::new(last);
    let missing = match &name {
        None => format!("\"{text}\" is not an entry name"),
        Some(name) => match archive.hold(name) {
            Err(Error::Missing(_)) => format!("no entry \"{name}\" in archive \"{place}\""),
            // The task itself reports every other failure.
            _ => return Ok(name.clone()),
        },
    };
    let remedy = match suggestion(last, &Item::all(archive)?, takes_latest) {
        Some(suggestion) => format!("did you mean {suggestion}?"),
        None if last == LATEST => {
            format!("only cat and restore know {LATEST}; name the entry as mcast archive list shows it")
        }
        None => "see mcast archive list".to_owned(),
    };
    Err(Failure::usage(format!("{missing}; {remedy}")))
}

/// The name in a path, which must lead into this archive.
fn last_part<'a>(archive: &Directory, text: &'a str) -> Result<&'a str, Failure> {
    let path = text.trim_end_matches('/');
    let Some((parent, last)) = path.rsplit_once('/') else { return Ok(path) };
    let parent = Path::new(if parent.is_empty() { "/" } else { parent });
    let inode = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let is_archive = inode(parent).is_some_and(|found| Some(found) == inode(archive.path()));
    // Written so by habit: nothing of that name is in the working directory.
    let is_here = parent.components().all(|part| part == Component::CurDir);
    if is_archive || (is_here && fs::symlink_metadata(path).is_err()) {
        return Ok(last);
    }
    let place = archive.path().display();
    Err(Failure::usage(format!(
        "\"{text}\" is not an entry of archive \"{place}\"; name the entry as mcast archive list shows it"
    )))
}

/// The word that was probably meant, if there is only one such.
fn suggestion(text: &str, items: &[Item], takes_latest: bool) -> Option<String> {
    let lower = text.to_lowercase();
    if takes_latest && is_near(&lower, LATEST) {
        return Some(LATEST.to_owned());
    }
    let has_label = |item: &Item| item.manifest().is_some_and(|manifest| manifest.label == text);
    if takes_latest && items.iter().any(has_label) {
        return Some(format!("{LATEST} --label {text}"));
    }
    let name = |item: &Item| item.name.as_str().to_lowercase();
    let only = |is_meant: &dyn Fn(&Item) -> bool| {
        let mut meant = items.iter().filter(|item| is_meant(item));
        let first = meant.next().filter(|_| meant.next().is_none());
        first.map(|item| format!("\"{}\"", item.name))
    };
    let begins = only(&|item| !lower.is_empty() && name(item).starts_with(&lower));
    begins.or_else(|| only(&|item| is_near(&lower, &name(item))))
}

/// Whether one word can be made of the other in a few steps.
fn is_near(one: &str, other: &str) -> bool {
    one.len().abs_diff(other.len()) <= MOST_SLIPS && distance(one, other) <= MOST_SLIPS
}

/// Letters to insert, remove or replace in a word that is still recognised.
const MOST_SLIPS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::sharing::add;
    use crate::exit::Exit;

    fn archive() -> (tempfile::TempDir, Directory) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dumps");
        fs::create_dir(&path).unwrap();
        let archive = Directory::open(&path).unwrap();
        (directory, archive)
    }

    fn refused(archive: &Directory, text: &str) -> String {
        let failure = entry_name(archive, text, true).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
        failure.message
    }

    #[test]
    fn path_of_an_entry_is_its_name_and_one_that_leads_elsewhere_is_refused() {
        let (directory, archive) = archive();
        let name = add(&archive, "shop", 0, b"stream");
        let (root, dumps) = (directory.path().display(), archive.path().display());
        std::os::unix::fs::symlink("dumps", directory.path().join("link")).unwrap();
        for text in [
            name.to_string(),
            format!("{name}/"),
            format!("./{name}"),
            format!("././{name}//"),
            format!("{dumps}/{name}"),
            format!("{root}/link/{name}/"),
            format!("{root}/link/../dumps/{name}"),
        ] {
            assert_eq!(entry_name(&archive, &text, false).unwrap(), name, "{text}");
        }
        for text in [
            format!("/{name}"),
            format!("{root}/{name}"),
            format!("{dumps}/{name}/data"),
            format!("../{name}"),
        ] {
            let message = refused(&archive, &text);
            assert!(message.contains(&text) && message.contains("not an entry of archive"), "{message}");
        }
        for text in ["", "/", "a b", "..", &format!("{dumps}/..")] {
            assert!(refused(&archive, text).contains("not an entry"), "{text}");
        }
    }

    #[test]
    fn wrong_entry_is_answered_with_the_one_that_is_meant_or_none() {
        let (_directory, archive) = archive();
        let name = add(&archive, "shop", 0, b"stream");
        add(&archive, "crm", 0, b"stream");
        for (text, meant) in [
            ("lates", "did you mean latest?"),
            ("Latest", "did you mean latest?"),
            ("shop", "did you mean latest --label shop?"),
            (&name.as_str()[..10], &*format!("did you mean \"{name}\"?")),
            (&*name.as_str().to_lowercase(), &*format!("did you mean \"{name}\"?")),
            (&*name.as_str().replace("shop", "shpo"), &*format!("did you mean \"{name}\"?")),
            ("shop-20200101T000000Z", "see mcast archive list"),
            ("x", "see mcast archive list"),
        ] {
            let message = refused(&archive, text);
            assert!(message.contains(meant), "{text}: {message}");
        }
        // Two that are as near: none is better than the wrong one.
        add(&archive, "shop", 1, b"stream");
        assert!(refused(&archive, &name.as_str()[..10]).contains("see mcast"));
        let failure = entry_name(&archive, LATEST, false).unwrap_err();
        assert!(failure.message.contains("only cat and restore know latest"), "{failure}");
    }

    #[test]
    fn label_that_no_entry_has_is_told_with_those_there_are() {
        let (_directory, archive) = archive();
        let of = |label: Option<&str>, source: Option<&str>| Of {
            label: label.map(str::to_owned),
            source: source.map(str::to_owned),
        };
        let nothing = |of: Of| of.nothing(&archive, &Item::all(&archive).unwrap());
        let place = format!("in archive \"{}\"", archive.path().display());
        assert_eq!(nothing(of(Some("nosuch"), None)), format!("no complete entry with label nosuch {place}"));
        for label in 'a'..='z' {
            add(&archive, &label.to_string(), 0, b"x");
        }
        let text = nothing(of(Some("nosuch"), None));
        assert!(text.ends_with("its labels are a, b, c, d, e, f, g, h and 18 more"), "{text}");
        let text = nothing(of(Some("a"), Some("db9")));
        assert!(text.contains("with label a from db9") && text.ends_with("its senders are db1"), "{text}");
        // A damaged one may be of any sender, and of the label in its name.
        fs::create_dir(archive.path().join("shop-20260301T010304Z")).unwrap();
        let items = Item::all(&archive).unwrap();
        let damaged = items.iter().find(|item| item.manifest().is_none()).unwrap();
        assert!(of(Some("shop"), Some("db9")).wants(damaged) && of(None, None).wants(damaged));
        assert!(!of(Some("a"), None).wants(damaged));
    }
}
