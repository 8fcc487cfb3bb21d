//! Reading a command line: help where it is asked for, and one line that names value and remedy where it is wrong.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, Parser};

use super::environment::Environment;
use super::error::Failure;
use super::similar;
use crate::command::CommandLine;
use crate::exit::Exit;

/// The request that a command line makes.
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
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = P::command();
    // Of all tasks too, so that their help and errors have their whole names.
    command.build();
    let line = Line::new(&args, &command, environment);
    let matches = with_variables_of(environment, P::command()).try_get_matches_from(&args);
    let read = matches.and_then(|mut matches| {
        let has_empty_command = line.has_empty_command(&matches);
        P::from_arg_matches_mut(&mut matches).map(|parsed| (parsed, has_empty_command))
    });
    match read {
        Ok((_, true)) => Err(Failure::usage(format!(
            "the command after -- is empty (an unset variable?); name a command, or leave out the --; see {} --help",
            line.path
        ))),
        Ok((parsed, false)) => Ok(Asked::Run(parsed)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Asked::Print(line.help(None))),
        Err(error) if !error.use_stderr() => Ok(Asked::Print(error.render().to_string())),
        Err(error) => Err(Failure::usage(format!("{}; see {} --help", line.complaint(&error), line.path))),
    }
}

/// Whether messages are to be JSON, as far as that shows on a command line that may be wrong otherwise.
pub(super) fn asks_for_json(args: &[OsString], environment: &Environment) -> bool {
    let own = own_words(args);
    let flag = |pair: &[OsString]| matches!(pair, [flag, value] if flag == "--log-format" && value == "json");
    own.windows(2).any(flag)
        || own.iter().any(|word| word == "--log-format=json")
        || environment.get("MCAST_LOG_FORMAT") == Some(OsStr::new("json"))
}

/// The variables of a program's options.
pub(super) fn variables<P: Parser>() -> Vec<String> {
    let command = P::command();
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// clap reads the variables of this process; here it forgets those that `environment` does not have.
fn with_variables_of(environment: &Environment, command: Command) -> Command {
    let forget = |command: Command| with_variables_of(environment, command);
    let keep = |arg: clap::Arg| {
        let is_set = arg.get_env().is_some_and(|name| environment.get(name).is_some());
        if is_set { arg } else { arg.env(None::<&str>) }
    };
    command.mut_args(keep).mut_subcommands(forget)
}

/// The words of a command line before `--`.
fn own_words(args: &[OsString]) -> &[OsString] {
    let end = args.iter().position(|word| word == "--").unwrap_or(args.len());
    args.get(..end).unwrap_or(args)
}

/// A command line, and the task of the program that it is about.
struct Line<'a> {
    args: &'a [OsString],
    environment: &'a Environment,
    /// Program and task as they are typed: `mcast archive rm`.
    path: String,
    task: &'a Command,
}

impl<'a> Line<'a> {
    fn new(args: &'a [OsString], program: &'a Command, environment: &'a Environment) -> Self {
        let (mut path, mut task) = (program.get_name().to_owned(), program);
        let words = own_words(args).iter().skip(1).filter_map(|word| word.to_str());
        for word in words.filter(|word| !word.starts_with('-') && *word != "help") {
            let Some(next) = task.find_subcommand(word) else { break };
            (path, task) = (format!("{path} {word}"), next);
        }
        Self { args, environment, path, task }
    }

    /// Whether nothing, or an empty word, stands after a `--` that a command belongs after.
    fn has_empty_command(&self, matches: &ArgMatches) -> bool {
        let Some(arg) = self.task.get_arguments().find(|arg| arg.is_last_set()) else { return false };
        let mut matches = matches;
        while let Some((_, of_task)) = matches.subcommand() {
            matches = of_task;
        }
        let first = matches.get_raw(arg.get_id().as_str()).and_then(|mut words| words.next());
        self.has_dashes() && first.is_none_or(OsStr::is_empty)
    }

    fn has_dashes(&self) -> bool {
        own_words(self.args).len() < self.args.len()
    }

    /// The short help for `-h`, the whole one for `--help`, for a terminal of this width or for the one at hand.
    fn help(&self, width: Option<usize>) -> String {
        let asks_for_all = |word: &OsString| word == "--help" || word == "help";
        // The tasks of a tool have few options.
        let is_short = self.path.contains(' ') && !self.task.has_subcommands();
        let whole = is_short || own_words(self.args).iter().skip(1).any(asks_for_all);
        let shown = |arg: clap::Arg| {
            // The variables of the options go without saying, and would double the length of the help.
            let arg = arg.hide_env(true);
            let arg = match arg.get_id().as_str() {
                "help" if self.is_of_a_tool() => arg.help("Print this help"),
                "help" if whole => arg.help("Print everything; -h prints the common options"),
                "help" => arg.help("Print this; --help prints everything"),
                "version" => arg.help("Print version, commit and protocol version").hide_short_help(true),
                _ => arg,
            };
            match arg.get_long_help().cloned() {
                Some(long) if whole && arg.get_id() != "help" => arg.help(long).hide_short_help(false),
                None if whole => arg.hide_short_help(false),
                _ => arg.help_heading(None::<&str>),
            }
        };
        let task = self.task.clone().mut_args(shown).after_help(self.after_help(whole));
        let mut task = task.help_template(HELP_TEMPLATE);
        if let Some(width) = width {
            task = task.term_width(width);
        }
        task.render_help().to_string()
    }

    /// Whether the program has tasks. Such a program reads no variables.
    fn is_of_a_tool(&self) -> bool {
        self.task.has_subcommands() || self.path.contains(' ')
    }

    /// The end of a help text: the units of values and the exit codes, or the way to them.
    fn after_help(&self, whole: bool) -> String {
        let path = &self.path;
        if !self.is_of_a_tool() && !whole {
            return format!("{path} --help has all options, their variables and units, and the exit codes.");
        }
        if self.task.has_subcommands() && !whole {
            return format!("{path} TASK --help has the options of a task, mcast --help the exit codes.");
        }
        let values: Vec<_> =
            self.task.get_arguments().filter_map(clap::Arg::get_value_names).flatten().collect();
        let units = UNITS.iter().filter(|(kind, _)| values.iter().any(|value| value.starts_with(kind)));
        let mut help: String = units.map(|(_, units)| format!("{units}\n")).collect();
        if !self.is_of_a_tool() {
            help.insert_str(0, VARIABLES);
        }
        if self.path.contains(' ') {
            help.push_str("mcast --help has the exit codes.");
            return help;
        }
        if !help.is_empty() {
            help.push('\n');
        }
        help.push_str("Exit codes:\n");
        for exit in Exit::TABLE {
            help.push_str(&format!("  {:>5}  {}\n", exit.code(), exit.meaning()));
        }
        help.push_str(&format!("  128+n  {}", Exit::Signal(0).meaning()));
        help
    }

    /// clap's paragraph as one line: flag, value, what is wrong with it.
    fn complaint(&self, error: &clap::Error) -> String {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(texts)) => texts.join(", "),
            _ => String::new(),
        };
        let whole = text(ContextKind::InvalidArg);
        let flag = whole.split([' ', '=', '.']).next().unwrap_or_default();
        let value = text(ContextKind::InvalidValue);
        match error.kind() {
            ErrorKind::ValueValidation => {
                let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                // The message of clap's own parser names no remedy.
                let reason =
                    reason.replace("value was not a boolean", "neither yes nor no; write true or false");
                format!("{}: {reason}", self.flag_and_value(flag, &value))
            }
            ErrorKind::InvalidValue if value.is_empty() => {
                let unset =
                    if self.args.iter().any(|word| word.is_empty()) { " (an unset variable?)" } else { "" };
                format!("{flag} needs a value{unset}")
            }
            ErrorKind::InvalidValue => {
                let choice = text(ContextKind::ValidValue);
                format!("{}: choose one of {choice}", self.flag_and_value(flag, &value))
            }
            ErrorKind::TooManyValues => format!("{flag} takes no value; leave out \"{value}\""),
            ErrorKind::UnknownArgument => self.unknown(&whole),
            ErrorKind::ArgumentConflict if text(ContextKind::PriorArg).starts_with(flag) => {
                format!("{flag} is given twice; leave out one")
            }
            ErrorKind::InvalidUtf8 => {
                let wrong = self.args.iter().find(|word| word.to_str().is_none());
                let shown = wrong.map(|word| word.to_string_lossy()).unwrap_or_default();
                format!("argument \"{shown}\" is not valid UTF-8")
            }
            ErrorKind::MissingRequiredArgument => {
                let missing = whole.replace("...", "").replace(", ", " and ");
                let verb = if missing.contains(" and ") { "are" } else { "is" };
                let all = self.task.get_positionals().map(|place| place.to_string()).collect::<Vec<_>>();
                format!("{missing} {verb} missing: {} {}", self.path, all.join(" "))
            }
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                format!("a task is missing; {} has {}", self.path, self.tasks().join(", "))
            }
            ErrorKind::InvalidSubcommand => {
                let word = text(ContextKind::InvalidSubcommand);
                match meant(&word, &self.tasks()) {
                    Some(meant) => format!("unknown task \"{word}\", did you mean {meant}?"),
                    None => format!("unknown task \"{word}\"; {} has {}", self.path, self.tasks().join(", ")),
                }
            }
            _ => {
                let rendered = error.to_string();
                let first = rendered.lines().next().unwrap_or_default();
                first.strip_prefix("error: ").unwrap_or(first).to_owned()
            }
        }
    }

    fn tasks(&self) -> Vec<&str> {
        self.task.get_subcommands().map(Command::get_name).filter(|name| *name != "help").collect()
    }

    /// A word that is neither an option nor the value of one.
    fn unknown(&self, word: &str) -> String {
        if word.starts_with('-') && word != "-" {
            let flag = word.split('=').next().unwrap_or(word);
            let known: Vec<_> = self.task.get_arguments().filter_map(clap::Arg::get_long).collect();
            let name = flag.trim_start_matches('-');
            return match meant(name, &known) {
                // The option stands before the task that it belongs to.
                Some(meant) if meant == name => format!("{flag} belongs after {}", self.path),
                Some(meant) if flag.starts_with("--") => {
                    format!("unknown argument \"{flag}\", did you mean --{meant}?")
                }
                _ => format!("unknown argument \"{flag}\""),
            };
        }
        if !self.task.get_arguments().any(|arg| arg.is_last_set()) {
            return format!("unknown argument \"{word}\"");
        }
        if let Some(flag) = self.switch_before(word) {
            return format!("{flag} takes no value; leave out \"{word}\"");
        }
        if self.has_dashes() {
            return format!(
                "\"{word}\" is neither an option nor the value of one; join lists with commas (a,b), and put only \
                 the command after --"
            );
        }
        let line = CommandLine { program: word.into(), arguments: Vec::new() };
        if line.check(std::env::var_os("PATH").as_deref()).is_ok() {
            return format!(
                "\"{word}\" is not an option; put -- before the command: {} … -- {word} …",
                self.path
            );
        }
        let file = self.task.get_arguments().find(|arg| ["file", "output"].contains(&arg.get_id().as_str()));
        match file.and_then(clap::Arg::get_short) {
            Some(short) => {
                format!("\"{word}\" is not an option; name a file with -{short}, or a command after --")
            }
            None => format!("unknown argument \"{word}\""),
        }
    }

    /// The option without a value that `word` was probably meant for, as `--overwrite true` has it.
    fn switch_before(&self, word: &str) -> Option<String> {
        let at = self.args.iter().position(|other| other == word)?;
        let before = self.args.get(at.checked_sub(1)?)?.to_str()?.strip_prefix("--")?;
        let is_switch = |arg: &&clap::Arg| arg.get_long() == Some(before) && !arg.get_action().takes_values();
        let switch = self.task.get_arguments().find(is_switch)?.get_long()?;
        let is_yes_or_no = ["true", "false", "yes", "no", "on", "off", "1", "0"].contains(&word);
        is_yes_or_no.then(|| format!("--{switch}"))
    }

    /// A flag and its value as they were given: on the command line, or in the environment.
    fn flag_and_value(&self, flag: &str, value: &str) -> String {
        let variable = format!("MCAST_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
        match self.environment.get(&variable).map(OsStr::to_string_lossy) {
            // Of a list, only the wrong part is the value.
            Some(set) if set == value || set.split(',').any(|part| part == value) => {
                format!("{variable}={set}")
            }
            _ if value.is_empty() => format!("{flag} \"\""),
            _ => format!("{flag} {value}"),
        }
    }
}

/// The option or task that was probably meant.
fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let known = || known.iter().copied();
    let ours = OTHER_NAMES.iter().filter(|(other, _)| *other == word);
    let ours = ours.filter_map(|(_, ours)| known().find(|known| known == ours));
    let same = known().find(|known| *known == word);
    same.or(ours.into_iter().next())
        .or_else(|| similar::typo(word, known()))
        .or_else(|| similar::longer(word, '-', known()))
}

/// Examples come before the flags: most people look for a line to start from.
const HELP_TEMPLATE: &str = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// Words of other programs for our options and tasks, each with ours.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("silent", "quiet"),
    ("force", "overwrite"),
    ("replace", "overwrite"),
    ("receivers", "min-receivers"),
    ("label", "expect"),
    ("expect", "label"),
    ("max-bitrate", "rate"),
    ("bwlimit", "rate"),
    ("key", "key-file"),
    ("check", "verify"),
    ("ls", "list"),
    ("remove", "rm"),
    ("delete", "rm"),
    ("forget", "prune"),
];

const VARIABLES: &str =
    "Every option can be set in the environment too: MCAST_INTERFACE=eth1 stands for --interface eth1.\n";

/// Units of the values that are called so.
const UNITS: &[(&str, &str)] = &[
    ("DUR", "DUR is a time: 500ms 90s 5min 1h30m 2d 1w; a bare number is seconds."),
    ("SIZE", "SIZE is in bytes: 64K 16M 2G or 16MiB in powers of 1024, 16MB in powers of 1000."),
    ("RATE", "RATE is in bits per second: 900M 2.5Gbit/s, in powers of 1000."),
];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The help that these words ask for, as it is on a terminal of this width.
    pub(in crate::cli) fn help<P: Parser>(words: &str, width: usize) -> String {
        let args: Vec<_> = words.split(' ').map(OsString::from).collect();
        let mut command = P::command();
        command.build();
        Line::new(&args, &command, &Environment::none()).help(Some(width))
    }

    /// A help of 30 lines leaves room for the prompt on a terminal of 32 lines; so many does every window have.
    pub(in crate::cli) fn short_help_fits_a_screen<P: Parser>(words: &str) {
        let help = help::<P>(words, 100);
        let lines = help.lines().count();
        assert!(lines <= 30 && help.contains("xample"), "{words} has {lines} lines:\n{help}");
    }

    #[test]
    fn json_is_asked_for_by_flag_or_variable_and_not_behind_the_dashes() {
        let asks = |line: &str, variable: &str| {
            let args: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            asks_for_json(&args, &Environment::with(&[("MCAST_LOG_FORMAT", variable)]))
        };
        assert!(asks("x --log-format json -p 0", "") && asks("x --log-format=json", ""));
        assert!(asks("x --nonsense", "json"));
        assert!(!asks("x --log-format text", "") && !asks("x -- sh --log-format json", ""));
    }
}
