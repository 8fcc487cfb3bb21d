//! The receivers of a session, as the sender knows them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::budget::RepairBudget;
use super::findings::LoggedLoss;
use super::least::Least;
use super::start_window::Joined;
use crate::session::ceiling::{savings, spacing};
use crate::time::Time;
use crate::wire::{BlockNumber, DatagramNumber, Join, Outcome, ReceiverId, Standing};

/// A receiver that has been admitted.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its random id.
    pub id: ReceiverId,
    /// The name that it gave.
    pub name: String,
    /// Where its datagrams come from.
    pub address: SocketAddr,
    /// How far it is.
    pub state: MemberState,
    /// When it was admitted.
    pub(super) joined: Time,
    /// Every block before this one is complete there.
    pub received: BlockNumber,
    /// Every block before this one has been taken by its sink.
    pub position: BlockNumber,
    /// Bytes that its sink has taken.
    pub bytes: u64,
    /// Reports with needs that came from it.
    pub nacks: u64,
    /// Symbols that it took for lost.
    pub lost_symbols: u64,
    /// Datagrams that its socket buffer had no room for, as far as it can tell.
    pub dropped: u64,
    /// Time for which its sink held it up, as it says.
    pub stalled: Duration,
    /// Time for which it kept the session from sending more.
    pub limited: Duration,
    /// The share of datagrams that the path to it loses at any rate, as far as its reports have shown; from 0 to 1.
    pub path_loss: f64,
    pub(super) logged_loss: LoggedLoss,
    pub(super) last_heard: Time,
    /// When its sink was last seen to have taken something.
    pub(super) moved: Time,
    /// Blocks from `position` on that it can hold.
    pub(super) window: u32,
    /// The highest number that it has reported.
    pub(super) highest: DatagramNumber,
    /// Datagrams that its socket buffer holds.
    pub(super) credit: u32,
    /// Datagrams may be sent up to this number, exclusive.
    pub(super) credit_edge: DatagramNumber,
    /// What its needs may cost the others.
    pub(super) budget: RepairBudget,
    /// When its reports were counted last, and by how many it was ahead of what it should send then.
    reports: (Time, f64),
    /// Its place among the members, and whether it is counted there as alive, and as receiving.
    pub(super) slot: usize,
    counted: bool,
    receiving: bool,
}

/// How far a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Receiving.
    Active,
    /// Has the whole stream; its sink is at work.
    Verified,
    /// Has ended; the exit code says how.
    Done(Outcome),
    /// Has given up, and said why.
    Left(Outcome, String),
    /// Was silent for the peer timeout.
    Lost,
    /// Its sink took nothing for so long while the session waited for it.
    Stalled(Duration),
}

impl Member {
    /// Reports that come faster than this receiver should send them, and more than it can have saved up, are not taken:
    /// twice of both is more than the group's changing size explains.
    pub(super) fn may_report(&mut self, now: Time, group: u32) -> bool {
        // Nobody receives any more once all have everything, and still somebody may not know that.
        let group = group.max(1);
        let each = spacing(group).as_secs_f64() / 2.0;
        let most = savings(group).as_secs_f64() * 2.0 / each + 16.0;
        let (counted, ahead) = &mut self.reports;
        *ahead = (*ahead - now.since(*counted).as_secs_f64() / each).max(0.0);
        *counted = now;
        let may = *ahead <= most;
        if may {
            *ahead += 1.0;
        }
        may
    }

    /// The first block that it cannot hold.
    pub(super) fn window_edge(&self) -> BlockNumber {
        self.position.plus(u64::from(self.window))
    }
}

impl MemberState {
    /// Nothing more will come from it.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Left(..)) || self.is_evicted()
    }

    /// The sender has given it up.
    pub const fn is_evicted(&self) -> bool {
        matches!(self, Self::Lost | Self::Stalled(_))
    }

    /// What the receiver is told when nothing more is expected of it.
    pub(super) const fn standing(&self) -> Option<Standing> {
        match self {
            Self::Done(_) => Some(Standing::Done),
            Self::Left(..) => Some(Standing::Left),
            Self::Lost => Some(Standing::EvictedSilent),
            Self::Stalled(_) => Some(Standing::EvictedStalled),
            Self::Active | Self::Verified => None,
        }
    }
}

/// All admitted receivers, by id.
///
/// What the slowest of them allow is kept up to date change by change, since reports come by the thousand: whoever may
/// change a member is noted, and looked at again before the next question is answered.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<ReceiverId, Member>,
    /// Their names.
    joined: Joined,
    /// Members that may have changed since; each is in `by_id`, or was.
    touched: Vec<ReceiverId>,
    /// Slots of members that were removed.
    free_slots: Vec<usize>,
    /// Of the active ones.
    received: Least<(BlockNumber, ReceiverId)>,
    window_edge: Least<(BlockNumber, ReceiverId)>,
    credit_edge: Least<(DatagramNumber, ReceiverId)>,
    /// Of those from whom something is still expected, and how many those are.
    last_heard: Least<(Time, ReceiverId)>,
    alive: usize,
    /// How many do not have the whole stream yet.
    receiving: usize,
    /// The shortest time of silence after which one of them gives the sender up.
    patience: Option<Duration>,
}

/// What the slowest receivers allow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Every active receiver has what comes before this block, and who it is that has no more.
    pub(super) received: Option<(BlockNumber, ReceiverId)>,
    /// No active receiver can hold this block, and who it is that cannot.
    pub(super) window_edge: Option<(BlockNumber, ReceiverId)>,
    /// Datagrams may be sent up to this number, exclusive, and whose socket buffer holds no more.
    pub(super) credit_edge: Option<(DatagramNumber, ReceiverId)>,
}

impl Members {
    /// Nobody gets the sender to show signs of life faster than this.
    const SHORTEST_SILENCE: Duration = Duration::from_millis(20);

    pub(super) fn admit(&mut self, now: Time, address: SocketAddr, join: &Join, budget: RepairBudget) {
        self.patience = Some(self.patience.map_or(join.peer_timeout, |least| least.min(join.peer_timeout)));
        let slot = self.free_slots.pop().unwrap_or(self.by_id.len());
        self.touched.push(join.receiver);
        self.joined.add(join.name.as_str());
        self.by_id.insert(
            join.receiver,
            Member {
                id: join.receiver,
                slot,
                counted: false,
                receiving: false,
                name: join.name.as_str().to_owned(),
                address,
                state: MemberState::Active,
                joined: now,
                received: BlockNumber::default(),
                position: BlockNumber::default(),
                bytes: 0,
                nacks: 0,
                lost_symbols: 0,
                dropped: 0,
                stalled: Duration::ZERO,
                limited: Duration::ZERO,
                path_loss: 0.0,
                logged_loss: LoggedLoss::default(),
                last_heard: now,
                moved: now,
                window: join.window,
                highest: DatagramNumber(0),
                credit: join.credit,
                credit_edge: DatagramNumber(u64::from(join.credit)),
                budget,
                reports: (now, 0.0),
            },
        );
    }

    /// Silence that every receiver takes for what it is: eight such pauses fit into the peer timeout of the least
    /// patient.
    pub(super) fn longest_silence(&self, most: Duration) -> Duration {
        self.patience.map_or(most, |patience| (patience / 8).max(Self::SHORTEST_SILENCE).min(most))
    }

    pub(super) fn remove(&mut self, id: ReceiverId) {
        let Some(member) = self.by_id.remove(&id) else { return };
        self.joined.remove(&member.name);
        self.alive -= usize::from(member.counted);
        self.receiving -= usize::from(member.receiving);
        self.forget(member.slot);
        self.free_slots.push(member.slot);
    }

    pub(super) fn get(&self, id: ReceiverId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ReceiverId) -> Option<&mut Member> {
        let member = self.by_id.get_mut(&id)?;
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
        Some(member)
    }

    /// Whether nothing has come from this receiver for so long.
    pub(super) fn is_silent(&self, id: ReceiverId, now: Time, time: Duration) -> bool {
        self.by_id.get(&id).is_some_and(|member| now.since(member.last_heard) > time)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> + Clone {
        self.by_id.values()
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.touched.clear();
        self.touched.extend(self.by_id.keys());
        self.by_id.values_mut()
    }

    pub(super) const fn joined(&self) -> &Joined {
        &self.joined
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many have not ended.
    pub(super) fn alive(&mut self) -> usize {
        self.look_again();
        self.alive
    }

    /// Whether nothing is expected from any other receiver than this one.
    pub(super) fn is_last(&self, id: ReceiverId) -> bool {
        self.by_id.values().all(|member| member.id == id || member.state.is_final())
    }

    /// How many do not have the whole stream yet.
    pub(super) fn receiving(&mut self) -> usize {
        self.look_again();
        self.receiving
    }

    pub(super) fn limits(&mut self) -> Limits {
        self.look_again();
        Limits {
            received: self.received.get(),
            window_edge: self.window_edge.get(),
            credit_edge: self.credit_edge.get(),
        }
    }

    /// The one that has not been heard for the longest time.
    pub(super) fn most_silent(&mut self) -> Option<&Member> {
        self.look_again();
        self.by_id.get(&self.last_heard.get()?.1)
    }

    /// When the first receiver will have been silent for too long.
    pub(super) fn next_death(&mut self, timeout: Duration) -> Option<Time> {
        self.look_again();
        self.last_heard.get().map(|(heard, _)| heard + timeout)
    }

    /// Enters what has become of members that may have changed.
    fn look_again(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(member) = self.by_id.get_mut(&id) else { continue };
            let (slot, alive) = (member.slot, !member.state.is_final());
            self.alive = self.alive + usize::from(alive) - usize::from(member.counted);
            member.counted = alive;
            let receiving = member.state == MemberState::Active;
            self.receiving = self.receiving + usize::from(receiving) - usize::from(member.receiving);
            member.receiving = receiving;
            if member.state == MemberState::Active {
                self.received.set(slot, Some((member.received, id)));
                self.window_edge.set(slot, Some((member.window_edge(), id)));
                self.credit_edge.set(slot, Some((member.credit_edge, id)));
                self.last_heard.set(slot, Some((member.last_heard, id)));
            } else {
                let heard = alive.then_some((member.last_heard, id));
                self.forget(slot);
                self.last_heard.set(slot, heard);
            }
        }
        self.touched = touched;
    }

    fn forget(&mut self, slot: usize) {
        self.received.set(slot, None);
        self.window_edge.set(slot, None);
        self.credit_edge.set(slot, None);
        self.last_heard.set(slot, None);
    }

    /// Data flows from number `first` on: nothing sent before counts against anyone's socket buffer.
    pub(super) fn start(&mut self, first: DatagramNumber) {
        for member in self.all_mut() {
            member.credit_edge = first.plus(member.credit_edge.0);
        }
    }

    /// The session was paused by its own host: nobody's silence of that time counts.
    pub(super) fn forgive(&mut self, now: Time, pause: Duration) {
        for member in self.all_mut() {
            // What a receiver said during the pause has been read by now, and needs no forgiveness.
            member.last_heard = (member.last_heard + pause).min(now);
            member.moved = (member.moved + pause).min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Name, ReceiverId};

    fn members() -> Members {
        let mut members = Members::default();
        let join = Join {
            receiver: ReceiverId(1),
            window: 1,
            credit: 1,
            peer_timeout: Duration::from_secs(10),
            name: Name::new("one").unwrap(),
        };
        members.admit(Time::ZERO, "192.0.2.1:1".parse().unwrap(), &join, RepairBudget::new(0));
        members
    }

    #[test]
    fn what_was_too_fast_for_a_crowd_is_not_too_fast_for_the_few_that_are_left_of_it() {
        let mut members = members();
        let member = members.get_mut(ReceiverId(1)).unwrap();
        let mut taken = |at, group| (0..1_000).filter(|_| member.may_report(at, group)).count();
        let (at_once, soon) = (Time::ZERO, Time::ZERO + Duration::from_millis(1));
        assert!((4..40).contains(&taken(at_once, 1_000)));
        assert!(taken(soon, 1_000) <= 1);
        assert!(taken(soon, 1) > 50);
    }

    #[test]
    fn where_nobody_receives_any_more_no_more_reports_are_taken_than_of_one_that_does() {
        let taken = |group| {
            let mut members = members();
            let member = members.get_mut(ReceiverId(1)).unwrap();
            let instants = (1..10_000).map(|n| Time::from_nanos(n * 10_000));
            instants.filter(|at| member.may_report(*at, group)).count()
        };
        assert!((400..1_000).contains(&taken(1)), "2,000 a second, and twice that");
        assert_eq!(taken(0), taken(1));
    }

    #[test]
    fn who_has_all_is_alive_and_does_not_receive() {
        let mut members = members();
        assert_eq!((members.alive(), members.receiving()), (1, 1));
        members.get_mut(ReceiverId(1)).unwrap().state = MemberState::Verified;
        assert_eq!((members.alive(), members.receiving()), (1, 0));
        members.remove(ReceiverId(1));
        assert_eq!((members.alive(), members.receiving()), (0, 0));
    }
}
