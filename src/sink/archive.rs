//! An archive as a sink: each session becomes an entry.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::SinkError;
use super::then::Then;
use crate::archive::directory::Directory;
use crate::archive::draft::DirectoryDraft;
use crate::archive::manifest::{Heading, Timestamp};
use crate::archive::name::EntryName;
use crate::archive::store::{Store, data_object};
use crate::archive::writer::EntryWriter;
use crate::session::StreamEnd;

/// What is needed to archive a session.
#[derive(Debug)]
pub struct ArchivePlan {
    /// Where entries are kept.
    pub archive: Directory,
    /// What the session is called.
    pub heading: Heading,
    /// The stream is cut into pieces of so many bytes; `None`: it is one.
    pub piece_size: Option<u64>,
    /// The stream fails once fewer bytes are free.
    pub min_free: Option<u64>,
    /// What to run once the entry is there, `{file}` being the stream, which is one piece.
    pub then: Option<Then>,
    /// The time of day, for the manifest.
    pub clock: fn() -> Timestamp,
    /// Writes a number of bytes for people.
    pub size: fn(u64) -> String,
}

/// An entry in the making. Dropped before [`ArchiveSink::finish`], it leaves nothing behind.
pub struct ArchiveSink {
    archive: Directory,
    writer: EntryWriter<DirectoryDraft>,
    then: Option<Then>,
    clock: fn() -> Timestamp,
    size: fn(u64) -> String,
    min_free: Option<u64>,
    /// Bytes that were written since the last look for room.
    unwatched: u64,
}

impl ArchiveSink {
    /// Begins an entry.
    ///
    /// # Errors
    /// When the archive's directory is not there or not writable.
    pub fn begin(plan: ArchivePlan) -> Result<Self, SinkError> {
        let ArchivePlan { archive, heading, piece_size, min_free, then, clock, size } = plan;
        let writer = archive
            .begin()
            .and_then(|draft| EntryWriter::on(draft, heading, piece_size))
            .map_err(|error| failed("cannot begin an entry in archive", &archive, error))?;
        Ok(Self { archive, writer, then, clock, size, min_free, unwatched: 0 })
    }

    /// Writes all bytes of all slices, in order.
    ///
    /// # Errors
    /// When there is no space, the quota is used up, or the disk fails.
    pub fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), SinkError> {
        self.unwatched += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        let watched = if self.unwatched >= LOOK_FOR_ROOM { self.check_room() } else { Ok(()) };
        watched
            .and_then(|()| self.writer.write_all(slices))
            .map_err(|error| failed("cannot write to archive", &self.archive, error))
    }

    fn check_room(&mut self) -> io::Result<()> {
        self.unwatched = 0;
        let Some(wanted) = self.min_free else { return Ok(()) };
        match self.archive.free()? {
            Some(free) if free < wanted => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{} free, less than --min-free {}", (self.size)(free), (self.size)(wanted)),
            )),
            _ => Ok(()),
        }
    }

    /// Makes it an entry, durably, tells its name, and runs what is to be run then.
    ///
    /// # Errors
    /// When the archive cannot be written to, or less room is left than asked for, or `given_up` is set before the entry has its name: then there is none. Also
    /// when the command fails; then the entry stays.
    pub fn finish(
        mut self,
        end: StreamEnd,
        given_up: &AtomicBool,
        tell: &mut dyn FnMut(EntryName),
    ) -> Result<(), SinkError> {
        // Only what is on the disk has taken its room, and a short stream was not looked at before.
        let room = self.writer.sync().and_then(|()| self.check_room());
        let Self { archive, writer, then, clock, .. } = self;
        let name = room
            .and_then(|()| writer.finish(end, clock(), given_up))
            .map_err(|error| failed("cannot finish an entry in archive", &archive, error))?;
        let data: PathBuf = archive.path().join(name.as_str()).join(data_object(None));
        tell(name);
        then.map_or(Ok(()), |then| then.run(&data))
    }
}

impl fmt::Debug for ArchiveSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveSink").field("archive", &self.archive).finish_non_exhaustive()
    }
}

fn failed(action: &str, archive: &Directory, error: io::Error) -> SinkError {
    SinkError::new(format!("{action} \"{}\"", archive.path().display()), error)
}

/// Bytes between two looks at how much is free.
const LOOK_FOR_ROOM: u64 = 16 << 20;
