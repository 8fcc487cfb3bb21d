//! How much of a line a session fills, in virtual time: what the protocol itself leaves idle, without any noise.

use mcast::session::Rate;
use mcast::sim::Scenario;

use crate::all_complete;

/// UDP payload of a full frame at an MTU of 1,500, and what the simulator's links count for it: Ethernet, IP and UDP.
const DATAGRAM: usize = 1_472;
const FRAME: usize = DATAGRAM + 42;
/// Of it, stream.
const SYMBOL: u16 = 1_428;

/// The share of the line's payload rate that a stream of `bytes` gets between launch and the sender's end: joins, the
/// last report and both confirmations included. Everything is as the programs have it by default.
fn utilisation(receivers: usize, gigabits: u64, bytes: u64) -> f64 {
    let rate = Rate::from_bits_per_second(gigabits * 1_000_000_000);
    let mut scenario = Scenario::new(1, receivers, bytes);
    (scenario.symbol_size, scenario.block_symbols, scenario.batch) = (SYMBOL, 88, 44);
    scenario.window = (32 << 20) / (88 * DATAGRAM);
    // Frames that a send buffer of 208 KiB, which the kernel doubles, has room for at 2,304 bytes each.
    (scenario.trunk.rate, scenario.trunk.queue) = (Some(rate), 2 * 212_992 / 2_304 * FRAME);
    for receiver in &mut scenario.receivers {
        (receiver.buffer, receiver.socket_buffer) = (32 << 20, 8 << 20);
    }
    let history = scenario.run();
    all_complete(&history);
    assert_eq!(history.sent.repair_symbols, 0, "nothing is lost");
    let frames = bytes.div_ceil(u64::from(SYMBOL));
    let least = rate.time_for(frames * FRAME as u64);
    least.as_secs_f64() / history.sender_ended.since(mcast::time::Time::ZERO).as_secs_f64()
}

#[test]
fn one_and_three_receivers_get_nine_tenths_of_ten_gigabits() {
    for receivers in [1, 3] {
        let share = utilisation(receivers, 10, 128 << 20);
        assert!(share >= 0.9, "{receivers} receivers: {share:.3}");
    }
}

#[test]
fn one_and_three_receivers_get_all_but_three_hundredths_of_a_gigabit() {
    for receivers in [1, 3] {
        let share = utilisation(receivers, 1, 64 << 20);
        assert!(share >= 0.97, "{receivers} receivers: {share:.3}");
    }
}
