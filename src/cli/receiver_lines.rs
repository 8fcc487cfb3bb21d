//! How far each receiver is: a line for each, as many as there is room for.

use super::error::visible;
use super::quantities;
use crate::exit::Exit;
use crate::session::sender::{Member, MemberState};

/// A receiver at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverProgress {
    /// Its name.
    pub name: String,
    /// Bytes of the stream that its output has taken.
    pub bytes: u64,
    /// Bytes by which it is behind the receiver that has most.
    pub behind: u64,
    /// The receiver's state.
    pub state: ReceiverState,
}

/// State of a receiver, as the sender knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverState {
    /// It has joined a session that has not started.
    Waiting,
    /// It takes data.
    Receiving,
    /// It has the whole stream, and its output has not ended yet.
    Verified,
    /// It takes no more part, for this reason.
    Left(String),
    /// It has confirmed that all is well.
    Done,
}

/// The receivers that are furthest behind, in the order of their names, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slowest {
    /// Not more than were asked for.
    pub receivers: Vec<ReceiverProgress>,
    /// Receivers that are left out.
    pub more: usize,
}

impl Slowest {
    /// Most lines of receivers: a tall terminal shows as many.
    const MOST: usize = 100;

    /// The slowest of these members of a session.
    pub(super) fn of<'a>(members: impl Iterator<Item = &'a Member>, has_started: bool) -> Self {
        let all = members.map(|member| ReceiverProgress::of(member, has_started)).collect();
        Self::select(all, 0, Self::MOST)
    }

    /// The slowest of these in `most` lines at most; where there are more, the last line says how many.
    pub(super) fn table(&self, most: usize) -> Vec<String> {
        let all = self.receivers.len() + self.more;
        let shown = if all <= most { all } else { most.saturating_sub(1) };
        let slowest = Self::select(self.receivers.clone(), self.more, shown);
        let width = slowest.receivers.iter().map(|receiver| receiver.name.chars().count()).max().unwrap_or(0);
        let line = |receiver: &ReceiverProgress| {
            let (name, state) = (visible(&receiver.name), receiver.state.word());
            format!("{name:width$}  {state:9}  {}", receiver.details()).trim_end().to_owned()
        };
        let mut lines: Vec<_> = slowest.receivers.iter().map(line).collect();
        if slowest.more > 0 && most > 0 {
            lines.push(format!("and {} more", slowest.more));
        }
        lines
    }

    /// A few of these, for a log.
    pub(super) fn few(&self, most: usize) -> Self {
        Self::select(self.receivers.clone(), self.more, most)
    }

    fn select(mut receivers: Vec<ReceiverProgress>, more: usize, most: usize) -> Self {
        let first = receivers.iter().map(|receiver| receiver.bytes + receiver.behind).max().unwrap_or(0);
        for receiver in &mut receivers {
            receiver.behind = first - receiver.bytes;
        }
        receivers
            .sort_by(|one, other| one.haste().cmp(&other.haste()).then_with(|| one.name.cmp(&other.name)));
        let left_out = receivers.len().saturating_sub(most);
        receivers.truncate(most);
        receivers.sort_by(|one, other| one.name.cmp(&other.name));
        Self { receivers, more: more + left_out }
    }
}

impl ReceiverProgress {
    fn of(member: &Member, has_started: bool) -> Self {
        let state = match &member.state {
            MemberState::Active if !has_started => ReceiverState::Waiting,
            MemberState::Active => ReceiverState::Receiving,
            MemberState::Verified => ReceiverState::Verified,
            MemberState::Done(outcome) if outcome.exit == Exit::Complete => ReceiverState::Done,
            MemberState::Done(_) | MemberState::Left(..) | MemberState::Lost | MemberState::Stalled(_) => {
                ReceiverState::Left(member.failure().unwrap_or_default())
            }
        };
        Self { name: member.name.clone(), bytes: member.bytes, behind: 0, state }
    }

    /// Those that hold up the session come first. Reasons do not count.
    const fn haste(&self) -> (u8, u64) {
        let state = match self.state {
            ReceiverState::Waiting => 0,
            ReceiverState::Receiving => 1,
            ReceiverState::Verified => 2,
            ReceiverState::Left(_) => 3,
            ReceiverState::Done => 4,
        };
        (state, self.bytes)
    }

    /// How far it is, or why it left.
    fn details(&self) -> String {
        let amount = quantities::size(self.bytes);
        match &self.state {
            ReceiverState::Waiting => String::new(),
            ReceiverState::Receiving if self.behind > 0 => {
                format!("{amount}, {} behind", quantities::size(self.behind))
            }
            ReceiverState::Receiving | ReceiverState::Verified | ReceiverState::Done => amount,
            ReceiverState::Left(reason) => visible(reason),
        }
    }

    /// A line that stands alone.
    pub(super) fn line(&self) -> String {
        let (name, state, details) = (&self.name, self.state.word(), self.details());
        if details.is_empty() { format!("{name}: {state}") } else { format!("{name}: {state}, {details}") }
    }
}

impl ReceiverState {
    /// Its name for programs.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Receiving => "receiving",
            Self::Verified => "verified",
            Self::Left(_) => "left",
            Self::Done => "done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(name: &str, bytes: u64, state: ReceiverState) -> ReceiverProgress {
        ReceiverProgress { name: name.to_owned(), bytes, behind: 0, state }
    }

    fn five() -> Slowest {
        let receivers = vec![
            receiver("db5", 9 << 20, ReceiverState::Receiving),
            receiver("files", 10 << 20, ReceiverState::Verified),
            receiver("db2", 4 << 20, ReceiverState::Receiving),
            receiver("db4", 1 << 20, ReceiverState::Left("no space\u{1b}[2J".to_owned())),
            receiver("db3", 10 << 20, ReceiverState::Done),
        ];
        Slowest::select(receivers, 0, 100)
    }

    #[test]
    fn every_receiver_has_a_line_in_the_order_of_names() {
        assert_eq!(
            five().table(5),
            [
                "db2    receiving  4 MiB, 6 MiB behind",
                "db3    done       10 MiB",
                "db4    left       no space\\u{1b}[2J",
                "db5    receiving  9 MiB, 1 MiB behind",
                "files  verified   10 MiB",
            ]
        );
    }

    #[test]
    fn line_of_a_receiver_stands_alone() {
        let lines: Vec<_> = five().receivers.iter().map(ReceiverProgress::line).collect();
        assert_eq!(lines[0], "db2: receiving, 4 MiB, 6 MiB behind");
        assert_eq!(lines[2], "db4: left, no space\\u{1b}[2J");
        assert_eq!(receiver("db2", 0, ReceiverState::Waiting).line(), "db2: waiting");
    }

    #[test]
    fn slowest_receivers_stay_where_there_is_little_room() {
        assert_eq!(
            five().table(3),
            ["db2  receiving  4 MiB, 6 MiB behind", "db5  receiving  9 MiB, 1 MiB behind", "and 3 more"]
        );
        assert_eq!(five().table(1), ["and 5 more"]);
        assert_eq!(five().table(0), [""; 0]);
        let few = Slowest::select(five().receivers, 7, 2);
        assert_eq!(few.table(2).last().map(String::as_str), Some("and 11 more"));
    }
}
