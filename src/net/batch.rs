//! Many datagrams a system call: GSO and GRO where the kernel has them, one by one where it does not.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::io::retry_on_intr;
use rustix::net::{SendFlags, sendto};
use socket2::Socket;

use super::{Arrivals, Trouble};
use crate::session::{Landed, Origin};

/// A UDP socket that never blocks and moves datagrams in batches.
#[derive(Debug)]
pub struct BatchSocket {
    socket: Socket,
    state: RefCell<UdpSocketState>,
    receive_buffer: usize,
    /// The number of the only interface whose datagrams are handed over; `None`: of all.
    interface: Cell<Option<u32>>,
}

impl BatchSocket {
    pub(super) fn new(socket: Socket, receive_buffer: usize) -> io::Result<Self> {
        let state = RefCell::new(UdpSocketState::new((&socket).into())?);
        Ok(Self { socket, state, receive_buffer, interface: Cell::new(None) })
    }

    /// Hands over datagrams of the interface with this number only.
    pub(super) fn confine(&self, interface: u32) {
        self.interface.set(Some(interface));
    }

    /// Sends `contents` as datagrams of `segment` bytes each, the last one possibly shorter.
    ///
    /// # Errors
    /// With the number of bytes that went out before: whole datagrams, from the front.
    pub fn send(&self, destination: SocketAddr, contents: &[u8], segment: usize) -> Result<(), SendError> {
        let could_segment = self.can_segment();
        let one_batch = |batch: &[u8]| {
            let segment_size = Some(segment);
            let transmit = Transmit { destination, ecn: None, contents: batch, segment_size, src_ip: None };
            self.state.borrow().try_send((&self.socket).into(), &transmit)
        };
        let sent = send_in_batches(contents, segment, || self.state.borrow().max_gso_segments(), one_batch);
        if sent.is_err()
            && could_segment
            && !self.can_segment()
            && let Ok(state) = UdpSocketState::new((&self.socket).into())
        {
            // The kernel refused a single datagram too, so segmentation was not the cause: the address of the interface has
            // gone, for example. `quinn_udp` has switched segmentation off all the same.
            self.state.replace(state);
        }
        sent
    }

    /// Sends the same to one peer, datagram by datagram. An address that the kernel refuses costs this socket nothing:
    /// `quinn_udp` would switch segmentation off for good.
    ///
    /// # Errors
    /// As [`BatchSocket::send`].
    pub fn send_to_peer(&self, peer: SocketAddr, contents: &[u8], segment: usize) -> Result<(), SendError> {
        let once =
            |datagram: &[u8]| retry_on_intr(|| sendto(&self.socket, datagram, SendFlags::empty(), &peer));
        let one = |datagram: &[u8]| match once(datagram) {
            Ok(_) => Ok(()),
            Err(errno) if Trouble::of(&errno.into()) == Trouble::WouldBlock => Err(errno.into()),
            // A connected socket reports here what an ICMP message has said of an earlier datagram, and does not send.
            Err(_) => once(datagram).map(drop).map_err(io::Error::from),
        };
        send_in_batches(contents, segment, || 1, one)
    }

    /// Hands over what has arrived, datagram by datagram with its origin as `arrivals` tells it, in at most `batches`
    /// system calls. A datagram from an address that no host can have, port 0 for example, is handed over as an empty one,
    /// which counts as malformed: an answer to such an address would be refused by the kernel.
    ///
    /// # Errors
    /// Whatever the socket has to say except that nothing is there; [`Trouble::of`] sorts it. An error is reported
    /// once by the kernel, so the next call may well succeed.
    pub fn receive(
        &self,
        inbox: &mut Inbox,
        batches: usize,
        arrivals: &Arrivals,
        mut each: impl FnMut(Origin, &mut [u8]),
    ) -> io::Result<Received> {
        let mut received = Received { datagrams: 0, messages: 0, more: true };
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        for _ in 0..batches {
            let mut slots = inbox.memory.chunks_exact_mut(SLOT);
            let mut slices: [_; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
            let filled = match self.state.borrow().recv((&self.socket).into(), &mut slices, &mut meta) {
                Ok(filled) => filled,
                Err(error) if Trouble::of(&error) == Trouble::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            received.messages += filled;
            for (slice, meta) in slices.iter_mut().zip(&meta).take(filled) {
                if self.is_of_another_interface(meta) {
                    continue;
                }
                let bytes = slice.get_mut(..meta.len).unwrap_or_default();
                let origin = arrivals.origin(meta.addr, meta.timestamp);
                let is_welcome = can_be_answered(meta.addr);
                if bytes.is_empty() {
                    received.datagrams += 1;
                    each(origin, bytes);
                }
                for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                    received.datagrams += 1;
                    each(origin, if is_welcome { datagram } else { &mut [] });
                }
            }
            if filled < BATCH_SIZE {
                received.more = false;
                break;
            }
        }
        Ok(received)
    }

    /// Reads what has arrived straight into `rooms`, a batch of datagrams into each, in one system call; `landed` tells
    /// what came, room by room. A batch that is larger than its room is cut; one from an address that no host can have is
    /// told as one empty datagram.
    ///
    /// # Errors
    /// As [`BatchSocket::receive`].
    pub(super) fn receive_batches(
        &self,
        rooms: Vec<&mut [u8]>,
        arrivals: &Arrivals,
        landed: &mut Vec<Landed>,
    ) -> io::Result<Received> {
        landed.clear();
        let mut rooms = rooms.into_iter();
        let mut slices: [_; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let offered = slices.iter().take_while(|slice| !slice.is_empty()).count();
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let (slices, meta) = (&mut slices[..offered], &mut meta[..offered]);
        let filled = match self.state.borrow().recv((&self.socket).into(), slices, meta) {
            Ok(filled) => filled,
            Err(error) if Trouble::of(&error) == Trouble::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let filled_rooms = meta.iter().take(filled).enumerate();
        let ours = filled_rooms.filter(|(_, meta)| !self.is_of_another_interface(meta));
        landed.extend(ours.map(|(room, meta)| Landed {
            room,
            origin: arrivals.origin(meta.addr, meta.timestamp),
            len: if can_be_answered(meta.addr) { meta.len } else { 0 },
            segment: meta.stride,
        }));
        let datagrams = landed.iter().map(|batch| batch.len.div_ceil(batch.segment.max(1)).max(1)).sum();
        Ok(Received { datagrams, messages: filled, more: filled == offered })
    }

    /// Whether this came through an interface that is of no interest: no word of it is handed over.
    fn is_of_another_interface(&self, meta: &RecvMeta) -> bool {
        matches!((self.interface.get(), meta.interface_index), (Some(wanted), Some(index)) if wanted != index)
    }

    /// The socket itself, to set it up.
    pub(super) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether the kernel takes many datagrams a call, as far as is known before one was refused.
    pub(super) fn can_segment(&self) -> bool {
        self.state.borrow().max_gso_segments() > 1
    }

    /// Whether the kernel hands over many datagrams in one piece.
    pub(super) fn can_coalesce(&self) -> bool {
        self.state.borrow().gro_segments() > 1
    }

    /// Bytes that the kernel keeps for this socket until they are read.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::other("no IP address"))
    }
}

impl AsFd for BatchSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Memory that datagrams arrive in: 2 MiB, of which a page is real only once something came in there. One serves all
/// sockets of a thread.
#[derive(Debug)]
pub struct Inbox {
    memory: Box<[u8]>,
}

impl Inbox {
    /// Empty memory.
    pub fn new() -> Self {
        Self { memory: vec![0; BATCH_SIZE * SLOT].into_boxed_slice() }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

/// What a call to [`BatchSocket::receive`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Datagrams handed over.
    pub datagrams: usize,
    /// Pieces that the kernel handed them over in: batches where it has GRO.
    pub messages: usize,
    /// The bound on system calls was reached; more may be waiting.
    pub more: bool,
}

/// Datagrams could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot send a datagram of {size} bytes: {source}{}", remedy(*.trouble))]
pub struct SendError {
    /// Bytes that went out before the error: whole datagrams.
    pub sent: usize,
    /// Bytes of UDP payload in the datagram that did not.
    pub size: usize,
    /// What to do about it.
    pub trouble: Trouble,
    /// What the system said.
    pub source: io::Error,
}

/// Whether a host can have this address. Linux delivers datagrams from UDP port 0, and refuses to send there.
fn can_be_answered(address: SocketAddr) -> bool {
    let is_hosts = match address.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    is_hosts && address.port() != 0
}

/// Cuts `contents` into what one system call may take. `most_segments` is asked each time, because the first refusal of
/// the kernel or of a driver to segment brings it down to one; what was refused is then sent datagram by datagram. Only if
/// that succeeds was segmentation the cause, and the log tells it.
fn send_in_batches(
    contents: &[u8],
    segment: usize,
    most_segments: impl Fn() -> usize,
    mut one_batch: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), SendError> {
    let segment = segment.max(1);
    let (mut sent, mut refused) = (0, None);
    while let Some(rest) = contents.get(sent..).filter(|rest| !rest.is_empty()) {
        let segments = most_segments().min(MOST_BYTES / segment).max(1);
        let batch = rest.get(..segments * segment).unwrap_or(rest);
        match one_batch(batch) {
            Ok(()) => {
                sent += batch.len();
                // Once a socket: from here on it is not asked any more.
                if let Some(error) = refused.take() {
                    tracing::warn!("segmentation offload refused ({error}), {ONE_BY_ONE}");
                }
            }
            Err(error) if segments > 1 && most_segments() == 1 => refused = Some(error),
            Err(source) => {
                let trouble = Trouble::of(&source);
                return Err(SendError { sent, size: batch.len().min(segment), trouble, source });
            }
        }
    }
    Ok(())
}

/// What is left without GSO, and what it costs.
pub(super) const ONE_BY_ONE: &str = "sending datagram by datagram, which takes more of the processor";

fn remedy(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::TooBig => "; the interface carries less, lower --mtu",
        Trouble::Transient => "; check link, route and firewall of the interface",
        _ => "",
    }
}

/// The largest UDP payload over IPv4, which bounds a GSO batch too.
const MOST_BYTES: usize = 65_507;
/// A slot takes whatever one receive can deliver: the largest datagram, or a GRO batch.
const SLOT: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Seek};
    use std::sync::Mutex;
    use std::time::Duration;

    use rustix::io::Errno;
    use socket2::{Domain, Type};

    use super::*;
    use crate::net::clock::Clock;
    use crate::net::wake::{Sleeper, Watch};

    #[test]
    fn batches_are_as_large_as_the_kernel_allows() {
        let mut sizes = Vec::new();
        let contents = vec![0; 100 * 1472 + 5];
        let taking = |batch: &[u8]| {
            sizes.push(batch.len());
            Ok(())
        };
        send_in_batches(&contents, 1472, || 64, taking).unwrap();
        assert_eq!(sizes, [44 * 1472, 44 * 1472, 12 * 1472 + 5]);
    }

    #[test]
    fn where_segmentation_is_refused_datagrams_go_out_one_by_one_and_one_line_says_so() {
        let segments = Cell::new(64);
        let mut out = Vec::new();
        let mut refusing = |batch: &[u8]| {
            if batch.len() > 10 {
                segments.set(1);
                return Err(Errno::IO.into());
            }
            out.push(batch.to_vec());
            Ok(())
        };
        let mut log = tempfile::tempfile().unwrap();
        let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(log.try_clone().unwrap())).finish();
        let contents: Vec<u8> = (0..95).collect();
        tracing::subscriber::with_default(subscriber, || {
            for contents in contents.chunks(50) {
                send_in_batches(contents, 10, || segments.get(), &mut refusing).unwrap();
            }
        });
        assert_eq!(out.len(), 10);
        assert_eq!(out.concat(), contents);
        let mut said = String::new();
        log.rewind().unwrap();
        log.read_to_string(&mut said).unwrap();
        assert_eq!(said.matches("WARN").count(), 1, "{said}");
        assert!(said.contains("segmentation offload refused") && said.contains("datagram by datagram"));
    }

    #[test]
    fn an_error_tells_how_much_went_out() {
        let mut room = 2;
        let full = |_: &[u8]| {
            room -= 1;
            if room < 0 { Err(Errno::AGAIN.into()) } else { Ok(()) }
        };
        let error = send_in_batches(&[0; 1000], 10, || 4, full).unwrap_err();
        assert_eq!((error.sent, error.trouble), (80, Trouble::WouldBlock));
    }

    #[test]
    fn batches_land_in_their_rooms_and_what_is_too_large_for_one_is_cut() {
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            BatchSocket::new(socket, 0).unwrap()
        };
        let (from, to) = (open(), open());
        // With a short tail, alone, larger than a room as a batch, and as a datagram.
        for (byte, count, segment) in [(1, 307, 100), (2, 100, 100), (3, 500, 100), (4, 1_000, 1_000)] {
            from.send(to.local_address().unwrap(), &vec![byte; count], segment).unwrap();
        }
        let (clock, sleeper) = (Clock::start(), Sleeper::new().unwrap());
        let deadline = clock.now() + Duration::from_secs(1);
        let (mut found, mut landed) = (Vec::new(), Vec::new());
        while found.len() < 4 && clock.now() < deadline {
            sleeper.wait([Watch::readable(&to)], &clock, deadline, || true).unwrap();
            let mut memory = [0; 3 * 350];
            let (rooms, arrivals) = (memory.chunks_exact_mut(350).collect(), Arrivals::just(clock.now()));
            let received = to.receive_batches(rooms, &arrivals, &mut landed).unwrap();
            assert_eq!((received.messages, received.more), (landed.len(), landed.len() == 3));
            for (room, batch) in memory.chunks_exact(350).zip(&landed) {
                assert_eq!(batch.origin.address, from.local_address().unwrap());
                found.push((batch.len, batch.segment, room[..batch.len].to_vec()));
            }
        }
        let expected = [(307, 100, 1), (100, 100, 2), (350, 100, 3), (350, 350, 4)];
        assert_eq!(found, expected.map(|(len, segment, byte)| (len, segment, vec![byte; len])));
    }

    #[test]
    fn datagrams_of_another_interface_are_dropped_without_a_word() {
        let [from, to] = [(); 2].map(|()| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            BatchSocket::new(socket, 0).unwrap()
        });
        let (mut inbox, mut landed) = (Inbox::new(), Vec::new());
        let mut memory = vec![0; 100];
        let arrivals = Arrivals::just(Clock::start().now());
        // On loopback, a datagram has arrived once it is sent. No interface has the number 0.
        for (interface, expected) in [(0, 0), (1, 1)] {
            to.confine(interface);
            for landing in [false, true] {
                from.send(to.local_address().unwrap(), &[1; 100], 100).unwrap();
                let mut handed_over = 0;
                let received = if landing {
                    let received = to.receive_batches(vec![&mut memory], &arrivals, &mut landed).unwrap();
                    handed_over = landed.len();
                    received
                } else {
                    to.receive(&mut inbox, 1, &arrivals, |_, _| handed_over += 1).unwrap()
                };
                assert_eq!((handed_over, received.datagrams), (expected, expected), "{interface} {landing}");
            }
        }
    }

    #[test]
    fn segmentation_is_not_blamed_where_single_datagrams_are_refused_too() {
        let segments = Cell::new(64);
        let refusing = |_: &[u8]| {
            segments.set(1);
            Err(Errno::INVAL.into())
        };
        let mut log = tempfile::tempfile().unwrap();
        let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(log.try_clone().unwrap())).finish();
        let error = tracing::subscriber::with_default(subscriber, || {
            send_in_batches(&[0; 100], 10, || segments.get(), refusing).unwrap_err()
        });
        assert_eq!((error.sent, error.trouble), (0, Trouble::Transient));
        let mut said = String::new();
        log.rewind().unwrap();
        log.read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
    }

    #[test]
    fn address_that_is_refused_costs_a_socket_no_segmentation() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let socket = BatchSocket::new(socket, 0).unwrap();
        let could_segment = socket.can_segment();
        let port_zero = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = socket.send_to_peer(port_zero, &[1; 100], 10).unwrap_err();
        assert_eq!((error.sent, error.trouble), (0, Trouble::Transient));
        // Nor does it where segmentation was asked for.
        let error = socket.send(port_zero, &[1; 100], 10).unwrap_err();
        assert_eq!((error.sent, error.trouble), (0, Trouble::Transient));
        assert_eq!(socket.can_segment(), could_segment);
        socket.send(socket.local_address().unwrap(), &[1; 100], 10).unwrap();
    }

    #[test]
    fn addresses_that_no_host_can_have_are_told_from_others() {
        let can = |text: &str| can_be_answered(text.parse().unwrap());
        for good in ["10.77.0.1:1", "127.0.0.1:65535", "[fe80::1]:7767", "[fd77::1]:7767"] {
            assert!(can(good), "{good}");
        }
        for bad in [
            "10.77.0.1:0",
            "0.0.0.0:7767",
            "239.255.77.67:7767",
            "255.255.255.255:7767",
            "[fd77::1]:0",
            "[::]:7767",
            "[ff15::1]:7767",
        ] {
            assert!(!can(bad), "{bad}");
        }
    }

    #[test]
    fn an_empty_send_and_a_segment_of_zero_end() {
        send_in_batches(&[], 10, || 4, |_| Err(Errno::IO.into())).unwrap();
        send_in_batches(&[1, 2], 0, || 0, |_| Ok(())).unwrap();
    }
}
