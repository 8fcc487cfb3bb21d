//! Archives on the command line: `mcast archive …`, and what `mcast-recv --archive` does besides writing an entry.

mod cat;
mod choice;
mod keep;
mod list;
mod receive;
mod remove;
mod restore;
mod shown;
mod stale;
mod verify;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::args::path;
use super::error::{Failure, visible};
use super::tool::Printed;
use crate::archive::Error;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::reader::Entry;
use crate::archive::shelf::{Item, State};
use crate::archive::sources;
use crate::exit::Exit;
use crate::session::StreamEnd;

use choice::{Of, entry_name};
pub(super) use keep::KeepArgs;
pub use receive::ArchiveReport;
pub(super) use receive::Archiving;

/// What can be done with an archive.
#[derive(Debug, Subcommand)]
pub(super) enum ArchiveTask {
    /// Show the entries with size, age and state, and unfinished ones
    #[command(before_help = "Example:\n  mcast archive list /srv/dumps --label shop")]
    List(list::ListArgs),
    /// Read entries and compare them with their digests
    #[command(
        long_about = "Read entries and compare them with their digests. The exit code is 6 if one is damaged, there is none, or the newest is too old",
        before_help = "Examples:\n  mcast archive verify /srv/dumps                  all of them\n  mcast archive verify /srv/dumps --sample 5%      a twentieth of the pieces, others each time\n  mcast archive verify /srv/dumps --sample 0 --max-age 26h    only whether last night's is there"
    )]
    Verify(verify::VerifyArgs),
    /// Write an entry to standard output
    #[command(
        before_help = "Example:\n  mcast-send -n 3 -- mcast archive cat /srv/dumps latest --label shop"
    )]
    Cat(cat::CatArgs),
    /// Write an entry to a file, or give it to a command
    #[command(
        before_help = "Examples:\n  mcast archive restore /srv/dumps latest --label shop -o shop.dump\n  mcast archive restore /srv/dumps shop-20260301T010304Z -- pg_restore -1 -e --clean --if-exists -O -x -d copy"
    )]
    Restore(restore::RestoreArgs),
    /// Remove entries
    #[command(before_help = "Example:\n  mcast archive rm /srv/dumps shop-20260301T010304Z")]
    Rm(remove::RemoveArgs),
    /// Remove the entries that no rule keeps, and the leftovers of dead processes
    #[command(before_help = "Example:\n  mcast archive prune /srv/dumps --keep-daily 7 --dry-run")]
    Prune(remove::PruneArgs),
}

/// Does it.
pub(super) fn run(task: ArchiveTask) -> Result<Printed, Failure> {
    match task {
        ArchiveTask::List(args) => list::run(args),
        ArchiveTask::Verify(args) => verify::run(args),
        ArchiveTask::Cat(args) => cat::run(args),
        ArchiveTask::Restore(args) => restore::run(args),
        ArchiveTask::Rm(args) => remove::remove(args),
        ArchiveTask::Prune(args) => remove::prune(args),
    }
}

/// Which archive, and how to answer.
#[derive(Args, Debug)]
struct Place {
    /// The archive's directory, which mcast-recv --archive has filled
    #[arg(value_name = "DIR", value_parser = path())]
    directory: PathBuf,

    /// Answer with one JSON document, for programs
    #[arg(long)]
    json: bool,
}

impl Place {
    fn open(&self) -> Result<Directory, Failure> {
        Ok(Directory::open(&self.directory)?)
    }
}

/// One entry.
#[derive(Args, Debug)]
struct Which {
    /// The entry: its name or path, or latest for the newest complete one
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    of: Of,
}

impl Which {
    fn find(&self, archive: &Directory) -> Result<EntryName, Failure> {
        if self.name != LATEST {
            if !self.of.is_all() {
                return Err(Failure::usage(format!(
                    "--label and --source go with {LATEST}, not with a name"
                )));
            }
            return entry_name(archive, &self.name, true);
        }
        let mut items = Item::all(archive)?;
        let nothing = self.of.nothing(archive, &items);
        items.retain(|item| self.of.wants(item));
        let now = Timestamp::now();
        let is_past = |item: &Item| item.manifest().is_some() && !item.is_of_the_future(now);
        let newest = items.iter().rposition(is_past);
        // Entries of which no time is known come first. They may be newer.
        let passed_by = items
            .iter()
            .enumerate()
            .filter(|(index, item)| newest.is_none_or(|newest| *index > newest) || item.started().is_none());
        for (_, item) in passed_by {
            let name = &item.name;
            match &item.state {
                State::Damaged(reason) | State::Unreadable(reason) => {
                    note(&format!("{LATEST} leaves out entry \"{name}\", which cannot be used: {reason}"));
                }
                State::Complete(_) if item.is_of_the_future(now) => note(&format!(
                    "entry \"{name}\" is dated in the future, so {LATEST} is not that; a clock was wrong when it was made, or is wrong now"
                )),
                State::Complete(_) | State::InUse => {}
            }
        }
        let Some(newest) = newest else {
            let is_future = items.iter().any(|item| item.is_of_the_future(now));
            let future = if is_future { "; those dated in the future can be asked for by name" } else { "" };
            return Err(Failure::usage(format!("{nothing}{future}")));
        };
        items.truncate(newest + 1);
        let Some(latest) = items.last() else { return Err(Failure::usage(nothing)) };
        if let (Some(manifest), Some(source)) = (latest.manifest(), &latest.source)
            && let Some(sources) = sources::several(&items).get(manifest.label.as_str())
        {
            note(&format!(
                "entries with label {} come from {}; this is the newest of all, from {source}; --source chooses another",
                manifest.label,
                sources.join(", ")
            ));
        }
        Ok(latest.name.clone())
    }
}

/// Writes a line that is no failure to stderr; standard output carries a stream.
fn note(text: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(io::stderr().lock(), "mcast: {}", visible(text));
}

/// Gives an entry's stream to `take`, whose failures are passed on.
fn copy(
    entry: &Entry<Directory>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<StreamEnd, Failure> {
    let mut refused = None;
    let copied = entry.copy(|bytes| {
        take(bytes).map_err(|failure| {
            refused = Some(failure);
            Error::NotTaken
        })
    });
    match refused {
        Some(refused) => Err(refused),
        None => Ok(copied?),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error {
            Error::Missing(_) => Exit::Usage,
            Error::Damaged { .. } => Exit::Integrity,
            Error::NotTaken => Exit::SinkFailed,
            Error::System { .. } | Error::InUse(_) | Error::NoLocks { .. } | Error::TooMany => {
                Exit::LocalResource
            }
        };
        Self::new(exit, error.to_string())
    }
}

/// No entry is called so: names end with a time.
const LATEST: &str = "latest";
/// Of all documents for programs.
const SCHEMA: u8 = 1;
