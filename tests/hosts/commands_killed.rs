//! A command must not see the end of its input unless the stream is complete, whoever dies, and nothing of it stays.
//!
//! `psql -1` commits what it has at the end of its input. Here it is a shell that leaves a file when its input ends.

use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source};

/// Reads to the end, and commits then, itself and at once: nothing is faster.
const COMMITS: &str = "head -c 4194304 >/dev/null; touch $D/reading; while read x; do :; done; >$D/committed";
/// The same with more processes: two shells, a pipeline, and one that has left the group.
const COMMITS_BELOW: &str = "setsid sh -c 'sleep 1000; true' & exec 3<&0
    sh -c 'head -c 4194304 >/dev/null; touch $D/reading; cat | { while read x; do :; done; >$D/committed; }; true' <&3; wait";
/// The same, but it closes all descriptors beyond the first three, as `sudo` does.
const COMMITS_ALONE: &str =
    "exec bash -c 'for fd in /proc/$$/fd/*; do fd=${fd##*/}; ((fd < 3)) || eval \"exec $fd>&-\"; done
    head -c 4194304 >/dev/null; touch $D/reading; while read x; do :; done; >$D/committed'";
const HASTY: &[&str] = &["--peer-timeout", "2s"];

/// A session in mid-stream: the source has given 4 MiB and is silent. One receiver with a command, one without.
fn in_mid_stream(lab: &Lab, script: &str) -> (Program, Program, Program) {
    let receiver = lab.host(1).recv("r1").args(HASTY).runs(script).start();
    let other = lab.host(2).recv("r2").args(HASTY).start();
    let mut sender =
        lab.sender().send().args(&["-n", "2"]).args(HASTY).source(Source::new(1, 4 * MIB + 1000)).start();
    sender.feed_to(4 * MIB);
    other.must_deliver(4 * MIB, PATIENCE);
    assert!(comes_true(PATIENCE, || receiver.file("reading").exists()));
    (sender, receiver, other)
}

fn must_not_have_committed(receiver: &Program) {
    receiver.processes().must_be_gone(PATIENCE);
    assert!(!receiver.file("committed").exists(), "the command saw the end of its input");
}

#[test]
fn command_commits_when_the_stream_is_complete() {
    // The other tests of this file show nothing unless this one holds.
    for script in [COMMITS, COMMITS_ALONE] {
        let lab = Lab::up(2);
        let (mut sender, mut receiver, mut other) = in_mid_stream(&lab, script);
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        other.must_exit(&[0], PATIENCE);
        assert!(receiver.file("committed").exists());
        receiver.processes().must_be_gone(AT_ONCE);
    }
}

#[test]
fn command_of_a_receiver_that_loses_its_sender_is_killed_before_its_input_ends() {
    for script in [COMMITS, COMMITS_BELOW, COMMITS_ALONE] {
        let lab = Lab::up(2);
        let (sender, mut receiver, mut other) = in_mid_stream(&lab, script);
        sender.kill();
        receiver.must_exit(&[5], PATIENCE);
        other.must_exit(&[5], PATIENCE);
        must_not_have_committed(&receiver);
    }
}

#[test]
fn command_of_a_receiver_that_is_aborted_is_killed_before_its_input_ends() {
    let lab = Lab::up(2);
    let (mut sender, mut receiver, _other) = in_mid_stream(&lab, COMMITS_BELOW);
    sender.signal(Signal::TERM);
    sender.must_exit(&[143], AT_ONCE);
    receiver.must_exit(&[11], AT_ONCE);
    must_not_have_committed(&receiver);
}

#[test]
fn command_of_a_receiver_that_is_stopped_is_killed_before_its_input_ends() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let lab = Lab::up(2);
        let (_sender, mut receiver, _other) = in_mid_stream(&lab, COMMITS_BELOW);
        receiver.signal(signal);
        receiver.must_exit(&[code], AT_ONCE);
        must_not_have_committed(&receiver);
    }
}

#[test]
fn command_that_ignores_signals_is_killed_all_the_same() {
    let lab = Lab::up(2);
    let script = format!("trap '' TERM INT HUP; {COMMITS}");
    let (_sender, mut receiver, _other) = in_mid_stream(&lab, &script);
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    must_not_have_committed(&receiver);
}

#[test]
fn command_that_is_stopped_is_killed_all_the_same() {
    let lab = Lab::up(2);
    let (_sender, mut receiver, _other) = in_mid_stream(&lab, COMMITS);
    for (pid, line) in receiver.processes().living() {
        if line.starts_with("sh ") {
            kill_process(pid, Signal::STOP).unwrap();
        }
    }
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    must_not_have_committed(&receiver);
}

#[test]
fn command_of_a_killed_receiver_is_killed_before_its_input_ends() {
    for script in [COMMITS, COMMITS_BELOW, COMMITS_ALONE] {
        let lab = Lab::up(2);
        let (_sender, receiver, _other) = in_mid_stream(&lab, script);
        receiver.kill();
        must_not_have_committed(&receiver);
    }
}

#[test]
fn command_whose_guard_is_killed_is_killed_before_its_input_ends_and_the_receiver_exits_9() {
    for script in [COMMITS, COMMITS_ALONE] {
        let lab = Lab::up(2);
        let (_sender, mut receiver, _other) = in_mid_stream(&lab, script);
        kill_process(receiver.processes().must_have("mcast-guard ", PATIENCE), Signal::KILL).unwrap();
        receiver.must_exit(&[9], AT_ONCE);
        must_not_have_committed(&receiver);
    }
}

#[test]
fn command_whose_guard_is_stopped_is_killed_before_its_input_ends() {
    let lab = Lab::up(2);
    let (_sender, mut receiver, _other) = in_mid_stream(&lab, COMMITS);
    kill_process(receiver.processes().must_have("mcast-guard ", PATIENCE), Signal::STOP).unwrap();
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    must_not_have_committed(&receiver);
}

#[test]
fn command_dies_without_the_end_of_its_input_when_receiver_and_guard_are_killed_together() {
    // As a service manager kills a service. Several rounds, since the moment is what matters.
    for _ in 0..10 {
        let lab = Lab::up(2);
        let (_sender, receiver, _other) = in_mid_stream(&lab, COMMITS);
        let guard = receiver.processes().must_have("mcast-guard ", PATIENCE);
        receiver.kill();
        let _ = kill_process(guard, Signal::KILL);
        must_not_have_committed(&receiver);
    }
}

#[test]
fn source_command_dies_with_its_sender() {
    let lab = Lab::up(1);
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let receiver = lab.host(1).recv("r1").args(HASTY).start();
        let script = "setsid sleep 1000 & sleep 1000 & printf x; wait";
        let mut sender = lab.sender().send().args(&["-n", "1"]).runs(script).start();
        receiver.must_deliver(1, PATIENCE);
        sender.signal(signal);
        sender.ends(AT_ONCE).unwrap();
        sender.processes().must_be_gone(AT_ONCE);
    }
}

/// The receiver is dead, so the abort takes its whole second; the guard obeys nothing but KILL.
#[test]
fn sender_obeys_within_two_seconds_although_its_guard_is_stopped_and_no_receiver_answers() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).runs("printf x; sleep 1000").start();
    receiver.must_deliver(1, PATIENCE);
    receiver.kill();
    receiver.ends(PATIENCE).expect("an end");
    kill_process(sender.processes().must_have("mcast-guard ", PATIENCE), Signal::STOP).unwrap();
    sender.signal(Signal::TERM);
    let (_, took) = sender.must_exit(&[143], AT_ONCE);
    assert!(took < Duration::from_secs(2), "{took:?}");
    sender.processes().must_be_gone(AT_ONCE);
}

#[test]
fn source_command_dies_when_all_receivers_are_lost() {
    let lab = Lab::up(1);
    let receiver = lab.host(1).recv("r1").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).args(HASTY).runs("printf x; sleep 1000").start();
    receiver.must_deliver(1, PATIENCE);
    receiver.kill();
    sender.must_exit(&[5], PATIENCE);
    sender.processes().must_be_gone(AT_ONCE);
}

#[test]
fn then_dies_with_its_receiver() {
    for signal in [Signal::KILL, Signal::TERM] {
        let lab = Lab::up(1);
        let receiver = lab.host(1).recv("r1").writes_file().args(&["--then", "sleep 1000; touch {file}.end"]);
        let mut receiver = receiver.start();
        let mut sender =
            lab.sender().send().args(&["-n", "1"]).args(HASTY).source(Source::new(2, MIB)).start();
        sender.finish();
        receiver.processes().must_have("sleep 1000", PATIENCE);
        receiver.signal(signal);
        receiver.ends(AT_ONCE).unwrap();
        receiver.processes().must_be_gone(AT_ONCE);
        sender.must_exit(&[5], PATIENCE);
        // It was verified and in place before.
        receiver.must_have_written(Source::new(2, MIB));
        assert!(!receiver.output().with_extension("end").exists());
    }
}

#[test]
fn daemon_that_a_successful_command_leaves_is_left_alone() {
    let lab = Lab::up(1);
    let script = "cat >/dev/null; setsid sleep 1000 </dev/null >/dev/null 2>&1 &";
    let mut receiver = lab.host(1).recv("r1").runs(script).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(3, MIB)).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    let daemon = receiver.processes().must_have("sleep 1000", Duration::ZERO);
    kill_process(daemon, Signal::KILL).unwrap();
    receiver.processes().must_be_gone(AT_ONCE);
}

/// The receiver is root without the right to signal other users, as an ordinary user is.
#[test]
fn command_has_not_ended_while_another_user_has_a_process_in_its_group() {
    let lab = Lab::up(1);
    let script = "cat >/dev/null; setpriv --reuid=1 --clear-groups sleep 1000 & exit 0";
    let mut receiver =
        lab.host(1).recv_under(&["setpriv", "--bounding-set=-kill"], "r1").runs(script).start();
    let source = Source::new(7, MIB);
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.finish();
    let sleeper = receiver.processes().must_have("sleep 1000", PATIENCE);
    assert!(receiver.ends(Duration::from_secs(1)).is_none(), "{:?}", receiver.processes().living());
    kill_process(sleeper, Signal::KILL).unwrap();
    receiver.must_exit(&[0], PATIENCE);
    sender.must_exit(&[0], PATIENCE);
}

/// `sudo` in small: the command becomes a process of another user and closes all descriptors that it does not know, so only
/// the guard keeps its input open.
#[test]
fn command_of_another_user_that_survives_sees_no_end_of_its_input() {
    let lab = Lab::up(2);
    let script = "head -c 4194304 >/dev/null; touch $D/reading
        exec setpriv --reuid=1 --clear-groups bash -c 'for fd in /proc/$$/fd/*; do fd=${fd##*/}; ((fd < 3)) || eval \"exec $fd>&-\"; done
        while read x; do :; done; echo end' survivor >$D/said";
    let mut receiver = lab.host(1).recv_under(&["setpriv", "--bounding-set=-kill"], "r1");
    receiver = receiver.args(HASTY).runs(script);
    let mut receiver = receiver.start();
    let sender = lab.sender().send().args(&["-n", "1"]).args(HASTY);
    let mut sender = sender.source(Source::new(1, 4 * MIB + 1000)).start();
    sender.feed_to(4 * MIB);
    assert!(comes_true(PATIENCE, || receiver.file("reading").exists()));
    let survivor = receiver.processes().must_have("bash -c", PATIENCE);
    sender.kill();
    receiver.must_exit(&[5], PATIENCE);
    let said = receiver.stderr();
    assert!(said.contains("cannot be killed by this user"), "{said}");
    // Its guard waits with it.
    receiver.processes().must_have("mcast-guard ", Duration::ZERO);
    receiver.processes().must_have("bash -c", Duration::ZERO);
    kill_process(survivor, Signal::KILL).unwrap();
    receiver.processes().must_be_gone(PATIENCE);
    assert_eq!(std::fs::read_to_string(receiver.file("said")).unwrap(), "");
}
