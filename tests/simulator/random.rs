//! Thousands of sessions in which everything that can go wrong may go wrong, each decided by its seed.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::{Hostile, LinkConfig, Loss, Scenario, seeds};
use mcast::wire::{Announce, HEADER_LEN, Kind};

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

/// The same with what is rarer: crowds, start rules, impatience, tiny buffers, narrow paths, and liars. All must end, and
/// nobody may exit 0 without every byte.
#[test]
fn whatever_anybody_says_every_session_ends() {
    for seed in seeds(SESSIONS / 2) {
        let played = std::panic::catch_unwind(|| rare_scenario(seed).run());
        let history = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        let scenario = rare_scenario(seed);
        if is_survivable(&scenario) {
            assert_eq!(history.sender, Some(Exit::Complete), "seed {seed}: {:?}", history.sender_error);
        }
    }
}

/// Nobody dies, fails or lies in it, and all are patient: then everybody must succeed.
pub(crate) fn is_survivable(scenario: &Scenario) -> bool {
    let calm = Duration::from_secs(8);
    scenario.hostile.is_empty()
        && scenario.peer_timeout >= calm
        && scenario
            .receivers
            .iter()
            .all(|receiver| receiver.peer_timeout.is_none_or(|timeout| timeout >= calm))
        && scenario.start.max_receivers.is_none()
        && scenario.start.max_wait.is_none()
        && scenario.start.min_receivers as usize == scenario.receivers.len()
        && scenario
            .receivers
            .iter()
            .all(|receiver| receiver.leaf.max_size.min(receiver.leaf_back.max_size) == usize::MAX)
        && scenario.sender_killed.is_none()
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

pub(crate) fn random_scenario(seed: u64) -> Scenario {
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
        let portion = rng.u64(1..3_000);
        scenario.source.trickle = Some((portion, ms(rng.u64(1..400))));
        // Over in twenty minutes at most.
        scenario.source.bytes = bytes.min(20_000).min(portion * 3_000);
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
    for (receiver, hours) in scenario.receivers.iter_mut().zip(0..) {
        receiver.clock = Duration::from_secs(hours * 3_600);
        receiver.launched = if rng.u8(0..4) == 0 { moment(&mut rng) } else { Duration::ZERO };
        let block = (usize::from(scenario.symbol_size) + 56) * usize::from(scenario.block_symbols);
        // The smallest block counts for 512 bytes of the buffer.
        receiver.buffer = block.max(512) * rng.usize(2..30);
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

pub(crate) fn rare_scenario(seed: u64) -> Scenario {
    let mut scenario = random_scenario(seed ^ 0xA77A_C000_0000);
    scenario.seed = seed;
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xBAD_5EED);
    if rng.u8(0..8) == 0 {
        let names = scenario.receivers.len()..rng.usize(9..=30);
        scenario.receivers.extend(names.map(mcast::sim::ReceiverPlan::new));
        scenario.source.bytes = scenario.source.bytes.min(60_000);
        scenario.start.min_receivers = scenario.receivers.len() as u32;
    }
    let receivers = scenario.receivers.len() as u32;
    let timeout = |rng: &mut fastrand::Rng| match rng.u8(0..3) {
        0 => ms(500),
        1 => ms(rng.u64(500..20_000)),
        _ => Duration::from_secs(rng.u64(10..120)),
    };
    if rng.bool() {
        scenario.peer_timeout = timeout(&mut rng);
    }
    if rng.u8(0..3) == 0 {
        scenario.window = rng.usize(2..4);
    }
    match rng.u8(0..6) {
        0 => scenario.start.min_receivers = rng.u32(0..=receivers + 1),
        1 => scenario.start.max_receivers = Some(rng.u32(1..=receivers + 1)),
        2 => scenario.start.max_wait = Some(ms(rng.u64(0..3_000))),
        3 => {
            scenario.start.require = vec![format!("r{}", rng.u32(0..receivers + 1))];
            scenario.start.max_receivers = Some(rng.u32(1..=receivers));
        }
        _ => {}
    }
    if rng.u8(0..4) == 0 {
        scenario.start.min_wait = ms(rng.u64(0..2_000));
    }
    scenario.partial_ok = rng.u8(0..4) == 0;
    scenario.max_stall = (rng.u8(0..4) == 0).then(|| Duration::from_secs(rng.u64(1..10)));
    for receiver in &mut scenario.receivers {
        if rng.u8(0..3) == 0 {
            receiver.peer_timeout = Some(timeout(&mut rng));
        }
        if rng.u8(0..3) == 0 {
            // Credit is two datagrams at least, so a buffer holds three.
            receiver.socket_buffer = rng.usize(5_000..30_000);
        }
        match rng.u8(0..24) {
            0 => receiver.leaf.max_size = rng.usize(100..1_500),
            1 => receiver.leaf_back.max_size = rng.usize(100..200),
            _ => {}
        }
    }
    if rng.bool() {
        scenario.hostile = (0..rng.usize(1..60)).map(|_| lie(&mut rng, receivers as usize)).collect();
    }
    scenario
}

/// A datagram of the session whose numbers are what hurts most.
fn lie(rng: &mut fastrand::Rng, receivers: usize) -> Hostile {
    let kind = Kind::ALL[rng.usize(..Kind::ALL.len())];
    let mut content = vec![0; HEADER_LEN];
    (content[0], content[1]) = (mcast::wire::VERSION, kind as u8);
    content[18..26].copy_from_slice(&number(rng).to_be_bytes());
    // Fields one after the other, each nothing, everything or something near what is true.
    let fields: &[usize] = match kind {
        Kind::Announce => &[1, 1, 2, 4, 4, 4, 4, 4, 8],
        Kind::Source | Kind::Repair => &[1, 1, 4, 8],
        Kind::KeepAlive => &[8, 8, 4, 4],
        Kind::End => &[8, 8, 4, 4, 8, 1, 32],
        Kind::Roster => &[2, 8, 1],
        Kind::Abort => &[1, 1],
        Kind::Join => &[8, 4, 4, 4],
        Kind::Report => &[8, 8, 8, 8, 4, 8, 8, 8, 4, 4, 8, 8, 4, 2, 4, 1, 1],
        Kind::Confirm => &[8, 1, 1, 8, 8, 8, 8, 4],
        Kind::Leave => &[8, 1, 8, 8, 8, 8, 4, 1],
        Kind::Seek => &[8],
    };
    let speaks_for = rng.usize(0..receivers);
    for (place, length) in fields.iter().enumerate() {
        let value = match (kind, place) {
            (Kind::Source | Kind::Repair, 0) | (Kind::Leave, 7) => 0,
            (Kind::Roster, 0) | (Kind::Report, 13) | (Kind::End, 5) => 1,
            (Kind::Report, 16) | (Kind::Abort, 1) => 0,
            (Kind::Join | Kind::Report | Kind::Confirm | Kind::Leave | Kind::Seek, 0) | (Kind::Roster, 1) => {
                0x1000 + speaks_for as u64
            }
            (Kind::Source | Kind::Repair, 2) => rng.u64(1..2_000),
            (Kind::Confirm, 1) | (Kind::Roster, 2) | (Kind::Abort, 0) => rng.u64(1..5),
            _ => number(rng),
        };
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&value.to_be_bytes());
        content.extend_from_slice(&bytes[32 - length..]);
    }
    match kind {
        Kind::Announce => {
            content.extend_from_slice(b"\x09simulated");
            content.resize(Announce::LEN, 0);
        }
        Kind::Seek => {
            content.extend_from_slice(b"\x04liar");
            content.resize(Announce::LEN, 0);
        }
        Kind::Join => content.extend_from_slice(b"\x04liar"),
        Kind::Source | Kind::Repair => content.resize(content.len() + rng.usize(1..1_500), 7),
        _ => {}
    }
    let to = if kind as u8 >= 16 { 0 } else { rng.usize(1..=receivers) };
    let from = match rng.u8(0..4) {
        0 => None,
        _ if to == 0 => Some(speaks_for + 1),
        _ => Some(0),
    };
    Hostile { at: Duration::from_micros(rng.u64(0..400_000)), to, from, content }
}

fn number(rng: &mut fastrand::Rng) -> u64 {
    match rng.u8(0..8) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - rng.u64(0..300),
        3 => rng.u64(..),
        4 => u64::from(u32::MAX),
        _ => rng.u64(0..100),
    }
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
