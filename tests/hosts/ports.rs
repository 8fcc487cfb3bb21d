//! A receiver's port that is slower than the sender's, as a switch has it.
//!
//! How well the rate settles there is a matter of the simulator, which has no noise. Beside many other sessions a starved sender
//! overruns a shallow queue (fault 58, for the control of the rate), so `scripts/test` runs these tests one after the other.

use std::time::Duration;

use crate::support::{Lab, MIB, PATIENCE, Program, Source, all_exit, three_receivers};

/// What a switch holds back for a port: little, and much.
const SHALLOW: &str = "64k";
const DEEP: &str = "2m";

/// Bytes of stream in a second that a port of so many Mbit/s carries at most: 1,428 in a frame of 1,514.
fn payload(megabits: u64) -> u64 {
    megabits * 125_000 * 1_428 / 1_514
}

/// The first of three receivers is behind a port of so many Mbit/s with this queue, the sender's carries a Gbit/s.
fn start(megabits: u64, queue: &str, source: Source) -> (Lab, Program, Vec<Program>) {
    let (rate, room) = (format!("1={megabits}mbit"), format!("1={queue}"));
    let lab = Lab::with(3, &["--rate", "1gbit", "--rate-at", &rate, "--queue-at", &room]);
    let receivers = three_receivers(&lab, &[]);
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.finish();
    (lab, sender, receivers)
}

/// After a first second, in which it is found, the rate stays near what the port carries, and the port drops next to nothing.
fn settles(megabits: u64, queue: &str) {
    let source = Source::new(megabits, payload(megabits) * 4);
    let (lab, mut sender, mut receivers) = start(megabits, queue, source);
    receivers[0].must_deliver(payload(megabits), PATIENCE);
    let before = lab.port(1);
    sender.must_exit(&[0], PATIENCE);
    let after = lab.port(1);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
    let what = format!("{megabits} Mbit/s, queue of {queue}");
    // On a quiet machine 0.91 to 0.99, the first second included, and less than 0.02 (0.05 where two programs take all
    // the time they can get). Without a rate of its own, the port drops half of what it is sent, and more. A machine that
    // has no time sends less, 0.53 beside a build; a rate that is stuck far too low would be a tenth.
    let share = sender.report()["goodput_bps"].as_f64().unwrap() / 8.0 / payload(megabits) as f64;
    assert!(share >= 0.25, "{what}: {share:.3} of what it carries");
    let (carried, dropped) = (after.carried - before.carried, after.dropped - before.dropped);
    let lost = dropped as f64 / (carried + dropped) as f64;
    assert!(lost < 0.1, "{what}: {lost:.4} of {carried} lost");
}

#[test]
fn port_with_a_shallow_queue_that_is_slower_sets_the_pace() {
    settles(100, SHALLOW);
    settles(200, SHALLOW);
}

#[test]
fn port_with_a_deep_queue_that_is_slower_sets_the_pace() {
    settles(100, DEEP);
    settles(200, DEEP);
}

#[test]
fn report_and_debug_log_name_the_receiver_behind_a_slower_port() {
    let source = Source::new(4, payload(100) * 3);
    let (_lab, mut sender, mut receivers) = start(100, SHALLOW, source);
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    let (report, said) = (sender.report(), sender.stderr());
    let control = &report["rate_control"];
    assert_eq!(control["slowest_receiver"], "r1", "{report}");
    assert!(["limited", "probe"].iter().any(|phase| control["phase"] == *phase), "{report}");
    // Wide, for a machine that is busy: what is wrong by a factor would be another port.
    let capacity = control["capacity_bps"].as_f64().unwrap();
    assert!((50e6..130e6).contains(&capacity), "{report}");
    assert!(said.contains("r1 limits the rate: the path to it carries "), "{said}");
    assert!(said.matches("limits the rate").count() <= 5, "{said}");
}

/// Whether a limit that goes away in mid-session is left behind. Either way everything arrives.
fn comes_back(queue: &str) -> bool {
    let source = Source::new(3, 280 * MIB);
    let (lab, mut sender, mut receivers) = start(100, queue, source);
    receivers[0].must_deliver(payload(100) * 2, PATIENCE);
    lab.script("rate", &["1", "none"]);
    let goal = receivers[0].taken() + 250 * MIB;
    // Three seconds on a quiet machine, of which a gigabit takes two; at the rate before it were 22.
    let back = receivers[0].delivers(goal, Duration::from_secs(16));
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
    back
}

#[test]
fn rate_comes_back_when_a_slower_ports_limit_goes_away() {
    for queue in [SHALLOW, DEEP] {
        // A machine without time has no use for a faster rate.
        assert!((0..3).any(|_| comes_back(queue)), "queue of {queue}");
    }
}
