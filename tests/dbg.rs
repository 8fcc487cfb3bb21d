use mcast::session::Rate;
use mcast::sim::*;
#[test]
fn dbg() {
    for mb in [6_000_000, 12_000_000, 24_000_000, 48_000_000u64] {
        let mut scenario = Scenario::new(14, 3, mb);
        scenario.symbol_size = 1_428;
        scenario.block_symbols = 64;
        scenario.receivers[2].leaf.rate = Some(Rate::from_bits_per_second(100_000_000));
        scenario.receivers[2].leaf.queue = 64 * 1024;
        for receiver in &mut scenario.receivers {
            receiver.socket_buffer = 2 << 20;
            receiver.buffer = 8 << 20;
        }
        let history = scenario.run();
        let seconds = history.sender_ended.as_nanos() as f64 / 1e9;
        println!(
            "{mb} {:.1} Mbit/s, {} transmissions",
            mb as f64 * 8.0 / seconds / 1e6,
            history.transmissions()
        );
    }
}
