//! The sinks that a command line names: checked at launch, opened when a session starts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use jiff::Zoned;

use super::config::{RecvConfig, SinkConfig};
use super::error::Failure;
use super::launch;
use crate::command::Commands;
use crate::exit::Exit;
use crate::sink::file::{Existing, OutputFile};
use crate::sink::pipe::OutputPipe;
use crate::sink::several::{Launch, Plan, Then};
use crate::wire::Label;

/// What is to be opened for one session.
#[derive(Debug)]
pub(super) struct SinkPlans {
    sinks: Vec<SinkConfig>,
    name: String,
    /// Standard output, where it is a sink.
    pipe: Option<OutputPipe>,
    /// The thread that waits for commands, where there are any.
    commands: Option<Commands>,
}

impl SinkPlans {
    /// Finds out what would fail at the start too.
    pub(super) fn prepare(config: &RecvConfig) -> Result<Self, Failure> {
        let has_command = |sink: &SinkConfig| {
            matches!(sink, SinkConfig::Command(_) | SinkConfig::File { then: Some(_), .. })
        };
        for sink in &config.sinks {
            if let SinkConfig::File { path, overwrite, .. } = sink
                && let Some(path) = path.fixed()
            {
                // It leaves nothing behind.
                OutputFile::create(path, existing(*overwrite))?;
            }
        }
        Ok(Self {
            sinks: config.sinks.clone(),
            name: config.name.clone(),
            pipe: config.sinks.contains(&SinkConfig::Stdout).then(OutputPipe::stdout).transpose()?,
            commands: config.sinks.iter().any(has_command).then(launch::commands).transpose()?,
        })
    }

    /// What to open for a session of this label, now.
    pub(super) fn plans(&mut self, label: Option<Label>) -> Result<Vec<Plan>, Failure> {
        let label = label.as_ref().map_or("", Label::as_str);
        let start = Zoned::now();
        let mut plans = Vec::new();
        for sink in &self.sinks {
            match (sink, &self.commands) {
                (SinkConfig::Stdout, _) => plans.extend(self.pipe.take().map(Plan::Pipe)),
                (SinkConfig::File { path, overwrite, then }, commands) => {
                    let path = path.fill(label, &self.name, &start).map_err(|error| {
                        Failure::new(Exit::SinkFailed, format!("cannot name the output file: {error}"))
                    })?;
                    let then = match then.as_ref().zip(commands.as_ref()) {
                        Some((line, commands)) => Some(Then {
                            line: line.clone(),
                            commands: commands.clone(),
                            output: self.output()?,
                        }),
                        None => None,
                    };
                    plans.push(Plan::File { path, existing: existing(*overwrite), then });
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

    /// Kills the commands, before their input ends.
    pub(super) fn kill(&self) {
        if let Some(commands) = &self.commands {
            commands.kill_all();
        }
    }

    /// Kills the commands that still run, and waits for their ends.
    pub(super) fn end(&self) {
        launch::end_commands(self.commands.as_ref());
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

const fn existing(overwrite: bool) -> Existing {
    if overwrite { Existing::Replace } else { Existing::Refuse }
}
