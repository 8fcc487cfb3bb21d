//! Repair symbols: this crate's rows beside the whole matrices of `reed-solomon-erasure`, on the same arithmetic.
//!
//! `cargo bench --bench fec`; throughput counts the source bytes of the block. Every reconstruction has a loss
//! pattern of its own, as on a network.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run may as well stop")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use mcast::fec::{Block, Codec, Layout, MAX_SYMBOLS, SymbolSet};
use reed_solomon_erasure::galois_8::ReedSolomon;

/// What fits Ethernet over IPv4.
const LAYOUT: Layout = Layout { symbol_size: 1428, head: 40, tail: 4 };
const SYMBOLS: [usize; 3] = [64, 88, 128];
const REPAIRS: [usize; 3] = [1, 4, 16];
/// Repair symbols that a block may have seen before: the library's matrix has to have them all.
const POOL: usize = 64;

fn filled(symbols: usize) -> Block {
    let mut block = Block::new(LAYOUT, symbols);
    block.set_len(block.capacity_bytes());
    let mut rng = Rng::with_seed(7);
    for symbol in 0..symbols {
        rng.fill(block.payload_mut(symbol));
    }
    block
}

fn id(name: &str, symbols: usize, repairs: usize) -> BenchmarkId {
    BenchmarkId::new(name, format!("k{symbols}e{repairs}"))
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for symbols in SYMBOLS {
        let block = filled(symbols);
        group.throughput(Throughput::Bytes(block.len() as u64));
        for repairs in REPAIRS {
            let mut out = vec![vec![0; LAYOUT.symbol_size]; repairs];
            let mut codec = Codec::new();
            group.bench_function(id("rows", symbols, repairs), |b| {
                b.iter(|| {
                    for (repair, out) in out.iter_mut().enumerate() {
                        codec.encode(&block, repair, out).expect("in range");
                    }
                });
            });
            let library = ReedSolomon::new(symbols, repairs).expect("in range");
            group.bench_function(id("library", symbols, repairs), |b| {
                b.iter(|| {
                    let source: Vec<&[u8]> = block.payloads().collect();
                    library.encode_sep(&source, &mut out).expect("in shape");
                });
            });
        }
    }
    group.finish();
}

fn reconstruct(c: &mut Criterion) {
    let mut group = c.benchmark_group("reconstruct");
    for symbols in SYMBOLS {
        let mut block = filled(symbols);
        let mut codec = Codec::new();
        let mut pool = vec![vec![0; LAYOUT.symbol_size]; POOL];
        for (repair, out) in pool.iter_mut().enumerate() {
            codec.encode(&block, repair, out).expect("in range");
        }
        group.throughput(Throughput::Bytes(block.len() as u64));
        for repairs in REPAIRS {
            let mut rng = Rng::with_seed(11);
            group.bench_function(id("rows", symbols, repairs), |b| {
                b.iter(|| {
                    let lost = rng.choose_multiple(0..symbols, repairs);
                    let used = rng.choose_multiple(0..POOL, repairs);
                    let lost: SymbolSet = lost.into_iter().collect();
                    let used: Vec<(usize, &[u8])> = used.into_iter().map(|r| (r, &pool[r][..])).collect();
                    let have = SymbolSet::below(symbols).difference(&lost);
                    codec.reconstruct(&mut block, &have, &used).expect("enough");
                });
            });
            let library = ReedSolomon::new(symbols, POOL).expect("in range");
            let mut source: Vec<Vec<u8>> = block.payloads().map(<[u8]>::to_vec).collect();
            group.bench_function(id("library", symbols, repairs), |b| {
                b.iter(|| {
                    let lost = rng.choose_multiple(0..symbols, repairs);
                    let used = rng.choose_multiple(0..POOL, repairs);
                    let mut shards: Vec<(&mut [u8], bool)> = source
                        .iter_mut()
                        .enumerate()
                        .map(|(symbol, bytes)| (&mut bytes[..], !lost.contains(&symbol)))
                        .chain(
                            pool.iter_mut().enumerate().map(|(r, bytes)| (&mut bytes[..], used.contains(&r))),
                        )
                        .collect();
                    library.reconstruct_data(&mut shards).expect("enough");
                });
            });
        }
    }
    group.finish();
}

/// The first repair symbol for a number of source symbols that was not seen before, as trickling sources ask for it.
fn first_use(c: &mut Criterion) {
    let mut group = c.benchmark_group("first_use");
    for symbols in [1, 4, 16, 64, 128] {
        group.bench_function(BenchmarkId::new("library", symbols), |b| {
            b.iter(|| ReedSolomon::new(black_box(symbols), MAX_SYMBOLS - symbols));
        });
        let mut block = Block::new(Layout { symbol_size: 1, ..LAYOUT }, symbols);
        block.set_len(symbols);
        let mut codec = Codec::new();
        group.bench_function(BenchmarkId::new("rows", symbols), |b| {
            b.iter(|| codec.encode(black_box(&block), 0, &mut [0]));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // All of it in less than a minute.
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    targets = encode, reconstruct, first_use
}
criterion_main!(benches);
