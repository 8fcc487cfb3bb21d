//! Streams that arrive: over each kind of address, with loss, over odd links, line by line.

use std::time::Duration;

use crate::support::wait::Stopwatch;
use crate::support::{KIB, Lab, MIB, PATIENCE, Source, all_exit, three_receivers};

/// A stream to three receivers on three hosts, with these options for sender and receivers.
fn three_get_exact_bytes(lab: &Lab, source: Source, send: &[&str], recv: &[&str]) {
    let mut receivers = three_receivers(lab, recv);
    let mut sender = lab.sender().send().args(&["-n", "3"]).args(send).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
}

const LOSSY: &[&str] = &["--rate", "1gbit", "--loss", "2=1%", "--loss", "3=5%"];

#[test]
fn ipv4_group_brings_exact_bytes_to_hosts_that_lose_0_1_and_5_percent() {
    let lab = Lab::with(3, LOSSY);
    three_get_exact_bytes(&lab, Source::new(1, 32 * MIB), &[], &[]);
}

#[test]
fn ipv6_group_brings_exact_bytes_to_hosts_that_lose_0_1_and_5_percent() {
    let lab = Lab::with(3, LOSSY);
    three_get_exact_bytes(&lab, Source::new(2, 32 * MIB), &["-g", IPV6_GROUP], &["-g", IPV6_GROUP]);
}

#[test]
fn broadcast_brings_exact_bytes_to_hosts_that_lose_0_1_and_5_percent() {
    let lab = Lab::with(3, LOSSY);
    three_get_exact_bytes(&lab, Source::new(3, 32 * MIB), &["--broadcast"], &["--broadcast"]);
}

#[test]
fn snooping_switch_forwards_to_those_who_joined() {
    let lab = Lab::with(3, &["--rate", "1gbit", "--snooping", "on"]);
    three_get_exact_bytes(&lab, Source::new(4, 8 * MIB), &[], &[]);
    three_get_exact_bytes(&lab, Source::new(5, 8 * MIB), &["-g", IPV6_GROUP], &["-g", IPV6_GROUP]);
}

#[test]
fn large_datagrams_fill_a_network_of_large_frames() {
    let lab = Lab::with(3, &["--rate", "1gbit", "--mtu", "9000", "--loss", "2=1%"]);
    three_get_exact_bytes(&lab, Source::new(6, 32 * MIB), &[], &[]);
}

#[test]
fn datagrams_that_cross_in_batches_are_received_in_batches() {
    let lab = Lab::with(3, &["--offload", "on"]);
    three_get_exact_bytes(&lab, Source::new(7, 64 * MIB), &[], &[]);
}

#[test]
fn unshaped_sender_does_not_drown_its_receivers() {
    let lab = Lab::up(3);
    three_get_exact_bytes(&lab, Source::new(8, 32 * MIB), &[], &[]);
}

#[test]
fn full_windows_and_buffers_stay_below_96_mib_a_process() {
    let lab = Lab::with(2, &["--loss", "1=5%", "--loss", "2=5%"]);
    let source = Source::new(13, 200 * MIB);
    let quick = lab.host(1).recv("r1").start();
    let full = lab.host(2).recv("r2").takes(MIB).start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.feed_to(200 * MIB);
    // The one that takes nothing more has its whole buffer full when the other has got so far.
    quick.must_deliver(30 * MIB, PATIENCE);
    for (name, peak) in
        [("sender", sender.peak_memory()), ("r1", quick.peak_memory()), ("r2", full.peak_memory())]
    {
        assert!(peak < 96 * MIB, "{name}: {} KiB", peak / KIB);
    }
    assert!(full.peak_memory() > 30 * MIB, "its buffer is full");
}

#[test]
fn three_receivers_on_one_host_share_the_loopback_interface() {
    let lab = Lab::up(1);
    // Linux has a way to IPv6 groups for every interface but this one.
    let way = ["-6", "route", "add", "local", "ff00::/8", "dev", "lo", "table", "local"];
    assert!(lab.host(1).command("ip").args(way).status().unwrap().success());
    for (seed, group) in [(9, "239.255.1.1"), (10, IPV6_GROUP)] {
        let source = Source::new(seed, 16 * MIB);
        let common = ["-i", "lo", "-g", group];
        let mut receivers: Vec<_> =
            ["r1", "r2", "r3"].iter().map(|name| lab.host(1).recv(name).args(&common).start()).collect();
        let mut sender = lab.host(1).send().args(&common).args(&["-n", "3"]).source(source).start();
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        all_exit(&mut receivers, 0, PATIENCE);
        for receiver in &receivers {
            receiver.must_have_delivered(source);
        }
    }
}

#[test]
fn several_receivers_on_one_host_share_its_interface() {
    let lab = Lab::with(1, &["--rate", "1gbit", "--loss", "1=1%"]);
    let source = Source::new(11, 8 * MIB);
    let mut receivers: Vec<_> =
        ["r1", "r2", "r3"].iter().map(|name| lab.host(1).recv(name).start()).collect();
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
}

#[test]
fn interface_may_be_named_by_its_address() {
    let lab = Lab::up(1);
    let source = Source::new(12, MIB);
    let mut receiver = lab.host(1).recv("r1").args(&["-i", "10.77.0.2"]).start();
    let mut sender = lab.sender().send().args(&["-i", "10.77.0.1"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
}

#[test]
fn one_slow_port_slows_the_stream_and_breaks_nothing() {
    let lab = Lab::with(3, &["--rate", "1gbit", "--rate-at", "2=100mbit"]);
    let source = Source::new(13, 16 * MIB);
    let watch = Stopwatch::start();
    three_get_exact_bytes(&lab, source, &[], &[]);
    // 16 MiB at 100 Mbit/s are 1.4 s; a collapse takes minutes.
    assert!(watch.elapsed() < Duration::from_secs(20), "took {:?}", watch.elapsed());
}

#[test]
fn partition_shorter_than_the_peer_timeout_is_repaired() {
    let lab = Lab::with(3, &["--rate", "1gbit"]);
    let source = Source::new(14, 16 * MIB);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.feed_to(4 * MIB);
    receivers[1].must_deliver(MIB, PATIENCE);
    lab.script("cut", &["2"]);
    sender.finish();
    // The others run ahead as far as the window lets them.
    receivers[0].must_deliver(5 * MIB, PATIENCE);
    lab.script("heal", &["2"]);
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    receivers[1].must_have_delivered(source);
}

#[test]
fn trickling_source_arrives_line_by_line() {
    let lab = Lab::up(3);
    let line = 40;
    let lines = 20;
    let source = Source::new(15, line * lines);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    let mut took = Vec::new();
    for end in (1..=lines).map(|n| n * line) {
        let watch = Stopwatch::start();
        sender.feed_to(end);
        for receiver in &receivers {
            receiver.must_deliver(end, PATIENCE);
        }
        took.push(watch.elapsed());
    }
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    // The first line waits for the start. A busy machine may delay some of the others, but not most.
    took.remove(0);
    took.sort();
    assert!(took[took.len() / 2] <= Duration::from_millis(200), "lines took {took:?}");
}

#[test]
fn kilobyte_for_three_waiting_receivers_does_not_wait_for_a_tick() {
    let lab = Lab::up(3);
    let source = Source::new(16, KIB);
    let mut receivers = three_receivers(&lab, &[]);
    for receiver in &receivers {
        receiver.must_catch_signals();
    }
    let watch = Stopwatch::start();
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    // 100 ms on a quiet machine.
    assert!(watch.elapsed() < Duration::from_secs(1), "took {:?}", watch.elapsed());
    all_exit(&mut receivers, 0, PATIENCE);
}

#[test]
fn both_reports_tell_length_digest_and_who_received() {
    let lab = Lab::with(3, LOSSY);
    let source = Source::new(17, 4 * MIB);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = lab.sender().send().args(&["-n", "3", "-l", "nightly"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    let digest = format!("xxh3-128:{}", source.xxh128());
    let report = sender.report();
    for (report, role) in std::iter::once((&report, "sender"))
        .chain(receivers.iter().map(|r| r.report()).collect::<Vec<_>>().iter().map(|r| (r, "receiver")))
    {
        assert_eq!(report["schema"], 1, "{report}");
        assert_eq!(report["role"], role, "{report}");
        assert_eq!(report["outcome"], "complete", "{report}");
        assert_eq!(report["exit_code"], 0, "{report}");
        assert_eq!(report["label"], "nightly", "{report}");
        assert_eq!(report["bytes"], source.len(), "{report}");
        assert_eq!(report["digest"], digest.as_str(), "{report}");
    }
    for (h, name) in [(1, "r1"), (2, "r2"), (3, "r3")] {
        let receiver = sender.report_of(name);
        assert_eq!(receiver["exit_code"], 0, "{receiver}");
        let address = receiver["address"].as_str().unwrap();
        assert!(address.contains(&lab.host(h).ipv4().to_string()), "{receiver}");
    }
    assert!(sender.report_of("r3")["lost_symbols"].as_u64().unwrap() > 0, "{report}");
}

const IPV6_GROUP: &str = "ff15::4d43";
