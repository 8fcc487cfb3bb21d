//! What a sender is told before it begins.

use std::time::Duration;

use super::StartRules;
use crate::seal::Seal;
use crate::session::Rate;
use crate::wire::{Label, Name, SessionId};

/// What a sender is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the stream.
    pub label: Label,
    /// Name of this sender in its announces; `None`: receivers know it by its address only.
    pub name: Option<Name>,
    /// 128 random bits.
    pub session: SessionId,
    /// For jitter.
    pub seed: u64,
    /// When to start.
    pub start: StartRules,
    /// Time after launch at which to give up waiting for the start; `None`: never.
    pub start_timeout: Option<Duration>,
    /// Silence after which a receiver counts as lost.
    pub peer_timeout: Duration,
    /// Time without a byte taken after which a living receiver that holds up the session is evicted; `None`: never.
    pub max_stall: Option<Duration>,
    /// Success although a receiver failed, as long as one succeeded.
    pub partial_ok: bool,
    /// Upper bound; `None`: what the network takes.
    pub rate: Option<Rate>,
    /// Bytes of stream in a source symbol.
    pub symbol_size: u16,
    /// Source symbols in a full coding block, 1 to 255.
    pub block_symbols: u8,
    /// Blocks that exist at the same time: being filled, under way, or not yet had by every receiver.
    pub window: usize,
    /// Datagrams in one transmission, at most.
    pub batch: usize,
    /// Bytes of IP and UDP headers around each datagram, which count for the rate.
    pub overhead: u32,
    /// How everything is sealed, both ways.
    pub seal: Seal,
}
