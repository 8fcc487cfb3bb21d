//! Datagrams from UDP port 0, which Linux delivers and cannot answer: dropped and counted.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::support::keys::Keys;
use crate::support::wait::{comes_true, for_as_long_as};
use crate::support::{Host, KIB, Lab, MIB, PATIENCE, Program, Source, all_exit};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 67);
const PORT: u16 = 7767;
/// Kind of an announce, the second byte of a datagram.
const ANNOUNCE: u8 = 1;

/// A socket of this host that hears the group.
fn ears(host: &Host) -> UdpSocket {
    let ears = host.socket((GROUP, PORT).into());
    ears.join_multicast_v4(&GROUP, &host.ipv4()).unwrap();
    ears.set_nonblocking(true).unwrap();
    ears
}

/// Announces that have come there.
fn announces(ears: &UdpSocket) -> Vec<Vec<u8>> {
    let mut datagram = [0; 2_048];
    let mut heard = Vec::new();
    while let Ok(length) = ears.recv(&mut datagram) {
        if datagram[1] == ANNOUNCE {
            heard.push(datagram[..length].to_vec());
        }
    }
    heard
}

/// Sends a datagram from port 0 of this host to the group and to the sender's host.
fn say_from_port_zero(host: &Host, datagram: &[u8]) {
    const RAW: i32 = 255;
    let here = host.ipv4();
    let socket = host.here(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).unwrap());
    socket.set_multicast_if_v4(&here).unwrap();
    for to in [GROUP, Ipv4Addr::new(10, 77, 0, 1)] {
        let length = u16::try_from(8 + datagram.len()).unwrap();
        // The kernel fills in length, number and checksum of the IP header.
        let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 1, 17, 0, 0];
        bytes.extend(here.octets());
        bytes.extend(to.octets());
        bytes.extend(0_u16.to_be_bytes());
        bytes.extend(PORT.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(datagram);
        socket.send_to(&bytes, &SockAddr::from(SocketAddrV4::new(to, 0))).unwrap();
    }
}

fn replay_from_port_zero_changes_nothing(with_key: bool) {
    let lab = Lab::up(3);
    let keys = Keys::new();
    let key = keys.file(1);
    let launch = |host: &Host, launch: fn(&Host) -> _| {
        let launch: crate::support::program::Launch = launch(host);
        if with_key { launch.arg("-k").arg(&key) } else { launch.arg("--no-key") }
    };
    let receiver = |number: usize| -> Program {
        launch(lab.host(number), if number == 1 { |host| host.recv("r1") } else { |host| host.recv("r2") })
            .start()
    };
    let stranger = lab.host(3);
    let ears = ears(stranger);

    // A session that lasts long enough to be announced as one that has started.
    let mut receivers = vec![receiver(1)];
    let mut sender =
        launch(lab.sender(), Host::send).args(&["-n", "1"]).source(Source::new(1, 2 * KIB)).start();
    sender.feed_to(KIB);
    receivers[0].must_deliver(KIB, PATIENCE);
    for_as_long_as(Duration::from_millis(1_500));
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    let recorded = announces(&ears);
    assert!(recorded.len() >= 3, "{} announces", recorded.len());
    let replay = || recorded.iter().for_each(|datagram| say_from_port_zero(stranger, datagram));

    let mut receivers = vec![receiver(1)];
    receivers[0].must_say("waiting for a sender", PATIENCE);
    replay();
    let source = Source::new(2, MIB);
    let mut sender = launch(lab.sender(), Host::send).args(&["-n", "2"]).source(source).start();
    sender.must_have_joined("r1");
    replay();
    // Two announces that follow show that the sender still waits.
    announces(&ears);
    let mut later = 0;
    assert!(comes_true(PATIENCE, || {
        later += announces(&ears).len();
        later >= 2
    }));
    receivers.push(receiver(2));
    sender.feed_to(512 * KIB);
    receivers[0].must_deliver(511 * KIB, PATIENCE);
    replay();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
    for program in [&sender, &receivers[0]] {
        let dropped = program.report()["wire"]["dropped_malformed"].as_u64();
        assert!(dropped >= Some(recorded.len() as u64), "{dropped:?} of {}", recorded.len());
    }
    assert!(!receivers[0].stderr().contains(":0 "), "{}", receivers[0].stderr());
    assert!(!sender.stderr().contains("segmentation offload refused"), "{}", sender.stderr());
}

#[test]
fn announces_replayed_from_port_zero_change_nothing_with_a_key() {
    replay_from_port_zero_changes_nothing(true);
}

#[test]
fn announces_replayed_from_port_zero_change_nothing_without_a_key() {
    replay_from_port_zero_changes_nothing(false);
}
