//! Hosts that are slow: sinks that take nothing, and how long the others wait for them.

use std::time::Duration;

use crate::support::{KIB, Lab, MIB, PATIENCE, Source};

#[test]
fn sink_that_never_reads_is_evicted_after_max_stall_and_the_others_finish() {
    let lab = Lab::up(3);
    // More than the windows of both sides hold: the others wait for it.
    let source = Source::new(1, 96 * MIB);
    let mut stuck = lab.host(1).recv("r1").takes(0).start();
    let mut others = [2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).start());
    let mut sender = lab.sender().send().args(&["-n", "3", "--max-stall", "2s"]).source(source).start();
    sender.finish();
    stuck.must_exit(&[12], PATIENCE);
    sender.must_exit(&[3], PATIENCE);
    for receiver in &mut others {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
    assert!(stuck.stderr().contains("--max-stall"), "{}", stuck.stderr());
    assert!(sender.stderr().contains("r1") && sender.stderr().contains("--max-stall"), "{}", sender.stderr());
    assert_eq!(sender.report_of("r1")["exit_code"], 12, "{}", sender.report());
    let held = sender.report()["limited_by"]["receiver:r1"].as_f64();
    assert!(held.is_some_and(|held| held >= 2.0), "{}", sender.report());
    assert!(
        sender.report_of("r1")["stalled_s"].as_f64().is_some_and(|stalled| stalled > 1.0),
        "{}",
        sender.report()
    );
}

#[test]
fn sink_that_pauses_for_less_than_max_stall_is_waited_for() {
    let lab = Lab::up(2);
    let source = Source::new(2, 96 * MIB);
    let mut pauses = lab.host(1).recv("r1").takes(64 * KIB).start();
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2", "--max-stall", "30s"]).source(source).start();
    sender.finish();
    assert!(!other.delivers(source.len(), Duration::from_secs(2)), "nothing held the stream back");
    pauses.take_all();
    sender.must_exit(&[0], PATIENCE);
    for receiver in [&mut pauses, &mut other] {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}
