//! Death, pauses and signals in the phases that have no stream: joined but not started, all received but not done.
//!
//! The other phases are in `deaths.rs` and `signals.rs`.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::obey::WAYS;
use crate::support::wait::{comes_true, for_as_long_as};
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source};

const HASTY: &[&str] = &["--peer-timeout", "2s"];
/// Sees the end of its input, which means that the stream is verified, and is at work until told to end.
const AT_WORK: &str =
    "cat >/dev/null; touch $D/at-work; while ! [ -e $D/go ]; do sleep 0.01; done; touch $D/end";
fn each_way(check: impl Fn(&dyn Fn(&mut Program))) {
    for way in WAYS {
        check(&|program: &mut Program| way.stops(program));
    }
}

/// Two receivers that have everything, verified, and whose commands are at work; and their sender.
fn at_work(lab: &Lab) -> (Program, Program, Program) {
    let first = lab.host(1).recv("r1").args(HASTY).runs(AT_WORK).start();
    let second = lab.host(2).recv("r2").args(HASTY).runs(AT_WORK).start();
    let mut sender =
        lab.sender().send().args(&["-n", "2"]).args(HASTY).source(Source::new(1, 2 * MIB)).start();
    sender.finish();
    for receiver in [&first, &second] {
        assert!(comes_true(PATIENCE, || receiver.file("at-work").exists()));
    }
    (sender, first, second)
}

fn go(receiver: &Program) {
    std::fs::write(receiver.file("go"), "").unwrap();
}

#[test]
fn receiver_obeys_in_the_start_window_and_frees_its_place() {
    each_way(|obeys| {
        let lab = Lab::up(2);
        let mut leaves = lab.host(1).recv("r1").writes_file().start();
        let mut sender =
            lab.sender().send().args(&["-n", "2"]).args(HASTY).source(Source::new(2, MIB)).start();
        leaves.must_say("joined", PATIENCE);
        obeys(&mut leaves);
        leaves.must_leave_no_file();
        // Two others make it start.
        let mut others = [1, 2].map(|h| lab.host(h).recv(&format!("other{h}")).start());
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        for other in &mut others {
            other.must_exit(&[0], PATIENCE);
        }
    });
}

#[test]
fn receiver_obeys_while_its_command_is_at_work_and_kills_it() {
    each_way(|obeys| {
        let lab = Lab::up(2);
        let (mut sender, mut first, mut second) = at_work(&lab);
        obeys(&mut first);
        assert!(!first.file("end").exists());
        go(&second);
        second.must_exit(&[0], PATIENCE);
        sender.must_exit(&[3], PATIENCE);
    });
}

#[test]
fn receiver_obeys_while_its_then_is_at_work_and_kills_it() {
    each_way(|obeys| {
        let lab = Lab::up(1);
        let then = "touch {file}.at-work; sleep 1000; touch {file}.end";
        let mut receiver = lab.host(1).recv("r1").writes_file().args(&["--then", then]).start();
        let mut sender =
            lab.sender().send().args(&["-n", "1"]).args(HASTY).source(Source::new(5, MIB)).start();
        sender.finish();
        assert!(comes_true(PATIENCE, || receiver.output().with_extension("at-work").exists()));
        obeys(&mut receiver);
        assert!(!receiver.output().with_extension("end").exists());
        // What was verified and in place stays there.
        receiver.must_have_written(Source::new(5, MIB));
        sender.must_exit(&[5, 11], PATIENCE);
    });
}

#[test]
fn sender_obeys_while_commands_are_at_work_and_takes_nothing_from_those_who_have_all() {
    each_way(|obeys| {
        let lab = Lab::up(2);
        let (mut sender, mut first, mut second) = at_work(&lab);
        obeys(&mut sender);
        for receiver in [&mut first, &mut second] {
            go(receiver);
            receiver.must_exit(&[0], PATIENCE);
            assert!(receiver.file("end").exists());
        }
    });
}

#[test]
fn sender_obeys_while_its_command_is_silent_and_kills_it() {
    each_way(|obeys| {
        let lab = Lab::up(1);
        let mut receiver = lab.host(1).recv("r1").start();
        let mut sender = lab.sender().send().args(&["-n", "1"]).runs("printf x; sleep 1000").start();
        receiver.must_deliver(1, PATIENCE);
        obeys(&mut sender);
        receiver.must_exit(&[11], AT_ONCE);
    });
}

#[test]
fn receiver_obeys_twice_in_mid_stream_while_its_command_reads_nothing() {
    each_way(|obeys| {
        let lab = Lab::up(1);
        let mut receiver =
            lab.host(1).recv("r1").runs("touch $D/at-work; sleep 1000; cat >/dev/null").start();
        let mut sender =
            lab.sender().send().args(&["-n", "1"]).args(HASTY).source(Source::new(3, 64 * MIB)).start();
        sender.finish();
        assert!(comes_true(PATIENCE, || receiver.file("at-work").exists()));
        obeys(&mut receiver);
        sender.must_exit(&[5, 11], PATIENCE);
    });
}

/// Fault 14: after the end, what is there is there.
#[test]
fn receivers_that_have_all_do_not_need_a_sender_that_is_killed() {
    let lab = Lab::up(2);
    let (mut sender, mut first, mut second) = at_work(&lab);
    sender.kill();
    sender.ends(AT_ONCE).unwrap();
    for receiver in [&mut first, &mut second] {
        go(receiver);
        receiver.must_exit(&[0], PATIENCE);
        assert!(receiver.file("end").exists());
    }
}

/// Fault 15: a receiver killed with everything verified and its command at work has not succeeded.
#[test]
fn receiver_killed_while_its_command_is_at_work_is_named_and_the_others_finish() {
    let lab = Lab::up(2);
    let (mut sender, first, mut second) = at_work(&lab);
    first.kill();
    go(&second);
    second.must_exit(&[0], PATIENCE);
    sender.must_exit(&[3], PATIENCE);
    first.processes().must_be_gone(AT_ONCE);
    assert!(!first.file("end").exists());
    assert_ne!(sender.report_of("r1")["exit_code"], 0);
}

/// Fault 15: a receiver killed while it waits is nobody that the session starts with.
#[test]
fn receiver_killed_in_the_start_window_is_forgotten_and_others_start() {
    let lab = Lab::up(3);
    let source = Source::new(6, MIB);
    let mut sender = lab.sender().send().args(&["-n", "2"]).args(HASTY).source(source).start();
    sender.finish();
    let dies = lab.host(1).recv("r1").writes_file().start();
    sender.must_have_joined("r1");
    dies.kill();
    sender.must_say("is evicted: it was silent", PATIENCE);
    let mut others = [2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).start());
    sender.must_exit(&[0], PATIENCE);
    for other in &mut others {
        other.must_exit(&[0], PATIENCE);
        other.must_have_delivered(source);
    }
    dies.must_leave_no_file();
}

/// The second receiver comes, and both get everything.
fn start_with(lab: &Lab, mut sender: Program, first: Program, source: Source) {
    let mut receivers = [first, lab.host(2).recv("r2").start()];
    sender.must_exit(&[0], PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}

/// Fault 17.
#[test]
fn receiver_stopped_in_the_start_window_for_longer_than_the_peer_timeout_takes_part_once_it_wakes() {
    let lab = Lab::up(2);
    let source = Source::new(7, MIB);
    let mut sender = lab.sender().send().args(&["-n", "2"]).args(HASTY).source(source).start();
    sender.finish();
    let stopped = lab.host(1).recv("r1").start();
    sender.must_have_joined("r1");
    stopped.signal(Signal::STOP);
    sender.must_say("is evicted: it was silent", PATIENCE);
    stopped.signal(Signal::CONT);
    start_with(&lab, sender, stopped, source);
}

/// Fault 17.
#[test]
fn sender_stopped_in_the_start_window_goes_on_as_if_nothing_had_been() {
    let lab = Lab::up(2);
    let source = Source::new(8, MIB);
    let mut sender = lab.sender().send().args(&["-n", "2"]).args(HASTY).source(source).start();
    sender.finish();
    let early = lab.host(1).recv("r1").start();
    sender.must_have_joined("r1");
    sender.signal(Signal::STOP);
    for_as_long_as(Duration::from_secs(4));
    sender.signal(Signal::CONT);
    start_with(&lab, sender, early, source);
}

/// Fault 17: neither has anything to say but that it lives.
#[test]
fn sender_and_receiver_stopped_while_commands_are_at_work_are_waited_for() {
    let lab = Lab::up(2);
    let (mut sender, mut first, mut second) = at_work(&lab);
    for stopped in [&first, &sender] {
        stopped.signal(Signal::STOP);
        for_as_long_as(Duration::from_secs(1));
        stopped.signal(Signal::CONT);
    }
    for receiver in [&mut first, &mut second] {
        go(receiver);
        receiver.must_exit(&[0], PATIENCE);
    }
    sender.must_exit(&[0], PATIENCE);
}

/// Fault 14: killed before anybody joined.
#[test]
fn receivers_wait_on_for_a_sender_when_one_is_killed_before_they_come() {
    let lab = Lab::up(1);
    let sender = lab.sender().send().source(Source::new(4, MIB)).start();
    sender.must_say("waiting for receivers", PATIENCE);
    sender.kill();
    let mut receiver = lab.host(1).recv("r1").args(&["--start-timeout", "1s"]).writes_file().start();
    receiver.must_exit(&[4], PATIENCE);
    receiver.must_leave_no_file();
}
