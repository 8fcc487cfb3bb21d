//! Membership of a group, re-asserted: switches that snoop forget a member that is silent for some minutes (260 s by
//! RFC 3376), and where no querier asks, nobody reminds them but the member itself.
//!
//! A host reports a group when its first socket joins. So the socket leaves and joins again, back to back: on the wire
//! that is another report, and no word of leaving, since the kernel drops that (IGMPv3, MLDv2) once it is a member
//! again. Where several receivers share a host, one alone does not bring its kernel to report; all of them do when they
//! fall silent together, as they then stay away for a moment before they join again.

use std::time::Duration;

use rustix::net::netdevice::name_to_index;

use super::batch::BatchSocket;
use super::socket::{Venue, confine, join, leave};
use crate::time::Time;

/// Keeps one socket in its group.
#[derive(Debug)]
pub(super) struct GroupMembership {
    venue: Venue,
    every: Duration,
    patience: Duration,
    state: State,
    /// The last failure to join has been told.
    told: bool,
    /// Silences of the sender that were told.
    silences: u32,
}

#[derive(Debug)]
enum State {
    /// A report went out at this time, or would have.
    Joined { reported: Time },
    /// Stays away until this time.
    Away { until: Time },
}

impl GroupMembership {
    /// The longest time between two reports, well below the 260 s after which a switch forgets; there are switches with
    /// 105 s and less.
    const LONGEST: Duration = Duration::from_secs(30);
    /// Whoever wants to know of dead peers sooner wants to be heard by the switch more often, too: reports come so many
    /// peer timeouts apart.
    const PEER_TIMEOUTS: u32 = 3;
    /// A quarter of the peer timeout, but not less than this, without a datagram from the sender means that the switch
    /// may have forgotten: a sender shows signs of life four times a second.
    const LEAST_PATIENCE: Duration = Duration::from_millis(500);
    /// Where a querier of IGMP version 2 was heard, reports matter less, and cost more: there, a host does say that it
    /// leaves, and everybody has to answer for the group. So they come so many times less often.
    const OLD_QUERIER: u32 = 4;
    /// How long the socket stays away after a silence: as long as receivers of one host differ in noticing it.
    const AWAY: Duration = Duration::from_millis(150);
    /// Silences that are logged at info level. Those that follow are logged at debug level.
    const MOST_SILENCES: u32 = 8;

    /// The membership of a socket that has just joined.
    pub(super) fn new(venue: &Venue, peer_timeout: Duration) -> Self {
        Self {
            venue: venue.clone(),
            every: (peer_timeout * Self::PEER_TIMEOUTS).min(Self::LONGEST),
            patience: (peer_timeout / 4).max(Self::LEAST_PATIENCE),
            state: State::Joined { reported: Time::ZERO },
            told: false,
            silences: 0,
        }
    }

    /// The socket is another one now, which has just joined at this venue.
    pub(super) fn move_to(&mut self, venue: &Venue) {
        self.venue = venue.clone();
        self.state = State::Joined { reported: Time::ZERO };
    }

    /// To be called a few times a second, with the time for which nothing has been heard from the sender, if there is
    /// one to be heard.
    pub(super) fn keep(&mut self, socket: &BatchSocket, now: Time, silence: Option<Duration>) {
        if self.venue.broadcast {
            return;
        }
        match self.state {
            State::Away { until } if now >= until => self.join(socket, now),
            State::Away { .. } => {}
            State::Joined { reported } if now < reported + self.patience => {}
            State::Joined { .. } if silence.is_some_and(|silence| silence >= self.patience) => {
                self.tell_of_silence(silence);
                let _ = leave(socket.socket(), &self.venue);
                self.state = State::Away { until: now + Self::AWAY };
            }
            State::Joined { reported } if now >= reported + self.every && now >= reported + self.pace() => {
                tracing::debug!(group = %self.venue.destination, "joined the group again, so that switches do not forget this host");
                let _ = leave(socket.socket(), &self.venue);
                self.join(socket, now);
            }
            State::Joined { .. } => {}
        }
    }

    /// Tells that the group is joined anew, and not for ever: others decide how often a sender falls silent.
    fn tell_of_silence(&mut self, silence: Option<Duration>) {
        const WHY: &str = "sender not heard, joining the group anew in case a switch forgot";
        if self.silences < Self::MOST_SILENCES {
            self.silences += 1;
            tracing::info!(group = %self.venue.destination, ?silence, "{WHY}");
        } else {
            tracing::debug!(group = %self.venue.destination, ?silence, "{WHY}");
        }
    }

    /// Time between two reports, looked up once the shorter one has passed.
    fn pace(&self) -> Duration {
        let old_querier = self.venue.destination.is_ipv4() && is_asked_by_igmp_v2(self.venue.interface.index);
        if old_querier { self.every * Self::OLD_QUERIER } else { self.every }
    }

    fn join(&mut self, socket: &BatchSocket, now: Time) {
        // An interface that was taken away and came back has another number.
        if let Ok(index) = name_to_index(socket, &self.venue.interface.name) {
            self.venue.interface.index = index;
        }
        match join(socket.socket(), &self.venue) {
            Ok(()) => {
                confine(socket, &self.venue);
                self.told = false;
                self.state = State::Joined { reported: now };
            }
            Err(error) => {
                self.state = State::Away { until: now + Self::LEAST_PATIENCE };
                if !std::mem::replace(&mut self.told, true) {
                    let (group, name) = (self.venue.destination, &self.venue.interface.name);
                    tracing::warn!("cannot join {group} on interface {name} again: {error}; trying on");
                }
            }
        }
    }
}

/// Whether a querier of IGMP version 1 or 2 has been heard on the interface in the last minutes.
fn is_asked_by_igmp_v2(index: u32) -> bool {
    let table = std::fs::read_to_string("/proc/net/igmp").unwrap_or_default();
    querier_version(&table, index).is_some_and(|version| matches!(version, "V1" | "V2"))
}

/// The last word of the interface's line: `2 eth0 : 1 V3`. Lines of its groups begin with blanks.
fn querier_version(table: &str, index: u32) -> Option<&str> {
    let number = index.to_string();
    let of_interface =
        |line: &&str| line.split_whitespace().next() == Some(&number) && line.starts_with(&number);
    table.lines().find(of_interface)?.split_whitespace().last()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::sync::Mutex;

    use super::*;
    use crate::net::socket::ReceiverSockets;
    use crate::net::socket::tests::{GROUP_V4, free_port};

    #[test]
    fn sender_that_falls_silent_again_and_again_brings_few_lines_into_the_log() {
        let venue = Venue::choose(Some("lo"), GROUP_V4, free_port(), false).unwrap();
        let sockets = ReceiverSockets::open(&venue, None, true).unwrap();
        let mut membership = GroupMembership::new(&venue, Duration::from_secs(10));
        let mut log = tempfile::tempfile().unwrap();
        let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(log.try_clone().unwrap())).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut now = Time::ZERO;
            for _ in 0..1_000 {
                now += Duration::from_millis(250);
                membership.keep(&sockets.group, now, Some(Duration::from_secs(3)));
            }
        });
        let mut said = String::new();
        log.rewind().unwrap();
        log.read_to_string(&mut said).unwrap();
        assert_eq!(said.matches("joining the group anew").count(), 8, "{said}");
    }

    #[test]
    fn the_kernels_table_tells_which_querier_was_heard() {
        let table = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                     1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
                     12\teth0      :     2      V2\n\t\t\t\t434DFFEF     1 0:00000000\t\t1\n";
        assert_eq!([1, 12, 2].map(|index| querier_version(table, index)), [Some("V3"), Some("V2"), None]);
    }
}
