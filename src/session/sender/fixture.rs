//! The configuration with which the unit tests of the sender begin.

use std::time::Duration;

use super::{Config, StartRules};
use crate::seal::Seal;
use crate::wire::{Label, SessionId};

/// The configuration of a sender whose session starts with so many receivers.
pub(super) fn test_config(receivers: u32) -> Config {
    let start = StartRules {
        min_receivers: receivers,
        max_receivers: Some(receivers),
        require: Vec::new(),
        expect: Vec::new(),
        min_wait: Duration::ZERO,
        max_wait: None,
    };
    Config {
        label: Label::new("x").unwrap(),
        name: None,
        session: SessionId([0; 16]),
        seed: 0,
        start,
        start_timeout: None,
        peer_timeout: Duration::from_secs(10),
        max_stall: None,
        partial_ok: false,
        rate: None,
        symbol_size: 64,
        block_symbols: 8,
        window: 4,
        batch: 8,
        overhead: 28,
        seal: Seal::Crc,
    }
}
