//! The command line: arguments in, messages, progress and reports out. clap lives here and nowhere else.

mod amounts;
pub mod archive;
mod args;
mod busy;
pub mod config;
pub mod console;
mod environment;
pub mod error;
mod forecast;
mod keygen;
pub mod keys;
mod launch;
pub mod limits;
mod log_form;
mod panics;
mod place;
pub mod progress;
mod quantities;
pub mod receiver_lines;
mod receiving;
pub mod recv;
pub mod report;
mod report_file;
mod report_log;
pub mod send;
mod sending;
mod service;
mod similar;
mod sinks;
pub mod template;
#[cfg(test)]
mod together;
pub mod tool;
mod usage;
pub mod values;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;

use config::{LogFormat, OutputConfig};
use console::Console;
use environment::Environment;
use error::Failure;
use report::Report;
use report_file::Keeps;
use usage::Asked;

use crate::archive::draft;
use crate::command::guard;
use crate::exit::Exit;
use crate::fec::check_processor;
use crate::sink::unfinished::remove_unfinished;

/// How a program's work ended: what there is to report, and why it failed if it did.
#[derive(Debug)]
pub(crate) struct Ended<R> {
    /// Filled in as far as the session came.
    pub(crate) report: R,
    /// Success, or the code and the line to end with.
    pub(crate) result: Result<(), Failure>,
}

/// Log, report and standard output of a program, as its command line wants them.
struct Outputs {
    /// Files and directories that hold the stream, which no report may replace.
    stream: Vec<PathBuf>,
    config: OutputConfig,
    /// Standard output carries the stream, and must carry nothing else.
    stream_on_stdout: bool,
    /// Session follows session. The report is that of the last one, also across restarts.
    repeats: bool,
}

/// A program from command line to exit code.
fn run<C, R: Report>(
    program: &str,
    config: impl FnOnce(Vec<OsString>, &Environment) -> Result<Asked<C>, Failure>,
    output: impl FnOnce(&C) -> Outputs,
    work: impl FnMut(&C, &Console) -> Ended<R>,
    again: impl Fn(&C, &Ended<R>) -> bool,
) -> ExitCode {
    if let Some(code) = guard::main_if_asked(std::env::args_os()) {
        return code;
    }
    panics::caught(|| run_caught(program, config, output, work, again))
}

fn run_caught<C, R: Report>(
    program: &str,
    config: impl FnOnce(Vec<OsString>, &Environment) -> Result<Asked<C>, Failure>,
    output: impl FnOnce(&C) -> Outputs,
    mut work: impl FnMut(&C, &Console) -> Ended<R>,
    again: impl Fn(&C, &Ended<R>) -> bool,
) -> ExitCode {
    let environment = Environment::of_this_process();
    let args: Vec<OsString> = std::env::args_os().collect();
    let as_json = usage::asks_for_json(&args, &environment);
    let prepared = config(args, &environment).and_then(|asked| match asked {
        Asked::Print(text) => Ok(Asked::Print(text)),
        Asked::Run(config) => {
            check_processor()?;
            let outputs = output(&config);
            report_file::must_be_apart(&outputs.config, &outputs.stream)?;
            for (keeps, path) in outputs.config.reports() {
                report_file::check(keeps, path, outputs.stream_on_stdout)?;
            }
            let console = Console::start(&outputs.config)?;
            panics::log_in_one_line(&console);
            environment.tell_what_is_ignored(&[send::variables(), recv::variables()].concat());
            Ok(Asked::Run((config, outputs, console)))
        }
    });
    let (config, Outputs { config: output, repeats, .. }, console) = match prepared {
        Ok(Asked::Run(run)) => run,
        Ok(Asked::Print(text)) => {
            return print(&text)
                .map_or_else(|failure| end_early(program, &failure, as_json), |()| ExitCode::SUCCESS);
        }
        Err(failure) => return end_early(program, &failure, as_json),
    };
    let tell = |failure: &Failure| say(&console, &output, program, failure);
    for (keeps, path) in output.reports() {
        let result = match keeps {
            Keeps::Last if !repeats => report_file::clear(path),
            _ => report_file::look(keeps, path),
        };
        if let Err(failure) = result {
            tell(&Failure { message: format!("{failure}; the session takes place all the same"), ..failure });
        }
    }
    let exit = loop {
        let started = Timestamp::now();
        let ended = work(&config, &console);
        let again = again(&config, &ended);
        // A service that is stopped while it waits leaves the reports of its last sessions alone. One that fails does not, or
        // whoever reads them would believe that all is well.
        let is_stopped = matches!(&ended.result, Err(Failure { exit: Exit::Signal(_), .. }));
        let has_report = !repeats || ended.report.has_session() || !is_stopped;
        let exit = conclude(ended, started, output.reports().filter(|_| has_report), tell);
        if !again {
            break exit;
        }
    };
    console.finish();
    exit.code().into()
}

/// The end of a program that has not come as far as its log.
fn end_early(program: &str, failure: &Failure, as_json: bool) -> ExitCode {
    match as_json.then(Console::for_an_early_end) {
        Some(Ok(console)) => {
            tracing::error!(code = failure.exit.code(), "{failure}");
            console.finish();
        }
        _ => failure.print(program),
    }
    failure.exit.code().into()
}

/// Prints to standard output. A reader that has gone, such as `head`, has what it wants.
///
/// # Errors
/// With exit code 9, when standard output cannot take it, as on a full disk.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::SinkFailed, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// What is left to do when a session has ended: its report, and its last word.
fn conclude<'a, R: Report>(
    ended: Ended<R>,
    started: Timestamp,
    places: impl Iterator<Item = (Keeps, &'a Path)>,
    tell: impl Fn(&Failure),
) -> Exit {
    let Ended { mut report, result } = ended;
    remove_unfinished_outputs();
    report.end(result.as_ref().copied(), started, Timestamp::now());
    let in_haste = matches!(&result, Err(Failure { exit: Exit::Signal(_), .. }));
    for (keeps, path) in places {
        // The exit code tells what has become of the stream, and nothing of the report.
        if let Err(failure) = report_file::write(keeps, path, &report, in_haste) {
            tell(&failure);
        }
    }
    match result {
        Ok(()) => Exit::Complete,
        Err(failure) => {
            tell(&failure);
            failure.exit
        }
    }
}

/// Removes what a session has left that ended in its middle.
fn remove_unfinished_outputs() {
    remove_unfinished();
    draft::remove_unfinished();
}

/// The last word, in the form that the log has.
fn say(console: &Console, output: &OutputConfig, program: &str, failure: &Failure) {
    match output.log_format {
        LogFormat::Text => console.line(&format!("{program}: {failure}")),
        LogFormat::Json => tracing::error!(code = failure.exit.code(), "{failure}"),
    }
}
