//! How the machines of a simulation are configured.

use super::Scenario;
use crate::seal::{Accept, GroupKey, KEY_LEN, Seal, Secret};
use crate::session::{receiver, sender};
use crate::wire::{Label, Name, ReceiverId, SessionId};

pub(super) fn sender_config(scenario: &Scenario, session: SessionId, seed: u64) -> sender::Config {
    sender::Config {
        label: label("simulated"),
        name: None,
        session,
        seed,
        start: scenario.start.clone(),
        start_timeout: scenario.start_timeout,
        peer_timeout: scenario.peer_timeout,
        max_stall: scenario.max_stall,
        partial_ok: scenario.partial_ok,
        rate: scenario.rate,
        symbol_size: scenario.symbol_size,
        block_symbols: scenario.block_symbols,
        window: scenario.window,
        batch: scenario.batch,
        overhead: 28,
        seal: seal(scenario),
    }
}

pub(super) fn seal(scenario: &Scenario) -> Seal {
    group_key(scenario).map_or(Seal::Crc, Seal::Aead)
}

/// The key of all simulations that have one.
fn group_key(scenario: &Scenario) -> Option<GroupKey> {
    scenario.keyed.then(|| GroupKey::new(&Secret::new([0x6b; KEY_LEN])))
}

pub(super) fn receiver_config(scenario: &Scenario, index: usize) -> receiver::Config {
    let plan = &scenario.receivers[index];
    receiver::Config {
        id: ReceiverId(scenario.first_id + index as u64),
        name: name(&plan.name),
        expect: None,
        over: Vec::new(),
        repeats: false,
        seed: scenario.seed.wrapping_mul(31).wrapping_add(index as u64),
        start_timeout: plan.start_timeout.or(scenario.start_timeout),
        peer_timeout: plan.peer_timeout.unwrap_or(scenario.peer_timeout),
        buffer: plan.buffer,
        socket_buffer: plan.socket_buffer * 3 / 4,
        accept: group_key(scenario).map_or(Accept::Crc, |key| Accept::Aead(vec![key])),
    }
}

#[expect(clippy::expect_used, reason = "a scenario's names are the test author's")]
fn label(text: &str) -> Label {
    Label::new(text).expect("a label")
}

#[expect(clippy::expect_used, reason = "a scenario's names are the test author's")]
fn name(text: &str) -> Name {
    Name::new(text).expect("a receiver's name")
}
