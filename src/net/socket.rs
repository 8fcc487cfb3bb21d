//! The sockets of a session: which address each is bound to, and what it lets through.
//!
//! ```text
//! sender    data     interface:PORT ──▶ group:PORT     announce, symbols, end …; hears the receivers' answers
//!           listen   group:PORT                        hears other senders before the start
//! receiver  group    group:PORT                        hears the sender
//!           peer     interface:0 ◀──▶ sender:PORT      answers, connected, so that a dead sender is refused at once
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use super::Error;
use super::batch::BatchSocket;
use super::interface::Interface;

/// Where on the network a session takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venue {
    /// The interface that everything goes through.
    pub interface: Interface,
    /// The group or the broadcast address.
    pub destination: IpAddr,
    /// UDP port of the group, and of the sender.
    pub port: u16,
    /// `destination` is the interface's broadcast address.
    pub broadcast: bool,
}

impl Venue {
    /// Chooses the interface and, for broadcast, its address. `wanted` is a name or an address; `group` is a multicast
    /// address, of which broadcast uses the route only.
    ///
    /// # Errors
    /// When no interface fits, or it has no broadcast address where one is needed.
    pub fn choose(wanted: Option<&str>, group: IpAddr, port: u16, broadcast: bool) -> Result<Self, Error> {
        let interface = Interface::choose(wanted, group)?;
        let destination = if broadcast {
            let address = interface.broadcast;
            IpAddr::V4(address.ok_or_else(|| Error::NoBroadcast { name: interface.name.clone() })?)
        } else if interface.multicast || interface.loopback {
            group
        } else {
            return Err(Error::NoMulticast { name: interface.name.clone() });
        };
        Ok(Self { interface, destination, port, broadcast })
    }

    /// Where datagrams to all receivers go.
    pub fn target(&self) -> SocketAddr {
        self.interface.scoped(self.destination, self.port)
    }

    /// The sender's own address where this host is the sender.
    pub fn own(&self) -> SocketAddr {
        self.interface.scoped(self.interface.address, self.port)
    }
}

/// The sender's sockets.
#[derive(Debug)]
pub struct SenderSockets {
    /// Sends to the group, hears the receivers.
    pub data: BatchSocket,
    /// Hears other senders on the group, and this one; `None` once nobody needs to know any more.
    pub listen: Option<BatchSocket>,
}

impl SenderSockets {
    /// Binds both. `ttl` is the number of hops, 1–255.
    ///
    /// # Errors
    /// When an address is in use or the system refuses.
    pub fn open(venue: &Venue, ttl: u8) -> Result<Self, Error> {
        let socket = new_socket(venue)?;
        bind(&socket, venue.own())?;
        set_sending(&socket, venue, ttl)
            .map_err(Error::system(format!("cannot send through interface {}", venue.interface.name)))?;
        let data = finish(socket, venue.own())?;
        data.warn_of_small_buffer();
        Ok(Self { data, listen: Some(group_socket(venue)?) })
    }
}

/// A receiver's sockets.
#[derive(Debug)]
pub struct ReceiverSockets {
    /// Hears the sender.
    pub group: BatchSocket,
    /// Answers the sender, once it is known.
    pub peer: Option<BatchSocket>,
    venue: Venue,
    ttl: Option<u8>,
}

impl ReceiverSockets {
    /// Joins the group. `ttl` is the number of hops that answers may take; `None`: the system's default.
    ///
    /// # Errors
    /// When the port is in use or the system refuses.
    pub fn open(venue: &Venue, ttl: Option<u8>) -> Result<Self, Error> {
        let group = group_socket(venue)?;
        group.warn_of_small_buffer();
        Ok(Self { group, peer: None, venue: venue.clone(), ttl })
    }

    /// Turns to this sender, away from any other.
    ///
    /// # Errors
    /// When there is no way to that address or the system refuses.
    pub fn connect(&mut self, sender: SocketAddr) -> Result<&BatchSocket, Error> {
        let socket = new_socket(&self.venue)?;
        let local = self.venue.interface.scoped(self.venue.interface.address, 0);
        bind(&socket, local)?;
        let ready = match self.ttl {
            Some(ttl) if local.is_ipv4() => socket.set_ttl_v4(ttl.into()),
            Some(ttl) => socket.set_unicast_hops_v6(ttl.into()),
            None => Ok(()),
        };
        ready
            .and_then(|()| socket.connect(&SockAddr::from(sender)))
            .map_err(Error::system(format!("cannot reach the sender at {sender}")))?;
        Ok(self.peer.insert(finish(socket, local)?))
    }
}

/// A socket that hears what is sent to the group (or to the broadcast address) on the interface, and nothing else.
fn group_socket(venue: &Venue) -> Result<BatchSocket, Error> {
    let socket = new_socket(venue)?;
    let target = venue.target();
    // Several receivers may run on one host; each gets its own copy. SO_REUSEPORT would deal datagrams out among them.
    socket.set_reuse_address(true).map_err(Error::system("cannot share the port with other receivers"))?;
    bind(&socket, target)?;
    if !venue.broadcast {
        join(&socket, venue).map_err(Error::system(format!(
            "cannot join {} on interface {}",
            venue.destination, venue.interface.name
        )))?;
    }
    finish(socket, target)
}

fn new_socket(venue: &Venue) -> Result<Socket, Error> {
    let domain = Domain::for_address(venue.target());
    let socket = Socket::new(domain, Type::DGRAM.cloexec().nonblocking(), Some(Protocol::UDP));
    let socket = socket.map_err(Error::system("cannot open a UDP socket"))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true).map_err(Error::system("cannot open an IPv6 socket"))?;
    }
    if venue.broadcast {
        socket.set_broadcast(true).map_err(Error::system("cannot use broadcast"))?;
    }
    Ok(socket)
}

fn bind(socket: &Socket, address: SocketAddr) -> Result<(), Error> {
    socket.bind(&SockAddr::from(address)).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::ADDRINUSE) => Error::AddressInUse { address },
        _ => Error::system(format!("cannot use address {address}"))(error),
    })
}

fn set_sending(socket: &Socket, venue: &Venue, ttl: u8) -> io::Result<()> {
    let index = venue.interface.index;
    match venue.destination {
        IpAddr::V4(_) if venue.broadcast => socket.set_ttl_v4(ttl.into()),
        IpAddr::V4(_) => {
            let any = Ipv4Addr::UNSPECIFIED;
            sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, index)?;
            socket.set_multicast_ttl_v4(ttl.into())?;
            // For receivers on this very host.
            socket.set_multicast_loop_v4(true)
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(ttl.into())?;
            socket.set_multicast_loop_v6(true)
        }
    }
}

fn join(socket: &Socket, venue: &Venue) -> io::Result<()> {
    let index = venue.interface.index;
    // Without "all off", a socket also gets what other sockets of this host joined on other interfaces.
    match venue.destination {
        IpAddr::V4(group) => {
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
        }
        IpAddr::V6(group) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, index)
        }
    }
}

fn finish(socket: Socket, address: SocketAddr) -> Result<BatchSocket, Error> {
    let failed = |error| Error::system(format!("cannot set up the socket at {address}"))(error);
    let receive_buffer = raise_buffers(&socket).map_err(failed)?;
    BatchSocket::new(socket, receive_buffer).map_err(failed)
}

/// Raises both buffers as far as the system allows, and tells what the receive buffer has become, in bytes.
fn raise_buffers(socket: &Socket) -> io::Result<usize> {
    // The first needs CAP_NET_ADMIN, the second stops at net.core.rmem_max; what counts is what came of it.
    if sockopt::set_socket_recv_buffer_size_force(socket, WANTED_RECEIVE_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(WANTED_RECEIVE_BUFFER);
    }
    // The kernel doubles what it is asked for, to pay for its own bookkeeping, and answers with the double.
    if socket.send_buffer_size()? < LEAST_SEND_BUFFER {
        let _ = socket.set_send_buffer_size(LEAST_SEND_BUFFER / 2);
    }
    Ok(socket.recv_buffer_size()? / 2)
}

impl BatchSocket {
    fn warn_of_small_buffer(&self) {
        let got = self.receive_buffer();
        if got < ENOUGH_RECEIVE_BUFFER {
            tracing::warn!(
                "receive buffer is {} KiB, which bursts may overrun; raise it: sysctl -w net.core.rmem_max={WANTED_RECEIVE_BUFFER}",
                got >> 10
            );
        } else {
            tracing::debug!(bytes = got, "receive buffer");
        }
    }
}

/// 67 ms at 1 Gbit/s: longer than a thread is kept from the CPU on a loaded machine.
const WANTED_RECEIVE_BUFFER: usize = 8 << 20;
/// Below this, a burst at line rate overruns the buffer before an ordinary scheduling delay is over.
const ENOUGH_RECEIVE_BUFFER: usize = 1 << 20;
/// Linux's default: three GSO batches under way.
const LEAST_SEND_BUFFER: usize = 212_992;
