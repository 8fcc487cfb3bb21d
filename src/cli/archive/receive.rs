//! What a receiver does with its archive besides writing to it: looks for room, clears away what the dead have left, and
//! removes what the rules do not keep.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::busy::while_busy;
use super::super::config::{ArchiveConfig, Room};
use super::super::error::{Failure, visible};
use super::super::quantities;
use crate::archive::Error;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::retention::{Policy, Verdict, judge};
use crate::archive::shelf::Item;
use crate::archive::sources;
use crate::archive::store::{KEPT, Removed, Store, Swept};
use crate::disk::FileMode;
use crate::exit::Exit;
use crate::sink::SinkError;

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
    /// Finds out what would fail at the start of a session or at its end too, and clears away what sessions have left
    /// whose processes have died. Entries get `mode`, if there is one. `go_on` is called while that lasts; `None` once it says no.
    pub(in crate::cli) fn open(
        config: &ArchiveConfig,
        mode: Option<FileMode>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>, Failure> {
        let cannot = |error: String| Failure::new(Exit::SinkFailed, format!("--archive: {error}"));
        let directory = config.directory.clone();
        let look = move || {
            let archive = Directory::open(&directory)?.with_mode(mode);
            let (swept, tried) = (archive.sweep(), archive.try_out());
            Ok::<_, Error>((archive, swept, tried))
        };
        let Some(opened) = while_busy(look, go_on)? else { return Ok(None) };
        let (archive, swept, tried) = opened.map_err(|error| cannot(error.to_string()))?;
        tell(swept);
        match tried {
            // How much room there must be is looked at later, and again and again.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && config.min_free.is_some() => {}
            Err(error) => {
                let path = archive.path().display();
                let action = format!("cannot keep entries in \"{path}\"");
                return Err(cannot(SinkError::new(action, error).to_string()));
            }
            Ok(()) => {}
        }
        let report =
            ArchiveReport { directory: archive.path().display().to_string(), ..ArchiveReport::default() };
        Ok(Some(Self { archive, config: config.clone(), report }))
    }

    /// Clears away what sessions have left whose processes have died. `go_on` is called while that lasts; once it says no,
    /// the sweep is no longer waited for.
    pub(in crate::cli) fn sweep(&self, go_on: &mut dyn FnMut() -> bool) {
        let archive = self.archive.clone();
        match while_busy(move || archive.sweep(), go_on) {
            Ok(Some(swept)) => tell(swept),
            Ok(None) => {}
            Err(failure) => tracing::error!("cannot clean up the archive: {failure}"),
        }
    }

    /// Looks whether enough is free, and returns the bytes that must stay free, if there is such a limit. `go_on` is called while the
    /// disk does not say; once it says no, the disk is no longer asked.
    ///
    /// # Errors
    /// With exit code 9, when there is not.
    pub(in crate::cli) fn check_room(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Option<u64>, Failure> {
        let Some(wanted) = self.config.min_free else { return Ok(None) };
        let path = self.archive.path().display();
        let archive = self.archive.clone();
        let look = move || {
            let share = |percent| {
                let capacity = archive.capacity()?;
                Ok::<_, io::Error>(capacity.map_or(0, |capacity| capacity / 100 * u64::from(percent)))
            };
            let least = match wanted {
                Room::Bytes(bytes) => bytes,
                Room::Share(percent) => share(percent)?,
            };
            Ok::<_, io::Error>((archive.free()?, least))
        };
        let Some(looked) = while_busy(look, go_on)? else { return Ok(None) };
        let (free, least) = looked.map_err(|error| {
            Failure::new(
                Exit::SinkFailed,
                format!("--min-free: cannot tell what is free in \"{path}\": {error}"),
            )
        })?;
        match free {
            Some(free) if free < least => {
                let (free, least) = (quantities::size(free), quantities::size(least));
                let wanted = match wanted {
                    Room::Bytes(_) => least,
                    Room::Share(percent) => format!("{percent}%, which is {least}"),
                };
                let message = format!(
                    "{free} free in \"{path}\", less than --min-free {wanted}; make room (mcast archive prune)"
                );
                Err(Failure::new(Exit::SinkFailed, message))
            }
            _ => Ok(Some(least)),
        }
    }

    /// Where entries are kept.
    pub(in crate::cli) const fn archive(&self) -> &Directory {
        &self.archive
    }

    /// The session has become this entry.
    pub(in crate::cli) fn has_entry(&mut self, name: &EntryName) {
        tracing::info!(entry = name.as_str(), "the stream is archived as {name}");
        self.report.entry = Some(name.to_string());
    }

    /// Removes what the rules do not keep, never the entry of this session. `go_on` is called while that lasts; once it
    /// says no, no further entry is removed.
    pub(in crate::cli) fn prune(&mut self, go_on: &mut dyn FnMut() -> bool) {
        let Some(entry) = self.report.entry.clone().filter(|_| !self.config.keep.is_empty()) else { return };
        let (archive, policy) = (self.archive.clone(), self.config.keep);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || Pruned::of(&archive, policy, &entry, &stopped);
        let pruned = while_busy(work, &mut || {
            let goes_on = go_on();
            stop.store(!goes_on, Ordering::SeqCst);
            goes_on
        });
        match pruned {
            Ok(Some(pruned)) => {
                self.report.removed = pruned.removed;
                self.report.prune_error = pruned.error;
            }
            Ok(None) => self.report.prune_error = Some(INTERRUPTED.to_owned()),
            Err(failure) => {
                tracing::error!("the stream is archived, but the archive could not be pruned: {failure}");
                self.report.prune_error = Some(failure.message);
            }
        }
    }

    pub(in crate::cli) fn report(&self) -> ArchiveReport {
        self.report.clone()
    }
}

/// The result of pruning.
#[derive(Debug, Default)]
struct Pruned {
    removed: Vec<String>,
    /// The first reason for which an entry is still there.
    error: Option<String>,
}

impl Pruned {
    fn of(archive: &Directory, policy: Policy, kept: &str, stop: &AtomicBool) -> Self {
        let mut pruned = Self::default();
        let doomed = match doomed(archive, policy) {
            Ok(doomed) => doomed,
            Err(error) => {
                pruned.failed(&error);
                return pruned;
            }
        };
        for name in doomed.iter().filter(|name| name.as_str() != kept) {
            if stop.load(Ordering::SeqCst) {
                tracing::warn!("pruning was interrupted; the next session goes on with it");
                pruned.error.get_or_insert_with(|| INTERRUPTED.to_owned());
                break;
            }
            match archive.remove(name) {
                Ok(Removed { remains }) => {
                    tracing::info!(entry = name.as_str(), "removed entry {name}, which no rule keeps");
                    if let Some(remains) = remains {
                        tracing::warn!(
                            entry = name.as_str(),
                            remains,
                            "entry \"{name}\" had files that mcast has not put there, they are left in \"{remains}\""
                        );
                    }
                    pruned.removed.push(name.to_string());
                }
                // Another one was faster.
                Err(Error::Missing(_)) => {}
                Err(error) => pruned.failed(&error),
            }
        }
        pruned
    }

    fn failed(&mut self, error: &Error) {
        let text = format!("the stream is archived, but the archive could not be pruned: {error}");
        match error {
            // The next session tries again.
            Error::InUse(_) => tracing::warn!("{}", visible(&text)),
            // Also with -q: an archive that is never pruned is full one day.
            _ => tracing::error!("{}", visible(&text)),
        }
        self.error.get_or_insert_with(|| error.to_string());
    }
}

/// Says what a sweep has found.
fn tell(swept: Result<Swept, Error>) {
    let swept = match swept {
        Ok(swept) => swept,
        Err(error) => {
            tracing::error!("cannot clean up the archive: {}", visible(&error.to_string()));
            return;
        }
    };
    if swept.removed > 0 {
        tracing::info!(
            swept = swept.removed,
            "removed {} unfinished entries of dead sessions from the archive",
            swept.removed
        );
    }
    for name in &swept.kept {
        tracing::warn!(
            "the archive has a whole stream that could not get its name, in \"{name}\"; see {KEPT} in it, mv it or remove it"
        );
    }
    for error in &swept.errors {
        tracing::error!("{}", visible(error));
    }
}

/// The entries that the rules do not keep. Says what makes the rules keep more than one expects.
fn doomed(archive: &Directory, policy: Policy) -> Result<Vec<EntryName>, Error> {
    let items = Item::all(archive)?;
    let now = Timestamp::now();
    let future: Vec<_> =
        items.iter().filter(|item| item.is_of_the_future(now)).map(|item| item.name.as_str()).collect();
    if !future.is_empty() {
        let names = future.join(", ");
        tracing::warn!("the rules leave out entries that are dated in the future by a wrong clock: {names}");
    }
    for (label, sources) in sources::several(&items) {
        if sources.len() > USUAL_SOURCES {
            tracing::warn!(
                "entries with label {label} come from {} senders, and the rules keep those of each; where they are one, give it a fixed name (mcast-send --name)",
                sources.len()
            );
        }
    }
    let verdicts = judge(&items, policy, now, &TimeZone::system());
    let doomed = items.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Remove);
    Ok(doomed.map(|(item, _)| item.name).collect())
}

/// Reason in the report for entries that are still there after a signal.
const INTERRUPTED: &str = "it was interrupted";
/// Senders with one label. More than these are taken for one whose name changes, as that of a container does.
const USUAL_SOURCES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::sharing::add;

    #[test]
    fn room_is_compared_with_a_share_of_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("something"), [1; 1 << 16]).unwrap();
        let check = |share| {
            let config = ArchiveConfig {
                directory: directory.path().to_owned(),
                piece_size: None,
                then: None,
                keep: Policy::default(),
                min_free: Some(Room::Share(share)),
            };
            Archiving::open(&config, None, &mut || true).unwrap().unwrap().check_room(&mut || true)
        };
        assert_eq!(check(0), Ok(Some(0)));
        let failure = check(100).unwrap_err();
        assert_eq!(failure.exit, Exit::SinkFailed);
        assert!(failure.message.contains("less than --min-free 100%, which is "), "{failure}");
    }

    #[test]
    fn pruning_that_is_interrupted_says_so_and_removes_nothing_more() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Directory::open(directory.path()).unwrap();
        let [old, new] = [0, 86_400].map(|started| add(&archive, "shop", started, b"x"));
        let policy = Policy { last: Some(1), ..Policy::default() };
        let pruned = Pruned::of(&archive, policy, new.as_str(), &AtomicBool::new(true));
        assert_eq!((pruned.removed.len(), pruned.error.as_deref()), (0, Some(INTERRUPTED)));
        let pruned = Pruned::of(&archive, policy, new.as_str(), &AtomicBool::new(false));
        assert_eq!((pruned.removed, pruned.error), (vec![old.to_string()], None));
    }
}
