//! What a receiver is told before it begins.

use std::time::Duration;

use crate::seal::Accept;
use crate::wire::{Label, Name, ReceiverId, SessionId};

/// What a receiver is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// 64 random bits.
    pub id: ReceiverId,
    /// How the sender's report is to call it.
    pub name: Name,
    /// The only label that is accepted; `None`: any.
    pub expect: Option<Label>,
    /// Sessions that are not joined: what this receiver has to do with them is over.
    pub over: Vec<SessionId>,
    /// The receiver takes part in sessions until it is stopped: one that is aborted before it has admitted this receiver
    /// does not end it.
    pub repeats: bool,
    /// For jitter.
    pub seed: u64,
    /// Time after launch at which to give up waiting for a session to start; `None`: never.
    pub start_timeout: Option<Duration>,
    /// Silence after which the sender counts as lost.
    pub peer_timeout: Duration,
    /// Bytes for blocks that the sink has not taken.
    pub buffer: usize,
    /// Bytes of datagrams that the socket buffer holds.
    pub socket_buffer: usize,
    /// How what is believed must be sealed.
    pub accept: Accept,
}
