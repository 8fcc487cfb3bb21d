//! Where the stream goes: a pipe, a command, a file that appears under its name once it is verified, or an
//! entry of an archive.
//!
//! Sinks block and belong on a thread of their own.

pub mod archive;
pub mod command;
pub mod file;
pub(crate) mod handover;
pub mod pipe;
#[cfg(test)]
mod power_cut;
mod rehearsal;
pub mod several;
pub mod then;
pub mod unfinished;
pub mod writer;

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};

use crate::archive::name::EntryName;
pub(crate) use crate::disk::{wait, write_all};
use crate::session::StreamEnd;

/// What the stream is written to.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    Pipe(pipe::OutputPipe),
    /// A file of its own, and what to run once it is there.
    File(file::OutputFile, Option<then::Then>),
    /// An entry in an archive.
    Archive(Box<archive::ArchiveSink>),
    /// A command of its own.
    Command(command::CommandSink),
}

impl Sink {
    /// Writes all bytes of all slices, in order; blocks while the sink takes nothing.
    ///
    /// # Errors
    /// When the sink is gone or full. What was written before is a prefix of the slices.
    pub fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), SinkError> {
        match self {
            Self::Pipe(pipe) => pipe.write_all(slices),
            Self::File(file, _) => file.write_all(slices),
            Self::Archive(entry) => entry.write_all(slices),
            Self::Command(command) => command.write_all(slices),
        }
    }

    /// Notices whether the sink has failed by itself.
    ///
    /// # Errors
    /// When it has.
    pub fn check(&mut self) -> Result<(), SinkError> {
        match self {
            Self::Pipe(_) | Self::File(..) | Self::Archive(_) => Ok(()),
            Self::Command(command) => command.check(),
        }
    }

    /// Says that the stream is complete and verified; a sink that is dropped instead keeps what can be kept from being
    /// taken for complete. [`Sink::finish`] follows.
    pub fn end_of_stream(&mut self) {
        match self {
            Self::Pipe(_) | Self::File(..) | Self::Archive(_) => {}
            Self::Command(command) => command.end_of_stream(),
        }
    }

    /// Brings the sink to its end, after [`Sink::end_of_stream`], the stream having been what `end` says. What has no name
    /// by the time that `given_up` is set gets none. `archived` is told the name of an entry that has got one.
    ///
    /// # Errors
    /// When the sink cannot be brought to the disk, the file not be given its name, or a command fails.
    pub fn finish(
        self,
        end: StreamEnd,
        given_up: &AtomicBool,
        archived: &mut dyn FnMut(EntryName),
    ) -> Result<(), SinkError> {
        match self {
            Self::Pipe(pipe) => pipe.finish(),
            Self::File(file, then) => {
                let path = file.path().to_owned();
                file.commit(given_up)?;
                then.map_or(Ok(()), |then| then.run(&path))
            }
            Self::Archive(entry) => entry.finish(end, given_up, archived),
            Self::Command(command) => command.finish(),
        }
    }
}

/// A sink did not take the stream. The message names the sink, what the system said, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}{}", remedy(.source))]
pub struct SinkError {
    /// What was tried, with the sink's name.
    pub action: String,
    /// What the system said.
    pub source: io::Error,
}

impl SinkError {
    pub(crate) fn new(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { action: action.into(), source: source.into() }
    }

    /// This program has stopped the command, so the reason is elsewhere.
    pub fn is_stopped(&self) -> bool {
        self.source.kind() == io::ErrorKind::Interrupted
    }

    /// The reader has closed the pipe, which some readers do when they have seen enough.
    pub fn is_closed_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Refuses a standard stream that cannot carry bytes in the direction other than `wrong_way`.
///
/// # Errors
/// When it was opened the wrong way, or the program was started with it closed. The runtime opens /dev/null for reading
/// and writing in place of a closed one, so that a stream would be empty, or thrown away, and count as a success;
/// `</dev/null` and `>/dev/null` of a shell open it one way only.
pub(crate) fn check_standard(fd: BorrowedFd<'_>, wrong_way: OFlags) -> io::Result<()> {
    let way = fcntl_getfl(fd)? & OFlags::RWMODE;
    let status = fstat(fd)?;
    let device = (major(status.st_rdev), minor(status.st_rdev));
    let is_null = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && device == NULL;
    if way == OFlags::RDWR && is_null {
        return Err(io::Error::other("it is closed; redirect it"));
    }
    if way == wrong_way {
        return Err(io::Error::other("it is open the wrong way round; mend the redirection"));
    }
    Ok(())
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; create the directory first",
        io::ErrorKind::AlreadyExists => "; choose another name, or give --overwrite",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that this user may write to"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room and start again",
        io::ErrorKind::BrokenPipe => "; the reader of the pipe ended early, see its messages",
        _ => "",
    }
}

/// Major and minor number of /dev/null on Linux.
const NULL: (u32, u32) = (1, 3);
