//! The lab itself: what it takes away is what it says, and nothing else.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use crate::support::lab::{Host, script_path};
use crate::support::wait::comes_true;
use crate::support::{Lab, PATIENCE};

/// A socket of this host at a port of its own, which waits for a datagram no longer than a veth takes to bring it.
fn socket(host: &Host) -> UdpSocket {
    let socket = host.socket((host.ipv4(), 9000).into());
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

/// How many of `count` datagrams from one host arrive at another.
fn arrive(from: &UdpSocket, to: &UdpSocket, count: usize) -> usize {
    let target = to.local_addr().unwrap();
    let exchange = || {
        from.send_to(b"hello", target).unwrap();
        to.recv(&mut [0; 16]).is_ok()
    };
    (0..count).filter(|_| exchange()).count()
}

#[test]
fn loss_takes_its_share_of_datagrams_and_leaves_address_resolution_alone() {
    let lab = Lab::with(2, &["--loss", "1=100%", "--loss", "2=20%"]);
    let [sender, deaf, lossy] = [0, 1, 2].map(|h| socket(lab.host(h)));
    assert_eq!(arrive(&sender, &deaf, 3), 0);
    assert_eq!(arrive(&deaf, &sender, 3), 3, "loss is one way, and answers to ARP are not lost");
    let arrived = arrive(&sender, &lossy, 250);
    // Five standard deviations of a binomial distribution: 200 ± 32.
    assert!((168..=232).contains(&arrived), "{arrived} of 250 arrived");
    lab.script("loss", &["1", "0"]);
    assert_eq!(arrive(&sender, &deaf, 3), 3);
}

#[test]
fn cut_heal_unplug_and_plug_act_on_one_host_and_one_way_where_asked() {
    let lab = Lab::up(2);
    let [sender, cut, other] = [0, 1, 2].map(|h| socket(lab.host(h)));
    assert_eq!((arrive(&sender, &cut, 1), arrive(&cut, &sender, 1)), (1, 1));
    lab.script("cut", &["1", "in"]);
    assert_eq!((arrive(&sender, &cut, 1), arrive(&cut, &sender, 1)), (0, 1));
    lab.script("heal", &["1"]);
    lab.script("cut", &["1", "out"]);
    assert_eq!((arrive(&sender, &cut, 1), arrive(&cut, &sender, 1)), (1, 0));
    lab.script("cut", &["1"]);
    assert_eq!((arrive(&sender, &cut, 1), arrive(&cut, &sender, 1)), (0, 0));
    assert_eq!(arrive(&sender, &other, 1), 1);
    lab.script("heal", &["1"]);
    assert_eq!((arrive(&sender, &cut, 1), arrive(&cut, &sender, 1)), (1, 1));
    lab.script("unplug", &["1"]);
    assert_eq!(arrive(&sender, &cut, 1), 0);
    lab.script("plug", &["1"]);
    assert!(comes_true(PATIENCE, || arrive(&sender, &cut, 1) == 1));
}

#[test]
fn down_ends_the_programs_that_run_in_the_lab_and_forgets_its_name() {
    let lab = Lab::up(1);
    let mut program = lab.host(1).command("sleep").arg("1000").spawn().unwrap();
    lab.script("down", &[]);
    assert!(comes_true(PATIENCE, || program.try_wait().unwrap().is_some()));
    let list = Command::new(script_path()).arg("list").output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).lines().all(|name| name != lab.name()));
}

#[test]
fn half_built_lab_is_taken_down_again() {
    let name = format!("test.{}.half", std::process::id());
    let up =
        |options: &[&str]| Command::new(script_path()).args(["up", &name]).args(options).output().unwrap();
    // Found out by tc, when hosts and links exist already.
    let failed = up(&["--queue", "nonsense", "--rate", "1gbit"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let again = up(&[]);
    assert!(again.status.success(), "{again:?}");
    assert!(Command::new(script_path()).args(["down", &name]).status().unwrap().success());
}

#[test]
fn misuse_of_the_lab_is_refused_in_one_line() {
    for (arguments, value) in [
        (&["up", "a/b"][..], "a/b"),
        (&["up", "x", "--hosts", "0"], "0"),
        (&["up", "x", "--loss", "1=101%"], "101%"),
        (&["up", "x", "--loss", "9=1%"], "9=1%"),
        (&["up", "x", "--rate", "fast"], "fast"),
        (&["up", "x", "--mtu", "100"], "100"),
        (&["frobnicate"], "frobnicate"),
    ] {
        let output = Command::new(script_path()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(value) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
}
