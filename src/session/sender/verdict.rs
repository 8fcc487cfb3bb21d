//! How a session ended for the sender, from how it ended for each receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use super::start_window::Shortfall;
use super::{Ended, Member, MemberState, Sender};
use crate::exit::Exit;
use crate::session::names::{listed, receivers, with_rest};
use crate::time::span;

impl Sender {
    /// The likely cause where nobody was heard any more, and the remedy.
    const ALL_SILENT: &str = "; where all fall silent, check this host's own link, and that UDP from them to its port still gets through";

    /// The exit code, from how every receiver ended, and from who was missing at the start.
    pub(super) fn judge(&self) -> Ended {
        let source_ended = self.end.is_some();
        let total = self.members.iter().count();
        let has_failed = |member: &&Member| exit_of(member) != Exit::Complete;
        let failed: Vec<_> = self.members.iter().filter(has_failed).collect();
        let complete = total - failed.len();
        let short =
            self.shortfall.as_ref().map(|short| describe_shortfall(short, self.config.start.max_wait));
        if failed.is_empty() && short.is_none() && source_ended {
            return Ended { exit: Exit::Complete, error: None };
        }
        if complete > 0 && source_ended {
            let exit = if self.config.partial_ok { Exit::Complete } else { Exit::Partial };
            let mut parts = Vec::from_iter(short.clone());
            if !failed.is_empty() {
                let reasons = describe_failures(&failed);
                parts.push(format!("{} of {} failed: {reasons}", failed.len(), receivers(total)));
            }
            if short.is_some() {
                let complete = self.members.iter().filter(|member| !has_failed(member));
                let names = listed(complete.map(|member| member.name.as_str()));
                parts.push(format!("the stream is complete at {names}"));
            }
            return Ended { exit, error: Some(parts.join("; ")) };
        }
        // One cause for all is told as that cause, if it is one that the sender's operator can mend.
        let mut distinct = self.members.iter().map(exit_of);
        let first = distinct.next().unwrap_or(Exit::PeerLost);
        let mendable = matches!(first, Exit::Integrity | Exit::SinkFailed | Exit::LocalResource);
        let exit = if mendable && distinct.all(|exit| exit == first) { first } else { Exit::PeerLost };
        let all_silent = self.members.iter().all(|member| member.state == MemberState::Lost);
        let hint = if all_silent { Self::ALL_SILENT } else { "" };
        let short = short.map(|short| format!("; {short}")).unwrap_or_default();
        let failed = describe_failures(&failed);
        Ended { exit, error: Some(format!("no receiver has the stream: {failed}{hint}{short}")) }
    }
}

impl Member {
    /// Why it does not have the stream; `None` if it has, or may still get it.
    pub fn failure(&self) -> Option<String> {
        match &self.state {
            MemberState::Active | MemberState::Verified => None,
            MemberState::Done(outcome) if outcome.exit == Exit::Complete => None,
            MemberState::Left(_, reason) => Some(reason.clone()),
            MemberState::Done(outcome) => Some(outcome.exit.meaning().to_owned()),
            MemberState::Stalled(most) => {
                Some(format!("evicted, because its sink took nothing for {} (--max-stall)", span(*most)))
            }
            MemberState::Lost => Some("evicted, because it was silent (--peer-timeout)".to_owned()),
        }
    }
}

fn exit_of(member: &Member) -> Exit {
    match &member.state {
        MemberState::Done(outcome) | MemberState::Left(outcome, _) => outcome.exit,
        MemberState::Active | MemberState::Verified | MemberState::Lost | MemberState::Stalled(_) => {
            Exit::PeerLost
        }
    }
}

/// Each reason once, with the names of the receivers that gave it, ordered by name.
fn describe_failures(failed: &[&Member]) -> String {
    let mut by_reason = BTreeMap::<String, Vec<&str>>::new();
    for member in failed {
        let reason = member.failure().unwrap_or_else(|| exit_of(member).meaning().to_owned());
        by_reason.entry(reason).or_default().push(&member.name);
    }
    let mut groups: Vec<_> = by_reason.into_iter().collect();
    groups.iter_mut().for_each(|(_, names)| names.sort_unstable());
    groups.sort_by(|a, b| a.1.cmp(&b.1));
    let shown = groups.iter().take(MOST_REASONS);
    let shown: Vec<_> =
        shown.map(|(reason, names)| format!("{}: {reason}", listed(names.iter().copied()))).collect();
    let rest = groups.iter().skip(MOST_REASONS).map(|(_, names)| names.len()).sum();
    with_rest(&shown, "; ", rest)
}

fn describe_shortfall(short: &Shortfall, max_wait: Option<Duration>) -> String {
    let Shortfall { joined, awaited, missing } = short;
    let started = if joined < awaited {
        format!("started with {joined} of {}", receivers(*awaited as usize))
    } else {
        format!("started with {}", receivers(*joined as usize))
    };
    let after = max_wait.map(|wait| format!(" after --max-wait ({})", span(wait))).unwrap_or_default();
    let missing: Vec<_> = missing
        .iter()
        .map(|(name, came)| if *came { format!("{name} (came too late)") } else { name.clone() })
        .collect();
    if missing.is_empty() {
        return format!("{started}{after}");
    }
    format!("{started}{after}; missing: {}", listed(missing.iter().map(String::as_str)))
}

/// Different reasons in one message, at most: each is up to 200 bytes long, and there may be as many as receivers.
const MOST_REASONS: usize = 8;
