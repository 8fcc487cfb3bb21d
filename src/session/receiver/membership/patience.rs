//! How long a receiver puts up with what: silence, joins that are not answered, blocks that nobody has any more, symbols
//! that do not get through; and what is to be said about the cause.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Membership, Step, Verdict};
use crate::exit::Exit;
use crate::time::{Time, span};
use crate::wire::Stage;

impl Membership {
    /// A sender shows itself four times in this time.
    const SENDER_MOVED: Duration = Duration::from_secs(1);

    /// So many more of its newest datagrams than come from where it was thought to be. Whoever sends again what was lost on
    /// its way here has fewer of them, as long as not half of all is lost.
    const ELSEWHERE: u32 = 16;

    /// The newest of the sender's datagrams came from there. Once admitted, a receiver believes in another address only
    /// when the one it knows is silent, or most of them come from elsewhere: whoever sends again what was lost on its way
    /// here is no sender, and one lost at the wrong moment must not make him one for the whole session.
    pub(super) fn note_sender(&mut self, now: Time, from: SocketAddr) {
        if from == self.sender {
            self.sender_heard = now;
            self.elsewhere = self.elsewhere.saturating_sub(1);
            return;
        }
        self.elsewhere += 1;
        let moved = now >= self.sender_heard + Self::SENDER_MOVED || self.elsewhere >= Self::ELSEWHERE;
        if moved || !self.admitted {
            (self.sender, self.sender_heard, self.elsewhere) = (from, now, 0);
            if let Step::Joining { asked } = &mut self.step
                && *asked > 0
            {
                // The joins so far went elsewhere. A crowd has noticed at the same moment.
                *asked = 0;
                let spread = Duration::from_millis(u64::from(self.group_size / 10)).mul_f64(self.rng.f64());
                self.ask_due = self.ask_due.min(now + spread);
            }
        }
    }

    pub(in crate::session::receiver) fn handle_unreachable(&mut self, now: Time) {
        // Anyone can send the datagram by which a host is told so.
        if self.has_key() && !matches!(self.step, Step::Leaving { .. }) {
            return;
        }
        self.unreachable.get_or_insert(now);
    }

    /// The sender has not answered, and had time to. Sessions have been joined without an answer since `since`, this one
    /// or others before it: the time for the first answer is given once, not to each, and counts from the first join.
    pub(in crate::session::receiver) fn is_unanswered(&self, now: Time, since: Time) -> bool {
        let since = if self.found <= since { since.max(self.asking_since) } else { since };
        let patience_ends =
            if self.proven { self.asking_since + Self::UNANSWERED_PROVEN } else { since + Self::UNANSWERED };
        !self.admitted && matches!(self.step, Step::Joining { .. }) && now >= patience_ends
    }

    pub(in crate::session::receiver) fn handle_timeout(&mut self, now: Time) {
        if let Some(pause) = self.pause.handle_call(now) {
            // Of what came while it was paused, some has been read already.
            self.last_heard = (self.last_heard + pause).min(now);
        }
        self.settle(now);
        match &self.step {
            Step::Leaving { ended, until } if now >= *until || self.unreachable.is_some() => {
                self.step = Step::Ended(ended.clone());
            }
            Step::Joining { .. }
                if self.excluded_at().is_some_and(|since| now >= since + self.answer_patience()) =>
            {
                let error = format!("the session started without this receiver: {}", self.unheard());
                self.end_with(now, Exit::NotStarted, error);
            }
            // Not before: while the sink is still at work, the sender is not needed, the data is all here.
            Step::Confirming { stage: Stage::Done, .. } if now >= self.silent_at() => {
                tracing::warn!(sender = %self.sender, "the sender did not acknowledge that this receiver is done");
                self.complete();
            }
            // Verifying, all the data is here too: what is left is between digest and sink.
            Step::Receiving if now >= self.silent_at() => {
                let silence = span(now.since(self.last_heard));
                let cause = if self.unreachable.is_some() {
                    "its host says that it has ended"
                } else {
                    "it was killed or cut off, or a switch or firewall on the way stopped to let the group through \
                     (IGMP snooping needs a querier)"
                };
                let error = format!(
                    "the sender {} was lost in mid-session: nothing heard for {silence}; {cause}; the output is incomplete",
                    self.sender_shown()
                );
                // It may hear what we say although we do not hear it: then it need not find out by its own timeout.
                self.leave(now, Exit::PeerLost, error, Self::ABORTED_PATIENCE);
            }
            Step::Receiving
                if self.released_at.is_some_and(|since| now >= since + Self::RELEASED_PATIENCE) =>
            {
                let error = format!(
                    "the sender {} no longer has what is missing here; the output is incomplete",
                    self.sender_shown()
                );
                self.leave(now, Exit::Integrity, error, Self::LEAVE_PATIENCE);
            }
            Step::Receiving
                if self.symbol_missed_since.is_some_and(|since| now >= since + self.symbol_patience) =>
            {
                let size = self.datagram_size;
                let error = format!(
                    "no data from the sender {} though smaller datagrams arrive: those of {size} bytes do not get through; \
                     check the MTU of every link and switch, or give the sender a smaller --mtu",
                    self.sender.ip()
                );
                self.leave(now, Exit::PeerLost, error, Self::LEAVE_PATIENCE);
            }
            _ => {}
        }
    }

    /// Since when the session has started without this receiver. With a key that says nothing: a recording has started,
    /// too. A sender that is there says that it refuses this receiver.
    fn excluded_at(&self) -> Option<Time> {
        self.excluded_at.filter(|_| !self.has_key())
    }

    /// For how long a sender with a key has been asked that may be a recording, once that is longer than a sender that is
    /// there needs for its answer. The time counts anew when data begins to flow; an abort has to be settled soon.
    pub(super) fn doubtful_for(&self, now: Time) -> Option<Duration> {
        let since = self.started.map_or(self.asking_since, |started| started.max(self.asking_since));
        let is_doubtful = self.has_key() && !self.named && self.aborted.is_none();
        (is_doubtful && now >= since + Self::ASK_AT_PACE).then(|| now.since(self.asking_since))
    }

    /// How long a join may go unanswered once the session has started.
    fn answer_patience(&self) -> Duration {
        self.peer_timeout.max(Self::EXCLUDED_PATIENCE)
    }

    /// Why the sender does not admit this receiver although it is heard, and the remedy.
    fn unheard(&self) -> String {
        format!(
            "the sender {} is heard, but answered none of the joins for {}, so it does not hear this host; check that \
             UDP from here to its port {} gets through (routes, and the firewall there)",
            self.sender_shown(),
            span(self.last_heard.since(self.found)),
            self.sender.port()
        )
    }

    /// The warning that a sender with a key goes on and answers no join, once a session. It does not end this receiver, because
    /// what it hears may be a recording.
    pub(in crate::session::receiver) fn take_unheard(&mut self, now: Time) -> Option<String> {
        if now < self.unheard_at() {
            return None;
        }
        self.told_unheard = true;
        Some(self.unheard())
    }

    /// When there will be something to tell.
    fn unheard_at(&self) -> Time {
        let is_mute = matches!(self.step, Step::Joining { .. }) && self.has_key() && !self.told_unheard;
        self.excluded_at.filter(|_| is_mute).map_or(Time::NEVER, |since| since + self.answer_patience())
    }

    /// Whether all that was heard may be the recording of a session with a key.
    pub(in crate::session::receiver) fn may_be_recorded(&self) -> bool {
        self.has_key() && !self.proven
    }

    /// The session did not start in time: why, as far as this receiver knows.
    pub(in crate::session::receiver) fn why_not_started(&self) -> String {
        match self.step {
            Step::Joining { .. } => self.unheard(),
            _ => "the sender waits for more receivers, or for its --min-wait".to_owned(),
        }
    }

    /// How far this receiver got: whether the sender has admitted it, or was only heard.
    pub(in crate::session::receiver) fn describe_attendance(&self) -> String {
        let how = if self.admitted { "joined" } else { "found" };
        format!("{how} the session of {}", self.sender_shown())
    }

    /// The session has not started within `timeout`, or not with this receiver.
    pub(in crate::session::receiver) fn describe_no_start(&self, timeout: Duration) -> String {
        let what = if self.admitted { "start" } else { "admit this receiver" };
        format!(
            "{}, which did not {what} within --start-timeout ({}): {}",
            self.describe_attendance(),
            span(timeout),
            self.why_not_started()
        )
    }

    /// For how long nothing has been heard from the sender, as long as something is expected.
    pub(in crate::session::receiver) fn silence(&self, now: Time) -> Option<Duration> {
        let expecting = !matches!(self.step, Step::Leaving { .. } | Step::Abandoned | Step::Ended(_));
        expecting.then(|| now.since(self.last_heard))
    }

    /// When the sender will have been silent for too long.
    fn silent_at(&self) -> Time {
        let at = self.last_heard + self.peer_timeout;
        let at = self.aborted.as_ref().map_or(at, |(since, ..)| at.min(*since + Self::ABORT_UNPROVEN));
        self.unreachable.map_or(at, |since| at.min(since + Self::UNREACHABLE_PATIENCE.min(self.peer_timeout)))
    }

    pub(in crate::session::receiver) fn verdict(&self, now: Time) -> Verdict {
        match &self.step {
            Step::Ended(ended) => Verdict::End(ended.clone()),
            Step::Abandoned => Verdict::SearchOn,
            Step::Joining { .. } | Step::Admitted if self.started.is_none() && now >= self.silent_at() => {
                Verdict::SearchOn
            }
            // Data came, but never the answer to the join.
            Step::Joining { .. } if now >= self.silent_at() => Verdict::SearchOn,
            _ => Verdict::Stay,
        }
    }

    pub(in crate::session::receiver) fn poll_timeout(&mut self) -> Option<Time> {
        let at = self.next_timeout();
        self.pause.set_alarm(Some(at));
        Some(at)
    }

    fn next_timeout(&self) -> Time {
        let silent = self.silent_at();
        let maturing = self.horizon.next().unwrap_or(Time::NEVER);
        let own = match &self.step {
            Step::Joining { .. } | Step::Admitted => {
                let excluded = self.excluded_at().map_or(Time::NEVER, |since| since + self.answer_patience());
                silent.min(excluded).min(self.unheard_at())
            }
            Step::Receiving => {
                let missed =
                    self.symbol_missed_since.map_or(Time::NEVER, |since| since + self.symbol_patience);
                let released = self.released_at.map_or(Time::NEVER, |since| since + Self::RELEASED_PATIENCE);
                maturing.min(silent).min(missed).min(released)
            }
            Step::Verifying => maturing,
            Step::Confirming { stage: Stage::Done, .. } => silent,
            Step::Confirming { .. } => Time::NEVER,
            Step::Leaving { until, .. } => *until,
            Step::Abandoned | Step::Ended(_) => Time::ZERO,
        };
        own.min(self.transmit_due())
    }
}
