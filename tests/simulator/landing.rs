//! Batches that land in place and datagrams that are handed over one by one lead to the same stream.

use std::net::SocketAddr;
use std::time::Duration;

use mcast::fec::Block;
use mcast::seal::{self, Accept};
use mcast::session::receiver::{self, Receiver};
use mcast::session::{Endpoint, Landed, Origin, batch_of, layout};
use mcast::time::Time;
use mcast::wire::{
    Announce, BlockNumber, DatagramNumber, Entries, Label, Message, Name, Phase, ReceiverId, Roster,
    SessionId, Standing, Status, Symbol,
};

pub(crate) const SYMBOL: u16 = 64;
const BLOCK: u8 = 128;
const SESSION: SessionId = SessionId([9; 16]);
pub(crate) const ID: ReceiverId = ReceiverId(7);

pub(crate) fn sender() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7767))
}

pub(crate) fn origin(now: Time) -> Origin {
    Origin::just(now, sender())
}

/// What the kernel had for a while.
fn read_late(now: Time) -> Origin {
    Origin::just(now - Duration::from_micros(now.as_nanos() / 1_000 % 1_700), sender())
}

pub(crate) fn sealed(number: u64, message: &Message<'_>) -> Vec<u8> {
    let mut datagram = Vec::new();
    message.write(SESSION, DatagramNumber(number), &mut datagram);
    seal::seal_appended(&mut datagram, 0);
    datagram
}

/// A receiver with so many blocks that has asked to be admitted.
#[expect(clippy::unwrap_used, reason = "a helper of tests fails the test")]
fn joining(blocks: usize) -> Receiver {
    let mut receiver = Receiver::new(
        receiver::Config {
            id: ID,
            name: Name::new("db2").unwrap(),
            expect: None,
            over: Vec::new(),
            repeats: false,
            seed: 1,
            start_timeout: None,
            peer_timeout: Duration::from_secs(10),
            buffer: blocks * usize::from(BLOCK) * layout(SYMBOL).stride(),
            socket_buffer: 1 << 20,
            accept: Accept::Crc,
        },
        Time::ZERO,
    );
    let announce = Announce {
        phase: Phase::Waiting,
        block_symbols: BLOCK,
        symbol_size: SYMBOL,
        join_spread: Duration::ZERO,
        peer_timeout: Duration::from_secs(10),
        age: Duration::ZERO,
        grtt: Duration::ZERO,
        group_size: 1,
        echo: ReceiverId(0),
        label: Label::new("x").unwrap(),
        name: None,
    };
    receiver.handle_datagram(Time::ZERO, origin(Time::ZERO), &mut sealed(0, &Message::Announce(announce)));
    receiver.handle_timeout(Time::ZERO);
    assert!(receiver.poll_transmit(Time::ZERO).is_some(), "it joins");
    receiver.handle_transmitted(Time::ZERO);
    receiver
}

/// A receiver with so many blocks that has been admitted.
pub(crate) fn member(blocks: usize) -> Receiver {
    let mut receiver = joining(blocks);
    let entries = [(ID, Standing::Admitted)];
    let roster = Message::Roster(Roster { entries: Entries::Given(&entries) });
    receiver.handle_datagram(Time::ZERO, origin(Time::ZERO), &mut sealed(1, &roster));
    receiver
}

/// Datagrams of some blocks, as a network hands them on that loses, repeats, swaps and garbles now and then.
fn arrivals(rng: &mut fastrand::Rng, mishap: f64) -> Vec<Vec<u8>> {
    let (mut number, mut datagrams) = (2, Vec::new());
    for block in 0..rng.u64(1..12) {
        let full = usize::from(SYMBOL) * usize::from(BLOCK);
        let length = if rng.f64() < 0.2 { rng.usize(1..=full) } else { full };
        for (symbol, at) in (0..length).step_by(usize::from(SYMBOL)).enumerate() {
            let payload: Vec<u8> =
                (at..length.min(at + usize::from(SYMBOL))).map(|at| (at as u64 * 31 + block) as u8).collect();
            let symbol = Symbol {
                substream: 0,
                symbol: symbol as u8,
                block_len: length as u32,
                block: BlockNumber(block),
                payload: &payload,
            };
            datagrams.push(sealed(number, &Message::Source(symbol)));
            number += 1;
            if rng.f64() < mishap / 4.0 {
                // The sender has to wait, so it says where it stands.
                let status = Status { next_block: BlockNumber(block), ..STATUS };
                datagrams.push(sealed(number, &Message::KeepAlive(status)));
                number += 1;
            }
        }
    }
    let mut at = 0;
    while at < datagrams.len() {
        if rng.f64() < mishap {
            match rng.u8(0..4) {
                0 => _ = datagrams.remove(at),
                1 => datagrams.insert(at, datagrams[rng.usize(..=at)].clone()),
                2 => {
                    let other = rng.usize(at..datagrams.len().min(at + 50));
                    datagrams.swap(at, other);
                }
                _ => {
                    let byte = rng.usize(..datagrams[at].len());
                    datagrams[at][byte] ^= 1 << rng.u8(0..8);
                }
            }
        }
        at += 1;
    }
    datagrams
}

/// Hands over as many of `datagrams` as GRO could at a time, in batches of up to `most` datagrams.
fn land(receiver: &mut Receiver, now: Time, datagrams: &mut &[Vec<u8>], most: usize) -> bool {
    let mut landed = Vec::new();
    for (number, room) in receiver.landing().into_iter().enumerate() {
        let Some(first) = datagrams.first() else { break };
        let mut batch = Landed { room: number, origin: read_late(now), len: 0, segment: first.len() };
        while let Some(datagram) = datagrams.first()
            && datagram.len() <= batch.segment
            && batch.len.is_multiple_of(batch.segment)
            && batch.len / batch.segment < most
        {
            room[batch.len..][..datagram.len()].copy_from_slice(datagram);
            batch.len += datagram.len();
            *datagrams = &datagrams[1..];
        }
        landed.push(batch);
    }
    receiver.handle_landed(now, &landed);
    !landed.is_empty()
}

/// What it says now.
pub(crate) fn speak(receiver: &mut Receiver, now: Time) -> Vec<Vec<u8>> {
    receiver.handle_timeout(now);
    let mut said = Vec::new();
    while let Some(transmit) = receiver.poll_transmit(now) {
        said.push(transmit.contents.to_vec());
        receiver.handle_transmitted(now);
    }
    said
}

fn take(receiver: &mut Receiver, now: Time, stream: &mut Vec<u8>) {
    let blocks: Vec<Block> = std::iter::from_fn(|| receiver.poll_block()).collect();
    for block in blocks {
        block.payloads().for_each(|bytes| stream.extend_from_slice(bytes));
        receiver.handle_consumed(now, block);
    }
}

#[test]
fn a_batch_in_place_and_its_datagrams_one_by_one_lead_to_the_same() {
    let batch = batch_of(layout(SYMBOL).stride());
    let mut in_place = 0;
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mishap = [0.0, 0.003, 0.05][seed as usize % 3];
        let blocks = if seed % 2 == 0 { 4 } else { 40 };
        // As a path brings them, or so slowly that whatever is not noticed as heard is missed before the end.
        let waits = if seed % 8 < 6 { 0 } else { 60 };
        let datagrams = arrivals(&mut rng, mishap);
        let (mut plain, mut landing) = (member(blocks), member(blocks));
        let (mut expected, mut stream) = (Vec::new(), Vec::new());
        let mut rest = datagrams.as_slice();
        let mut now = Time::ZERO;
        while !rest.is_empty() {
            for _ in 0..waits {
                now += Duration::from_millis(100);
                let said = [&mut plain, &mut landing].map(|receiver| speak(receiver, now));
                assert!(said[0] == said[1], "seed {seed}: they do not say the same at {now}: {said:?}");
            }
            now += Duration::from_micros(100);
            let before = rest;
            let most = if rng.f64() < 0.8 { batch } else { rng.usize(1..=batch) };
            if land(&mut landing, now, &mut rest, most) {
                in_place += 1;
            } else {
                landing.handle_datagram(now, read_late(now), &mut rest[0].clone());
                rest = &rest[1..];
            }
            for datagram in &before[..before.len() - rest.len()] {
                plain.handle_datagram(now, read_late(now), &mut datagram.clone());
            }
            let takes = rng.f64() < 0.7;
            let said =
                [(&mut plain, &mut expected), (&mut landing, &mut stream)].map(|(receiver, stream)| {
                    let said = speak(receiver, now);
                    if takes {
                        take(receiver, now, stream);
                    }
                    (said, receiver.poll_timeout())
                });
            assert!(said[0] == said[1], "seed {seed}: they do not say the same at {now}: {said:?}");
        }
        take(&mut plain, now, &mut expected);
        take(&mut landing, now, &mut stream);
        assert!(expected == stream, "seed {seed}: {} bytes, then {}", expected.len(), stream.len());
        assert_eq!(plain.stats(), landing.stats(), "seed {seed}");
        assert_eq!(
            plain.ended().map(|ended| ended.exit),
            landing.ended().map(|ended| ended.exit),
            "seed {seed}"
        );
        let counted = [plain, landing].map(|it| it.summary().map(|it| (it.lost_symbols, it.waiting)));
        assert_eq!(counted[0], counted[1], "seed {seed}");
    }
    assert!(in_place > 500, "only {in_place} of the calls found a room");
}

#[test]
fn sender_is_missed_only_once_it_has_named_its_receiver() {
    let now = Time::ZERO + Duration::from_secs(5);
    assert_eq!(joining(4).silence(now), None);
    assert_eq!(member(4).silence(now), Some(Duration::from_secs(5)));
}

#[test]
fn what_comes_from_a_stranger_does_not_stay_where_it_landed() {
    let payload = [3; SYMBOL as usize];
    let symbol = Symbol {
        substream: 0,
        symbol: 0,
        block_len: u32::from(SYMBOL),
        block: BlockNumber(0),
        payload: &payload,
    };
    let right = sealed(10, &Message::Source(symbol));
    let mut flipped = right.clone();
    flipped[50] ^= 1;
    let elsewhere = sealed(10, &Message::Source(Symbol { block: BlockNumber(50), ..symbol }));
    let stranger = SocketAddr::from(([10, 0, 0, 66], 7767));
    for (from, bytes) in
        [(stranger, &right), (sender(), &flipped), (sender(), &elsewhere), (sender(), &vec![])]
    {
        let (mut receiver, origin) = (member(40), Origin::just(Time::ZERO, from));
        receiver.handle_datagram(
            Time::ZERO,
            Origin::just(Time::ZERO, sender()),
            &mut sealed(9, &Message::KeepAlive(STATUS)),
        );
        let mut rooms = receiver.landing();
        rooms[0][..bytes.len()].copy_from_slice(bytes);
        receiver
            .handle_landed(Time::ZERO, &[Landed { room: 0, origin, len: bytes.len(), segment: bytes.len() }]);
        assert!(receiver.poll_block().is_none());
        // Rooms that nobody has are nobody's fault.
        let of_no_room = |room| Landed { room, origin, len: 5_000_000, segment: 0 };
        receiver.handle_landed(Time::ZERO, &[0, 1, 19, usize::MAX].map(of_no_room));
        receiver.handle_datagram(Time::ZERO, Origin::just(Time::ZERO, sender()), &mut right.clone());
        let block = receiver.poll_block().expect("complete");
        assert_eq!(block.payloads().collect::<Vec<_>>(), [&payload]);
    }
}

pub(crate) const STATUS: Status =
    Status { next_block: BlockNumber(0), released: BlockNumber(0), grtt: Duration::ZERO, group_size: 1 };
