//! Archives on the command line: `mcast archive …`, and what `mcast-recv --archive` does besides writing an entry.

mod cat;
mod keep;
mod list;
mod receive;
mod remove;
mod restore;
mod shown;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::path;
use super::error::Failure;
use super::tool::Printed;
use crate::archive::Error;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::reader::Entry;
use crate::archive::shelf::Item;
use crate::exit::Exit;
use crate::session::StreamEnd;

pub(super) use keep::KeepArgs;
pub use receive::ArchiveReport;
pub(super) use receive::Archiving;

/// What can be done with an archive.
#[derive(Debug, Subcommand)]
pub(super) enum ArchiveTask {
    /// Show what is there: names, sizes, ages and states, and what is in the making or was left by dead processes
    List(list::ListArgs),
    /// Read entries and compare them with their digests; 6 if one is damaged
    Verify(verify::VerifyArgs),
    /// Write an entry to standard output: mcast-send -- mcast archive cat DIR NAME
    Cat(cat::CatArgs),
    /// Write an entry to a file, or give it to a command
    Restore(restore::RestoreArgs),
    /// Remove entries
    Rm(remove::RemoveArgs),
    /// Remove the entries that the rules do not keep, and what dead processes have left
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
    /// The entry, as mcast archive list calls it, or latest
    #[arg(value_name = "NAME")]
    name: String,

    /// With latest: the latest of this label
    #[arg(long, value_name = "LABEL", value_parser = super::values::label)]
    label: Option<String>,
}

impl Which {
    fn find(&self, archive: &Directory) -> Result<EntryName, Failure> {
        if self.name != LATEST {
            return match self.label {
                Some(_) => Err(Failure::usage(format!("--label goes with {LATEST}, not with a name"))),
                None => entry_name(&self.name),
            };
        }
        let wanted = |item: &Item| match (item.manifest(), &self.label) {
            (Some(manifest), Some(label)) => manifest.label == *label,
            (manifest, None) => manifest.is_some(),
            (None, _) => false,
        };
        let latest = Item::all(archive)?.into_iter().rfind(wanted).map(|item| item.name);
        latest.ok_or_else(|| {
            Failure::usage(format!(
                "no complete entry in archive \"{}\"; see mcast archive list",
                archive.path().display()
            ))
        })
    }
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
