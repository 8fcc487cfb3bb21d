//! What people see of a session under way: a live line on a terminal, else a plain line now and then.

use std::fmt;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::config::{OutputConfig, ProgressMode};
use super::console::Terminal;
use super::quantities;
use crate::session::sender::Attendance;

/// A session at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Time since launch.
    pub elapsed: Duration,
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
    /// Who has held the session up of late, `source`, `network`, `sink` or `receiver NAME`, and for how long in all.
    pub limited_by: Option<(String, Duration)>,
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

/// What a session that has not started waits for.
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
        left.map_or(Ok(()), |left| write!(f, ", {} left", quantities::span(left)))
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
    /// A line that is drawn over.
    Live(ProgressBar),
    /// A log line whenever this much time has passed since launch.
    Plain { every: Duration, next: Duration },
}

impl Meter {
    pub(super) fn new(config: &OutputConfig, terminal: Terminal) -> Self {
        match config.progress {
            _ if config.quiet => Self::Silent,
            ProgressMode::Never => Self::Silent,
            _ if terminal == Terminal::Able => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                Self::Live(bar.with_style(style()))
            }
            ProgressMode::Auto => Self::Plain { every: EVERY, next: EVERY },
            ProgressMode::Always => Self::Plain { every: ALWAYS_EVERY, next: ALWAYS_EVERY },
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match self {
            Self::Silent => {}
            Self::Live(bar) => bar.set_message(line(progress)),
            Self::Plain { every, next } => {
                if progress.elapsed >= *next {
                    *next = progress.elapsed + *every;
                    tracing::info!("{}", line(progress));
                }
            }
        }
    }

    /// Runs `write` while the live line is out of the way.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        match self {
            Self::Live(bar) => bar.suspend(write),
            _ => write(),
        }
    }

    /// Takes the live line away.
    pub(super) fn clear(&mut self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// One message, cut at the terminal's width: all figures are drawn at once and belong to one moment.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// All of it in one line, which is cut where the terminal ends: what matters most comes first.
fn line(progress: &Progress) -> String {
    let (receivers, amount) = (progress.receivers, quantities::size(progress.bytes));
    if let Phase::Waiting(waiting) = &progress.phase {
        return waiting.to_string();
    }
    let mut parts = vec![match progress.expected {
        Some(expected) => format!("{amount} ({} %)", percent(progress.bytes, expected)),
        None => amount,
    }];
    parts.push(quantities::rate(progress.rate));
    if let Some(Receivers { joined, ready, done }) = receivers {
        parts.push(format!("{ready}/{joined} ready, {done} done"));
    }
    parts.push(format!("repair {:.1} %", progress.repair_share * 100.0));
    match (&progress.phase, receivers, &progress.limited_by) {
        (Phase::Finishing, Some(_), _) => parts.push("confirming".to_owned()),
        (Phase::Finishing, None, _) => parts.push("waiting for the sink".to_owned()),
        (_, _, Some((limit, held))) => parts.push(format!("limit: {limit} {} s", held.as_secs())),
        _ => {}
    }
    parts.join(" · ")
}

/// The expectation is a guess of the user's, and nothing is complete before it is.
fn percent(bytes: u64, expected: u64) -> u128 {
    (u128::from(bytes) * 100 / u128::from(expected.max(1))).min(99)
}

const EVERY: Duration = Duration::from_secs(30);
const ALWAYS_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Progress {
        Progress {
            elapsed: Duration::from_secs(10),
            phase: Phase::Running,
            bytes: 1_234_000_000,
            expected: Some(4_000_000_000),
            rate: 112_300_000,
            receivers: Some(Receivers { joined: 3, ready: 3, done: 0 }),
            repair_share: 0.0123,
            limited_by: Some(("receiver db2".to_owned(), Duration::from_millis(754_900))),
        }
    }

    #[test]
    fn one_line_tells_how_far_how_fast_who_and_why() {
        assert_eq!(
            line(&running()),
            "1.15 GiB (30 %) · 107.10 MiB/s · 3/3 ready, 0 done · repair 1.2 % · limit: receiver db2 754 s"
        );
        let at_receiver = Progress { receivers: None, expected: None, phase: Phase::Finishing, ..running() };
        assert_eq!(line(&at_receiver), "1.15 GiB · 107.10 MiB/s · repair 1.2 % · waiting for the sink");
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
            assert_eq!(line(&Progress { phase: Phase::Waiting(waiting), ..running() }), text);
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
        assert!(matches!(Meter::new(&config(ProgressMode::Auto, false), Terminal::Able), Meter::Live(_)));
    }
}
