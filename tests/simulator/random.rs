//! Thousands of sessions in which everything that can go wrong may go wrong, each decided by its seed.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::{LinkConfig, Loss, Scenario, seeds};

/// Sessions that the ordinary test command plays.
const SESSIONS: u64 = 2_500;

#[test]
fn whatever_the_network_does_the_promises_hold() {
    for seed in seeds(SESSIONS) {
        // A broken promise panics with the seed; this line tells which one was at work if something else did.
        let played = std::panic::catch_unwind(|| random_scenario(seed).run());
        let history = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        if is_survivable(&random_scenario(seed)) {
            assert_eq!(history.sender, Some(Exit::Complete), "seed {seed}: {:?}", history.sender_error);
        }
    }
}

/// Nobody dies or fails in it: then everybody must succeed.
fn is_survivable(scenario: &Scenario) -> bool {
    scenario.sender_killed.is_none()
        && scenario.sender_stopped.is_none()
        && scenario.sender_pauses.is_empty()
        && scenario.source.fails_after.is_none()
        && scenario.receivers.iter().all(|receiver| {
            receiver.killed.is_none()
                && receiver.stopped.is_none()
                && receiver.sink.fails_after.is_none()
                && receiver.deaf.is_empty()
                && receiver.mute.is_empty()
                && receiver.pauses.is_empty()
        })
}

fn random_scenario(seed: u64) -> Scenario {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5EED);
    let receivers = [1, 1, 2, 3, 3, 5, 8][rng.usize(0..7)];
    let bytes = match rng.u8(0..6) {
        0 => rng.u64(0..3),
        1 => rng.u64(0..5_000),
        _ => rng.u64(0..200_000),
    };
    let mut scenario = Scenario::new(seed, receivers, bytes);
    scenario.symbol_size = [64, 100, 256, 1_428][rng.usize(0..4)];
    scenario.block_symbols = [1, 2, 7, 32, 88, 255][rng.usize(0..6)];
    scenario.window = rng.usize(2..40);
    scenario.batch = rng.usize(1..45);
    scenario.trunk = link(&mut rng);
    scenario.trunk.rate = Some(Rate::from_bits_per_second(rng.u64(1_000_000..2_000_000_000)));
    scenario.trunk.queue = rng.usize(20_000..300_000);
    scenario.trunk_back = link(&mut rng);
    if rng.u8(0..4) == 0 {
        scenario.rate = Some(Rate::from_bits_per_second(rng.u64(1_000_000..500_000_000)));
    }
    if rng.u8(0..8) == 0 {
        scenario.source.trickle = Some((rng.u64(1..3_000), ms(rng.u64(1..400))));
        scenario.source.bytes = bytes.min(20_000);
    }
    scenario.garbage = if rng.u8(0..8) == 0 { 100 } else { 0 };
    let trouble = rng.bool();
    if trouble && rng.u8(0..6) == 0 {
        scenario.source.fails_after = Some(rng.u64(0..=bytes));
    }
    let moment = |rng: &mut fastrand::Rng| Duration::from_micros(rng.u64(0..200_000));
    if trouble && rng.u8(0..8) == 0 {
        scenario.sender_killed = Some(moment(&mut rng));
    }
    if trouble && rng.u8(0..8) == 0 {
        scenario.sender_stopped = Some(moment(&mut rng));
    }
    if trouble && rng.u8(0..4) == 0 {
        scenario.sender_pauses.push(span(&mut rng));
    }
    scenario.start_timeout = Some(Duration::from_secs(60));
    for receiver in &mut scenario.receivers {
        receiver.launched = if rng.u8(0..4) == 0 { moment(&mut rng) } else { Duration::ZERO };
        let block = (usize::from(scenario.symbol_size) + 44) * usize::from(scenario.block_symbols);
        receiver.buffer = block * rng.usize(2..30);
        receiver.socket_buffer = rng.usize(20_000..500_000);
        receiver.leaf = link(&mut rng);
        receiver.leaf_back = link(&mut rng);
        if rng.u8(0..5) == 0 {
            receiver.leaf.rate = Some(Rate::from_bits_per_second(rng.u64(5_000_000..500_000_000)));
            receiver.leaf.queue = rng.usize(30_000..2_000_000);
        }
        if rng.u8(0..4) == 0 {
            receiver.sink.per_block = Duration::from_micros(rng.u64(0..5_000));
        }
        if rng.u8(0..5) == 0 {
            receiver.sink.stalls.push(span(&mut rng));
        }
        if rng.u8(0..5) == 0 {
            receiver.sink.closing = ms(rng.u64(0..20_000));
        }
        if !trouble {
            continue;
        }
        match rng.u8(0..10) {
            0 => receiver.killed = Some(moment(&mut rng)),
            1 => receiver.stopped = Some(moment(&mut rng)),
            2 => receiver.sink.fails_after = Some(rng.u64(0..=bytes)),
            3 => receiver.deaf.push(span(&mut rng)),
            4 => receiver.mute.push(span(&mut rng)),
            5 => receiver.pauses.push(span(&mut rng)),
            _ => {}
        }
    }
    scenario
}

fn link(rng: &mut fastrand::Rng) -> LinkConfig {
    let mut link = LinkConfig { delay: Duration::from_micros(rng.u64(10..20_000)), ..LinkConfig::default() };
    match rng.u8(0..8) {
        0 => link.loss = Loss::Independent(0.3 * rng.f64()),
        1 => link.loss = Loss::Independent(0.02 * rng.f64()),
        2 => {
            // At most half of the time: ten signs of life in a peer timeout must not all be lost.
            let every = rng.u64(2..300);
            link.loss = Loss::Burst { every: ms(every), length: ms(rng.u64(1..=every / 2)) };
        }
        3 => link.jitter = Duration::from_micros(rng.u64(0..10_000)),
        4 => link.duplicate = 0.3 * rng.f64(),
        5 => link.corrupt = 0.05 * rng.f64(),
        _ => {}
    }
    link
}

fn span(rng: &mut fastrand::Rng) -> (Duration, Duration) {
    let from = rng.u64(0..200);
    let length = if rng.bool() { rng.u64(0..500) } else { rng.u64(0..15_000) };
    (ms(from), ms(from + length))
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
