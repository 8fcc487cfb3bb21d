//! Networks that come, go and change while programs wait, and interfaces that are not what they seem.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::program::Launch;
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Host, KIB, Lab, MIB, PATIENCE, Program, Source};

const SERVICE: &[&str] = &["--repeat", "--overwrite"];

/// Runs `ip ARGUMENTS` on a host.
fn ip(host: &Host, arguments: &str) {
    let output = host.command("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Another IPv4 address, as DHCP gives one, and the route that goes with it.
fn readdress(host: &Host, old: &str, new: &str) {
    ip(host, &format!("addr del {old} dev eth0"));
    ip(host, &format!("addr add {new} broadcast 10.77.0.255 dev eth0"));
    ip(host, "route replace default dev eth0");
}

/// Takes the interface of a host away, with all that belongs to it.
fn remove_interface(host: &Host) {
    ip(host, "link del eth0");
}

/// Makes the interface of a host anew: another one for the kernel, of the same name and with the same address.
fn make_interface_anew(lab: &Lab, number: usize) {
    let name = lab.name();
    let at = format!("--net=/run/netns/lab-{name}-lan");
    let add = format!("link add p{number} type veth peer name eth0 netns lab-{name}-{number}");
    for arguments in [add, format!("link set p{number} master br0"), format!("link set p{number} up")] {
        let status = Command::new("nsenter").arg(&at).arg("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    }
    let host = lab.host(number);
    let address = host.ipv4();
    ip(host, &format!("addr add {address}/24 broadcast 10.77.0.255 dev eth0"));
    ip(host, "link set eth0 up");
    ip(host, "route replace default dev eth0");
}

fn waiting_receiver(host: &Host, options: &[&str]) -> Program {
    let receiver = host.recv("r1").args(options).writes_file().start();
    receiver.must_say("waiting for a sender", PATIENCE);
    receiver
}

/// A sender for one receiver, whose session must complete.
fn must_reach(lab: &Lab, receiver: &Program, options: &[&str]) {
    let source = Source::new(1, MIB);
    let mut sender = lab.sender().send().args(&["-n", "1"]).args(options).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    assert!(comes_true(PATIENCE, || receiver.output().exists()));
    receiver.must_have_written(source);
}

#[test]
fn waiting_receiver_whose_host_gets_another_address_joins_from_there() {
    for options in [SERVICE, &[]] {
        let lab = Lab::up(1);
        let receiver = waiting_receiver(lab.host(1), options);
        readdress(lab.host(1), "10.77.0.2/24", "10.77.0.22/24");
        receiver.must_say("chosen anew", PATIENCE);
        must_reach(&lab, &receiver, &[]);
    }
}

#[test]
fn waiting_receiver_whose_host_is_renumbered_in_ipv6_joins_from_there() {
    const GROUP: &[&str] = &["-g", "ff15::4d43"];
    let lab = Lab::up(1);
    let receiver = waiting_receiver(lab.host(1), &[GROUP, SERVICE].concat());
    // The old prefix stays for a while, and is not to be used for what is new.
    ip(lab.host(1), "addr add fd78::2/64 dev eth0 nodad");
    ip(lab.host(1), "addr change fd77::2/64 dev eth0 preferred_lft 0");
    ip(lab.host(1), "-6 route replace fd77::/64 dev eth0");
    ip(lab.sender(), "addr add fd78::1/64 dev eth0 nodad");
    receiver.must_say("chosen anew", PATIENCE);
    ip(lab.host(1), "addr del fd77::2/64 dev eth0");
    must_reach(&lab, &receiver, GROUP);
}

#[test]
fn waiting_receiver_whose_interface_is_made_anew_joins_through_it() {
    let lab = Lab::up(1);
    let receiver = waiting_receiver(lab.host(1), SERVICE);
    remove_interface(lab.host(1));
    receiver.must_say("waiting for that", PATIENCE);
    make_interface_anew(&lab, 1);
    receiver.must_say("chosen anew", PATIENCE);
    must_reach(&lab, &receiver, &[]);
    let said = receiver.stderr_so_far();
    assert_eq!(said.matches("waiting for that").count(), 1, "{said}");
}

#[test]
fn waiting_sender_is_joined_after_its_address_has_changed_or_its_interface_was_made_anew() {
    for anew in [false, true] {
        let lab = Lab::up(1);
        let source = Source::new(2, MIB);
        let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
        sender.must_say("waiting for receivers", PATIENCE);
        if anew {
            remove_interface(lab.sender());
            make_interface_anew(&lab, 0);
        } else {
            readdress(lab.sender(), "10.77.0.1/24", "10.77.0.11/24");
        }
        sender.must_say("chosen anew", PATIENCE);
        let mut receiver = lab.host(1).recv("r1").start();
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}

#[test]
fn address_of_a_sender_that_goes_in_mid_session_and_comes_back_costs_time_only() {
    let lab = Lab::up(1);
    let source = Source::new(3, MIB);
    let mut receiver = lab.host(1).recv("r1").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.feed_to(KIB);
    receiver.must_deliver(KIB, PATIENCE);
    // Another address keeps the route, so that the kernel refuses the source and not the destination.
    ip(lab.sender(), "addr add 10.78.0.1/24 dev eth0");
    ip(lab.sender(), "addr del 10.77.0.1/24 dev eth0");
    sender.must_say("cannot send", PATIENCE);
    sender.feed_to(256 * KIB);
    ip(lab.sender(), "addr add 10.77.0.1/24 broadcast 10.77.0.255 dev eth0");
    ip(lab.sender(), "route replace default dev eth0");
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
    assert!(!sender.stderr().contains("segmentation offload refused"), "{}", sender.stderr());
}

/// A service manager, and a service on a host that has no address yet.
fn service_without_a_network(lab: &Lab) -> (UnixDatagram, tempfile::TempDir, Program) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    ip(lab.host(1), "addr flush dev eth0");
    let launch: Launch = lab.host(1).recv("r1").env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    (manager, directory, launch.args(SERVICE).writes_file().start())
}

#[test]
fn service_without_an_address_waits_for_one_and_is_ready_only_then() {
    let lab = Lab::up(1);
    let (manager, _directory, receiver) = service_without_a_network(&lab);
    let mut words: Vec<String> = Vec::new();
    let mut hears = |word: &str, count: usize, within: Duration| {
        comes_true(within, || {
            let mut buffer = [0; 256];
            while let Ok(length) = manager.recv(&mut buffer) {
                words.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
            }
            words.iter().filter(|heard| heard.starts_with(word)).count() >= count
        })
    };
    // Longer than the service manager's patience would be, if it had a watchdog of 200 ms and no sign of life.
    assert!(hears("WATCHDOG=1", 20, PATIENCE));
    assert!(hears("STATUS=waiting for a network", 1, Duration::ZERO));
    assert!(hears("EXTEND_TIMEOUT_USEC=", 2, PATIENCE));
    assert!(!hears("READY=1", 1, Duration::ZERO));
    ip(lab.host(1), "addr add 10.77.0.2/24 broadcast 10.77.0.255 dev eth0");
    ip(lab.host(1), "route replace default dev eth0");
    assert!(hears("READY=1", 1, PATIENCE));
    must_reach(&lab, &receiver, &[]);
    assert!(hears("STATUS=waiting for a sender", 2, PATIENCE));
    let said = receiver.stderr_so_far();
    assert_eq!(said.matches("waiting for that").count(), 1, "{said}");
}

#[test]
fn service_that_waits_for_a_network_obeys_a_signal() {
    let lab = Lab::up(1);
    let (_manager, _directory, mut receiver) = service_without_a_network(&lab);
    receiver.must_say("no session until then", PATIENCE);
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
}

#[test]
fn network_that_goes_between_two_sessions_is_waited_for() {
    let lab = Lab::up(1);
    let receiver = waiting_receiver(lab.host(1), SERVICE);
    must_reach(&lab, &receiver, &[]);
    let waits = || receiver.stderr_so_far().matches("waiting for a sender").count() == 2;
    assert!(comes_true(PATIENCE, waits));
    remove_interface(lab.host(1));
    receiver.must_say("waiting for that", PATIENCE);
    make_interface_anew(&lab, 1);
    receiver.must_say("chosen anew", PATIENCE);
    std::fs::remove_file(receiver.output()).unwrap();
    must_reach(&lab, &receiver, &[]);
}

#[test]
fn program_for_one_session_without_an_address_says_so_at_launch() {
    let lab = Lab::up(1);
    ip(lab.host(1), "addr flush dev eth0");
    for launch in [lab.host(1).recv("r1"), lab.host(1).send()] {
        let mut program = launch.start();
        program.must_exit(&[10], PATIENCE);
        assert!(program.stderr().contains("no route to 239.255.77.67"), "{}", program.stderr());
    }
}

/// Fault 45.
#[test]
fn session_uses_the_device_of_the_route_where_its_address_is_on_loopback() {
    let lab = Lab::up(1);
    for (host, address) in [(lab.sender(), "10.99.0.1"), (lab.host(1), "10.99.0.2")] {
        ip(host, &format!("addr add {address}/32 dev lo"));
        ip(host, &format!("route replace default dev eth0 src {address}"));
    }
    let receiver = waiting_receiver(lab.host(1), &[]);
    receiver.must_say("interface=eth0", PATIENCE);
    must_reach(&lab, &receiver, &[]);
    assert!(receiver.stderr_so_far().contains("sender=10.99.0.1"), "{}", receiver.stderr_so_far());
}

#[test]
fn ipv6_receiver_hears_its_own_interface_only() {
    const GROUP: &[&str] = &["-g", "ff15::4d43"];
    let lab = Lab::up(2);
    let name = lab.name();
    // A second LAN between the two receivers' hosts.
    ip(lab.host(1), &format!("link add eth1 type veth peer name eth1 netns lab-{name}-2"));
    for (number, address) in [(1, "fd79::2/64"), (2, "fd79::3/64")] {
        ip(lab.host(number), &format!("addr add {address} dev eth1 nodad"));
        ip(lab.host(number), "link set eth1 up");
    }
    let has_route = |number| {
        let mut command = lab.host(number).command("ip");
        let output = command.args("-6 route show table local dev eth1".split(' ')).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("ff00::/8")
    };
    assert!(comes_true(PATIENCE, || has_route(1) && has_route(2)), "the link is not ready");
    let mut confined = lab.host(1).recv("r1").args(GROUP).args(&["-i", "eth0"]).start();
    let mut other = lab.host(1).recv("r2").args(GROUP).args(&["-i", "eth1"]).start();
    confined.must_say("waiting for a sender", PATIENCE);
    other.must_say("waiting for a sender", PATIENCE);
    let other_source = Source::new(4, MIB);
    let launch = lab.host(2).send().args(GROUP).args(&["-i", "eth1", "-n", "1", "-l", "elsewhere"]);
    let mut elsewhere = launch.source(other_source).start();
    elsewhere.finish();
    elsewhere.must_exit(&[0], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_delivered(other_source);
    let source = Source::new(5, MIB);
    let mut sender = lab.sender().send().args(GROUP).args(&["-n", "1"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    confined.must_exit(&[0], PATIENCE);
    confined.must_have_delivered(source);
    assert!(!confined.stderr().contains("elsewhere"), "{}", confined.stderr());
}
