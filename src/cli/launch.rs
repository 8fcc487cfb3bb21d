//! What sender and receiver need alike: randomness, ticks, and the failures of a system that has run out of something.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::Failure;
use super::report::Wire;
use crate::command::Commands;
use crate::exit::Exit;
use crate::net::socket::Venue;
use crate::net::wake::signal_name;
use crate::session::WireStats;
use crate::time::Time;

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::LocalResource, format!("no randomness from the system: {error}"))
    })?;
    Ok(bytes)
}

/// The thread that waits for the commands of a session.
pub(super) fn commands() -> Result<Commands, Failure> {
    // Whatever has happened to the file since it was started, it is this program.
    let program = Path::new("/proc/self/exe");
    if !program.exists() {
        return Err(Failure::new(
            Exit::LocalResource,
            "cannot run commands: /proc is not mounted here; mount it, or do without commands",
        ));
    }
    Commands::start(program.to_owned()).map_err(no_resource)
}

/// Kills the commands that still run, and waits for their ends; `spent` has been waited already.
pub(super) fn end_commands(commands: Option<&Commands>, spent: Duration) {
    if let Some(commands) = commands {
        commands.kill_all();
        if !commands.wait_until_gone(LONGEST_KILL.saturating_sub(spent)) {
            tracing::warn!("a command does not end although it was killed; look for it");
        }
    }
}

/// A session's failure, and the commands that were stopped because of it.
pub(super) fn with_stopped(failure: Failure, commands: Option<&Commands>) -> Failure {
    let stopped: Vec<_> = commands.map(Commands::stopped).unwrap_or_default();
    let lines = stopped.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = match (lines.as_str(), failure.exit) {
        ("", _) => return failure,
        (_, Exit::Aborted) => format!("{lines} was stopped, because {}", failure.message),
        _ => format!("{}; {lines} was stopped", failure.message),
    };
    Failure { message, ..failure }
}

/// A failure to meet anybody, and where that was tried: the log of that may not have been shown.
pub(super) fn with_place(failure: Failure, venue: &Venue) -> Failure {
    match failure.exit {
        Exit::NotStarted | Exit::Authentication => {
            let message = format!("{}; this was on {}", failure.message, place(venue));
            Failure { message, ..failure }
        }
        _ => failure,
    }
}

/// Interface, group and port, for people.
pub(super) fn place(venue: &Venue) -> String {
    let kind = if venue.broadcast { "broadcast address" } else { "group" };
    format!("interface {}, {kind} {}, port {}", venue.interface.name, venue.destination, venue.port)
}

/// The system has no thread or descriptor left.
pub(super) fn no_resource(error: io::Error) -> Failure {
    Failure::new(
        Exit::LocalResource,
        format!("cannot start: {error}; raise the limits of this user (ulimit -a)"),
    )
}

/// A signal has ended the program.
pub(super) fn stopped(signal: u8) -> Failure {
    Failure::new(Exit::Signal(signal), format!("stopped by {}", signal_name(signal)))
}

/// A second signal came before the first was dealt with.
pub(super) fn interrupted(signal: u8) -> Failure {
    Failure::new(
        Exit::Signal(signal),
        "stopped at once by a second signal; peers that missed the one word of it will notice by their --peer-timeout",
    )
}

/// Seconds, as exact as people want them in a log line.
pub(super) fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A signal must end a program within two seconds, and guards answer within a second and a fifth.
const LONGEST_KILL: Duration = Duration::from_millis(1500);

/// Ticks a few times a second, and measures the rate of what it is shown.
#[derive(Debug)]
pub(super) struct Ticker {
    due: Time,
    measured: (Time, u64),
    rate: u64,
}

impl Ticker {
    const EVERY: Duration = Duration::from_millis(100);
    /// The rate is that of the last second or so.
    const MEASURE: Duration = Duration::from_secs(1);

    pub(super) fn new(now: Time) -> Self {
        Self { due: now + Self::EVERY, measured: (now, 0), rate: 0 }
    }

    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// Bytes per second of late, whenever a tick is due.
    pub(super) fn tick(&mut self, now: Time, bytes: u64) -> Option<u64> {
        if now < self.due {
            return None;
        }
        self.due = now + Self::EVERY;
        let (since, before) = self.measured;
        let span = now.since(since);
        if span >= Self::MEASURE {
            self.rate = (bytes.saturating_sub(before) as f64 / span.as_secs_f64()) as u64;
            self.measured = (now, bytes);
        }
        Some(self.rate)
    }
}

impl From<&WireStats> for Wire {
    fn from(stats: &WireStats) -> Self {
        Self {
            datagrams: stats.datagrams,
            bytes: stats.bytes,
            source_symbols: stats.source_symbols,
            repair_symbols: stats.repair_symbols,
            proactive_symbols: stats.proactive_symbols,
            dropped_reports: stats.dropped_reports,
            feedback_datagrams: stats.feedback_datagrams,
            dropped_malformed: stats.dropped_malformed,
        }
    }
}
