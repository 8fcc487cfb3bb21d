//! Programs and links that pause, and hosts that hear only part of what is sent.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::wait::for_as_long_as;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source, all_exit, three_receivers};

/// A sender in mid-stream: 4 MiB fed, at least 1 MiB delivered by every receiver.
fn in_mid_stream(lab: &Lab, source: Source, receivers: &[Program], options: &[&str]) -> Program {
    let mut sender = lab.sender().send().args(&["-n", "3"]).args(options).source(source).start();
    sender.feed_to(4 * MIB);
    for receiver in receivers {
        receiver.must_deliver(MIB, PATIENCE);
    }
    sender
}

#[test]
fn receiver_stopped_for_less_than_the_peer_timeout_catches_up() {
    let lab = Lab::up(3);
    let source = Source::new(1, 32 * MIB);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = in_mid_stream(&lab, source, &receivers, &[]);
    receivers[1].signal(Signal::STOP);
    sender.finish();
    for_as_long_as(Duration::from_secs(5));
    receivers[1].signal(Signal::CONT);
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    receivers[1].must_have_delivered(source);
}

#[test]
fn receiver_stopped_for_longer_is_evicted_and_learns_it_on_waking() {
    let lab = Lab::up(3);
    let source = Source::new(2, 16 * MIB);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = in_mid_stream(&lab, source, &receivers, &["--peer-timeout", "2s"]);
    receivers[1].signal(Signal::STOP);
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    let mut stopped = receivers.remove(1);
    all_exit(&mut receivers, 0, PATIENCE);
    stopped.signal(Signal::CONT);
    // What it was told waits at its socket, unless there was no room: then it finds silence.
    stopped.must_exit(&[12, 5], PATIENCE);
    stopped.must_have_delivered_a_prefix(source);
}

#[test]
fn sender_stopped_for_longer_than_the_peer_timeout_evicts_nobody_for_its_own_pause() {
    let lab = Lab::up(3);
    let source = Source::new(3, 16 * MIB);
    let mut receivers = three_receivers(&lab, &["--peer-timeout", "30s"]);
    let mut sender = in_mid_stream(&lab, source, &receivers, &["--peer-timeout", "1s"]);
    sender.signal(Signal::STOP);
    for_as_long_as(Duration::from_secs(3));
    sender.signal(Signal::CONT);
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
}

#[test]
fn sender_stopped_for_a_minute_evicts_nobody_and_who_lost_patience_has_said_so() {
    let lab = Lab::up(3);
    let source = Source::new(9, 16 * MIB);
    let patient = ["--peer-timeout", "90s"];
    let mut receivers: Vec<_> =
        [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).args(&patient).start()).into();
    receivers.push(lab.host(3).recv("r3").start());
    let mut sender = in_mid_stream(&lab, source, &receivers, &[]);
    sender.signal(Signal::STOP);
    for_as_long_as(Duration::from_secs(60));
    let mut impatient = receivers.remove(2);
    impatient.must_exit(&[5], AT_ONCE);
    sender.signal(Signal::CONT);
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
    assert_eq!(sender.report_of("r3")["exit_code"], 5, "{}", sender.report());
}

#[test]
fn cable_pulled_for_less_than_the_peer_timeout_is_only_loss() {
    let lab = Lab::up(3);
    let source = Source::new(4, 16 * MIB);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = in_mid_stream(&lab, source, &receivers, &[]);
    lab.script("unplug", &["2"]);
    sender.finish();
    for_as_long_as(Duration::from_secs(1));
    lab.script("plug", &["2"]);
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    receivers[1].must_have_delivered(source);
}

#[test]
fn senders_own_cable_pulled_for_less_than_the_peer_timeout_is_only_loss() {
    let lab = Lab::up(3);
    let source = Source::new(5, 16 * MIB);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = in_mid_stream(&lab, source, &receivers, &[]);
    lab.script("unplug", &["0"]);
    sender.finish();
    for_as_long_as(Duration::from_secs(1));
    lab.script("plug", &["0"]);
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
}

#[test]
fn restarted_receiver_is_told_that_the_session_goes_on_without_it() {
    let lab = Lab::up(3);
    let source = Source::new(6, 16 * MIB);
    let mut receivers = three_receivers(&lab, &[]);
    let mut sender = in_mid_stream(&lab, source, &receivers, &["--peer-timeout", "2s"]);
    receivers.remove(1).kill();
    let mut restarted = lab.host(2).recv("r2").writes_file().start();
    restarted.must_exit(&[4], PATIENCE);
    restarted.must_leave_no_file();
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
}

#[test]
fn silence_of_source_sink_or_peers_to_come_is_not_the_silence_of_the_dead() {
    const HASTY: &[&str] = &["--peer-timeout", "1s"];
    const LONGER: Duration = Duration::from_secs(3);
    let lab = Lab::up(2);
    let source = Source::new(8, 8 * MIB);
    let mut stuck = lab.host(1).recv("r1").args(HASTY).takes(MIB).start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).args(HASTY).source(source).start();
    sender.must_have_joined("r1");
    for_as_long_as(LONGER); // nobody else comes
    let mut other = lab.host(2).recv("r2").args(HASTY).start();
    sender.feed_to(4 * MIB);
    other.must_deliver(4 * MIB, PATIENCE);
    for_as_long_as(LONGER); // neither does the source bring anything, nor does the first sink take more
    sender.finish();
    other.must_deliver(source.len(), PATIENCE);
    for_as_long_as(LONGER); // only that sink is left
    stuck.take_all();
    sender.must_exit(&[0], PATIENCE);
    for receiver in [&mut stuck, &mut other] {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}

#[test]
fn host_that_large_frames_do_not_reach_ends_in_bounded_time() {
    let lab = Lab::up(3);
    let source = Source::new(7, 4 * MIB);
    lab.script("size", &["2", "1200"]);
    let mut receivers = three_receivers(&lab, &["--peer-timeout", "2s"]);
    let mut sender = lab.sender().send().args(&["-n", "3", "--peer-timeout", "2s"]).source(source).start();
    sender.finish();
    sender.must_say("--mtu", PATIENCE);
    sender.must_exit(&[3], PATIENCE);
    receivers.remove(1).must_exit(&[5], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
}
