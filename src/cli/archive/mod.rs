//! Archives on the command line: `mcast archive …`, and what `mcast-recv --archive` does besides writing an entry.

mod cat;
mod keep;
mod list;
mod receive;
mod remove;
mod restore;
mod shown;
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
use crate::archive::shelf::Item;
use crate::archive::sources;
use crate::exit::Exit;
use crate::session::StreamEnd;

pub(super) use keep::KeepArgs;
pub use receive::ArchiveReport;
pub(super) use receive::Archiving;

/// What can be done with an archive.
#[derive(Debug, Subcommand)]
pub(super) enum ArchiveTask {
    /// Show the entries with size, age and state, and unfinished ones
    #[command(before_help = "Example:\n  mcast archive list /srv/dumps --label shop")]
    List(list::ListArgs),
    /// Read entries and compare them with their digests; exit code 6 if one is damaged
    #[command(
        before_help = "Examples:\n  mcast archive verify /srv/dumps                  all of them\n  mcast archive verify /srv/dumps --sample 5%      a twentieth of the pieces, others each time"
    )]
    Verify(verify::VerifyArgs),
    /// Write an entry to standard output
    #[command(
        before_help = "Example:\n  mcast-send -n 3 -- mcast archive cat /srv/dumps latest --label shop"
    )]
    Cat(cat::CatArgs),
    /// Write an entry to a file, or give it to a command
    #[command(
        before_help = "Examples:\n  mcast archive restore /srv/dumps latest --label shop -o shop.dump\n  mcast archive restore /srv/dumps shop-20260301T010304Z -- pg_restore -1 -e -d copy"
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

/// Some of the entries.
#[derive(Args, Debug)]
struct Of {
    /// Only entries of this label
    #[arg(long, value_name = "LABEL", value_parser = super::values::label)]
    label: Option<String>,

    /// Only entries of the sender of this name or address
    #[arg(long, value_name = "NAME", value_parser = super::values::name)]
    source: Option<String>,
}

impl Of {
    const fn is_all(&self) -> bool {
        self.label.is_none() && self.source.is_none()
    }

    /// Whether an item is among them. One that is not complete is so only where nothing is asked for.
    fn wants(&self, item: &Item) -> bool {
        let label = item.manifest().map(|manifest| &manifest.label);
        (self.label.is_none() || self.label.as_ref() == label)
            && (self.source.is_none() || self.source == item.source)
    }
}

/// One entry.
#[derive(Args, Debug)]
struct Which {
    /// The entry: its name in mcast archive list, or latest for the newest
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
            return entry_name(&self.name);
        }
        let mut items = Item::all(archive)?;
        items.retain(|item| item.manifest().is_some() && self.of.wants(item));
        let now = Timestamp::now();
        let (future, mut past): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| item.is_of_the_future(now));
        if let Some(item) = future.last() {
            let name = &item.name;
            note(&format!(
                "entry \"{name}\" is dated in the future, so {LATEST} is not that; a clock was wrong when it was made, or is wrong now"
            ));
        }
        let Some(latest) = past.pop() else {
            let what = if future.is_empty() { "" } else { " that is not dated in the future" };
            return Err(Failure::usage(format!(
                "no complete entry{what} in archive \"{}\" is asked for; see mcast archive list",
                archive.path().display()
            )));
        };
        if let (Some(manifest), Some(source)) = (latest.manifest(), latest.source.clone()) {
            let label = manifest.label.clone();
            past.push(latest.clone());
            if let Some(sources) = sources::several(&past).get(label.as_str()) {
                let sources = sources.join(", ");
                note(&format!(
                    "entries with label {label} come from {sources}; this is the newest of all, from {source}; --source chooses another"
                ));
            }
        }
        Ok(latest.name)
    }
}

/// Writes a line that is no failure to stderr; standard output carries a stream.
fn note(text: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(io::stderr().lock(), "mcast: {}", visible(text));
}

fn entry_name(text: &str) -> Result<EntryName, Failure> {
    EntryName::new(text).ok_or_else(|| {
        Failure::usage(format!(
            "\"{text}\" is no name of an entry; see mcast archive list for those there are"
        ))
    })
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
