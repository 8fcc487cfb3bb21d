//! Fault 26: the start window to the millisecond, with joins at exact times.

use std::net::SocketAddr;
use std::time::Duration;

use mcast::exit::Exit;
use mcast::seal::{self, Seal};
use mcast::session::sender::{self, StartRules};
use mcast::session::{Endpoint, Origin, Sender};
use mcast::time::Time;
use mcast::wire::{DatagramNumber, Join, Label, Message, Name, ReceiverId, SessionId};

const SESSION: SessionId = SessionId([5; 16]);

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

fn rules() -> StartRules {
    StartRules {
        min_receivers: 1,
        max_receivers: None,
        require: Vec::new(),
        expect: Vec::new(),
        min_wait: Duration::ZERO,
        max_wait: None,
    }
}

#[expect(clippy::expect_used, reason = "a helper of tests fails the test")]
fn sender(start: StartRules) -> Sender {
    Sender::new(
        sender::Config {
            label: Label::new("x").expect("a label"),
            name: None,
            session: SESSION,
            seed: 1,
            start,
            start_timeout: Some(Duration::from_secs(60)),
            peer_timeout: Duration::from_secs(100),
            max_stall: None,
            partial_ok: false,
            rate: None,
            symbol_size: 1_428,
            block_symbols: 88,
            window: 8,
            batch: 44,
            overhead: 28,
            seal: Seal::Crc,
        },
        Time::ZERO,
    )
}

/// A join of the receiver of this number, at this time, and what the sender makes of the moment.
#[expect(clippy::expect_used, reason = "a helper of tests fails the test")]
fn join(sender: &mut Sender, now: Time, receiver: u16) {
    let message = Message::Join(Join {
        receiver: ReceiverId(receiver.into()),
        window: 100,
        credit: 100,
        peer_timeout: Duration::from_secs(100),
        name: Name::new(&format!("r{receiver}")).expect("a name"),
    });
    let mut datagram = Vec::new();
    message.write(SESSION, DatagramNumber(1), &mut datagram);
    seal::seal_appended(&mut datagram, 0);
    let from = SocketAddr::from(([10, 0, 0, 1], receiver));
    sender.handle_datagram(now, Origin::just(now, from), &mut datagram);
    look(sender, now);
}

fn look(sender: &mut Sender, now: Time) {
    sender.handle_timeout(now);
    while sender.poll_transmit(now).is_some() {
        sender.handle_transmitted(now);
    }
}

fn joined(sender: &Sender) -> usize {
    sender.members().count()
}

#[test]
fn nobody_is_too_few_until_the_start_timeout() {
    let mut sender = sender(StartRules { min_wait: Duration::from_secs(1), ..rules() });
    for second in 0..60 {
        look(&mut sender, at(second * 1_000));
        assert!(!sender.has_started() && sender.ended().is_none());
    }
    look(&mut sender, at(60_000));
    look(&mut sender, at(61_001));
    assert_eq!(sender.ended().map(|ended| ended.exit), Some(Exit::NotStarted));
}

#[test]
fn one_less_than_the_minimum_waits_and_the_minimum_starts() {
    let mut sender = sender(StartRules { min_receivers: 3, ..rules() });
    for receiver in 1..=2 {
        join(&mut sender, at(10), receiver);
    }
    look(&mut sender, at(59_999));
    assert!(!sender.has_started());
    join(&mut sender, at(59_999), 3);
    assert!(sender.has_started());
}

#[test]
fn the_maximum_starts_at_once_and_one_more_is_refused() {
    let mut sender =
        sender(StartRules { max_receivers: Some(2), min_wait: Duration::from_secs(30), ..rules() });
    join(&mut sender, at(10), 1);
    assert!(!sender.has_started());
    join(&mut sender, at(11), 2);
    assert!(sender.has_started());
    join(&mut sender, at(11), 3);
    assert_eq!(joined(&sender), 2);
}

#[test]
fn who_comes_in_the_last_millisecond_takes_part_and_who_comes_in_the_next_does_not() {
    for rules in [
        StartRules { min_wait: Duration::from_secs(5), ..rules() },
        StartRules { min_receivers: 9, max_wait: Some(Duration::from_secs(5)), ..rules() },
    ] {
        let mut sender = sender(rules);
        join(&mut sender, at(100), 1);
        join(&mut sender, at(5_099), 2);
        assert!(!sender.has_started());
        // What has arrived by the deadline is looked at before the deadline is.
        join(&mut sender, at(5_100), 3);
        assert!(sender.has_started());
        join(&mut sender, at(5_101), 4);
        assert_eq!(joined(&sender), 3);
    }
}

#[test]
fn a_thousand_joins_of_one_receiver_are_one_receiver() {
    let mut sender = sender(StartRules { min_receivers: 2, ..rules() });
    for copy in 0..1_000 {
        join(&mut sender, at(copy), 1);
    }
    assert!(joined(&sender) == 1 && !sender.has_started());
    join(&mut sender, at(1_000), 2);
    assert!(sender.has_started());
}
