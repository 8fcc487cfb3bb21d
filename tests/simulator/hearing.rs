//! One receiver and what its sender says, datagram by datagram.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::receiver::{Event, Receiver};
use mcast::session::{Endpoint, StreamDigest};
use mcast::time::Time;
use mcast::wire::{self, BlockNumber, End, Message, Status, Symbol};

use crate::landing::{STATUS, SYMBOL, member, origin, sealed, speak};

const NOW: Time = Time::ZERO;

const PAYLOAD: [u8; SYMBOL as usize] = [3; SYMBOL as usize];

/// A source symbol of the first block, which has so many.
fn symbol(number: u64, symbol: u8, of: u32) -> Vec<u8> {
    let block_len = of * u32::from(SYMBOL);
    let symbol = Symbol { substream: 0, symbol, block_len, block: BlockNumber(0), payload: &PAYLOAD };
    sealed(number, &Message::Source(symbol))
}

fn hear(receiver: &mut Receiver, mut datagram: Vec<u8>) {
    receiver.handle_datagram(NOW, origin(NOW), &mut datagram);
}

/// What it says at `now`, with so many symbols missing where that is a report.
#[expect(clippy::unwrap_used, reason = "a helper of tests fails the test")]
fn missing(receiver: &mut Receiver, now: Time) -> Vec<u8> {
    let said = speak(receiver, now);
    let needs = said.iter().filter_map(|said| match wire::parse(&said[..said.len() - 4]).unwrap().1 {
        Message::Report(report) => Some(report.needs.iter().map(|need| need.missing).sum()),
        _ => None,
    });
    needs.collect()
}

#[test]
fn the_last_symbol_of_a_block_shows_what_is_missing_of_it() {
    let mut receiver = member(40);
    hear(&mut receiver, symbol(2, 0, 5));
    hear(&mut receiver, symbol(4, 2, 5));
    let later = NOW + Duration::from_millis(20);
    assert!(missing(&mut receiver, later).iter().all(|missing| *missing == 0), "its first pass is not over");
    hear(&mut receiver, symbol(6, 4, 5));
    assert_eq!(missing(&mut receiver, later + Duration::from_millis(20)), [2]);
}

#[test]
fn what_was_verified_has_the_end_that_it_had() {
    let mut receiver = member(40);
    let mut digest = StreamDigest::default();
    digest.update(&PAYLOAD);
    let end = digest.end();
    let status = Status { next_block: BlockNumber(1), ..STATUS };
    hear(&mut receiver, symbol(2, 0, 1));
    hear(&mut receiver, sealed(3, &Message::End(End { status, bytes: end.bytes, digest: end.digest })));
    let block = receiver.poll_block().expect("complete");
    receiver.handle_consumed(NOW, block);
    let asked = std::iter::from_fn(|| receiver.poll_event()).find_map(|event| match event {
        Event::Verify(end) => Some(end),
        _ => None,
    });
    assert_eq!(asked, Some(end));
    let forged = StreamDigest::default().end();
    hear(&mut receiver, sealed(4, &Message::End(End { status, bytes: 7, digest: forged.digest })));
    assert_eq!(receiver.summary().and_then(|summary| summary.end), Some(end));
}

#[test]
fn a_sender_that_its_host_says_is_gone_is_not_waited_for_much_longer() {
    let mut receiver = member(40);
    hear(&mut receiver, symbol(2, 0, 5));
    let at = |millis| NOW + Duration::from_millis(millis);
    for millis in (0..3_000).step_by(100) {
        speak(&mut receiver, at(millis));
    }
    receiver.handle_unreachable(at(3_000));
    speak(&mut receiver, at(3_100));
    // It was heard all the same.
    receiver.handle_datagram(at(3_200), origin(at(3_200)), &mut symbol(3, 1, 5));
    for millis in (3_200..5_000).step_by(100) {
        speak(&mut receiver, at(millis));
    }
    assert!(receiver.ended().is_none());
    receiver.handle_unreachable(at(5_000));
    speak(&mut receiver, at(5_900));
    assert!(receiver.ended().is_none());
    for millis in (5_900..6_500).step_by(100) {
        speak(&mut receiver, at(millis));
    }
    let ended = receiver.ended().expect("it has given up");
    assert_eq!(ended.exit, Exit::PeerLost);
    assert!(ended.error.as_deref().is_some_and(|error| error.contains("its host says")), "{ended:?}");
}
