//! `mcast-send`: its command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::BoolishValueParser;

use super::args::{NetworkArgs, OutputArgs, command_line, path_or_stream};
use super::config::{
    DEFAULT_LABEL, DEFAULT_MIN_WAIT, MOST_RECEIVERS, MOST_REQUIRED, SendConfig, SourceConfig, StartConfig,
};
use super::environment::Environment;
use super::error::Failure;
use super::keys::KeyArgs;
use super::sending;
use super::usage::{self, Asked, parse};
use super::values::{self, ForEver};
use super::version;
use super::{Outputs, run};
use crate::wire::Announce;

/// Multicast a stream of bytes to any number of hosts at once, verified at each.
#[derive(Debug, Parser)]
#[command(name = "mcast-send", version = version::text(), max_term_width = 100, before_help = EXAMPLES)]
struct SendArgs {
    /// Read the stream from this file; - is standard input
    #[arg(short, long, env = "MCAST_FILE", value_name = "PATH", value_parser = path_or_stream())]
    file: Option<PathBuf>,

    /// Send what this command writes: it is started with the session, and its exit status counts
    #[arg(last = true, hide_short_help = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Name of the stream, for --expect of receivers
    #[arg(short, long, env = "MCAST_LABEL", value_name = "NAME", default_value = DEFAULT_LABEL, value_parser = values::label)]
    label: String,

    /// Name of this sender in logs and archives of the receivers [default: the host name]
    #[arg(long, env = "MCAST_NAME", hide_short_help = true, value_name = "NAME", value_parser = values::name)]
    name: Option<String>,

    #[command(flatten)]
    start: StartArgs,

    #[command(flatten)]
    network: NetworkArgs,

    /// Hops that datagrams may take: 1 stays on the segment
    #[arg(long, env = "MCAST_TTL", hide_short_help = true, value_name = "N", default_value_t = 1, value_parser = values::whole::<u8>(1, 255), help_heading = "Network")]
    ttl: u8,

    #[command(flatten)]
    trust: KeyArgs,

    #[command(flatten)]
    transfer: TransferArgs,

    #[command(flatten)]
    output: OutputArgs,

    /// Expected size of the stream, for percentage and time left on the progress line
    #[arg(long, env = "MCAST_SIZE", hide_short_help = true, value_name = "SIZE", value_parser = values::size, help_heading = "Output")]
    size: Option<u64>,
}

/// Whom to wait for.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Start")]
struct StartArgs {
    /// Start once N receivers have joined [default: 1]
    #[arg(short = 'n', long, env = "MCAST_MIN_RECEIVERS", value_name = "N", value_parser = values::whole::<u32>(1, MOST_RECEIVERS.into()))]
    min_receivers: Option<u32>,

    /// Start at once when N receivers have joined, and admit no more
    #[arg(long, env = "MCAST_MAX_RECEIVERS", hide_short_help = true, value_name = "N", value_parser = values::whole::<u32>(1, MOST_RECEIVERS.into()))]
    max_receivers: Option<u32>,

    /// Start only once the receivers of these names have joined
    #[arg(long, env = "MCAST_REQUIRE", hide_short_help = true, value_name = "NAME,…", value_delimiter = ',', value_parser = values::name)]
    require: Vec<String>,

    /// Wait for these; exit 3 if --max-wait started without one
    #[arg(long, env = "MCAST_EXPECT_RECEIVERS", value_name = "NAMES", value_delimiter = ',', value_parser = values::name)]
    expect_receivers: Vec<String>,

    /// Keep accepting receivers for this long after the first [default: 5s, or 0 where it is said whom to wait for]
    #[arg(long, env = "MCAST_MIN_WAIT", hide_short_help = true, value_name = "DUR", value_parser = values::duration)]
    min_wait: Option<Duration>,

    /// Wait at most this long after the first [default: for all]
    #[arg(long, env = "MCAST_MAX_WAIT", value_name = "DUR", value_parser = values::duration)]
    max_wait: Option<Duration>,

    /// Give up if the session has not started within this time; 0: never
    #[arg(long, env = "MCAST_START_TIMEOUT", hide_short_help = true, value_name = "DUR", default_value = "10m", value_parser = values::duration_or_for_ever)]
    start_timeout: ForEver,
}

/// How to transfer.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Transfer")]
struct TransferArgs {
    /// Silence after which a receiver counts as dead
    #[arg(long, env = "MCAST_PEER_TIMEOUT", hide_short_help = true, value_name = "DUR", default_value = "10s", value_parser = values::peer_timeout)]
    peer_timeout: Duration,

    /// Evict a receiver whose output takes nothing for this long while the others wait [default: wait for it]
    #[arg(long, env = "MCAST_MAX_STALL", hide_short_help = true, value_name = "DUR", value_parser = values::max_stall)]
    max_stall: Option<Duration>,

    /// Exit 0 although a receiver failed or was missing, if at least one succeeded
    #[arg(long, env = "MCAST_PARTIAL_OK", hide_short_help = true, value_parser = BoolishValueParser::new())]
    partial_ok: bool,

    /// Send at most this many bits per second [default: what all can take]
    #[arg(long, long_help = "Send at most this many bits per second of IP datagrams, in bursts of 0.5 ms at most [default: what network and receivers take]", env = "MCAST_RATE", value_name = "RATE", value_parser = values::rate)]
    rate: Option<u64>,

    /// Size of an IP datagram in bytes [default: what the interface carries]
    #[arg(long, env = "MCAST_MTU", hide_short_help = true, value_name = "N", value_parser = values::whole::<u16>(576, 9_000))]
    mtu: Option<u16>,

    /// Memory for data that some receivers still need; --buffer of a receiver is separate from it
    #[arg(long, env = "MCAST_WINDOW", hide_short_help = true, value_name = "SIZE", default_value = "8M", value_parser = values::memory)]
    window: u64,
}

const EXAMPLES: &str = "\
Examples:
  mcast-send -n 3 --max-wait 5m -- pg_dump -Fc prod   wait for three, 5 minutes at most, then dump
  mcast-send --expect-receivers db2,db3 -f disk.img   start when these two have joined
  tar -c /srv | mcast-send -i eth1 --rate 500M        a pipe cannot report that tar has failed";

/// The program.
pub fn main() -> ExitCode {
    run(
        "mcast-send",
        |args, environment| config(args, environment, io::stdin().is_terminal()),
        |config| Outputs {
            stream: match &config.source {
                SourceConfig::File(path) => vec![path.clone()],
                SourceConfig::Stdin | SourceConfig::Command(_) => Vec::new(),
            },
            config: config.output.clone(),
            stream_on_stdout: false,
            repeats: false,
        },
        sending::work,
        |_, _| false,
    )
}

/// The variables of all options.
pub(super) fn variables() -> Vec<String> {
    usage::variables::<SendArgs>()
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
    stdin_is_terminal: bool,
) -> Result<Asked<SendConfig>, Failure> {
    let args = match parse::<SendArgs>(args, environment)? {
        Asked::Run(args) => args,
        Asked::Print(text) => return Ok(Asked::Print(text)),
    };
    let source = match (args.file, command_line(args.command)?) {
        (Some(path), Some(line)) => {
            return Err(Failure::usage(format!(
                "--file {} and {line} are two sources; leave out one of them",
                path.display()
            )));
        }
        (None, Some(line)) => SourceConfig::Command(line),
        (Some(path), None) if path != Path::new("-") => SourceConfig::File(path),
        _ if stdin_is_terminal => {
            return Err(Failure::usage(
                "standard input is a terminal; name a command after --, a file with -f, or pipe a stream into mcast-send",
            ));
        }
        _ => SourceConfig::Stdin,
    };
    Ok(Asked::Run(SendConfig {
        network: args.network.config()?,
        keys: args.trust.config(environment)?,
        ttl: args.ttl,
        source,
        name: sender_name(args.name, &args.label)?,
        label: args.label,
        start: args.start.config()?,
        peer_timeout: args.transfer.peer_timeout,
        max_stall: args.transfer.max_stall,
        partial_ok: args.transfer.partial_ok,
        rate: args.transfer.rate,
        mtu: args.transfer.mtu,
        window: args.transfer.window,
        size: args.size,
        output: args.output.config()?,
    }))
}

/// The name of this sender in its announces, which has as much room as the label leaves.
fn sender_name(given: Option<String>, label: &str) -> Result<String, Failure> {
    match given {
        Some(name) if !Announce::has_room_for(label, &name) => Err(Failure::usage(format!(
            "--name {name} does not fit beside --label {label}: both together may have {} characters, shorten one",
            Announce::NAMES_LEN
        ))),
        Some(name) => Ok(name),
        // Without a name the sender's address stands for it.
        None => Ok(values::distinct_host_name().unwrap_or_default()),
    }
}

impl StartArgs {
    fn config(mut self) -> Result<StartConfig, Failure> {
        check_names("--require", &mut self.require)?;
        check_names("--expect-receivers", &mut self.expect_receivers)?;
        // A receiver that must be there is expected all the more.
        self.expect_receivers.retain(|name| !self.require.contains(name));
        if let Some(most) = self.max_receivers {
            if let Some(least) = self.min_receivers.filter(|least| *least > most) {
                return Err(Failure::usage(format!(
                    "--min-receivers {least} is more than --max-receivers {most}; raise the one or lower the other"
                )));
            }
            let names = self.require.len() + self.expect_receivers.len();
            if names > most as usize {
                let flags = match (self.require.is_empty(), self.expect_receivers.is_empty()) {
                    (false, false) => "--require and --expect-receivers name",
                    (true, _) => "--expect-receivers names",
                    (_, true) => "--require names",
                };
                return Err(Failure::usage(format!(
                    "{flags} {names} receivers, more than --max-receivers {most}; raise it"
                )));
            }
        }
        let config = StartConfig {
            min_receivers: self.min_receivers,
            max_receivers: self.max_receivers,
            require: self.require,
            expect: self.expect_receivers,
            min_wait: Duration::ZERO,
            max_wait: self.max_wait,
            timeout: self.start_timeout.0,
        };
        let min_wait = match self.min_wait {
            Some(min_wait) => min_wait,
            None if config.says_whom() => Duration::ZERO,
            // A default must not contradict what was given.
            None => {
                let most = self.max_wait.unwrap_or(Duration::MAX);
                DEFAULT_MIN_WAIT.min(most).min(self.start_timeout.0.unwrap_or(Duration::MAX) / 2)
            }
        };
        // No start is without the receivers of --require, so a wait for those alone has no other end than --start-timeout.
        let required = u32::try_from(config.require.len()).unwrap_or(u32::MAX).max(1);
        let waits_for_somebody =
            !config.expect.is_empty() || config.min_receivers.is_some_and(|least| least > required);
        if let Some(max_wait) = self.max_wait.filter(|max_wait| min_wait < *max_wait && !waits_for_somebody) {
            return Err(Failure::usage(format!(
                "--max-wait {} would end a wait for receivers that need not be there, but there is none; give -n or \
                 --expect-receivers, or --min-wait to stay open for longer",
                values::shown(max_wait)
            )));
        }
        if let Some(max_wait) = self.max_wait.filter(|max_wait| min_wait > *max_wait) {
            let (min_wait, max_wait) = (values::shown(min_wait), values::shown(max_wait));
            return Err(Failure::usage(format!(
                "--min-wait {min_wait} is longer than --max-wait {max_wait}; shorten the one or lengthen the other"
            )));
        }
        if let (Some(max_wait), Some(timeout)) = (self.max_wait, self.start_timeout.0)
            && max_wait >= timeout
        {
            let (max_wait, timeout) = (values::shown(max_wait), values::shown(timeout));
            return Err(Failure::usage(format!(
                "--max-wait {max_wait} cannot end before --start-timeout {timeout}, which counts from the launch; raise the latter"
            )));
        }
        if let Some(timeout) = self.start_timeout.0.filter(|timeout| min_wait >= *timeout) {
            let (min_wait, timeout) = (values::shown(min_wait), values::shown(timeout));
            return Err(Failure::usage(format!(
                "--min-wait {min_wait} leaves no time to start within --start-timeout {timeout}; raise the latter"
            )));
        }
        Ok(StartConfig { min_wait, ..config })
    }
}

/// Sorts the names, and refuses one that is there twice, which is a slip: another host was meant.
fn check_names(flag: &str, names: &mut [String]) -> Result<(), Failure> {
    if names.len() > MOST_REQUIRED as usize {
        let count = names.len();
        return Err(Failure::usage(format!(
            "{flag} names {count} receivers; name {MOST_REQUIRED} at most, and use -n for more"
        )));
    }
    names.sort();
    match values::first_repeated(names) {
        Some(twice) => {
            Err(Failure::usage(format!("{flag} names {twice} twice; leave out one, or correct the other")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::every_option_has_its_variable;
    use super::super::usage::tests::{help, short_help_fits_a_screen};
    use super::*;
    use crate::cli::config::{
        DEFAULT_GROUP, DEFAULT_PEER_TIMEOUT, DEFAULT_PORT, DEFAULT_START_TIMEOUT, DEFAULT_WINDOW,
        ProgressMode,
    };
    use crate::exit::Exit;

    fn asked(line: &str) -> Result<Asked<SendConfig>, Failure> {
        let args = std::iter::once("mcast-send").chain(line.split_whitespace()).map(OsString::from);
        config(args, &Environment::none(), false)
    }

    fn right(line: &str) -> SendConfig {
        match asked(line) {
            Ok(Asked::Run(config)) => config,
            Ok(Asked::Print(text)) => panic!("{line}: {text}"),
            Err(failure) => panic!("{line}: {failure}"),
        }
    }

    fn wrong(line: &str) -> String {
        match asked(line) {
            Ok(_) => panic!("{line} was taken"),
            Err(failure) => {
                assert_eq!(failure.exit, Exit::Usage, "{line}");
                assert!(!failure.message.contains('\n'), "{line}: {failure}");
                failure.message
            }
        }
    }

    #[test]
    fn without_flags_the_defaults_are_those_of_the_design() {
        let config = right("");
        assert_eq!((config.network.group, config.network.port, config.ttl), (DEFAULT_GROUP, DEFAULT_PORT, 1));
        assert_eq!((config.label.as_str(), config.source), ("default", SourceConfig::Stdin));
        assert_eq!((config.start.min_receivers, config.start.min_wait), (None, DEFAULT_MIN_WAIT));
        assert_eq!((config.start.max_wait, config.start.timeout), (None, Some(DEFAULT_START_TIMEOUT)));
        assert_eq!((config.peer_timeout, config.window), (DEFAULT_PEER_TIMEOUT, DEFAULT_WINDOW));
        assert_eq!(config.output.progress, ProgressMode::Auto);
    }

    #[test]
    fn name_that_does_not_fit_beside_the_label_is_refused_with_both() {
        let label = "l".repeat(40);
        assert_eq!(right(&format!("-l {label} --name {}", "n".repeat(23))).name, "n".repeat(23));
        let name = "n".repeat(24);
        let refused = wrong(&format!("-l {label} --name {name}"));
        for part in [&label, &name, "63 characters"] {
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn nobody_waits_where_it_was_said_whom_to_wait_for() {
        for line in ["-n 1", "--max-receivers 4", "--require db2,db3", "--expect-receivers db2"] {
            assert_eq!(right(line).start.min_wait, Duration::ZERO, "{line}");
        }
        assert_eq!(right("-n 3 --min-wait 2m").start.min_wait, Duration::from_secs(120));
        assert_eq!(right("--max-wait 2s").start.min_wait, Duration::from_secs(2));
        assert_eq!(right("--start-timeout 4s").start.min_wait, Duration::from_secs(2));
        assert_eq!(right("--require b,a").start.require, ["a", "b"]);
        let start = right("--require b --expect-receivers c,b,a").start;
        assert_eq!(
            (start.require, start.expect),
            (vec!["b".to_owned()], vec!["a".to_owned(), "c".to_owned()])
        );
        assert_eq!(right("--start-timeout 0").start.timeout, None);
    }

    #[test]
    fn a_wrong_value_is_one_line_with_flag_value_and_remedy() {
        for (line, parts) in [
            ("--rate fast", &["--rate fast", "900M", "--help"][..]),
            ("--size 10X", &["--size 10X", "16M"]),
            ("-l a/b", &["--label a/b", "letters"]),
            ("--name a\"b", &["--name a\"b"]),
            ("-g 192.0.2.1", &["--group 192.0.2.1", "239."]),
            ("-n 0", &["--min-receivers 0", "give 1 to 4096"]),
            ("-p 0", &["--port 0", "1 to 65535"]),
            ("--mtu 100", &["--mtu 100", "576"]),
            ("--min-wait 5m --max-wait 1m", &["--min-wait 5m", "--max-wait 1m"]),
            ("-n 3 --max-wait 15m", &["--max-wait 15m", "--start-timeout 10m"]),
            ("--require a --max-wait 5m", &["--max-wait 5m", "--expect-receivers"]),
            ("-q --progress receivers", &["--quiet", "--progress receivers"]),
            ("-n 3 --max-receivers 2", &["--min-receivers 3", "--max-receivers 2"]),
            ("--require a,b,c --max-receivers 2", &["--require", "--max-receivers 2"]),
            ("--require a,,b", &["--require", "letters"]),
            ("--require a,b,a", &["--require", "a twice"]),
            ("--expect-receivers a,a", &["--expect-receivers", "a twice"]),
            ("--expect-receivers a,b,c --max-receivers 2", &["--expect-receivers", "--max-receivers 2"]),
            (
                "--require a,b --expect-receivers b,c --max-receivers 2",
                &["--expect-receivers", "3 receivers"],
            ),
            ("--expect-receivers a b", &["\"b\""]),
            ("--min-wait 10m", &["--min-wait 10m", "--start-timeout 10m"]),
            ("-b -g ff15::1", &["--broadcast", "--group ff15::1"]),
            ("-q -v", &["--quiet", "--verbose"]),
            ("--progress sometimes", &["--progress sometimes", "auto, always, never, receivers"]),
            ("--color blue", &["--color blue", "auto, always, never"]),
            ("--lable x", &["--lable", "--label"]),
            ("pg_dump", &["\"pg_dump\""]),
            ("sh -c true", &["put -- before the command", "-- sh"]),
            ("-n 2 sh", &["put -- before the command"]),
            ("dump.sql", &["\"dump.sql\"", "-f"]),
            ("--require a b -- sh", &["\"b\"", "commas"]),
            ("--partial-ok true", &["--partial-ok takes no value"]),
            ("--require b,a,b", &["--require names b twice"]),
            ("--max-wait 5m", &["--max-wait 5m", "-n"]),
            ("-q --progress always", &["--quiet", "--progress always"]),
            ("-k a -k a", &["--key-file a", "twice"]),
            ("--", &["empty", "unset variable"]),
            ("--report -", &["--report -", "./-"]),
            ("--silent", &["did you mean --quiet?"]),
            ("--expect shop", &["did you mean --label?"]),
            ("-- no-such-program", &["\"no-such-program\"", "PATH"]),
            ("-f a -- sh", &["--file a", "\"sh\""]),
            ("--rate", &["--rate"]),
            ("-l a -l b", &["--label"]),
            ("-n x", &["--min-receivers x", "not a number"]),
            ("--ttl 256", &["--ttl 256", "255"]),
            ("--peer-timeout 1ms", &["--peer-timeout 1ms", "500ms"]),
            ("--max-stall 0", &["--max-stall 0", "1s", "leave it out"]),
            ("--max-stall 999ms", &["--max-stall 999ms", "1s"]),
            ("--max-stall 87601h", &["--max-stall 87601h", "ten years"]),
            ("--max-stall never", &["--max-stall never", "5min"]),
        ] {
            let message = wrong(line);
            for part in parts {
                assert!(message.contains(part), "{line}: {message}");
            }
        }
    }

    #[test]
    fn more_names_than_a_session_keeps_in_mind_are_refused_with_their_number() {
        for flag in ["--require", "--expect-receivers"] {
            let names: Vec<_> = (0..257).map(|n| format!("db{n}")).collect();
            right(&format!("{flag} {}", names[1..].join(",")));
            let refused = wrong(&format!("{flag} {}", names.join(",")));
            assert!(
                refused.contains(flag) && refused.contains("257") && refused.contains("256"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_terminal_is_no_source() {
        let terminal = |line: &str| {
            let args = std::iter::once("mcast-send").chain(line.split_whitespace()).map(OsString::from);
            config(args, &Environment::none(), true)
        };
        assert!(
            terminal("").is_err_and(|failure| failure.message.contains("-f") && failure.exit == Exit::Usage)
        );
        assert!(terminal("-f dump").is_ok() && terminal("-- sh -c true").is_ok());
    }

    #[test]
    fn options_can_be_set_in_the_environment() {
        every_option_has_its_variable::<SendArgs>();
    }

    #[test]
    fn help_shows_examples_first_and_the_exit_codes_last() {
        insta::assert_snapshot!(help::<SendArgs>("mcast-send --help", 100));
    }

    #[test]
    fn short_help_has_the_common_options_on_one_screen() {
        short_help_fits_a_screen::<SendArgs>("mcast-send -h");
        insta::assert_snapshot!(help::<SendArgs>("mcast-send -h", 100));
    }
}
