//! What a simulation shows to a test.

use std::collections::BTreeMap;
use std::time::Duration;

use super::adversary::Recorded;
use crate::exit::Exit;
use crate::session::WireStats;
use crate::session::receiver::Summary;
use crate::session::sender::Member;
use crate::time::Time;
use crate::wire::Kind;

/// How a simulation went.
#[derive(Clone, Debug)]
pub struct History {
    /// The sender's exit code; `None` if it was killed.
    pub sender: Option<Exit>,
    /// What the sender would tell the operator.
    pub sender_error: Option<String>,
    /// What the sender counted.
    pub sent: WireStats,
    /// Names of receivers that the sender admitted.
    pub admitted: Vec<String>,
    /// Names of receivers that the sender's report calls successful.
    pub succeeded: Vec<String>,
    /// What the sender's report counts of each receiver that it admitted, by name.
    pub counted: BTreeMap<String, Counted>,
    /// For how long what held the session up, as the sender's report says: `source`, `network`, or a receiver's name.
    pub limited_by: BTreeMap<String, Duration>,
    /// When data began to flow; `None` if it never did, or the sender was killed.
    pub started: Option<Time>,
    /// When the sender ended.
    pub sender_ended: Time,
    /// The receivers, in the order of the scenario.
    pub receivers: Vec<ReceiverHistory>,
    /// Datagrams from receivers that reached the sender, by kind.
    pub feedback: BTreeMap<u8, u64>,
    /// Reports with needs, as the sender counted them.
    pub nacks: u64,
    /// When reports reached the sender.
    pub reports: Vec<Time>,
    /// The scenario's source symbols: how many the stream has.
    pub source_symbols: u64,
    /// How far things were, every tenth of a second in which something was sent.
    pub samples: Vec<Sample>,
    /// Every datagram, if the scenario records.
    pub recorded: Vec<Recorded>,
    /// What the hosts sent to addresses that are none of theirs.
    pub to_strangers: Vec<Recorded>,
}

/// How far things were at a moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When.
    pub at: Time,
    /// What the sender had sent.
    pub sent: WireStats,
    /// Bytes that each receiver's sink had taken.
    pub delivered: Vec<u64>,
    /// Datagrams that the queue before each receiver had had no room for.
    pub overflowed: Vec<u64>,
}

impl Sample {
    /// Time between two of them.
    pub(super) const EVERY: Duration = Duration::from_millis(100);
}

/// What is counted of one receiver: by itself, or by the sender as that receiver has told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes that its sink took.
    pub bytes: u64,
    /// Reports with needs.
    pub nacks: u64,
    /// Datagrams that never came.
    pub lost_symbols: u64,
    /// Those among them that its socket buffer had no room for.
    pub dropped: u64,
    /// For how long its sink held it up.
    pub stalled: Duration,
}

impl From<&Member> for Counted {
    fn from(member: &Member) -> Self {
        let &Member { bytes, nacks, lost_symbols, dropped, stalled, .. } = member;
        Self { bytes, nacks, lost_symbols, dropped, stalled }
    }
}

impl From<Summary> for Counted {
    fn from(summary: Summary) -> Self {
        let Summary { bytes, nacks, lost_symbols, dropped, stalled, .. } = summary;
        Self { bytes, nacks, lost_symbols, dropped, stalled }
    }
}

/// How it went for one receiver.
#[derive(Clone, Debug)]
pub struct ReceiverHistory {
    /// Its exit code; `None` if it was killed.
    pub exit: Option<Exit>,
    /// What it would tell the operator.
    pub error: Option<String>,
    /// Bytes that its sink took.
    pub bytes: u64,
    /// When its sink took the last of them.
    pub last_byte: Time,
    /// When it ended.
    pub ended: Time,
    /// What it counted.
    pub stats: WireStats,
    /// What it counted of itself.
    pub counted: Counted,
}

impl History {
    /// Transmissions of source and repair symbols for each source symbol of the stream.
    pub fn transmissions(&self) -> f64 {
        (self.sent.source_symbols + self.sent.repair_symbols) as f64 / self.source_symbols.max(1) as f64
    }

    pub(super) fn note_heard(&mut self, heard: &[(Time, u8)]) {
        for &(at, kind) in heard {
            *self.feedback.entry(kind).or_default() += 1;
            if kind == Kind::Report as u8 {
                self.reports.push(at);
            }
        }
    }

    /// Reports that reached the sender in the second in which most did.
    pub fn reports_in_a_second(&self) -> usize {
        let until = |from: Time| self.reports.partition_point(|at| *at < from + Duration::from_secs(1));
        let seconds = self.reports.iter().enumerate().map(|(index, from)| until(*from) - index);
        seconds.max().unwrap_or(0)
    }

    /// How far things were at `at`; nowhere before the first sample.
    pub fn at(&self, at: Duration) -> Sample {
        let after = self.samples.partition_point(|sample| sample.at <= Time::ZERO + at);
        after.checked_sub(1).and_then(|index| self.samples.get(index)).cloned().unwrap_or_default()
    }
}
