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
                Err(error) => sinks.failed.push(error),
            }
        }
        if !sinks.open.is_empty() {
            sinks.failed.iter().for_each(tell_of_first);
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
        let mut sinks = std::mem::take(&mut self.open).into_iter();
        while let Some(sink) = sinks.next() {
            if let Err(error) = sink.finish(end, given_up, &mut archived) {
                self.fail(error, sinks.len());
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
                    self.fail(error, self.open.len());
                }
            }
        }
        if self.open.is_empty() { Err(self.reasons()) } else { Ok(()) }
    }

    /// A sink has failed, and `others` go on. The failure of the last sink is not logged here: it is the session's error.
    fn fail(&mut self, error: SinkError, others: usize) {
        if others > 0 {
            tell_of_first(&error);
        }
        self.failed.push(error);
    }

    /// Every different reason, the first one first. A command that this program has stopped counts only where there is no
    /// other reason.
    fn reasons(&self) -> String {
        let mut reasons = Vec::new();
        let own = self.failed.iter().filter(|error| !error.is_stopped());
        for error in own.map(ToString::to_string) {
            if !reasons.contains(&error) {
                reasons.push(error);
            }
        }
        if reasons.is_empty() {
            reasons.extend(self.failed.first().map(ToString::to_string));
        }
        reasons.join("; ")
    }
}

/// The others may go on for hours before the session ends with this error.
fn tell_of_first(error: &SinkError) {
    if !error.is_stopped() {
        tracing::warn!("{error}; the other outputs go on");
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn failed(errors: &[(&str, io::ErrorKind)]) -> Sinks {
        let error = |(action, kind): &(&str, io::ErrorKind)| {
            SinkError::new(*action, io::Error::new(*kind, "it says so"))
        };
        Sinks { open: Vec::new(), failed: errors.iter().map(error).collect() }
    }

    #[test]
    fn first_failure_is_the_message_and_a_stopped_command_adds_nothing_to_it() {
        let (own, stopped) = (io::ErrorKind::Other, io::ErrorKind::Interrupted);
        for (errors, text) in [
            (&[("disk", own), ("restore", stopped)][..], "disk: it says so"),
            (&[("restore", stopped), ("disk", own)], "disk: it says so"),
            (&[("disk", own), ("disk", own), ("pipe", own)], "disk: it says so; pipe: it says so"),
            (&[("restore", stopped)], "restore: it says so"),
        ] {
            assert_eq!(failed(errors).reasons(), text);
        }
    }
}
