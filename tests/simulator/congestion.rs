//! Ports that are full, lossy paths and hosts without time look alike until the rate changes: it must tell them apart.
//!
//! The seeds here are from 100 on. Constants of the rate control are tuned on others.

use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{Loss, Scenario, Starvation, seeds_in};

use crate::all_complete;
use crate::ports::{DEEP, SHALLOW, lan, mbit, ms, overflow, payload, port, share, took, used};

/// The queue of a switch that has some megabytes for all of its ports.
const MIDDLE: usize = 512 * 1024;

/// Sender and receivers run for a millisecond and then wait for 5 to 50 ms, in spells of half a second. One of the
/// receivers is behind a shallow port. Returns the share that the port lost after the first second.
fn lost_by_hosts_without_time(seed: u64) -> f64 {
    let mut scenario = lan(seed, 3, 100_000_000);
    scenario.window = 67;
    scenario.receivers.iter_mut().for_each(|receiver| receiver.socket_buffer = 8 << 20);
    scenario.receivers[0].leaf = port(mbit(200), SHALLOW);
    let (every, length, late) = (ms(50), ms(500), (ms(5), ms(50)));
    scenario.starvation = Some(Starvation { every, length, late, until: scenario.limit });
    let history = scenario.run();
    all_complete(&history);
    overflow(&history, 0, ms(1_000), scenario.limit)
}

#[test]
fn hosts_without_time_do_not_overflow_a_shallow_port() {
    let lost: Vec<_> = seeds_in(100..121).map(lost_by_hosts_without_time).collect();
    let mean = lost.iter().sum::<f64>() / lost.len() as f64;
    assert!(mean <= 0.008, "{mean:.4} lost in the mean of {lost:.4?}");
    assert!(lost.iter().all(|lost| *lost <= 0.02), "{lost:.4?} lost");
}

#[test]
fn the_first_second_before_a_deep_queue_loses_half_a_per_cent_at_most() {
    for megabits in [100, 200] {
        let rate = mbit(megabits);
        let mut scenario = lan(100, 3, (payload(rate) * 1.2) as u64);
        scenario.receivers[0].leaf = port(rate, DEEP);
        let history = scenario.run();
        all_complete(&history);
        let lost = overflow(&history, 0, ms(0), ms(1_000));
        assert!(lost <= 0.005, "{rate}: {lost:.4} lost");
    }
}

#[test]
fn ports_of_any_rate_and_queue_are_filled_and_lose_a_per_cent_at_most() {
    for (megabits, queue) in [
        (100, SHALLOW),
        (100, DEEP),
        (200, SHALLOW),
        (200, DEEP),
        (500, SHALLOW),
        (500, DEEP),
        (100, MIDDLE),
        (200, MIDDLE),
    ] {
        let rate = mbit(megabits);
        let mut scenario = lan(100, 3, 96 << 20);
        scenario.receivers[0].leaf = port(rate, queue);
        let history = scenario.run();
        all_complete(&history);
        let share = scenario.source.bytes as f64 / took(&history).as_secs_f64() / payload(rate);
        let lost = overflow(&history, 0, ms(0), scenario.limit);
        let what = format!("{rate}, queue of {queue}: {share:.3} of the port, {lost:.4} lost");
        assert!(share >= 0.94 && lost <= 0.01, "{what}");
    }
}

/// A port changes its rate four times, every three seconds.
fn follows_the_port(queue: usize) {
    let rates = [500, 100, 300, 50, 600].map(mbit);
    let line = rates[4];
    let span = ms(3_000);
    let bytes: f64 = rates.iter().map(|rate| payload(*rate) * span.as_secs_f64()).sum();
    let mut scenario = lan(100, 2, bytes as u64);
    scenario.trunk.rate = Some(line);
    scenario.receivers[0].leaf = port(rates[0], queue);
    scenario.receivers[0].leaf.rate_changes =
        (1..).zip(&rates[1..]).map(|(step, rate)| (span * step, (*rate < line).then_some(*rate))).collect();
    let history = scenario.run();
    all_complete(&history);
    let mut before = rates[0];
    for (step, rate) in (0..).zip(rates) {
        let (from, to) = (span * step, span * (step + 1) - ms(100));
        let settled = from + if rate > before { ms(2_000) } else { ms(1_500) };
        let share = share(&history, 0, rate, settled, to);
        let lost = overflow(&history, 0, from + ms(1_000), to);
        let what = format!("queue of {queue}, from {before} to {rate}");
        assert!(share >= 0.9, "{what}: {share:.3} of the port");
        assert!(lost < 0.02, "{what}: {lost:.4} lost");
        before = rate;
    }
}

#[test]
fn the_rate_follows_a_port_with_a_shallow_queue_that_gets_slower_and_faster() {
    follows_the_port(SHALLOW);
}

#[test]
fn the_rate_follows_a_port_with_a_deep_queue_that_gets_slower_and_faster() {
    follows_the_port(DEEP);
}

/// From the second second to the fifth, the path of the first receiver, or of all, loses `loss` whatever the rate is.
/// All the time, the receivers get nine tenths of what is possible then.
fn keeps_the_rate(
    seeds: u64,
    what: &str,
    rate: Rate,
    loss: f64,
    scenario: impl Fn(Scenario, Vec<(Duration, Loss)>) -> Scenario,
) {
    let (begins, ends) = (ms(2_000), ms(5_000));
    let changes = vec![(begins, Loss::Independent(loss)), (ends, Loss::Independent(0.0))];
    for seed in seeds_in(100..100 + seeds) {
        let history = scenario(lan(seed, 3, (payload(rate) * 7.0) as u64), changes.clone()).run();
        all_complete(&history);
        let least = |from, to| {
            let shares = (0..3).map(|receiver| share(&history, receiver, rate, from, to));
            shares.fold(f64::INFINITY, f64::min)
        };
        // Repairs of the first losses are under way for a moment.
        let during = least(begins + ms(200), ends) / (1.0 - loss);
        let after = least(ends + ms(500), ms(6_900));
        let what = format!("seed {seed}: {what}, {loss} lost from 2 s to 5 s");
        assert!(during >= 0.9, "{what}: {during:.3} of what is possible");
        assert!(after >= 0.9, "{what}: {after:.3} of the line when nothing is lost any more");
    }
}

#[test]
fn losses_that_begin_in_mid_session_do_not_slow_down_a_full_line() {
    let rate = mbit(200);
    for loss in [0.05, 0.2] {
        keeps_the_rate(1, "every receiver", rate, loss, |mut scenario, changes| {
            scenario.trunk.rate = Some(rate);
            for receiver in &mut scenario.receivers {
                receiver.leaf.loss_changes.clone_from(&changes);
            }
            scenario
        });
        keeps_the_rate(1, "the trunk", rate, loss, |mut scenario, changes| {
            (scenario.trunk.rate, scenario.trunk.loss_changes) = (Some(rate), changes);
            scenario
        });
    }
}

/// From the second second to the fifth, the path of a receiver behind a slower port loses `loss` whatever the rate is. All
/// the time, nine tenths of what the port carries are sent, and little more than it carries. When that receiver has every
/// byte is another matter: its repairs may take a tenth of the line, so that it does not hold up the others.
fn keeps_the_ports_rate(loss: f64) {
    let rate = mbit(100);
    let (begins, ends) = (ms(2_000), ms(5_000));
    for queue in [SHALLOW, DEEP] {
        for seed in seeds_in(100..102) {
            let mut scenario = lan(seed, 3, (payload(rate) * 7.0) as u64);
            scenario.receivers[0].leaf = port(rate, queue);
            scenario.receivers[0].leaf.loss_changes =
                vec![(begins, Loss::Independent(loss)), (ends, Loss::Independent(0.0))];
            let history = scenario.run();
            all_complete(&history);
            let during = used(&history, rate, begins, ends);
            let after = used(&history, rate, ends + ms(500), ms(6_900));
            let lost = overflow(&history, 0, begins, ms(6_900));
            let what = format!("seed {seed}: queue of {queue}, {loss} lost from 2 s to 5 s");
            assert!(during >= 0.9, "{what}: {during:.3} of the port is used meanwhile");
            assert!(after >= 0.9, "{what}: {after:.3} of the port is used after that");
            assert!(lost <= 0.03, "{what}: the port loses {lost:.3}");
        }
    }
}

#[test]
fn losses_of_a_twentieth_that_begin_in_mid_session_do_not_slow_down_a_slower_port() {
    keeps_the_ports_rate(0.05);
}

#[test]
fn losses_of_a_fifth_that_begin_in_mid_session_do_not_slow_down_a_slower_port() {
    keeps_the_ports_rate(0.2);
}
