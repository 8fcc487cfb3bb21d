//! Hosts that are slow: sinks that take nothing, and how long the others wait for them.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::wait::{Stopwatch, for_as_long_as};
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

#[test]
fn sink_that_pauses_costs_neither_processor_nor_network_and_the_stream_goes_on_at_once() {
    let lab = Lab::up(2);
    let source = Source::new(5, 96 * MIB);
    let pauses = lab.host(1).recv("r1").takes(64 * KIB).start();
    let other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    // The buffer of the one that pauses, and not much more.
    other.must_deliver(30 * MIB, PATIENCE);
    assert!(!other.delivers(40 * MIB, Duration::from_secs(1)), "nothing held the stream back");
    let programs = [&sender, &pauses, &other];
    let used = || programs.map(|program| program.processor_time());
    let carried = || [0, 1, 2].map(|h| lab.host(h).frames_sent());
    let (time_before, frames_before) = (used(), carried());
    for_as_long_as(Duration::from_secs(4));
    let (time, frames) = (used(), carried());
    for (now, before) in time.iter().zip(time_before) {
        // Ticks of the progress line and some datagrams: a hundredth of a core.
        assert!(*now - before <= Duration::from_millis(100), "{time_before:?} became {time:?}");
    }
    // Four keep-alives and an announce a second; a report a second from each; and what address resolution adds.
    assert!(frames[0] - frames_before[0] <= 4 * 5 + 8, "{frames_before:?} became {frames:?}");
    for h in [1, 2] {
        assert!(frames[h] - frames_before[h] <= 4 + 6, "{frames_before:?} became {frames:?}");
    }
    let taken = other.taken();
    pauses.take_all();
    let watch = Stopwatch::start();
    other.must_deliver(taken + MIB, PATIENCE);
    // Within 100 ms, on a machine that does nothing else.
    assert!(watch.elapsed() < Duration::from_millis(900), "went on after {:?}", watch.elapsed());
    for mut program in [sender, pauses, other] {
        program.must_exit(&[0], PATIENCE);
    }
}

#[test]
fn receive_buffer_of_8_kib_costs_time_and_its_drops_are_counted_as_such() {
    let lab = Lab::with(2, &["--rate", "1gbit"]);
    let source = Source::new(3, 2 * MIB);
    let mut small = lab.host(1).recv("r1").start();
    small.must_say("waiting for a sender", PATIENCE);
    small.must_get_along_with_a_receive_buffer_of(8 << 10, 7767);
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    for receiver in [&mut small, &mut other] {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
    let count = |report: &serde_json::Value, field: &str| report[field].as_u64().unwrap();
    for report in [small.report(), sender.report_of("r1")] {
        let (lost, dropped) = (count(&report, "lost_symbols"), count(&report, "dropped_at_socket"));
        // The lab's switch has room for what the sender's port lets through.
        assert!(dropped > 0 && dropped <= lost + 100, "{report}");
    }
    for report in [other.report(), sender.report_of("r2")] {
        assert_eq!(count(&report, "dropped_at_socket"), 0, "{report}");
    }
}

#[test]
fn receiver_kept_from_the_processor_slows_the_stream_and_breaks_nothing() {
    let lab = Lab::with(2, &["--rate", "1gbit"]);
    let source = Source::new(4, 32 * MIB);
    let mut receivers = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).start());
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    receivers[0].must_deliver(MIB, PATIENCE);
    // It runs for a tenth of the time: what a host does that is busy with something else.
    for _ in 0..20 {
        receivers[0].signal(Signal::STOP);
        for_as_long_as(Duration::from_millis(90));
        receivers[0].signal(Signal::CONT);
        if sender.ends(Duration::from_millis(10)).is_some() {
            break;
        }
    }
    sender.must_exit(&[0], PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}

#[test]
fn buffer_of_2_gib_takes_no_memory_before_it_is_needed_and_then_lets_the_others_run_ahead() {
    let lab = Lab::with(2, &["--offload", "on"]);
    let source = Source::new(6, 160 * MIB);
    let mut pauses = lab.host(1).recv("r1").args(&["--buffer", "2G"]).takes(0).start();
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2", "--window", "4M"]).source(source).start();
    sender.feed_to(20 * MIB);
    other.must_deliver(20 * MIB, PATIENCE);
    // What has come is there, with memory for batches that are under way, and nothing else.
    assert!(pauses.peak_memory() < 80 * MIB, "{} KiB", pauses.peak_memory() / KIB);
    sender.finish();
    other.must_deliver(source.len(), PATIENCE);
    assert!((160 * MIB..240 * MIB).contains(&pauses.peak_memory()), "{} KiB", pauses.peak_memory() / KIB);
    // As much as it was given, and not what the sender keeps.
    assert!(sender.peak_memory() < 60 * MIB, "{} KiB", sender.peak_memory() / KIB);
    pauses.take_all();
    sender.must_exit(&[0], PATIENCE);
    for receiver in [&mut pauses, &mut other] {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}
