//! The receivers that are there before the start, and those that were: for the messages of a session that waits, and of one
//! that never starts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Member, Sender, State, Verdict};
use crate::exit::Exit;
use crate::session::names::{listed, receivers, with_rest};
use crate::time::{Time, span};

/// A session that waits for its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// Receivers that have joined.
    pub joined: u32,
    /// Receivers that should have.
    pub awaited: u32,
    /// Names of those that have joined, as a list for people.
    pub names: String,
    /// Names that are waited for, as a list for people.
    pub missing: String,
    /// Receivers that are waited for besides those names.
    pub more: u32,
    /// Time until the session starts though nobody else joins.
    pub starts_in: Option<Duration>,
    /// Time until the sender gives up.
    pub left: Option<Duration>,
}

impl fmt::Display for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { joined, awaited, names, missing, more, .. } = self;
        if *awaited > 1 && joined <= awaited {
            write!(f, "{joined} of {awaited} joined")?;
        } else if *joined > 0 {
            write!(f, "{joined} joined")?;
        }
        if *joined > 0 {
            write!(f, ": {names}")?;
        }
        let waits = match (missing.as_str(), more) {
            ("", 0) => false,
            ("", _) if *joined == 0 && *awaited <= 1 => {
                f.write_str("waiting for receivers")?;
                true
            }
            ("", more) => {
                write!(f, "; waiting for {more} more")?;
                true
            }
            (missing, 0) => {
                let separator = if *joined == 0 && *awaited <= 1 { "" } else { "; " };
                write!(f, "{separator}waiting for {missing}")?;
                true
            }
            (missing, more) => {
                write!(f, "; waiting for {missing}, and for {}", further(*more))?;
                true
            }
        };
        match (self.starts_in, self.left) {
            (Some(starts), left) if left.is_none_or(|left| starts < left) => {
                let anyway = if waits { ", starting anyway in " } else { "; starting in " };
                write!(f, "{anyway}{}", span(starts))
            }
            (_, Some(left)) => write!(f, ", {} left", span(left)),
            _ => Ok(()),
        }
    }
}

fn further(count: u32) -> String {
    if count == 1 { "1 further receiver".to_owned() } else { format!("{count} further receivers") }
}

/// Receivers that had joined and were gone before the start; of several with one name, the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Departures {
    by_name: BTreeMap<String, Departure>,
    /// Those that there was no room for.
    more: usize,
}

#[derive(Clone, Debug)]
struct Departure {
    joined: Time,
    left: Time,
    why: String,
}

impl Departures {
    /// Bounds the table: without a key, a stranger could come and go under other names for ever.
    const MOST: usize = 64;

    /// A receiver is gone that had joined.
    pub(super) fn note(&mut self, now: Time, member: &Member, why: String) {
        if self.by_name.len() >= Self::MOST && !self.by_name.contains_key(&member.name) {
            self.more = self.more.saturating_add(1);
            return;
        }
        self.by_name.insert(member.name.clone(), Departure { joined: member.joined, left: now, why });
    }
}

/// Why a receiver that left before the start did so.
pub(super) fn why_it_left(exit: Exit, text: &str) -> String {
    match exit {
        Exit::NotStarted => "its --start-timeout".to_owned(),
        _ if text.is_empty() => exit.meaning().to_owned(),
        _ => text.to_owned(),
    }
}

impl Sender {
    /// Departures in one message, at most.
    const MOST_DEPARTURES: usize = 8;

    /// The receivers that have joined and those that are waited for, before the start.
    pub fn attendance(&self, now: Time) -> Attendance {
        let (rules, joined) = (&self.config.start, self.members.joined());
        let missing: Vec<_> = rules.missing(joined).collect();
        let named = u32::try_from(missing.len()).unwrap_or(u32::MAX);
        let first_join = match self.state {
            State::Waiting { first_join } => first_join,
            _ => None,
        };
        let starts = match rules.evaluate(now, first_join, joined) {
            Verdict::Wait(at) => at,
            Verdict::Start => Some(now),
        };
        Attendance {
            joined: joined.count(),
            awaited: rules.awaited(),
            names: listed(self.members.iter().map(|member| member.name.as_str())),
            missing: listed(missing),
            more: rules.min_receivers.saturating_sub(joined.count()).saturating_sub(named),
            starts_in: starts.map(|at| at.since(now)),
            left: self.config.start_timeout.map(|timeout| (self.launched + timeout).since(now)),
        }
    }

    /// Required and expected names that the session started without, or that are missing still.
    pub fn missing(&self) -> Vec<String> {
        match (&self.shortfall, self.started) {
            (Some(short), _) => short.missing.keys().cloned().collect(),
            (None, Some(_)) => Vec::new(),
            (None, None) => self.config.start.missing(self.members.joined()).map(str::to_owned).collect(),
        }
    }

    /// Why there was no start within `timeout`: who was there, and when those left that are gone.
    pub(super) fn describe_no_start(&self, now: Time, timeout: Duration) -> String {
        let (rules, joined) = (&self.config.start, self.members.joined());
        let gone: Vec<_> = self.departures.by_name.iter().filter(|(name, _)| !joined.has(name)).collect();
        let least = rules.min_receivers as usize;
        let ever = self.members.len() + gone.len() + self.departures.more;
        let there = listed(self.members.iter().map(|member| member.name.as_str()));
        let missing = listed(rules.missing(joined));
        let mut parts = Vec::new();
        if !missing.is_empty() {
            parts.push(format!("missing: {missing}"));
        }
        let mut here = match (missing.is_empty() || least > 1, ever < least) {
            (true, true) if least == 1 => "no receiver had joined".to_owned(),
            (true, true) => format!("{ever} of {} had joined", receivers(least)),
            (true, false) if self.members.len() < least && least > 1 => {
                format!("{} had joined, but never {least} at the same time", receivers(ever))
            }
            (true, false) if there.is_empty() => format!("{} had joined", receivers(ever)),
            _ if there.is_empty() => String::new(),
            _ => "joined".to_owned(),
        };
        if !there.is_empty() {
            here.push_str(&format!(": {there}"));
        }
        if !here.is_empty() {
            parts.push(here);
        }
        if joined.count() > 0 && rules.is_enough(joined) {
            parts.push(format!("--min-wait ({}) was not over", span(rules.min_wait)));
        }
        let told = gone.iter().take(Self::MOST_DEPARTURES).map(|(name, departure)| {
            let Departure { joined, left, why } = departure;
            let [joined, left] = [joined, left].map(|at| span(at.since(self.launched)));
            format!("{name} joined after {joined} and left after {left} ({why})")
        });
        let told: Vec<_> = told.collect();
        if !told.is_empty() {
            parts.push(with_rest(&told, ", ", gone.len() - told.len() + self.departures.more));
        }
        let mut error = format!("no start within --start-timeout ({}): {}", span(timeout), parts.join("; "));
        let others: Vec<_> =
            self.describe_strangers().into_iter().chain(self.describe_lookers(now)).collect();
        if !others.is_empty() {
            error.push_str(&format!("; {}", others.join("; ")));
        } else if ever == 0 {
            error.push_str(
                "; a receiver joins once it hears this sender: check that receivers run with the same group and port, \
                 that switches and their firewalls let multicast through, --ttl where routers lie between, and that \
                 UDP to this port gets through the firewall here",
            );
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Attendance {
        Attendance {
            joined: 2,
            awaited: 3,
            names: "db2, db3".into(),
            more: 1,
            left: Some(Duration::from_secs(480)),
            ..Attendance::default()
        }
    }

    #[test]
    fn waiting_line_names_who_is_there_who_is_missing_and_the_time_left() {
        let cases = [
            (waiting(), "2 of 3 joined: db2, db3; waiting for 1 more, 8 min left"),
            (
                Attendance { missing: "files".into(), more: 0, ..waiting() },
                "2 of 3 joined: db2, db3; waiting for files, 8 min left",
            ),
            (
                Attendance { missing: "files".into(), ..waiting() },
                "2 of 3 joined: db2, db3; waiting for files, and for 1 further receiver, 8 min left",
            ),
            (
                Attendance { starts_in: Some(Duration::from_secs(200)), ..waiting() },
                "2 of 3 joined: db2, db3; waiting for 1 more, starting anyway in 3 min 20 s",
            ),
            (
                Attendance { joined: 3, more: 0, starts_in: Some(Duration::from_secs(20)), ..waiting() },
                "3 of 3 joined: db2, db3; starting in 20 s",
            ),
            (
                Attendance { joined: 0, names: String::new(), more: 3, left: None, ..waiting() },
                "0 of 3 joined; waiting for 3 more",
            ),
            (
                Attendance { joined: 0, awaited: 1, names: String::new(), ..waiting() },
                "waiting for receivers, 8 min left",
            ),
            (
                Attendance {
                    joined: 0,
                    awaited: 1,
                    names: String::new(),
                    missing: "db2".into(),
                    more: 0,
                    ..waiting()
                },
                "waiting for db2, 8 min left",
            ),
            (
                Attendance {
                    joined: 1,
                    awaited: 1,
                    missing: "db2".into(),
                    names: "x".into(),
                    more: 0,
                    ..waiting()
                },
                "1 joined: x; waiting for db2, 8 min left",
            ),
        ];
        for (attendance, text) in cases {
            assert_eq!(attendance.to_string(), text);
        }
    }
}
