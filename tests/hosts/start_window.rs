//! When a session starts, with whom, and what those are told who came too late or were too few.

use std::time::Duration;

use serde_json::json;

use crate::support::program::Launch;
use crate::support::{AT_ONCE, KIB, Lab, MIB, PATIENCE, Program, Source, all_exit};

fn receiver(lab: &Lab, h: usize) -> Program {
    lab.host(h).recv(&format!("r{h}")).start()
}

/// A sender with -q, which prints errors only.
fn quiet_sender(lab: &Lab, flags: &[&str]) -> Launch {
    let command = lab.sender().command(env!("CARGO_BIN_EXE_mcast-send"));
    Launch::new(command, "sender").arg("-q").args(flags)
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
fn quiet_sender_that_started_with_too_few_ends_with_3_and_one_line() {
    let lab = Lab::up(2);
    let source = Source::new(2, MIB);
    for (flags, code) in [(&[][..], 3), (&["--partial-ok"], 0)] {
        let mut receivers = [receiver(&lab, 1), receiver(&lab, 2)];
        let launch = quiet_sender(&lab, &["-n", "3", "--max-wait", "1s"]).args(flags);
        let mut sender = launch.source(source).start();
        sender.finish();
        sender.must_exit(&[code], PATIENCE);
        all_exit(&mut receivers, 0, PATIENCE);
        let (said, report) = (sender.stderr(), sender.report());
        if code == 3 {
            let line = "mcast-send: started with 2 of 3 receivers after --max-wait (1 s); the stream is complete at r1, r2";
            assert_eq!(said.trim_end(), line);
        }
        assert_eq!((&report["min_receivers"], &report["exit_code"]), (&json!(3), &json!(code)));
        assert_eq!((&report["expected"], &report["missing"]), (&json!([]), &json!([])));
    }
}

#[test]
fn quiet_sender_that_started_without_an_expected_receiver_ends_with_3_and_names_it() {
    let lab = Lab::up(2);
    let source = Source::new(12, MIB);
    let mut receivers = [receiver(&lab, 1), receiver(&lab, 2)];
    let flags = ["--expect-receivers", "r1,r2,files", "--max-wait", "1s"];
    let mut sender = quiet_sender(&lab, &flags).source(source).start();
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    let report = sender.report();
    let line = "started with 2 of 3 receivers after --max-wait (1 s); missing: files; the stream is complete at r1, r2";
    assert_eq!(sender.stderr().trim_end(), format!("mcast-send: {line}"));
    assert_eq!(report["error"], line);
    assert_eq!((&report["outcome"], &report["min_receivers"]), (&json!("partial"), &json!(null)));
    assert_eq!((&report["expected"], &report["missing"]), (&json!(["files", "r1", "r2"]), &json!(["files"])));
}

#[test]
fn quiet_sender_says_nothing_where_all_expected_receivers_are_there() {
    let lab = Lab::up(2);
    let source = Source::new(13, MIB);
    let mut receivers = [receiver(&lab, 1), receiver(&lab, 2)];
    let flags = ["--expect-receivers", "r1,r2", "--max-wait", "1m"];
    let mut sender = quiet_sender(&lab, &flags).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    assert_eq!(sender.stderr(), "");
    assert_eq!(sender.report()["missing"], json!([]));
}

/// The receiver's own limit is the shorter one, as it is where both have the same and the receiver was launched first.
#[test]
fn receiver_that_gave_up_before_the_sender_is_named_by_it_and_no_firewall_is() {
    let lab = Lab::up(1);
    let mut early = lab.host(1).recv("r1").args(&["--start-timeout", "2s"]).start();
    let launch = lab.sender().send().args(&["-n", "3", "--start-timeout", "4s"]);
    let mut sender = launch.source(Source::new(14, KIB)).start();
    sender.must_have_joined("r1");
    early.must_exit(&[4], PATIENCE);
    sender.must_exit(&[4], PATIENCE);
    let (said, own) = (sender.stderr(), early.stderr());
    let line = said.lines().last().unwrap_or_default();
    for part in [
        "no start within --start-timeout (4 s): 1 of 3 receivers had joined; r1 joined after ",
        "(its --start-timeout)",
        "interface eth0",
        "group 239.255.77.67",
        "port 7767",
    ] {
        assert!(line.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("firewall"), "{said}");
    let line = own.lines().last().unwrap_or_default();
    for part in [
        "joined the session of ",
        "did not start within --start-timeout (2 s)",
        "interface eth0",
        "port 7767",
    ] {
        assert!(line.contains(part), "{part}: {own}");
    }
    assert!(!own.contains("firewall"), "{own}");
}

#[test]
fn sender_that_gives_up_names_who_was_required_and_missing_and_who_was_there() {
    let lab = Lab::up(1);
    let mut there = receiver(&lab, 1);
    let launch = lab.sender().send().args(&["--require", "r1,db9", "--start-timeout", "3s"]);
    let mut sender = launch.source(Source::new(15, KIB)).start();
    sender.must_exit(&[4], PATIENCE);
    there.must_exit(&[4], AT_ONCE);
    for said in [sender.stderr(), there.stderr()] {
        assert!(said.contains("missing: db9; joined: r1") && !said.contains("firewall"), "{said}");
    }
    assert_eq!(sender.report()["missing"], json!(["db9"]));
}

#[test]
fn waiting_programs_say_who_is_there_and_how_long_they_wait_on() {
    let lab = Lab::up(1);
    let always = ["--progress", "always", "--start-timeout", "8m"];
    let mut there = lab.host(1).recv("r1").args(&always).start();
    there.must_say("waiting for a sender, 7 min ", PATIENCE);
    let launch = lab.sender().send().args(&["--name", "db1", "--expect-receivers", "files,r1"]);
    let sender = launch.args(&always).source(Source::new(16, KIB)).start();
    sender.must_say("1 of 2 joined: r1; waiting for files, 7 min ", PATIENCE);
    there.must_say("joined the session of db1, waiting for its start, 7 min ", PATIENCE);
    sender.signal(rustix::process::Signal::INT);
    there.must_exit(&[11], AT_ONCE);
}

#[test]
fn sender_that_was_not_told_whom_to_wait_for_says_with_whom_it_starts() {
    let lab = Lab::up(1);
    let mut there = receiver(&lab, 1);
    let mut sender = lab.sender().send().args(&["--min-wait", "0"]).source(Source::new(17, KIB)).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    there.must_exit(&[0], PATIENCE);
    let said = sender.stderr();
    let line =
        "the session starts with 1 receiver: r1; use -n N or --expect-receivers NAME,… to wait for more";
    assert!(said.contains(line), "{said}");
}

#[test]
fn receiver_that_hears_no_sender_says_where_it_listened_and_that_it_may_be_late() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").args(&["--start-timeout", "500ms"]).start();
    receiver.must_exit(&[4], AT_ONCE);
    let said = receiver.stderr();
    for part in [
        "may have started and ended before",
        "firewall",
        "interface eth0",
        "group 239.255.77.67",
        "port 7767",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn receiver_that_waits_for_another_label_is_named_by_the_sender_that_nobody_joins() {
    let lab = Lab::up(1);
    let launch = lab.sender().send().args(&["-l", "nightly", "--start-timeout", "6s"]);
    let mut sender = launch.source(Source::new(18, KIB)).start();
    sender.must_say("waiting for receivers", PATIENCE);
    let mut wrong = lab.host(1).recv("r1").args(&["--expect", "hourly", "--start-timeout", "30s"]).start();
    sender.must_exit(&[4], PATIENCE);
    let said = sender.stderr();
    assert!(said.contains("r1 (") && said.contains("its --expect names another label"), "{said}");
    wrong.signal(rustix::process::Signal::INT);
    wrong.must_exit(&[130], AT_ONCE);
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
    sender.must_exit(&[3], PATIENCE);
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
