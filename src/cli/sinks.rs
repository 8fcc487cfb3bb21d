//! The sinks that a command line names: checked at launch, opened when a session starts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use jiff::{Timestamp, Zoned};

use super::archive::Archiving;
use super::busy::while_busy;
use super::config::{ArchiveConfig, RecvConfig, SinkConfig};
use super::error::Failure;
use super::{launch, quantities, report_file};
use crate::archive::manifest::Heading;
use crate::command::Commands;
use crate::disk::FileMode;
use crate::exit::Exit;
use crate::session::receiver::Summary;
use crate::sink::SinkError;
use crate::sink::archive::ArchivePlan;
use crate::sink::file::{Existing, OutputFile};
use crate::sink::pipe::OutputPipe;
use crate::sink::several::{Launch, Plan};
use crate::sink::then::Then;

/// What is to be opened for one session.
#[derive(Debug)]
pub(super) struct SinkPlans {
    sinks: Vec<SinkConfig>,
    mode: Option<FileMode>,
    name: String,
    /// The archive, where there is one.
    archiving: Option<Archiving>,
    /// Standard output, where it is a sink.
    pipe: Option<OutputPipe>,
    /// The thread that waits for commands, where there are any.
    commands: Option<Commands>,
    /// The path of the report.
    report: Option<PathBuf>,
}

impl SinkPlans {
    /// Finds out what would fail at the start too. `go_on` is called while that lasts; `None` once it says no.
    pub(super) fn prepare(
        config: &RecvConfig,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>, Failure> {
        let has_command = |sink: &SinkConfig| {
            let archive_then = |archive: &ArchiveConfig| archive.then.is_some();
            matches!(sink, SinkConfig::Command(_) | SinkConfig::File { then: Some(_), .. })
                || matches!(sink, SinkConfig::Archive(archive) if archive_then(archive))
        };
        let (sinks, mode) = (config.sinks.clone(), config.mode);
        match while_busy(move || try_files(&sinks, mode), go_on)? {
            Some(tried) => tried?,
            None => return Ok(None),
        }
        let archive = config.sinks.iter().find_map(|sink| match sink {
            SinkConfig::Archive(archive) => Some(archive),
            _ => None,
        });
        let archiving = match archive {
            Some(archive) => match Archiving::open(archive, mode, go_on)? {
                Some(archiving) => Some(archiving),
                None => return Ok(None),
            },
            None => None,
        };
        Ok(Some(Self {
            archiving,
            sinks: config.sinks.clone(),
            mode,
            name: config.name.clone(),
            pipe: config.sinks.contains(&SinkConfig::Stdout).then(OutputPipe::stdout).transpose()?,
            commands: config.sinks.iter().any(has_command).then(launch::commands).transpose()?,
            report: config.output.report.clone(),
        }))
    }

    /// What to open for this session, now.
    /// `go_on` is called while an archive does not say how much room it has.
    pub(super) fn plans(
        &mut self,
        session: &Summary,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Plan>, Failure> {
        // With --repeat, the last session's is there until now. If this session is killed, it must not be taken for its.
        if let Some(Err(failure)) = self.report.as_deref().map(report_file::clear) {
            tracing::warn!("{failure}");
        }
        let label = session.label.as_str();
        let start = Zoned::now();
        let mut plans = Vec::new();
        for sink in &self.sinks {
            match (sink, &self.commands) {
                (SinkConfig::Stdout, _) => plans.extend(self.pipe.take().map(Plan::Pipe)),
                (SinkConfig::File { path, overwrite, then }, commands) => {
                    let path = path.fill(label, &self.name, &start).map_err(|error| {
                        Failure::new(Exit::SinkFailed, format!("cannot name the output file: {error}"))
                    })?;
                    let then = self.then(then.as_ref(), commands.as_ref())?;
                    plans.push(Plan::File { path, existing: existing(*overwrite), mode: self.mode, then });
                }
                (SinkConfig::Archive(archive), commands) => {
                    let Some(archiving) = &self.archiving else { continue };
                    let min_free = archiving.check_room(go_on)?;
                    let then = self.then(archive.then.as_ref(), commands.as_ref())?;
                    plans.push(Plan::Archive(Box::new(ArchivePlan {
                        archive: archiving.archive().clone(),
                        heading: Heading {
                            label: label.to_owned(),
                            session: session.session.to_string(),
                            sender: session.sender.to_string(),
                            source: session.sender_name.map(|name| name.to_string()),
                            receiver: self.name.clone(),
                            started: exact(start.timestamp()),
                        },
                        piece_size: archive.piece_size,
                        min_free,
                        then,
                        clock: || exact(Timestamp::now()),
                        size: quantities::size,
                    })));
                }
                (SinkConfig::Command(line), Some(commands)) => plans.push(Plan::Command(Launch {
                    line: line.clone(),
                    commands: commands.clone(),
                    output: self.output()?,
                })),
                // There is a thread where there is a command.
                (SinkConfig::Command(_), None) => {}
            }
        }
        Ok(plans)
    }

    /// The archive, where there is one.
    pub(super) const fn archiving(&self) -> Option<&Archiving> {
        self.archiving.as_ref()
    }

    /// The archive, where there is one.
    pub(super) const fn archiving_mut(&mut self) -> Option<&mut Archiving> {
        self.archiving.as_mut()
    }

    /// Kills the commands, before their input ends.
    pub(super) fn kill(&self) {
        if let Some(commands) = &self.commands {
            commands.kill_all();
        }
    }

    /// Kills the commands that still run, and waits for their ends; `spent` has been waited already.
    pub(super) fn end(&self, spent: Duration) {
        launch::end_commands(self.commands.as_ref(), spent);
    }

    /// The thread that waits for commands, where there are any.
    pub(super) const fn commands(&self) -> Option<&Commands> {
        self.commands.as_ref()
    }

    fn then(&self, line: Option<&String>, commands: Option<&Commands>) -> Result<Option<Then>, Failure> {
        let then = line.zip(commands).map(|(line, commands)| {
            Ok(Then { line: line.clone(), commands: commands.clone(), output: self.output()? })
        });
        then.transpose()
    }

    /// Where commands write: nothing but the stream goes to standard output where that is a sink.
    fn output(&self) -> Result<OwnedFd, Failure> {
        let copy = if self.sinks.contains(&SinkConfig::Stdout) {
            io::stderr().as_fd().try_clone_to_owned()
        } else {
            io::stdout().as_fd().try_clone_to_owned()
        };
        copy.map_err(launch::no_resource)
    }
}

/// Tries what the files will need, and leaves nothing behind.
fn try_files(sinks: &[SinkConfig], mode: Option<FileMode>) -> Result<(), SinkError> {
    for sink in sinks {
        if let SinkConfig::File { path, overwrite, .. } = sink {
            let existing = existing(*overwrite);
            match (path.fixed(), path.directory()) {
                (Some(path), _) => drop(OutputFile::create(path, existing, mode)?),
                (None, Some(directory)) => OutputFile::try_directory(&directory, existing, mode)?,
                (None, None) => {}
            }
        }
    }
    Ok(())
}

/// Exact enough to tell which of two sessions came first.
fn exact(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

const fn existing(overwrite: bool) -> Existing {
    if overwrite { Existing::Replace } else { Existing::Refuse }
}
