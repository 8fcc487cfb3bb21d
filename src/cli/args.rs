//! The flags that both command lines share.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PathBufValueParser, TypedValueParser, ValueParser};
use clap::{ArgAction, Args, ValueEnum};

use super::config::{
    ColorMode, DEFAULT_GROUP, DEFAULT_PORT, LogFormat, NetworkConfig, OutputConfig, ProgressMode,
};
use super::error::Failure;
use super::values;
use crate::command::CommandLine;

/// Which network, interface and group.
#[derive(Args, Debug)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// Interface, by name or address [default: by the route to the group]
    #[arg(short, long, env = "MCAST_INTERFACE", value_name = "NAME|ADDR", value_parser = values::interface)]
    interface: Option<String>,

    /// Multicast group, IPv4 or IPv6 [default: 239.255.77.67]
    #[arg(short, long, env = "MCAST_GROUP", hide_short_help = true, value_name = "ADDR", value_parser = values::group)]
    group: Option<IpAddr>,

    /// UDP port, the same at sender and receivers
    #[arg(short, long, env = "MCAST_PORT", value_name = "N", default_value_t = DEFAULT_PORT, value_parser = values::whole::<u16>(1, 65_535))]
    port: u16,

    /// Use the interface's broadcast address instead of a group (IPv4, one segment)
    #[arg(short, long, env = "MCAST_BROADCAST", hide_short_help = true, value_parser = BoolishValueParser::new())]
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
    /// Write a JSON document about the session to this file at exit
    #[arg(long, env = "MCAST_REPORT", value_name = "PATH", value_parser = path())]
    report: Option<PathBuf>,

    /// Append the same document there as one line after each session
    #[arg(long, env = "MCAST_REPORT_LOG", hide_short_help = true, value_name = "PATH", value_parser = path())]
    report_log: Option<PathBuf>,

    /// Progress on stderr: auto is a live line on a terminal, else a line every 30 s; always is one every second there; receivers adds a line for each receiver (mcast-recv: the same as auto)
    #[arg(
        long,
        env = "MCAST_PROGRESS",
        hide_short_help = true,
        value_name = "WHEN",
        value_enum,
        default_value = "auto"
    )]
    progress: ProgressMode,

    /// Print errors only
    #[arg(short, long, env = "MCAST_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,

    /// Print more: -v changes of state, -vv every datagram
    #[arg(short, long, env = "MCAST_VERBOSE", action = ArgAction::Count, value_parser = values::whole::<u8>(0, 255))]
    verbose: u8,

    /// Format of log lines on stderr
    #[arg(
        long,
        env = "MCAST_LOG_FORMAT",
        hide_short_help = true,
        value_name = "FORMAT",
        value_enum,
        default_value = "text"
    )]
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
        let shown = match self.progress {
            ProgressMode::Always => Some("always"),
            ProgressMode::Receivers => Some("receivers"),
            ProgressMode::Auto | ProgressMode::Never => None,
        };
        if let Some(mode) = shown.filter(|_| self.quiet) {
            return Err(Failure::usage(format!(
                "--quiet and --progress {mode} exclude each other; leave out one of them"
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

/// A path that is not empty. A lone `-` is refused, since there is no stream in its place.
pub(super) fn path() -> ValueParser {
    let refuse = |path: PathBuf| match path.to_str() {
        Some("-") => Err("not a standard stream here; write ./- for a file of that name"),
        _ => Ok(path),
    };
    PathBufValueParser::new().try_map(refuse).into()
}

/// A path that is not empty, or `-` for a standard stream.
pub(super) fn path_or_stream() -> ValueParser {
    PathBufValueParser::new().into()
}

/// The command after `--`, if there is one.
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

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

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
}
