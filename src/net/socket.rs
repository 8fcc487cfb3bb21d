//! The sockets of a session: which address each is bound to, and what it lets through.
//!
//! ```text
//! sender    data     interface:PORT ──▶ group:PORT     announce, symbols, end …; hears the receivers' answers
//!           listen   group:PORT                        hears other senders before the start
//! receiver  group    group:PORT                        hears the sender
//!           peer     interface:0 ◀──▶ sender:PORT      answers; without a key connected, so that the kernel tells of
//!                                                      a sender that is gone
//!           seek     interface:0 ──▶ group:PORT        asks for a sender, until one is found; with a key, it also asks
//!                                                      the host that announces a session whether it is there
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use super::Error;
use super::batch::{BatchSocket, ONE_BY_ONE};
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
        } else if !interface.multicast && !interface.loopback {
            return Err(Error::NoMulticast { name: interface.name });
        } else if !interface.reaches(group) {
            let kind = if interface.loopback { "local" } else { "multicast" };
            return Err(Error::Unreachable { name: interface.name, group, kind });
        } else {
            group
        };
        Ok(Self { interface, destination, port, broadcast })
    }

    /// Interface, address and destination are the same; what they carry may be another.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |venue: &Self| {
            let interface = &venue.interface;
            (interface.name.clone(), interface.index, interface.address, venue.target())
        };
        place(self) == place(other)
    }

    /// Whether a session can still take place here: the interface is up and has its address, whatever else there is.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn still_stands(&self) -> Result<bool, Error> {
        let broadcast = self.broadcast.then_some(self.destination);
        Ok(self.interface.still_stands(broadcast)?
            && (self.broadcast || self.interface.reaches(self.destination)))
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
        let data = data_socket(venue, ttl)?;
        data.warn_of_small_buffer();
        if !data.can_segment() {
            tracing::warn!("this kernel has no segmentation offload for UDP, {ONE_BY_ONE}");
        }
        Ok(Self { data, listen: Some(group_socket(venue)?) })
    }

    /// Goes on at another venue; listens there if it did here.
    ///
    /// # Errors
    /// As [`SenderSockets::open`]. Then nothing has changed.
    pub fn move_to(&mut self, venue: &Venue, ttl: u8) -> Result<(), Error> {
        let listen = self.listen.as_ref().map(|_| group_socket(venue)).transpose()?;
        if self.data.local_address().is_ok_and(|address| address == venue.own()) {
            // The interface was made anew, and has the address that it had.
            set_sending_through(self.data.socket(), venue, ttl)?;
        } else {
            self.data = data_socket(venue, ttl)?;
        }
        self.listen = listen;
        Ok(())
    }
}

/// A receiver's sockets.
#[derive(Debug)]
pub struct ReceiverSockets {
    /// Hears the sender.
    pub group: BatchSocket,
    /// Answers the sender, once it is known.
    pub peer: Option<BatchSocket>,
    /// Asks the group for a sender, as long as none is known, and asks single hosts, as long as none has proven to be one.
    /// The answers go to the group.
    pub seek: Option<BatchSocket>,
    pub(super) venue: Venue,
    ttl: Option<u8>,
    /// The peer socket is connected, and reports what ICMP messages say.
    pub(super) heeds_refusals: bool,
}

impl ReceiverSockets {
    /// Joins the group. `ttl` is the number of hops that answers may take; `None`: the system's default.
    /// `heeds_refusals` asks the kernel to tell when the sender's host refuses an answer. Any stranger can forge the ICMP
    /// message that says so, and others: with a key, they are not listened to.
    ///
    /// # Errors
    /// When the port is in use or the system refuses.
    pub fn open(venue: &Venue, ttl: Option<u8>, heeds_refusals: bool) -> Result<Self, Error> {
        let group = group_socket(venue)?;
        group.warn_of_small_buffer();
        if !group.can_coalesce() {
            tracing::debug!("this kernel has no UDP_GRO, receiving datagram by datagram");
        }
        Ok(Self { group, peer: None, seek: None, venue: venue.clone(), ttl, heeds_refusals })
    }

    /// Opens such sockets at another venue.
    ///
    /// # Errors
    /// As [`ReceiverSockets::open`].
    pub fn at(&self, venue: &Venue) -> Result<Self, Error> {
        Self::open(venue, self.ttl, self.heeds_refusals)
    }

    /// The socket that speaks to the whole group while no sender is known.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn seek(&mut self) -> Result<&BatchSocket, Error> {
        let socket = new_socket(&self.venue)?;
        let local = self.venue.interface.scoped(self.venue.interface.address, 0);
        bind(&socket, local)?;
        set_sending_through(&socket, &self.venue, self.ttl.unwrap_or(1))?;
        let seek = finish(socket, local)?;
        stop_hearing(&seek);
        Ok(self.seek.insert(seek))
    }

    /// Where everybody on the group is reached.
    pub fn target(&self) -> SocketAddr {
        self.venue.target()
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
        let connect = || if self.heeds_refusals { socket.connect(&SockAddr::from(sender)) } else { Ok(()) };
        ready
            .and_then(|()| connect())
            .map_err(Error::system(format!("cannot reach the sender at {sender}")))?;
        self.seek = None;
        let peer = finish(socket, local)?;
        if !self.heeds_refusals {
            stop_hearing(&peer);
        }
        Ok(self.peer.insert(peer))
    }
}

/// Takes the receive buffer from a socket that this program never reads, and any host can send to.
fn stop_hearing(socket: &BatchSocket) {
    let _ = socket.socket().set_recv_buffer_size(0);
}

/// The sender's socket, which sends to the group and hears the receivers.
fn data_socket(venue: &Venue, ttl: u8) -> Result<BatchSocket, Error> {
    let socket = new_socket(venue)?;
    bind(&socket, venue.own())?;
    set_sending_through(&socket, venue, ttl)?;
    finish(socket, venue.own())
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
    let socket = finish(socket, target)?;
    confine(&socket, venue);
    Ok(socket)
}

/// Keeps out what reaches the group through other interfaces. For IPv4 the kernel does that; for IPv6 it hands a socket what
/// any program of this host has joined, on any interface, and "all off" (see [`join`]) does not prevent it.
pub(super) fn confine(socket: &BatchSocket, venue: &Venue) {
    if venue.destination.is_ipv6() {
        socket.confine(venue.interface.index);
    }
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

fn set_sending_through(socket: &Socket, venue: &Venue, ttl: u8) -> Result<(), Error> {
    let failed = Error::system(format!("cannot send through interface {}", venue.interface.name));
    set_sending(socket, venue, ttl).map_err(failed)
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

/// Joins the group; what the kernel has as the socket's first membership on the interface is reported to switches.
pub(super) fn join(socket: &Socket, venue: &Venue) -> io::Result<()> {
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

/// Leaves the group, which may be joined again.
pub(super) fn leave(socket: &Socket, venue: &Venue) -> io::Result<()> {
    let index = venue.interface.index;
    match venue.destination {
        IpAddr::V4(group) => socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index)),
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, index),
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
    if sockopt::set_socket_send_buffer_size_force(socket, WANTED_SEND_BUFFER).is_err() {
        let _ = socket.set_send_buffer_size(GRANTED_SEND_BUFFER);
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
            tracing::debug!("the socket's receive buffer has {} KiB", got >> 10);
        }
    }
}

/// 67 ms at 1 Gbit/s: longer than a thread is kept from the CPU on a loaded machine.
const WANTED_RECEIVE_BUFFER: usize = 8 << 20;
/// Below this, a burst at line rate overruns the buffer before an ordinary scheduling delay is over.
const ENOUGH_RECEIVE_BUFFER: usize = 1 << 20;
/// The kernel makes it double, and counts 2,304 bytes for a full frame: 340 of them, 4 ms at 1 Gbit/s. The sender wakes when half
/// of them have gone, so two milliseconds without a CPU leave no gap on the line; and a queue that keeps delays below 5 ms
/// (CoDel) has nothing to complain of at that speed.
const WANTED_SEND_BUFFER: usize = 393_216;
/// What Linux grants without privileges (`net.core.wmem_max`), and makes double, too.
const GRANTED_SEND_BUFFER: usize = 212_992;

#[cfg(test)]
pub(crate) mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::net::batch::Inbox;
    use crate::net::clock::Clock;
    use crate::net::wake::{Sleeper, Watch};
    use crate::net::{Arrivals, Trouble};

    pub(crate) const GROUP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 77, 1));

    fn on_loopback(group: IpAddr, port: u16) -> Venue {
        Venue::choose(Some("lo"), group, port, false).unwrap()
    }

    /// Waits until `socket` has delivered `count` datagrams, for a second at most.
    fn collect(socket: &BatchSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let (clock, sleeper, mut inbox) = (Clock::start(), Sleeper::new().unwrap(), Inbox::new());
        let deadline = clock.now() + Duration::from_secs(1);
        let mut datagrams = Vec::new();
        while datagrams.len() < count && clock.now() < deadline {
            sleeper.wait([Watch::readable(socket)], &clock, deadline, || true).unwrap();
            let arrivals = Arrivals::just(clock.now());
            socket
                .receive(&mut inbox, 4, &arrivals, |origin, bytes| {
                    datagrams.push((origin.address, bytes.to_vec()));
                })
                .unwrap();
        }
        datagrams
    }

    /// 40 datagrams of 1000 bytes and one of 7, each with its number in front.
    fn numbered() -> Vec<u8> {
        let mut contents: Vec<u8> = (0..40).flat_map(|number| [number; 1000]).collect();
        contents.extend([40; 7]);
        contents
    }

    /// A port of loopback that nobody has, so that runs of these tests beside each other do not meet.
    pub(crate) fn free_port() -> u16 {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    pub(in crate::net) fn everybody_hears_each_other(venue: &Venue) {
        let sender = SenderSockets::open(venue, 1).unwrap();
        let mut receivers = [0, 1].map(|_| ReceiverSockets::open(venue, None, true).unwrap());
        sender.data.send(venue.target(), &numbered(), 1000).unwrap();
        for receiver in &mut receivers {
            let datagrams = collect(&receiver.group, 41);
            assert!(datagrams.iter().all(|(from, _)| *from == venue.own()), "{datagrams:?}");
            let bytes: Vec<u8> = datagrams.into_iter().flat_map(|(_, bytes)| bytes).collect();
            assert!(bytes == numbered(), "{} bytes through {venue:?}", bytes.len());
            let peer = receiver.connect(venue.own()).unwrap();
            peer.send(venue.own(), b"join", 4).unwrap();
        }
        assert_eq!(collect(sender.listen.as_ref().unwrap(), 41).len(), 41);
        let mut answers = collect(&sender.data, 2);
        answers.sort();
        let mut peers = receivers.map(|receiver| receiver.peer.unwrap().local_address().unwrap());
        peers.sort();
        assert_eq!(answers, peers.map(|peer| (peer, b"join".to_vec())));
    }

    #[test]
    fn two_receivers_on_one_host_hear_the_sender_and_are_heard() {
        everybody_hears_each_other(&on_loopback(GROUP_V4, free_port()));
    }

    #[test]
    fn groups_of_ipv6_work_like_those_of_ipv4() {
        in_a_namespace("net::socket::tests::groups_of_ipv6_work_like_those_of_ipv4", || {
            for group in ["ff15::4d43", "ff12::4d43", "ff11::4d43"] {
                everybody_hears_each_other(&on_loopback(group.parse().unwrap(), 47102));
                // The sender's link-local address needs a scope everywhere.
                let venue = Venue::choose(Some("veth-a"), group.parse().unwrap(), 47102, false).unwrap();
                everybody_hears_each_other(&venue);
            }
        });
    }

    #[test]
    fn where_ipv6_multicast_has_no_route_the_command_to_add_it_is_named() {
        in_a_namespace(
            "net::socket::tests::where_ipv6_multicast_has_no_route_the_command_to_add_it_is_named",
            || {
                run("ip -6 route del local ff00::/8 dev lo table local");
                let error = Venue::choose(Some("lo"), "ff15::1".parse().unwrap(), 47111, false).unwrap_err();
                let error = error.to_string();
                let (_, command) = error.split_once(": ").unwrap();
                run(command);
                everybody_hears_each_other(&on_loopback("ff15::1".parse().unwrap(), 47111));
            },
        );
    }

    #[test]
    fn broadcast_reaches_every_receiver_on_the_segment() {
        in_a_namespace("net::socket::tests::broadcast_reaches_every_receiver_on_the_segment", || {
            let venue = Venue::choose(Some("veth-a"), GROUP_V4, 47103, true).unwrap();
            assert_eq!(venue.target(), "10.77.0.255:47103".parse().unwrap());
            everybody_hears_each_other(&venue);
        });
    }

    #[test]
    fn a_socket_hears_its_own_group_only() {
        let port = free_port();
        let venue = on_loopback(GROUP_V4, port);
        let other = on_loopback(IpAddr::V4(Ipv4Addr::new(239, 255, 77, 2)), port);
        let receiver = ReceiverSockets::open(&venue, None, true).unwrap();
        let _neighbour = ReceiverSockets::open(&other, None, true).unwrap();
        let sender = SenderSockets::open(&venue, 1).unwrap();
        sender.data.send(other.target(), b"for another group", 100).unwrap();
        sender.data.send(venue.target(), b"for this group", 100).unwrap();
        let heard: Vec<_> = collect(&receiver.group, 1).into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(heard, [b"for this group".to_vec()]);
    }

    #[test]
    fn socket_that_is_never_read_keeps_no_more_than_a_few_datagrams() {
        let venue = on_loopback(GROUP_V4, free_port());
        let mut sockets = ReceiverSockets::open(&venue, None, false).unwrap();
        let seek = sockets.seek().unwrap().socket().recv_buffer_size().unwrap();
        let peer = sockets.connect(venue.own()).unwrap().socket().recv_buffer_size().unwrap();
        assert!(seek <= 4096 && peer <= 4096, "{seek} {peer}");
    }

    #[test]
    fn a_second_sender_on_one_port_is_told_what_to_do() {
        let venue = on_loopback(GROUP_V4, free_port());
        let _first = SenderSockets::open(&venue, 1).unwrap();
        let error = SenderSockets::open(&venue, 1).unwrap_err();
        assert!(matches!(error, Error::AddressInUse { .. }));
        assert!(
            error.to_string().contains(&venue.own().to_string()) && error.to_string().contains("-p"),
            "{error}"
        );
    }

    #[test]
    fn a_sender_that_is_gone_is_noticed_by_its_receivers() {
        let venue = on_loopback(GROUP_V4, free_port());
        let mut receiver = ReceiverSockets::open(&venue, None, true).unwrap();
        let peer = receiver.connect(venue.own()).unwrap();
        peer.send(venue.own(), b"anybody there?", 100).unwrap();
        let error = peer
            .receive(&mut Inbox::new(), 1, &Arrivals::just(crate::time::Time::ZERO), |_, _| ())
            .unwrap_err();
        assert_eq!(Trouble::of(&error), Trouble::PeerGone);
    }

    #[test]
    fn a_datagram_beyond_the_mtu_is_refused_and_the_remedy_named() {
        let venue = on_loopback(GROUP_V4, free_port());
        let sender = SenderSockets::open(&venue, 1).unwrap();
        let error = sender.data.send(venue.target(), &[0; 65_508], 65_508).unwrap_err();
        assert_eq!((error.trouble, error.sent), (Trouble::TooBig, 0));
        assert!(error.to_string().contains("65508") && error.to_string().contains("--mtu"), "{error}");
    }

    #[test]
    fn a_full_queue_tells_how_much_went_out() {
        in_a_namespace("net::socket::tests::a_full_queue_tells_how_much_went_out", || {
            run("tc qdisc add dev veth-a root tbf rate 1mbit burst 3000 limit 10000000");
            let venue = Venue::choose(Some("veth-a"), GROUP_V4, 47108, false).unwrap();
            let sender = SenderSockets::open(&venue, 1).unwrap();
            let error = sender.data.send(venue.target(), &vec![1; 1 << 20], 1000).unwrap_err();
            assert_eq!(error.trouble, Trouble::WouldBlock);
            assert!(error.sent > 0 && error.sent.is_multiple_of(1000), "{}", error.sent);
        });
    }

    pub(crate) fn run(command: &str) {
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    }

    /// Runs the test of this name in a network namespace of its own, which has `lo` with a multicast route for IPv6 and
    /// the veth pair `veth-a` (10.77.0.1/24, MTU 1400) and `veth-b`.
    pub(crate) fn in_a_namespace(name: &str, test: impl FnOnce()) {
        const INSIDE: &str = "MCAST_TEST_INSIDE_NAMESPACE";
        if std::env::var_os(INSIDE).is_some() {
            return test();
        }
        let setup = "set -e
            ip link set lo up
            ip -6 route add local ff00::/8 dev lo table local
            ip link add veth-a mtu 1400 type veth peer name veth-b mtu 1400
            sysctl -qw net.ipv6.conf.veth-a.accept_dad=0 net.ipv6.conf.veth-b.accept_dad=0
            ip link set veth-a up
            ip link set veth-b up
            ip address add 10.77.0.1/24 broadcast 10.77.0.255 dev veth-a
            exec \"$0\" --exact \"$1\" --nocapture";
        let test = std::env::current_exe().unwrap();
        let output = Command::new("unshare")
            .args(["--net", "--map-root-user", "sh", "-c", setup])
            .arg(test)
            .arg(name)
            .env(INSIDE, "1")
            .output()
            .expect("unshare from util-linux, ip from iproute2");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}
