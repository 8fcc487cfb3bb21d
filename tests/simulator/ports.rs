//! A LAN with ports that are slower than the sender's, and what a test of the rate measures there.

use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{History, LinkConfig, Sample, Scenario};

const SYMBOL: u64 = 1_428;
/// With header, trailer, UDP, IP and Ethernet around it.
const FRAME: u64 = SYMBOL + 44 + 42;
/// Bytes that a switch queues for a port: few, and many.
pub(crate) const SHALLOW: usize = 64 * 1024;
pub(crate) const DEEP: usize = 2 * 1024 * 1024;

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn mbit(n: u64) -> Rate {
    Rate::from_bits_per_second(n * 1_000_000)
}

/// A LAN as the programs see it: symbols that fill a frame, buffers as large as theirs.
pub(crate) fn lan(seed: u64, receivers: usize, bytes: u64) -> Scenario {
    let mut scenario = Scenario::new(seed, receivers, bytes);
    (scenario.symbol_size, scenario.block_symbols, scenario.batch) = (SYMBOL as u16, 88, 44);
    scenario.window = 256;
    for (minutes, receiver) in (1..).zip(&mut scenario.receivers) {
        (receiver.socket_buffer, receiver.buffer) = (4 << 20, 32 << 20);
        // No clock but the sender's may count.
        receiver.clock = Duration::from_secs(60 * minutes);
    }
    scenario
}

pub(crate) fn port(rate: Rate, queue: usize) -> LinkConfig {
    LinkConfig { rate: Some(rate), queue, ..LinkConfig::default() }
}

/// Bytes of stream in a second that a line of this rate carries at most.
pub(crate) fn payload(rate: Rate) -> f64 {
    rate.bits_per_second() as f64 / 8.0 * SYMBOL as f64 / FRAME as f64
}

/// Of what a line of this rate carries between two moments, the share that a sink took as stream.
pub(crate) fn share(history: &History, receiver: usize, rate: Rate, from: Duration, to: Duration) -> f64 {
    let delivered = |at| history.at(at).delivered.get(receiver).copied().unwrap_or_default() as f64;
    (delivered(to) - delivered(from)) / (to - from).as_secs_f64() / payload(rate)
}

/// Of what a line of this rate carries between two moments, the share that was sent as symbols of any kind.
pub(crate) fn used(history: &History, rate: Rate, from: Duration, to: Duration) -> f64 {
    let symbols = |at| {
        let sent = history.at(at).sent;
        (sent.source_symbols + sent.repair_symbols) as f64
    };
    (symbols(to) - symbols(from)) * SYMBOL as f64 / (to - from).as_secs_f64() / payload(rate)
}

/// Of what was sent between two moments, the share that a port's queue had no room for.
pub(crate) fn overflow(history: &History, receiver: usize, from: Duration, to: Duration) -> f64 {
    let (before, after) = (history.at(from), history.at(to));
    let lost = |sample: &Sample| sample.overflowed.get(receiver).copied().unwrap_or_default();
    (lost(&after) - lost(&before)) as f64 / (after.sent.datagrams - before.sent.datagrams).max(1) as f64
}

/// Time from the start to the sender's end; from its launch if it never started.
pub(crate) fn took(history: &History) -> Duration {
    history.sender_ended.since(history.started.unwrap_or_default())
}
