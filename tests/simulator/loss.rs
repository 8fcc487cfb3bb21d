//! Loss, reordering, duplication, corruption, delay, rates: the data arrives all the same.

use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{LinkConfig, Loss, Scenario, seeds};
use mcast::wire::Kind;

use crate::all_complete;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_clean_lan_carries_the_data_once() {
    let history = Scenario::new(1, 3, 1_000_000).run();
    all_complete(&history);
    assert_eq!(history.sent.repair_symbols, 0);
    assert_eq!(history.sent.source_symbols, history.source_symbols);
}

/// The least possible number of transmissions for each source symbol, for blocks of `k` and `n` receivers that each
/// lose `p` independently: 1 + 1/k Σ [1 − F(m)^n], F the distribution of the extra symbols that one receiver needs.
pub(crate) fn least_transmissions(k: u32, n: i32, p: f64) -> f64 {
    let mut distribution = 0.0;
    let mut term = (1.0 - p).powi(k as i32);
    let mut sum = 0.0;
    for m in 0..10 * k {
        distribution += term;
        sum += 1.0 - f64::min(distribution, 1.0).powi(n);
        term *= p * f64::from(k + m) / f64::from(m + 1);
    }
    1.0 + sum / f64::from(k)
}

#[test]
fn repair_costs_little_more_than_the_least_possible() {
    for (n, loss, slack) in [
        (1, 0.01, 0.01),
        (3, 0.001, 0.01),
        (3, 0.01, 0.01),
        (8, 0.01, 0.01),
        (3, 0.05, 0.03),
        (8, 0.05, 0.03),
    ] {
        let mut scenario = Scenario::new(7, n, 4_000_000).with_loss(loss);
        scenario.block_symbols = 64;
        let history = scenario.run();
        all_complete(&history);
        let least = least_transmissions(64, n as i32, loss);
        let got = history.transmissions();
        assert!(got <= least + slack, "{n} receivers, {loss}: {got:.4}, least possible {least:.4}");
        // Where much is lost, some of it goes ahead of the requests, and the rest is asked for.
        let (ahead, all) = (history.sent.proactive_symbols, history.sent.repair_symbols);
        assert!(loss < 0.05 || (all / 10..all).contains(&ahead), "{n} receivers, {loss}: {ahead} of {all}");
    }
}

#[test]
fn one_of_64_that_loses_a_tenth_costs_the_others_what_its_repair_takes() {
    let seconds = |loss| {
        let mut scenario = Scenario::new(29, 64, 12_000_000);
        (scenario.symbol_size, scenario.block_symbols) = (1_428, 64);
        scenario.trunk.rate = Some(Rate::from_bits_per_second(100_000_000));
        for receiver in &mut scenario.receivers {
            (receiver.buffer, receiver.socket_buffer) = (8 << 20, 2 << 20);
        }
        scenario.receivers[63].leaf.loss = Loss::Independent(loss);
        let history = scenario.run();
        all_complete(&history);
        let started = history.started.expect("it has");
        let others = history.receivers.iter().take(63).map(|receiver| receiver.ended.since(started));
        others.max().expect("they are many").as_secs_f64()
    };
    let (clean, lossy) = (seconds(0.0), seconds(0.1));
    let least = clean * least_transmissions(64, 1, 0.1);
    assert!(lossy < least * 1.1, "{lossy:.3} s, {clean:.3} s without loss, {least:.3} s at least");
}

#[test]
fn one_loss_on_the_trunk_is_repaired_once_for_all() {
    let mut scenario = Scenario::new(8, 32, 1_000_000);
    scenario.trunk.loss = Loss::Independent(0.01);
    let history = scenario.run();
    all_complete(&history);
    // What the trunk lost, of source and repair symbols, and a few more for reports that crossed a repair.
    let lost = history.source_symbols as f64 * 0.01;
    assert!((history.sent.repair_symbols as f64) < lost * 2.0, "{:?}", history.sent);
}

#[test]
fn twenty_per_cent_loss_at_every_receiver_is_repaired() {
    for seed in seeds(5) {
        all_complete(&Scenario::new(seed, 8, 300_000).with_loss(0.2).run());
    }
}

#[test]
fn bursts_of_loss_are_repaired() {
    for seed in seeds(20) {
        let mut scenario = Scenario::new(seed, 3, 400_000);
        scenario.trunk.loss = Loss::Burst { every: ms(5), length: ms(2) };
        scenario.receivers[1].leaf.loss = Loss::Burst { every: ms(100), length: ms(300) };
        all_complete(&scenario.run());
    }
}

#[test]
fn a_silence_of_three_seconds_in_mid_session_is_survived() {
    for deaf in [1, 3] {
        let mut scenario = Scenario::new(9, 3, 3_000_000);
        for receiver in scenario.receivers.iter_mut().take(deaf) {
            receiver.deaf = vec![(ms(10), ms(3_010))];
        }
        let history = scenario.run();
        all_complete(&history);
        assert!(history.transmissions() < 1.7, "{}", history.transmissions());
    }
}

#[test]
fn parity_that_is_used_up_is_followed_by_source_symbols() {
    let mut scenario = Scenario::new(10, 2, 200_000).with_loss(0.6);
    scenario.block_symbols = 200;
    all_complete(&scenario.run());
}

#[test]
fn duplicates_and_reordering_are_delivered_once_and_in_order() {
    for seed in seeds(20) {
        let mut scenario = Scenario::new(seed, 3, 300_000);
        scenario.trunk.duplicate = 0.5;
        for receiver in &mut scenario.receivers {
            receiver.leaf = LinkConfig { jitter: ms(5), duplicate: 0.5, ..LinkConfig::default() };
            receiver.leaf_back = LinkConfig { jitter: ms(5), duplicate: 0.5, ..LinkConfig::default() };
        }
        all_complete(&scenario.run());
    }
}

#[test]
fn datagrams_that_come_up_to_ten_times_are_delivered_once_and_cost_nothing() {
    for copies in [1, 2, 9] {
        let mut scenario = Scenario::new(27, 3, 1_000_000);
        for receiver in &mut scenario.receivers {
            let again = LinkConfig { duplicate: 1.0, copies, jitter: ms(1), ..LinkConfig::default() };
            (receiver.leaf, receiver.leaf_back) = (again.clone(), again);
        }
        let history = scenario.run();
        all_complete(&history);
        assert!(history.transmissions() < 1.05, "{copies}: {}", history.transmissions());
    }
}

#[test]
fn reordering_over_ten_thousand_datagrams_causes_few_repairs() {
    let mut scenario = Scenario::new(28, 2, 12_000_000);
    (scenario.window, scenario.trunk.rate) = (1_000, Some(Rate::from_bits_per_second(1_000_000_000)));
    for receiver in &mut scenario.receivers {
        (receiver.buffer, receiver.socket_buffer) = (16 << 20, 8 << 20);
        // The line carries one in three microseconds.
        receiver.leaf.jitter = ms(30);
    }
    let history = scenario.run();
    all_complete(&history);
    assert!(history.transmissions() < 1.1, "{}", history.transmissions());
}

#[test]
fn reordering_alone_causes_few_repairs() {
    let mut scenario = Scenario::new(11, 3, 4_000_000);
    for receiver in &mut scenario.receivers {
        receiver.leaf.jitter = ms(3);
    }
    let history = scenario.run();
    all_complete(&history);
    assert!(history.transmissions() < 1.1, "{}", history.transmissions());
}

#[test]
fn flipped_bits_are_dropped_counted_and_repaired() {
    let mut scenario = Scenario::new(12, 3, 500_000);
    scenario.receivers[0].leaf.corrupt = 0.02;
    scenario.trunk_back.corrupt = 0.3;
    let history = scenario.run();
    all_complete(&history);
    assert!(history.receivers[0].stats.dropped_malformed > 10);
    assert!(history.sent.dropped_malformed > 0);
}

#[test]
fn every_kind_of_control_datagram_may_be_lost_several_times() {
    for &kind in Kind::ALL {
        for copies in [1, 3, 8] {
            let mut scenario = Scenario::new(u64::from(copies), 3, 100_000).with_loss(0.01);
            scenario.lose_first = vec![(kind, copies)];
            all_complete(&scenario.run());
        }
    }
}

#[test]
fn distance_does_not_matter() {
    for (delay, jitter) in [(50, 0), (50_000, 0), (250_000, 20_000)] {
        let mut scenario = Scenario::new(13, 3, 500_000).with_loss(0.01);
        for receiver in &mut scenario.receivers {
            receiver.leaf.delay = Duration::from_micros(delay);
            receiver.leaf_back.delay = Duration::from_micros(delay);
            receiver.leaf.jitter = Duration::from_micros(jitter);
        }
        let history = scenario.run();
        all_complete(&history);
        // Jitter comes as a surprise once: what looks lost before it is known is repaired.
        let most = if jitter == 0 { 1.1 } else { 1.5 };
        assert!(history.transmissions() < most, "{delay}: {}", history.transmissions());
    }
}

#[test]
fn a_slower_port_behind_the_switch_sets_the_pace() {
    let mut scenario = Scenario::new(14, 3, 12_000_000);
    scenario.symbol_size = 1_428;
    scenario.block_symbols = 64;
    scenario.receivers[2].leaf.rate = Some(Rate::from_bits_per_second(100_000_000));
    scenario.receivers[2].leaf.queue = 64 * 1024;
    for receiver in &mut scenario.receivers {
        receiver.socket_buffer = 2 << 20;
        receiver.buffer = 8 << 20;
    }
    let history = scenario.run();
    all_complete(&history);
    let seconds = history.sender_ended.as_nanos() as f64 / 1e9;
    let rate = 12_000_000.0 * 8.0 / seconds;
    assert!(rate > 60e6, "{:.1} Mbit/s, {} transmissions", rate / 1e6, history.transmissions());
    assert!(history.transmissions() < 1.5, "{}", history.transmissions());
}

#[test]
fn a_stream_in_drips_is_delivered_as_it_comes() {
    let mut scenario = Scenario::new(15, 3, 1_000).with_loss(0.05);
    scenario.source.trickle = Some((10, ms(100)));
    let history = scenario.run();
    all_complete(&history);
    // The last bytes come at 9.9 s.
    for receiver in &history.receivers {
        assert!(receiver.last_byte.as_nanos() < 10_100_000_000, "{}", receiver.last_byte);
    }
}

#[test]
fn one_byte_a_second_is_delivered_within_200_ms() {
    let mut scenario = Scenario::new(26, 3, 60).with_loss(0.01);
    scenario.source.trickle = Some((1, Duration::from_secs(1)));
    let history = scenario.run();
    all_complete(&history);
    // The first byte comes at the start, the last one 59 s later.
    let last = history.started.expect("it has").as_nanos() + 59_000_000_000;
    for receiver in &history.receivers {
        assert!(receiver.last_byte.as_nanos() <= last + 200_000_000, "{}", receiver.last_byte);
    }
}

#[test]
fn an_idle_source_keeps_the_session_alive_with_little_traffic() {
    let mut scenario = Scenario::new(16, 3, 20);
    scenario.source.trickle = Some((10, Duration::from_secs(900)));
    let history = scenario.run();
    all_complete(&history);
    assert!(history.sent.datagrams < 900 * 6, "{:?}", history.sent);
}

#[test]
fn sizes_around_every_border_arrive() {
    let (symbol, block, window) = (64, 64 * 4, 64 * 4 * 8);
    for border in [0, 1, symbol, block, 3 * block, window, 2 * window] {
        for bytes in [border - 1, border, border + 1] {
            let Ok(bytes) = u64::try_from(bytes) else { continue };
            let mut scenario = Scenario::new(bytes, 2, bytes).with_loss(0.03);
            (scenario.symbol_size, scenario.block_symbols, scenario.window) = (64, 4, 8);
            all_complete(&scenario.run());
        }
    }
}

#[test]
fn the_rate_is_an_upper_bound_and_is_reached() {
    let mut scenario = Scenario::new(17, 2, 5_000_000);
    scenario.symbol_size = 1_428;
    scenario.rate = Some(Rate::from_bits_per_second(50_000_000));
    let history = scenario.run();
    all_complete(&history);
    let started = history.started.expect("it has").as_nanos();
    let seconds = (history.sender_ended.as_nanos() - started) as f64 / 1e9;
    let on_the_wire = (history.sent.bytes + 28 * history.sent.datagrams) as f64 * 8.0 / seconds;
    assert!((45e6..=50.5e6).contains(&on_the_wire), "{:.1} Mbit/s", on_the_wire / 1e6);
}

#[test]
fn who_is_alone_is_repaired_at_once_whatever_it_loses() {
    let mut scenario = Scenario::new(31, 1, 3_000_000).with_loss(0.3);
    scenario.window = 1_000;
    scenario.receivers[0].buffer = 64 << 20;
    scenario.rate = Some(Rate::from_bits_per_second(20_000_000));
    let history = scenario.run();
    all_complete(&history);
    // 20 Mbit/s carry 1.3 MB of this stream and its repairs in a second; it comes in order, so none may wait.
    let delivered = history.at(Duration::from_secs(1)).delivered[0];
    assert!(delivered > 1_000_000, "{delivered}");
}
