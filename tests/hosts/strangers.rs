//! Datagrams from strangers: counted and dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Lab, MIB, PATIENCE, Source};

#[test]
fn garbage_on_both_ports_changes_nothing_and_is_counted() {
    let lab = Lab::with(3, &["--rate", "1gbit"]);
    let source = Source::new(1, 16 * MIB);
    let port = "7799";
    let mut receivers = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).args(&["-p", port]).start());
    let mut sender = lab.sender().send().args(&["-n", "2", "-p", port]).source(source).start();
    sender.feed_to(2 * MIB);
    receivers[0].must_deliver(MIB, PATIENCE);

    // Host 3 throws random bytes at the sender, at the group, and at whatever the receivers listen to.
    let thrown = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let socket = lab.host(3).socket("0.0.0.0:0".parse().unwrap());
    let targets: Vec<SocketAddr> = [
        format!("{}:{port}", lab.sender().ipv4()),
        format!("{}:{port}", lab.host(1).ipv4()),
        format!("239.255.77.67:{port}"),
    ]
    .iter()
    .map(|target| target.parse().unwrap())
    .collect();
    let thrower = {
        let (thrown, stop) = (thrown.clone(), stop.clone());
        thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(1);
            let mut garbage = [0; 1472];
            for round in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                random.fill(&mut garbage);
                for target in &targets {
                    let len = random.usize(..=garbage.len());
                    // Nobody at a port answers with an ICMP error, which the next call would tell.
                    let _ = socket.send_to(&garbage[..len], target);
                }
                thrown.store(round > 1000, Ordering::Relaxed);
            }
        })
    };
    assert!(crate::support::wait::comes_true(PATIENCE, || thrown.load(Ordering::Relaxed)));
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
    stop.store(true, Ordering::Relaxed);
    thrower.join().unwrap();
    for program in [&sender, &receivers[0]] {
        let dropped = program.report()["wire"]["dropped_malformed"].as_u64();
        assert!(dropped.is_some_and(|dropped| dropped >= 100), "{}", program.report());
    }
}

#[test]
fn garbage_before_the_start_changes_nothing() {
    let lab = Lab::up(2);
    let source = Source::new(2, MIB);
    let mut sender = lab.sender().send().args(&["-n", "1", "-p", "7798"]).source(source).start();
    sender.must_catch_signals();
    let socket = lab.host(2).socket("0.0.0.0:0".parse().unwrap());
    let mut random = fastrand::Rng::with_seed(2);
    for len in 0..1472 {
        let garbage: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        let _ = socket.send_to(&garbage, (lab.sender().ipv4(), 7798));
    }
    let mut receiver = lab.host(1).recv("r1").args(&["-p", "7798"]).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
    // It answered nobody that it cannot understand.
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err());
}
