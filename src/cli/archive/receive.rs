//! What a receiver does with its archive besides writing to it: looks for room, clears away what the dead have left, and
//! removes what the rules do not keep.

use std::io;

use indicatif::DecimalBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::config::ArchiveConfig;
use super::super::error::Failure;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::retention::{Verdict, judge};
use crate::archive::shelf::Item;
use crate::archive::store::Store;
use crate::archive::{Error, store};
use crate::exit::Exit;

/// An archive that a receiver fills.
#[derive(Debug)]
pub(in crate::cli) struct Archiving {
    archive: Directory,
    config: ArchiveConfig,
    report: ArchiveReport,
}

/// What a receiver's report says of its archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArchiveReport {
    /// The archive's directory.
    pub directory: String,
    /// The entry that has the stream, whole and on the disk; `None` if there is none.
    pub entry: Option<String>,
    /// Entries that the rules did not keep, and that were removed.
    pub removed: Vec<String>,
    /// Why an entry that the rules did not keep is still there, the first reason.
    pub prune_error: Option<String>,
}

impl Archiving {
    /// Finds out what would fail at the start of a session too, and clears away what sessions have left whose processes
    /// have died.
    pub(in crate::cli) fn open(config: &ArchiveConfig) -> Result<Self, Failure> {
        let cannot = |error: String| Failure::new(Exit::SinkFailed, format!("--archive: {error}"));
        let archive = Directory::open(&config.directory).map_err(|error| cannot(error.to_string()))?;
        match archive.sweep() {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "removed what dead sessions had left in the archive"),
            Err(error) => tracing::warn!(%error, "cannot clean up the archive"),
        }
        // Dropped, it leaves nothing behind.
        let draft = store::Store::begin(&archive);
        match draft {
            // How much room there must be is looked at later, and again and again.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && config.min_free.is_some() => {}
            Err(error) => {
                let path = archive.path().display();
                return Err(cannot(format!(
                    "cannot write to \"{path}\": {error}; choose a directory that this user may write to"
                )));
            }
            Ok(draft) => drop(draft),
        }
        let report =
            ArchiveReport { directory: archive.path().display().to_string(), ..ArchiveReport::default() };
        Ok(Self { archive, config: config.clone(), report })
    }

    /// Whether there is as much room as is asked for.
    ///
    /// # Errors
    /// With exit code 9, when there is not.
    pub(in crate::cli) fn check_room(&self) -> Result<(), Failure> {
        let Some(wanted) = self.config.min_free else { return Ok(()) };
        let path = self.archive.path().display();
        let free = self.archive.free().map_err(|error| {
            Failure::new(
                Exit::SinkFailed,
                format!("--min-free: cannot tell what is free in \"{path}\": {error}"),
            )
        })?;
        match free {
            Some(free) if free < wanted => Err(Failure::new(
                Exit::SinkFailed,
                format!(
                    "{} free in \"{path}\", less than --min-free {}; make room (mcast archive prune)",
                    DecimalBytes(free),
                    DecimalBytes(wanted)
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Where entries are kept.
    pub(in crate::cli) const fn archive(&self) -> &Directory {
        &self.archive
    }

    /// The session has become this entry.
    pub(in crate::cli) fn has_entry(&mut self, name: &EntryName) {
        tracing::info!(entry = name.as_str(), "archived");
        self.report.entry = Some(name.to_string());
    }

    /// Removes what the rules do not keep, never the entry of this session. Between two entries `go_on` is asked.
    pub(in crate::cli) fn prune(&mut self, mut go_on: impl FnMut() -> bool) {
        if self.config.keep.is_empty() || self.report.entry.is_none() {
            return;
        }
        let doomed = match doomed(&self.archive, &self.config) {
            Ok(doomed) => doomed,
            Err(error) => return self.prune_failed(&error),
        };
        for name in doomed {
            if self.report.entry.as_deref() == Some(name.as_str()) {
                continue;
            }
            if !go_on() {
                break;
            }
            match self.archive.remove(&name) {
                Ok(()) => {
                    tracing::info!(entry = name.as_str(), "removed from the archive");
                    self.report.removed.push(name.to_string());
                }
                // Another one was faster.
                Err(Error::Missing(_)) => {}
                Err(error) => self.prune_failed(&error),
            }
        }
    }

    fn prune_failed(&mut self, error: &Error) {
        tracing::warn!(%error, "cannot prune the archive");
        self.report.prune_error.get_or_insert_with(|| error.to_string());
    }

    pub(in crate::cli) fn report(&self) -> ArchiveReport {
        self.report.clone()
    }
}

fn doomed(archive: &Directory, config: &ArchiveConfig) -> Result<Vec<EntryName>, Error> {
    let items = Item::all(archive)?;
    let verdicts = judge(&items, config.keep, Timestamp::now(), &TimeZone::system());
    let doomed = items.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Remove);
    Ok(doomed.map(|(item, _)| item.name).collect())
}
