//! `mcast`: the operator's tool, its command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::archive::{self, ArchiveTask};
use super::args::path;
use super::environment::Environment;
use super::error::Failure;
use super::keygen;
use super::keys;
use super::panics;
use super::print;
use super::usage::{Asked, parse};
use super::version;
use crate::command::guard;

/// Keys and archives for mcast-send and mcast-recv.
#[derive(Debug, Parser)]
#[command(name = "mcast", version = version::text(), max_term_width = 100, help_template = super::HELP_TEMPLATE, before_help = EXAMPLES)]
struct ToolArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a key file, which the hosts of a session share
    #[command(before_help = "Example:\n  sudo -u postgres mcast keygen")]
    Keygen {
        /// Name of the new file [default: /etc/mcast/key, where mcast-send and mcast-recv find it]
        #[arg(value_name = "PATH", value_parser = path())]
        path: Option<PathBuf>,
    },
    /// Look at key files
    #[command(subcommand, before_help = "Example:\n  mcast key id")]
    Key(KeyTask),
    /// Look after the archives that mcast-recv --archive fills
    #[command(subcommand, before_help = "Example:\n  mcast archive list /srv/dumps")]
    Archive(ArchiveTask),
}

#[derive(Debug, Subcommand)]
enum KeyTask {
    /// Print the id of a key, which logs and reports name
    #[command(
        before_help = "Examples:\n  mcast key id                     of the key that mcast-send and mcast-recv find\n  mcast key id /etc/mcast/keys     of each key in a directory, with its file"
    )]
    Id {
        /// A key file, or a directory of them [default: $CREDENTIALS_DIRECTORY/mcast-key or /etc/mcast/key]
        #[arg(value_name = "PATH", value_parser = path())]
        path: Option<PathBuf>,
    },
}

const EXAMPLES: &str = "\
Examples:
  sudo -u postgres mcast keygen            make /etc/mcast/key, then copy it to every host
  mcast archive list /srv/dumps            the dumps that mcast-recv --archive /srv/dumps has kept
  mcast archive verify /srv/dumps          compare all of them with their digests";

/// What a task leaves to be printed, and how it ended.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) text: String,
    /// Standard output has carried something else.
    pub(super) to_stderr: bool,
    /// The text is there even where the task has failed.
    pub(super) result: Result<(), Failure>,
}

impl Printed {
    pub(super) fn text(text: String) -> Self {
        Self { text, ..Self::default() }
    }

    fn print(self) -> Result<(), Failure> {
        if self.to_stderr {
            // A closed stderr cannot be reported anywhere.
            let _ = io::stderr().lock().write_all(self.text.as_bytes());
        } else {
            print(&self.text)?;
        }
        self.result
    }
}

impl Default for Printed {
    fn default() -> Self {
        Self { text: String::new(), to_stderr: false, result: Ok(()) }
    }
}

/// The program.
pub fn main() -> ExitCode {
    if let Some(code) = guard::main_if_asked(std::env::args_os()) {
        return code;
    }
    panics::caught(|| match work(std::env::args_os()).and_then(Printed::print) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print("mcast");
            failure.exit.code().into()
        }
    })
}

/// Does what the command line asks for, program name first. Variables are for mcast-send and mcast-recv: what a host sets
/// for its nightly job must not decide what `mcast archive prune` removes by hand.
fn work(args: impl IntoIterator<Item = OsString>) -> Result<Printed, Failure> {
    match parse::<ToolArgs>(args, &Environment::none())? {
        Asked::Print(text) => Ok(Printed::text(text)),
        Asked::Run(ToolArgs { task: Task::Keygen { path } }) => keygen::run(path).map(Printed::text),
        Asked::Run(ToolArgs { task: Task::Key(KeyTask::Id { path }) }) => {
            // No variable of ours: only the place that systemd names.
            keys::ids(path, &Environment::of_this_process()).map(Printed::text)
        }
        Asked::Run(ToolArgs { task: Task::Archive(task) }) => archive::run(task),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::usage::tests::short_help_fits_a_screen;
    use crate::exit::Exit;

    #[test]
    fn a_command_line_without_a_task_is_refused_and_help_is_printed() {
        ToolArgs::command().debug_assert();
        let asked = |line: &str| work(line.split(' ').map(OsString::from));
        for wrong in ["mcast", "mcast keygem", "mcast keygen a b", "mcast archive", "mcast archive list"] {
            assert!(asked(wrong).is_err_and(|failure| failure.exit == Exit::Usage), "{wrong}");
        }
        let help = asked("mcast --help").unwrap().text;
        assert!(help.contains("keygen") && help.contains("archive"), "{help}");
        for line in [
            "mcast",
            "mcast keygen",
            "mcast key",
            "mcast key id",
            "mcast archive",
            "mcast archive list",
            "mcast archive verify",
            "mcast archive cat",
            "mcast archive restore",
            "mcast archive rm",
            "mcast archive prune",
        ] {
            short_help_fits_a_screen::<ToolArgs>(&format!("{line} -h"));
            short_help_fits_a_screen::<ToolArgs>(
                &format!("{line} --help").replace("mcast --help", "mcast -h"),
            );
        }
        // Variables are promised for the options of the other two programs.
        for line in ["mcast --help", "mcast keygen --help", "mcast archive prune --help"] {
            let help = asked(line).unwrap().text;
            assert!(!help.contains("MCAST_") && !help.contains("environment"), "{line}: {help}");
        }
    }
}
