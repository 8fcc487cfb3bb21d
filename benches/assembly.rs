//! What a receiver does with the datagrams of a stream, from the kernel's copy to the block for the sink.
//!
//! `cargo bench --bench assembly`, less than half a minute. Throughput counts bytes of stream. "one_by_one" is handed each
//! datagram out of a receive buffer, "in_place" whole batches in the rooms that it offers; in both, what the kernel would
//! copy is copied. Reports are made, and go nowhere.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run may as well stop")]

use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mcast::net::clock::Clock;
use mcast::seal::{Accept, GroupKey, KEY_LEN, Party, Seal, Sealer, Secret};
use mcast::session::receiver::{self, Receiver};
use mcast::session::{Endpoint, Landed, Origin, batch_of};
use mcast::time::Time;
use mcast::wire::{
    Announce, BlockNumber, DatagramNumber, Entries, Kind, Label, Message, Name, Phase, ReceiverId, Roster,
    SYMBOL_HEADER_LEN, SessionId, Standing, Symbol,
};

/// UDP payload that fits Ethernet over IPv4.
const STRIDE: usize = 1472;
const BLOCK: usize = 88;
const SESSION: SessionId = SessionId([9; 16]);
const ID: ReceiverId = ReceiverId(7);
/// The time between two blocks at 10 Gbit/s.
const BLOCK_TIME: Duration = Duration::from_micros(106);

/// A sender that says what it is told to, and its receiver.
struct Session {
    receiver: Receiver,
    sealer: Sealer,
    symbol_size: usize,
    /// The datagrams of the present block, one after the other.
    wire: Vec<u8>,
    block: u64,
    number: u64,
    now: Time,
}

impl Session {
    fn new(seal: &Seal) -> Self {
        let symbol_size = STRIDE - SYMBOL_HEADER_LEN - seal.trailer_len();
        let accept = seal.key().map_or(Accept::Crc, |key| Accept::Aead(vec![key.clone()]));
        let config = receiver::Config {
            id: ID,
            name: Name::new("db2").expect("a name"),
            expect: None,
            over: Vec::new(),
            repeats: false,
            seed: 1,
            start_timeout: None,
            peer_timeout: Duration::from_secs(10),
            buffer: 32 << 20,
            socket_buffer: 8 << 20,
            accept,
        };
        let mut session = Self {
            receiver: Receiver::new(config, Time::ZERO),
            sealer: seal.sealer(SESSION, Party::Sender),
            symbol_size,
            wire: vec![0x5a; STRIDE * BLOCK],
            block: 0,
            number: 0,
            now: Time::ZERO,
        };
        session.tell(&Message::Announce(Announce {
            phase: Phase::Waiting,
            block_symbols: BLOCK as u8,
            symbol_size: symbol_size as u16,
            join_spread: Duration::ZERO,
            peer_timeout: Duration::from_secs(10),
            age: Duration::ZERO,
            grtt: Duration::ZERO,
            group_size: 1,
            echo: ID,
            label: Label::new("x").expect("a label"),
            name: None,
        }));
        session.receiver.handle_timeout(Time::ZERO);
        assert!(session.receiver.poll_transmit(Time::ZERO).is_some(), "it joins");
        session.receiver.handle_transmitted(Time::ZERO);
        session.tell(&Message::Roster(Roster { entries: Entries::Given(&[(ID, Standing::Admitted)]) }));
        session
    }

    fn tell(&mut self, message: &Message<'_>) {
        let mut datagram = Vec::new();
        message.write(SESSION, DatagramNumber(self.number), &mut datagram);
        self.number += 1;
        self.sealer.seal_appended(&mut datagram, 0);
        self.receiver.handle_datagram(self.now, Origin::just(self.now, sender()), &mut datagram);
    }

    /// Writes the next block's datagrams.
    fn prepare(&mut self) {
        let length = (self.symbol_size * BLOCK) as u32;
        for (place, datagram) in self.wire.chunks_exact_mut(STRIDE).enumerate() {
            let (number, block) = (DatagramNumber(self.number), BlockNumber(self.block));
            Symbol::write_header(Kind::Source, SESSION, number, block, length, place as u8, datagram);
            self.sealer.seal(datagram);
            self.number += 1;
        }
        self.block += 1;
        self.now += BLOCK_TIME;
    }

    fn one_by_one(&mut self, slot: &mut [u8]) {
        let batch = batch_of(STRIDE) * STRIDE;
        for datagrams in self.wire.chunks(batch) {
            slot[..datagrams.len()].copy_from_slice(datagrams);
            for datagram in slot[..datagrams.len()].chunks_exact_mut(STRIDE) {
                self.receiver.handle_datagram(self.now, Origin::just(self.now, sender()), datagram);
            }
        }
        self.serve();
    }

    fn in_place(&mut self) {
        let batch = batch_of(STRIDE) * STRIDE;
        let mut landed = Vec::new();
        let rooms = self.receiver.landing().into_iter().zip(self.wire.chunks(batch));
        for (number, (room, datagrams)) in rooms.enumerate() {
            room[..datagrams.len()].copy_from_slice(datagrams);
            landed.push(Landed {
                room: number,
                origin: Origin::just(self.now, sender()),
                len: datagrams.len(),
                segment: STRIDE,
            });
        }
        assert_eq!(landed.len(), 2, "both batches have a room");
        self.receiver.handle_landed(self.now, &landed);
        self.serve();
    }

    /// What the driver does after each turn.
    fn serve(&mut self) {
        self.receiver.handle_timeout(self.now);
        while self.receiver.poll_transmit(self.now).is_some() {
            self.receiver.handle_transmitted(self.now);
        }
        let block = self.receiver.poll_block().expect("a block for each that was sent");
        self.receiver.handle_consumed(self.now, block);
    }
}

fn sender() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7767))
}

fn assembly(c: &mut Criterion) {
    let clock = Clock::start();
    let key = GroupKey::new(&Secret::new([0x6b; KEY_LEN]));
    let mut group = c.benchmark_group("assembly");
    for (name, seal) in [("crc32", Seal::Crc), ("aes_128_gcm", Seal::Aead(key))] {
        let mut slot = vec![0; 1 << 16];
        for (way, in_place) in [("one_by_one", false), ("in_place", true)] {
            let mut session = Session::new(&seal);
            group.throughput(Throughput::Bytes((session.symbol_size * BLOCK) as u64));
            group.bench_function(format!("{way}/{name}"), |b| {
                b.iter_custom(|blocks| {
                    let mut taken = Duration::ZERO;
                    for _ in 0..blocks {
                        session.prepare();
                        let begun = clock.now();
                        if in_place {
                            session.in_place();
                        } else {
                            session.one_by_one(&mut slot);
                        }
                        taken += clock.now().since(begun);
                    }
                    taken
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = assembly
}
criterion_main!(benches);
