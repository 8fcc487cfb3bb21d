//! `mcast-recv`: its command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser};
use jiff::Zoned;

use super::archive::KeepArgs;
use super::args::{NetworkArgs, OutputArgs, command_line, path, path_or_stream, runnable};
use super::config::{ArchiveConfig, DEFAULT_START_TIMEOUT, RecvConfig, Room, SinkConfig};
use super::environment::Environment;
use super::error::Failure;
use super::keys::KeyArgs;
use super::receiving::Receiving;
use super::template::Template;
use super::usage::{self, Asked, parse};
use super::values::{self, ForEver};
use super::version;
use super::{Outputs, run};
use crate::command::CommandLine;
use crate::disk::FileMode;
use crate::sink::then;

/// Receive a stream of bytes that mcast-send multicasts, verified.
#[derive(Debug, Parser)]
#[command(name = "mcast-recv", version = version::text(), max_term_width = 100, before_help = EXAMPLES)]
struct RecvArgs {
    /// Write the stream to this file, which appears once it is verified
    #[arg(short, long, long_help = "Write the stream to this file, which appears once it is verified; {label}, {name} and {start:%Y-%m-%d} in its name are filled in; - is standard output", env = "MCAST_OUTPUT", value_name = "PATH", value_parser = path_or_stream())]
    output: Option<PathBuf>,

    /// With -o: replace a file of that name
    #[arg(long, env = "MCAST_OVERWRITE", value_parser = BoolishValueParser::new())]
    overwrite: bool,

    /// With -o or --archive: mode of complete files, such as 0640 [default: 0600]
    #[arg(
        long,
        long_help = "With -o or --archive: mode of the files once they are complete, such as 0640, whatever the umask is; directories of entries can be entered by users that may read the files [default: 0600, or the mode of the file that is replaced]",
        env = "MCAST_MODE",
        value_name = "OCTAL",
        value_parser = values::mode,
        hide_short_help = true
    )]
    mode: Option<FileMode>,

    /// With -o or --archive: run this shell line on the complete {file}
    #[arg(
        long,
        long_help = "With -o or --archive: run this line in the shell once the file is complete; {file} stands for its path, and the exit status counts",
        env = "MCAST_THEN",
        value_name = "LINE"
    )]
    then: Option<String>,

    /// Give the stream to this command: it is killed if the stream fails, and its exit status counts
    #[arg(last = true, hide_short_help = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Refuse streams with another label [default: accept any]
    #[arg(long, env = "MCAST_EXPECT", value_name = "LABEL", value_parser = values::label)]
    expect: Option<String>,

    /// After each session wait for the next one, until a signal comes
    #[arg(long, env = "MCAST_REPEAT", value_parser = BoolishValueParser::new())]
    repeat: bool,

    /// Name of this receiver in the sender's report [default: the host name]
    #[arg(long, env = "MCAST_NAME", hide_short_help = true, value_name = "NAME", value_parser = values::name)]
    name: Option<String>,

    /// Give up if no session starts within this time; 0: never [default: 10m, or 0 with --repeat]
    #[arg(long, env = "MCAST_START_TIMEOUT", hide_short_help = true, value_name = "DUR", value_parser = values::duration_or_for_ever)]
    start_timeout: Option<ForEver>,

    #[command(flatten)]
    archive: ArchiveArgs,

    #[command(flatten)]
    network: NetworkArgs,

    /// Hops that answers to the sender may take [default: the system's, usually 64]
    #[arg(long, env = "MCAST_TTL", hide_short_help = true, value_name = "N", value_parser = values::whole::<u8>(1, 255), help_heading = "Network")]
    ttl: Option<u8>,

    /// Silence after which the sender counts as dead
    #[arg(long, env = "MCAST_PEER_TIMEOUT", hide_short_help = true, value_name = "DUR", default_value = "10s", value_parser = values::peer_timeout, help_heading = "Transfer")]
    peer_timeout: Duration,

    /// Memory for data that the output has not taken yet: how far the others may run ahead of this one
    #[arg(long, env = "MCAST_BUFFER", hide_short_help = true, value_name = "SIZE", default_value = "32M", value_parser = values::memory, help_heading = "Transfer")]
    buffer: u64,

    /// Fail a stream that is longer than this [default: accept any]
    #[arg(long, env = "MCAST_MAX_SIZE", hide_short_help = true, value_name = "SIZE", value_parser = values::max_size, help_heading = "Transfer")]
    max_size: Option<u64>,

    #[command(flatten)]
    trust: KeyArgs,

    #[command(flatten)]
    messages: OutputArgs,
}

/// An archive as a sink.
#[derive(Args, Debug)]
#[command(next_help_heading = "Archive")]
struct ArchiveArgs {
    /// Make the stream an entry of the archive in this directory
    #[arg(long, env = "MCAST_ARCHIVE", value_name = "DIR", value_parser = path())]
    archive: Option<PathBuf>,

    /// Cut the entry into files of this size [default: one file]
    #[arg(long, env = "MCAST_PIECE_SIZE", hide_short_help = true, value_name = "SIZE", value_parser = values::piece_size)]
    piece_size: Option<u64>,

    #[command(flatten)]
    keep: KeepArgs,

    /// Refuse sessions while less than this, such as 50G or 10%, is free there, and fail one that leaves less
    #[arg(long, env = "MCAST_MIN_FREE", hide_short_help = true, value_name = "SIZE|%", value_parser = values::min_free)]
    min_free: Option<Room>,
}

impl ArchiveArgs {
    fn config(self, then: Option<String>) -> Result<Option<ArchiveConfig>, Failure> {
        let keep = self.keep.policy();
        let Some(directory) = self.archive else {
            let lost = [
                ("--piece-size", self.piece_size.is_some()),
                ("--min-free", self.min_free.is_some()),
                ("--keep-…", !keep.is_empty()),
            ];
            return match lost.iter().find(|(_, given)| *given) {
                Some((flag, _)) => {
                    Err(Failure::usage(format!("{flag} is about an archive; give --archive too")))
                }
                None => Ok(None),
            };
        };
        if let (Some(line), Some(_)) = (&then, self.piece_size) {
            return Err(Failure::usage(format!(
                "--then \"{line}\" needs one file to work on; leave out --piece-size, or name a file with -o"
            )));
        }
        let (piece_size, min_free) = (self.piece_size, self.min_free);
        if let Some(line) = &then {
            check_then(line, &directory)?;
        }
        Ok(Some(ArchiveConfig { directory, piece_size, then, keep, min_free }))
    }
}

const EXAMPLES: &str = "\
Examples:
  mcast-recv -- pg_restore -1 -e --clean --if-exists -O -x -d copy    restore all of it, or nothing
  mcast-recv -o nightly.dump                            a file that appears once it is verified
  mcast-recv -o n.dump --then 'pg_restore -j8 {file}'   restore with several jobs, from the file
  mcast-recv --archive /srv/dumps --keep-daily 14       an entry of an archive; old ones are removed
  mcast-recv | tar -x                                   a pipe cannot tell tar of a failure";

/// The program.
pub fn main() -> ExitCode {
    let mut receiving = Receiving::default();
    run(
        "mcast-recv",
        |args, environment| config(args, environment, io::stdout().is_terminal()),
        |config| Outputs {
            stream: config.sinks.iter().filter_map(held_by).collect(),
            config: config.output.clone(),
            stream_on_stdout: config.sinks.contains(&SinkConfig::Stdout),
            repeats: config.repeat,
        },
        |config, console| receiving.work(config, console),
        Receiving::goes_on,
    )
}

/// The file or directory that holds the stream of this sink, as far as it is known before the session.
fn held_by(sink: &SinkConfig) -> Option<PathBuf> {
    match sink {
        SinkConfig::File { path, .. } => path.fixed().map(Path::to_owned),
        SinkConfig::Archive(archive) => Some(archive.directory.clone()),
        SinkConfig::Stdout | SinkConfig::Command(_) => None,
    }
}

/// The variables of all options.
pub(super) fn variables() -> Vec<String> {
    usage::variables::<RecvArgs>()
}

/// Reads a command line, program name first, as the program does in an empty environment, and does nothing else.
///
/// # Errors
/// What the program would end with.
pub fn check(args: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    config(args, &Environment::none(), false).map(|_| ())
}

/// Reads the command line, program name first, and the environment.
///
/// # Errors
/// With exit code 2, when they make no sense.
pub(super) fn config(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    stdout_is_terminal: bool,
) -> Result<Asked<RecvConfig>, Failure> {
    let args = match parse::<RecvArgs>(args, environment)? {
        Asked::Run(args) => args,
        Asked::Print(text) => return Ok(Asked::Print(text)),
    };
    let then_line = args.then;
    if let Some(line) = &then_line {
        if line.trim().is_empty() {
            return Err(Failure::usage(
                "the line of --then is empty (an unset variable?); name a command, or leave out --then",
            ));
        }
        runnable(CommandLine::shell(""))?;
    }
    if args.overwrite && args.output.as_deref().is_none_or(|path| path == Path::new("-")) {
        return Err(Failure::usage(
            "--overwrite needs a file to replace; name it with -o, or leave out --overwrite",
        ));
    }
    let (mut sinks, mut archive_then) = (Vec::new(), None);
    match (args.output, then_line) {
        (Some(path), then) if path != Path::new("-") => {
            let template = Template::parse(&path)
                .map_err(|error| Failure::usage(format!("--output {}: {error}", path.display())))?;
            if let (Some(line), Ok(path)) = (&then, template.fill("label", "name", &Zoned::now())) {
                check_then(line, &path)?;
            }
            sinks.push(SinkConfig::File { path: template, overwrite: args.overwrite, then });
        }
        (Some(_), None) => sinks.push(SinkConfig::Stdout),
        (output, then) => {
            if let Some(line) = &then
                && (output.is_some() || args.archive.archive.is_none())
            {
                return Err(Failure::usage(format!(
                    "--then \"{line}\" needs a file to work on; name it with -o, or give --archive"
                )));
            }
            archive_then = then;
        }
    }
    sinks.extend(args.archive.config(archive_then)?.map(SinkConfig::Archive));
    if sinks.is_empty() && args.command.is_empty() {
        sinks.push(SinkConfig::Stdout);
    }
    if sinks.contains(&SinkConfig::Stdout) && stdout_is_terminal {
        return Err(Failure::usage(
            "standard output is a terminal; name a command after --, a file with -o, or redirect it",
        ));
    }
    if args.mode.is_some()
        && !sinks.iter().any(|sink| matches!(sink, SinkConfig::File { .. } | SinkConfig::Archive(_)))
    {
        return Err(Failure::usage("--mode is about files; give -o or --archive too"));
    }
    if args.repeat {
        check_repeat(&sinks)?;
    }
    sinks.extend(command_line(args.command)?.map(SinkConfig::Command));
    Ok(Asked::Run(RecvConfig {
        network: args.network.config()?,
        keys: args.trust.config(environment)?,
        ttl: args.ttl,
        sinks,
        mode: args.mode,
        expect: args.expect,
        name: args.name.unwrap_or_else(values::host_name),
        start_timeout: match args.start_timeout {
            Some(given) => given.0,
            None if args.repeat => None,
            None => Some(DEFAULT_START_TIMEOUT),
        },
        repeat: args.repeat,
        peer_timeout: args.peer_timeout,
        buffer: args.buffer,
        max_size: args.max_size,
        output: args.messages.config()?,
    }))
}

/// Refuses a line that no shell could be given for a path like this.
fn check_then(line: &str, path: &Path) -> Result<(), Failure> {
    let checked = then::command(line, path).map_err(|error| format!("--then \"{line}\": {error}"));
    checked.map(|_| ()).map_err(Failure::usage)
}

/// What several sessions would do to each other's output.
fn check_repeat(sinks: &[SinkConfig]) -> Result<(), Failure> {
    for sink in sinks {
        match sink {
            SinkConfig::Stdout => {
                return Err(Failure::usage(
                    "--repeat: streams would run into each other on standard output; give a command after --, or -o",
                ));
            }
            SinkConfig::File { path, overwrite: false, .. } if path.fixed().is_some() => {
                return Err(Failure::usage(
                    "--repeat: each session needs a file of its own; put {start} or {label} into --output, or give --overwrite",
                ));
            }
            SinkConfig::File { .. } | SinkConfig::Archive(_) | SinkConfig::Command(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::every_option_has_its_variable;
    use super::super::usage::tests::{help, short_help_fits_a_screen};
    use super::*;
    use crate::cli::config::{DEFAULT_BUFFER, DEFAULT_PEER_TIMEOUT};
    use crate::exit::Exit;

    fn asked(line: &str, stdout_is_terminal: bool) -> Result<Asked<RecvConfig>, Failure> {
        let args = std::iter::once("mcast-recv").chain(line.split_whitespace()).map(OsString::from);
        config(args, &Environment::none(), stdout_is_terminal)
    }

    fn right(line: &str) -> RecvConfig {
        match asked(line, false) {
            Ok(Asked::Run(config)) => config,
            Ok(Asked::Print(text)) => panic!("{line}: {text}"),
            Err(failure) => panic!("{line}: {failure}"),
        }
    }

    fn template(text: &str) -> Template {
        Template::parse(Path::new(text)).unwrap()
    }

    #[test]
    fn without_flags_the_defaults_are_those_of_the_design() {
        let config = right("");
        assert_eq!((config.sinks, config.expect, config.ttl), (vec![SinkConfig::Stdout], None, None));
        assert_eq!(
            (config.start_timeout, config.peer_timeout),
            (Some(DEFAULT_START_TIMEOUT), DEFAULT_PEER_TIMEOUT)
        );
        assert_eq!((config.buffer, config.name), (DEFAULT_BUFFER, values::host_name()));
    }

    #[test]
    fn flags_reach_the_configuration() {
        let config =
            right("-o a.dump --expect prod --name db2 --ttl 4 --buffer 1M --start-timeout 0 -i eth1 -p 7000");
        assert_eq!(
            (config.sinks, config.expect),
            (
                vec![SinkConfig::File { path: template("a.dump"), overwrite: false, then: None }],
                Some("prod".to_owned())
            )
        );
        assert_eq!((config.name.as_str(), config.ttl, config.buffer), ("db2", Some(4), 1 << 20));
        assert_eq!((config.start_timeout, config.network.interface.as_deref()), (None, Some("eth1")));
        assert_eq!(config.network.port, 7000);
    }

    #[test]
    fn mode_reaches_the_configuration_and_needs_a_file() {
        for line in ["-o a --mode 0640", "--archive /a --mode 640"] {
            assert_eq!(right(line).mode, FileMode::new(0o640), "{line}");
        }
        assert_eq!(right("-o a").mode, None);
        for (line, words) in [
            ("--mode 0640", "give -o or --archive"),
            ("-o - --mode 0640", "give -o or --archive"),
            ("-o a --mode 4755", "--mode 4755: has bits that are not permissions"),
            ("-o a --mode 0440", "--mode 0440: takes reading or writing from the owner"),
        ] {
            let Err(failure) = asked(line, false) else { panic!("{line}: taken") };
            assert!(failure.exit == Exit::Usage && failure.message.contains(words), "{line}: {failure}");
        }
    }

    #[test]
    fn bounds_on_what_a_sender_can_do_reach_the_configuration() {
        let config = right("--archive /a --keep-within 7d --max-size 2G --min-free 1G");
        assert_eq!(config.max_size, Some(2 << 30));
        let [SinkConfig::Archive(archive)] = config.sinks.as_slice() else { panic!("{:?}", config.sinks) };
        assert_eq!(archive.keep.within, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(archive.min_free, Some(Room::Bytes(1 << 30)));
        assert_eq!(right("-o a --max-size 2G").max_size, Some(2 << 30));
        for line in [
            "--max-size lots",
            "--max-size 0",
            "--archive /a --min-free 0%",
            "--min-free 10%",
            "--archive /a --keep-within soon",
            "--keep-within 7d -o a",
        ] {
            assert!(asked(line, false).is_err_and(|failure| failure.exit == Exit::Usage), "{line}");
        }
        // Seven seconds would be an archive of one entry.
        for value in ["7", "0", "0d"] {
            let Err(failure) = asked(&format!("--archive /a --keep-within {value}"), false) else {
                panic!("{value}")
            };
            let text = failure.to_string();
            assert!(
                text.contains(&format!("--keep-within {value}: ")) && text.contains("such as 36h or 7d"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_terminal_is_no_sink() {
        let refused = |line| asked(line, true).is_err_and(|failure| failure.exit == Exit::Usage);
        assert!(refused("") && refused("-o -") && !refused("-o a.dump"));
    }

    #[test]
    fn several_sinks_may_be_given_at_once() {
        let file = |then: Option<&str>| SinkConfig::File {
            path: template("a"),
            overwrite: then.is_some(),
            then: then.map(str::to_owned),
        };
        let command = SinkConfig::Command(CommandLine {
            program: "sh".into(),
            arguments: vec!["-c".into(), "x".into()],
        });
        assert_eq!(right("-- sh -c x").sinks, std::slice::from_ref(&command));
        assert_eq!(right("-o a -- sh -c x").sinks, [file(None), command.clone()]);
        assert_eq!(right("-o - -- sh -c x").sinks, [SinkConfig::Stdout, command]);
        assert_eq!(right("-o a --then true --overwrite").sinks, [file(Some("true"))]);
        for line in [
            "--then true",
            "-o - --then true",
            "-- no-such-program",
            "-- --then",
            "-o {x}",
            "--overwrite",
            "--overwrite -o -",
            "--overwrite --archive /a",
            "--overwrite -- sh",
            "--",
            "-o a --",
        ] {
            assert!(asked(line, false).is_err_and(|failure| failure.exit == Exit::Usage), "{line}");
        }
    }

    #[test]
    fn sessions_that_repeat_need_places_of_their_own() {
        let config = right("--repeat -o {start}.dump");
        assert_eq!((config.repeat, config.start_timeout), (true, None));
        assert_eq!(right("--repeat --start-timeout 5s -- sh").start_timeout, Some(Duration::from_secs(5)));
        assert!(right("--repeat -o a --overwrite").repeat);
        for line in ["--repeat", "--repeat -o a", "--repeat -o - -- sh"] {
            assert!(asked(line, false).is_err_and(|failure| failure.exit == Exit::Usage), "{line}");
        }
    }

    #[test]
    fn then_that_no_shell_could_be_given_for_its_file_is_refused() {
        let asked = |output: &str, place: &str, then: &str| {
            let args = ["mcast-recv", place, output, "--then", then].map(OsString::from);
            config(args, &Environment::none(), false).map(|_| ())
        };
        let nested = "sh -c 'pg_restore {file}'";
        assert!(asked("/srv/{label}.dump", "-o", nested).is_ok());
        assert!(asked("/srv/my dumps/{label}", "-o", "pg_restore \"{file}\"").is_ok());
        for place in ["-o", "--archive"] {
            let failure = asked("/srv/my dumps/a", place, nested).unwrap_err();
            assert!(failure.exit == Exit::Usage && failure.message.contains("--then \"sh -c"), "{failure}");
        }
    }

    #[test]
    fn a_hostile_name_is_refused_in_one_harmless_line() {
        let args = ["mcast-recv", "--name", "a\u{1b}[2J\nb"].map(OsString::from);
        let Err(failure) = config(args, &Environment::none(), false) else { panic!("taken") };
        assert!(!failure.to_string().contains(['\u{1b}', '\n']), "{failure}");
    }

    #[test]
    fn options_can_be_set_in_the_environment() {
        every_option_has_its_variable::<RecvArgs>();
    }

    #[test]
    fn help_shows_examples_first_and_the_exit_codes_last() {
        insta::assert_snapshot!(help::<RecvArgs>("mcast-recv --help", 100));
    }

    #[test]
    fn short_help_has_the_common_options_on_one_screen() {
        short_help_fits_a_screen::<RecvArgs>("mcast-recv -h");
        insta::assert_snapshot!(help::<RecvArgs>("mcast-recv -h", 100));
    }
}
