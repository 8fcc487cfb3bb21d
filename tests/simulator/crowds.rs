//! Many receivers: what they say stays within bounds, and holds nobody up.

use mcast::session::{REPORTS_PER_SECOND, Rate};
use mcast::sim::{History, Scenario};
use mcast::time::Time;
use mcast::wire::Kind;

use crate::all_complete;

/// Full datagrams on a line of so many bits per second, to `receivers` hosts with socket buffers of `socket_buffer`
/// bytes.
fn crowd(seed: u64, receivers: usize, bytes: u64, line: u64, socket_buffer: usize) -> Scenario {
    let mut scenario = Scenario::new(seed, receivers, bytes);
    (scenario.symbol_size, scenario.block_symbols, scenario.batch) = (1_428, 88, 44);
    // 32 MiB at the sender, four times the default, and at each receiver.
    scenario.window = 258;
    scenario.trunk.rate = Some(Rate::from_bits_per_second(line));
    for receiver in &mut scenario.receivers {
        receiver.buffer = 32 << 20;
        receiver.socket_buffer = socket_buffer;
    }
    scenario
}

/// Bytes of stream per second from the start to the last byte at the last receiver, as a share of what the line carries.
fn utilization(history: &History, bytes: u64, line: u64) -> f64 {
    let took = last_byte(history).since(history.started.unwrap_or_default()).as_secs_f64();
    // 1,428 of 1,514 bytes are stream, as the simulated line counts.
    bytes as f64 * 8.0 / took / (line as f64 * 1_428.0 / 1_514.0)
}

fn last_byte(history: &History) -> Time {
    history.receivers.iter().map(|receiver| receiver.last_byte).max().unwrap_or_default()
}

#[test]
fn sixty_four_receivers_with_default_socket_buffers_run_at_the_paths_rate() {
    let (bytes, line) = (30_000_000, 1_000_000_000);
    let history = crowd(1, 64, bytes, line, 280_000).run();
    all_complete(&history);
    assert_eq!(history.sent.repair_symbols, 0);
    let utilization = utilization(&history, bytes, line);
    assert!(utilization >= 0.95, "{utilization:.3}");
    assert!(history.reports_in_a_second() <= REPORTS_PER_SECOND as usize);
}

#[test]
fn a_thousand_receivers_run_at_the_paths_rate() {
    // Small datagrams, as many in a second as full ones at 20 Mbit/s: each receiver reports once in a second, and its
    // socket buffer holds a tenth of what comes meanwhile.
    let (symbols, symbol) = (6_600, 64);
    let line = 1_650 * 8 * 150;
    let mut scenario = crowd(2, 1_000, symbols * symbol, line, 190 * 108 * 4 / 3);
    (scenario.symbol_size, scenario.block_symbols, scenario.window) = (64, 32, 4_000);
    let history = scenario.run();
    all_complete(&history);
    assert_eq!(history.sent.repair_symbols, 0);
    let took = last_byte(&history).since(history.started.expect("it has")).as_secs_f64();
    let utilization = (symbols * 150 * 8) as f64 / took / line as f64;
    assert!(utilization >= 0.95, "{utilization:.3}");
    assert!(history.reports_in_a_second() <= REPORTS_PER_SECOND as usize);
}

#[test]
fn one_loss_on_the_trunk_is_reported_by_a_handful_of_a_thousand() {
    let mut scenario = crowd(3, 1_000, 500_000, 100_000_000, 1 << 20);
    (scenario.trunk.queue, scenario.batch) = (32 * 1024, 8);
    scenario.lose_first = vec![(Kind::Source, 1)];
    let history = scenario.run();
    all_complete(&history);
    assert_eq!(history.sent.repair_symbols, 1);
    assert!((1..=10).contains(&history.nacks), "{}", history.nacks);
}
