//! What each datagram costs between the network and a block: header and body, seal, digest.
//!
//! `cargo bench --bench wire`, less than a minute. Throughput counts bytes of datagrams, in "digest" those of the stream.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should end")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use mcast::fec::SymbolSet;
use mcast::seal::{GroupKey, KEY_LEN, Party, Seal, Secret};
use mcast::session::StreamDigest;
use mcast::wire::{
    self, BlockNumber, DatagramNumber, Kind, Message, Need, Needs, ReceiverId, Report, SYMBOL_HEADER_LEN,
    SessionId, Symbol,
};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// What fits Ethernet over IPv4 in plain mode.
const SYMBOL: usize = 1428;
const BLOCK: usize = 88;
const SESSION: SessionId = SessionId([9; 16]);
const RECEIVER: ReceiverId = ReceiverId(7);
/// BLAKE3 is at its best with pieces of so many bytes, sixteen chunks at a time and no more than the cache holds.
const GATHERED: usize = 64 * 1024;

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::with_seed(7).fill(&mut bytes);
    bytes
}

fn symbol(payload: &[u8]) -> Symbol<'_> {
    let block_len = (SYMBOL * BLOCK) as u32;
    Symbol { substream: 0, symbol: 17, block_len, block: BlockNumber(1_000), payload }
}

fn symbols(c: &mut Criterion) {
    let payload = noise(SYMBOL);
    let mut datagram = Vec::new();
    Message::Source(symbol(&payload)).write(SESSION, DatagramNumber(4_711), &mut datagram);
    let mut group = c.benchmark_group("symbol");
    group.throughput(Throughput::Bytes(datagram.len() as u64));
    group.bench_function("parse", |b| b.iter(|| wire::parse(black_box(&datagram)).map(|_| ())));
    let mut out = Vec::with_capacity(datagram.len());
    group.bench_function("write", |b| {
        b.iter(|| {
            out.clear();
            Message::Source(symbol(black_box(&payload))).write(SESSION, DatagramNumber(4_711), &mut out);
        });
    });
    // As the sender does it: around a payload that lies where it is sent from.
    let mut room = datagram.clone();
    group.bench_function("write_header", |b| {
        b.iter(|| {
            let (number, block) = (DatagramNumber(black_box(4_711)), BlockNumber(1_000));
            Symbol::write_header(Kind::Source, SESSION, number, block, 125_664, 17, &mut room);
            black_box(room.get(..SYMBOL_HEADER_LEN));
        });
    });
    group.finish();
}

fn reports(c: &mut Criterion) {
    let named: SymbolSet = [3, 14, 15].into_iter().collect();
    let needs: Vec<Need> = (0..20)
        .map(|offset| Need { offset: offset * 3, missing: 3, symbols: (offset % 4 == 0).then_some(named) })
        .collect();
    let report = |needs| Report {
        receiver: RECEIVER,
        highest: DatagramNumber(90_000),
        settled: DatagramNumber(89_990),
        arrived: 89_000,
        held: Duration::from_micros(120),
        waited: Duration::ZERO,
        received: BlockNumber(1_000),
        position: BlockNumber(998),
        bytes: 125_000_000,
        window: 259,
        credit: 3_798,
        lost_symbols: 60,
        dropped: 0,
        stalled: Duration::ZERO,
        needs: Needs::Given(needs),
    };
    let mut group = c.benchmark_group("report");
    for (name, needs) in [("without_needs", &needs[..0]), ("with_20_needs", &needs[..])] {
        let mut datagram = Vec::new();
        Message::Report(report(needs)).write(SESSION, DatagramNumber(5), &mut datagram);
        group.throughput(Throughput::Bytes(datagram.len() as u64));
        group.bench_function(format!("parse/{name}"), |b| {
            b.iter(|| wire::parse(black_box(&datagram)).map(|_| ()));
        });
        let mut out = Vec::with_capacity(datagram.len());
        group.bench_function(format!("write/{name}"), |b| {
            b.iter(|| {
                out.clear();
                Message::Report(report(black_box(needs))).write(SESSION, DatagramNumber(5), &mut out);
            });
        });
    }
    group.finish();
}

fn seals(c: &mut Criterion) {
    let key = GroupKey::new(&Secret::new([0x6b; KEY_LEN]));
    let payload = noise(SYMBOL);
    let mut group = c.benchmark_group("seal");
    for (name, seal) in [("crc32", Seal::Crc), ("aes_128_gcm", Seal::Aead(key))] {
        let mut number = 0;
        let mut datagram = Vec::new();
        Message::Source(symbol(&payload)).write(SESSION, DatagramNumber(number), &mut datagram);
        datagram.resize(datagram.len() + seal.trailer_len(), 0);
        group.throughput(Throughput::Bytes(datagram.len() as u64));
        // No number twice, and what is sealed may as well have been sealed before.
        let mut sealer = seal.sealer(SESSION, Party::Sender);
        group.bench_function(format!("seal/{name}"), |b| {
            b.iter(|| {
                number += 1;
                let (at, block) = (DatagramNumber(number), BlockNumber(1_000));
                Symbol::write_header(Kind::Source, SESSION, at, block, 125_664, 17, &mut datagram);
                sealer.seal(black_box(&mut datagram));
            });
        });
        // Opened where it lies, so a fresh copy each time.
        let mut opener = seal.opener(SESSION, Party::Sender);
        let mut copy = datagram.clone();
        group.bench_function(format!("copy_and_open/{name}"), |b| {
            b.iter(|| {
                copy.copy_from_slice(&datagram);
                assert!(opener.open(black_box(&mut copy)).is_some(), "it is what was sealed");
            });
        });
    }
    group.finish();
}

/// What docs/security.md, "Signatures", would cost: one for each block, over its digest.
fn signatures(c: &mut Criterion) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed of 32 bytes");
    let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec());
    let block = noise(SYMBOL * BLOCK);
    let hash = digest(&SHA256, &block);
    let signature = pair.sign(hash.as_ref());
    let mut group = c.benchmark_group("signature");
    group.throughput(Throughput::Bytes(block.len() as u64));
    group.bench_function("hash_block", |b| b.iter(|| digest(&SHA256, black_box(&block))));
    group.bench_function("sign", |b| b.iter(|| pair.sign(black_box(hash.as_ref()))));
    group.bench_function("verify", |b| {
        b.iter(|| public.verify(black_box(hash.as_ref()), signature.as_ref()));
    });
    group.bench_function("hash_blake3", |b| b.iter(|| blake3::hash(black_box(&block))));
    group.finish();
}

fn digests(c: &mut Criterion) {
    // More than a second-level cache holds, as the stream is when it gets here.
    let stream = noise(BLOCK * SYMBOL * 32);
    let mut group = c.benchmark_group("digest");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("xxh3_128", |b| {
        b.iter(|| {
            let mut digest = StreamDigest::default();
            black_box(&stream).chunks(SYMBOL).for_each(|piece| digest.update(piece));
            digest.end()
        });
    });
    group.bench_function("blake3", |b| {
        b.iter(|| {
            let mut digest = blake3::Hasher::new();
            black_box(&stream).chunks(SYMBOL).for_each(|piece| _ = digest.update(piece));
            digest.finalize()
        });
    });
    let mut gathered = Vec::with_capacity(GATHERED);
    group.bench_function("blake3_gathered", |b| {
        b.iter(|| {
            let mut digest = blake3::Hasher::new();
            for mut piece in black_box(&stream).chunks(SYMBOL) {
                while !piece.is_empty() {
                    let (now, later) = piece.split_at(piece.len().min(GATHERED - gathered.len()));
                    gathered.extend_from_slice(now);
                    piece = later;
                    if gathered.len() == GATHERED {
                        digest.update(&gathered);
                        gathered.clear();
                    }
                }
            }
            digest.update(&gathered);
            gathered.clear();
            digest.finalize()
        });
    });
    group.bench_function("crc32", |b| {
        b.iter(|| {
            let sum = |sum: u32, piece: &[u8]| sum ^ crc32fast::hash(piece);
            black_box(&stream).chunks(SYMBOL).fold(0, sum)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = symbols, reports, seals, signatures, digests
}
criterion_main!(benches);
