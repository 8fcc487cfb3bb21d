//! The kernel's network as the protocol sees it: [`Network`] over the sockets of a sender or a receiver.

use std::net::SocketAddr;
use std::time::Duration;

use super::arrival::ArrivalClock;
use super::batch::{BatchSocket, Inbox, Received, SendError};
use super::clock::Clock;
use super::coalesce::Coalescing;
use super::drops::DropCounter;
use super::membership::GroupMembership;
use super::socket::{ReceiverSockets, SenderSockets, Venue};
use super::wake::Watch;
use super::{Arrivals, Error, Trouble};
use crate::session::{Destination, Endpoint, Landed, Network, Sent, Transmit};
use crate::time::Time;

/// Receive calls for each socket and turn, 32 batches of up to 64 KiB each.
const BATCHES_A_TURN: usize = 2;

/// What a full frame takes up in a socket buffer, in bytes: its own and the kernel's bookkeeping, about as much again.
const FULL_FRAME: usize = 3_072;

/// Datagrams in a batch from which on it is worth while to prepare a room for it.
const WORTH_A_ROOM: usize = 4;

/// What a socket has been through.
#[derive(Debug, Default)]
struct Troubles {
    /// Bytes of the present transmission that went out before the queue was full.
    partly_sent: usize,
    /// The last transient error has been told.
    told: bool,
    /// Warnings about transient errors so far.
    warnings: u32,
    /// The peer's host has said that nobody listens there.
    peer_gone: bool,
    /// The session cannot go on.
    fatal: Option<String>,
}

/// The network of a sender.
#[derive(Debug)]
pub struct SenderNetwork {
    sockets: SenderSockets,
    target: SocketAddr,
    inbox: Inbox,
    troubles: Troubles,
    membership: GroupMembership,
    /// For the socket for data and the one for the group.
    arrivals: [ArrivalClock; 2],
}

/// The network of a receiver.
#[derive(Debug)]
pub struct ReceiverNetwork {
    sockets: ReceiverSockets,
    sender: Option<SocketAddr>,
    inbox: Inbox,
    troubles: Troubles,
    unreachable: bool,
    coalescing: Coalescing,
    /// Datagrams that the last look into the group's socket brought.
    taken: usize,
    drops: DropCounter,
    /// They came in batches, so that it is worth while to say where the next ones belong.
    batched: bool,
    landed: Vec<Landed>,
    membership: GroupMembership,
    clock: Clock,
    arrivals: ArrivalClock,
}

impl SenderNetwork {
    /// The network that `sockets` of this venue reach. `peer_timeout` paces what keeps switches from forgetting the
    /// group; turns are taken at times of `clock`.
    pub fn new(venue: &Venue, sockets: SenderSockets, peer_timeout: Duration, clock: Clock) -> Self {
        Self {
            sockets,
            target: venue.target(),
            inbox: Inbox::new(),
            troubles: Troubles::default(),
            membership: GroupMembership::new(venue, peer_timeout),
            arrivals: [ArrivalClock::new(clock), ArrivalClock::new(clock)],
        }
    }

    /// Reminds switches, as long as other senders are listened to. To be called a few times a second.
    pub fn keep_membership(&mut self, now: Time) {
        if let Some(listen) = &self.sockets.listen {
            self.membership.keep(listen, now, None);
        }
    }

    /// The last datagram could not be sent.
    pub const fn is_troubled(&self) -> bool {
        self.troubles.told
    }

    /// Goes on at another venue.
    ///
    /// # Errors
    /// When the system refuses; then nothing has changed.
    pub fn move_to(&mut self, venue: &Venue, ttl: u8) -> Result<(), Error> {
        self.sockets.move_to(venue, ttl)?;
        self.target = venue.target();
        self.membership.move_to(venue);
        Ok(())
    }

    /// From here on, nobody needs to know of other senders: the group is left, and what this host sends to it is no
    /// longer handed back.
    pub fn stop_listening(&mut self) {
        self.sockets.listen = None;
    }

    /// Why the session cannot go on, if so.
    pub fn fatal(&mut self) -> Option<String> {
        self.troubles.fatal.take()
    }

    /// What to wait for.
    pub fn watches(&self, writable: bool) -> [Watch<'_>; 2] {
        let data = &self.sockets.data;
        let first = if writable { Watch::writable_too(data) } else { Watch::readable(data) };
        [first, Watch::readable(self.sockets.listen.as_ref().unwrap_or(data))]
    }
}

impl ReceiverNetwork {
    /// The network that `sockets` reach. `peer_timeout` paces what keeps switches from forgetting the group; turns are
    /// taken at times of `clock`.
    pub fn new(sockets: ReceiverSockets, peer_timeout: Duration, clock: Clock) -> Self {
        let membership = GroupMembership::new(&sockets.venue, peer_timeout);
        let coalescing = Coalescing::new(sockets.group.receive_buffer() / FULL_FRAME);
        Self {
            sockets,
            sender: None,
            inbox: Inbox::new(),
            troubles: Troubles::default(),
            unreachable: false,
            coalescing,
            taken: 0,
            drops: DropCounter::default(),
            batched: false,
            landed: Vec::new(),
            membership,
            clock,
            arrivals: ArrivalClock::new(clock),
        }
    }

    /// Why the session cannot go on, if so.
    pub fn fatal(&mut self) -> Option<String> {
        self.troubles.fatal.take()
    }

    /// The last datagram could not be sent.
    pub const fn is_troubled(&self) -> bool {
        self.troubles.told
    }

    /// Goes on with the sockets of another venue, made as the present ones were.
    ///
    /// # Errors
    /// When the system refuses; then nothing has changed.
    pub fn move_to(&mut self, venue: &Venue) -> Result<(), Error> {
        self.sockets = self.sockets.at(venue)?;
        self.membership.move_to(venue);
        self.drops.begin_again();
        (self.sender, self.batched) = (None, false);
        Ok(())
    }

    /// Whether the sender's host has said since the last call that nobody listens there.
    pub fn take_unreachable(&mut self) -> bool {
        std::mem::take(&mut self.unreachable)
    }

    /// Bytes that the kernel keeps until they are read.
    pub fn receive_buffer(&self) -> usize {
        self.sockets.group.receive_buffer()
    }

    /// Datagrams that arrived and found the socket buffer full; see [`DropCounter::read`].
    pub fn dropped(&mut self) -> u64 {
        self.drops.read(&self.sockets.group, &self.clock)
    }

    fn receive_from_group<E: Endpoint>(&mut self, now: Time, endpoint: &mut E) -> std::io::Result<Received> {
        let (group, arrivals) = (&self.sockets.group, self.arrivals.turn(now));
        if self.batched {
            let rooms = endpoint.landing();
            if !rooms.is_empty() {
                let received = group.receive_batches(rooms, &arrivals, &mut self.landed)?;
                endpoint.handle_landed(now, &self.landed);
                return Ok(received);
            }
        }
        let sink = |origin, datagram: &mut [u8]| endpoint.handle_datagram(now, origin, datagram);
        group.receive(&mut self.inbox, BATCHES_A_TURN, &arrivals, sink)
    }

    /// Reminds switches that this host is a member, at once where the sender has fallen silent. To be called
    /// a few times a second.
    pub fn keep_membership(&mut self, now: Time, silence: Option<Duration>) {
        self.membership.keep(&self.sockets.group, now, silence);
    }

    /// How long to leave the group's socket alone, now that there is nothing else to do.
    pub fn pause(&mut self, now: Time) -> Duration {
        self.coalescing.pause(now, std::mem::take(&mut self.taken))
    }

    /// What to wait for, in a pause or without one.
    pub fn watches(&self, pausing: bool) -> [Watch<'_>; 2] {
        let group = &self.sockets.group;
        let first = if pausing { Watch::resting(group) } else { Watch::readable(group) };
        let peer = self.sockets.peer.as_ref().filter(|_| self.sockets.heeds_refusals);
        [first, peer.map_or(first, Watch::readable)]
    }
}

impl Network for SenderNetwork {
    fn receive<E: Endpoint>(&mut self, now: Time, endpoint: &mut E) -> bool {
        let mut more = false;
        let sockets = [Some(&self.sockets.data), self.sockets.listen.as_ref()];
        for (socket, arrivals) in sockets.into_iter().zip(&mut self.arrivals) {
            let Some(socket) = socket else { continue };
            let sink = |origin, datagram: &mut [u8]| endpoint.handle_datagram(now, origin, datagram);
            match socket.receive(&mut self.inbox, BATCHES_A_TURN, &arrivals.turn(now), sink) {
                Ok(received) if received.more => more = true,
                Ok(_) => arrivals.note_empty(now),
                Err(error) => self.troubles.note_receive(&error),
            }
        }
        more
    }

    fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
        let data = &self.sockets.data;
        match transmit.to {
            Destination::Group => self.troubles.send(data, self.target, transmit),
            Destination::Peer(peer) | Destination::Outsider(peer) => {
                self.troubles.send_to_peer(data, peer, transmit, Told::Debug)
            }
        }
    }
}

impl Network for ReceiverNetwork {
    fn receive<E: Endpoint>(&mut self, now: Time, endpoint: &mut E) -> bool {
        let mut more = false;
        match self.receive_from_group(now, endpoint) {
            Ok(received) => {
                more = received.more;
                if !more {
                    self.arrivals.note_empty(now);
                }
                self.taken += received.datagrams;
                if received.messages > 0 {
                    self.batched = received.datagrams >= received.messages * WORTH_A_ROOM;
                }
            }
            Err(error) => self.troubles.note_receive(&error),
        }
        if let Some(peer) = self.sockets.peer.as_ref().filter(|_| self.sockets.heeds_refusals) {
            // The sender speaks to the group only; what comes here is the kernel's word that it is gone.
            match peer.receive(&mut self.inbox, 1, &Arrivals::just(now), |_, _| ()) {
                Ok(_) => {}
                Err(error) if Trouble::of(&error) == Trouble::PeerGone => self.unreachable = true,
                Err(error) => self.troubles.note_receive(&error),
            }
        }
        more
    }

    fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
        let sender = match transmit.to {
            Destination::Peer(sender) => sender,
            Destination::Group => {
                self.seek(self.sockets.target(), transmit);
                return Sent::Done;
            }
            Destination::Outsider(address) => {
                self.seek(address, transmit);
                return Sent::Done;
            }
        };
        if self.sender != Some(sender) {
            match self.sockets.connect(sender) {
                Ok(_) => self.sender = Some(sender),
                Err(error) => {
                    self.troubles.warn(&error);
                    return Sent::Done;
                }
            }
        }
        let Some(peer) = &self.sockets.peer else { return Sent::Done };
        let sent = self.troubles.send_to_peer(peer, sender, transmit, Told::Warn);
        self.unreachable |= std::mem::take(&mut self.troubles.peer_gone);
        sent
    }
}

impl ReceiverNetwork {
    /// Sends a seek, to the group or to one host. It helps, and nothing depends on it: what cannot be sent is as good as
    /// lost.
    fn seek(&mut self, target: SocketAddr, transmit: &Transmit<'_>) {
        let open = if self.sockets.seek.is_some() { Ok(()) } else { self.sockets.seek().map(drop) };
        let sent = open.map_err(|error| error.to_string()).and_then(|()| match &self.sockets.seek {
            Some(socket) => {
                socket.send(target, transmit.contents, transmit.segment).map_err(|error| error.to_string())
            }
            None => Ok(()),
        });
        if let Err(error) = sent {
            tracing::debug!("cannot look for a sender: {error}");
        }
    }
}

/// The level at which an error of sending to one peer is logged. A stranger may choose the peers of a sender, but the peer of
/// a receiver is its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Debug,
    Warn,
}

impl Troubles {
    /// Number of warnings about transient errors in a session. Those that follow are logged at debug level. A stranger can cause
    /// as many as he likes.
    const MOST_WARNINGS: u32 = 8;

    fn send(&mut self, socket: &BatchSocket, to: SocketAddr, transmit: &Transmit<'_>) -> Sent {
        let rest = transmit.contents.get(self.partly_sent..).unwrap_or_default();
        match socket.send(to, rest, transmit.segment) {
            Err(error) if error.trouble == Trouble::WouldBlock => return self.blocked(&error),
            Ok(()) => self.told = false,
            Err(error) => self.note_send(error),
        }
        self.partly_sent = 0;
        Sent::Done
    }

    /// Sends to one peer. An error does not end the session.
    fn send_to_peer(
        &mut self,
        socket: &BatchSocket,
        peer: SocketAddr,
        transmit: &Transmit<'_>,
        told: Told,
    ) -> Sent {
        let rest = transmit.contents.get(self.partly_sent..).unwrap_or_default();
        match socket.send_to_peer(peer, rest, transmit.segment) {
            Err(error) if error.trouble == Trouble::WouldBlock => return self.blocked(&error),
            Ok(()) if told == Told::Warn => self.told = false,
            Ok(()) => {}
            Err(SendError { trouble: Trouble::PeerGone, .. }) => self.peer_gone = true,
            Err(error) if told == Told::Warn => self.warn(&error),
            Err(error) => tracing::debug!(%peer, "{error}"),
        }
        self.partly_sent = 0;
        Sent::Done
    }

    /// Remembers what went out of a transmission, which is offered again whole.
    fn blocked(&mut self, error: &SendError) -> Sent {
        self.partly_sent += error.sent;
        Sent::Blocked
    }

    fn note_send(&mut self, error: SendError) {
        match error.trouble {
            Trouble::TooBig | Trouble::Fatal => self.fatal = Some(error.to_string()),
            // As good as lost on the way: repaired once the link is back, or the peer timeout decides.
            Trouble::WouldBlock | Trouble::PeerGone | Trouble::Transient => self.warn(&error),
        }
    }

    fn note_receive(&mut self, error: &std::io::Error) {
        match Trouble::of_receiving(error) {
            Trouble::WouldBlock | Trouble::PeerGone => {}
            Trouble::TooBig | Trouble::Transient => tracing::debug!("cannot receive: {error}"),
            Trouble::Fatal => self.fatal = Some(format!("cannot receive: {error}")),
        }
    }

    /// Tells a transient error once until something has been sent, and not for ever.
    fn warn(&mut self, error: &dyn std::fmt::Display) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if self.warnings >= Self::MOST_WARNINGS {
            tracing::debug!("{error}");
            return;
        }
        self.warnings += 1;
        tracing::warn!("{error}");
    }
}
