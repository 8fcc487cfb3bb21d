//! What both command lines share: common flags, errors in one line, help.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PathBufValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Parser, ValueEnum};

use super::config::{
    ColorMode, DEFAULT_GROUP, DEFAULT_PORT, LogFormat, NetworkConfig, OutputConfig, ProgressMode,
};
use super::environment::Environment;
use super::error::Failure;
use super::values;
use crate::command::CommandLine;
use crate::exit::Exit;

/// Which network, interface and group.
#[derive(Args, Debug)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// Interface to use, by name or address [default: the one with the route to the group]
    #[arg(short, long, env = "MCAST_INTERFACE", value_name = "NAME|ADDR", value_parser = values::interface)]
    interface: Option<String>,

    /// Multicast group, IPv4 or IPv6 [default: 239.255.77.67]
    #[arg(short, long, env = "MCAST_GROUP", value_name = "ADDR", value_parser = values::group)]
    group: Option<IpAddr>,

    /// UDP port, the same at sender and receivers
    #[arg(short, long, env = "MCAST_PORT", value_name = "N", default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Use the interface's broadcast address instead of a group (IPv4, one segment)
    #[arg(short, long, env = "MCAST_BROADCAST", value_parser = BoolishValueParser::new())]
    broadcast: bool,
}

impl NetworkArgs {
    pub(super) fn config(self) -> Result<NetworkConfig, Failure> {
        if let (true, Some(group)) = (self.broadcast, self.group) {
            return Err(Failure::usage(format!(
                "--broadcast and --group {group} exclude each other; leave out one of them"
            )));
        }
        Ok(NetworkConfig {
            interface: self.interface,
            group: self.group.unwrap_or(DEFAULT_GROUP),
            port: self.port,
            broadcast: self.broadcast,
        })
    }
}

/// What people and programs are told.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Write one JSON document about the session there at exit
    #[arg(long, env = "MCAST_REPORT", value_name = "PATH", value_parser = path())]
    report: Option<PathBuf>,

    /// Append the same document there as one line after each session
    #[arg(long, env = "MCAST_REPORT_LOG", value_name = "PATH", value_parser = path())]
    report_log: Option<PathBuf>,

    /// Progress on stderr: auto is a live line on a terminal, else a line every 30 s; always is one every second there; receivers adds a line for each receiver (mcast-recv: the same as auto)
    #[arg(long, env = "MCAST_PROGRESS", value_name = "WHEN", value_enum, default_value = "auto")]
    progress: ProgressMode,

    /// Say nothing but errors
    #[arg(short, long, env = "MCAST_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,

    /// Say more: -v what changes, -vv each datagram
    #[arg(short, long, env = "MCAST_VERBOSE", action = ArgAction::Count)]
    verbose: u8,

    /// How log lines are written on stderr
    #[arg(long, env = "MCAST_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// When log lines have colours: auto is on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(
        long,
        env = "MCAST_COLOR",
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        hide_short_help = true
    )]
    color: ColorMode,
}

impl OutputArgs {
    pub(super) fn config(self) -> Result<OutputConfig, Failure> {
        if self.quiet && self.verbose > 0 {
            return Err(Failure::usage("--quiet and --verbose exclude each other; leave out one of them"));
        }
        if let (Some(report), Some(log)) = (&self.report, &self.report_log)
            && report == log
        {
            return Err(Failure::usage(format!(
                "--report and --report-log both name {}, which would lose the log; name two files",
                log.display()
            )));
        }
        Ok(OutputConfig {
            report: self.report,
            report_log: self.report_log,
            progress: self.progress,
            quiet: self.quiet,
            verbose: self.verbose,
            log_format: self.log_format,
            color: self.color,
        })
    }
}

impl ValueEnum for ProgressMode {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Always, Self::Never, Self::Receivers]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Receivers => "receivers",
            Self::Never => "never",
        }))
    }
}

impl ValueEnum for ColorMode {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Always, Self::Never]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }))
    }
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Text => "text",
            Self::Json => "json",
        }))
    }
}

/// A path that is not empty.
pub(super) fn path() -> ValueParser {
    PathBufValueParser::new().into()
}

/// The command behind `--`, if there is one.
pub(super) fn command_line(words: Vec<OsString>) -> Result<Option<CommandLine>, Failure> {
    let mut words = words.into_iter();
    words.next().map(|program| runnable(CommandLine { program, arguments: words.collect() })).transpose()
}

/// Refuses a command whose program is not there.
pub(super) fn runnable(line: CommandLine) -> Result<CommandLine, Failure> {
    match line.check(std::env::var_os("PATH").as_deref()) {
        Ok(()) => Ok(line),
        Err(error) => Err(Failure::usage(error)),
    }
}

/// What a command line asks for.
pub(super) enum Asked<T> {
    /// To do the program's work.
    Run(T),
    /// To print this on stdout: help or version.
    Print(String),
}

/// Reads a command line, program name first, and the variables of the options that it does not give.
pub(super) fn parse<P: Parser>(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Asked<P>, Failure> {
    let mut command = with_variables_of(environment, command::<P>());
    let name = command.get_name().to_owned();
    let matches = command.try_get_matches_from_mut(args);
    match matches.and_then(|mut matches| P::from_arg_matches_mut(&mut matches)) {
        Ok(parsed) => Ok(Asked::Run(parsed)),
        Err(error) if !error.use_stderr() => Ok(Asked::Print(error.render().to_string())),
        Err(error) => Err(Failure::usage(format!("{}; see {name} --help", one_line(&error, environment)))),
    }
}

/// The variables of a program's options.
pub(super) fn variables<P: Parser>() -> Vec<String> {
    let command = P::command();
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// clap reads the variables of this process; here it forgets those that `environment` does not have.
fn with_variables_of(environment: &Environment, command: clap::Command) -> clap::Command {
    let forget = |command: clap::Command| with_variables_of(environment, command);
    let keep = |arg: clap::Arg| {
        let is_set = arg.get_env().is_some_and(|name| environment.get(name).is_some());
        if is_set { arg } else { arg.env(None::<&str>) }
    };
    command.mut_args(keep).mut_subcommands(forget)
}

/// The variables of the options go without saying, and would double the length of the help.
fn command<P: Parser>() -> clap::Command {
    let command = without_variables(P::command());
    let help = after_help(&command);
    command.after_help(help)
}

fn without_variables(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_env(true)).mut_subcommands(without_variables)
}

/// The parts of help that all programs end with.
fn after_help(command: &clap::Command) -> String {
    let mut help = String::new();
    if command.get_arguments().any(|arg| arg.get_env().is_some()) {
        help.push_str(
            "Every option can be set in the environment too: MCAST_INTERFACE=eth1 stands for --interface eth1.\n\
             Durations: 500ms 5s 2m 1h (a bare number is seconds). Sizes: 64K 16M 2G, powers of 1024.\n",
        );
    }
    if command.get_arguments().any(|arg| arg.get_long() == Some("rate")) {
        help.push_str("Rates: bits per second, 900M 2.5G, powers of 1000.\n");
    }
    help.push_str(if help.is_empty() { "Exit codes:\n" } else { "\nExit codes:\n" });
    for exit in Exit::TABLE {
        help.push_str(&format!("  {:>5}  {}\n", exit.code(), exit.meaning()));
    }
    help.push_str(&format!("  128+n  {}", Exit::Signal(0).meaning()));
    help
}

/// clap's paragraph as one line: flag, value, what is wrong with it.
fn one_line(error: &clap::Error, environment: &Environment) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        Some(ContextValue::StyledStrs(texts)) => {
            texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    let flag = flag.split([' ', '=', '.']).next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            // What clap's own parsers say names no remedy.
            let reason = reason
                .replace("value was not a boolean", "neither yes nor no; write true or false")
                .replace("invalid digit found in string", "no whole number; write one in digits");
            format!("{}: {reason}", flag_and_value(flag, &value, environment))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{flag} needs a value"),
        ErrorKind::InvalidValue => {
            format!(
                "{}: choose one of {}",
                flag_and_value(flag, &value, environment),
                text(ContextKind::ValidValue)
            )
        }
        ErrorKind::UnknownArgument => {
            let suggested = text(ContextKind::SuggestedArg);
            let tip =
                if suggested.is_empty() { String::new() } else { format!(", did you mean {suggested}?") };
            format!("unknown argument \"{flag}\"{tip}")
        }
        ErrorKind::ArgumentConflict if text(ContextKind::PriorArg).starts_with(flag) => {
            format!("{flag} is given twice; leave out one")
        }
        ErrorKind::InvalidUtf8 => "an argument is no valid UTF-8; use letters that are".to_owned(),
        _ => {
            let rendered = error.to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

/// How the user wrote it: on the command line, or in the environment.
fn flag_and_value(flag: &str, value: &str, environment: &Environment) -> String {
    let variable = format!("MCAST_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
    match environment.get(&variable).map(OsStr::to_string_lossy) {
        // Of a list, only the wrong part is the value.
        Some(set) if set == value || set.split(',').any(|part| part == value) => format!("{variable}={set}"),
        _ if value.is_empty() => format!("{flag} \"\""),
        _ => format!("{flag} {value}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every option but help and version can be set in the environment, under its own name.
    pub(in crate::cli) fn every_option_has_its_variable<P: Parser>() {
        for arg in P::command().get_arguments() {
            let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
                continue;
            };
            let variable = format!("MCAST_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
        P::command().debug_assert();
    }

    /// The help as it is on a terminal of this width.
    pub(in crate::cli) fn help<P: Parser>(width: usize) -> String {
        command::<P>().term_width(width).render_help().to_string()
    }
}
