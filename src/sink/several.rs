//! Several sinks of one stream. One that fails does not take the others with it.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::archive::{ArchivePlan, ArchiveSink};
use super::command::CommandSink;
use super::file::{Existing, OutputFile};
use super::pipe::OutputPipe;
use super::then::Then;
use super::{Sink, SinkError};
use crate::archive::name::EntryName;
use crate::command::{CommandLine, Commands};
use crate::disk::FileMode;
use crate::session::StreamEnd;

/// A sink that is to be opened when a session starts.
#[derive(Debug)]
pub enum Plan {
    /// Standard output, which is there already.
    Pipe(OutputPipe),
    /// A file.
    File {
        /// Its name.
        path: PathBuf,
        /// What becomes of a file that has it.
        existing: Existing,
        /// Its mode, if it is not to be the usual one.
        mode: Option<FileMode>,
        /// What to run once it is there.
        then: Option<Then>,
    },
    /// An entry in an archive.
    Archive(Box<ArchivePlan>),
    /// A command that reads the stream.
    Command(Launch),
}

/// What a command of a sink needs.
#[derive(Debug)]
pub struct Launch {
    /// The command.
    pub line: CommandLine,
    /// Where it runs.
    pub commands: Commands,
    /// Where it writes.
    pub output: OwnedFd,
}

impl Plan {
    fn open(self, notify: impl FnOnce() + Send + 'static) -> Result<Sink, SinkError> {
        Ok(match self {
            Self::Pipe(pipe) => Sink::Pipe(pipe),
            Self::File { path, existing, mode, then } => {
                Sink::File(OutputFile::create(&path, existing, mode)?, then)
            }
            Self::Archive(plan) => Sink::Archive(Box::new(ArchiveSink::begin(*plan)?)),
            Self::Command(Launch { line, commands, output }) => {
                Sink::Command(CommandSink::start(&line, &commands, output, notify)?)
            }
        })
    }
}

/// The sinks of one session, and what has become of those that failed.
#[derive(Debug, Default)]
pub struct Sinks {
    open: Vec<Sink>,
    failed: Vec<SinkError>,
}

impl Sinks {
    /// Opens what can be opened. `notify` is called whenever a command has ended, see [`Sinks::check`].
    pub fn open(plans: Vec<Plan>, notify: impl Fn() + Clone + Send + 'static) -> Self {
        let mut sinks = Self::default();
        for plan in plans {
            let notify = notify.clone();
            match plan.open(notify) {
                Ok(sink) => sinks.open.push(sink),
                Err(error) => sinks.fail(error),
            }
        }
        sinks
    }

    /// Writes to every sink that has not failed.
    ///
    /// # Errors
    /// With all reasons, when none is left.
    pub fn write_all(&mut self, slices: &[&[u8]]) -> Result<(), String> {
        self.each(|sink| {
            sink.write_all(&mut slices.iter().map(|slice| IoSlice::new(slice)).collect::<Vec<_>>())
        })
    }

    /// Notices which commands have failed.
    ///
    /// # Errors
    /// With all reasons, when no sink is left.
    pub fn check(&mut self) -> Result<(), String> {
        self.each(Sink::check)
    }

    /// The stream is complete and verified, and was what `end` says: brings every sink to its end, unless `given_up` is set
    /// in between. `archived` is told the name of an archive's entry once that is there.
    ///
    /// # Errors
    /// With all reasons, when one has failed; what the others have made of the stream stays.
    pub fn finish(
        mut self,
        end: StreamEnd,
        given_up: &AtomicBool,
        mut archived: impl FnMut(EntryName),
    ) -> Result<(), String> {
        self.open.iter_mut().for_each(Sink::end_of_stream);
        // Commands may take hours. Files come first.
        self.open.sort_by_key(|sink| matches!(sink, Sink::Command(_)));
        for sink in std::mem::take(&mut self.open) {
            if let Err(error) = sink.finish(end, given_up, &mut archived) {
                self.fail(error);
            }
        }
        if self.failed.is_empty() { Ok(()) } else { Err(self.reasons()) }
    }

    fn each(&mut self, mut act: impl FnMut(&mut Sink) -> Result<(), SinkError>) -> Result<(), String> {
        let mut index = 0;
        while let Some(sink) = self.open.get_mut(index) {
            match act(sink) {
                Ok(()) => index += 1,
                Err(error) => {
                    // Dropped, a file leaves nothing behind, and a command is killed.
                    self.open.remove(index);
                    self.fail(error);
                }
            }
        }
        if self.open.is_empty() { Err(self.reasons()) } else { Ok(()) }
    }

    fn fail(&mut self, error: SinkError) {
        tracing::warn!(%error, "a sink has failed");
        self.failed.push(error);
    }

    fn reasons(&self) -> String {
        self.failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}
