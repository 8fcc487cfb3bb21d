//! `mcast`: the operator's tool, its command line.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::args::{Asked, parse, path};
use super::error::Failure;
use super::keygen;

/// What mcast-send and mcast-recv need around them.
#[derive(Debug, Parser)]
#[command(name = "mcast", version, max_term_width = 100)]
struct ToolArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a key file, which the hosts of a session share
    Keygen {
        /// Where to put it; nothing is overwritten [default: /etc/mcast/key, where mcast-send and mcast-recv find it]
        #[arg(value_name = "PATH", value_parser = path())]
        path: Option<PathBuf>,
    },
}

/// The program.
pub fn main() -> ExitCode {
    let done = work(std::env::args_os()).and_then(|text| {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(|error| Failure::new(crate::exit::Exit::SinkFailed, format!("cannot write: {error}")))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print("mcast");
            failure.exit.code().into()
        }
    }
}

/// Does what the command line asks for, program name first. Returns what to print.
fn work(args: impl IntoIterator<Item = OsString>) -> Result<String, Failure> {
    match parse::<ToolArgs>(args)? {
        Asked::Print(text) => Ok(text),
        Asked::Run(ToolArgs { task: Task::Keygen { path } }) => keygen::run(path),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_command_line_without_a_task_is_refused_and_help_is_printed() {
        ToolArgs::command().debug_assert();
        let asked = |line: &str| work(line.split(' ').map(OsString::from));
        for wrong in ["mcast", "mcast keygem", "mcast keygen a b"] {
            assert!(asked(wrong).is_err_and(|failure| failure.exit == Exit::Usage), "{wrong}");
        }
        assert!(asked("mcast --help").is_ok_and(|text| text.contains("keygen")));
    }
}
