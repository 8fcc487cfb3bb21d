//! Programs and hosts that die without a word.

use std::time::Duration;

use crate::support::{Lab, MIB, PATIENCE, Program, Source, all_exit, three_receivers};

/// Every peer takes two seconds of silence for death.
const PATIENT: &[&str] = &["--peer-timeout", "2s"];
/// The peer timeout, and what a loaded machine adds.
const NOTICED: Duration = Duration::from_secs(6);

/// A sender in mid-stream: 4 MiB of 16 fed, and at least 1 MiB delivered by each receiver that writes to its stdout.
fn in_mid_stream(lab: &Lab, source: Source, receivers: &[&Program]) -> Program {
    let mut sender = lab.sender().send().args(&["-n", "3"]).args(PATIENT).source(source).start();
    sender.feed_to(4 * MIB);
    for receiver in receivers {
        receiver.must_deliver(MIB, PATIENCE);
    }
    sender
}

#[test]
fn receivers_of_a_killed_sender_exit_5_and_leave_no_file() {
    let lab = Lab::up(3);
    let source = Source::new(1, 16 * MIB);
    let mut piped = lab.host(1).recv("r1").args(PATIENT).start();
    let mut filed = [2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).args(PATIENT).writes_file().start());
    let mut sender = in_mid_stream(&lab, source, &[&piped]);
    sender.kill();
    sender.ends(PATIENCE);
    piped.must_exit(&[5], NOTICED);
    piped.must_have_delivered_a_prefix(source);
    all_exit(&mut filed, 5, NOTICED);
    for receiver in &filed {
        receiver.must_leave_no_file();
        assert_eq!(receiver.report()["outcome"], "failed");
    }
}

#[test]
fn receivers_of_a_sender_killed_before_the_start_exit_4() {
    let lab = Lab::up(2);
    let mut receivers = [1, 2]
        .map(|h| lab.host(h).recv(&format!("r{h}")).args(&["--start-timeout", "3s"]).writes_file().start());
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(Source::new(2, MIB)).start();
    sender.must_have_joined("r1");
    sender.must_have_joined("r2");
    sender.kill();
    sender.ends(PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[4], PATIENCE);
        receiver.must_leave_no_file();
    }
}

#[test]
fn one_killed_receiver_is_named_and_the_others_finish() {
    let lab = Lab::up(3);
    let source = Source::new(3, 16 * MIB);
    let mut receivers = three_receivers(&lab, PATIENT);
    let mut sender = in_mid_stream(&lab, source, &receivers.iter().collect::<Vec<_>>());
    receivers.remove(1).kill();
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
    let report = sender.report();
    assert_eq!(report["outcome"], "partial", "{report}");
    assert_ne!(sender.report_of("r2")["exit_code"], 0, "{report}");
    assert_eq!(sender.report_of("r1")["exit_code"], 0, "{report}");
    assert_eq!(sender.report_of("r3")["exit_code"], 0, "{report}");
    assert!(sender.stderr().contains("r2"), "stderr does not name r2");
}

#[test]
fn partial_ok_makes_a_killed_receiver_no_failure() {
    let lab = Lab::up(2);
    let source = Source::new(4, 8 * MIB);
    let mut stays = lab.host(1).recv("r1").start();
    let dies = lab.host(2).recv("r2").start();
    let mut sender =
        lab.sender().send().args(&["-n", "2", "--partial-ok"]).args(PATIENT).source(source).start();
    sender.feed_to(4 * MIB);
    dies.must_deliver(MIB, PATIENCE);
    dies.kill();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    stays.must_exit(&[0], PATIENCE);
    stays.must_have_delivered(source);
}

#[test]
fn sender_whose_receivers_were_all_killed_exits_5() {
    let lab = Lab::up(3);
    let source = Source::new(5, 16 * MIB);
    let receivers = three_receivers(&lab, PATIENT);
    let mut sender = in_mid_stream(&lab, source, &receivers.iter().collect::<Vec<_>>());
    for receiver in &receivers {
        receiver.kill();
    }
    // The source stays silent: it is the peers' silence that counts.
    sender.must_exit(&[5], NOTICED);
    assert_eq!(sender.report()["outcome"], "failed");
}

#[test]
fn host_cut_off_for_longer_than_the_peer_timeout_exits_5_and_the_others_finish() {
    let lab = Lab::up(3);
    let source = Source::new(6, 16 * MIB);
    let mut receivers = three_receivers(&lab, PATIENT);
    let mut sender = in_mid_stream(&lab, source, &receivers.iter().collect::<Vec<_>>());
    lab.script("unplug", &["2"]);
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    receivers.remove(1).must_exit(&[5], NOTICED);
    all_exit(&mut receivers, 0, PATIENCE);
    assert_ne!(sender.report_of("r2")["exit_code"], 0);
}

#[test]
fn host_that_is_no_longer_heard_is_evicted_and_told() {
    let lab = Lab::up(3);
    let source = Source::new(7, 16 * MIB);
    let mut receivers = three_receivers(&lab, PATIENT);
    let mut sender = in_mid_stream(&lab, source, &receivers.iter().collect::<Vec<_>>());
    lab.script("cut", &["2", "out"]);
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    receivers.remove(1).must_exit(&[12, 5], NOTICED);
    all_exit(&mut receivers, 0, PATIENCE);
}
