//! What people see of a session under way: a live line on a terminal, else a plain line now and then.

use std::fmt;
use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;

use super::config::{OutputConfig, ProgressMode};
use super::console::Terminal;
use super::forecast::Forecast;
use super::limits::Limit;
use super::quantities;
use super::receiver_lines::Slowest;
use crate::session::sender::Attendance;

/// A session at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Time since launch.
    pub elapsed: Duration,
    /// Time since the start of the session.
    pub running: Duration,
    /// What it is doing.
    pub phase: Phase,
    /// Bytes of the stream: acknowledged by every receiver at the sender, taken by the sink at a receiver.
    pub bytes: u64,
    /// Bytes that are expected in all.
    pub expected: Option<u64>,
    /// Bytes of the stream per second of late.
    pub rate: u64,
    /// The sender's view of its receivers; `None` at a receiver.
    pub receivers: Option<Receivers>,
    /// Repair symbols among all symbols, 0 to 1.
    pub repair_share: f64,
    /// The part of the session that limited its speed in the last second, and the time for which it has done so in all.
    pub limited_by: Option<(Limit, Duration)>,
    /// The receivers that are furthest behind, with `--progress receivers`.
    pub slowest: Option<Slowest>,
}

/// What a session is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the start.
    Waiting(Waiting),
    /// Transferring.
    Running,
    /// Everything was sent or received; waiting for confirmations or for the sink.
    Finishing,
}

/// The event that a session waits for before its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A sender waits for receivers.
    ForReceivers(Attendance),
    /// A receiver has found no sender, and gives up after this time.
    ForSender(Option<Duration>),
    /// A receiver has found the session of this sender, which has not answered its join yet.
    ForAnswer(String, Option<Duration>),
    /// A receiver has joined the session of this sender, which has not started it yet.
    ForStart(String, Option<Duration>),
    /// A receiver takes part in nothing while its archive has too little room.
    ForRoom,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = match self {
            Self::ForReceivers(attendance) => return attendance.fmt(f),
            Self::ForRoom => return f.write_str("waiting for room in the archive"),
            Self::ForSender(left) => {
                f.write_str("waiting for a sender")?;
                left
            }
            Self::ForAnswer(sender, left) => {
                write!(f, "found the session of {sender}, waiting for the answer to the join")?;
                left
            }
            Self::ForStart(sender, left) => {
                write!(f, "joined the session of {sender}, waiting for its start")?;
                left
            }
        };
        left.map_or(Ok(()), |left| write!(f, ", {} left", seconds(left)))
    }
}

/// How many receivers are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receivers {
    /// Admitted, and neither dead nor evicted.
    pub joined: u32,
    /// Taking data.
    pub ready: u32,
    /// Confirmed that they are done.
    pub done: u32,
}

/// Shows progress; lives on the thread that owns stderr.
#[derive(Debug)]
pub(super) enum Meter {
    /// Nothing.
    Silent,
    /// Lines that are drawn over.
    Live { bar: ProgressBar, forecast: Forecast },
    /// Log lines whenever this much time has passed since launch.
    Plain { every: Duration, next: Duration, forecast: Forecast },
}

impl Meter {
    pub(super) fn new(config: &OutputConfig, terminal: Terminal) -> Self {
        let forecast = Forecast::default();
        let plain = |every| Self::Plain { every, next: every, forecast };
        match config.progress {
            _ if config.quiet => Self::Silent,
            ProgressMode::Never => Self::Silent,
            _ if terminal == Terminal::Able => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                Self::Live { bar: bar.with_style(style()), forecast }
            }
            ProgressMode::Auto | ProgressMode::Receivers => plain(EVERY),
            ProgressMode::Always => plain(ALWAYS_EVERY),
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match self {
            Self::Silent => {}
            Self::Live { bar, forecast } => {
                forecast.note(progress.running, progress.bytes);
                bar.set_message(screen(progress, forecast.of(progress), terminal_size()));
            }
            Self::Plain { every, next, forecast } => {
                forecast.note(progress.running, progress.bytes);
                if progress.elapsed >= *next {
                    *next = progress.elapsed + *every;
                    log(progress, forecast.of(progress));
                }
            }
        }
    }

    /// Runs `write` while the live line is out of the way.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        match self {
            Self::Live { bar, .. } => bar.suspend(write),
            _ => write(),
        }
    }

    /// Takes the live line away.
    pub(super) fn clear(&mut self) {
        if let Self::Live { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

impl Forecast {
    fn of(&self, progress: &Progress) -> Option<Duration> {
        self.time_to(progress.expected?).filter(|_| matches!(progress.phase, Phase::Running))
    }
}

/// One message of several lines: all figures are drawn at once and belong to one moment.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Rows and columns of the terminal at this moment.
fn terminal_size() -> (usize, usize) {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        // It does not say.
        _ => (24, 80),
    }
}

/// The text that is drawn: the line about all receivers, then a line for each. One row stays free for the log.
fn screen(progress: &Progress, left: Option<Duration>, (rows, columns): (usize, usize)) -> String {
    let mut lines = vec![line(progress, left)];
    if let Some(slowest) = &progress.slowest {
        lines.extend(slowest.table(rows.saturating_sub(2)));
    }
    let cut = lines.iter().map(|line| line.chars().take(columns).collect::<String>());
    cut.collect::<Vec<_>>().join("\n")
}

/// Logs the progress as lines, with the numbers as fields.
fn log(progress: &Progress, left: Option<Duration>) {
    let text = line(progress, left);
    let receivers = progress.receivers.as_ref();
    if let Phase::Waiting(waiting) = &progress.phase {
        let attendance = match waiting {
            Waiting::ForReceivers(attendance) => Some(attendance),
            _ => None,
        };
        let (joined, awaited) = (attendance.map(|it| it.joined), attendance.map(|it| it.awaited));
        tracing::info!(elapsed_s = progress.elapsed.as_secs(), joined, awaited, "{text}");
    } else {
        let limit = progress.limited_by.as_ref();
        tracing::info!(
            bytes = progress.bytes,
            expected_bytes = progress.expected,
            percent = progress.expected.map(|expected| percent(progress.bytes, expected)),
            rate_bps = progress.rate.saturating_mul(8),
            elapsed_s = progress.running.as_secs(),
            eta_s = left.map(|left| left.as_secs()),
            joined = receivers.map(|receivers| receivers.joined),
            ready = receivers.map(|receivers| receivers.ready),
            done = receivers.map(|receivers| receivers.done),
            repair_share = (progress.repair_share * 10_000.0).round() / 10_000.0,
            limit = limit.map(|(limit, _)| limit.key()),
            limit_s = limit.map(|(_, held)| held.as_secs()),
            "{text}"
        );
    }
    let Some(slowest) = progress.slowest.as_ref().map(|slowest| slowest.few(MOST_IN_LOG)) else { return };
    for receiver in &slowest.receivers {
        tracing::info!(
            name = receiver.name,
            state = receiver.state.word(),
            bytes = receiver.bytes,
            behind_bytes = receiver.behind,
            "{}",
            receiver.line()
        );
    }
    if slowest.more > 0 {
        tracing::info!(more = slowest.more, "and {} more", slowest.more);
    }
}

/// All of it in one line, which is cut where the terminal ends: what matters most comes first.
fn line(progress: &Progress, left: Option<Duration>) -> String {
    let (receivers, amount) = (progress.receivers, quantities::size(progress.bytes));
    if let Phase::Waiting(waiting) = &progress.phase {
        return waiting.to_string();
    }
    let mut parts = vec![match progress.expected {
        Some(expected) => format!("{amount} ({} %)", percent(progress.bytes, expected)),
        None => amount,
    }];
    parts.push(quantities::rate(progress.rate));
    parts.push(match left {
        Some(left) => format!("{}, {} left", seconds(progress.running), seconds(left)),
        None => seconds(progress.running),
    });
    if let Some(Receivers { joined, ready, done }) = receivers {
        parts.push(format!("{ready}/{joined} ready, {done} done"));
    }
    parts.push(format!("repair {:.1} %", progress.repair_share * 100.0));
    match (&progress.phase, receivers, &progress.limited_by) {
        (Phase::Finishing, Some(_), _) => parts.push("confirming".to_owned()),
        (Phase::Finishing, None, _) => parts.push("waiting for the sink".to_owned()),
        (_, _, Some((limit, held))) => parts.push(format!("limit: {limit} {}", seconds(*held))),
        _ => {}
    }
    parts.join(" · ")
}

/// A time whose last digit changes once a second at most.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..10 => format!("{seconds} s"),
        _ => quantities::span(time),
    }
}

/// The expectation is a guess of the user's, and nothing is complete before it is.
fn percent(bytes: u64, expected: u64) -> u64 {
    let share = u128::from(bytes) * 100 / u128::from(expected.max(1));
    u64::try_from(share).unwrap_or(u64::MAX).min(99)
}

const EVERY: Duration = Duration::from_secs(30);
const ALWAYS_EVERY: Duration = Duration::from_secs(1);
/// Receivers that have a line of the log each time.
const MOST_IN_LOG: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Progress {
        Progress {
            elapsed: Duration::from_secs(10),
            running: Duration::from_millis(8_900),
            phase: Phase::Running,
            bytes: 1_234_000_000,
            expected: Some(4_000_000_000),
            rate: 112_300_000,
            receivers: Some(Receivers { joined: 3, ready: 3, done: 0 }),
            repair_share: 0.0123,
            limited_by: Some((Limit::Receiver("db2".to_owned()), Duration::from_millis(754_900))),
            slowest: None,
        }
    }

    #[test]
    fn one_line_tells_how_far_how_fast_who_and_why() {
        assert_eq!(
            line(&running(), Some(Duration::from_secs(25))),
            "1.15 GiB (30 %) · 107.10 MiB/s · 8 s, 25 s left · 3/3 ready, 0 done · repair 1.2 % · limit: receiver db2 12 min 34 s"
        );
        let at_rate = Progress { limited_by: Some((Limit::Rate, Duration::from_secs(2))), ..running() };
        assert!(
            line(&at_rate, None).ends_with(" · 8 s · 3/3 ready, 0 done · repair 1.2 % · limit: --rate 2 s")
        );
        let at_receiver = Progress { receivers: None, expected: None, phase: Phase::Finishing, ..running() };
        assert_eq!(
            line(&at_receiver, None),
            "1.15 GiB · 107.10 MiB/s · 8 s · repair 1.2 % · waiting for the sink"
        );
    }

    #[test]
    fn line_of_a_waiting_program_says_what_it_waits_for_and_how_long() {
        let left = Some(Duration::from_secs(540));
        let attendance =
            Attendance { joined: 1, awaited: 2, names: "db2".into(), more: 1, ..Attendance::default() };
        for (waiting, text) in [
            (Waiting::ForReceivers(attendance), "1 of 2 joined: db2; waiting for 1 more"),
            (Waiting::ForSender(None), "waiting for a sender"),
            (Waiting::ForSender(left), "waiting for a sender, 9 min left"),
            (
                Waiting::ForAnswer("db1".into(), None),
                "found the session of db1, waiting for the answer to the join",
            ),
            (
                Waiting::ForStart("db1".into(), left),
                "joined the session of db1, waiting for its start, 9 min left",
            ),
            (Waiting::ForRoom, "waiting for room in the archive"),
        ] {
            assert_eq!(line(&Progress { phase: Phase::Waiting(waiting), ..running() }, None), text);
        }
    }

    #[test]
    fn without_a_terminal_a_line_comes_every_30_seconds_and_never_when_quiet() {
        let config = |progress, quiet| OutputConfig {
            report: None,
            report_log: None,
            progress,
            quiet,
            verbose: 0,
            log_format: super::super::config::LogFormat::Text,
            color: super::super::config::ColorMode::Auto,
        };
        let mut meter = Meter::new(&config(ProgressMode::Auto, false), Terminal::None);
        let next = |meter: &Meter| match meter {
            Meter::Plain { next, .. } => next.as_secs(),
            _ => panic!("{meter:?}"),
        };
        assert_eq!(next(&meter), 30);
        meter.show(&running());
        assert_eq!(next(&meter), 30);
        meter.show(&Progress { elapsed: Duration::from_secs(31), ..running() });
        assert_eq!(next(&meter), 61);
        assert!(matches!(Meter::new(&config(ProgressMode::Always, true), Terminal::Able), Meter::Silent));
        assert!(matches!(Meter::new(&config(ProgressMode::Never, false), Terminal::Able), Meter::Silent));
        assert!(matches!(Meter::new(&config(ProgressMode::Auto, false), Terminal::Able), Meter::Live { .. }));
    }
}
