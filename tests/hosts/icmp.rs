//! ICMP errors, which any stranger can forge: the kernel turns them into errors of sockets, and they end nothing.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::support::keys::Keys;
use crate::support::{Host, KIB, Lab, MIB, PATIENCE, Program, Source, all_exit};

const PORT: u16 = 7767;
/// A path MTU that no datagram of a session fits into.
const FORGED_MTU: u16 = 552;

/// Every error of ICMP by type and code: unreachable, source quench, redirect, time exceeded, parameter problem.
fn errors_v4() -> Vec<(u8, u8)> {
    let unreachable = (0..=15).map(|code| (3, code));
    let others = [(4, 0), (5, 0), (5, 1), (5, 2), (5, 3), (11, 0), (11, 1), (12, 0), (12, 1), (12, 2)];
    unreachable.chain(others).collect()
}

/// Every error of ICMPv6: unreachable, packet too big, time exceeded, parameter problem.
fn errors_v6() -> Vec<(u8, u8)> {
    let unreachable = (0..=7).map(|code| (1, code));
    unreachable.chain([(2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)]).collect()
}

/// Forged errors, one of each kind, about a datagram that the host of `from` would have sent to `to`.
fn forge(stranger: &Host, from: SocketAddr, to: SocketAddr) {
    let (domain, protocol, errors) = match from {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, errors_v4()),
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, errors_v6()),
    };
    let socket = stranger.here(|| Socket::new(domain, Type::RAW, Some(protocol)).unwrap());
    let about = datagram(from, to);
    for (kind, code) in errors {
        let mtu = match (kind, code) {
            (3, 4) if from.is_ipv4() => FORGED_MTU,
            (2, 0) => 1_280,
            _ => 0,
        };
        let mut message = vec![kind, code, 0, 0, 0, 0];
        message.extend(mtu.to_be_bytes());
        message.extend(&about);
        if from.is_ipv4() {
            let sum = checksum(&message).to_be_bytes();
            message[2..4].copy_from_slice(&sum);
        }
        socket.send_to(&message, &SockAddr::from(SocketAddr::new(from.ip(), 0))).unwrap();
    }
}

/// IP and UDP header of a datagram of 1,000 bytes.
fn datagram(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    const LENGTH: u16 = 1_008;
    const UDP: u8 = 17;
    let mut bytes = Vec::new();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x45, 0]);
            bytes.extend((20 + LENGTH).to_be_bytes());
            bytes.extend([0, 1, 0x40, 0, 64, UDP, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            let sum = checksum(&bytes).to_be_bytes();
            bytes[10..12].copy_from_slice(&sum);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(LENGTH.to_be_bytes());
            bytes.extend([UDP, 64]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        _ => panic!("{from} and {to} are of two families"),
    }
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    bytes.extend(LENGTH.to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

/// Ports of all UDP sockets of a host, which runs nothing but the program in question.
fn ports(host: &Host) -> Vec<u16> {
    let output = host.command("cat").args(["/proc/net/udp", "/proc/net/udp6"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let locals = text.lines().filter_map(|line| line.split_whitespace().nth(1)?.rsplit_once(':'));
    let mut ports: Vec<_> = locals.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Two receivers and a sender, with these options, and a stranger on host 3 who forges errors for each of their sockets.
struct Place {
    lab: Lab,
    group: IpAddr,
    options: Vec<String>,
    _keys: Keys,
}

impl Place {
    fn new(group: &str, with_key: bool) -> Self {
        let keys = Keys::new();
        let mut options = vec!["-g".to_owned(), group.to_owned()];
        if with_key {
            options.extend(["-k".to_owned(), keys.file(1).display().to_string()]);
        } else {
            options.push("--no-key".to_owned());
        }
        Self { lab: Lab::up(3), group: group.parse().unwrap(), options, _keys: keys }
    }

    fn address(&self, host: u8) -> IpAddr {
        match self.group {
            IpAddr::V4(_) => IpAddr::from([10, 77, 0, host + 1]),
            IpAddr::V6(_) => format!("fd77::{:x}", host + 1).parse().unwrap(),
        }
    }

    fn receiver(&self, host: usize) -> Program {
        let launch = self.lab.host(host).recv(&format!("r{host}"));
        self.options.iter().fold(launch, |launch, option| launch.arg(option)).start()
    }

    fn sender(&self, source: Source) -> Program {
        let launch = self.lab.sender().send().args(&["-n", "2"]).source(source);
        self.options.iter().fold(launch, |launch, option| launch.arg(option)).start()
    }

    /// About what a receiver has sent to the sender, and the sender to receivers and to the group.
    fn storm(&self) {
        let stranger = self.lab.host(3);
        let sender = SocketAddr::new(self.address(0), PORT);
        let group = SocketAddr::new(self.group, PORT);
        for host in [1, 2] {
            let at = self.address(host);
            for port in ports(self.lab.host(host.into())) {
                let socket = SocketAddr::new(at, port);
                forge(stranger, socket, sender);
                forge(stranger, socket, group);
                forge(stranger, sender, socket);
            }
        }
        forge(stranger, sender, group);
    }
}

fn programs_at_work_go_on(group: &str, with_key: bool) {
    let place = Place::new(group, with_key);
    let source = Source::new(1, 4 * MIB);
    let mut receivers = vec![place.receiver(1), place.receiver(2)];
    let mut sender = place.sender(source);
    for step in 1..=8 {
        sender.feed_to(step * 128 * KIB);
        for receiver in &receivers {
            receiver.must_deliver((step * 128 - 1) * KIB, PATIENCE);
        }
        place.storm();
    }
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
    assert!(!sender.stderr().contains("segmentation offload refused"));
}

fn programs_that_wait_meet_all_the_same(group: &str, with_key: bool) {
    let place = Place::new(group, with_key);
    let source = Source::new(2, MIB);
    let early = place.receiver(1);
    early.must_say("waiting for a sender", PATIENCE);
    place.storm();
    // A receiver that has joined waits for another one.
    let mut sender = place.sender(source);
    sender.must_have_joined("r1");
    for _ in 0..8 {
        place.storm();
    }
    let mut receivers = vec![early, place.receiver(2)];
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
}

#[test]
fn icmp_errors_end_no_program_at_work_with_a_key() {
    programs_at_work_go_on("239.255.77.67", true);
}

#[test]
fn icmp_errors_end_no_program_at_work_without_a_key() {
    programs_at_work_go_on("239.255.77.67", false);
}

#[test]
fn icmpv6_errors_end_no_program_at_work() {
    for with_key in [true, false] {
        programs_at_work_go_on("ff15::4d43", with_key);
    }
}

#[test]
fn icmp_errors_end_no_program_that_waits_with_a_key() {
    programs_that_wait_meet_all_the_same("239.255.77.67", true);
}

#[test]
fn icmp_errors_end_no_program_that_waits_without_a_key() {
    programs_that_wait_meet_all_the_same("239.255.77.67", false);
}

#[test]
fn icmpv6_errors_end_no_program_that_waits() {
    for with_key in [true, false] {
        programs_that_wait_meet_all_the_same("ff15::4d43", with_key);
    }
}
