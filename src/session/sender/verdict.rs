//! How a session ended for the sender, from how it ended for each receiver.

use super::{Ended, Member, MemberState, Sender};
use crate::exit::Exit;

impl Sender {
    /// The likely cause where nobody was heard any more, and the remedy.
    const ALL_SILENT: &str = "; where all fall silent, check this host's own link, and that UDP from them to its port still gets through";

    /// The exit code, from how every receiver ended.
    pub(super) fn judge(&self) -> Ended {
        let source_ended = self.end.is_some();
        let exits = self.members.iter().map(|member| match &member.state {
            MemberState::Done(outcome) | MemberState::Left(outcome, _) => outcome.exit,
            MemberState::Active | MemberState::Verified | MemberState::Lost | MemberState::Stalled(_) => {
                Exit::PeerLost
            }
        });
        let total = exits.clone().count();
        let complete = exits.clone().filter(|exit| *exit == Exit::Complete).count();
        if complete == total && source_ended {
            return Ended { exit: Exit::Complete, error: None };
        }
        let failed: Vec<_> = self
            .members
            .iter()
            .zip(exits.clone())
            .filter(|(_, exit)| *exit != Exit::Complete)
            .map(|(member, exit)| describe_failure(member, exit))
            .collect();
        let failed = failed.join("; ");
        if complete > 0 && source_ended {
            let exit = if self.config.partial_ok { Exit::Complete } else { Exit::Partial };
            return Ended {
                exit,
                error: Some(format!("{} of {total} receivers failed: {failed}", total - complete)),
            };
        }
        // One cause for all is told as that cause, if it is one that the sender's operator can mend.
        let mut distinct = exits;
        let first = distinct.next().unwrap_or(Exit::PeerLost);
        let mendable = matches!(first, Exit::Integrity | Exit::SinkFailed | Exit::LocalResource);
        let exit = if mendable && distinct.all(|exit| exit == first) { first } else { Exit::PeerLost };
        let all_silent = self.members.iter().all(|member| member.state == MemberState::Lost);
        let hint = if all_silent { Self::ALL_SILENT } else { "" };
        Ended { exit, error: Some(format!("no receiver has the stream: {failed}{hint}")) }
    }
}

fn describe_failure(member: &Member, exit: Exit) -> String {
    let Member { name, address, .. } = member;
    match &member.state {
        MemberState::Left(_, reason) if !reason.is_empty() => format!("{name} ({address}): {reason}"),
        MemberState::Done(_) | MemberState::Left(..) => format!("{name} ({address}): {}", exit.meaning()),
        MemberState::Stalled(most) => format!(
            "{name} ({address}): its sink took nothing for {} s, evicted (--max-stall)",
            most.as_secs_f64()
        ),
        _ => format!("{name} ({address}): silent, evicted"),
    }
}
