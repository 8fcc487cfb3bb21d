//! `mcast archive verify`.

use clap::Args;
use serde::Serialize;

use super::super::error::Failure;
use super::super::launch;
use super::super::quantities;
use super::super::tool::Printed;
use super::super::values;
use super::{Place, SCHEMA, entry_name, shown};
use crate::archive::Error;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::reader::Entry;
use crate::archive::store::Store;
use crate::exit::Exit;

#[derive(Args, Debug)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    place: Place,

    /// The entries to read [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Read only this share of all pieces, others each time; of the rest compare the lengths
    #[arg(long, value_name = "PERCENT", value_parser = values::percent)]
    sample: Option<u8>,
}

/// What became of an entry.
#[derive(Debug, Serialize)]
struct Verified {
    name: String,
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
}

impl Verified {
    fn failed(name: &EntryName, error: String, unreadable: bool) -> Self {
        Self { name: name.to_string(), bytes: 0, pieces: 0, pieces_read: 0, error: Some(error), unreadable }
    }
}

pub(super) fn run(args: VerifyArgs) -> Result<Printed, Failure> {
    let archive = args.place.open()?;
    let names = match args.names.as_slice() {
        [] => archive.entries()?,
        names => names.iter().map(|name| entry_name(name)).collect::<Result<_, _>>()?,
    };
    let is_asked_for = !args.names.is_empty();
    let mut sample = Sample::new(args.sample)?;
    let mut entries = Vec::new();
    for name in names {
        match verify(&archive, &name, &mut sample) {
            Ok(verified) => entries.push(verified),
            // It has been removed in the meantime.
            Err(Error::Missing(_) | Error::InUse(_)) if !is_asked_for => {}
            Err(Error::Damaged { reason, .. }) => entries.push(Verified::failed(&name, reason, false)),
            // One entry that this user may not read, or of a bad sector, does not keep the others from being read.
            Err(Error::System { action, source }) => {
                entries.push(Verified::failed(&name, format!("{action}: {source}"), true));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let unreadable = entries.iter().filter(|entry| entry.unreadable).count();
    let damaged = entries.iter().filter(|entry| entry.error.is_some()).count() - unreadable;
    let mut printed = if args.place.json {
        shown::document(&Verification {
            schema: SCHEMA,
            archive: archive.path().display().to_string(),
            entries: &entries,
            damaged,
            unreadable,
        })?
    } else {
        Printed::text(text(&entries))
    };
    let count = entries.len();
    let unread = format!(
        "{unreadable} of {count} entries could not be read, for the reasons above; verify them as a user that may read them"
    );
    if damaged > 0 {
        let mut message = format!(
            "{damaged} of {count} entries damaged; fetch what you need of them from another copy, then mcast archive rm them"
        );
        if unreadable > 0 {
            message = format!("{message}; {unread}");
        }
        printed.result = Err(Failure::new(Exit::Integrity, message));
    } else if unreadable > 0 {
        printed.result = Err(Failure::new(Exit::LocalResource, unread));
    }
    Ok(printed)
}

fn verify(archive: &Directory, name: &EntryName, sample: &mut Sample) -> Result<Verified, Error> {
    let entry: Entry<Directory> = Entry::open(archive, name)?;
    let pieces = &entry.manifest().pieces;
    let mut verified = Verified {
        name: name.to_string(),
        bytes: 0,
        pieces: pieces.len(),
        pieces_read: 0,
        error: None,
        unreadable: false,
    };
    if sample.is_all() {
        // The digest of the whole too.
        entry.copy(|_| Ok(()))?;
        verified.bytes = entry.manifest().bytes;
        verified.pieces_read = pieces.len();
        return Ok(verified);
    }
    for (number, piece) in pieces.iter().enumerate() {
        if sample.wants_next() {
            entry.verify_piece(number)?;
            verified.bytes += piece.bytes;
            verified.pieces_read += 1;
        }
    }
    Ok(verified)
}

fn text(entries: &[Verified]) -> String {
    let mut text = String::new();
    for entry in entries {
        let bytes = quantities::size(entry.bytes);
        text.push_str(&match &entry.error {
            None if entry.pieces_read == entry.pieces => format!("{}: right, {bytes} read\n", entry.name),
            None => format!(
                "{}: complete, {} of {} pieces read and right ({bytes})\n",
                entry.name, entry.pieces_read, entry.pieces
            ),
            Some(error) => {
                let what = if entry.unreadable { "not read" } else { "damaged" };
                format!("{}: {what}: {}\n", entry.name, super::super::error::visible(error))
            }
        });
    }
    if entries.is_empty() {
        text.push_str("no entries\n");
    }
    text
}

/// Takes a share of all pieces, evenly, from a start that chance decides: over many runs every piece gets its turn.
struct Sample {
    percent: u64,
    count: u64,
}

impl Sample {
    fn new(percent: Option<u8>) -> Result<Self, Failure> {
        let start = u64::from_ne_bytes(launch::random()?) % 100;
        Ok(Self { percent: percent.unwrap_or(100).into(), count: start })
    }

    const fn is_all(&self) -> bool {
        self.percent >= 100
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
    use super::*;

    #[test]
    fn a_sample_is_the_share_that_was_asked_for_and_every_piece_has_its_turn() {
        for percent in 1..=100 {
            let mut chosen = vec![0; 100];
            for start in 0..100 {
                let mut sample = Sample { percent, count: start };
                let taken: Vec<_> = (0..100).filter(|_| sample.wants_next()).collect();
                assert_eq!(taken.len() as u64, percent);
                taken.into_iter().for_each(|piece: usize| chosen[piece] += 1);
            }
            assert!(chosen.iter().all(|&times| times as u64 == percent), "{percent}: {chosen:?}");
        }
    }
}
