//! The report: one JSON document about a session, schema 1, for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::archive::ArchiveReport;
use super::error::Failure;
use super::{values, version};
use crate::exit::Exit;
use crate::session::sender::{self, RatePhase};

/// What `mcast-send --report` writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SenderReport {
    schema: u8,
    role: Role,
    /// When and by what it was written.
    #[serde(flatten)]
    origin: Origin,
    /// How it ended.
    pub outcome: Outcome,
    /// The process exit status.
    pub exit_code: u8,
    /// Name of the stream.
    pub label: String,
    /// Session id in hexadecimal digits; `None` before there was one.
    pub session: Option<String>,
    /// Id of the key that the session is sealed with; `None` in plain mode, and before there was a session.
    pub key: Option<String>,
    /// Bytes of the stream.
    pub bytes: u64,
    /// Digest of the whole stream, `algorithm:hex`; `None` where it was not read to its end.
    pub digest: Option<String>,
    /// `--min-receivers`, where it was given.
    pub min_receivers: Option<u32>,
    /// Names that were required or expected.
    pub expected: Vec<String>,
    /// Those among them that were not there at the start.
    pub missing: Vec<String>,
    /// From launch to the start of the session.
    pub start_wait_s: Seconds,
    /// From the start of the session to its end.
    pub elapsed_s: Seconds,
    /// Bits of the stream per second of `elapsed_s`.
    pub goodput_bps: u64,
    /// What went over the network.
    pub wire: Wire,
    /// For how long each of these held the session up: `source`, `network`, `receiver:NAME`.
    pub limited_by: BTreeMap<String, Seconds>,
    /// The last beliefs of the rate control while data flowed.
    pub rate_control: RateControl,
    /// Every receiver that was admitted.
    pub receivers: Vec<ReceiverEntry>,
    /// Why it failed; `None` on success.
    pub error: Option<String>,
}

/// What the sender knows of one receiver.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReceiverEntry {
    /// What it calls itself.
    pub name: String,
    /// Address and port that its answers came from.
    pub address: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code it confirmed, or the one that stands for why it was evicted.
    pub exit_code: u8,
    /// Bytes that its sink took.
    pub bytes: u64,
    /// Reports of it that asked for repair.
    pub nacks: u64,
    /// Symbols that it missed at first, as it reported them.
    pub lost_symbols: u64,
    /// Those among them that reached its host and found its socket buffer full; the network lost the rest.
    pub dropped_at_socket: u64,
    /// The share of datagrams that the path to it loses at any rate, from 0 to 1.
    pub path_loss: Share,
    /// For how long its sink held the session up.
    pub stalled_s: Seconds,
    /// Why it failed, in its own words; `None` where it did not, or did not say.
    pub error: Option<String>,
}

/// What `mcast-recv --report` writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReceiverReport {
    schema: u8,
    role: Role,
    /// When and by what it was written.
    #[serde(flatten)]
    origin: Origin,
    /// How it ended.
    pub outcome: Outcome,
    /// The process exit status.
    pub exit_code: u8,
    /// Name of the stream; `None` before there was one.
    pub label: Option<String>,
    /// Session id in hexadecimal digits; `None` before there was one.
    pub session: Option<String>,
    /// Id of the key that the session is sealed with; `None` in plain mode, and before there was a session.
    pub key: Option<String>,
    /// What this receiver calls itself.
    pub name: String,
    /// Address and port of the sender.
    pub sender: Option<String>,
    /// Bytes that the sink took.
    pub bytes: u64,
    /// Digest of the whole stream, `algorithm:hex`; `None` where it did not arrive whole.
    pub digest: Option<String>,
    /// From launch to the start of the session.
    pub start_wait_s: Seconds,
    /// From the start of the session to its end.
    pub elapsed_s: Seconds,
    /// Bits of the stream per second of `elapsed_s`.
    pub goodput_bps: u64,
    /// What came over the network.
    pub wire: Wire,
    /// For how long each of these held the session up, as far as a receiver can tell: `sink`. The sender's report has all.
    pub limited_by: BTreeMap<String, Seconds>,
    /// Reports that asked for repair.
    pub nacks: u64,
    /// Symbols that were missed at first.
    pub lost_symbols: u64,
    /// Those among them that reached this host and found the socket buffer full; the network lost the rest.
    pub dropped_at_socket: u64,
    /// For how long the sink took nothing although there was something.
    pub stalled_s: Seconds,
    /// What has become of the stream in the archive; `None` where none is filled.
    pub archive: Option<ArchiveReport>,
    /// Why it failed; `None` on success.
    pub error: Option<String>,
}

/// When a report was written, and by what.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Origin {
    /// Launch, or, with `--repeat`, the end of the session before.
    started: Moment,
    /// When the session had ended.
    finished: Moment,
    /// Name of this host.
    host: String,
    /// Version of this program, as `--version` prints it.
    version: String,
}

impl Origin {
    fn new() -> Self {
        Self {
            started: Moment::default(),
            finished: Moment::default(),
            host: values::host_name(),
            version: version::text().to_owned(),
        }
    }
}

/// Datagrams and symbols, counted at this end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wire {
    /// Datagrams from sender to group.
    pub datagrams: u64,
    /// Their UDP payload, in bytes.
    pub bytes: u64,
    /// Source symbols among them.
    pub source_symbols: u64,
    /// Repair symbols among them.
    pub repair_symbols: u64,
    /// Of those, the ones that were sent before anyone had asked; 0 in a receiver's report.
    pub proactive_symbols: u64,
    /// Datagrams from receivers to sender.
    pub feedback_datagrams: u64,
    /// Reports that came faster than a receiver may send them and were not taken; 0 in a receiver's report.
    pub dropped_reports: u64,
    /// Datagrams that arrived here and were no datagrams of ours.
    pub dropped_malformed: u64,
}

/// The beliefs of the rate control about the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RateControl {
    phase: Phase,
    /// Name of the receiver whose path limits the rate; `None` where no path is known to.
    slowest_receiver: Option<String>,
    /// Bits per second that this path carries.
    capacity_bps: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Open,
    Limited,
    Probe,
}

impl RateControl {
    /// Before anything is known of any path.
    const UNKNOWN: Self = Self { phase: Phase::Open, slowest_receiver: None, capacity_bps: None };
}

impl From<sender::RateControl<'_>> for RateControl {
    fn from(control: sender::RateControl<'_>) -> Self {
        let phase = match control.phase {
            RatePhase::Open => Phase::Open,
            RatePhase::Limited => Phase::Limited,
            RatePhase::Probe => Phase::Probe,
        };
        Self {
            phase,
            slowest_receiver: control.slowest.map(|(name, _)| name.to_owned()),
            capacity_bps: control.slowest.map(|(_, capacity)| capacity.bits_per_second()),
        }
    }
}

/// How a session ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Complete and verified.
    Complete,
    /// Complete at some receivers.
    Partial,
    /// Anything else.
    Failed,
    /// Ended by a signal, here or at the peer, or by the peer's decision.
    Aborted,
}

impl From<Exit> for Outcome {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Complete => Self::Complete,
            Exit::Partial => Self::Partial,
            Exit::Aborted | Exit::Signal(_) => Self::Aborted,
            _ => Self::Failed,
        }
    }
}

/// Written as seconds with three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0.as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

/// Written with four decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share(pub f64);

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0 * 10_000.0).round() / 10_000.0)
    }
}

/// Written as RFC 3339 has it, in UTC, with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moment(Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Sender,
    Receiver,
}

impl SenderReport {
    /// The report of a session in which nothing has happened; it counts as complete until [`SenderReport::end`].
    pub fn new(label: &str) -> Self {
        Self {
            schema: SCHEMA,
            role: Role::Sender,
            origin: Origin::new(),
            outcome: Outcome::Complete,
            exit_code: 0,
            label: label.to_owned(),
            session: None,
            key: None,
            bytes: 0,
            digest: None,
            min_receivers: None,
            expected: Vec::new(),
            missing: Vec::new(),
            start_wait_s: Seconds::default(),
            elapsed_s: Seconds::default(),
            goodput_bps: 0,
            wire: Wire::default(),
            limited_by: BTreeMap::new(),
            rate_control: RateControl::UNKNOWN,
            receivers: Vec::new(),
            error: None,
        }
    }
}

impl ReceiverReport {
    /// The report of a session in which nothing has happened; it counts as complete until [`ReceiverReport::end`].
    pub fn new(name: &str) -> Self {
        Self {
            schema: SCHEMA,
            role: Role::Receiver,
            origin: Origin::new(),
            outcome: Outcome::Complete,
            exit_code: 0,
            label: None,
            session: None,
            key: None,
            name: name.to_owned(),
            sender: None,
            bytes: 0,
            digest: None,
            start_wait_s: Seconds::default(),
            elapsed_s: Seconds::default(),
            goodput_bps: 0,
            wire: Wire::default(),
            limited_by: BTreeMap::new(),
            nacks: 0,
            lost_symbols: 0,
            dropped_at_socket: 0,
            stalled_s: Seconds::default(),
            archive: None,
            error: None,
        }
    }
}

/// A report of either role.
pub trait Report: Serialize {
    /// Enters how it ended and when, and derives the goodput from bytes and time.
    fn end(&mut self, result: Result<(), &Failure>, started: Timestamp, finished: Timestamp);

    /// Whether there was a session to report.
    fn has_session(&self) -> bool;
}

macro_rules! report {
    ($report:ty) => {
        impl Report for $report {
            fn end(&mut self, result: Result<(), &Failure>, started: Timestamp, finished: Timestamp) {
                (self.origin.started, self.origin.finished) = (Moment(started), Moment(finished));
                let exit = result.map_or_else(|failure| failure.exit, |()| Exit::Complete);
                self.outcome = exit.into();
                self.exit_code = exit.code();
                self.error = result.err().map(ToString::to_string);
                self.goodput_bps = goodput(self.bytes, self.elapsed_s.0);
            }

            fn has_session(&self) -> bool {
                self.session.is_some()
            }
        }
    };
}

report!(SenderReport);
report!(ReceiverReport);

/// Bits per second.
fn goodput(bytes: u64, elapsed: Duration) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000_000;
    u64::try_from(bits / elapsed.as_nanos().max(1)).unwrap_or(u64::MAX)
}

const SCHEMA: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Rate;

    fn sender() -> SenderReport {
        let mut report = SenderReport::new("prod");
        report.session = Some("00112233445566778899aabbccddeeff".to_owned());
        report.key = Some("0123456789abcdef".to_owned());
        report.bytes = 1_000_000_000;
        report.digest = Some("xxh3-128:99aa06d3".to_owned());
        report.min_receivers = Some(3);
        report.expected = vec!["db2".to_owned(), "files".to_owned()];
        report.missing = vec!["files".to_owned()];
        report.start_wait_s = Seconds(Duration::from_millis(1500));
        report.elapsed_s = Seconds(Duration::from_nanos(10_000_400_000));
        report.wire =
            Wire { datagrams: 7, bytes: 6, source_symbols: 5, repair_symbols: 4, ..Wire::default() };
        report.limited_by.insert("source".to_owned(), Seconds(Duration::from_secs(2)));
        report.limited_by.insert("receiver:db2".to_owned(), Seconds(Duration::from_millis(125)));
        let slowest = Some(("db2", Rate::from_bits_per_second(94_100_000)));
        report.rate_control = sender::RateControl { phase: RatePhase::Limited, slowest }.into();
        report.receivers.push(ReceiverEntry {
            name: "db2".to_owned(),
            address: "192.0.2.2:40000".to_owned(),
            outcome: Outcome::Failed,
            exit_code: 9,
            bytes: 12,
            nacks: 3,
            lost_symbols: 2,
            dropped_at_socket: 1,
            path_loss: Share(0.048_151_6),
            stalled_s: Seconds(Duration::from_millis(125)),
            error: Some("command \"pg_restore\": exited with status 1".to_owned()),
        });
        report
    }

    const EVENING: Timestamp = Timestamp::constant(1_772_330_583, 456_000_000);

    #[test]
    fn the_reports_are_those_of_schema_1() {
        let mut report = sender();
        report.origin.host = "db1".to_owned();
        report.origin.version = "0.1.0 (commit 1a2b3c4d, protocol 1)".to_owned();
        let night = EVENING + Duration::from_millis(11_500);
        report.end(
            Err(&Failure::new(Exit::Partial, "1 of 3 receivers failed: db2 (9, no space)")),
            EVENING,
            night,
        );
        insta::assert_snapshot!("sender", serde_json::to_string_pretty(&report).unwrap());
        let mut report = ReceiverReport::new("db2");
        report.origin.host = "db2".to_owned();
        report.origin.version = "0.1.0 (commit 1a2b3c4d, protocol 1)".to_owned();
        report.end(Err(&Failure::new(Exit::NotStarted, "no sender within 10 m")), EVENING, EVENING);
        insta::assert_snapshot!("receiver", serde_json::to_string_pretty(&report).unwrap());
    }

    #[test]
    fn goodput_follows_from_bytes_and_time_and_nothing_overflows() {
        let mut report = sender();
        report.end(Ok(()), EVENING, EVENING);
        assert_eq!(
            (report.outcome, report.exit_code, report.goodput_bps),
            (Outcome::Complete, 0, 799_968_001)
        );
        assert_eq!(goodput(u64::MAX, Duration::ZERO), u64::MAX);
        assert_eq!(Outcome::from(Exit::Signal(15)), Outcome::Aborted);
    }
}
