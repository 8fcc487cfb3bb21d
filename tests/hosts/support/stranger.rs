//! Somebody on the LAN who has no key, or another: he hears what goes to the group, and forges, plays back and floods.
//! The hosts' tests and `examples/stranger.rs` use him.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use mcast::exit::Exit;
use mcast::seal::{GroupKey, Party, Seal, Secret};
use mcast::wire::{
    self, Abort, AbortReason, Announce, BlockNumber, Confirm, DatagramNumber, Digest, End, Entries, Header,
    Join, Label, Leave, Message, Name, Needs, Outcome, Phase, ReceiverId, Report, Roster, Seek, SessionId,
    Stage, Standing, Status, Symbol, Text,
};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What he works with.
pub(crate) struct Stranger {
    /// Hears the group.
    ears: UdpSocket,
    /// His own address, and those that he borrows.
    mouths: Vec<UdpSocket>,
    group: SocketAddrV4,
    sender: SocketAddrV4,
    /// What he has heard, the first so much of it.
    heard: Vec<Vec<u8>>,
    session: SessionId,
    /// Receivers that rosters have named; with a key nobody tells him.
    receivers: Vec<ReceiverId>,
    seals: [Seal; 2],
    random: fastrand::Rng,
    number: u64,
    /// Datagrams that he has sent.
    pub(crate) sent: u64,
    own_bytes: u64,
    answers: u64,
    answered_bytes: u64,
}

impl Stranger {
    /// `here` is his own address, on whose host he must be called. He also speaks in the name of the hosts at `borrowed`.
    pub(crate) fn new(
        here: Ipv4Addr,
        group: SocketAddrV4,
        sender: SocketAddrV4,
        borrowed: &[SocketAddrV4],
    ) -> io::Result<Self> {
        let ears = udp()?;
        ears.set_reuse_address(true)?;
        ears.set_recv_buffer_size(4 << 20)?;
        ears.bind(&SockAddr::from(group))?;
        ears.join_multicast_v4(group.ip(), &here)?;
        let own = SocketAddrV4::new(here, 0);
        let mouths: io::Result<Vec<_>> =
            std::iter::once(&own).chain(borrowed).map(|at| mouth(*at, here)).collect();
        Ok(Self {
            ears: ears.into(),
            mouths: mouths?,
            group,
            sender,
            heard: Vec::new(),
            session: SessionId([0; 16]),
            receivers: vec![ReceiverId(1)],
            seals: [Seal::Crc, Seal::Aead(GroupKey::new(&Secret::new([0x55; 32])))],
            random: fastrand::Rng::with_seed(1),
            number: 0,
            sent: 0,
            own_bytes: 0,
            answers: 0,
            answered_bytes: 0,
        })
    }

    /// Takes in what has come, and remembers some of it.
    pub(crate) fn listen(&mut self) {
        let mut datagram = [0; 1 << 16];
        for _ in 0..2_000 {
            let Ok((length, _)) = self.ears.recv_from(&mut datagram) else { return };
            let Some(bytes) = datagram.get(..length) else { return };
            let Some(header) = Header::peek(bytes) else { continue };
            if header.kind.comes_from_receivers() {
                continue;
            }
            self.session = header.session;
            self.number = self.number.max(header.number.0);
            if let Some(Ok((_, Message::Roster(roster)))) = mcast::seal::open(bytes).map(wire::parse) {
                self.receivers.extend(roster.entries.iter().map(|(id, _)| id));
                self.receivers.dedup();
            }
            if self.heard.len() < MOST_HEARD {
                self.heard.push(bytes.to_vec());
            }
        }
    }

    /// Datagrams that he has recorded.
    pub(crate) fn recorded(&self) -> usize {
        self.heard.len()
    }

    /// Says one of each kind of message in the name of the session that he heard last, under no key and under another.
    pub(crate) fn forge(&mut self) {
        let id =
            self.receivers.get(self.random.usize(..self.receivers.len())).copied().unwrap_or(ReceiverId(1));
        let number = DatagramNumber(self.number.wrapping_add(self.random.u64(0..1_000)));
        let status = Status {
            next_block: BlockNumber(self.random.u64(..) >> 1),
            released: BlockNumber(self.random.u64(..) >> 2),
            grtt: Duration::from_secs(4_000),
            group_size: u32::MAX,
        };
        let outcome = Outcome {
            exit: Exit::Internal,
            bytes: 1,
            lost_symbols: 1,
            dropped: 1,
            nacks: 1,
            stalled: Duration::from_secs(1),
        };
        let entries = [(id, Standing::EvictedSilent), (id, Standing::Done)];
        let payload = vec![0x42; 1_400];
        let symbol = Symbol {
            substream: 0,
            symbol: self.random.u8(0..60),
            block_len: 100_000,
            block: BlockNumber(self.random.u64(0..500)),
            payload: &payload,
        };
        let (Some(label), Some(name)) = (Label::new("default"), Name::new("stranger")) else { return };
        let announce = Announce {
            phase: Phase::Started,
            block_symbols: 88,
            symbol_size: 1_428,
            join_spread: Duration::ZERO,
            peer_timeout: Duration::from_millis(1),
            age: Duration::from_secs(100_000),
            grtt: Duration::ZERO,
            group_size: 1,
            echo: ReceiverId(0),
            label,
            name: None,
        };
        let report = Report {
            receiver: id,
            highest: number,
            settled: number,
            arrived: 0,
            held: Duration::ZERO,
            waited: Duration::ZERO,
            received: BlockNumber(0),
            position: BlockNumber(0),
            bytes: 0,
            window: 0,
            credit: 0,
            lost_symbols: u64::MAX,
            dropped: u64::MAX,
            stalled: Duration::ZERO,
            needs: Needs::Given(&[wire::Need { offset: 0, missing: 255, symbols: None }]),
        };
        let text = Text::truncated("because I say so");
        let messages = [
            Message::Abort(Abort { reason: AbortReason::Stopped, text }),
            Message::End(End { status, bytes: 5, digest: Digest([0; 16]) }),
            Message::KeepAlive(status),
            Message::Roster(Roster { entries: Entries::Given(&entries) }),
            Message::Source(symbol),
            Message::Announce(announce),
            Message::Announce(Announce { phase: Phase::Waiting, ..announce }),
            Message::Join(Join {
                receiver: ReceiverId(self.random.u64(..)),
                window: 1,
                credit: 1,
                peer_timeout: Duration::ZERO,
                name,
            }),
            Message::Report(report),
            Message::Confirm(Confirm { receiver: id, stage: Stage::Done, outcome }),
            Message::Leave(Leave { receiver: id, outcome, text }),
            Message::Seek(Seek { receiver: id, name }),
        ];
        for seal in self.seals.clone() {
            for (at, message) in messages.iter().enumerate() {
                let number = number.plus(at as u64);
                let party =
                    if message.kind().comes_from_receivers() { Party::Receiver(id) } else { Party::Sender };
                let mut datagram = Vec::new();
                message.write(self.session, number, &mut datagram);
                seal.sealer(self.session, party).seal_appended(&mut datagram, 0);
                self.say(&datagram);
            }
        }
    }

    /// Sends so many of the datagrams that he has recorded, from a random one on, one of them with a flipped bit.
    pub(crate) fn play_back(&mut self, count: usize) {
        if self.heard.is_empty() {
            return;
        }
        let start = self.random.usize(..self.heard.len());
        let mut some: Vec<_> = self.heard.iter().cycle().skip(start).take(count).cloned().collect();
        if let Some(byte) = some.first_mut().and_then(|datagram| datagram.last_mut()) {
            *byte ^= 1;
        }
        for datagram in some {
            self.say(&datagram);
        }
    }

    /// Sends all that he has recorded in its order, from the beginning.
    pub(crate) fn play_all_back(&mut self) {
        for datagram in self.heard.clone() {
            self.say(&datagram);
        }
    }

    /// Garbage, half of which begins as a datagram of the session does, as fast as one processor can: batches of 64 short
    /// datagrams to the group and to the sender in turn.
    pub(crate) fn flood_at_speed(&mut self, batches: usize) -> io::Result<()> {
        const LENGTH: usize = 64;
        let own = UdpSockRef::from(&self.mouths[0]);
        let state = UdpSocketState::new(own)?;
        let mut garbage = [0; 64 * LENGTH];
        for batch in 0..batches {
            self.random.fill(&mut garbage);
            if batch % 4 < 2 {
                for datagram in garbage.chunks_exact_mut(LENGTH) {
                    datagram[0] = wire::VERSION;
                    datagram[1] = [1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20][self.random.usize(..12)];
                    datagram[2..18].copy_from_slice(&self.session.0);
                }
            }
            let to = if batch % 2 == 0 { self.group } else { self.sender };
            let contents = &garbage[..LENGTH * state.max_gso_segments().min(64)];
            let transmit = Transmit {
                destination: SocketAddr::V4(to),
                ecn: None,
                contents,
                segment_size: Some(LENGTH),
                src_ip: None,
            };
            if state.try_send(UdpSockRef::from(&self.mouths[0]), &transmit).is_ok() {
                self.sent += (contents.len() / LENGTH) as u64;
            }
        }
        self.hear_answers();
        Ok(())
    }

    /// What nobody sends: nothing, one byte, cut headers, the largest datagram, other versions, unknown kinds.
    pub(crate) fn malform(&mut self) {
        let mut header = vec![wire::VERSION, 2];
        header.extend(self.session.0);
        header.extend(self.number.to_be_bytes());
        for length in 0..header.len() {
            self.say(&header[..length]);
        }
        for (version, kind) in [(0, 1), (2, 1), (255, 255), (1, 0), (1, 8), (1, 15), (1, 21), (1, 255)] {
            let mut datagram = header.clone();
            (datagram[0], datagram[1]) = (version, kind);
            datagram.resize(200, 7);
            self.say(&datagram);
        }
        self.say(&[header, vec![0xff; 65_507 - 26]].concat());
    }

    /// Says it from one of his addresses to the group and to the sender.
    pub(crate) fn say(&mut self, datagram: &[u8]) {
        let which = self.random.usize(..self.mouths.len());
        let mouth = &self.mouths[which];
        for to in [self.group, self.sender] {
            // Nobody at a port answers with an ICMP error, which the next call would tell; a full queue is no fault.
            let sent = mouth.send_to(datagram, SocketAddr::V4(to)).is_ok();
            self.sent += u64::from(sent);
            if which == 0 && sent {
                self.own_bytes += datagram.len() as u64;
            }
        }
        if which == 0 {
            self.hear_answers();
        }
    }

    /// Takes in what has come to his own address.
    fn hear_answers(&mut self) {
        let Some(own) = self.mouths.first() else { return };
        let mut answer = [0; 1 << 16];
        while let Ok(length) = own.recv(&mut answer) {
            self.answers += 1;
            self.answered_bytes += length as u64;
        }
    }

    /// Datagrams and bytes that have come to his own address so far: nobody has a reason to send there but to answer.
    pub(crate) fn answers(&mut self) -> (u64, u64) {
        self.hear_answers();
        (self.answers, self.answered_bytes)
    }

    /// Bytes that he has sent from his own address.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.own_bytes
    }
}

fn udp() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))
}

/// Speaks from this address, another host's too, through the interface of his own.
fn mouth(source: SocketAddrV4, here: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = udp()?;
    if *source.ip() != here {
        // Root of his own host, he may use any address as his.
        socket.set_ip_transparent_v4(true)?;
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(source))?;
    socket.set_multicast_if_v4(&here)?;
    Ok(socket.into())
}

/// A hundredth of a PostgreSQL test's dump, and all of a short session.
const MOST_HEARD: usize = 10_000;
