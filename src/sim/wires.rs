//! The links of a simulated network, and what is under way on them.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::adversary::Recorded;
use super::greed::demands;
use super::lies::Liar;
use super::link::{FRAME_OVERHEAD, Link, LinkConfig};
use super::replayer::Victim;
use super::{ReceiverPlan, Scenario};
use crate::session::{Destination, Sent, Transmit};
use crate::time::Time;

/// A datagram that will arrive, at several hosts if it does so at the same time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub(super) at: Time,
    /// Keeps the order of what arrives at the same time.
    order: u64,
    pub(super) to: Vec<usize>,
    pub(super) from: SocketAddr,
    pub(super) bytes: Rc<[u8]>,
}

/// Host 0 is the sender, host i + 1 receiver i.
pub(super) const SENDER: usize = 0;

#[derive(Debug)]
pub(super) struct Wires<'a> {
    scenario: &'a Scenario,
    pub(super) rng: fastrand::Rng,
    pub(super) trunk: Link,
    trunk_back: Link,
    /// Between trunk and leaves; of other sessions, too.
    backbone: Option<Rc<RefCell<Link>>>,
    leaves: Vec<Link>,
    leaves_back: Vec<Link>,
    pub(super) under_way: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    lost_by_kind: BTreeMap<u8, u32>,
    pub(super) recorded: Vec<Recorded>,
    pub(super) to_strangers: Vec<Recorded>,
    /// How far the replayer is with each receiver.
    victims: Vec<Victim>,
    /// How far each receiver is with its lies.
    liars: Vec<Liar>,
}

pub(super) fn address(host: usize) -> SocketAddr {
    let [_, _, high, low] = (host as u32 + 1).to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, high, low)), 7767)
}

pub(super) fn stranger() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)), 666)
}

pub(super) fn within(spans: &[(Duration, Duration)], now: Time) -> Option<Time> {
    spans
        .iter()
        .find(|(from, to)| now >= Time::ZERO + *from && now < Time::ZERO + *to)
        .map(|(_, to)| Time::ZERO + *to)
}

impl<'a> Wires<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        rng: fastrand::Rng,
        backbone: Option<Rc<RefCell<Link>>>,
    ) -> Self {
        let links = |link: fn(&ReceiverPlan) -> &LinkConfig| {
            scenario.receivers.iter().map(|plan| Link::new(link(plan).clone())).collect::<Vec<_>>()
        };
        Self {
            scenario,
            trunk: Link::new(scenario.trunk.clone()),
            trunk_back: Link::new(scenario.trunk_back.clone()),
            backbone,
            leaves: links(|plan| &plan.leaf),
            leaves_back: links(|plan| &plan.leaf_back),
            under_way: BinaryHeap::new(),
            order: 0,
            lost_by_kind: BTreeMap::new(),
            recorded: Vec::new(),
            to_strangers: Vec::new(),
            victims: vec![Victim::default(); scenario.receivers.len()],
            liars: vec![Liar::default(); scenario.receivers.len()],
            rng,
        }
    }

    /// Datagrams that each leaf's queue had no room for.
    pub(super) fn overflowed(&self) -> Vec<u64> {
        self.leaves.iter().map(|leaf| leaf.overflowed).collect()
    }

    pub(super) fn send(&mut self, now: Time, from: usize, transmit: &Transmit<'_>) -> Sent {
        let frames = transmit.contents.len() + transmit.datagrams().count() * FRAME_OVERHEAD;
        if from == SENDER && self.trunk.is_full(now, frames) {
            return Sent::Blocked;
        }
        if self.scenario.records {
            let recorded = |datagram: &[u8]| Recorded { at: now, host: from, bytes: datagram.into() };
            self.recorded.extend(transmit.datagrams().map(recorded));
        }
        transmit.datagrams().for_each(|datagram| self.provoke(now, from, datagram));
        let elsewhere = match transmit.to {
            Destination::Group => false,
            Destination::Peer(peer) | Destination::Outsider(peer) => {
                from == SENDER || peer != address(SENDER)
            }
        };
        if elsewhere {
            // What receivers say to the group is of use to the sender only.
            self.to_strangers.extend(transmit.datagrams().map(|datagram| Recorded {
                at: now,
                host: from,
                bytes: datagram.into(),
            }));
            return Sent::Done;
        }
        for datagram in transmit.datagrams() {
            let mut bytes: Rc<[u8]> = datagram.into();
            if let Some(index) = from.checked_sub(1)
                && let Some(lie) = self.scenario.receivers[index].lie
            {
                bytes = self.liars[index].twist(lie, now, &bytes, &mut self.rng);
            }
            match from.checked_sub(1).map(|index| self.scenario.receivers[index].greed) {
                None => self.send_down(now, &bytes),
                Some(0) => self.send_up(now, from, &bytes),
                Some(copies) => {
                    demands(&bytes, copies).iter().for_each(|bytes| self.send_up(now, from, bytes));
                }
            }
        }
        Sent::Done
    }

    /// Somebody who plays recordings hears what a receiver says.
    fn provoke(&mut self, now: Time, from: usize, datagram: &[u8]) {
        let scenario = self.scenario;
        let Some(replayer) = &scenario.replayer else { return };
        let (Some(reaction), Some(index)) = (&replayer.reacts, from.checked_sub(1)) else { return };
        let Some(victim) = self.victims.get_mut(index) else { return };
        for (at, bytes) in reaction.answers(now, victim, datagram) {
            self.deliver(at, vec![from], replayer.disguise.address(), bytes);
        }
    }

    /// Somebody who is not of the session has `heard` what `host` sends.
    fn overhear(&mut self, heard: Time, host: usize, bytes: &Rc<[u8]>) {
        let hosts = self.scenario.receivers.len() + 1;
        if let Some(echo) = self.scenario.echo
            && let Some((at, to, from, bytes)) = echo.of(heard, host, hosts, bytes, &mut self.rng)
        {
            self.deliver(at, vec![to], from, bytes);
        }
    }

    fn send_down(&mut self, now: Time, bytes: &Rc<[u8]>) {
        let Some(trunk) = self.trunk.pass(now, bytes.len(), &mut self.rng) else { return };
        if self.is_lost_by_kind(bytes) {
            return;
        }
        for copy in [Some(trunk.arrives), trunk.again].into_iter().flatten() {
            let copy = match &self.backbone {
                None => Some(copy),
                Some(link) => link.borrow_mut().pass(copy, bytes.len(), &mut self.rng).map(|it| it.arrives),
            };
            let Some(copy) = copy else { continue };
            // What most leaves do alike is one entry for all of them: crowds are played a good deal faster so.
            let (mut together, mut hosts, mut heard) = (Time::ZERO, Vec::new(), copy);
            for index in 0..self.leaves.len() {
                if within(&self.scenario.receivers[index].deaf, copy).is_some() {
                    continue;
                }
                let Some(leaf) = self.leaves[index].pass(copy, bytes.len(), &mut self.rng) else { continue };
                heard = heard.max(leaf.arrives);
                if hosts.is_empty() {
                    together = leaf.arrives;
                }
                if leaf.arrives == together && trunk.flipped.or(leaf.flipped).is_none() {
                    hosts.push(index + 1);
                } else {
                    let bytes = damaged(&damaged(bytes, trunk.flipped), leaf.flipped);
                    self.deliver(leaf.arrives, vec![index + 1], address(SENDER), bytes);
                }
                if let Some(at) = leaf.again {
                    let bytes = damaged(&damaged(bytes, trunk.flipped), leaf.flipped);
                    for _ in 0..self.leaves[index].config.copies {
                        self.deliver(at, vec![index + 1], address(SENDER), Rc::clone(&bytes));
                    }
                }
            }
            if !hosts.is_empty() {
                self.deliver(together, hosts, address(SENDER), Rc::clone(bytes));
            }
            // He is no nearer than the others.
            self.overhear(heard, SENDER, bytes);
        }
    }

    fn send_up(&mut self, now: Time, from: usize, bytes: &Rc<[u8]>) {
        let index = from - 1;
        self.overhear(now, from, bytes);
        if within(&self.scenario.receivers[index].mute, now).is_some() || self.is_lost_by_kind(bytes) {
            return;
        }
        let Some(leaf) = self.leaves_back[index].pass(now, bytes.len(), &mut self.rng) else { return };
        let Some(trunk) = self.trunk_back.pass(leaf.arrives, bytes.len(), &mut self.rng) else { return };
        let again = std::iter::repeat_n(leaf.again, self.leaves_back[index].config.copies);
        for at in [Some(trunk.arrives), trunk.again].into_iter().chain(again).flatten() {
            let bytes = damaged(&damaged(bytes, leaf.flipped), trunk.flipped);
            self.deliver(at, vec![SENDER], address(from), bytes);
        }
    }

    pub(super) fn deliver(&mut self, at: Time, to: Vec<usize>, from: SocketAddr, bytes: Rc<[u8]>) {
        self.order += 1;
        self.under_way.push(Reverse(Arrival { at, order: self.order, to, from, bytes }));
    }

    fn is_lost_by_kind(&mut self, bytes: &[u8]) -> bool {
        let Some(&kind) = bytes.get(1) else { return false };
        let Some((_, copies)) = self.scenario.lose_first.iter().find(|(lost, _)| *lost as u8 == kind) else {
            return false;
        };
        let lost = self.lost_by_kind.entry(kind).or_default();
        *lost += 1;
        *lost <= *copies
    }
}

fn damaged(bytes: &Rc<[u8]>, bit: Option<usize>) -> Rc<[u8]> {
    let Some(bit) = bit.filter(|_| !bytes.is_empty()) else { return Rc::clone(bytes) };
    let mut copy = bytes.to_vec();
    let bit = bit % (copy.len() * 8);
    copy[bit / 8] ^= 1 << (bit % 8);
    copy.into()
}
