//! The protocol: a sender and a receiver as state machines.
//!
//! Nothing here opens a socket, reads a clock, starts a thread or draws randomness that was not handed in. A machine is
//! given datagrams and the time, and gives back datagrams, a deadline and stream blocks. [`turn()`] drives either machine
//! over anything that implements [`Network`]: kernel sockets ([`crate::net`]) or the simulator ([`crate::sim`]).
//!
//! - [`Sender`]: empty blocks come from [`Sender::poll_buffer`] while the window has room, go back full with
//!   [`Sender::push_block`], and are used again once every receiver has them.
//! - [`Receiver`]: complete blocks come out in order of [`Receiver::poll_block`], their buffers go back with
//!   [`Receiver::handle_consumed`] once the sink has taken them.

mod asking;
mod ceiling;
mod digest;
mod grtt;
mod lines;
pub mod names;
mod number_window;
mod pacer;
pub mod receiver;
pub mod sender;
mod stats;
mod strangers;
mod turn;

use std::net::SocketAddr;
use std::time::Duration;

pub use ceiling::REPORTS_PER_SECOND;
pub use digest::{StreamDigest, StreamEnd};
pub use pacer::Rate;
pub use receiver::Receiver;
pub use sender::Sender;
pub use stats::{Limiter, WireStats};
pub use turn::{Network, Sent, Wake, turn};

use crate::fec::Layout;
use crate::seal::{Seal, TRAILER_LEN};
use crate::time::Time;
use crate::wire::{BlockNumber, DatagramNumber, SYMBOL_HEADER_LEN};

/// Where the counters of a session begin. In every real one that is zero; a simulation may begin just below the numbers at
/// which narrower counters would wrap, which a real session takes days to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Number of the sender's first datagram.
    pub datagram: DatagramNumber,
    /// Number of the first coding block.
    pub block: BlockNumber,
}

/// Datagrams to send: `contents` is cut every `segment` bytes, only the last piece may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Where to.
    pub to: Destination,
    /// One datagram after the other, in the shape of a GSO batch.
    pub contents: &'a [u8],
    /// Bytes in each datagram but the last.
    pub segment: usize,
}

impl<'a> Transmit<'a> {
    /// The datagrams one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.contents.chunks(self.segment.max(1))
    }
}

/// Where a transmission goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Everyone who listens to the group.
    Group,
    /// One party.
    Peer(SocketAddr),
    /// A host that is no party of the session, and may not exist. A datagram that cannot be sent there counts as lost.
    Outsider(SocketAddr),
}

/// Where datagrams came from, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who sent them.
    pub address: SocketAddr,
    /// When this host had them: no later than they are handed over, and earlier where the process was late to look.
    pub arrived: Time,
}

impl Origin {
    /// What `address` sent has arrived as it is handed over.
    pub const fn just(now: Time, address: SocketAddr) -> Self {
        Self { address, arrived: now }
    }
}

/// Datagrams of one origin that arrived as a batch, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Landed {
    /// The number of their room, among those that were offered, from 0.
    pub room: usize,
    /// Where from, and when.
    pub origin: Origin,
    /// Bytes in all.
    pub len: usize,
    /// Bytes in each datagram but the last, which may be shorter.
    pub segment: usize,
}

/// Datagrams of `stride` bytes that the kernel hands over, or takes, in one piece: as many as fit into the largest UDP
/// payload over IPv4, and no more segments than every kernel with GSO and GRO allows.
pub const fn batch_of(stride: usize) -> usize {
    let fit = LARGEST_BATCH / if stride == 0 { 1 } else { stride };
    if fit < 1 {
        1
    } else if fit > MOST_SEGMENTS {
        MOST_SEGMENTS
    } else {
        fit
    }
}

/// UDP payload in one GSO batch over IPv4.
const LARGEST_BATCH: usize = 65_507;
/// `UDP_GRO_CNT_MAX` and the older `UDP_MAX_SEGMENTS` of Linux.
const MOST_SEGMENTS: usize = 64;

/// What [`turn()`] asks of a state machine. The guarantee: whatever bytes are handed in, and however late, no panic.
pub trait Endpoint {
    /// A datagram arrived. It may be opened where it lies.
    fn handle_datagram(&mut self, now: Time, origin: Origin, datagram: &mut [u8]);

    /// Where the batches of datagrams that come next will probably belong, in order; none is fine. Each room holds the
    /// largest batch of this session. A network that reads one batch into each, from the first on, says so by
    /// [`Endpoint::handle_landed`] before it calls anything else.
    fn landing(&mut self) -> Vec<&mut [u8]> {
        Vec::new()
    }

    /// Batches have landed in the rooms that [`Endpoint::landing`] gave, one in each.
    fn handle_landed(&mut self, _now: Time, _batches: &[Landed]) {}

    /// Time has passed. May be called at any time; must be called once `poll_timeout` has been reached.
    fn handle_timeout(&mut self, now: Time);

    /// What to send next. The same transmission is returned until [`Endpoint::handle_transmitted`] is called, so that
    /// a network that has no room can be offered it again.
    fn poll_transmit(&mut self, now: Time) -> Option<Transmit<'_>>;

    /// The transmission that `poll_transmit` returned last has been sent.
    fn handle_transmitted(&mut self, now: Time);

    /// When the machine wants to be called again though nothing arrived. Asked last in a turn, so that a machine can
    /// tell from it by how much it was called too late.
    fn poll_timeout(&mut self) -> Option<Time>;
}

/// How the symbols of a session lie in a block, so that in plain mode a range of them is a batch of datagrams.
pub fn layout(symbol_size: u16) -> Layout {
    Layout { symbol_size: usize::from(symbol_size), head: SYMBOL_HEADER_LEN, tail: TRAILER_LEN }
}

/// The same with the trailer that the seal in use has, as batches of symbols arrive.
fn wire_layout(symbol_size: u16, seal: &Seal) -> Layout {
    Layout { tail: seal.trailer_len(), ..layout(symbol_size) }
}

/// Bytes of UDP payload that carry a full symbol.
fn symbol_datagram(symbol_size: u16, seal: &Seal) -> usize {
    SYMBOL_HEADER_LEN + usize::from(symbol_size) + seal.trailer_len()
}

/// Bytes of UDP payload in any other datagram, at most: what IPv6's smallest MTU leaves, so that control gets through
/// where large frames do not.
const CONTROL: usize = 1_232;

/// Receivers in one session, at most.
pub const MAX_RECEIVERS: usize = 4_096;

/// Tells when this process was stopped or starved: then it was not others that fell silent.
#[derive(Debug)]
struct PauseWatch {
    /// When the machine was called last.
    called: Time,
    /// When it then wanted to be called; at once if it did not say.
    alarm: Time,
}

impl PauseWatch {
    /// Being called this much later than asked for is no accident.
    const PAUSE: Duration = Duration::from_millis(500);

    const fn new(now: Time) -> Self {
        Self { called: now, alarm: Time::NEVER }
    }

    /// The machine is told that it is `now`. Returns for how long the process was paused, if so.
    ///
    /// What became due because of something that happened only now is not late.
    fn handle_call(&mut self, now: Time) -> Option<Duration> {
        let called = std::mem::replace(&mut self.called, now);
        let late = now.since(std::mem::replace(&mut self.alarm, now).max(called));
        (late > Self::PAUSE).then(|| {
            tracing::debug!(pause = ?late, "this process was paused; silence of that time is forgiven");
            late
        })
    }

    /// The machine asks to be called then.
    fn set_alarm(&mut self, at: Option<Time>) {
        self.alarm = at.unwrap_or(Time::NEVER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Time {
        Time::from_nanos(n * 1_000_000)
    }

    #[test]
    fn only_a_machine_that_is_called_later_than_it_asked_for_was_paused() {
        let mut watch = PauseWatch::new(ms(0));
        // Nothing was due; then something had been due long before it was asked for.
        assert_eq!(watch.handle_call(ms(60_000)), None);
        watch.set_alarm(Some(Time::ZERO));
        assert_eq!(watch.handle_call(ms(60_400)), None);
        watch.set_alarm(Some(ms(61_000)));
        assert_eq!(watch.handle_call(ms(61_400)), None);
        // Who does not say when to be called wants to be called at once.
        assert_eq!(watch.handle_call(ms(62_000)), Some(Duration::from_millis(600)));
        watch.set_alarm(None);
        assert_eq!(watch.handle_call(ms(600_000)), None);
        watch.set_alarm(Some(ms(601_000)));
        assert_eq!(watch.handle_call(ms(631_000)), Some(Duration::from_secs(30)));
    }
}
