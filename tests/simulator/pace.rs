//! `--rate`: how evenly symbols leave, in virtual time.

use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{History, Scenario};
use mcast::time::Time;
use mcast::wire::{Header, Kind};

use crate::all_complete;

/// IPv4 and UDP headers, which count for the rate.
const OVERHEAD: u64 = 28;
/// A full datagram with them.
const DATAGRAM: u64 = 1_500;
/// What the documents call the burst: so much of the rate, and a datagram.
const BURST: Duration = Duration::from_micros(500);
const SPAN: Duration = Duration::from_millis(10);

/// A symbol that has left: when, and its size on the wire.
type Symbol = (Time, u64);

fn play(rate: Rate, loss: f64, length: Duration) -> History {
    let seed = rate.bits_per_second() / 1_000_000;
    let mut scenario = Scenario::new(seed, 3, rate.bytes_in(length)).with_loss(loss);
    (scenario.symbol_size, scenario.block_symbols, scenario.batch) = (1_428, 88, 44);
    (scenario.rate, scenario.records) = (Some(rate), true);
    // Nothing else is the limit.
    scenario.trunk.rate = Some(Rate::from_bits_per_second(10_000_000_000));
    for receiver in &mut scenario.receivers {
        (receiver.buffer, receiver.socket_buffer) = (32 << 20, 8 << 20);
    }
    let history = scenario.run();
    all_complete(&history);
    history
}

/// Symbols that left, repairs included, until the first pass was over: what follows waits for what receivers say.
fn symbols(history: &History) -> Vec<Symbol> {
    let mut sent = Vec::new();
    let mut first_pass = 0;
    for datagram in history.recorded.iter().filter(|datagram| datagram.host == 0) {
        let kind = Header::peek(&datagram.bytes).map(|header| header.kind);
        if matches!(kind, Some(Kind::Source | Kind::Repair)) {
            sent.push((datagram.at, datagram.bytes.len() as u64 + OVERHEAD));
            first_pass = if kind == Some(Kind::Source) { sent.len() } else { first_pass };
        }
    }
    sent.truncate(first_pass);
    sent
}

/// Of what the rate allows, the share that was carried by each span of 10 ms that begins with a symbol or just behind it.
fn shares(sent: &[Symbol], rate: Rate) -> Vec<f64> {
    let Some((ended, _)) = sent.last() else { return Vec::new() };
    let (mut shares, mut carried, mut next) = (Vec::new(), 0, 0);
    for (start, bytes) in sent.iter().take_while(|(start, _)| *start + SPAN <= *ended) {
        while let Some((_, bytes)) = sent.get(next).filter(|(at, _)| *at < *start + SPAN) {
            carried += bytes;
            next += 1;
        }
        shares.push(carried as f64 / rate.bytes_in(SPAN) as f64);
        carried -= bytes;
        shares.push(carried as f64 / rate.bytes_in(SPAN) as f64);
    }
    shares
}

/// The largest burst: how far ahead of the rate any span of time, however long, has come.
fn burst(sent: &[Symbol], rate: Rate) -> Duration {
    let (mut free, mut most) = (Time::ZERO, Duration::ZERO);
    for (at, bytes) in sent {
        free = free.max(*at) + rate.time_for(*bytes);
        most = most.max(free.since(*at));
    }
    most
}

/// 5 %; at rates below 60 Mbit/s, of which 2 % of a span hold no datagram, 3 % and a datagram.
fn tolerance(rate: Rate) -> f64 {
    0.03 + f64::max(0.02, DATAGRAM as f64 / rate.bytes_in(SPAN) as f64)
}

#[test]
fn any_ten_milliseconds_carry_the_rate_within_five_per_cent() {
    for megabits in [5, 20, 100, 300, 1_000, 3_000] {
        for loss in [0.0, 0.01] {
            let rate = Rate::from_bits_per_second(megabits * 1_000_000);
            let sent = symbols(&play(rate, loss, Duration::from_millis(300)));
            let shares = shares(&sent, rate);
            let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
            let most = shares.iter().copied().fold(0.0, f64::max);
            let what = format!("{rate}, {loss} lost: {least:.3} to {most:.3} in {} spans", shares.len());
            assert!(shares.len() > 200, "{what}");
            assert!(least >= 1.0 - tolerance(rate) && most <= 1.0 + tolerance(rate), "{what}");
        }
    }
}

#[test]
fn bursts_are_no_longer_than_half_a_millisecond_and_a_datagram() {
    for megabits in [5, 20, 100, 300, 1_000, 3_000] {
        for loss in [0.0, 0.05] {
            let rate = Rate::from_bits_per_second(megabits * 1_000_000);
            let sent = symbols(&play(rate, loss, Duration::from_millis(200)));
            let burst = burst(&sent, rate);
            assert!(burst <= BURST + rate.time_for(DATAGRAM), "{rate}, {loss} lost: {burst:?}");
        }
    }
}

#[test]
fn where_much_is_lost_the_rate_is_held_but_for_checks_whether_it_is_why() {
    let rate = Rate::from_bits_per_second(200_000_000);
    let sent = symbols(&play(rate, 0.05, Duration::from_secs(3)));
    let shares = shares(&sent, rate);
    let most = shares.iter().copied().fold(0.0, f64::max);
    let held = shares.iter().filter(|share| **share >= 0.95).count() as f64 / shares.len() as f64;
    assert!(most <= 1.05, "{most:.3}");
    assert!(held >= 0.9, "held in {held:.3} of the spans");
}
