//! When a session starts, with whom, and what those are told who came too late or were too few.

use std::time::Duration;

use crate::support::{AT_ONCE, KIB, Lab, MIB, PATIENCE, Program, Source, all_exit};

fn receiver(lab: &Lab, h: usize) -> Program {
    lab.host(h).recv(&format!("r{h}")).start()
}

#[test]
fn too_few_receivers_end_both_sides_with_4_at_the_start_timeout() {
    let lab = Lab::up(2);
    let mut receivers = [receiver(&lab, 1), receiver(&lab, 2)];
    let mut sender =
        lab.sender().send().args(&["-n", "3", "--start-timeout", "2s"]).source(Source::new(1, KIB)).start();
    sender.must_exit(&[4], PATIENCE);
    // They would wait for minutes by themselves: they were told.
    all_exit(&mut receivers, 4, AT_ONCE);
    assert_eq!(sender.report()["exit_code"], 4);
    for receiver in &receivers {
        receiver.must_have_delivered(Source::new(1, 0));
    }
}

#[test]
fn receiver_is_told_the_name_of_the_sender() {
    let lab = Lab::up(1);
    let mut receiver = receiver(&lab, 1);
    let mut sender = lab.sender().send().args(&["--name", "db1"]).source(Source::new(1, KIB)).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    assert!(receiver.stderr().contains("name=db1"), "{}", receiver.stderr());
}

#[test]
fn sender_without_receivers_exits_4_at_the_start_timeout() {
    let lab = Lab::up(1);
    let mut sender =
        lab.sender().send().args(&["--start-timeout", "500ms"]).source(Source::new(1, KIB)).start();
    sender.must_exit(&[4], AT_ONCE);
}

#[test]
fn receiver_without_a_sender_exits_4_at_the_start_timeout() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").args(&["--start-timeout", "500ms"]).writes_file().start();
    receiver.must_exit(&[4], AT_ONCE);
    receiver.must_leave_no_file();
}

#[test]
fn max_wait_starts_with_fewer_than_the_minimum() {
    let lab = Lab::up(2);
    let source = Source::new(2, MIB);
    let mut receivers = [receiver(&lab, 1), receiver(&lab, 2)];
    let mut sender = lab.sender().send().args(&["-n", "3", "--max-wait", "1s"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
}

#[test]
fn max_receivers_start_at_once_whatever_min_wait_says() {
    let lab = Lab::up(2);
    let source = Source::new(3, MIB);
    let mut receivers = [receiver(&lab, 1), receiver(&lab, 2)];
    let mut sender =
        lab.sender().send().args(&["--max-receivers", "2", "--min-wait", "5m"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
}

#[test]
fn min_wait_gathers_those_who_come_within_it() {
    let lab = Lab::up(2);
    let source = Source::new(4, MIB);
    let mut sender = lab.sender().send().args(&["-n", "1", "--min-wait", "3s"]).source(source).start();
    sender.finish();
    let mut first = receiver(&lab, 1);
    sender.must_have_joined("r1");
    let mut second = receiver(&lab, 2);
    sender.must_exit(&[0], PATIENCE);
    first.must_exit(&[0], PATIENCE);
    second.must_exit(&[0], PATIENCE);
}

#[test]
fn required_receivers_are_waited_for_by_name() {
    let lab = Lab::up(3);
    let source = Source::new(5, MIB);
    let mut sender = lab.sender().send().args(&["--require", "r1,r2"]).source(source).start();
    sender.finish();
    let mut others = [receiver(&lab, 2), receiver(&lab, 3)];
    sender.must_have_joined("r2");
    sender.must_have_joined("r3");
    assert!(!others[0].delivers(1, Duration::from_millis(300)), "started without r1");
    let mut required = receiver(&lab, 1);
    sender.must_exit(&[0], PATIENCE);
    required.must_exit(&[0], PATIENCE);
    all_exit(&mut others, 0, PATIENCE);
}

#[test]
fn late_receiver_is_told_that_the_session_started() {
    let lab = Lab::up(2);
    let source = Source::new(6, 4 * MIB);
    let mut early = receiver(&lab, 1);
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.feed_to(2 * MIB);
    early.must_deliver(MIB, PATIENCE);
    let mut late = lab.host(2).recv("late").writes_file().start();
    late.must_exit(&[4], AT_ONCE);
    late.must_leave_no_file();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    early.must_exit(&[0], PATIENCE);
    early.must_have_delivered(source);
}

#[test]
fn receiver_that_expects_another_label_keeps_out() {
    let lab = Lab::up(2);
    let source = Source::new(7, MIB);
    let mut right = lab.host(1).recv("right").args(&["--expect", "nightly"]).start();
    let mut wrong = lab.host(2).recv("wrong").args(&["--expect", "hourly", "--start-timeout", "3s"]).start();
    let mut sender = lab.sender().send().args(&["-n", "1", "-l", "nightly"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    right.must_exit(&[0], PATIENCE);
    right.must_have_delivered(source);
    wrong.must_exit(&[4], PATIENCE);
    wrong.must_have_delivered(Source::new(7, 0));
}

#[test]
fn receiver_that_is_not_heard_is_not_waited_for_as_if_it_had_joined() {
    let lab = Lab::up(2);
    let source = Source::new(8, MIB);
    lab.script("cut", &["2", "out"]);
    let mut heard = receiver(&lab, 1);
    let mut unheard = lab.host(2).recv("r2").args(&["--start-timeout", "5s"]).writes_file().start();
    let mut sender = lab.sender().send().args(&["-n", "2", "--max-wait", "1s"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    heard.must_exit(&[0], PATIENCE);
    // It hears a session that it could not join.
    unheard.must_exit(&[4, 5], PATIENCE);
    unheard.must_leave_no_file();
}

#[test]
fn receiver_that_leaves_before_the_start_frees_its_place() {
    let lab = Lab::up(3);
    let source = Source::new(9, MIB);
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    let mut leaves = receiver(&lab, 1);
    sender.must_have_joined("r1");
    leaves.signal(rustix::process::Signal::INT);
    leaves.must_exit(&[130], AT_ONCE);
    let mut others = vec![receiver(&lab, 2)];
    sender.must_have_joined("r2");
    assert!(!others[0].delivers(1, Duration::from_millis(300)), "started with a receiver that had left");
    others.push(receiver(&lab, 3));
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut others, 0, PATIENCE);
}
