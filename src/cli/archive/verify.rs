//! `mcast archive verify`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::super::error::Failure;
use super::super::launch;
use super::super::quantities;
use super::super::tool::Printed;
use super::super::values;
use super::stale::{self, Stale};
use super::{Of, Place, SCHEMA, entry_name, note, shown};
use crate::archive::Error;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::reader::Entry;
use crate::archive::shelf::Item;
use crate::archive::store::Store;
use crate::exit::Exit;

#[derive(Args, Debug)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    place: Place,

    /// The entries to read, by name or path [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    of: Of,

    /// Read only this share of all pieces, others each time, and at least one piece of each entry; of the rest, and with 0
    /// of all, compare the lengths
    #[arg(long, value_name = "PERCENT", value_parser = values::sample)]
    sample: Option<u8>,

    /// Fail (6) if the newest complete entry is older, for each label and source by itself, or for the label or source that is
    /// named; 26h finds a nightly backup that did not come, and --sample 0 reads no data for it; the age needs a unit
    #[arg(long, value_name = "DUR", value_parser = values::max_age)]
    max_age: Option<Duration>,
}

/// What became of an entry.
#[derive(Debug, Serialize)]
struct Verified {
    name: String,
    /// `verified`, `sampled` (not all of it was read), `damaged`, `unreadable`.
    state: &'static str,
    /// Bytes that were read and compared.
    bytes: u64,
    pieces: usize,
    pieces_read: usize,
    /// What is wrong; `None` if nothing is.
    error: Option<String>,
    /// The system did not let it be read, so nothing is known about its content.
    unreadable: bool,
}

#[derive(Debug, Serialize)]
struct Verification<'a> {
    schema: u8,
    archive: String,
    entries: &'a [Verified],
    damaged: usize,
    unreadable: usize,
    /// Directories with the objects of an entry under names that no entry may have; they were not read.
    misnamed: &'a [String],
    /// Labels and sources whose newest entry is older than `--max-age`.
    stale: &'a [Stale],
    /// The reason of an exit code that is not 0.
    error: Option<&'a str>,
}

impl Verified {
    fn failed(name: &EntryName, error: String, unreadable: bool) -> Self {
        let state = if unreadable { "unreadable" } else { "damaged" };
        // Now, and on stderr: cron mails it where the rest goes to /dev/null, and reading the others may take hours.
        note(&format!("{name}: {state}: {error}"));
        Self {
            name: name.to_string(),
            state,
            bytes: 0,
            pieces: 0,
            pieces_read: 0,
            error: Some(error),
            unreadable,
        }
    }
}

pub(super) fn run(args: VerifyArgs) -> Result<Printed, Failure> {
    let archive = args.place.open()?;
    let is_asked_for = !args.names.is_empty();
    if is_asked_for && !(args.of.is_all() && args.max_age.is_none()) {
        return Err(Failure::usage(
            "--label, --source and --max-age choose among all entries; leave them or the names out",
        ));
    }
    let mut names = Vec::new();
    for name in &args.names {
        names.push(entry_name(&archive, name, false)?);
    }
    let (mut items, mut misnamed, mut nothing) = (Vec::new(), Vec::new(), String::new());
    if !is_asked_for {
        items = Item::all(&archive)?;
        nothing = format!("{}, so nothing was verified", args.of.nothing(&archive, &items));
        items.retain(|item| args.of.wants(item));
        names.extend(items.iter().map(|item| item.name.clone()));
        misnamed = archive.misnamed()?;
    }
    let mut sample = Sample::new(args.sample)?;
    let mut entries = Vec::new();
    for name in &names {
        match verify(&archive, name, &mut sample) {
            Ok(verified) => entries.push(verified),
            // It has been removed in the meantime.
            Err(Error::Missing(_) | Error::InUse(_)) if !is_asked_for => {}
            Err(Error::Damaged { reason, .. }) => entries.push(Verified::failed(name, reason, false)),
            // One entry that this user may not read does not keep the others from being read.
            Err(Error::System { action, source }) => {
                entries.push(Verified::failed(name, format!("{action}: {source}"), true));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for name in &misnamed {
        note(&format!(
            "\"{name}\" has the files of an entry and is not an entry name, so it was not read; rename it"
        ));
    }
    let failed = entries.iter().filter(|entry| entry.error.is_some());
    let failed: BTreeSet<_> = failed.filter_map(|entry| EntryName::new(&entry.name)).collect();
    let stale = args
        .max_age
        .map_or(Vec::new(), |limit| stale::stale(&items, &failed, &args.of, limit, Timestamp::now()));
    let findings = Findings { entries, misnamed, stale };
    let result = findings.result(nothing, &args);
    let mut printed = if args.place.json {
        findings.document(&archive, result.as_ref().err())?
    } else {
        Printed::text(text(&findings.entries))
    };
    printed.result = result;
    Ok(printed)
}

/// The result of a verification.
struct Findings {
    entries: Vec<Verified>,
    misnamed: Vec<String>,
    stale: Vec<Stale>,
}

impl Findings {
    /// Entries that are damaged, and those that could not be read.
    fn counts(&self) -> (usize, usize) {
        let unreadable = self.entries.iter().filter(|entry| entry.unreadable).count();
        (self.entries.iter().filter(|entry| entry.error.is_some()).count() - unreadable, unreadable)
    }

    /// All that is wrong, in one message. `nothing` says that there are no entries.
    fn result(&self, nothing: String, args: &VerifyArgs) -> Result<(), Failure> {
        let count = self.entries.len();
        let (damaged, unreadable) = self.counts();
        let mut wrong = Vec::new();
        if self.entries.is_empty() {
            wrong.push(nothing);
        } else if let Some(limit) = args.max_age.filter(|_| !self.stale.is_empty()) {
            wrong.push(stale::message(&self.stale, limit, &args.of));
        }
        if damaged > 0 {
            wrong.push(format!(
                "{damaged} of {count} entries damaged; restore them from another copy, then remove them with mcast archive rm"
            ));
        }
        if !self.misnamed.is_empty() {
            wrong.push(format!("{} not read for want of an entry name; rename them", self.misnamed.len()));
        }
        let exit = if wrong.is_empty() { Exit::LocalResource } else { Exit::Integrity };
        if unreadable > 0 {
            wrong.push(format!(
                "{unreadable} of {count} entries could not be read; verify them as a user that may read them"
            ));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Failure::new(exit, wrong.join("; "))) }
    }

    fn document(&self, archive: &Directory, failure: Option<&Failure>) -> Result<Printed, Failure> {
        let (damaged, unreadable) = self.counts();
        shown::document(&Verification {
            schema: SCHEMA,
            archive: archive.path().display().to_string(),
            entries: &self.entries,
            damaged,
            unreadable,
            misnamed: &self.misnamed,
            stale: &self.stale,
            error: failure.map(|failure| failure.message.as_str()),
        })
    }
}

fn verify(archive: &Directory, name: &EntryName, sample: &mut Sample) -> Result<Verified, Error> {
    let entry: Entry<Directory> = Entry::open(archive, name)?;
    let pieces = &entry.manifest().pieces;
    let mut verified = Verified {
        name: name.to_string(),
        state: "sampled",
        bytes: 0,
        pieces: pieces.len(),
        pieces_read: 0,
        error: None,
        unreadable: false,
    };
    let chosen = sample.choose(pieces.len());
    if chosen.len() == pieces.len() {
        // The digest of the whole too.
        entry.copy(|_| Ok(()))?;
        verified.state = "verified";
        verified.bytes = entry.manifest().bytes;
        verified.pieces_read = pieces.len();
        return Ok(verified);
    }
    for number in chosen {
        entry.verify_piece(number)?;
        verified.bytes += pieces.get(number).map_or(0, |piece| piece.bytes);
        verified.pieces_read += 1;
    }
    Ok(verified)
}

/// Entries that were read and found right. Those that failed are on stderr.
fn text(entries: &[Verified]) -> String {
    let mut text = String::new();
    for entry in entries.iter().filter(|entry| entry.error.is_none()) {
        let Verified { name, pieces, pieces_read, .. } = entry;
        let bytes = quantities::size(entry.bytes);
        text.push_str(&match pieces - pieces_read {
            0 => format!("{name}: verified, {bytes}\n"),
            left => format!("{name}: {pieces_read} of {pieces} pieces read ({bytes}), {left} not read\n"),
        });
    }
    text
}

/// Takes a share of all pieces, evenly, from a start that chance decides: over many runs every piece gets its turn.
struct Sample {
    percent: u64,
    count: u64,
    /// Decides which piece is read of an entry that would have none.
    seed: u64,
}

impl Sample {
    fn new(percent: Option<u8>) -> Result<Self, Failure> {
        let chance = u64::from_ne_bytes(launch::random()?);
        Ok(Self { percent: percent.unwrap_or(100).into(), count: chance % 100, seed: chance / 100 })
    }

    /// The pieces of the next entry that are read: at least one, unless none of any entry are.
    fn choose(&mut self, pieces: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..pieces).filter(|_| self.wants_next()).collect();
        if chosen.is_empty() && self.percent > 0 && pieces > 0 {
            let piece = self.seed % (pieces as u64);
            chosen.push(usize::try_from(piece).unwrap_or(0));
        }
        chosen
    }

    fn wants_next(&mut self) -> bool {
        // Of a hundred in a row, as many cross a multiple of 100 as there are per cent.
        let before = self.count;
        self.count = before.wrapping_add(self.percent);
        self.count / 100 != before / 100
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::archive::sharing::add;

    #[test]
    fn sample_is_the_share_that_was_asked_for_and_reaches_every_piece() {
        for percent in 1..=100 {
            let mut chosen = vec![0; 100];
            for count in 0..100 {
                let mut sample = Sample { percent, count, seed: 0 };
                let taken = sample.choose(100);
                assert_eq!(taken.len() as u64, percent);
                taken.into_iter().for_each(|piece: usize| chosen[piece] += 1);
            }
            assert!(chosen.iter().all(|&times| times as u64 == percent), "{percent}: {chosen:?}");
        }
    }

    #[test]
    fn sample_reads_a_piece_of_every_entry_unless_it_is_zero() {
        let mut sample = Sample { percent: 1, count: 0, seed: 5 };
        assert_eq!([3, 3, 1, 0].map(|pieces| sample.choose(pieces)), [vec![2], vec![2], vec![0], vec![]]);
        let mut none = Sample { percent: 0, count: 99, seed: 5 };
        assert!([3, 1].iter().all(|&pieces| none.choose(pieces).is_empty()));
    }

    fn verified(directory: &std::path::Path, change: impl FnOnce(&mut VerifyArgs)) -> Printed {
        let mut args = VerifyArgs {
            place: Place { directory: directory.to_owned(), json: false },
            names: Vec::new(),
            of: Of { label: None, source: None },
            sample: None,
            max_age: None,
        };
        change(&mut args);
        run(args).unwrap()
    }

    fn failure(printed: &Printed) -> (Exit, String) {
        let failure = printed.result.clone().unwrap_err();
        (failure.exit, failure.message)
    }

    #[test]
    fn verification_of_nothing_fails() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Directory::open(directory.path()).unwrap();
        let (exit, message) = failure(&verified(directory.path(), |_| ()));
        assert_eq!(exit, Exit::Integrity);
        assert!(message.contains("nothing was verified"), "{message}");
        let name = add(&archive, "shop", 0, b"stream");
        let (exit, message) =
            failure(&verified(directory.path(), |args| args.of.label = Some("nosuch".to_owned())));
        assert_eq!(exit, Exit::Integrity);
        assert!(message.contains("label nosuch") && message.contains("its labels are shop"), "{message}");
        // An entry that an operator has renamed is read like the others.
        fs::rename(directory.path().join(name.as_str()), directory.path().join("kept")).unwrap();
        let right = verified(directory.path(), |args| args.of.label = Some("shop".to_owned()));
        assert!(right.result.is_ok() && right.text == "kept: verified, 6 bytes\n", "{}", right.text);
    }

    #[test]
    fn sample_says_what_it_has_not_read_and_an_old_entry_is_told_without_reading_any() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Directory::open(directory.path()).unwrap();
        let name = add(&archive, "shop", 0, b"stream");
        let path = directory.path();
        let none = verified(path, |args| args.sample = Some(0));
        assert_eq!(none.text, format!("{name}: 0 of 1 pieces read (0 bytes), 1 not read\n"));
        assert!(none.result.is_ok());
        let old = |args: &mut VerifyArgs| {
            args.sample = Some(0);
            args.max_age = Some(Duration::from_secs(93_600));
        };
        let (exit, message) = failure(&verified(path, old));
        assert_eq!(exit, Exit::Integrity);
        assert!(message.contains("--max-age 26h of shop from db1 (the newest, "), "{message}");
        assert!(message.contains(&format!("{name}, is ")) && message.contains(" d old)"), "{message}");
        let young = |args: &mut VerifyArgs| args.max_age = Some(Duration::from_secs(u64::from(u32::MAX)));
        assert!(verified(path, young).result.is_ok());
    }

    #[test]
    fn everything_that_keeps_an_entry_from_being_read_fails_the_verification() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Directory::open(directory.path()).unwrap();
        let path = directory.path();
        add(&archive, "crm", 0, b"stream");
        let name = add(&archive, "shop", 0, b"stream");
        let entry = path.join(name.as_str());
        fs::rename(&entry, path.join("a b")).unwrap();
        let (exit, message) = failure(&verified(path, |_| ()));
        assert!(exit == Exit::Integrity && message.contains("rename"), "{message}");
        fs::rename(path.join("a b"), &entry).unwrap();
        fs::remove_file(entry.join("manifest.json")).unwrap();
        let damaged = verified(path, |args| args.place.json = true);
        let (exit, message) = failure(&damaged);
        assert!(exit == Exit::Integrity && message.starts_with("1 of 2 entries damaged"), "{message}");
        let document: serde_json::Value = serde_json::from_str(&damaged.text).unwrap();
        assert_eq!(document["entries"][1]["state"], "damaged");
        assert_eq!(document["entries"][1]["error"], "manifest.json is missing");
        assert_eq!((&document["error"], &document["damaged"]), (&message.into(), &1.into()));
    }
}
