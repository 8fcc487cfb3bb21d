//! Streams of every size that has a border in it.

use crate::support::{KIB, Lab, PATIENCE, Source, all_exit};

/// Bytes of stream in one datagram on an Ethernet: 1500 less IPv4, UDP, header and trailer.
const SYMBOL: u64 = 1428;

/// A stream of each size to a host that loses nothing and to one that loses 2 %.
fn arrive_exactly(sizes: &[u64]) {
    let lab = Lab::with(2, &["--loss", "2=2%"]);
    for (seed, &size) in (0..).zip(sizes) {
        let source = Source::new(seed, size);
        let mut receivers = [lab.host(1).recv("r1").start(), lab.host(2).recv("r2").start()];
        let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        assert_eq!(sender.report()["bytes"], size);
        all_exit(&mut receivers, 0, PATIENCE);
        for receiver in &receivers {
            receiver.must_have_delivered(source);
        }
    }
}

#[test]
fn empty_stream_is_a_valid_stream() {
    arrive_exactly(&[0]);
}

#[test]
fn streams_of_a_symbol_more_or_less_arrive_exactly() {
    arrive_exactly(&[1, SYMBOL - 1, SYMBOL, SYMBOL + 1, 2 * SYMBOL]);
}

#[test]
fn streams_of_a_block_more_or_less_arrive_exactly() {
    // 88 symbols at MTU 1500: two GSO batches.
    let block = 88 * SYMBOL;
    arrive_exactly(&[block - 1, block, block + 1, 2 * block - 1, 2 * block, 2 * block + 1]);
    arrive_exactly(&[44 * SYMBOL, 44 * SYMBOL + 1]);
}

#[test]
fn streams_of_random_sizes_arrive_exactly() {
    let seed = std::env::var("MCAST_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("MCAST_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let sizes: Vec<_> = (1..=8).map(|n| random.u64(..8 << (2 * n))).collect();
    eprintln!("sizes {sizes:?}");
    arrive_exactly(&sizes);
}

#[test]
fn pipes_that_bring_a_byte_at_a_time_arrive_exactly() {
    let lab = Lab::up(1);
    let source = Source::new(99, 4 * KIB);
    let mut receiver = lab.host(1).recv("r1").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    for end in 1..=source.len() {
        sender.feed_to(end);
    }
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
}
