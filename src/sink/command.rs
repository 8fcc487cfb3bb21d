//! A command as a sink: what it returns counts, and only together with a verified stream.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use super::{SinkError, pipe, write_all};
use crate::command::{CommandLine, Commands, Running, Status, Stream};

/// A command that reads the stream. Dropped before its end, it is killed before its input ends.
#[derive(Debug)]
pub struct CommandSink {
    line: CommandLine,
    running: Running,
    given: u64,
    /// It has closed its input, or ended, after so many bytes.
    closed_after: Option<u64>,
}

impl CommandSink {
    /// Starts the command, which writes to `output`; `notify` is called when it has ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        line: &CommandLine,
        commands: &Commands,
        output: OwnedFd,
        notify: impl FnOnce() + Send + 'static,
    ) -> Result<Self, SinkError> {
        let running = commands
            .launch(line, Stream::ToCommand(output), notify)
            .map_err(|error| SinkError::new(format!("cannot start {line}"), error))?;
        if let Some(pipe) = running.pipe() {
            pipe::enlarge(pipe);
        }
        Ok(Self { line: line.clone(), running, given: 0, closed_after: None })
    }

    /// Writes all bytes of all slices, in order; blocks while the command does not read. What a command does not want
    /// that has closed its input is thrown away.
    ///
    /// # Errors
    /// When the command has failed.
    pub fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), SinkError> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.closed_after.is_none()
            && let Some(pipe) = self.running.pipe()
        {
            match write_all(pipe, slices) {
                Ok(()) => self.given = self.given.saturating_add(length as u64),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.closed_after = Some(self.given);
                }
                Err(error) => return Err(SinkError::new(format!("cannot write to {}", self.line), error)),
            }
        }
        self.check()
    }

    /// Notices that the command has ended.
    ///
    /// # Errors
    /// When it has failed.
    pub fn check(&mut self) -> Result<(), SinkError> {
        match self.running.try_wait() {
            None => Ok(()),
            Some(status) => {
                self.closed_after.get_or_insert(self.given);
                self.judge(&status)
            }
        }
    }

    /// The stream is complete and verified: the command sees the end of its input.
    pub fn end_of_stream(&mut self) {
        self.running.end_of_input();
    }

    /// Waits for the command's end, after [`CommandSink::end_of_stream`].
    ///
    /// # Errors
    /// When it has failed.
    pub fn finish(self) -> Result<(), SinkError> {
        self.judge(&self.running.wait())?;
        if let Some(bytes) = self.closed_after {
            tracing::warn!("{} wanted no more after {bytes} bytes of the stream, and succeeded", self.line);
        }
        Ok(())
    }

    fn judge(&self, status: &Status) -> Result<(), SinkError> {
        judge(&self.line, status)
    }
}

/// Runs a command that neither gets nor gives the stream, and waits for its end.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn run(line: &CommandLine, commands: &Commands, output: OwnedFd) -> Result<(), SinkError> {
    let running = commands
        .launch(line, Stream::Neither(output), || ())
        .map_err(|error| SinkError::new(format!("cannot start {line}"), error))?;
    judge(line, &running.wait())
}

fn judge(line: &CommandLine, status: &Status) -> Result<(), SinkError> {
    let kind = match status {
        status if status.is_success() => return Ok(()),
        Status::Stopped => io::ErrorKind::Interrupted,
        _ => io::ErrorKind::Other,
    };
    Err(SinkError::new(line.to_string(), io::Error::new(kind, status.to_string())))
}
